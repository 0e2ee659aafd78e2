//! The statistics on a CPU: kernels over plain slices that know neither Burn nor an objective.
//!
//! [`rows`] spreads the queries over the threads, [`forward`](mod@forward) and
//! [`backward`](mod@backward) have the formulas of one query, [`block`] the loops over its scores,
//! [`real`] and [`element`] the arithmetic and the storage types, and [`isa`] chooses the
//! instruction set.

mod backward;
mod block;
mod element;
mod forward;
mod isa;
mod positives;
mod real;
mod row;
mod rows;

pub use element::Element;
pub use rows::{Choices, Masks, Matrix, backward, forward};
