//! The negatives that a unit has seen.

use cubecl::prelude::*;

use super::row::{INFINITY, NEG_INFINITY, NO_COLUMN, magnitude, relative};

/// The largest negative, and the sum of `exp(x)` measured from it.
#[derive(CubeType)]
pub struct Negatives {
    pub max: f32,
    /// The first column of the largest, [`NO_COLUMN`] if there is none but NaN.
    pub column: u32,
    pub sum: f32,
    pub count: u32,
    /// The largest [`magnitude`].
    pub magnitude: u32,
}

#[cube]
impl Negatives {
    pub fn new() -> Negatives {
        Negatives {
            max: f32::min_value(),
            column: NO_COLUMN.runtime(),
            sum: 0.0f32.runtime(),
            count: 0u32.runtime(),
            magnitude: 0u32.runtime(),
        }
    }

    /// Adds the negatives among the scores from `column` on; `sum` says whether the sum is wanted.
    pub fn add<F: Float, B: Int, C: Int, N: Size>(
        &mut self,
        scores: Vector<F, N>,
        positives: Vector<B, N>,
        candidates: Vector<C, N>,
        column: u32,
        factor: f32,
        #[comptime] sum: bool,
    ) {
        let scores = Vector::<f32, N>::cast_from(scores);
        let lowest = f32::min_value();
        let mut max = lowest;
        #[unroll]
        for k in 0..N::value() {
            let score = scores.extract(k);
            let weight = has_weight::<B, C>(score, positives.extract(k), candidates.extract(k));
            self.count += u32::cast_from(weight);
            let size = select(weight, magnitude(score), 0u32);
            self.magnitude = select(size > self.magnitude, size, self.magnitude);
            let score = select(weight, score, lowest);
            max = select(score > max, score, max);
        }
        if max > self.max || (self.column == NO_COLUMN && self.count > 0) {
            // Rare: a new maximum, of which the first column is sought.
            let size = N::value();
            #[unroll]
            for i in 0..size {
                let k = comptime![size - 1 - i];
                let score = scores.extract(k);
                if has_weight::<B, C>(score, positives.extract(k), candidates.extract(k))
                    && score == max
                {
                    self.column = column + comptime![k as u32];
                }
            }
            if comptime![sum] {
                self.sum *= relative(self.max, max, factor).exp();
            }
            self.max = max;
        }
        if comptime![sum] {
            // Few additions to the large sum are rounded to it.
            let mut part = 0.0f32;
            #[unroll]
            for k in 0..N::value() {
                let score = scores.extract(k);
                let weight = has_weight::<B, C>(score, positives.extract(k), candidates.extract(k));
                let score = select(weight, score, lowest);
                let exp = relative(score, self.max, factor).exp();
                part += select(weight, exp, 0.0);
            }
            self.sum += part;
        }
    }

    /// Adds the negatives of another unit.
    pub fn merge(&mut self, other: &Negatives, factor: f32) {
        let others_max =
            other.max > self.max || (other.max == self.max && other.column < self.column);
        let max = select(others_max, other.max, self.max);
        // Without negatives there is no maximum, and the sum is 0.
        let own = select(self.count > 0, relative(self.max, max, factor), 0.0);
        let others = select(other.count > 0, relative(other.max, max, factor), 0.0);
        self.sum = self.sum * own.exp() + other.sum * others.exp();
        self.column = select(others_max, other.column, self.column);
        self.max = max;
        self.count += other.count;
        self.magnitude = select(
            other.magnitude > self.magnitude,
            other.magnitude,
            self.magnitude,
        );
    }

    pub fn has_nan(&self) -> bool {
        self.magnitude > INFINITY
    }

    pub fn is_finite(&self) -> bool {
        self.magnitude < INFINITY
    }
}

/// Whether a document is a negative, and its score not minus infinity.
#[cube]
pub fn has_weight<B: Int, C: Int>(score: f32, positive: B, candidate: C) -> bool {
    positive == B::from_int(0)
        && candidate != C::from_int(0)
        && u32::reinterpret(score) != NEG_INFINITY
}
