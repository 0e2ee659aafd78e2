//! The statistics of every row.

use cubecl::prelude::*;

use super::{
    batch::{Batch, Query},
    documents::Documents,
    row::{
        Asked, HARDEST_COLUMN, NO_COLUMN, POWER_LOG_SUM, PUSH, STRONGEST_COLUMN, STRONGEST_LOG_SUM,
        STRONGEST_SCORE, Scale, WEAKEST_COLUMN, WEAKEST_SCORE, WIDTH, log, pack, relative, sigmoid,
        softplus,
    },
    summary::{Summary, summary_words},
};
use crate::kernels::table::{
    NEGATIVE_COUNT, POSITIVE_COUNT, POSITIVE_WEIGHT, REFERENCE, Statistic,
};

/// Writes a row of the table for each row of scores, which is read once.
///
/// `units` is the size of a cube, a power of two, and `ahead` how many vectors a unit reads at a
/// time.
#[cube(launch_unchecked, address_type = "dynamic")]
pub fn row_statistics<F: Float, B: Int, C: Int, I: Int, N: Size>(
    batch: &Batch<F, B, C, I, N>,
    table: &mut Tensor<f32>,
    scale: &Scale,
    nan: f32,
    #[comptime] units: usize,
    #[comptime] ahead: usize,
    #[comptime] asked: Asked,
    #[define(F, B, C, I)] _dtypes: [ElemType; 4],
) {
    let row = CUBE_POS;
    if row >= batch.pairs.rows {
        terminate!();
    }
    let query = batch.query(row);
    let mut summary =
        see::<F, B, C, I, N>(batch, &query, UNIT_POS as usize, units, scale, ahead, asked);
    summary.combine(units, scale, asked);
    if UNIT_POS == 0 {
        let hardest = hardest_column::<F, B, C, I, N>(&summary, batch, &query);
        write(&summary, hardest, table, row, scale, nan, asked);
    }
    if comptime![asked.losses] {
        write_losses::<F, B, C, I, N>(&summary, batch, &query, table, scale, nan, units);
    }
}

/// The first half of [`row_statistics`] for rows that many cubes share: writes what each of the
/// `segments` cubes of a row has seen.
#[cube(launch_unchecked, address_type = "dynamic")]
pub fn segment_statistics<F: Float, B: Int, C: Int, I: Int, N: Size>(
    batch: &Batch<F, B, C, I, N>,
    parts: &mut Tensor<u32>,
    scale: &Scale,
    #[comptime] units: usize,
    #[comptime] segments: usize,
    #[comptime] ahead: usize,
    #[comptime] asked: Asked,
    #[define(F, B, C, I)] _dtypes: [ElemType; 4],
) {
    let row = CUBE_POS / comptime![segments];
    if row >= batch.pairs.rows {
        terminate!();
    }
    let query = batch.query(row);
    let segment = CUBE_POS % comptime![segments];
    let mut summary = see::<F, B, C, I, N>(
        batch,
        &query,
        segment * comptime![units] + UNIT_POS as usize,
        comptime![segments * units],
        scale,
        ahead,
        asked,
    );
    summary.combine(units, scale, asked);
    if UNIT_POS == 0 {
        summary.store(
            parts.as_mut_slice(),
            CUBE_POS * comptime![summary_words(asked)],
            1usize,
            asked,
        );
    }
}

/// The second half: writes the table, given what the cubes have seen. A cube has a unit for each of
/// the `segments`, a power of two.
#[cube(launch_unchecked, address_type = "dynamic")]
pub fn join_segments<F: Float, B: Int, C: Int, I: Int, N: Size>(
    batch: &Batch<F, B, C, I, N>,
    parts: &Tensor<u32>,
    table: &mut Tensor<f32>,
    scale: &Scale,
    nan: f32,
    #[comptime] segments: usize,
    #[comptime] asked: Asked,
    #[define(F, B, C, I)] _dtypes: [ElemType; 4],
) {
    let row = CUBE_POS;
    if row >= batch.pairs.rows {
        terminate!();
    }
    let query = batch.query(row);
    let part = row * comptime![segments] + UNIT_POS as usize;
    let mut summary = Summary::load(
        parts.as_slice(),
        part * comptime![summary_words(asked)],
        1usize,
        asked,
    );
    summary.combine(segments, scale, asked);
    if UNIT_POS == 0 {
        let hardest = hardest_column::<F, B, C, I, N>(&summary, batch, &query);
        write(&summary, hardest, table, row, scale, nan, asked);
    }
}

