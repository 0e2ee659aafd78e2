//! A training to be run, with what it is trained and measured on.

use std::path::{Path, PathBuf};

use super::{
    cell::{Cell, Outcome},
    prepared::{Prepared, Tested, TrainQuery},
};

pub struct Job<'a, T> {
    pub cell: Cell,
    /// The folder of results that holds the folder of the cell.
    pub out: &'a Path,
    pub queries: &'a [TrainQuery<T>],
    /// Collections, each with queries of it. The first is the collection that is trained on.
    pub tested: Vec<(&'a Prepared<T>, &'a Tested<T>)>,
    /// Whether the rankings are written beside the metrics.
    pub rankings: bool,
    /// Whether a training that diverges is finished, and not failed.
    pub may_diverge: bool,
}

impl<T> Clone for Job<'_, T> {
    fn clone(&self) -> Self {
        Self {
            tested: self.tested.clone(),
            ..*self
        }
    }
}

impl<T> Job<'_, T> {
    pub fn folder(&self) -> PathBuf {
        self.cell.folder(self.out)
    }

    /// The outcome, if this job is finished.
    pub fn finished(&self) -> Result<Option<Outcome>, String> {
        let outcome = self.cell.finished(self.out)?;
        Ok(outcome.filter(|outcome| self.may_diverge || outcome.diverged.is_none()))
    }
}
