//! What an objective needs to know of each query's scores.
//!
//! With `x = (score - reference) / temperature`, `P` the positives and `N` the negatives
//! of a query, where a negative of score `-inf` has no weight and is left out of `N`:
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
//! `b` is the [exponent](Request::with_exponent); at 0 the mean is the arithmetic one.
//! `z` is `score / temperature + bias`, whatever the reference; its gradients above are
//! with respect to `z`. A [curve](Request::with_curve) puts `f(score)` in the place of
//! every score. With [weights](crate::Targets::with_weights) `w` every term of a sum is
//! multiplied by its `w` (`UnweightedPositives` aside), and `W`, the sum over `P`, stands
//! for `m` everywhere, `w_p` for the 1 beside it. A weight of 0 leaves its document out
//! of both sets. [Hardness](Request::with_hardness) `alpha` multiplies the weights of
//! negatives in `Negatives` and `PositiveLosses` by `exp(alpha score)`, a constant.
//!
//! The reference of a query is its hardest negative, or its strongest positive where it
//! has no negative. It is a constant: no gradient flows through it. Most objectives
//! depend on differences of scores only, so it cancels; what it buys is that these
//! differences keep their accuracy at any magnitude of the scores. (In f32 the
//! log-sum-exp of two scores of 1e6 is off by 0.03.) The exceptions measure from 0, or
//! add the [reference](Statistics::references) again.
//!
//! An empty set yields 0, to be read only through its count. A query without a positive
//! is inactive: its scores are not read, all its statistics and both counts are 0. A NaN
//! reaches the statistics of the set that it belongs to.
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
#[derive(Clone, Debug)]
pub struct Statistics {
    table: Tensor<2>,
    request: Request,
}

impl Statistics {
    /// Computes the statistics that are wanted; the counts always are.
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

    /// The same as a composition of Burn operations, on any device: slow, and the
    /// reference of the fused form that [`new`](Self::new) takes where there is one.
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

    /// The statistics of the dot products of embeddings, whose `[queries, documents]`
    /// matrix never exists: the scores are computed tile by tile, and again for the
    /// gradient, and so are the masks of targets that are labels, ids or groups.
    ///
    /// The tile is chosen for shapes and device unless it is given. Embeddings of half
    /// precision are multiplied in f32 on CPUs. With autodiff, devices without kernels
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

    /// A statistic of every query, `[queries]`.
    ///
    /// # Panics
    ///
    /// If it is none of those that were `wanted`.
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

    /// The score from which the statistics of every query are measured, `[queries]`,
    /// without a gradient; before the temperature, and after a
    /// [curve](Request::with_curve). It is that of the hardest negative, or of the
    /// strongest positive where a query has no negative, and 0 where it has no positive.
    pub fn references(&self) -> Tensor<1> {
        self.constant(REFERENCE)
    }

    /// The summed weights of the positives of every query, `[queries]`, without a
    /// gradient: their number, where there are no weights.
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
