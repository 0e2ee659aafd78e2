//! Simulated annotators, made to be as good as published ones.

use clap::ValueEnum;
use rand::{
    Rng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use serde::{Deserialize, Serialize};

use super::prepared::{POOL, TrainQuery};

/// Prompts and models of "Utility-Focused LLM Annotation for Retrieval and RAG" (arXiv 2504.05220).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Annotator {
    RelSelQwen,
    UtilSelQwen,
    UtilRankQwen,
    RelSelLlama,
    UtilSelLlama,
    UtilRankLlama,
}

/// How labels compare with the human ones, one a query.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The share of the labels that are the human label.
    pub precision: f64,
    /// The share of the human labels that are among the labels.
    pub recall: f64,
    /// Labels a query.
    pub average: f64,
}

/// What was asked of a simulation, and what it reached.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Report {
    pub asked: Quality,
    pub reached: Quality,
    /// The share of relevant documents among the labels beside the human one: asked, reached.
    pub relevant_share_asked: f64,
    pub relevant_share_reached: f64,
    /// The share of all labels that are judged relevant.
    pub correct: f64,
    /// The share of queries without any label.
    pub unlabelled: f64,
}

impl Annotator {
    pub fn name(self) -> &'static str {
        match self {
            Self::RelSelQwen => "RelSel, Qwen2.5-32B",
            Self::UtilSelQwen => "UtilSel, Qwen2.5-32B",
            Self::UtilRankQwen => "UtilRank, Qwen2.5-32B",
            Self::RelSelLlama => "RelSel, Llama-3.1-8B",
            Self::UtilSelLlama => "UtilSel, Llama-3.1-8B",
            Self::UtilRankLlama => "UtilRank, Llama-3.1-8B",
        }
    }

    /// As published, against the human labels of MS MARCO.
    pub fn published(self) -> Quality {
        let (precision, recall, average) = match self {
            Self::RelSelQwen => (15.1, 92.8, 6.2),
            Self::UtilSelQwen => (29.5, 84.8, 2.9),
            Self::UtilRankQwen => (71.3, 72.0, 1.0),
            Self::RelSelLlama => (7.1, 97.6, 13.8),
            Self::UtilSelLlama => (11.9, 91.6, 7.7),
            Self::UtilRankLlama => (36.5, 41.0, 1.2),
        };
        Quality {
            precision: precision / 100.0,
            recall: recall / 100.0,
            average,
        }
    }

    /// Labels for each query in random order, and how good they are.
    ///
    /// The human label is found with the published recall. The other labels are as many as precision and
    /// average ask for, spread over the pool as evenly as chance does (binomially): a share of them is drawn
    /// from the documents judged relevant that are not the human label, the rest from the lexical hard
    /// negatives that are not judged relevant. A query that runs out of one takes the other.
    pub fn annotate<T>(
        self,
        queries: &[TrainQuery<T>],
        human: &[usize],
        relevant_share: f64,
        rng: &mut StdRng,
    ) -> (Vec<Vec<usize>>, Report) {
        let asked = self.published();
        let others = asked.average * (1.0 - asked.precision);
        let chance = (others / POOL as f64).min(1.0);

        let mut lists = Vec::new();
        let (mut found, mut relevant_others) = (0, 0);
        for (query, human) in queries.iter().zip(human) {
            let mut labels = Vec::new();
            if rng.random_bool(asked.recall) {
                labels.push(*human);
                found += 1;
            }
            let others = (0..POOL).filter(|_| rng.random_bool(chance));
            let others = others.count();
            let relevant = (0..others).filter(|_| rng.random_bool(relevant_share));
            let relevant = relevant.count();

            let known = query.relevant.iter().copied();
            let known: Vec<usize> = known.filter(|document| document != human).collect();
            let wanted_wrong = others - relevant;
            // What one side lacks the other gives.
            let right = (relevant + wanted_wrong.saturating_sub(query.pool.len())).min(known.len());
            let wrong = (others - right).min(query.pool.len());
            labels.extend(known.choose_multiple(rng, right));
            labels.extend(query.pool.choose_multiple(rng, wrong));
            relevant_others += right;
            labels.shuffle(rng);
            lists.push(labels);
        }

        let count = queries.len() as f64;
        let labels = lists.iter().map(Vec::len).sum::<usize>() as f64;
        let report = Report {
            asked,
            reached: Quality {
                precision: f64::from(found) / labels,
                recall: f64::from(found) / count,
                average: labels / count,
            },
            relevant_share_asked: relevant_share,
            relevant_share_reached: relevant_others as f64 / (labels - f64::from(found)),
            correct: (relevant_others as f64 + f64::from(found)) / labels,
            unlabelled: lists.iter().filter(|list| list.is_empty()).count() as f64 / count,
        };
        (lists, report)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::SeedableRng;

    use super::*;

    fn queries(relevant: usize) -> Vec<TrainQuery<()>> {
        let query = |place| TrainQuery {
            place,
            text: Arc::new(()),
            relevant: (0..relevant).collect(),
            labels: Vec::new(),
            top: Vec::new(),
            pool: (100..130).collect(),
        };
        (0..20_000).map(query).collect()
    }

    #[test]
    fn what_was_published_is_reached() {
        let queries = queries(40);
        let human = vec![7; queries.len()];
        for annotator in Annotator::value_variants() {
            let mut rng = StdRng::seed_from_u64(1);
            let (lists, report) = annotator.annotate(&queries, &human, 0.25, &mut rng);
            let (asked, reached) = (report.asked, report.reached);
            assert!((asked.recall - reached.recall).abs() < 0.01, "{report:?}");
            // The published triples are rounded, and agree with each other within that.
            let precision = asked.recall / reached.average;
            assert!((precision - reached.precision).abs() < 0.01, "{report:?}");
            assert!(reached.average / asked.average < 1.08, "{report:?}");
            assert!(reached.average / asked.average > 0.92, "{report:?}");
            assert!(
                (report.relevant_share_reached - 0.25).abs() < 0.02,
                "{report:?}"
            );

            let wrong = lists.iter().flatten().filter(|label| **label >= 100);
            let labels = lists.iter().map(Vec::len).sum::<usize>() as f64;
            assert!((1.0 - wrong.count() as f64 / labels - report.correct).abs() < 1e-12);
        }
    }

    #[test]
    fn no_document_is_labelled_twice_and_a_lack_is_made_up() {
        let queries = queries(1);
        let human = vec![0; queries.len()];
        let mut rng = StdRng::seed_from_u64(1);
        let annotator = Annotator::RelSelLlama;
        let (lists, report) = annotator.annotate(&queries, &human, 1.0, &mut rng);
        for mut list in lists {
            let count = list.len();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), count);
        }
        assert_eq!(report.relevant_share_reached, 0.0);
        assert!(report.reached.average > 13.0, "{report:?}");
    }
}
