//! The negatives that a unit has seen.

use cubecl::prelude::*;

use super::{
    documents::Documents,
    row::{Asked, INFINITY, NAN, NO_COLUMN, magnitude, relative},
};

/// The largest negative, and the sum of `w exp(x)` measured from it.
#[derive(CubeType)]
pub struct Negatives {
    pub max: f32,
    /// The first column of the vector that the largest was first seen in, [`NO_COLUMN`] if there is
    /// none but NaN.
    pub column: u32,
    pub sum: f32,
    pub count: u32,
    /// The largest [`magnitude`] of those that were looked at [one by one](Negatives::add), NaN's
    /// if a weight in the sum is none.
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

    /// Adds documents that [are all negatives](Documents::are_negatives).
    pub fn add_all<F: Float, B: Int, C: Int, N: Size>(
        &mut self,
        documents: &Documents<F, B, C, N>,
        factor: f32,
        #[comptime] asked: Asked,
    ) {
        let mut max = documents.of_negative(0usize);
        #[unroll]
        for k in 1..N::value() {
            max = max.max(documents.of_negative(k));
        }
        self.raise(max, documents.column, factor, asked);
        if comptime![asked.sum] {
            // Few additions to the large sum are rounded to it.
            let mut part = 0.0f32;
            #[unroll]
            for k in 0..N::value() {
                let term = relative(documents.of_negative(k), self.max, factor).exp();
                part += documents.judgements.weigh(k, term);
            }
            self.sum += part;
        }
        let size = N::value();
        self.count += comptime![size as u32];
    }

    /// Adds the negatives among the documents.
    pub fn add<F: Float, B: Int, C: Int, N: Size>(
        &mut self,
        documents: &Documents<F, B, C, N>,
        factor: f32,
        #[comptime] asked: Asked,
    ) {
        let mut max = f32::min_value();
        let mut numbers = 0u32;
        #[unroll]
        for k in 0..N::value() {
            if documents.is_negative(k) {
                let score = documents.of_negative(k);
                let size = magnitude(score);
                self.count += 1;
                self.magnitude = self.magnitude.max(size);
                if size <= INFINITY {
                    numbers += 1;
                    max = select(score > max, score, max);
                }
            }
        }
        if numbers > 0 {
            self.raise(max, documents.column, factor, asked);
        }
        if comptime![asked.sum] {
            let mut part = 0.0f32;
            #[unroll]
            for k in 0..N::value() {
                if documents.is_negative(k) {
                    let term = relative(documents.of_negative(k), self.max, factor).exp();
                    part += documents.judgements.weigh(k, term);
                    if documents.judgements.is_weightless(k) {
                        self.magnitude = NAN.runtime();
                    }
                }
            }
            self.sum += part;
        }
    }

    /// Measures from `max` from now on, if it is larger; columns come in ascending order.
    fn raise(&mut self, max: f32, column: u32, factor: f32, #[comptime] asked: Asked) {
        if max > self.max || self.column == NO_COLUMN {
            if comptime![asked.sum] {
                self.sum *= relative(self.max, max, factor).exp();
            }
            self.max = max;
            self.column = column;
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
