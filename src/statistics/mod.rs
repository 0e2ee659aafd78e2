//! What an objective needs to know of each query's scores.
//!
//! With `x = (score - reference) / temperature`, `P` the positives and `N` the negatives of a
//! query, where a negative of score `-inf` has no weight and is left out of `N`:
//!
//! ```text
//! statistic           value                     gradient with respect to x_n, x_p
//! Negatives           log sum_N exp(x)          softmax_N(x)                  over N
//! Positives           log sum_P exp(x)          softmax_P(x)                  over P
//! WeakPositives       log sum_P exp(-x)         -softmax_P(-x)                over P
//! PositiveExcess      sum_P (Positives - x)     m softmax_P(x) - 1            over P
//! WeakestPositive     min_P x                   1 at the first such column
//! StrongestPositive   max_P x                   1 at the first such column
//! HardestNegative     max_N x                   1 at the first such column
//! counts              m = |P|, |N|              none
//! ```
//!
//! The reference of a query is its hardest negative, or its strongest positive where it has no
//! negative. It is a constant: no gradient flows through it. Objectives depend on differences of
//! scores only, so it cancels; what it buys is that these differences keep their accuracy at any
//! magnitude of the scores. (In f32 the log-sum-exp of two scores of 1e6 is off by 0.03.)
//!
//! An empty set yields 0, to be read only through its count. A query without a positive is
//! inactive: its scores are not read, all its statistics and both counts are 0. A NaN reaches the
//! statistics of the set that it belongs to.
//!
//! Scores of f16, bf16 and f32 give statistics in f32, scores of f64 in f64.

mod composed;

use burn::tensor::{DType, Tensor};

use crate::Targets;

/// A statistic of a query's scores, a column of [`Statistics`]; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Log-sum-exp over the negatives.
    Negatives = 2,
    /// Log-sum-exp over the positives.
    Positives = 3,
    /// Log-sum-exp of the negated values over the positives.
    WeakPositives = 4,
    /// How far the positives lie below their log-sum-exp, summed; 0 for one positive.
    PositiveExcess = 5,
    /// The smallest value over the positives.
    WeakestPositive = 6,
    /// The largest value over the positives.
    StrongestPositive = 7,
    /// The largest value over the negatives.
    HardestNegative = 8,
}

/// Columns of the table of statistics: the two counts, then one for each [`Statistic`].
const WIDTH: usize = 9;

/// The statistics of the queries of a batch, differentiable with respect to the scores.
#[derive(Clone, Debug)]
pub struct Statistics {
    table: Tensor<2>,
}

impl Statistics {
    /// Computes the statistics that are `wanted`; the counts always are.
    ///
    /// # Shapes
    ///
    /// - `scores`: `[queries, documents]`
    ///
    /// # Panics
    ///
    /// If the targets have another shape or device than the scores.
    pub fn new(
        scores: Tensor<2>,
        targets: &Targets,
        temperature: f64,
        wanted: &[Statistic],
    ) -> Self {
        targets.assert_fit(scores.dims(), &scores.device());
        let dtype = match scores.dtype() {
            DType::F64 => DType::F64,
            _ => DType::F32,
        };
        Self {
            table: composed::table(scores.cast(dtype), targets, temperature, wanted),
        }
    }

    /// A statistic of every query, `[queries]`.
    pub fn get(&self, statistic: Statistic) -> Tensor<1> {
        self.column(statistic as usize)
    }

    /// The number of positives of every query, `[queries]`, as floats and without a gradient.
    pub fn positive_counts(&self) -> Tensor<1> {
        self.column(0).detach()
    }

    /// The number of negatives of every query, `[queries]`, as floats and without a gradient.
    pub fn negative_counts(&self) -> Tensor<1> {
        self.column(1).detach()
    }

    fn column(&self, index: usize) -> Tensor<1> {
        self.table.clone().narrow(1, index, 1).squeeze_dim(1)
    }
}
