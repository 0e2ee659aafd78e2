//! How many queries have a positive.

use burn::tensor::TensorReadError;

use super::{Relevance, Targets};

/// How many pairs are looked at together.
const PAIRS: usize = 1 << 24;

impl Targets {
    /// The queries that have a positive, if lists on the host tell.
    pub(crate) fn listed_active(&self) -> Option<usize> {
        match &self.relevance {
            Relevance::Lists(lists) if self.candidates.is_none() && self.weights.is_none() => {
                Some(lists.active())
            }
            _ => None,
        }
    }

    /// The queries that have a positive, read from the device. There is no mask of all pairs.
    pub(crate) fn active(&self) -> Result<usize, TensorReadError> {
        let [queries, documents] = self.dims();
        if documents == 0 {
            return Ok(0);
        }
        let mut active = 0;
        for start in (0..queries).step_by((PAIRS / documents).max(1)) {
            let end = queries.min(start + (PAIRS / documents).max(1));
            let positives = self.queries(start..end).positives().any_dim(1);
            let positives = positives.try_into_data()?;
            active += positives.iter::<bool>().filter(|active| *active).count();
        }
        Ok(active)
    }
}
