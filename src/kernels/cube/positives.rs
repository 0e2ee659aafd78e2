//! The positives that a unit has seen. They are few, so a branch for each will do.

use cubecl::prelude::*;

use super::row::{Asked, INFINITY, NO_COLUMN, Scale, log, log_one_plus, magnitude, relative};

/// The extremes of the positives, and the sums measured from them.
#[derive(CubeType)]
pub struct Positives {
    pub max: f32,
    pub max_column: u32,
    /// The sum of `exp(x)`, measured from the largest.
    pub sum: f32,
    /// By how much the positives lie below the largest, summed with their weights.
    pub deficit: f32,
    pub min: f32,
    pub min_column: u32,
    /// The sum of `w exp(b x)`, measured from the smallest where `b < 0`, else from the largest.
    pub power_sum: f32,
    /// The sum of `w (1 - exp(b x))`, which keeps its digits where `b` is small.
    pub shortfall: f32,
    pub count: u32,
    /// The sum of the weights, negative if one of them is none.
    pub weight: f32,
    /// The largest [`magnitude`].
    pub magnitude: u32,
    /// Positives, and those that left because another was chosen.
    pub candidates: u32,
}

#[cube]
impl Positives {
    pub fn new() -> Positives {
        Positives {
            max: 0.0f32.runtime(),
            max_column: NO_COLUMN.runtime(),
            sum: 0.0f32.runtime(),
            deficit: 0.0f32.runtime(),
            min: 0.0f32.runtime(),
            min_column: NO_COLUMN.runtime(),
            power_sum: 0.0f32.runtime(),
            shortfall: 0.0f32.runtime(),
            count: 0u32.runtime(),
            weight: 0.0f32.runtime(),
            magnitude: 0u32.runtime(),
            candidates: 0u32.runtime(),
        }
    }

    /// Adds the positive at `column`; columns come in ascending order.
    pub fn add(
        &mut self,
        score: f32,
        weight: f32,
        column: u32,
        scale: &Scale,
        #[comptime] asked: Asked,
    ) {
        let one = Positives {
            max: score,
            max_column: column,
            sum: 1.0f32.runtime(),
            deficit: 0.0f32.runtime(),
            min: score,
            min_column: column,
            power_sum: weight,
            shortfall: 0.0f32.runtime(),
            count: 1u32.runtime(),
            weight,
            magnitude: magnitude(score),
            candidates: 0u32.runtime(),
        };
        self.merge(&one, scale, asked);
    }

    /// Adds the positives of another unit.
    pub fn merge(&mut self, other: &Positives, scale: &Scale, #[comptime] asked: Asked) {
        self.candidates += other.candidates;
        if other.count > 0 {
            if self.count == 0 {
                self.max = other.max;
                self.max_column = other.max_column;
                self.sum = other.sum;
                self.deficit = other.deficit;
                self.min = other.min;
                self.min_column = other.min_column;
                self.power_sum = other.power_sum;
                self.shortfall = other.shortfall;
                self.magnitude = other.magnitude;
            } else {
                self.merge_power(other, scale, asked);
                self.merge_max(other, scale);
                self.merge_min(other);
                if other.magnitude > self.magnitude {
                    self.magnitude = other.magnitude;
                }
            }
            self.count += other.count;
            self.weight += other.weight;
        }
    }

    /// Merges the sum with the exponent, while it is still known where both are measured from.
    fn merge_power(&mut self, other: &Positives, scale: &Scale, #[comptime] asked: Asked) {
        let above = relative(other.max, self.max, scale.factor);
        let below = relative(self.min, other.min, scale.factor);
        let gap = select(scale.is_from_largest(), above, below);
        if gap > 0.0 {
            let power = scale.power(gap);
            self.power_sum = self.power_sum * power + other.power_sum;
            if comptime![asked.small] {
                let lack = self.weight * scale.lack(gap);
                self.shortfall = self.shortfall * power + lack + other.shortfall;
            }
        } else {
            let power = scale.power(-gap);
            self.power_sum += other.power_sum * power;
            if comptime![asked.small] {
                let lack = other.weight * scale.lack(-gap);
                self.shortfall += other.shortfall * power + lack;
            }
        }
    }

    fn merge_max(&mut self, other: &Positives, scale: &Scale) {
        if other.max > self.max {
            let gap = relative(other.max, self.max, scale.factor);
            self.sum = self.sum * (-gap).exp() + other.sum;
            self.deficit += self.weight * gap + other.deficit;
            self.max = other.max;
            self.max_column = other.max_column;
        } else {
            let gap = relative(self.max, other.max, scale.factor);
            self.sum += other.sum * (-gap).exp();
            self.deficit += other.weight * gap + other.deficit;
            if other.max == self.max && other.max_column < self.max_column {
                self.max_column = other.max_column;
            }
        }
    }

    fn merge_min(&mut self, other: &Positives) {
        if other.min < self.min {
            self.min = other.min;
            self.min_column = other.min_column;
        } else if other.min == self.min && other.min_column < self.min_column {
            self.min_column = other.min_column;
        }
    }

    /// How far the mean with the exponent lies above what its sum is measured from.
    pub fn mean(&self, scale: &Scale, #[comptime] asked: Asked) -> f32 {
        let log_share = log(self.power_sum / self.weight);
        if comptime![asked.small] {
            let lack = self.shortfall / self.weight;
            let log_share = select(lack < 0.5, log_one_plus(-lack), log_share);
            let is_zero = scale.exponent == 0.0;
            let exponent = select(is_zero, 1.0, scale.exponent);
            select(is_zero, -self.deficit / self.weight, log_share / exponent)
        } else {
            log_share / scale.exponent
        }
    }

    pub fn has_nan(&self) -> bool {
        self.magnitude > INFINITY
    }

    /// Whether a weight is none.
    pub fn is_weightless(&self) -> bool {
        self.weight < 0.0
    }
}