/// Looks at every `step`th vector of a row, from `start` on, `ahead` of them at a time.
#[cube]
fn see<F: Float, B: Int, C: Int, I: Int, N: Size>(
    batch: &Batch<F, B, C, I, N>,
    query: &Query<I>,
    start: usize,
    #[comptime] step: usize,
    scale: &Scale,
    #[comptime] ahead: usize,
    #[comptime] asked: Asked,
) -> Summary {
    let mut summary = Summary::new();
    let mut i = start;
    while i < batch.pairs.vectors {
        let loaded =
            Documents::<F, B, C, N>::load_ahead::<I>(batch, query, i, step.runtime(), ahead);
        #[unroll]
        for k in 0..ahead {
            if i + k * step < batch.pairs.vectors {
                summary.add::<F, B, C, I, N>(loaded.index(k), query, scale, asked);
            }
        }
        i += comptime![ahead * step];
    }
    summary
}

/// The first column of the largest negative.
#[cube]
fn hardest_column<F: Float, B: Int, C: Int, I: Int, N: Size>(
    summary: &Summary,
    batch: &Batch<F, B, C, I, N>,
    query: &Query<I>,
) -> u32 {
    let mut hardest = summary.negatives.column;
    if hardest != NO_COLUMN {
        let i = hardest as usize / N::value();
        let documents = Documents::<F, B, C, N>::load::<I>(batch, query, i);
        let size = N::value();
        #[unroll]
        for i in 0..size {
            let k = comptime![size - 1 - i];
            if documents.is_negative(k) && documents.of_negative(k) == summary.negatives.max {
                hardest = documents.column + comptime![k as u32];
            }
        }
    }
    hardest
}

/// Writes a row of the table.
#[cube]
fn write(
    summary: &Summary,
    hardest_column: u32,
    table: &mut Tensor<f32>,
    row: usize,
    scale: &Scale,
    nan: f32,
    #[comptime] asked: Asked,
) {
    let negatives = &summary.negatives;
    let positives = &summary.positives;
    let start = row * comptime![WIDTH];
    #[unroll]
    for column in 0..WIDTH {
        table[start + column] = 0.0;
    }
    // The others are inactive: their scores count for nothing.
    if positives.candidates > 0 {
        // A choice that is no positive leaves none; its query is active all the same.
        let count = f32::cast_from(positives.count);
        let unknown = positives.count == 0;
        let weight = select(positives.is_weightless(), nan, positives.weight);
        table[start + comptime![POSITIVE_COUNT]] = select(unknown, 1.0, count);
        table[start + comptime![POSITIVE_WEIGHT]] = select(unknown, 1.0, weight);
        table[start + comptime![NEGATIVE_COUNT]] = f32::cast_from(negatives.count);

        let mut reference = positives.max;
        if negatives.count > 0 {
            reference = select(negatives.column == NO_COLUMN, nan, negatives.max);
            if comptime![asked.sum] {
                let value = select(negatives.is_finite(), log(negatives.sum), nan);
                table[start + comptime![Statistic::Negatives as usize]] = value;
            }
            let hardest = select(negatives.has_nan(), nan, 0.0);
            table[start + comptime![Statistic::HardestNegative as usize]] = hardest;
        }
        table[start + comptime![REFERENCE]] = reference;
        table[start + comptime![HARDEST_COLUMN]] = pack(hardest_column);
        if comptime![asked.binary] {
            let unknown = positives.count == 0
                || positives.has_nan()
                || positives.is_weightless()
                || negatives.has_nan();
            table[start + comptime![Statistic::BinaryLosses as usize]] =
                select(unknown, nan, summary.binary);
        }

        let unknown = unknown || positives.has_nan();
        let strongest = select(unknown, nan, positives.max);
        let weakest = select(unknown, nan, positives.min);
        let strongest_log_sum = log(positives.sum);
        let strongest_above = relative(strongest, reference, scale.factor);
        let weakest_above = relative(weakest, reference, scale.factor);
        table[start + comptime![Statistic::UnweightedPositives as usize]] =
            strongest_above + strongest_log_sum;
        let from = select(scale.is_from_largest(), strongest_above, weakest_above);
        let mean = from + positives.mean(scale, asked);
        let excess = positives.weight * strongest_log_sum + positives.deficit;
        let unweighed = unknown || positives.is_weightless();
        table[start + comptime![Statistic::PositiveMean as usize]] = select(unweighed, nan, mean);
        table[start + comptime![Statistic::PositiveExcess as usize]] =
            select(unweighed, nan, excess);
        table[start + comptime![Statistic::WeakestPositive as usize]] = weakest_above;
        table[start + comptime![Statistic::StrongestPositive as usize]] = strongest_above;

        table[start + comptime![STRONGEST_SCORE]] = strongest;
        table[start + comptime![STRONGEST_LOG_SUM]] = strongest_log_sum;
        table[start + comptime![WEAKEST_SCORE]] = weakest;
        table[start + comptime![POWER_LOG_SUM]] = log(positives.power_sum);
        table[start + comptime![STRONGEST_COLUMN]] = pack(positives.max_column);
        table[start + comptime![WEAKEST_COLUMN]] = pack(positives.min_column);
    }
}

