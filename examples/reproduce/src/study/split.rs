//! Who is trained on, who is measured for the choice, and who is measured at the end.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::train::prepared::{Prepared, Tested, TrainQuery};

/// A test, and what happens before it without its queries.
pub struct Part<T> {
    /// `None` if it is the only one.
    pub name: Option<String>,
    /// Where the trainings of the choice go.
    pub choice: PathBuf,
    /// Where the trainings that are tested go.
    pub last: PathBuf,
    /// For the choice: the train queries that are not held out.
    pub kept: Vec<TrainQuery<T>>,
    /// For the choice: the train queries that are.
    pub held_out: Tested<T>,
    /// Both of them.
    pub train: Vec<TrainQuery<T>>,
    pub test: Tested<T>,
}

#[derive(Clone, Copy)]
pub struct Draw {
    pub folds: Option<usize>,
    pub held_out: Option<usize>,
    pub seed: u64,
}

impl Draw {
    pub fn parts<T>(
        &self,
        collection: &Prepared<T>,
        queries: &[TrainQuery<T>],
        out: &Path,
    ) -> Result<Vec<Part<T>>, String> {
        let Some(folds) = self.folds else {
            let test = collection.test.clone();
            let ids: HashSet<&str> = test.queries.iter().map(|query| &*query.id).collect();
            let mut ours = queries
                .iter()
                .map(|query| &*collection.train[query.place].id);
            if let Some(id) = ours.find(|id| ids.contains(id)) {
                return Err(format!(
                    "query {id:?} is in the train split and in the test split: give another \
                     --test-split, or --folds"
                ));
            }
            return Ok(vec![self.part(
                collection,
                None,
                queries.to_vec(),
                test,
                out,
            )?]);
        };
        if folds < 2 || folds > queries.len() {
            return Err(format!(
                "--folds {folds} must be at least 2, and at most the {} train queries that have a \
                 relevant document",
                queries.len()
            ));
        }
        let mut order: Vec<usize> = (0..queries.len()).collect();
        order.shuffle(&mut StdRng::seed_from_u64(self.seed));
        let mut fold_of = vec![0; queries.len()];
        for (place, query) in order.into_iter().enumerate() {
            fold_of[query] = place % folds;
        }
        let parts = (0..folds).map(|fold| {
            let side = |inside: bool| {
                let queries = queries.iter().zip(&fold_of);
                let queries = queries.filter(move |(_, of)| (**of == fold) == inside);
                queries.map(|(query, _)| query.clone()).collect::<Vec<_>>()
            };
            let test = tested(collection, &collection.test.name, &side(true));
            self.part(collection, Some(fold), side(false), test, out)
        });
        parts.collect()
    }

    fn part<T>(
        &self,
        collection: &Prepared<T>,
        fold: Option<usize>,
        train: Vec<TrainQuery<T>>,
        test: Tested<T>,
        out: &Path,
    ) -> Result<Part<T>, String> {
        let count = self.held_out.unwrap_or(train.len().div_ceil(5));
        if count == 0 || count >= train.len() {
            return Err(format!(
                "--held-out {count} must be at least 1, and leave some of the {} train queries",
                train.len()
            ));
        }
        let mut order: Vec<usize> = (0..train.len()).collect();
        // Another draw than that of the folds.
        let seed = self.seed.wrapping_add(1 << 32);
        order.shuffle(&mut StdRng::seed_from_u64(seed));
        let held_out: HashSet<usize> = order.into_iter().take(count).collect();
        let (held_out, kept): (Vec<_>, Vec<_>) = train
            .iter()
            .cloned()
            .enumerate()
            .partition(|(place, _)| held_out.contains(place));
        let without_places = |queries: Vec<(usize, TrainQuery<T>)>| {
            let queries = queries.into_iter().map(|(_, query)| query);
            queries.collect::<Vec<_>>()
        };
        let name = fold.map(|fold| format!("fold{}", fold + 1));
        let folder = |folder: PathBuf| match &name {
            Some(name) => folder.join(name),
            None => folder,
        };
        Ok(Part {
            choice: folder(out.join("choice")),
            last: folder(out.to_path_buf()),
            kept: without_places(kept),
            held_out: tested(collection, "held-out", &without_places(held_out)),
            name,
            train,
            test,
        })
    }
}

/// Train queries, to be measured with.
fn tested<T>(collection: &Prepared<T>, name: &str, queries: &[TrainQuery<T>]) -> Tested<T> {
    let judged = queries
        .iter()
        .map(|query| collection.train[query.place].clone());
    Tested {
        name: name.into(),
        queries: judged.collect(),
        texts: queries.iter().map(|query| query.text.clone()).collect(),
        left_out: collection.test.left_out.clone(),
    }
}
