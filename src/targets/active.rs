//! How many queries have a positive.

use super::{Relevance, Targets};

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
}
