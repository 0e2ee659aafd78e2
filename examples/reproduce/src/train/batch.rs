//! Groups of passages as one batch: each document once, with its role for each query.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use burn::tensor::{Device, Tensor, TensorData};
use burn_multi_positive::{Targets, TargetsError};
use rand::{
    Rng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};

use super::{
    pulls::Roles,
    source::{Example, Passage},
};
use crate::objective::Objective;

/// How many passages a query brings to its batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GroupSize {
    /// So many, hard negatives taking the room that positives leave.
    Passages(usize),
    /// Its positives, and so many hard negatives.
    Negatives(usize),
}

/// How a query's group is put together.
#[derive(Clone, Copy)]
pub struct Groups {
    pub objective: Objective,
    pub size: GroupSize,
    /// `None` is as many as there is room for.
    pub max_positives: Option<usize>,
    /// Whether positives are drawn from the whole list in each epoch, not its first.
    pub redrawn: bool,
}

pub struct Batch<T> {
    pub queries: Vec<Arc<T>>,
    pub documents: Vec<Arc<T>>,
    /// Columns.
    positives: Vec<Vec<usize>>,
    /// For each of them, whether it is known not to be relevant.
    wrong: Vec<Vec<bool>>,
    /// Whether a document is a candidate of a query, `[queries, documents]`.
    candidates: Vec<bool>,
    /// The column of each query's first positive.
    pub chosen: Vec<usize>,
}

impl<T> Batch<T> {
    /// Every query brings its group, positives and hard negatives, and what the others
    /// bring is its in-batch negatives. A document that several queries bring is there
    /// once. One that is labelled positive for a query, but not among the positives of
    /// its group, is ignored: the number of positives is what was asked for, and no label
    /// is trained on as a negative. One that is left out for a query is ignored too.
    pub fn new(examples: &[Example<T>], groups: Groups, rng: &mut StdRng) -> Self {
        let mut columns: HashMap<Arc<str>, usize> = HashMap::new();
        let mut documents = Vec::new();
        let mut positives = Vec::new();
        let mut wrong = Vec::new();
        for example in examples {
            let (own, negatives) = groups.draw(example, rng);
            let is_wrong = |passage: &&Passage<T>| example.wrong.contains(&passage.id);
            wrong.push(own.iter().map(is_wrong).collect());
            let mut place = |passage: &Passage<T>| {
                *columns.entry(passage.id.clone()).or_insert_with(|| {
                    documents.push(passage.text.clone());
                    documents.len() - 1
                })
            };
            positives.push(own.into_iter().map(&mut place).collect::<Vec<_>>());
            negatives.into_iter().for_each(|passage| {
                place(passage);
            });
        }

        let mut candidates = vec![true; examples.len() * documents.len()];
        let rows = candidates.chunks_mut(documents.len().max(1));
        for ((example, own), row) in examples.iter().zip(&positives).zip(rows) {
            let labelled = example.positives.iter().map(|passage| &passage.id);
            let ignored = labelled.chain(&example.left_out);
            ignored
                .filter_map(|id| columns.get(id))
                .filter(|column| !own.contains(column))
                .for_each(|column| row[*column] = false);
        }
        Self {
            queries: examples
                .iter()
                .map(|example| example.query.clone())
                .collect(),
            chosen: positives.iter().map(|own| own[0]).collect(),
            documents,
            positives,
            wrong,
            candidates,
        }
    }

    pub fn roles(&self) -> Roles<'_> {
        Roles {
            positives: &self.positives,
            wrong: &self.wrong,
            candidates: &self.candidates,
            documents: self.documents.len(),
        }
    }

    pub fn targets(&self, device: &Device) -> Result<Targets, TargetsError> {
        let columns: Vec<usize> = (0..self.documents.len()).collect();
        let targets = Targets::from_ids(&self.positives, &columns, device)?;
        if self.candidates.iter().all(|candidate| *candidate) {
            return Ok(targets);
        }
        let shape = [self.queries.len(), self.documents.len()];
        let candidates = TensorData::new(self.candidates.clone(), shape);
        Ok(targets.with_candidates(Tensor::from_data(candidates, device)))
    }
}

