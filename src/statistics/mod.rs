//! The statistics of the scores of each query, from which an objective computes its losses.
//!
//! `P` are the positives and `N` the negatives of a query. A negative with the score `-inf`
//! has no weight and is left out of `N`. With `x = (score - reference) / temperature`:
//!
//! ```text
//! statistic           value                     gradient with respect to x_n, x_p
//! Negatives           log sum_N exp(x)          softmax_N(x)                  over N
//! PositiveMean        log(sum_P exp(b x) / m) / b   softmax_P(b x)            over P
//! UnweightedPositives log sum_P exp(x)          softmax_P(x)                  over P
//! PositiveExcess      sum_P (UnweightedPositives - x)   m softmax_P(x) - 1    over P
//! PositiveLosses      sum_P softplus(Negatives - x)     -sigmoid(Negatives - x) over P,
//!                                               sum_P sigmoid softmax_N(x)    over N
//! WeakestPositive     min_P x                   1 at the first such column
//! StrongestPositive   max_P x                   1 at the first such column
//! HardestNegative     max_N x                   1 at the first such column
//! BinaryLosses        sum_P softplus(-z) + sum_N softplus(z)   -sigmoid(-z), sigmoid(z)
//! counts              m = |P|, |N|              none
//! positive weights    W = m                     none
//! ```
//!
//! - `b` is the [exponent](Request::with_exponent). At 0 the mean is the arithmetic one.
//! - `z` is `score / temperature + bias`, without the reference. The gradients of
//!   `BinaryLosses` above are with respect to `z`.
//! - A [curve](Request::with_curve) replaces every score by `f(score)`.
//! - With [weights](crate::Targets::with_weights) `w` every term of a sum is multiplied by its
//!   `w`, except in `UnweightedPositives`. `W`, the sum of `w` over `P`, replaces `m`
//!   everywhere, and `w_p` replaces the 1 in `m softmax_P(x) - 1`. A weight of 0 leaves its
//!   document out of both sets.
//! - [Hardness](Request::with_hardness) `alpha` multiplies the weights of negatives in
//!   `Negatives` and `PositiveLosses` by `exp(alpha score)`, a constant. To `HardestNegative`
//!   it adds the logarithm of this weight.
//!
//! The reference of a query is the score of its hardest negative, or of its strongest positive
//! if it has no negative. It is a constant: no gradient flows through it. Most objectives
//! depend on differences of scores only, so the reference cancels. With it these differences
//! keep their accuracy at any magnitude of the scores. (In f32 the log-sum-exp of two scores
//! of 1e6 is off by 0.03.) The other objectives use a statistic without a reference, or add
//! the [reference](Statistics::references) again.
//!
//! The statistics of an empty set are 0. Read the count of a set to know whether it is empty.
//! A query without a positive is inactive: its scores are not read, and all its statistics and
//! both counts are 0. A NaN reaches the statistics of the set that it belongs to.
//!
//! Scores of f16, bf16 and f32 give statistics in f32, scores of f64 in f64.

mod composed;
#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "cpu")]
pub(crate) mod false_negatives;
#[cfg(any(feature = "cpu", feature = "cubecl", feature = "remote"))]
mod fused;
mod judged;
mod operations;
#[cfg(feature = "remote")]
pub(crate) mod remote;
mod softplus;
mod tiled;

// Without a backend that has kernels everything composes.
#[cfg(not(any(feature = "cpu", feature = "cubecl", feature = "remote")))]
use composed as fused;

use burn::tensor::{DType, Tensor};

pub use crate::kernels::{
    curve::{Curve, Product},
    table::{Request, Statistic},
};
use crate::{
    Embeddings, Targets, Tile,
    kernels::table::{NEGATIVE_COUNT, POSITIVE_COUNT, POSITIVE_WEIGHT, REFERENCE},
};

pub(crate) use composed::{Moments, false_negatives as mask_of_false_negatives};
pub(crate) use softplus::softplus;

/// The statistics of the queries of a batch, differentiable with respect to the scores.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::{
///     Targets,
///     statistics::{Request, Statistic, Statistics},
/// };
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[2.0, 0.5, 1.0]], &device);
/// let targets = Targets::new(Tensor::from_bool([[true, true, false]], &device));
/// let request = Request::new(1.0, &[Statistic::WeakestPositive]);
///
/// let statistics = Statistics::new(scores, &targets, request);
/// // The reference is the hardest negative, 1.
/// let weakest = statistics.get(Statistic::WeakestPositive).into_scalar::<f32>();
/// assert!((weakest + 0.5).abs() < 1e-6);
/// ```
#[derive(Clone, Debug)]
pub struct Statistics {
    table: Tensor<2>,
    request: Request,
}

impl Statistics {
    /// Computes the statistics that the request names. Counts, references and positive weights
    /// are always computed.
    ///
    /// # Shapes
    ///
    /// - `scores`: `[queries, documents]`
    ///
    /// # Panics
    ///
    /// If the targets have another shape or device than the scores.
    pub fn new(scores: Tensor<2>, targets: &Targets, request: Request) -> Self {
        targets.assert_fit(scores.dims(), &scores.device());
        Self {
            table: fused::table(scores, targets, request),
            request,
        }
    }

