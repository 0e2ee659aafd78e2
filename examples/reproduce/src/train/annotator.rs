//! Simulated annotators, made to be as good as published ones.

use clap::ValueEnum;
use rand::{
    Rng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom, index::sample},
};
use serde::{Deserialize, Serialize};

use super::{
    agreement::{Agreement, wrong_is_nearer},
    prepared::{POOL, TrainQuery},
};

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
    /// With all judgements, among the documents that labels are drawn from.
    #[serde(default)]
    pub agreement: Option<Agreement>,
}

/// Where wrong labels are drawn from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mistakes {
    /// The best documents of the lexical ranking
    Lexical,
    /// The nearest documents of the pretrained encoder before training
    Near,
    /// Any documents
    Random,
}

/// A simulated annotator, and how it errs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulation {
    pub annotator: Annotator,
    /// The share of relevant documents among its labels beside the human one.
    pub relevant_share: f64,
    /// How wrong labels keep together by query: the intraclass correlation of the labels beside the
    /// human one, from 0, where each is drawn for itself, to below 1.
    pub clustering: f64,
    pub mistakes: Mistakes,
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
}

impl Simulation {
    /// Labels for each query in random order, and how good they are.
    ///
    /// The human label is found with the published recall. The other labels are as many as
    /// precision and average ask for, spread over the queries as evenly as chance does
    /// (binomially). A share of them is drawn from the documents judged relevant that are not the
    /// human label, the rest from a pool of documents that are not judged relevant. A query that
    /// runs out of one takes the other.
    ///
    /// Where errors keep together, the share of a query is not that of all: the number of its
    /// relevant labels is beta-binomial.
    pub fn annotate<T>(
        &self,
        documents: usize,
        queries: &[TrainQuery<T>],
        human: &[usize],
        rng: &mut StdRng,
    ) -> (Vec<Vec<usize>>, Report) {
        let relevant_share = self.relevant_share;
        let asked = self.annotator.published();
        let others = asked.average * (1.0 - asked.precision);
        let chance = (others / POOL as f64).min(1.0);

        let mut lists = Vec::new();
        let mut pools = Vec::new();
        let (mut found, mut relevant_others) = (0, 0);
        for (query, human) in queries.iter().zip(human) {
            let mut labels = Vec::new();
            if rng.random_bool(asked.recall) {
                labels.push(*human);
                found += 1;
            }
            let others = (0..POOL).filter(|_| rng.random_bool(chance));
            let others = others.count();
            let relevant = self.relevant_of(others, rng);

            let known = query.relevant.iter().copied();
            let known: Vec<usize> = known.filter(|document| document != human).collect();
            let wanted_wrong = others - relevant;
            let pool = self.pool(documents, query, rng);
            // What one side lacks the other gives.
            let right = (relevant + wanted_wrong.saturating_sub(pool.len())).min(known.len());
            let wrong = (others - right).min(pool.len());
            labels.extend(known.choose_multiple(rng, right));
            labels.extend(pool.choose_multiple(rng, wrong));
            relevant_others += right;
            labels.shuffle(rng);
            lists.push(labels);
            pools.push(pool);
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
            agreement: Some(agreement(queries, &lists, &pools)),
        };
        (lists, report)
    }

    /// What wrong labels of a query are drawn from.
    fn pool<T>(&self, documents: usize, query: &TrainQuery<T>, rng: &mut StdRng) -> Vec<usize> {
        match self.mistakes {
            Mistakes::Lexical => query.pool.clone(),
            Mistakes::Near => query.near_pool(),
            Mistakes::Random => {
                let drawn = sample(rng, documents, documents.min(POOL + query.relevant.len()));
                let drawn = drawn.into_iter();
                let pool = drawn.filter(|document| {
                    !query.relevant.contains(document) && !query.left_out.contains(document)
                });
                pool.take(POOL).collect()
            }
        }
    }

    /// How many of so many labels are relevant, by Pólya's urn: each label that is drawn makes its
    /// kind more probable for the next one.
    fn relevant_of(&self, labels: usize, rng: &mut StdRng) -> usize {
        let share = self.relevant_share;
        // In units of the urn that holds one of both kinds together.
        let weight = self.clustering / (1.0 - self.clustering);
        let mut relevant = 0;
        for drawn in 0..labels {
            let [ours, all] = [relevant, drawn].map(|count| weight * count as f64);
            relevant += usize::from(rng.random_bool(((share + ours) / (1.0 + all)).min(1.0)));
        }
        relevant
    }
}

