//! Who is positive, who is negative, who is ignored.

#[cfg(feature = "train")]
mod active;
mod chosen;
mod error;
mod labels;
mod lists;
mod same_side;
mod teacher;
mod weights;

use std::{hash::Hash, ops::Range};

use burn::tensor::{Bool, DType, Device, Int, Tensor, assert_shape};

pub(crate) use chosen::Chosen;
pub use error::TargetsError;
pub(crate) use lists::Lists;
use same_side::Ids;
pub(crate) use weights::constant;

/// The relevance of every document of a batch to every query of it.
///
/// Each pair of a query and a document is one of
///
/// - *positive*: the document is relevant to the query,
/// - *negative*: it is not,
/// - *ignored*: as if the query had never been scored against the document
///   (see [`with_candidates`](Targets::with_candidates)).
///
/// A plain mask converts by itself, so `loss.forward(scores, mask)` needs no `Targets` at all.
/// Labels and ids are kept as they are. The `[queries, documents]` mask is built when a loss
/// or [`positives`](Targets::positives) needs it.
///
/// Masks and labels are kept without autodiff. So targets that were made on a plain device fit
/// scores on this device with and without autodiff, and with gradient checkpointing.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_multi_positive::Targets;
///
/// let device = Device::default();
/// // What each query is relevant to, by document id, and the documents of the batch.
/// let relevant = [vec!["d7", "d3"], vec!["d9"]];
/// let documents = ["d7", "d1", "d9", "d7"];
/// let targets = Targets::from_ids(&relevant, &documents, &device)?;
///
/// let positives = targets.positives().into_data().try_to_vec::<bool>().unwrap();
/// assert_eq!(positives, [true, false, false, true, false, false, true, false]);
/// # Ok::<(), burn_multi_positive::TargetsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Targets {
    relevance: Relevance,
    candidates: Option<Tensor<2, Bool>>,
    weights: Option<Tensor<2>>,
    query_weights: Option<Tensor<1>>,
    chosen: Option<Chosen>,
    /// Those of the queries, and of the documents.
    ids: [Option<Ids>; 2],
}

// There is one for each batch: what its variants differ in size does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub(crate) enum Relevance {
    Mask(Tensor<2, Bool>),
    Labels {
        queries: Tensor<1, Int>,
        documents: Tensor<1, Int>,
    },
    Lists(Lists),
}

impl From<Tensor<2, Bool>> for Targets {
    fn from(positives: Tensor<2, Bool>) -> Self {
        Self::new(positives)
    }
}

impl From<Relevance> for Targets {
    fn from(relevance: Relevance) -> Self {
        Self {
            relevance,
            candidates: None,
            weights: None,
            query_weights: None,
            chosen: None,
            ids: [None, None],
        }
    }
}

impl Relevance {
    /// The mask of the relevant documents, ignored ones included.
    fn mask(&self) -> Tensor<2, Bool> {
        match self {
            Self::Mask(positives) => positives.clone(),
            Self::Labels { queries, documents } => {
                let dims = [queries.dims()[0], documents.dims()[0]];
                if dims.contains(&0) {
                    // Nothing expands to nothing.
                    return Tensor::full(dims, false, &queries.device());
                }
                let queries: Tensor<2, Int> = queries.clone().unsqueeze_dim(1);
                let documents: Tensor<2, Int> = documents.clone().unsqueeze_dim(0);
                queries.expand(dims).equal(documents.expand(dims))
            }
            Self::Lists(lists) => lists.mask(),
        }
    }
}

impl Targets {
    /// Targets from a mask: `true` is a positive, everything else a negative.
    ///
    /// # Shapes
    ///
    /// - `positives`: `[queries, documents]`
    pub fn new(positives: Tensor<2, Bool>) -> Self {
        Relevance::Mask(positives.without_autodiff()).into()
    }

