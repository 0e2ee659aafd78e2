//! Multi-positive objectives for training dense retrievers with [Burn](burn).
//!
//! A loss takes the scores of a dual encoder, `[queries, documents]`, and says who is
//! relevant to whom: a Bool mask, or [`Targets`] from ids, labels or groups.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use burn_multi_positive::LsePairLossConfig;
//!
//! let device = Device::default().autodiff();
//! let scores = Tensor::<2>::from_floats([[0.8, 0.2, 0.5], [0.3, 0.1, 0.4]], &device);
//! let scores = scores.require_grad();
//! let positives = Tensor::from_bool([[true, true, false], [false, false, true]], &device);
//!
//! let loss_fn = LsePairLossConfig::new().with_temperature(0.05).init();
//! let gradients = loss_fn.forward(scores.clone(), positives).backward();
//! assert!(scores.grad(&gradients).is_some());
//! ```
//!
//! | objective | loss of a query | gradient on the positives |
//! |---|---|---|
//! | [`LsePairLoss`] | `softplus(lse_N(s) + lse_P(-s))` | mostly on the weakest |
//! | [`SumMargLhLoss`] | `softplus(lse_N(s) - lse_P(s))` | mostly on the strongest |
//! | [`JointLhLoss`] | `m lse_PN(s) - sum_P s` | makes all equal |
//! | [`Rand1LhLoss`] | InfoNCE on one positive | on the drawn one |
//! | [`ExpectedRand1LhLoss`] | the mean of InfoNCE on each positive | on all |
//! | [`PowerMeanLoss`] | `softplus(lse_N(s) - lse_P(b s) / b)` | as the exponent `b` says |
//! | [`DclLoss`] | `lse_N(s) - mean_P(s)` | on all alike, and never less |
//! | [`MarginRankingLoss`] | `max(0, max_N(s) - min_P(s) + margin)` | on the weakest alone |
//! | [`MultiSimilarityLoss`] | `softplus(lse_P(-alpha s)) / alpha + softplus(lse_N(beta s)) / beta` from a base | mostly on the weakest |
//! | [`CircleLoss`] | LSEPair on scores weighed by how wrong they are | mostly on the weakest |
//! | [`FocalInfoNceLoss`] | the mean of InfoNCE on each positive, on squares | on all, by their scores |
//! | [`SigmoidLoss`] | `sum_P softplus(-s - bias) + sum_N softplus(s + bias)` | on each by itself |
//!
//! `s` are scores divided by the temperature, `P` the positives of a query, `m` their
//! number, `N` its negatives, `lse` is log-sum-exp. With one positive the first six are
//! InfoNCE. [`MarginMseLoss`] is for a teacher's margins, [`SpreadOutLoss`] a regularizer of
//! embeddings.
//!
//! # A loss
//!
//! A configuration with setters makes a loss: `LsePairLossConfig::new().init()`. Every loss
//! has
//!
//! - `forward`, the mean over the queries that have a positive,
//! - `forward_with_reduction` and `forward_no_reduction`,
//! - `forward_embeddings`, which never holds the matrix of scores.
//!
//! [`Forward`] has them for code that is generic over losses. [`Objective`] is the trait
//! behind a loss, for objectives of your own; [`statistics`] is what these are formulas on.
//!
//! # Who is relevant
//!
//! A Bool mask, or [`Targets`]: from ids, groups, labels, columns or a teacher, with grades,
//! weights, ignored candidates and chosen positives.
//!
//! # Scores
//!
//! Everything that is `Into<`[`Scores`]`>`: a matrix, [`Embeddings`] with or without a
//! [`Tile`], or [`Shards`] on several devices. [`LearnableTemperature`] learns what the
//! scores are divided by, [`LearnableBias`] what is added to them.
//!
//! # Options
//!
//! - Suspected false negatives are ignored: [`FalseNegatives`], by the model's own scores or
//!   those of a guide ([`Targets::without_false_negatives`]).
//! - Hard negatives weigh more: `with_hardness` of most losses.
//! - Both directions, and negatives of the same side: [`Bidirectional`].
//! - Nested dimensions: [`Matryoshka`].
//!
//! # Large batches
//!
//! [`GradientCache`] makes a step of a batch whose activations do not fit. [`MemoryBank`]
//! keeps documents of earlier batches as candidates.
//!
//! # Devices
//!
//! The device of the scores decides how a loss is computed: by fused kernels on Burn's CPU
//! backends (features `flex`, `ndarray`), on the CubeCL backends (`wgpu`, `vulkan`, `metal`,
//! `cuda`, `rocm`), and on remote devices that use the kernels of their server
//! (`remote::use_kernels`, feature `remote`); by composed Burn operations elsewhere.
//! [`evaluation`] measures rankings; the feature `train` has metrics and a strategy for
//! Burn's training loop.
//!
//! # Precision, errors and panics
//!
//! Losses are in f32 for scores in f16, bf16 and f32, and in f64 for scores in f64.
//! Gradients have the type of the scores, and are of first order.
//!
//! A query without a positive has a loss of 0 and does not count in the mean. NaN among the
//! candidates of a query makes the loss of that query NaN, and of no other. Whatever is
//! ignored reaches neither a loss nor a gradient.
//!
//! Bad data in a builder is a [`TargetsError`] that names the entry. Shapes, devices and
//! settings that do not fit panic, and say what was expected and what came.
#![warn(missing_docs)]
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without a backend that has kernels everything composes, and what leads to kernels is
// not used.
#![cfg_attr(
    not(any(feature = "cpu", feature = "cubecl", feature = "remote")),
    allow(dead_code, unused_variables)
)]

