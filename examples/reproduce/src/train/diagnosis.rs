//! Where an encoder ranks the labels of its train queries, before it is trained on them and after.

use std::collections::HashMap;

use retrieval::{Metrics, search};
use serde::{Deserialize, Serialize};

use super::{
    failure::Failure,
    prepared::{Prepared, TrainQuery},
};
use crate::encoder::{Encoder, Role};

/// What the untrained encoder gives, and the trained one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    pub before: Places,
    pub after: Places,
}

/// Where documents of the train queries lie that have a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Places {
    pub queries: usize,
    /// Against all judgements.
    pub ndcg_10: f64,
    /// Labels that are judged relevant.
    pub right: Split,
    /// Labels that are not.
    pub wrong: Split,
    /// Documents that are judged relevant, and have no label.
    pub unlabelled: Split,
}

/// Documents by where they lay before training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Split {
    pub all: Place,
    /// Those that were not among the ten best of their query.
    pub weak: Place,
    /// Those that were.
    pub strong: Place,
}

/// Where documents lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub documents: usize,
    /// The share that is among the ten best of its query; 0 of no documents.
    pub top_10: f64,
    /// The mean, with 0 for a document below a ranking's end.
    pub reciprocal_rank: f64,
}

const TOP: usize = 10;

/// Queries that are ranked at a time.
const PART: usize = 256;

/// The labels of train queries.
pub struct Labelled<'a, T> {
    prepared: &'a Prepared<T>,
    /// With the labels of each, one at least.
    queries: Vec<(&'a TrainQuery<T>, &'a [usize])>,
}

/// A query in a ranking.
struct Ranked {
    ndcg_10: f64,
    /// Ranks from 1 of its labelled and its relevant documents.
    ranks: HashMap<usize, usize>,
}

impl<'a, T> Labelled<'a, T> {
    /// With a list of labels for each query. Queries without a label are not trained on, and left
    /// out here.
    pub fn new(
        prepared: &'a Prepared<T>,
        queries: &'a [TrainQuery<T>],
        lists: &'a [Vec<usize>],
    ) -> Self {
        let queries = queries.iter().zip(lists.iter().map(Vec::as_slice));
        Self {
            prepared,
            queries: queries.filter(|(_, labels)| !labels.is_empty()).collect(),
        }
    }

    pub fn diagnose<E: Encoder<Text = T>>(
        &self,
        untrained: &E,
        trained: &E,
    ) -> Result<Diagnosis, Failure> {
        let before = self.rank(untrained)?;
        let after = self.rank(trained)?;
        Ok(Diagnosis {
            before: self.places(&before, &before),
            after: self.places(&before, &after),
        })
    }

    fn rank<E: Encoder<Text = T>>(&self, encoder: &E) -> Result<Vec<Ranked>, Failure> {
        let Prepared { corpus, ranked, .. } = self.prepared;
        let documents: Vec<&T> = ranked.iter().map(AsRef::as_ref).collect();
        let documents = encoder.encode(&documents, Role::Document);
        let mut all = Vec::new();
        // In parts: a ranking holds many more documents than are kept of it.
        for part in self.queries.chunks(PART) {
            let texts: Vec<&T> = part.iter().map(|(query, _)| query.text.as_ref()).collect();
            let queries = encoder.encode(&texts, Role::Query);
            let rankings = search(queries, documents.clone(), corpus);
            // The one error of a search: a score is not finite.
            let rankings = rankings.map_err(Failure::Diverged)?;
            for ((query, labels), ranking) in part.iter().zip(rankings) {
                let ranks = ranking
                    .iter()
                    .zip(1..)
                    .map(|((document, _), rank)| (*document, rank));
                let kept = |document: &usize| {
                    labels.contains(document) || query.relevant.contains(document)
                };
                all.push(Ranked {
                    ndcg_10: Metrics::of_query(&self.prepared.train[query.place], &ranking).ndcg_10,
                    ranks: ranks.filter(|(document, _)| kept(document)).collect(),
                });
            }
        }
        Ok(all)
    }

