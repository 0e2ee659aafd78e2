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
//! Every loss has `forward` (the mean over the queries that have a positive),
//! `forward_with_reduction` and `forward_no_reduction`. They take a matrix of scores, or
//! [`Embeddings`], whose scores are never held together; [`Objective`] is the trait
//! behind them, for objectives of your own, and [`statistics`] is what objectives are
//! formulas on. The device of the scores decides how these are computed: by fused kernels
//! on Burn's CPU backends, on the CubeCL backends (wgpu, Vulkan, Metal, CUDA, ROCm), and
//! on remote devices that use the kernels of their server (`remote::use_kernels`, feature
//! `remote`); by composed Burn operations elsewhere.
//!
//! Graded judgements and other weights are a matter of [`Targets`]; suspected false
//! negatives ([`FalseNegatives`]) are one of each loss, and hardness of most.
//! [`LearnableTemperature`] learns what the scores are divided by, [`LearnableBias`] what
//! is added to them. [`Bidirectional`] goes around a loss and adds the direction from
//! documents to queries, and negatives of the same side; [`Matryoshka`] sums a loss over
//! nested dimensions. [`SpreadOutLoss`] is a regularizer of embeddings beside them.
//!
//! A teacher's scores are weights ([`Targets::from_teacher`]), or margins
//! ([`MarginMseLoss`]).
//!
//! [`GradientCache`] makes a step of a batch whose activations do not fit, [`MemoryBank`]
//! keeps documents of earlier batches as candidates, and [`Shards`] are embeddings that
//! are on several devices.
//!
//! Losses are in f32 for scores in f16, bf16 and f32, and in f64 for scores in f64.
//! Gradients are of first order.
#![warn(missing_docs)]
#![deny(unsafe_code)]
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

/// The examples of the README are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
