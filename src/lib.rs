//! Multi-positive objectives for training dense retrievers with [Burn](burn).
#![warn(missing_docs)]
#![deny(unsafe_code)]

#[cfg(feature = "flex")]
mod kernel;
mod objective;
mod reduction;
pub mod statistics;
mod targets;

pub use objective::{
    JointLhLoss, JointLhLossConfig, LsePairLoss, LsePairLossConfig, NegativeSelection, Objective,
    PositiveSelection, Rand1LhLoss, Rand1LhLossConfig, SumMargLhLoss, SumMargLhLossConfig,
};
pub use targets::{Targets, TargetsError};