    /// Where `now` ranks the documents, split by `before`.
    fn places(&self, before: &[Ranked], now: &[Ranked]) -> Places {
        let [mut right, mut wrong, mut unlabelled] = [Sums::default(); 3];
        for (((query, labels), before), now) in self.queries.iter().zip(before).zip(now) {
            let add = |kind: &mut Sums, document: &usize| {
                let [before, now] = [before, now].map(|ranked| ranked.ranks.get(document).copied());
                kind.add(before, now);
            };
            for label in *labels {
                match query.relevant.contains(label) {
                    true => add(&mut right, label),
                    false => add(&mut wrong, label),
                }
            }
            let missed = query.relevant.iter().filter(|one| !labels.contains(one));
            missed.for_each(|document| add(&mut unlabelled, document));
        }
        let queries = now.len();
        Places {
            queries,
            ndcg_10: now.iter().map(|ranked| ranked.ndcg_10).sum::<f64>() / queries.max(1) as f64,
            right: right.split(),
            wrong: wrong.split(),
            unlabelled: unlabelled.split(),
        }
    }
}

/// Sums over documents: weak ones, strong ones.
#[derive(Clone, Copy, Default)]
struct Sums([Sum; 2]);

#[derive(Clone, Copy, Default)]
struct Sum {
    documents: usize,
    top_10: usize,
    reciprocal_rank: f64,
}

impl Sums {
    /// Adds a document of these ranks; `None` is below a ranking's end.
    fn add(&mut self, before: Option<usize>, now: Option<usize>) {
        let top = |rank: Option<usize>| rank.is_some_and(|rank| rank <= TOP);
        let sum = &mut self.0[usize::from(top(before))];
        sum.documents += 1;
        sum.top_10 += usize::from(top(now));
        sum.reciprocal_rank += now.map_or(0.0, |rank| 1.0 / rank as f64);
    }

    fn split(self) -> Split {
        let [weak, strong] = self.0;
        let all = Sum {
            documents: weak.documents + strong.documents,
            top_10: weak.top_10 + strong.top_10,
            reciprocal_rank: weak.reciprocal_rank + strong.reciprocal_rank,
        };
        let [all, weak, strong] = [all, weak, strong].map(Sum::place);
        Split { all, weak, strong }
    }
}

impl Sum {
    fn place(self) -> Place {
        let documents = self.documents.max(1) as f64;
        Place {
            documents: self.documents,
            top_10: self.top_10 as f64 / documents,
            reciprocal_rank: self.reciprocal_rank / documents,
        }
    }
}

