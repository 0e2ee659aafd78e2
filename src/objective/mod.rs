//! The objectives: formulas on [statistics](crate::statistics).

mod joint_lh;
mod lse_pair;
mod rand1_lh;
mod sum_marg_lh;

use burn::{nn::loss::Reduction, tensor::Tensor};

use crate::{
    Targets,
    reduction::reduce,
    statistics::{Statistic, Statistics, Tile, softplus},
};

pub use joint_lh::{JointLhLoss, JointLhLossConfig};
pub use lse_pair::{LsePairLoss, LsePairLossConfig, NegativeSelection, PositiveSelection};
pub use rand1_lh::{Rand1LhLoss, Rand1LhLossConfig};
pub use sum_marg_lh::{SumMargLhLoss, SumMargLhLossConfig};

/// A loss for a batch of queries, as a formula on the [`Statistics`] of their scores.
///
/// An implementation names its statistics and combines them; everything else is provided,
/// differentiable, and not meant to be overridden: [`forward_shards`](crate::forward_shards), for one,
/// puts it together in another way. The losses of this crate offer the same methods without importing the trait.
///
/// # Example
///
/// The hinge loss between the weakest positive and the hardest negative:
///
/// ```
/// use burn::tensor::{Device, Tensor, activation::relu};
/// use burn_multi_positive::{Objective, statistics::{Statistic, Statistics}};
///
/// struct Hinge;
///
/// impl Objective for Hinge {
///     fn temperature(&self) -> f64 {
///         1.0
///     }
///     fn wanted(&self) -> Vec<Statistic> {
///         vec![Statistic::WeakestPositive, Statistic::HardestNegative]
///     }
///     fn losses(&self, statistics: &Statistics) -> Tensor<1> {
///         let gap = statistics.get(Statistic::HardestNegative)
///             - statistics.get(Statistic::WeakestPositive);
///         // 0 for a query without a negative, and for one without a positive.
///         relu(gap + 1.0) * statistics.negative_counts().clamp_max(1.0)
///     }
/// }
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[2.0, 0.5, 1.0]], &device);
/// let positives = Tensor::from_bool([[true, true, false]], &device);
/// assert_eq!(Hinge.forward(scores, positives).into_scalar::<f32>(), 1.5);
/// ```
pub trait Objective {
    /// What the scores are divided by.
    fn temperature(&self) -> f64;

    /// The statistics that [`losses`](Objective::losses) reads.
    fn wanted(&self) -> Vec<Statistic>;

    /// The loss of every query, `[queries]`, and 0 for a query whose counts are 0.
    fn losses(&self, statistics: &Statistics) -> Tensor<1>;

    /// The targets that the statistics are taken with, where these are not the caller's.
    fn narrow(&self, targets: Targets) -> Targets {
        targets
    }

    /// The mean loss of the queries that have a positive, shape `[1]`.
    ///
    /// # Shapes
    ///
    /// - `scores`: `[queries, documents]`
    /// - `targets`: `[queries, documents]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the targets have another shape or device than the scores.
    fn forward(&self, scores: Tensor<2>, targets: impl Into<Targets>) -> Tensor<1> {
        self.forward_with_reduction(scores, targets, Reduction::Mean)
    }

    /// The losses of the queries, reduced to shape `[1]`: `Mean` and `Auto` divide the sum by the
    /// number of queries that have a positive, `BatchMean` by the number of all queries.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward`](Objective::forward).
    fn forward_with_reduction(
        &self,
        scores: Tensor<2>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let statistics = self.statistics(scores, targets.into());
        self.reduce(&statistics, reduction)
    }

    /// The loss of every query, 0 for one that has no positive.
    ///
    /// # Shapes
    ///
    /// - `scores`: `[queries, documents]`
    /// - `targets`: `[queries, documents]`
    /// - output: `[queries]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Objective::forward).
    fn forward_no_reduction(&self, scores: Tensor<2>, targets: impl Into<Targets>) -> Tensor<1> {
        self.losses(&self.statistics(scores, targets.into()))
    }

    /// The mean loss of the queries that have a positive, from embeddings.
    ///
    /// The scores are the dot products, computed tile by tile and never held together: memory
    /// grows with queries and documents, not with their product.
    ///
    /// # Shapes
    ///
    /// - `queries`: `[queries, dimensions]`
    /// - `documents`: `[documents, dimensions]`
    /// - `targets`: `[queries, documents]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the embeddings differ in dimensions, type or device, or if the targets have another shape
    /// or device than the scores would.
    fn forward_embeddings(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        self.forward_embeddings_with_reduction(queries, documents, targets, Reduction::Mean)
    }

    /// As [`forward_embeddings`](Objective::forward_embeddings), with a tile of the caller's: what
    /// it is otherwise chosen for is speed, with 16 MiB of scores in f32 on a CPU.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_embeddings`](Objective::forward_embeddings); an empty tile panics.
    fn forward_embeddings_with_tile(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
        tile: impl Into<Tile>,
    ) -> Tensor<1> {
        let tile = Some(tile.into());
        let statistics = self.statistics_of_embeddings(queries, documents, targets.into(), tile);
        self.reduce(&statistics, Reduction::Mean)
    }