    /// Ignores every pair whose entry is `false`: it is neither positive nor negative, and its
    /// score is not read, even if it is NaN or infinite. If this is called twice, both masks
    /// apply.
    ///
    /// Use it for padding, for near-duplicates that may be relevant, or for negatives that a
    /// filter suspects.
    ///
    /// # Shapes
    ///
    /// - `candidates`: `[queries, documents]`
    ///
    /// # Panics
    ///
    /// If the shape or the device of `candidates` differs from that of the targets.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::{LsePairLossConfig, Targets};
    ///
    /// let device = Device::default();
    /// let scores = Tensor::<2>::from_floats([[1.0, 1.0, 9.0]], &device);
    /// let positives = Tensor::from_bool([[true, false, false]], &device);
    /// // The last document is padding.
    /// let candidates = Tensor::from_bool([[true, true, false]], &device);
    /// let targets = Targets::new(positives).with_candidates(candidates);
    ///
    /// let loss = LsePairLossConfig::new().init().forward(scores, targets);
    /// assert!((loss.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn with_candidates(mut self, candidates: Tensor<2, Bool>) -> Self {
        let [queries, documents] = self.dims();
        assert_shape!(candidates, [queries, documents]);
        assert_device("candidates", &candidates.device(), &self.device());
        let candidates = candidates.without_autodiff();
        self.candidates = Some(match self.candidates {
            Some(already) => already.bool_and(candidates),
            None => candidates,
        });
        self
    }

    /// Targets for the grouped layout of Tevatron, in which every query brings a group of
    /// `group_size` documents, its positives first. There are
    /// `documents = queries * group_size` documents. Those of query `q` begin at column
    /// `q * group_size`, and the first `positive_counts[q]` of them are its positives. All
    /// other documents, the positives of other queries included, are its negatives.
    ///
    /// Pad shorter groups to one size, and ignore the padding with
    /// [`with_candidates`](Targets::with_candidates). If a document occurs in several groups,
    /// use [`from_ids`](Targets::from_ids). Otherwise it becomes a negative of a query that it
    /// is relevant to.
    ///
    /// # Errors
    ///
    /// No query, a group size of 0, more positives than a group holds, or more than `i32::MAX`
    /// documents.
    ///
    /// # Example
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use burn_multi_positive::Targets;
    ///
    /// let targets = Targets::from_groups(&[1, 2], 2, &Device::default())?;
    /// let positives = targets.positives().into_data().try_to_vec::<bool>().unwrap();
    /// assert_eq!(positives, [true, false, false, false, false, false, true, true]);
    /// # Ok::<(), burn_multi_positive::TargetsError>(())
    /// ```
    pub fn from_groups(
        positive_counts: &[usize],
        group_size: usize,
        device: &Device,
    ) -> Result<Self, TargetsError> {
        let lists = Lists::from_groups(positive_counts, group_size, device)?;
        Ok(Relevance::Lists(lists).into())
    }

    /// Targets from ids: document `documents[d]` is a positive of query `q` if `relevant[q]`
    /// contains its id.
    ///
    /// A document that occurs twice in the batch is a positive in both places. A relevant id
    /// that is not in the batch is skipped. An id may be named twice.
    ///
    /// # Errors
    ///
    /// No query, or no document.
    pub fn from_ids<Id: Eq + Hash>(
        relevant: &[Vec<Id>],
        documents: &[Id],
        device: &Device,
    ) -> Result<Self, TargetsError> {
        let (lists, ids) = Lists::from_ids(relevant, documents.iter(), device)?;
        Ok(Self::of_listed_ids(lists, ids))
    }

    /// Targets for the grouped layout, as [`from_groups`](Targets::from_groups), with a
    /// [weight](Targets::with_weights) for each positive. Query `q` has as many positives as
    /// `weights[q]` has entries. A positive of weight 0 is ignored. All negatives have
    /// weight 1.
    ///
    /// # Errors
    ///
    /// As `from_groups`, and a weight that is negative or not finite.
    ///
    /// # Example
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use burn_multi_positive::Targets;
    ///
    /// // The second positive of the second query is only half as relevant.
    /// let weights = [vec![1.0], vec![1.0, 0.5]];
    /// let targets = Targets::from_weighted_groups(&weights, 2, &Device::default())?;
    /// assert_eq!(targets.dims(), [2, 4]);
    /// # Ok::<(), burn_multi_positive::TargetsError>(())
    /// ```
    pub fn from_weighted_groups(
        weights: &[Vec<f32>],
        group_size: usize,
        device: &Device,
    ) -> Result<Self, TargetsError> {
        let lists = Lists::from_weighted_groups(weights, group_size, device)?;
        Ok(Relevance::Lists(lists).into())
    }

    /// Targets from ids, as [`from_ids`](Targets::from_ids), with a
    /// [weight](Targets::with_weights) for each id, such as a graded judgement. All negatives
    /// have weight 1.
    ///
    /// A document of weight 0 is ignored: it is neither positive nor negative. If an id is
    /// named twice, its larger weight counts. The weights are kept as lists. On CPUs a loss
    /// from embeddings makes no matrix of them.
    ///
    /// # Errors
    ///
    /// As `from_ids`, and a weight that is negative or not finite.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::{SumMargLhLossConfig, Targets};
    ///
    /// let device = Device::default();
    /// // Judgements on a scale of 0 to 3, as gains.
    /// let relevant = [vec![("d7", 3.0), ("d3", 1.0)], vec![("d9", 2.0), ("d1", 0.0)]];
    /// let targets = Targets::from_weighted_ids(&relevant, &["d7", "d1", "d9"], &device)?;
    ///
    /// let scores = Tensor::<2>::from_floats([[1.0, 0.5, 0.2], [0.1, 0.9, 0.3]], &device);
    /// let loss = SumMargLhLossConfig::new().init().forward(scores, targets);
    /// assert!(loss.into_scalar::<f32>() > 0.0);
    /// # Ok::<(), burn_multi_positive::TargetsError>(())
    /// ```
    pub fn from_weighted_ids<Id: Eq + Hash>(
        relevant: &[Vec<(Id, f32)>],
        documents: &[Id],
        device: &Device,
    ) -> Result<Self, TargetsError> {
        let (lists, ids) = Lists::from_weighted_ids(relevant, documents, device)?;
        Ok(Self::of_listed_ids(lists, ids))
    }

    /// Targets from class labels: a document with the label of the query is a positive.
    ///
    /// Labels are compared by value, whatever their integer types are. They are kept as two
    /// short vectors until a mask is needed. If one type is signed and the other is not, or if
    /// one is u64, the labels are read back from the device and numbered anew.
    ///
    /// # Shapes
    ///
    /// - `queries`: `[queries]`
    /// - `documents`: `[documents]`
    ///
    /// # Panics
    ///
    /// If the labels are on different devices.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::Targets;
    ///
    /// let device = Device::default();
    /// let queries = Tensor::from_ints([1, 2], &device);
    /// let documents = Tensor::from_ints([2, 1, 1], &device);
    /// let targets = Targets::from_labels(queries, documents);
    ///
    /// let positives: Vec<bool> = targets.positives().into_data().iter().collect();
    /// assert_eq!(positives, [false, true, true, true, false, false]);
    /// ```
    pub fn from_labels(queries: Tensor<1, Int>, documents: Tensor<1, Int>) -> Self {
        assert_device("documents", &documents.device(), &queries.device());
        let labels = [queries, documents].map(Tensor::without_autodiff);
        let [queries, documents] = labels::comparable(labels);
        Relevance::Labels { queries, documents }.into()
    }

    /// Targets with one positive per query, given by its column, as cross-entropy takes them.
    /// With them the first six losses in the table of the crate are InfoNCE. No mask is made
    /// where the loss needs none.
    ///
    /// A query whose column is out of range has no positive.
    ///
    /// # Shapes
    ///
    /// - `columns`: `[queries]`, each below `documents`
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::{LsePairLossConfig, Targets};
    ///
    /// let device = Device::default();
    /// let scores = Tensor::<2>::from_floats([[2.0, 1.0, 1.0], [0.0, 1.0, 0.0]], &device);
    /// let targets = Targets::from_columns(Tensor::from_ints([0, 1], &device), 3);
    ///
    /// let loss = LsePairLossConfig::new().init().forward(scores, targets);
    /// let want = (1.0 + 2.0 * (-1f32).exp()).ln();
    /// assert!((loss.into_scalar::<f32>() - want).abs() < 1e-6);
    /// ```
    #[doc(alias = "InfoNCE")]
    pub fn from_columns(columns: Tensor<1, Int>, documents: usize) -> Self {
        let device = columns.device().without_autodiff();
        let documents = Tensor::arange(0..documents as i64, (&device, DType::I32));
        Self::from_labels(columns, documents)
    }

    /// The targets of the other direction: every document becomes a query over the queries.
    ///
    /// With `scores.transpose()` they give the document-to-query loss.
    ///
    /// # Panics
    ///
    /// If positives were [chosen](Targets::with_chosen) or queries
    /// [weighted](Targets::with_query_weights). Neither says anything about documents, which
    /// are the queries of the other direction.
    ///
    /// # Example
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// use burn_multi_positive::Targets;
    ///
    /// let targets = Targets::from_groups(&[1, 2], 2, &Device::default())?;
    /// assert_eq!(targets.transpose().dims(), [4, 2]);
    /// # Ok::<(), burn_multi_positive::TargetsError>(())
    /// ```
    #[must_use]
    pub fn transpose(self) -> Self {
        assert!(
            self.chosen.is_none(),
            "transpose: expected targets without chosen positives, got one chosen positive a query"
        );
        assert!(
            self.query_weights.is_none(),
            "transpose: expected targets without query weights, got a weight a query"
        );
        let [queries, documents] = self.ids;
        let relevance = match self.relevance {
            Relevance::Mask(positives) => Relevance::Mask(positives.transpose()),
            Relevance::Labels { queries, documents } => Relevance::Labels {
                queries: documents,
                documents: queries,
            },
            Relevance::Lists(lists) => Relevance::Lists(lists.transpose()),
        };
        Self {
            candidates: self.candidates.map(Tensor::transpose),
            weights: self.weights.map(Tensor::transpose),
            ids: [documents, queries],
            ..relevance.into()
        }
    }

    /// The same targets on another device. Labels and masks are copied, masks through the
    /// host. Ids and groups are on the host anyway.
    #[must_use]
    pub fn to_device(self, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        if self.device() == device {
            return self;
        }
        // Backends store Bool in different types, which `Tensor::to_device` does not translate.
        let copy = |mask: Tensor<2, Bool>| Tensor::from_data(mask.into_data(), &device);
        let relevance = match self.relevance {
            Relevance::Mask(positives) => Relevance::Mask(copy(positives)),
            Relevance::Labels { queries, documents } => Relevance::Labels {
                queries: queries.to_device(&device),
                documents: documents.to_device(&device),
            },
            Relevance::Lists(lists) => Relevance::Lists(lists.to_device(&device)),
        };
        Self {
            relevance,
            candidates: self.candidates.map(copy),
            weights: self.weights.map(|weights| weights.to_device(&device)),
            query_weights: self.query_weights.map(|weights| weights.to_device(&device)),
            chosen: self.chosen.map(|chosen| chosen.to_device(&device)),
            ids: self.ids,
        }
    }

    /// The mask of the positives that are candidates and have a weight above 0. It does not
    /// depend on [`with_chosen`](Targets::with_chosen).
    ///
    /// # Shapes
    ///
    /// - output: `[queries, documents]`
    pub fn positives(&self) -> Tensor<2, Bool> {
        let mut positives = self.relevant();
        if let Some(candidates) = self.candidates() {
            positives = positives.bool_and(candidates);
        }
        if let Some(weights) = self.weights() {
            positives = positives.bool_and(weights.not_equal_scalar(0.0));
        }
        positives
    }

    /// The numbers of queries and of documents, `[queries, documents]`.
    pub fn dims(&self) -> [usize; 2] {
        match &self.relevance {
            Relevance::Mask(positives) => positives.dims(),
            Relevance::Labels { queries, documents } => [queries.dims()[0], documents.dims()[0]],
            Relevance::Lists(lists) => lists.dims(),
        }
    }

    /// The device of the targets, without autodiff.
    pub fn device(&self) -> Device {
        match &self.relevance {
            Relevance::Mask(positives) => positives.device(),
            Relevance::Labels { queries, .. } => queries.device(),
            Relevance::Lists(lists) => lists.device().clone(),
        }
    }

    /// The mask of the relevant documents, ignored ones included.
    pub(crate) fn relevant(&self) -> Tensor<2, Bool> {
        self.relevance.mask()
    }

    /// The targets of some of the queries.
    pub(crate) fn queries(&self, range: Range<usize>) -> Self {
        let [query_ids, document_ids] = &self.ids;
        // Slices, because there may be none.
        let rows = |mask: &Tensor<2, Bool>| mask.clone().slice([range.clone()]);
        let relevance = match &self.relevance {
            Relevance::Mask(positives) => Relevance::Mask(rows(positives)),
            Relevance::Labels { queries, documents } => Relevance::Labels {
                queries: queries.clone().slice([range.clone()]),
                documents: documents.clone(),
            },
            Relevance::Lists(lists) => Relevance::Lists(lists.queries(range.clone())),
        };
        Self {
            relevance,
            candidates: self.candidates.as_ref().map(rows),
            weights: self
                .weights
                .as_ref()
                .map(|weights| weights.clone().slice([range.clone()])),
            query_weights: self
                .query_weights
                .as_ref()
                .map(|weights| weights.clone().slice([range.clone()])),
            chosen: self
                .chosen
                .as_ref()
                .map(|chosen| chosen.queries(range.clone())),
            ids: [
                query_ids.as_ref().map(|ids| Ids::new(ids[range].to_vec())),
                document_ids.clone(),
            ],
        }
    }

    /// Targets from ids, with a number for the id of each document.
    pub(crate) fn of_listed_ids(lists: Lists, ids: Ids) -> Self {
        Self {
            ids: [None, Some(ids)],
            ..Relevance::Lists(lists).into()
        }
    }

    /// The lists that the relevant documents are given by, if they are.
    pub(crate) fn lists(&self) -> Option<&Lists> {
        match &self.relevance {
            Relevance::Lists(lists) => Some(lists),
            _ => None,
        }
    }

    /// Other lists in the place of the relevant documents.
    pub(crate) fn with_lists(self, lists: Lists) -> Self {
        Self {
            relevance: Relevance::Lists(lists),
            ..self
        }
    }

    /// How the relevant documents are given.
    #[cfg(any(feature = "cpu", feature = "cubecl", feature = "remote"))]
    pub(crate) fn relevance(&self) -> &Relevance {
        &self.relevance
    }

    /// The mask of what is not ignored, if anything is.
    pub(crate) fn candidates(&self) -> Option<Tensor<2, Bool>> {
        let listed = match &self.relevance {
            Relevance::Lists(lists) => lists.candidates(),
            _ => None,
        };
        match (self.candidates.clone(), listed) {
            (Some(given), Some(listed)) => Some(given.bool_and(listed)),
            (given, listed) => given.or(listed),
        }
    }

    /// The mask that [`with_candidates`](Targets::with_candidates) left, if it was called.
    #[cfg(any(feature = "cpu", feature = "cubecl", feature = "remote"))]
    pub(crate) fn given_candidates(&self) -> Option<Tensor<2, Bool>> {
        self.candidates.clone()
    }

    /// Panics unless the targets fit scores of this shape on this device.
    pub(crate) fn assert_fit(&self, [queries, documents]: [usize; 2], device: &Device) {
        match &self.relevance {
            Relevance::Mask(positives) => assert_shape!(positives, [queries, documents]),
            _ => assert!(
                self.dims() == [queries, documents],
                "targets: expected [queries, documents] = {:?} as the scores have, got {:?}",
                [queries, documents],
                self.dims()
            ),
        }
        assert_device("targets", &self.device(), device);
    }
}

/// Panics unless two devices are the same, autodiff aside.
pub(crate) fn assert_device(who: &str, got: &Device, expected: &Device) {
    assert!(
        got == expected,
        "{who}: expected a tensor on {:?}, got one on {:?}",
        expected.clone().without_autodiff(),
        got.clone().without_autodiff()
    );
}
