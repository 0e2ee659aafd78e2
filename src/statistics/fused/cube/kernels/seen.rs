//! What is known of a row, and how its units and cubes put together what each has seen.

use cubecl::prelude::*;

use super::{documents::Documents, negatives::Negatives, positives::Positives, row::stays};

/// The words that it takes to write down what was seen.
pub const SEEN: usize = 15;

/// The shared memory that a unit takes.
pub const SHARED_BYTES_PER_UNIT: usize = 4 * SEEN;

/// The negatives and positives that were seen.
#[derive(CubeType)]
pub struct Seen {
    pub negatives: Negatives,
    pub positives: Positives,
}

#[cube]
impl Seen {
    pub fn new() -> Seen {
        Seen {
            negatives: Negatives::new(),
            positives: Positives::new(),
        }
    }

    /// Adds documents of a row; columns come in ascending order. Of the positives only a `chosen` one
    /// stays, where one was chosen.
    pub fn add<F: Float, B: Int, C: Int, I: Int, N: Size>(
        &mut self,
        documents: &Documents<F, B, C, N>,
        chosen: &ComptimeOption<&Tensor<I>>,
        row: usize,
        factor: f32,
        #[comptime] sum: bool,
    ) {
        if documents.are_negatives() {
            self.negatives.add_all::<F, B, C, N>(documents, factor, sum);
        } else {
            self.negatives.add::<F, B, C, N>(documents, factor, sum);
            #[unroll]
            for k in 0..N::value() {
                if documents.is_positive(k) {
                    let column = documents.column + comptime![k as u32];
                    self.positives.candidates += 1;
                    if stays::<I>(chosen, row, column) {
                        self.positives.add(documents.score(k), column, factor);
                    }
                }
            }
        }
    }

    /// Puts together what the `units` units of the cube have seen, a power of two, for the first.
    pub fn combine(&mut self, #[comptime] units: usize, factor: f32) {
        if comptime![units > 1] {
            let unit = UNIT_POS as usize;
            let mut exchange = Shared::<[u32]>::new_slice(comptime![SEEN * units]);
            self.store(&mut exchange, unit, units);
            sync_cube();
            let mut half = comptime![units / 2].runtime();
            while half > 0 {
                if unit < half {
                    let other = Seen::load(&exchange, unit + half, units);
                    self.negatives.merge(&other.negatives, factor);
                    self.positives.merge(&other.positives, factor);
                    self.store(&mut exchange, unit, units);
                }
                sync_cube();
                half /= 2;
            }
        }
    }

    /// Writes it down as bits, a word at every `step`th place from `start` on.
    pub fn store(&self, words: &mut [u32], start: usize, #[comptime] step: usize) {
        words[start] = u32::reinterpret(self.negatives.max);
        words[start + step] = u32::reinterpret(self.negatives.sum);
        words[start + 2 * step] = self.negatives.column;
        words[start + 3 * step] = self.negatives.count;
        words[start + 4 * step] = self.negatives.magnitude;
        words[start + 5 * step] = u32::reinterpret(self.positives.max);
        words[start + 6 * step] = u32::reinterpret(self.positives.sum);
        words[start + 7 * step] = u32::reinterpret(self.positives.deficit);
        words[start + 8 * step] = u32::reinterpret(self.positives.min);
        words[start + 9 * step] = u32::reinterpret(self.positives.weak_sum);
        words[start + 10 * step] = self.positives.max_column;
        words[start + 11 * step] = self.positives.min_column;
        words[start + 12 * step] = self.positives.count;
        words[start + 13 * step] = self.positives.magnitude;
        words[start + 14 * step] = self.positives.candidates;
    }

    /// What was [stored](Seen::store).
    pub fn load(words: &[u32], start: usize, #[comptime] step: usize) -> Seen {
        Seen {
            negatives: Negatives {
                max: f32::reinterpret(words[start]),
                sum: f32::reinterpret(words[start + step]),
                column: words[start + 2 * step],
                count: words[start + 3 * step],
                magnitude: words[start + 4 * step],
            },
            positives: Positives {
                max: f32::reinterpret(words[start + 5 * step]),
                sum: f32::reinterpret(words[start + 6 * step]),
                deficit: f32::reinterpret(words[start + 7 * step]),
                min: f32::reinterpret(words[start + 8 * step]),
                weak_sum: f32::reinterpret(words[start + 9 * step]),
                max_column: words[start + 10 * step],
                min_column: words[start + 11 * step],
                count: words[start + 12 * step],
                magnitude: words[start + 13 * step],
                candidates: words[start + 14 * step],
            },
        }
    }
}
