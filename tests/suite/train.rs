//! In Burn's training loop: metrics, outputs, and strategies.

mod learner;
mod metrics;
mod outputs;