/// Writes the summed losses of single positives and their slopes, given what the first unit knows.
#[cube]
fn write_losses<F: Float, B: Int, C: Int, I: Int, N: Size>(
    summary: &Summary,
    batch: &Batch<F, B, C, I, N>,
    query: &Query<I>,
    table: &mut Tensor<f32>,
    scale: &Scale,
    nan: f32,
    #[comptime] units: usize,
) {
    let unit = UNIT_POS as usize;
    let mut known = Shared::<[f32]>::new_slice(3usize);
    if unit == 0 {
        let reference = summary.negatives.max;
        known[0] = reference;
        known[1] = log(summary.negatives.sum) + scale.hardness * reference;
        let any = summary.negatives.count > 0 && summary.positives.count > 0;
        known[2] = select(any, 1.0, 0.0);
    }
    sync_cube();
    let reference = known[0];
    let level = known[1];
    let mut loss = 0.0f32;
    let mut push = 0.0f32;
    if known[2] > 0.0 {
        let mut i = unit;
        while i < batch.pairs.vectors {
            let documents = Documents::<F, B, C, N>::load::<I>(batch, query, i);
            #[unroll]
            for k in 0..N::value() {
                let column = documents.column + comptime![k as u32];
                if documents.is_positive(k) && query.keeps(column) {
                    let gap = level - relative(documents.of_positive(k), reference, scale.factor);
                    loss += documents.judgements.weigh(k, softplus(gap));
                    push += documents.judgements.weigh(k, sigmoid(gap));
                }
            }
            i += comptime![units];
        }
    }
    let mut parts = Shared::<[f32]>::new_slice(comptime![2 * units]);
    parts[unit] = loss;
    parts[unit + comptime![units]] = push;
    sync_cube();
    if unit == 0 && summary.positives.candidates > 0 {
        let mut losses = 0.0f32;
        let mut pushes = 0.0f32;
        for other in 0..units {
            losses += parts[other];
            pushes += parts[other + comptime![units]];
        }
        let negatives = &summary.negatives;
        let unknown = summary.positives.count == 0
            || summary.positives.has_nan()
            || summary.positives.is_weightless()
            || (negatives.count > 0 && !negatives.is_finite());
        let start = query.row * comptime![WIDTH];
        table[start + comptime![Statistic::PositiveLosses as usize]] = select(unknown, nan, losses);
        table[start + comptime![PUSH]] = select(unknown, nan, pushes);
    }
}
