//! Documents in the order of their scores, and what was judged of them.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

/// A ranker of a fixed list of documents by their scores.
///
/// Documents with equal scores are ordered by their ids as text, the greater id first, as in
/// `trec_eval`. If several documents have one id, only the first counts. A NaN is below all
/// other scores.
#[derive(Clone, Debug)]
pub struct Ranker {
    /// The place of the id of each document among all ids in their order; None where an
    /// id stands again.
    order: Vec<Option<usize>>,
}

impl Ranker {
    /// A ranker of the documents with these ids, in the order of their scores.
    pub fn new<Id: AsRef<str>>(ids: &[Id]) -> Self {
        // Ids are compared here, and not again for each query that has equal scores.
        let id = |document: usize| ids[document].as_ref();
        let mut sorted: Vec<usize> = (0..ids.len()).collect();
        sorted.sort_by_key(|document| id(*document));
        // Stable: of equal ids the first comes first.
        sorted.dedup_by(|again, first| id(*again) == id(*first));
        let mut order = vec![None; ids.len()];
        for (place, document) in sorted.into_iter().enumerate() {
            order[document] = Some(place);
        }
        Self { order }
    }

    /// The indices of the `depth` best documents of a query, best first.
    ///
    /// # Shapes
    ///
    /// - `scores`: `[documents]`
    /// - output: at most `depth` indices
    ///
    /// # Panics
    ///
    /// If there are more or fewer scores than documents.
    pub fn rank<Score: Copy + Into<f64>>(&self, scores: &[Score], depth: usize) -> Vec<usize> {
        assert!(
            scores.len() == self.order.len(),
            "rank: expected a score of each of {} documents, got {}",
            self.order.len(),
            scores.len()
        );
        // So that 0 and -0 are equal, and NaN is the least of all in the total order.
        let number = |score: Score| match score.into() {
            score if score.is_nan() => -f64::NAN.abs(),
            score => score + 0.0,
        };
        let scored = scores.iter().zip(&self.order).enumerate();
        let mut ranking: Vec<(f64, usize, usize)> = scored
            .filter_map(|(document, (score, place))| Some((number(*score), (*place)?, document)))
            .collect();
        let best_first = |a: &(f64, usize, usize), b: &(f64, usize, usize)| {
            b.0.total_cmp(&a.0).then(b.1.cmp(&a.1))
        };
        if ranking.len() > depth {
            ranking.select_nth_unstable_by(depth, best_first);
            ranking.truncate(depth);
        }
        ranking.sort_unstable_by(best_first);
        ranking.into_iter().map(|(.., document)| document).collect()
    }
}

/// The gains of the documents that were found for a query, best first, and of all that were
/// judged.
///
/// The gain of a document is its grade. It is 0 for a document that nobody judged, and for one
/// with a negative grade.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedList {
    pub(super) ranked: Vec<f64>,
    /// Above 0, the largest first.
    pub(super) ideal: Vec<f64>,
}

impl RankedList {
    /// A list from the ids of the documents that were found, best first, and the grades of
    /// those that were judged. If an id was found twice, its first place counts. If it was
    /// judged twice, its last grade counts.
    pub fn new<Id: Eq + Hash>(
        ranked: impl IntoIterator<Item = Id>,
        judged: impl IntoIterator<Item = (Id, i32)>,
    ) -> Self {
        let mut grades: HashMap<Id, f64> = HashMap::new();
        for (id, grade) in judged {
            grades.insert(id, f64::from(grade));
        }
        let judged: Vec<f64> = grades.values().copied().collect();
        let mut seen = HashSet::new();
        let mut gains = Vec::new();
        for id in ranked {
            let grade = grades.get(&id).copied().unwrap_or(0.0);
            if seen.insert(id) {
                gains.push(grade);
            }
        }
        Self::of_gains(gains, judged)
    }

    /// The gains themselves.
    pub(crate) fn of_gains(mut ranked: Vec<f64>, mut judged: Vec<f64>) -> Self {
        for gain in &mut ranked {
            *gain = gain.max(0.0);
        }
        judged.retain(|gain| *gain > 0.0);
        judged.sort_unstable_by(|a, b| b.total_cmp(a));
        Self {
            ranked,
            ideal: judged,
        }
    }
}
