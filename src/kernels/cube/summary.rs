//! What is known of a row, and how its units and cubes put together what each has seen.

use cubecl::prelude::*;

use super::{
    batch::Query,
    documents::Documents,
    negatives::Negatives,
    positives::Positives,
    row::{Asked, NAN, Scale, softplus},
};

/// The places of the words in which a summary is written down.
mod word {
    pub const NEGATIVE_MAX: usize = 0;
    pub const NEGATIVE_SUM: usize = NEGATIVE_MAX + 1;
    pub const NEGATIVE_COLUMN: usize = NEGATIVE_SUM + 1;
    pub const NEGATIVE_COUNT: usize = NEGATIVE_COLUMN + 1;
    pub const NEGATIVE_MAGNITUDE: usize = NEGATIVE_COUNT + 1;
    pub const POSITIVE_MAX: usize = NEGATIVE_MAGNITUDE + 1;
    pub const POSITIVE_SUM: usize = POSITIVE_MAX + 1;
    pub const POSITIVE_DEFICIT: usize = POSITIVE_SUM + 1;
    pub const POSITIVE_MIN: usize = POSITIVE_DEFICIT + 1;
    pub const POSITIVE_POWER_SUM: usize = POSITIVE_MIN + 1;
    pub const POSITIVE_MAX_COLUMN: usize = POSITIVE_POWER_SUM + 1;
    pub const POSITIVE_MIN_COLUMN: usize = POSITIVE_MAX_COLUMN + 1;
    pub const POSITIVE_COUNT: usize = POSITIVE_MIN_COLUMN + 1;
    pub const POSITIVE_MAGNITUDE: usize = POSITIVE_COUNT + 1;
    pub const POSITIVE_CANDIDATES: usize = POSITIVE_MAGNITUDE + 1;
    // Where they are not asked for, these are left out.
    pub const POSITIVE_WEIGHT: usize = POSITIVE_CANDIDATES + 1;
    pub const POSITIVE_SHORTFALL: usize = POSITIVE_WEIGHT + 1;
    pub const BINARY: usize = POSITIVE_SHORTFALL + 1;
}

/// The words that it takes to write down a summary.
pub const fn summary_words(asked: Asked) -> usize {
    match asked {
        Asked { binary: true, .. } => word::BINARY + 1,
        Asked { small: true, .. } => word::POSITIVE_SHORTFALL + 1,
        Asked { weights: true, .. } => word::POSITIVE_WEIGHT + 1,
        _ => word::POSITIVE_CANDIDATES + 1,
    }
}

/// The vectors whose losses are summed up by themselves.
const RECENT: u32 = 64;

/// The words that it takes besides to sum up the losses of single positives, and what they are
/// summed up from.
const LOSS_WORDS: usize = 5;

/// The shared memory that a unit takes, at most.
pub const SHARED_BYTES_PER_UNIT: usize = 4 * (word::BINARY + 1 + LOSS_WORDS);

/// The negatives and positives that were seen.
#[derive(CubeType)]
pub struct Summary {
    pub negatives: Negatives,
    pub positives: Positives,
    /// The losses of single documents, summed with their weights.
    pub binary: f32,
    /// Those of the last `recent_count` vectors, not added to the others yet: few additions to
    /// the large sum are rounded to it.
    recent: f32,
    recent_count: u32,
}

#[cube]
impl Summary {
    pub fn new() -> Summary {
        Summary {
            negatives: Negatives::new(),
            positives: Positives::new(),
            binary: 0.0f32.runtime(),
            recent: 0.0f32.runtime(),
            recent_count: 0u32.runtime(),
        }
    }

    /// Adds documents of a row; columns come in ascending order. Of the positives only a
    /// `chosen` one stays, where one was chosen.
    pub fn add<F: Float, B: Int, C: Int, I: Int, N: Size>(
        &mut self,
        documents: &Documents<F, B, C, N>,
        query: &Query<I>,
        scale: &Scale,
        #[comptime] asked: Asked,
    ) {
        let mut binary = 0.0f32.runtime();
        if documents.are_negatives() {
            self.negatives
                .add_all::<F, B, C, N>(documents, scale.negative_factor, asked);
            if comptime![asked.binary] {
                #[unroll]
                for k in 0..N::value() {
                    let loss = softplus(scale.logit(documents.of_negative(k)));
                    binary += documents.judgements.weigh(k, loss);
                }
            }
        } else {
            self.negatives
                .add::<F, B, C, N>(documents, scale.negative_factor, asked);
            #[unroll]
            for k in 0..N::value() {
                if comptime![asked.binary] && documents.is_negative(k) {
                    let loss = softplus(scale.logit(documents.of_negative(k)));
                    binary += documents.judgements.weigh(k, loss);
                    if documents.judgements.is_weightless(k) {
                        self.negatives.magnitude = NAN.runtime();
                    }
                }
                if documents.is_positive(k) {
                    let column = documents.column + comptime![k as u32];
                    self.positives.candidates += 1;
                    if query.keeps(column) {
                        let weight = documents.judgements.weight_or_lowest(k);
                        let score = documents.of_positive(k);
                        self.positives.add(score, weight, column, scale, asked);
                        if comptime![asked.binary] {
                            binary += weight * softplus(-scale.logit(score));
                        }
                    }
                }
            }
        }
        if comptime![asked.binary] {
            self.recent += binary;
            self.recent_count += 1;
            if self.recent_count == RECENT {
                self.add_recent();
            }
        }
    }

    fn add_recent(&mut self) {
        self.binary += self.recent;
        self.recent = 0.0f32.runtime();
        self.recent_count = 0u32.runtime();
    }