fn agreement<T>(
    queries: &[TrainQuery<T>],
    lists: &[Vec<usize>],
    pools: &[Vec<usize>],
) -> Agreement {
    let pairs = queries.iter().zip(lists).zip(pools);
    let pairs = pairs.map(|((query, labels), pool)| {
        let drawn_from = |documents: &'_ [usize], relevant: bool| {
            let pairs = documents.iter();
            pairs
                .map(|document| (relevant, labels.contains(document)))
                .collect::<Vec<_>>()
        };
        let [relevant, pool] = [(&query.relevant, true), (pool, false)]
            .map(|(documents, relevant)| drawn_from(documents, relevant));
        [relevant, pool].concat()
    });
    Agreement {
        wrong_is_nearer: wrong_is_nearer(queries.iter().zip(lists.iter().map(Vec::as_slice))),
        ..Agreement::of(&pairs.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

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
            near: (0..200).rev().collect(),
            left_out: Vec::new(),
        };
        (0..20_000).map(query).collect()
    }

    fn simulation(annotator: Annotator, relevant_share: f64) -> Simulation {
        Simulation {
            annotator,
            relevant_share,
            clustering: 0.0,
            mistakes: Mistakes::Lexical,
        }
    }

    #[test]
    fn what_was_published_is_reached() {
        let queries = queries(40);
        let human = vec![7; queries.len()];
        for annotator in Annotator::value_variants() {
            let mut rng = StdRng::seed_from_u64(1);
            let (lists, report) =
                simulation(*annotator, 0.25).annotate(500, &queries, &human, &mut rng);
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
        let annotator = simulation(Annotator::RelSelLlama, 1.0);
        let (lists, report) = annotator.annotate(500, &queries, &human, &mut rng);
        for mut list in lists {
            let count = list.len();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), count);
        }
        assert_eq!(report.relevant_share_reached, 0.0);
        let agreement = report.agreement.unwrap();
        assert!((agreement.precision - report.correct).abs() < 1e-12);
        assert!((agreement.recall - report.reached.recall).abs() < 1e-12);
        assert_eq!(agreement.judged, 31 * queries.len());
        assert!(report.reached.average > 13.0, "{report:?}");
    }

    #[test]
    fn mistakes_are_drawn_from_what_was_asked() {
        let queries = queries(40);
        let human = vec![7; queries.len()];
        for (mistakes, documents, nearer) in [
            (Mistakes::Lexical, 100..130, 1.0),
            (Mistakes::Near, 170..200, 1.0),
            (Mistakes::Random, 40..500, 160.0 / 460.0),
        ] {
            let simulation = Simulation {
                mistakes,
                ..simulation(Annotator::RelSelLlama, 0.5)
            };
            let mut rng = StdRng::seed_from_u64(1);
            let (lists, report) = simulation.annotate(500, &queries, &human, &mut rng);
            let wrong: BTreeSet<usize> = lists.into_iter().flatten().filter(|d| *d >= 40).collect();
            assert_eq!(wrong, documents.collect(), "{mistakes:?}");
            let found = report.agreement.unwrap().wrong_is_nearer.unwrap();
            assert!((found - nearer).abs() < 0.01, "{mistakes:?}: {found}");
        }
    }

    /// The variance of a beta-binomial count is that of a binomial one times
    /// `1 + (count - 1) * clustering`.
    #[test]
    fn errors_keep_together_as_asked() {
        const DRAWS: usize = 20_000;
        let mut rng = StdRng::seed_from_u64(1);
        for clustering in [0.0, 0.1, 0.5, 0.99] {
            let simulation = Simulation {
                clustering,
                ..simulation(Annotator::UtilSelQwen, 0.3)
            };
            let counts = (0..DRAWS).map(|_| simulation.relevant_of(8, &mut rng) as f64);
            let counts: Vec<f64> = counts.collect();
            let mean = counts.iter().sum::<f64>() / DRAWS as f64;
            let squares = counts.iter().map(|count| (count - mean).powi(2));
            let variance = squares.sum::<f64>() / DRAWS as f64;
            assert!((mean / 8.0 - 0.3).abs() < 0.02, "{clustering}: {mean}");
            let ratio = variance / (8.0 * 0.3 * 0.7);
            let expected = 1.0 + 7.0 * clustering;
            assert!(
                (ratio / expected - 1.0).abs() < 0.05,
                "{clustering}: {ratio}"
            );
        }
    }
}
