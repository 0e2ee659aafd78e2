//! The positives that a unit has seen. They are few, so a branch for each will do.

use cubecl::prelude::*;

use super::row::{INFINITY, NO_COLUMN, Scale, magnitude, relative};

/// The extremes of the positives, and the sums measured from them.
#[derive(CubeType)]
pub struct Positives {
    pub max: f32,
    pub max_column: u32,
    /// The sum of `exp(x)`, measured from the largest.
    pub sum: f32,
    /// By how much the positives lie below the largest, summed.
    pub deficit: f32,
    pub min: f32,
    pub min_column: u32,
    /// The sum of `exp(b x)`, measured from the largest where `b > 0`, else from the smallest.
    pub power_sum: f32,
    pub count: u32,
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
            count: 0u32.runtime(),
            magnitude: 0u32.runtime(),
            candidates: 0u32.runtime(),
        }
    }

    /// Adds the positive at `column`; columns come in ascending order.
    pub fn add(&mut self, score: f32, column: u32, scale: &Scale) {
        let one = Positives {
            max: score,
            max_column: column,
            sum: 1.0f32.runtime(),
            deficit: 0.0f32.runtime(),
            min: score,
            min_column: column,
            power_sum: 1.0f32.runtime(),
            count: 1u32.runtime(),
            magnitude: magnitude(score),
            candidates: 0u32.runtime(),
        };
        self.merge(&one, scale);
    }

    /// Adds the positives of another unit.
    pub fn merge(&mut self, other: &Positives, scale: &Scale) {
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
                self.magnitude = other.magnitude;
            } else {
                self.merge_max(other, scale);
                self.merge_min(other, scale);
                if other.magnitude > self.magnitude {
                    self.magnitude = other.magnitude;
                }
            }
            self.count += other.count;
        }
    }

    fn merge_max(&mut self, other: &Positives, scale: &Scale) {
        if other.max > self.max {
            let gap = relative(other.max, self.max, scale.factor);
            self.sum = self.sum * (-gap).exp() + other.sum;
            if scale.exponent > 0.0 {
                self.power_sum = self.power_sum * scale.power(gap) + other.power_sum;
            }
            self.deficit += f32::cast_from(self.count) * gap + other.deficit;
            self.max = other.max;
            self.max_column = other.max_column;
        } else {
            let gap = relative(self.max, other.max, scale.factor);
            self.sum += other.sum * (-gap).exp();
            if scale.exponent > 0.0 {
                self.power_sum += other.power_sum * scale.power(gap);
            }
            self.deficit += f32::cast_from(other.count) * gap + other.deficit;
            if other.max == self.max && other.max_column < self.max_column {
                self.max_column = other.max_column;
            }
        }
    }

    fn merge_min(&mut self, other: &Positives, scale: &Scale) {
        if other.min < self.min {
            let gap = relative(self.min, other.min, scale.factor);
            if scale.exponent < 0.0 {
                self.power_sum = self.power_sum * scale.power(gap) + other.power_sum;
            }
            self.min = other.min;
            self.min_column = other.min_column;
        } else {
            let gap = relative(other.min, self.min, scale.factor);
            if scale.exponent < 0.0 {
                self.power_sum += other.power_sum * scale.power(gap);
            }
            if other.min == self.min && other.min_column < self.min_column {
                self.min_column = other.min_column;
            }
        }
    }

    pub fn has_nan(&self) -> bool {
        self.magnitude > INFINITY
    }
}