    /// Computes the same by a composition of Burn operations, on any device. It is slow, and
    /// is the reference for the fused kernels that [`new`](Self::new) uses on devices that
    /// have them.
    ///
    /// # Shapes and panics
    ///
    /// As [`new`](Self::new).
    pub fn composed(scores: Tensor<2>, targets: &Targets, request: Request) -> Self {
        targets.assert_fit(scores.dims(), &scores.device());
        Self {
            table: composed::table(scores, targets, request),
            request,
        }
    }

    /// Computes the statistics of the dot products of embeddings, without the
    /// `[queries, documents]` matrix of all scores. The scores are computed tile by tile, and
    /// again for the gradient. So are the masks of targets that are labels, ids or groups.
    ///
    /// The tile is chosen for the shapes and the device, unless it is given. Embeddings of
    /// half precision are multiplied in f32 on CPUs. With autodiff, devices without kernels
    /// compute all scores at once.
    ///
    /// # Panics
    ///
    /// If the targets have another shape or device than the scores would.
    pub fn from_embeddings(embeddings: Embeddings, targets: &Targets, request: Request) -> Self {
        let Embeddings {
            queries, documents, ..
        } = &embeddings;
        targets.assert_fit([queries.dims()[0], documents.dims()[0]], &queries.device());
        Self {
            table: tiled::table(embeddings, targets, request),
            request,
        }
    }

    /// The statistics of the queries over the documents, and of the documents over the
    /// queries: those of [`from_embeddings`](Self::from_embeddings) of either direction.
    ///
    /// On Burn's CPU backends each tile of scores is computed once and serves both.
    pub(crate) fn both_from_embeddings(
        embeddings: Embeddings,
        targets: &Targets,
        mirrored: &Targets,
        request: Request,
    ) -> [Self; 2] {
        tiled::both(embeddings, targets, mirrored, request).map(|table| Self { table, request })
    }

    /// The statistics of embeddings over themselves: queries and documents are the same.
    ///
    /// On Burn's CPU backends half of the products are computed.
    pub(crate) fn symmetric_from_embeddings(
        embeddings: Tensor<2>,
        tile: Option<Tile>,
        targets: &Targets,
        request: Request,
    ) -> Self {
        Self {
            table: tiled::symmetric(embeddings, tile, targets, request),
            request,
        }
    }

    /// The statistics of embeddings cut to so many `sizes` dimensions, ascending, and
    /// normalized anew if wanted.
    ///
    /// On Burn's CPU backends the products of a size are part of those of the next.
    pub(crate) fn nested_from_embeddings(
        embeddings: Embeddings,
        targets: &Targets,
        request: Request,
        sizes: &[usize],
        normalize: bool,
    ) -> Vec<Self> {
        let tables = tiled::nested(embeddings, targets, request, sizes, normalize);
        let statistics = tables.into_iter().map(|table| Self { table, request });
        statistics.collect()
    }

    /// A statistic of every query, `[queries]`, in f32, or in f64 for scores in f64.
    ///
    /// # Panics
    ///
    /// If the request does not name the statistic.
    pub fn get(&self, statistic: Statistic) -> Tensor<1> {
        assert!(
            self.request.wants(statistic),
            "Statistics::get: expected one of the statistics that were wanted, got {statistic:?}, which \
             was not asked for"
        );
        let value = column(self.table.clone(), statistic as usize);
        let of_negatives = matches!(statistic, Statistic::Negatives | Statistic::HardestNegative);
        match self.request.hardness() {
            // In the table the weights are measured from the reference, too.
            hardness if hardness != 0.0 && of_negatives => {
                let any = self.negative_counts().clamp_max(1.0);
                let reference = self.references();
                let none = any.equal_scalar(0.0);
                value + reference.mul_scalar(hardness).mask_fill(none, 0.0)
            }
            _ => value,
        }
    }

    /// The number of positives of every query, `[queries]`, as floats and without a
    /// gradient.
    pub fn positive_counts(&self) -> Tensor<1> {
        self.constant(POSITIVE_COUNT)
    }

    /// The number of negatives of every query, `[queries]`, as floats and without a
    /// gradient.
    pub fn negative_counts(&self) -> Tensor<1> {
        self.constant(NEGATIVE_COUNT)
    }

    /// The reference of every query, `[queries]`, without a gradient: the score from which its
    /// statistics are measured. It is a score before the division by the temperature, and
    /// after a [curve](Request::with_curve). It is that of the hardest negative, or of the
    /// strongest positive if the query has no negative. It is 0 for a query without a
    /// positive.
    pub fn references(&self) -> Tensor<1> {
        self.constant(REFERENCE)
    }

    /// The sum of the weights of the positives of every query, `[queries]`, without a
    /// gradient. It is the number of the positives if there are no weights.
    pub fn positive_weights(&self) -> Tensor<1> {
        self.constant(POSITIVE_WEIGHT)
    }

    fn constant(&self, index: usize) -> Tensor<1> {
        column(self.table.clone().without_autodiff(), index)
    }
}

fn column(table: Tensor<2>, index: usize) -> Tensor<1> {
    let column = match table.dims() {
        // A slice of nothing leaves the graph, and its zero could not be differentiated.
        [0, _] => table.sum_dim(1),
        _ => table.narrow(1, index, 1),
    };
    column.squeeze_dim(1)
}

/// The type of the statistics of scores, or of sums of embeddings, in `dtype`.
fn wide(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}
