//! Numbers of a ranked list.

use std::fmt;

use super::RankedList;

/// A measure of the first `k` documents of a ranked list.
///
/// Ranks `i` begin at 1. `g_i` is the gain of the document at rank `i`. `R` are the relevant
/// documents of the query, which are those with a gain above 0.
///
/// ```text
/// Mrr(k)        1 / i for the first relevant document, 0 if it is behind rank k
/// Ndcg(k)       DCG / ideal DCG,  DCG = sum over i <= k of g_i / log2(i + 1)
/// Recall(k)     relevant documents in the first k / |R|
/// Precision(k)  relevant documents in the first k / k
/// ```
///
/// The ideal DCG is that of the relevant documents, sorted by their gains. A query without a
/// relevant document has the value 0. The measures are `recip_rank` (of a run of `k`
/// documents), `ndcg_cut_k`, `recall_k` and `P_k` of
/// [trec_eval](https://github.com/usnistgov/trec_eval).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Measure {
    /// The reciprocal rank of the first relevant document.
    Mrr(usize),
    /// The normalised discounted cumulative gain.
    Ndcg(usize),
    /// The share of the relevant documents that is found.
    Recall(usize),
    /// The share of the first `k` ranks that is relevant. A rank without a document is not.
    Precision(usize),
}

impl Measure {
    /// The number `k` of documents that the measure looks at.
    pub fn depth(self) -> usize {
        match self {
            Self::Mrr(k) | Self::Ndcg(k) | Self::Recall(k) | Self::Precision(k) => k,
        }
    }

    /// The value for a list, from 0 to 1.
    pub fn of(self, list: &RankedList) -> f64 {
        let depth = self.depth();
        let first = &list.ranked[..depth.min(list.ranked.len())];
        let relevant = first.iter().filter(|gain| **gain > 0.0).count() as f64;
        match self {
            Self::Mrr(_) => {
                let rank = first.iter().position(|gain| *gain > 0.0);
                rank.map_or(0.0, |index| 1.0 / (index + 1) as f64)
            }
            Self::Ndcg(_) => {
                let ideal = &list.ideal[..depth.min(list.ideal.len())];
                share(discounted(first), discounted(ideal))
            }
            Self::Recall(_) => share(relevant, list.ideal.len() as f64),
            Self::Precision(_) => share(relevant, depth as f64),
        }
    }

    /// The mean of the values for lists. It is NaN if there are none.
    pub fn mean<'a>(self, lists: impl IntoIterator<Item = &'a RankedList>) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for list in lists {
            sum += self.of(list);
            count += 1;
        }
        sum / f64::from(count)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Mrr(_) => "MRR",
            Self::Ndcg(_) => "nDCG",
            Self::Recall(_) => "Recall",
            Self::Precision(_) => "Precision",
        };
        write!(f, "{name}@{}", self.depth())
    }
}

fn discounted(gains: &[f64]) -> f64 {
    let discounts = (2..).map(|rank| f64::from(rank).log2());
    gains
        .iter()
        .zip(discounts)
        .map(|(gain, by)| gain / by)
        .sum()
}

fn share(part: f64, of: f64) -> f64 {
    if of == 0.0 { 0.0 } else { part / of }
}
