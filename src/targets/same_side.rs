//! Queries as candidates of queries.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use super::{Relevance, Targets};

/// A number for each query, or document; the same for those that are the same.
pub(crate) type Ids = Arc<Vec<usize>>;

/// Numbers of ids.
fn numbered<Id: Eq + Hash>(ids: &[Id]) -> Ids {
    let mut numbers = HashMap::new();
    let number = ids.iter().map(|id| {
        let next = numbers.len();
        *numbers.entry(id).or_insert(next)
    });
    Arc::new(number.collect())
}

impl Targets {
    /// Says which queries are the same: those with equal ids. An id may be the text itself, or
    /// a hash of it.
    ///
    /// Only [`Bidirectional::with_same_side`](crate::Bidirectional::with_same_side) reads the
    /// ids: queries with the same id are not negatives of each other.
    ///
    /// # Panics
    ///
    /// If there are not as many ids as queries.
    ///
    /// # Example
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use burn_multi_positive::Targets;
    ///
    /// // The first and the last query are one text.
    /// let targets = Targets::from_groups(&[1, 1, 1], 2, &Device::default())?
    ///     .with_query_ids(&["how tall is K2", "who wrote Emma", "how tall is K2"]);
    /// # Ok::<(), burn_multi_positive::TargetsError>(())
    /// ```
    #[must_use]
    pub fn with_query_ids<Id: Eq + Hash>(mut self, ids: &[Id]) -> Self {
        let [queries, _] = self.dims();
        assert!(
            ids.len() == queries,
            "with_query_ids: expected an id for each of {queries} queries, got {}",
            ids.len()
        );
        self.ids[0] = Some(numbered(ids));
        self
    }

    /// Says which documents are the same, as [`with_query_ids`](Self::with_query_ids) does for
    /// queries. Targets [from ids](Self::from_ids) know the ids of their documents already.
    ///
    /// # Panics
    ///
    /// If there are not as many ids as documents.
    ///
    /// # Example
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use burn_multi_positive::Targets;
    ///
    /// // The second and the third document are one text.
    /// let targets = Targets::from_groups(&[1, 1], 2, &Device::default())?
    ///     .with_document_ids(&["d1", "d2", "d2", "d3"]);
    /// # Ok::<(), burn_multi_positive::TargetsError>(())
    /// ```
    #[must_use]
    pub fn with_document_ids<Id: Eq + Hash>(mut self, ids: &[Id]) -> Self {
        let [_, documents] = self.dims();
        assert!(
            ids.len() == documents,
            "with_document_ids: expected an id for each of {documents} documents, got {}",
            ids.len()
        );
        self.ids[1] = Some(numbered(ids));
        self
    }

    /// The queries as further documents, behind the others. They are negatives of each query,
    /// but for those that share a positive with it, have its label or its id, and itself: these
    /// it ignores.
    pub(crate) fn with_same_side(self) -> Self {
        let [queries, _] = self.dims();
        if queries == 0 {
            return self;
        }
        let ids = self.ids[0].clone();
        match (&self.relevance, &self.candidates, &self.weights) {
            (Relevance::Lists(lists), None, None) => {
                let lists = lists.with_same_side(ids.as_deref());
                self.with_lists(lists)
            }
            _ => self.with_masked_same_side(ids),
        }
    }

    /// The same by masks.
    fn with_masked_same_side(self, ids: Option<Ids>) -> Self {
        let dims @ [queries, _] = self.dims();
        let square = [queries; 2];
        let device = self.device();
        let relevant = self.relevant();
        let dtype = relevant.dtype();

        let rows = Tensor::<1, Int>::arange(0..queries as i64, (&device, DType::I32));
        let mut same = equal(rows);
        same = same.bool_or(match &self.relevance {
            Relevance::Labels { queries, .. } => equal(queries.clone()),
            _ => share_a_positive(self.positives()),
        });
        if let Some(ids) = ids {
            let ids = ids.iter().map(|&id| id as i32).collect();
            let ids = TensorData::new::<i32, _>(ids, [queries]);
            same = same.bool_or(equal(Tensor::from_data(ids, (&device, DType::I32))));
        }

        let candidates = self.candidates();
        let candidates = candidates.unwrap_or_else(|| Tensor::ones(dims, (&device, dtype)));
        let weights = self.weights().map(|weights| {
            let ones = Tensor::ones(square, (&device, weights.dtype()));
            Tensor::cat(vec![weights, ones], 1)
        });
        let none = Tensor::zeros(square, (&device, dtype));
        Self {
            relevance: Relevance::Mask(Tensor::cat(vec![relevant, none], 1)),
            candidates: Some(Tensor::cat(vec![candidates, same.bool_not()], 1)),
            weights,
            ..self
        }
    }
}

impl Targets {
    /// The targets of queries and then documents, over queries and then documents: both
    /// directions, with the same side.
    ///
    /// # Panics
    ///
    /// As [`transpose`](Self::transpose), query weights aside.
    pub(crate) fn of_both_sides(self) -> Self {
        let [_, documents] = self.dims();
        let back = self.clone().without_query_weights().transpose();
        let back = back.with_same_side();
        let forth = self.with_same_side();
        // Of the queries the documents come first: they go behind.
        let [rows, columns] = forth.dims();
        let ranges = [[0..rows, documents..columns], [0..rows, 0..documents]];
        let masks = |forth: Tensor<2, Bool>, back| {
            let parts = ranges.clone().map(|range| forth.clone().slice(range));
            Tensor::cat(vec![Tensor::cat(parts.to_vec(), 1), back], 0)
        };
        let floats = |forth: Tensor<2>, back| {
            let parts = ranges.clone().map(|range| forth.clone().slice(range));
            Tensor::cat(vec![Tensor::cat(parts.to_vec(), 1), back], 0)
        };
        let relevance = match (&forth.relevance, &back.relevance) {
            (Relevance::Lists(forth), Relevance::Lists(back)) => {
                Relevance::Lists(forth.rotated(documents).followed_by(back))
            }
            (forth, back) => Relevance::Mask(masks(forth.mask(), back.mask())),
        };
        // Either direction has them, or neither.
        let candidates = forth.candidates.zip(back.candidates);
        let weights = forth.weights.zip(back.weights);
        Self {
            candidates: candidates.map(|(forth, back)| masks(forth, back)),
            weights: weights.map(|(forth, back)| floats(forth, back)),
            ..relevance.into()
        }
    }
}

/// Which of them are equal, `[n, n]`.
fn equal(labels: Tensor<1, Int>) -> Tensor<2, Bool> {
    Relevance::Labels {
        queries: labels.clone(),
        documents: labels,
    }
    .mask()
}

/// Which queries have a positive in common, `[queries, queries]`.
fn share_a_positive(positives: Tensor<2, Bool>) -> Tensor<2, Bool> {
    let positives = positives.float().cast(DType::F32);
    let shared = positives.clone().matmul(positives.transpose());
    shared.greater_scalar(0.5)
}
