//! What both kernels need to know of a row and its scores.

use cubecl::prelude::*;

use crate::kernels::table::{self, Request, Statistic};

/// The columns of the table that the backward kernel reads and nobody else: what to measure the
/// positives from, since from the reference the differences between them might drown.
pub const STRONGEST_SCORE: usize = table::WIDTH;
/// The log-sum-exp over the positives, measured from the strongest.
pub const STRONGEST_LOG_SUM: usize = STRONGEST_SCORE + 1;
pub const WEAKEST_SCORE: usize = STRONGEST_LOG_SUM + 1;
/// The logarithm of the sum over the positives with weights and exponent, measured from the
/// strongest or the weakest.
pub const POWER_LOG_SUM: usize = WEAKEST_SCORE + 1;
/// Columns of the scores, [packed](pack).
pub const STRONGEST_COLUMN: usize = POWER_LOG_SUM + 1;
pub const WEAKEST_COLUMN: usize = STRONGEST_COLUMN + 1;
pub const HARDEST_COLUMN: usize = WEAKEST_COLUMN + 1;

/// The summed slopes of the losses of single positives.
pub const PUSH: usize = HARDEST_COLUMN + 1;

/// The number of columns of the table, private ones included.
pub const WIDTH: usize = PUSH + 1;

/// No column of any score.
pub const NO_COLUMN: u32 = 0x3fff_ffff;

/// The bits of infinity.
pub const INFINITY: u32 = 0x7f80_0000;

/// The bits of a NaN.
pub const NAN: u32 = 0x7fc0_0000;

/// The bits of minus infinity.
pub const NEG_INFINITY: u32 = 0xff80_0000;

/// What is asked of a row, known when its kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The log-sum-exp over the negatives.
    pub sum: bool,
    /// The losses of single positives.
    pub losses: bool,
    /// The losses of single documents.
    pub binary: bool,
    /// A mean of the positives whose exponent is so small that sums lose its digits.
    pub small: bool,
    /// Documents have weights.
    pub weights: bool,
}

impl Asked {
    pub fn new(request: Request, weights: bool) -> Self {
        Self {
            sum: request.computes(Statistic::Negatives),
            losses: request.wants(Statistic::PositiveLosses),
            binary: request.wants(Statistic::BinaryLosses),
            small: request.wants(Statistic::PositiveMean) && request.exponent().abs() < 0.5,
            weights,
        }
    }
}

/// What scores are multiplied by.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub struct Scale {
    /// 2 / temperature.
    pub factor: f32,
    /// The same for negatives, whose hardness is part of it.
    pub negative_factor: f32,
    /// Of the mean of the positives.
    pub exponent: f32,
    /// How much harder negatives weigh more.
    pub hardness: f32,
    /// What is added to a score that is compared with nothing.
    pub bias: f32,
}

#[cube]
impl Scale {
    /// Whether the sum with the exponent is measured from the largest, not the smallest.
    pub fn is_from_largest(&self) -> bool {
        self.exponent >= 0.0
    }

    /// A score that is compared with nothing.
    pub fn logit(&self, score: f32) -> f32 {
        score * 0.5 * self.factor + self.bias
    }

    /// What a positive has in the sum with the exponent, given how far it lies behind the one
    /// that this is measured from.
    pub fn power(&self, gap: f32) -> f32 {
        (-gap * self.exponent.abs()).exp()
    }

    /// What it lacks there, with all digits.
    pub fn lack(&self, gap: f32) -> f32 {
        let y = gap * self.exponent.abs();
        // 1 - exp(-y) = y (1 - y / 2 (1 - y / 3 (..))): near 0 nine terms give all digits.
        let mut series = 1.0f32.runtime();
        #[unroll]
        for i in 0..8u32 {
            series = 1.0 - y * comptime![1.0 / (9 - i) as f32] * series;
        }
        select(y < 0.5, y * series, 1.0 - (-y).exp())
    }
}

/// `(score - reference) / temperature`, by way of halves, whose difference is finite;
/// `factor = 2 / temperature`.
#[cube]
pub fn relative(score: f32, reference: f32, factor: f32) -> f32 {
    (score * 0.5 - reference * 0.5) * factor
}

/// The bits of the absolute value: above those of infinity for NaN.
#[cube]
pub fn magnitude(x: f32) -> u32 {
    u32::reinterpret(x) & 0x7fff_ffff
}

/// A column as a float that no arithmetic will disturb: neither 0 nor NaN, and not subnormal.
#[cube]
pub fn pack(column: u32) -> f32 {
    f32::reinterpret(column + 0x3f80_0000)
}

#[cube]
pub fn unpack(packed: f32) -> u32 {
    u32::reinterpret(packed) - 0x3f80_0000
}

/// `log(1 + exp(gap))` with its relative accuracy at both ends.
#[cube]
pub fn softplus(gap: f32) -> f32 {
    select(gap > 0.0, gap, 0.0) + log_one_plus((-gap.abs()).exp())
}

/// `log(1 + y) = 2 atanh(z)` with `z = y / (2 + y)`: for `-1/2 <= y <= 1`, where `|z| <= 1/3`,
/// seven terms give all digits.
#[cube]
pub fn log_one_plus(y: f32) -> f32 {
    let z = y / (y + 2.0);
    let square = z * z;
    let mut series = 0.0f32;
    #[unroll]
    for i in 0..7u32 {
        series = series * square + comptime![1.0 / (2 * (6 - i) + 1) as f32];
    }
    2.0 * z * series
}

/// The slope of [`softplus`].
#[cube]
pub fn sigmoid(gap: f32) -> f32 {
    let y = (-gap.abs()).exp();
    select(gap > 0.0, 1.0, y) / (1.0 + y)
}

/// `log x`, of which 1 has exactly 0.
#[cube]
pub fn log(x: f32) -> f32 {
    select(x == 1.0, 0.0, x.ln())
}
