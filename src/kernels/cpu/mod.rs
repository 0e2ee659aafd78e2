//! The statistics on a CPU: kernels over plain slices that know neither Burn nor an
//! objective.
//!
//! [`rows`] spreads the queries over the threads where the scores are given, [`tiles`]
//! the scores where embeddings are; [`summary`] and [`slope`] have the formulas of one
//! query, forward and backward, [`chunk`] the loops over its scores, [`exponential`]
//! their powers, [`real`] and [`element`] are the types of numbers and their storage,
//! [`simd`] has their vectors, and [`isa`] chooses the instruction set. [`judgements`]
//! says who is positive.

mod chunk;
mod curve;
mod element;
mod exponential;
mod false_negatives;
mod isa;
mod judgements;
mod matrix;
mod positives;
mod product;
mod real;
mod row;
mod rows;
mod share;
mod simd;
mod slope;
mod summary;
pub mod tiles;
mod weighted_sum;

pub use element::Element;
pub use false_negatives::{false_negatives, false_negatives_of_embeddings};
pub use judgements::{Judgements, Relevance};
pub use matrix::Matrix;
pub use real::Real;
pub use rows::{backward, ceilings, drawn_columns, forward};
pub use summary::Summary;