    /// As [`forward_embeddings`](Objective::forward_embeddings), with a reduction as in
    /// [`forward_with_reduction`](Objective::forward_with_reduction).
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_embeddings`](Objective::forward_embeddings).
    fn forward_embeddings_with_reduction(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let statistics = self.statistics_of_embeddings(queries, documents, targets.into(), None);
        self.reduce(&statistics, reduction)
    }

    /// The loss of every query, `[queries]`, from embeddings; 0 for one that has no positive.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_embeddings`](Objective::forward_embeddings), the output aside.
    fn forward_embeddings_no_reduction(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        let statistics = self.statistics_of_embeddings(queries, documents, targets.into(), None);
        self.losses(&statistics)
    }

    /// The losses of the queries, reduced to shape `[1]` as in
    /// [`forward_with_reduction`](Objective::forward_with_reduction).
    fn reduce(&self, statistics: &Statistics, reduction: Reduction) -> Tensor<1> {
        reduce(
            self.losses(statistics),
            statistics.positive_counts(),
            &reduction,
        )
    }

    /// The statistics of the scores that this objective reads.
    ///
    /// # Panics
    ///
    /// As [`forward`](Objective::forward).
    fn statistics(&self, scores: Tensor<2>, targets: Targets) -> Statistics {
        targets.assert_fit(scores.dims(), &scores.device());
        let targets = self.narrow(targets);
        Statistics::new(scores, &targets, self.temperature(), &self.wanted())
    }

    /// The statistics of the dot products of embeddings that this objective reads, see
    /// [`Statistics::from_embeddings`].
    ///
    /// # Panics
    ///
    /// As [`forward_embeddings_with_tile`](Objective::forward_embeddings_with_tile).
    fn statistics_of_embeddings(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: Targets,
        tile: Option<Tile>,
    ) -> Statistics {
        targets.assert_fit([queries.dims()[0], documents.dims()[0]], &queries.device());
        let targets = self.narrow(targets);
        Statistics::from_embeddings(
            queries,
            documents,
            &targets,
            self.temperature(),
            &self.wanted(),
            tile,
        )
    }
}

/// `log(1 + exp(gap))`, and 0 for a query without a negative, unless its gap is NaN.
fn contrast(gap: Tensor<1>, statistics: &Statistics) -> Tensor<1> {
    let any_negative = statistics.negative_counts().clamp_max(1.0);
    // A factor, not a mask: a mask would hide a NaN.
    softplus(gap.mul(any_negative.clone())).mul(any_negative)
}

fn assert_temperature(config: &str, temperature: f64) {
    assert!(
        temperature > 0.0 && temperature.is_finite(),
        "{config}: temperature must be positive and finite, got {temperature}"
    );
}