impl Groups {
    fn draw<'a, T>(
        &self,
        example: &'a Example<T>,
        rng: &mut StdRng,
    ) -> (Vec<&'a Passage<T>>, Vec<&'a Passage<T>>) {
        let mut labels: Vec<&Passage<T>> = example.positives.iter().collect();
        if self.redrawn && self.objective != Objective::Single {
            labels.shuffle(rng);
        }
        let mut seen = HashSet::new();
        labels.retain(|passage| seen.insert(&passage.id));
        let room = match self.size {
            GroupSize::Passages(count) => count,
            GroupSize::Negatives(_) => usize::MAX,
        };
        labels.truncate(room.min(self.max_positives.unwrap_or(room)));
        match self.objective {
            Objective::Single => labels.truncate(1),
            // Without a draw where there is no choice: with one label each, all
            // objectives then train alike.
            Objective::Rand1Lh if labels.len() > 1 => {
                labels = vec![labels[rng.random_range(0..labels.len())]];
            }
            _ => {}
        }
        let missing = match self.size {
            GroupSize::Passages(count) => count - labels.len(),
            GroupSize::Negatives(count) => count,
        };
        let negatives: Vec<&Passage<T>> = example.negatives.iter().collect();
        let negatives = negatives.choose_multiple(rng, missing).copied().collect();
        (labels, negatives)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn passages(ids: &[&str]) -> Vec<Passage<String>> {
        let passage = |id: &&str| Passage {
            id: Arc::from(*id),
            text: Arc::new(id.to_string()),
        };
        ids.iter().map(passage).collect()
    }

    fn example(positives: &[&str], negatives: &[&str]) -> Example<String> {
        Example {
            query: Arc::new(String::new()),
            positives: passages(positives),
            wrong: Vec::new(),
            left_out: Vec::new(),
            negatives: passages(negatives),
        }
    }

    fn groups(objective: Objective, size: usize, max_positives: usize) -> Groups {
        Groups {
            objective,
            size: GroupSize::Passages(size),
            max_positives: Some(max_positives),
            redrawn: false,
        }
    }

    fn batch(examples: &[Example<String>], groups: Groups) -> Batch<String> {
        Batch::new(examples, groups, &mut StdRng::seed_from_u64(1))
    }

    /// The ids that a query's row marks.
    fn marked(batch: &Batch<String>, query: usize, mask: &[bool]) -> Vec<String> {
        let row = &mask[query * batch.documents.len()..][..batch.documents.len()];
        let marked = batch.documents.iter().zip(row).filter(|(_, mark)| **mark);
        let mut ids: Vec<String> = marked.map(|(id, _)| id.to_string()).collect();
        ids.sort();
        ids
    }

    fn positives(batch: &Batch<String>) -> Vec<bool> {
        let targets = batch.targets(&Device::default()).unwrap();
        targets.positives().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_document_of_two_groups_is_there_once_with_both_roles() {
        let examples = [
            example(&["a", "b"], &["c", "d"]),
            example(&["c"], &["a", "e", "f"]),
        ];
        let batch = batch(&examples, groups(Objective::LsePair, 4, 4));
        assert_eq!(batch.documents.len(), 6);
        assert_eq!(marked(&batch, 0, &positives(&batch)), ["a", "b"]);
        assert_eq!(marked(&batch, 1, &positives(&batch)), ["c"]);
        assert!(batch.candidates.iter().all(|candidate| *candidate));
    }

    #[test]
    fn labels_beyond_the_cap_are_ignored_wherever_they_come_from() {
        let examples = [
            example(&["a", "b", "c"], &["d", "e", "f"]),
            example(&["c"], &["b", "g", "h"]),
        ];
        let batch = batch(&examples, groups(Objective::JointLh, 4, 1));
        assert_eq!(marked(&batch, 0, &positives(&batch)), ["a"]);
        let ignored: Vec<bool> = batch
            .candidates
            .iter()
            .map(|candidate| !candidate)
            .collect();
        assert_eq!(marked(&batch, 0, &ignored), ["b", "c"]);
        assert_eq!(marked(&batch, 1, &ignored), [""; 0]);
    }

    #[test]
    fn one_positive_leaves_more_room_for_negatives() {
        let examples = [example(&["a", "b", "c"], &["d", "e", "f", "g"])];
        for (objective, positives) in [
            (Objective::Single, 1),
            (Objective::Rand1Lh, 1),
            (Objective::LsePair, 3),
        ] {
            let batch = batch(&examples, groups(objective, 4, 3));
            assert_eq!(batch.documents.len(), 4);
            assert_eq!(batch.positives[0].len(), positives);
        }
        let single = batch(&examples, groups(Objective::Single, 4, 3));
        assert_eq!(*single.documents[single.chosen[0]], "a");
    }

    #[test]
    fn hard_negatives_stay_as_many_while_positives_grow() {
        let examples = [example(&["a", "b", "c"], &["d", "e", "f", "g"])];
        for (objective, max_positives, positives) in [
            (Objective::LsePair, Some(1), 1),
            (Objective::LsePair, Some(2), 2),
            (Objective::LsePair, None, 3),
            (Objective::Single, Some(3), 1),
        ] {
            let groups = Groups {
                size: GroupSize::Negatives(2),
                max_positives,
                ..groups(objective, 0, 0)
            };
            let batch = batch(&examples, groups);
            assert_eq!(batch.positives[0].len(), positives);
            assert_eq!(batch.documents.len(), positives + 2);
        }
    }

    #[test]
    fn what_is_left_out_for_a_query_is_ignored_there() {
        let mut first = example(&["a"], &["b"]);
        first.left_out = vec!["c".into(), "z".into()];
        let examples = [first, example(&["c"], &["d"])];
        let batch = batch(&examples, groups(Objective::LsePair, 2, 1));
        let ignored: Vec<bool> = batch.candidates.iter().map(|one| !one).collect();
        assert_eq!(marked(&batch, 0, &ignored), ["c"]);
        assert_eq!(marked(&batch, 1, &ignored), [""; 0]);
    }

    #[test]
    fn every_capped_label_is_drawn_in_its_turn() {
        let examples = [example(&["a", "b", "c"], &["d"])];
        let mut rng = StdRng::seed_from_u64(1);
        let mut drawn: Vec<String> = (0..50)
            .map(|_| {
                let batch = Batch::new(&examples, groups(Objective::Rand1Lh, 2, 2), &mut rng);
                batch.documents[batch.chosen[0]].to_string()
            })
            .collect();
        drawn.sort();
        drawn.dedup();
        assert_eq!(drawn, ["a", "b"]);
    }

    #[test]
    fn a_label_that_is_listed_twice_is_one_positive() {
        let batch = batch(
            &[example(&["a", "a", "b"], &["c"])],
            groups(Objective::LsePair, 4, 2),
        );
        assert_eq!(marked(&batch, 0, &positives(&batch)), ["a", "b"]);
    }
}