    /// Puts together what the `units` units of the cube have seen, a power of two, for the first.
    pub fn combine(&mut self, #[comptime] units: usize, scale: &Scale, #[comptime] asked: Asked) {
        self.add_recent();
        if comptime![units > 1] {
            let unit = UNIT_POS as usize;
            let mut exchange = Shared::<[u32]>::new_slice(comptime![summary_words(asked) * units]);
            self.store(&mut exchange, unit, units, asked);
            sync_cube();
            let mut half = comptime![units / 2].runtime();
            while half > 0 {
                if unit < half {
                    let other = Summary::load(&exchange, unit + half, units, asked);
                    self.negatives
                        .merge(&other.negatives, scale.negative_factor);
                    self.positives.merge(&other.positives, scale, asked);
                    self.binary += other.binary;
                    self.store(&mut exchange, unit, units, asked);
                }
                sync_cube();
                half /= 2;
            }
        }
    }

    /// Writes it down as bits, a word at every `step`th place from `start` on.
    pub fn store(
        &self,
        words: &mut [u32],
        start: usize,
        #[comptime] step: usize,
        #[comptime] asked: Asked,
    ) {
        words[start + comptime![word::NEGATIVE_MAX * step]] = u32::reinterpret(self.negatives.max);
        words[start + comptime![word::NEGATIVE_SUM * step]] = u32::reinterpret(self.negatives.sum);
        words[start + comptime![word::NEGATIVE_COLUMN * step]] = self.negatives.column;
        words[start + comptime![word::NEGATIVE_COUNT * step]] = self.negatives.count;
        words[start + comptime![word::NEGATIVE_MAGNITUDE * step]] = self.negatives.magnitude;
        words[start + comptime![word::POSITIVE_MAX * step]] = u32::reinterpret(self.positives.max);
        words[start + comptime![word::POSITIVE_SUM * step]] = u32::reinterpret(self.positives.sum);
        words[start + comptime![word::POSITIVE_DEFICIT * step]] =
            u32::reinterpret(self.positives.deficit);
        words[start + comptime![word::POSITIVE_MIN * step]] = u32::reinterpret(self.positives.min);
        words[start + comptime![word::POSITIVE_POWER_SUM * step]] =
            u32::reinterpret(self.positives.power_sum);
        words[start + comptime![word::POSITIVE_MAX_COLUMN * step]] = self.positives.max_column;
        words[start + comptime![word::POSITIVE_MIN_COLUMN * step]] = self.positives.min_column;
        words[start + comptime![word::POSITIVE_COUNT * step]] = self.positives.count;
        words[start + comptime![word::POSITIVE_MAGNITUDE * step]] = self.positives.magnitude;
        words[start + comptime![word::POSITIVE_CANDIDATES * step]] = self.positives.candidates;
        if comptime![asked.weights] {
            words[start + comptime![word::POSITIVE_WEIGHT * step]] =
                u32::reinterpret(self.positives.weight);
        }
        if comptime![asked.small] {
            words[start + comptime![word::POSITIVE_SHORTFALL * step]] =
                u32::reinterpret(self.positives.shortfall);
        }
        if comptime![asked.binary] {
            words[start + comptime![word::BINARY * step]] = u32::reinterpret(self.binary);
        }
    }

    /// What was [stored](Summary::store).
    pub fn load(
        words: &[u32],
        start: usize,
        #[comptime] step: usize,
        #[comptime] asked: Asked,
    ) -> Summary {
        let count = words[start + comptime![word::POSITIVE_COUNT * step]];
        let mut weight = f32::cast_from(count);
        if comptime![asked.weights] {
            weight = f32::reinterpret(words[start + comptime![word::POSITIVE_WEIGHT * step]]);
        }
        let mut shortfall = 0.0f32.runtime();
        if comptime![asked.small] {
            shortfall = f32::reinterpret(words[start + comptime![word::POSITIVE_SHORTFALL * step]]);
        }
        let mut binary = 0.0f32.runtime();
        if comptime![asked.binary] {
            binary = f32::reinterpret(words[start + comptime![word::BINARY * step]]);
        }
        Summary {
            binary,
            recent: 0.0f32.runtime(),
            recent_count: 0u32.runtime(),
            negatives: Negatives {
                max: f32::reinterpret(words[start + comptime![word::NEGATIVE_MAX * step]]),
                sum: f32::reinterpret(words[start + comptime![word::NEGATIVE_SUM * step]]),
                column: words[start + comptime![word::NEGATIVE_COLUMN * step]],
                count: words[start + comptime![word::NEGATIVE_COUNT * step]],
                magnitude: words[start + comptime![word::NEGATIVE_MAGNITUDE * step]],
            },
            positives: Positives {
                max: f32::reinterpret(words[start + comptime![word::POSITIVE_MAX * step]]),
                sum: f32::reinterpret(words[start + comptime![word::POSITIVE_SUM * step]]),
                deficit: f32::reinterpret(words[start + comptime![word::POSITIVE_DEFICIT * step]]),
                min: f32::reinterpret(words[start + comptime![word::POSITIVE_MIN * step]]),
                power_sum: f32::reinterpret(
                    words[start + comptime![word::POSITIVE_POWER_SUM * step]],
                ),
                max_column: words[start + comptime![word::POSITIVE_MAX_COLUMN * step]],
                min_column: words[start + comptime![word::POSITIVE_MIN_COLUMN * step]],
                shortfall,
                count,
                weight,
                magnitude: words[start + comptime![word::POSITIVE_MAGNITUDE * step]],
                candidates: words[start + comptime![word::POSITIVE_CANDIDATES * step]],
            },
        }
    }
}
