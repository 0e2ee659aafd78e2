//! How the units of a cube put together what each has seen.

use cubecl::prelude::*;

use super::{negatives::Negatives, positives::Positives};

const FLOATS: usize = 7;
const INTS: usize = 8;

/// The shared memory that a unit takes.
pub const SHARED_BYTES_PER_UNIT: usize = 4 * (FLOATS + INTS);

/// A place for each unit in shared memory.
#[derive(CubeType)]
pub struct Exchange {
    floats: Shared<[f32]>,
    ints: Shared<[u32]>,
    #[cube(comptime)]
    units: usize,
}

#[cube]
impl Exchange {
    /// For `units` units, a power of two.
    pub fn new(#[comptime] units: usize) -> Exchange {
        Exchange {
            floats: Shared::<[f32]>::new_slice(comptime![FLOATS * units]),
            ints: Shared::<[u32]>::new_slice(comptime![INTS * units]),
            units,
        }
    }

    /// Shows what `unit` has seen.
    pub fn put(&mut self, unit: usize, negatives: &Negatives, positives: &Positives) {
        let units = comptime![self.units];
        self.floats[unit] = negatives.max;
        self.floats[unit + units] = negatives.sum;
        self.ints[unit] = negatives.column;
        self.ints[unit + units] = negatives.count;
        self.ints[unit + 2 * units] = negatives.magnitude;
        self.floats[unit + 2 * units] = positives.max;
        self.floats[unit + 3 * units] = positives.sum;
        self.floats[unit + 4 * units] = positives.deficit;
        self.floats[unit + 5 * units] = positives.min;
        self.floats[unit + 6 * units] = positives.weak_sum;
        self.ints[unit + 3 * units] = positives.max_column;
        self.ints[unit + 4 * units] = positives.min_column;
        self.ints[unit + 5 * units] = positives.count;
        self.ints[unit + 6 * units] = positives.magnitude;
        self.ints[unit + 7 * units] = positives.candidates;
    }

    pub fn negatives(&self, unit: usize) -> Negatives {
        let units = comptime![self.units];
        Negatives {
            max: self.floats[unit],
            sum: self.floats[unit + units],
            column: self.ints[unit],
            count: self.ints[unit + units],
            magnitude: self.ints[unit + 2 * units],
        }
    }

    pub fn positives(&self, unit: usize) -> Positives {
        let units = comptime![self.units];
        Positives {
            max: self.floats[unit + 2 * units],
            sum: self.floats[unit + 3 * units],
            deficit: self.floats[unit + 4 * units],
            min: self.floats[unit + 5 * units],
            weak_sum: self.floats[unit + 6 * units],
            max_column: self.ints[unit + 3 * units],
            min_column: self.ints[unit + 4 * units],
            count: self.ints[unit + 5 * units],
            magnitude: self.ints[unit + 6 * units],
            candidates: self.ints[unit + 7 * units],
        }
    }
}