/// A kind of documents and its name.
pub type Kind = (&'static str, fn(&Places) -> &Place);

/// What the tables and the figure show, in their order.
pub const SHOWN: [Kind; 8] = [
    ("right labels", |places| &places.right.all),
    ("right, weak before", |places| &places.right.weak),
    ("right, strong before", |places| &places.right.strong),
    ("wrong labels", |places| &places.wrong.all),
    ("wrong, weak before", |places| &places.wrong.weak),
    ("wrong, strong before", |places| &places.wrong.strong),
    ("relevant, no label", |places| &places.unlabelled.all),
    ("relevant, no label, weak before", |places| {
        &places.unlabelled.weak
    }),
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use approx::assert_relative_eq;
    use burn::tensor::{Device, Tensor};
    use retrieval::{Document, Query};

    use super::*;
    use crate::train::{left_out::LeftOut, prepared::Tested, source::Passage};

    /// Scores are products of numbers, and of this one.
    struct Factor(f32);

    impl Encoder for Factor {
        type Text = f32;

        fn learn(
            &mut self,
            _: &[&f32],
            _: &[&f32],
            _: u64,
            _: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
        ) -> Result<f64, String> {
            unreachable!("nothing is trained")
        }

        fn update(self, _: f64) -> Self {
            unreachable!("nothing is trained")
        }

        fn encode(&self, texts: &[&f32], role: Role) -> Tensor<2> {
            let factor = if role == Role::Query { self.0 } else { 1.0 };
            let values: Vec<f32> = texts.iter().map(|text| **text * factor).collect();
            Tensor::<1>::from_floats(values.as_slice(), &Device::default()).unsqueeze_dim(1)
        }
    }

    /// Twenty documents, of which the first query finds the last ones best.
    fn prepared() -> Prepared<f32> {
        let texts: Vec<Arc<f32>> = (0..20).map(|value| Arc::new(value as f32)).collect();
        let ids = || (0..20).map(|place| format!("d{place:02}"));
        let passages = ids().zip(&texts).map(|(id, text)| Passage {
            id: id.as_str().into(),
            text: text.clone(),
        });
        let query = |judgements: &[(usize, i32)]| Query {
            id: String::new(),
            text: String::new(),
            judgements: judgements.to_vec(),
        };
        let documents = ids().map(|id| Document {
            id,
            text: String::new(),
        });
        Prepared {
            corpus: documents.collect(),
            documents: passages.collect(),
            train: vec![query(&[(19, 1), (0, 1), (5, 1), (18, 0)]), query(&[(3, 1)])],
            ranked: texts,
            test: Tested {
                name: String::new(),
                queries: Vec::new(),
                texts: Vec::new(),
                left_out: LeftOut::default(),
            },
        }
    }

    fn queries(prepared: &Prepared<f32>) -> Vec<TrainQuery<f32>> {
        let train = prepared.train.iter().enumerate();
        let queries = train.map(|(place, query)| TrainQuery {
            place,
            text: Arc::new(1.0),
            relevant: query.relevant(),
            labels: Vec::new(),
            top: Vec::new(),
            pool: Vec::new(),
            near: Vec::new(),
            left_out: Vec::new(),
        });
        queries.collect()
    }

    fn place(documents: usize, top_10: f64, reciprocal_rank: f64) -> Place {
        Place {
            documents,
            top_10,
            reciprocal_rank,
        }
    }

    #[test]
    fn labels_are_found_where_they_lie_before_and_after() {
        let prepared = prepared();
        let queries = queries(&prepared);
        // Document d has rank 20 - d before, and d + 1 after. The second query has no label.
        let lists = [vec![19, 0, 18, 9], vec![]];
        let labelled = Labelled::new(&prepared, &queries, &lists);
        let Diagnosis { before, after } = labelled.diagnose(&Factor(1.0), &Factor(-1.0)).unwrap();

        assert_eq!((before.queries, after.queries), (1, 1));
        assert_eq!(before.right.strong, place(1, 1.0, 1.0));
        assert_eq!(before.right.weak, place(1, 0.0, 1.0 / 20.0));
        assert_eq!(before.right.all, place(2, 0.5, 21.0 / 40.0));
        assert_eq!(before.wrong.strong, place(1, 1.0, 1.0 / 2.0));
        assert_eq!(before.wrong.weak, place(1, 0.0, 1.0 / 11.0));
        assert_eq!(before.unlabelled.strong, Place::default());
        assert_eq!(before.unlabelled.weak, place(1, 0.0, 1.0 / 15.0));

        assert_eq!(after.right.strong, place(1, 0.0, 1.0 / 20.0));
        assert_eq!(after.right.weak, place(1, 1.0, 1.0));
        assert_eq!(after.wrong.strong, place(1, 0.0, 1.0 / 19.0));
        assert_eq!(after.wrong.weak, place(1, 1.0, 1.0 / 10.0));
        assert_eq!(after.unlabelled.all, place(1, 1.0, 1.0 / 6.0));

        // Rank 1 of three relevant documents, then ranks 1 and 6.
        let gain = |rank: f64| 1.0 / (rank + 1.0).log2();
        let ideal = gain(1.0) + gain(2.0) + gain(3.0);
        assert_relative_eq!(before.ndcg_10, gain(1.0) / ideal, max_relative = 1e-12);
        let both = gain(1.0) + gain(6.0);
        assert_relative_eq!(after.ndcg_10, both / ideal, max_relative = 1e-12);
    }

    #[test]
    fn scores_that_are_not_finite_are_a_divergence() {
        let prepared = prepared();
        let queries = queries(&prepared);
        let lists = [vec![0], vec![1]];
        let labelled = Labelled::new(&prepared, &queries, &lists);
        let failure = labelled.diagnose(&Factor(1.0), &Factor(f32::NAN));
        assert!(matches!(failure, Err(Failure::Diverged(_))));
    }
}
