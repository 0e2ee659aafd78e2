//! The column of every row's drawn positive.

use cubecl::prelude::*;

use super::{batch::Pairs, documents::Judgements, row::NO_COLUMN};
use crate::kernels::draw::DRAWS;

/// Writes for each row the column of the positive that its draw names by its place among the
/// positives, [`NO_COLUMN`] if there is none; `units` is the size of a cube.
#[cube(launch_unchecked, address_type = "dynamic")]
pub fn drawn_columns<B: Int, C: Int, N: Size>(
    pairs: &Pairs<B, C, N>,
    draws: &Tensor<f32>,
    columns: &mut Tensor<u32>,
    #[comptime] units: usize,
    #[define(B, C)] _dtypes: [ElemType; 2],
) {
    let row = CUBE_POS;
    if row >= pairs.rows {
        terminate!();
    }
    // A unit has adjacent vectors, so that it knows the places of their positives.
    let unit = UNIT_POS as usize;
    let share = pairs.vectors.div_ceil(comptime![units]);
    let start = (unit * share).min(pairs.vectors);
    let end = (start + share).min(pairs.vectors);
    let mut own = 0u32;
    for i in start..end {
        let judgements = Judgements::<B, C, N>::load(pairs, row, i);
        #[unroll]
        for k in 0..N::value() {
            own += u32::cast_from(judgements.is_positive(k));
        }
    }
    let mut counts = Shared::<[u32]>::new_slice(units);
    counts[unit] = own;
    sync_cube();

    let mut before = 0u32;
    let mut count = 0u32;
    for other in 0..units {
        let others = counts[other];
        count += others;
        before += select(other < unit, others, 0u32);
    }
    if count == 0 && unit == 0 {
        columns[row] = NO_COLUMN.runtime();
    }
    let drawn = draws[row].floor() * comptime![1.0 / DRAWS] * f32::cast_from(count);
    let drawn = u32::cast_from(drawn);
    // Rounding may lift the product to the count itself.
    let drawn = select(drawn < count, drawn, count - 1);
    if drawn >= before && drawn < before + own {
        let mut place = before;
        for i in start..end {
            let judgements = Judgements::<B, C, N>::load(pairs, row, i);
            #[unroll]
            for k in 0..N::value() {
                if judgements.is_positive(k) {
                    if place == drawn {
                        columns[row] = (i * N::value()) as u32 + comptime![k as u32];
                    }
                    place += 1;
                }
            }
        }
    }
}
