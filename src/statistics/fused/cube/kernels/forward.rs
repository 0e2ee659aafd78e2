//! The statistics of every row.

use cubecl::prelude::*;

use super::{
    exchange::Exchange,
    negatives::Negatives,
    positives::Positives,
    row::{
        HARDEST_COLUMN, NO_COLUMN, Rows, STRONGEST_COLUMN, STRONGEST_LOG_SUM, STRONGEST_SCORE,
        WEAKEST_COLUMN, WEAKEST_LOG_SUM, WEAKEST_SCORE, WIDTH, candidates_at, is_positive, log,
        pack, relative, stays,
    },
};
use crate::statistics::table::{NEGATIVE_COUNT, POSITIVE_COUNT, REFERENCE, Statistic};

/// Writes a row of the table for each row of scores, which is read once.
///
/// `factor` is 2 / temperature, `units` the size of a cube, a power of two, and `sum` says whether
/// the log-sum-exp over the negatives is wanted.
#[cube(launch_unchecked, address_type = "dynamic")]
pub fn row_statistics<F: Float, B: Int, C: Int, I: Int, N: Size>(
    scores: &Tensor<Vector<F, N>>,
    positives: &Tensor<Vector<B, N>>,
    candidates: ComptimeOption<&Tensor<Vector<C, N>>>,
    chosen: ComptimeOption<&Tensor<I>>,
    table: &mut Tensor<f32>,
    rows: &Rows,
    factor: f32,
    nan: f32,
    #[comptime] units: usize,
    #[comptime] sum: bool,
    #[define(F, B, C, I)] _dtypes: [ElemType; 4],
) {
    let row = CUBE_POS;
    if row >= rows.count {
        terminate!();
    }
    let mut all_negatives = Negatives::new();
    let mut all_positives = Positives::new();
    let mut i = UNIT_POS as usize;
    while i < rows.vectors {
        let scores = scores[row * rows.scores + i];
        let positives = positives[row * rows.positives + i];
        let candidates = candidates_at::<C, N>(&candidates, row * rows.candidates + i);
        let column = (i * N::value()) as u32;
        all_negatives.add::<F, B, C, N>(scores, positives, candidates, column, factor, sum);

        let mut any = positives.extract(0usize);
        #[unroll]
        for k in 1..N::value() {
            any |= positives.extract(k);
        }
        if any != B::from_int(0) {
            #[unroll]
            for k in 0..N::value() {
                let column = column + comptime![k as u32];
                if is_positive::<B, C>(positives.extract(k), candidates.extract(k)) {
                    all_positives.candidates += 1;
                    if stays::<I>(&chosen, row, column) {
                        all_positives.add(f32::cast_from(scores.extract(k)), column, factor);
                    }
                }
            }
        }
        i += comptime![units];
    }
    if comptime![units > 1] {
        let unit = UNIT_POS as usize;
        let mut exchange = Exchange::new(units);
        exchange.put(unit, &all_negatives, &all_positives);
        sync_cube();
        let mut half = comptime![units / 2].runtime();
        while half > 0 {
            if unit < half {
                all_negatives.merge(&exchange.negatives(unit + half), factor);
                all_positives.merge(&exchange.positives(unit + half), factor);
                exchange.put(unit, &all_negatives, &all_positives);
            }
            sync_cube();
            half /= 2;
        }
    }
    if UNIT_POS == 0 {
        write(
            &all_negatives,
            &all_positives,
            table,
            row * comptime![WIDTH],
            factor,
            nan,
            sum,
        );
    }
}

/// Writes the row of the table that starts at `start`.
#[cube]
fn write(
    negatives: &Negatives,
    positives: &Positives,
    table: &mut Tensor<f32>,
    start: usize,
    factor: f32,
    nan: f32,
    #[comptime] sum: bool,
) {
    #[unroll]
    for column in 0..WIDTH {
        table[start + column] = 0.0;
    }
    // The others are inactive: their scores count for nothing.
    if positives.candidates > 0 {
        // A choice that is no positive leaves none; its query is active all the same.
        let count = f32::cast_from(positives.count);
        let unknown = positives.count == 0;
        table[start + comptime![POSITIVE_COUNT]] = select(unknown, 1.0, count);
        table[start + comptime![NEGATIVE_COUNT]] = f32::cast_from(negatives.count);

        let mut reference = positives.max;
        if negatives.count > 0 {
            reference = select(negatives.column == NO_COLUMN, nan, negatives.max);
            if comptime![sum] {
                let value = select(negatives.is_finite(), log(negatives.sum), nan);
                table[start + comptime![Statistic::Negatives as usize]] = value;
            }
            let hardest = select(negatives.has_nan(), nan, 0.0);
            table[start + comptime![Statistic::HardestNegative as usize]] = hardest;
        }
        table[start + comptime![REFERENCE]] = reference;
        table[start + comptime![HARDEST_COLUMN]] = pack(negatives.column);

        let unknown = unknown || positives.has_nan();
        let strongest = select(unknown, nan, positives.max);
        let weakest = select(unknown, nan, positives.min);
        let strongest_log_sum = log(positives.sum);
        let weakest_log_sum = log(positives.weak_sum);
        let strongest_above = relative(strongest, reference, factor);
        let weakest_above = relative(weakest, reference, factor);
        let excess = count * strongest_log_sum + positives.deficit;
        table[start + comptime![Statistic::Positives as usize]] =
            strongest_above + strongest_log_sum;
        table[start + comptime![Statistic::WeakPositives as usize]] =
            weakest_log_sum - weakest_above;
        table[start + comptime![Statistic::PositiveExcess as usize]] = select(unknown, nan, excess);
        table[start + comptime![Statistic::WeakestPositive as usize]] = weakest_above;
        table[start + comptime![Statistic::StrongestPositive as usize]] = strongest_above;

        table[start + comptime![STRONGEST_SCORE]] = strongest;
        table[start + comptime![STRONGEST_LOG_SUM]] = strongest_log_sum;
        table[start + comptime![WEAKEST_SCORE]] = weakest;
        table[start + comptime![WEAKEST_LOG_SUM]] = weakest_log_sum;
        table[start + comptime![STRONGEST_COLUMN]] = pack(positives.max_column);
        table[start + comptime![WEAKEST_COLUMN]] = pack(positives.min_column);
    }
}