mod bank;
mod bias;
mod cache;
mod device;
pub mod evaluation;
mod guide;
mod kernels;
mod objective;
mod reduction;
#[cfg(feature = "remote")]
pub mod remote;
mod scores;
mod spread_out;
pub mod statistics;
mod targets;
mod temperature;
mod tile;
#[cfg(feature = "train")]
pub mod train;

/// The examples of the README and of the guide are compiled and run.
#[cfg(doctest)]
mod pages {
    macro_rules! pages {
        ($($page:literal $name:ident)*) => {
            $(#[doc = include_str!($page)] struct $name;)*
        };
    }
    pages! {
        "../README.md" Readme
        "../docs/guide/first-retriever.md" FirstRetriever
        "../docs/guide/half-precision.md" HalfPrecision
        "../docs/guide/large-batches.md" LargeBatches
        "../docs/guide/llm-labels.md" LlmLabels
        "../docs/guide/porting.md" Porting
        "../docs/guide/temperature.md" Temperature
        "../docs/guide/troubleshooting.md" Troubleshooting
        "../docs/guide/your-encoder.md" YourEncoder
    }
}

pub use bank::{BankError, MemoryBank, MemoryBankRecord, Stored};
pub use bias::{LearnableBias, LearnableBiasConfig};
pub use cache::{CacheError, CachedStep, GradientCache, Side};
pub use kernels::ceiling::{FalseNegatives, PositiveThreshold};
pub use objective::{
    Bidirectional, CircleLoss, CircleLossConfig, DclLoss, DclLossConfig, ExpectedRand1LhLoss,
    ExpectedRand1LhLossConfig, FocalInfoNceLoss, FocalInfoNceLossConfig, Forward, JointLhLoss,
    JointLhLossConfig, LsePairLoss, LsePairLossConfig, MarginMseLoss, MarginRankingLoss,
    MarginRankingLossConfig, Matryoshka, MultiSimilarityLoss, MultiSimilarityLossConfig,
    NegativeSelection, Objective, PositiveSelection, PowerMeanLoss, PowerMeanLossConfig,
    Rand1LhLoss, Rand1LhLossConfig, SigmoidLoss, SigmoidLossConfig, SumMargLhLoss,
    SumMargLhLossConfig,
};
pub use scores::{Embeddings, Scores, Shards};
pub use spread_out::{SpreadOutLoss, SpreadOutLossConfig};
pub use targets::{Targets, TargetsError};
pub use temperature::{LearnableTemperature, LearnableTemperatureConfig};
pub use tile::Tile;
