//! The statistics on a CPU: kernels over plain slices that know neither Burn nor an objective.
//!
//! [`rows`] spreads the queries over the threads where the scores are given, [`tiles`] the scores
//! where embeddings are; [`forward`](mod@forward) and [`backward`](mod@backward) have the formulas
//! of one query, [`block`] the loops over its scores, [`real`] and [`element`] the arithmetic and the
//! storage types, and [`isa`] chooses the instruction set. [`judgements`] says who is positive.

mod backward;
mod block;
mod element;
mod forward;
mod isa;
mod judgements;
mod matrix;
mod positives;
mod product;
mod real;
mod row;
mod rows;
pub mod tiles;
mod weighable;

pub use element::Element;
pub use forward::Summary;
pub use judgements::{Choices, Judgements, Relevant};
pub use matrix::Matrix;
pub use real::Real;
pub use rows::{backward, forward};
