//! The objectives: formulas on [statistics](crate::statistics).

mod bidirectional;
mod circle;
mod dcl;
mod expected_rand1_lh;
mod focal_info_nce;
mod forward;
mod joint_lh;
mod lse_pair;
mod margin_mse;
mod margin_ranking;
mod matryoshka;
mod multi_similarity;
mod nest;
mod options;
mod power_mean;
mod rand1_lh;
mod sigmoid;
mod sum_marg_lh;

use burn::tensor::Tensor;

use crate::{
    Targets,
    statistics::{Request, Statistic, Statistics, softplus},
};

pub use bidirectional::Bidirectional;
pub use circle::{CircleLoss, CircleLossConfig};
pub use dcl::{DclLoss, DclLossConfig};
pub use expected_rand1_lh::{ExpectedRand1LhLoss, ExpectedRand1LhLossConfig};
pub use focal_info_nce::{FocalInfoNceLoss, FocalInfoNceLossConfig};
pub use forward::Forward;
use forward::inherent_forward;
pub use joint_lh::{JointLhLoss, JointLhLossConfig};
pub use lse_pair::{LsePairLoss, LsePairLossConfig, NegativeSelection, PositiveSelection};
pub use margin_mse::MarginMseLoss;
pub use margin_ranking::{MarginRankingLoss, MarginRankingLossConfig};
pub use matryoshka::Matryoshka;
pub use multi_similarity::{MultiSimilarityLoss, MultiSimilarityLossConfig};
use options::{assert_options, display, options};
pub use power_mean::{PowerMeanLoss, PowerMeanLossConfig};
pub use rand1_lh::{Rand1LhLoss, Rand1LhLossConfig};
pub use sigmoid::{SigmoidLoss, SigmoidLossConfig};
pub use sum_marg_lh::{SumMargLhLoss, SumMargLhLossConfig};

/// A loss for a batch of queries, defined by a formula on the [`Statistics`] of their scores.
///
/// An implementation names the statistics that it needs, and combines them into the losses of
/// the queries. The trait [`Forward`] does the rest for every objective: reductions, tiles,
/// shards and gradients, on every device. `dyn Objective` and the losses of this crate also
/// have these methods as their own, so [`Forward`] need not be imported for them.
///
/// Objectives of several types can be kept in a `Vec<Box<dyn Objective>>`, for instance to
/// compare them.
///
/// # Example
///
/// The hinge loss between the weakest positive and the hardest negative:
///
/// ```
/// use burn::tensor::{Device, Tensor, activation::relu};
/// use burn_multi_positive::{Forward, Objective, statistics::{Request, Statistic, Statistics}};
///
/// struct Hinge;
///
/// impl Objective for Hinge {
///     fn request(&self) -> Request {
///         Request::new(1.0, &[Statistic::WeakestPositive, Statistic::HardestNegative])
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
    /// The statistics that [`losses`](Objective::losses) reads, and their settings: the
    /// temperature, the exponent of the positives, the hardness of the negatives, and others.
    fn request(&self) -> Request;

    /// The loss of every query, `[queries]`. It must be 0 for a query without a positive,
    /// whose statistics and counts are all 0.
    ///
    /// [`Statistics::get`] panics for a statistic that [`request`](Objective::request) does
    /// not name.
    fn losses(&self, statistics: &Statistics) -> Tensor<1>;

    /// The targets that the statistics are computed with. By default they are the targets of
    /// the caller. An objective may keep only some of the positives: [`Rand1LhLoss`] draws one
    /// for each query.
    ///
    /// Call this method first if you compute the [`Statistics`] of an objective yourself.
    fn choose_positives(&self, targets: Targets) -> Targets {
        targets
    }
}

/// What an objective is behind a pointer.
macro_rules! behind {
    ($pointer:ty) => {
        impl<O: Objective + ?Sized> Objective for $pointer {
            fn request(&self) -> Request {
                (**self).request()
            }

            fn losses(&self, statistics: &Statistics) -> Tensor<1> {
                (**self).losses(statistics)
            }

            fn choose_positives(&self, targets: Targets) -> Targets {
                (**self).choose_positives(targets)
            }
        }
    };
}

behind!(&O);
behind!(Box<O>);

/// `log(1 + exp(gap))`, and 0 for a query without a negative, unless its gap is NaN.
fn contrast(gap: Tensor<1>, statistics: &Statistics) -> Tensor<1> {
    let any_negative = statistics.negative_counts().clamp_max(1.0);
    softplus(with_negatives(gap, statistics)).mul(any_negative)
}

/// The values of queries that have a negative, and 0 for the others, unless it is NaN.
fn with_negatives(values: Tensor<1>, statistics: &Statistics) -> Tensor<1> {
    where_any(values, statistics.negative_counts())
}

/// The values where there is a count, and 0 elsewhere, unless it is NaN.
fn where_any(values: Tensor<1>, counts: Tensor<1>) -> Tensor<1> {
    let any = counts.clamp_max(1.0);
    // Positives may lie infinitely far apart, and infinity times 0 is NaN.
    let pointless = any.clone().equal_scalar(0.0);
    let infinite = values.clone().is_inf().bool_and(pointless);
    // A factor, not a mask: a mask would hide a NaN.
    values.mask_fill(infinite, 0.0).mul(any)
}

/// `losses`, divided by the summed weights of the positives.
fn per_positive(losses: Tensor<1>, statistics: &Statistics) -> Tensor<1> {
    let weights = statistics.positive_weights();
    let none = weights.clone().equal_scalar(0.0);
    losses / weights.mask_fill(none, 1.0)
}

/// The logarithm of the summed weights of the positives; 0 for a query without one.
fn log_positive_weights(statistics: &Statistics) -> Tensor<1> {
    let weights = statistics.positive_weights();
    let none = weights.clone().equal_scalar(0.0);
    weights.mask_fill(none, 1.0).log()
}

/// How far `positives` lie below the negatives.
fn gap(positives: Statistic, statistics: &Statistics) -> Tensor<1> {
    statistics.get(Statistic::Negatives) - statistics.get(positives)
}