/// The methods of [`Objective`] as methods of the type, so that users need not import the trait.
macro_rules! inherent_forward {
    ($loss:ident) => {
        impl $loss {
            #[doc = concat!("The mean loss of the queries that have a positive, see [`", stringify!($loss), "`].")]
            ///
            /// # Shapes
            ///
            /// - `scores`: `[queries, documents]`
            /// - `targets`: `[queries, documents]`, a mask of the positives or [`Targets`](crate::Targets)
            /// - output: `[1]`, in f32, or in f64 for scores in f64
            ///
            /// # Panics
            ///
            /// If the targets have another shape or device than the scores.
            ///
            /// # Example
            ///
            /// ```
            /// use burn::tensor::{Device, Tensor};
            #[doc = concat!("use burn_multi_positive::", stringify!($loss), "Config;")]
            ///
            /// let device = Device::default().autodiff();
            /// let scores = Tensor::<2>::from_floats([[3.0, 1.0, 2.0]], &device).require_grad();
            /// let positives = Tensor::from_bool([[true, true, false]], &device);
            ///
            #[doc = concat!("let loss = ", stringify!($loss), "Config::new().init().forward(scores.clone(), positives);")]
            /// let gradients = loss.backward();
            /// assert_eq!(scores.grad(&gradients).unwrap().dims(), [1, 3]);
            /// ```
            pub fn forward(
                &self,
                scores: burn::tensor::Tensor<2>,
                targets: impl Into<crate::Targets>,
            ) -> burn::tensor::Tensor<1> {
                crate::Objective::forward(self, scores, targets)
            }

            /// The losses of the queries, reduced to shape `[1]`: `Mean` and `Auto` divide the sum
            /// by the number of queries that have a positive (0 if none has), `BatchMean` by the
            /// number of all queries.
            ///
            /// Shapes and panics are those of [`forward`](Self::forward).
            pub fn forward_with_reduction(
                &self,
                scores: burn::tensor::Tensor<2>,
                targets: impl Into<crate::Targets>,
                reduction: burn::nn::loss::Reduction,
            ) -> burn::tensor::Tensor<1> {
                crate::Objective::forward_with_reduction(self, scores, targets, reduction)
            }

            /// The loss of every query, `[queries]`, 0 for one that has no positive.
            ///
            /// Shapes and panics are those of [`forward`](Self::forward), the output aside.
            pub fn forward_no_reduction(
                &self,
                scores: burn::tensor::Tensor<2>,
                targets: impl Into<crate::Targets>,
            ) -> burn::tensor::Tensor<1> {
                crate::Objective::forward_no_reduction(self, scores, targets)
            }

            /// The mean loss from embeddings, whose dot products are the scores.
            ///
            /// The scores are computed tile by tile and never held together: memory grows with
            /// queries and documents, not with their product. Labels, ids and groups in
            /// [`Targets`](crate::Targets) stay as they are; a mask of your own is a matrix of that
            /// size.
            ///
            /// # Shapes
            ///
            /// - `queries`: `[queries, dimensions]`
            /// - `documents`: `[documents, dimensions]`
            /// - `targets`: `[queries, documents]`
            /// - output: `[1]`, in f32, or in f64 for embeddings in f64
            ///
            /// # Panics
            ///
            /// If the embeddings differ in dimensions, type or device, or if the targets have
            /// another shape or device than the scores would.
            ///
            /// # Example
            ///
            /// ```
            /// use burn::tensor::{Device, Distribution, Tensor};
            #[doc = concat!("use burn_multi_positive::{", stringify!($loss), "Config, Targets};")]
            ///
            /// let device = Device::default().autodiff();
            /// // Two documents for each query, positives first.
            /// let targets = Targets::from_groups(&[1, 2, 1], 2, &device)?;
            /// let normal = Distribution::Normal(0.0, 1.0);
            /// let queries = Tensor::<2>::random([3, 16], normal, &device).require_grad();
            /// let documents = Tensor::<2>::random([6, 16], normal, &device).require_grad();
            ///
            #[doc = concat!("let loss_fn = ", stringify!($loss), "Config::new().init();")]
            /// let loss = loss_fn.forward_embeddings(queries.clone(), documents.clone(), targets);
            /// let gradients = loss.backward();
            /// assert_eq!(queries.grad(&gradients).unwrap().dims(), [3, 16]);
            /// assert_eq!(documents.grad(&gradients).unwrap().dims(), [6, 16]);
            /// # Ok::<(), burn_multi_positive::TargetsError>(())
            /// ```
            pub fn forward_embeddings(
                &self,
                queries: burn::tensor::Tensor<2>,
                documents: burn::tensor::Tensor<2>,
                targets: impl Into<crate::Targets>,
            ) -> burn::tensor::Tensor<1> {
                crate::Objective::forward_embeddings(self, queries, documents, targets)
            }

            /// As [`forward_embeddings`](Self::forward_embeddings), holding at most a
            /// [`Tile`](crate::Tile) of scores: a side, or queries and documents.
            ///
            /// The tile is a bound on memory and changes the result by rounding only. Without one it
            /// is chosen for the shapes and the device. An empty tile panics.
            pub fn forward_embeddings_with_tile(
                &self,
                queries: burn::tensor::Tensor<2>,
                documents: burn::tensor::Tensor<2>,
                targets: impl Into<crate::Targets>,
                tile: impl Into<crate::Tile>,
            ) -> burn::tensor::Tensor<1> {
                crate::Objective::forward_embeddings_with_tile(
                    self, queries, documents, targets, tile,
                )
            }

            /// As [`forward_embeddings`](Self::forward_embeddings), with a reduction as in
            /// [`forward_with_reduction`](Self::forward_with_reduction).
            pub fn forward_embeddings_with_reduction(
                &self,
                queries: burn::tensor::Tensor<2>,
                documents: burn::tensor::Tensor<2>,
                targets: impl Into<crate::Targets>,
                reduction: burn::nn::loss::Reduction,
            ) -> burn::tensor::Tensor<1> {
                crate::Objective::forward_embeddings_with_reduction(
                    self, queries, documents, targets, reduction,
                )
            }

            /// As [`forward_embeddings`](Self::forward_embeddings), the loss of every query,
            /// `[queries]`.
            pub fn forward_embeddings_no_reduction(
                &self,
                queries: burn::tensor::Tensor<2>,
                documents: burn::tensor::Tensor<2>,
                targets: impl Into<crate::Targets>,
            ) -> burn::tensor::Tensor<1> {
                crate::Objective::forward_embeddings_no_reduction(
                    self, queries, documents, targets,
                )
            }
        }
    };
}
use inherent_forward;

/// The gap of a likelihood objective: how far the positives lie below the negatives.
fn likelihood_gap(statistics: &Statistics) -> Tensor<1> {
    statistics.get(Statistic::Negatives) - statistics.get(Statistic::Positives)
}
