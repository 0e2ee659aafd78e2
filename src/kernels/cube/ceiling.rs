//! The ceiling of every row's negatives.

use cubecl::prelude::*;

use super::{
    batch::Batch,
    documents::Judgements,
    row::{INFINITY, magnitude},
};
use crate::kernels::ceiling::PositiveThreshold;

/// What the positives of a row amount to.
#[derive(CubeType)]
struct Threshold {
    /// The smallest score, the largest, or the sum of them.
    score: f32,
    count: u32,
    /// The largest [`magnitude`].
    magnitude: u32,
}

#[cube]
impl Threshold {
    fn new() -> Threshold {
        Threshold {
            score: 0.0f32.runtime(),
            count: 0u32.runtime(),
            magnitude: 0u32.runtime(),
        }
    }

    fn add(&mut self, other: &Threshold, #[comptime] threshold: PositiveThreshold) {
        if other.count > 0 {
            let score = match comptime![threshold] {
                PositiveThreshold::Weakest => {
                    select(other.score < self.score, other.score, self.score)
                }
                PositiveThreshold::Strongest => {
                    select(other.score > self.score, other.score, self.score)
                }
                PositiveThreshold::Mean => self.score + other.score,
            };
            self.score = select(self.count == 0, other.score, score);
            self.count += other.count;
            self.magnitude = select(
                other.magnitude > self.magnitude,
                other.magnitude,
                self.magnitude,
            );
        }
    }
}

/// Writes for each row the largest score of a negative that is believed, any number where there
/// is no positive; `units` is the size of a cube, and the margin is `relative` or not.
#[cube(launch_unchecked, address_type = "dynamic")]
pub fn row_ceilings<F: Float, B: Int, C: Int, I: Int, N: Size>(
    batch: &Batch<F, B, C, I, N>,
    ceilings: &mut Tensor<f32>,
    margin: f32,
    infinity: f32,
    #[comptime] threshold: PositiveThreshold,
    #[comptime] relative: bool,
    #[comptime] units: usize,
    #[define(F, B, C, I)] _dtypes: [ElemType; 4],
) {
    let row = CUBE_POS;
    if row >= batch.pairs.rows {
        terminate!();
    }
    let query = batch.query(row);
    let unit = UNIT_POS as usize;
    let mut own = Threshold::new();
    let mut i = unit;
    while i < batch.pairs.vectors {
        let judgements = Judgements::<B, C, N>::load(&batch.pairs, row, i);
        // Positives are few: the scores of most vectors are not read.
        #[unroll]
        for k in 0..N::value() {
            let column = (i * N::value()) as u32 + comptime![k as u32];
            if judgements.is_positive(k) && query.keeps(column) {
                let score = f32::cast_from(batch.scores.at(row, i).extract(k));
                let one = Threshold {
                    score,
                    count: 1u32.runtime(),
                    magnitude: magnitude(score),
                };
                own.add(&one, threshold);
            }
        }
        i += units;
    }
    let mut scores = Shared::<[f32]>::new_slice(units);
    let mut counts = Shared::<[u32]>::new_slice(units);
    let mut magnitudes = Shared::<[u32]>::new_slice(units);
    scores[unit] = own.score;
    counts[unit] = own.count;
    magnitudes[unit] = own.magnitude;
    sync_cube();
    if unit == 0 {
        let mut all = Threshold::new();
        for other in 0..units {
            let other = Threshold {
                score: scores[other],
                count: counts[other],
                magnitude: magnitudes[other],
            };
            all.add(&other, threshold);
        }
        let mut score = all.score;
        if comptime![threshold == PositiveThreshold::Mean] {
            score /= f32::cast_from(all.count);
        }
        let mut margin = margin;
        if comptime![relative] {
            margin *= -score.abs();
        }
        let ceiling = score + margin;
        // Where the ceiling is NaN, all are believed.
        let unknown = all.magnitude > INFINITY || magnitude(ceiling) > INFINITY;
        ceilings[row] = select(unknown, infinity, ceiling);
    }
}
