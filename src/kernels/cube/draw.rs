//! The column of every row's drawn positive.

use cubecl::prelude::*;

use super::{
    batch::Pairs,
    documents::Judgements,
    row::{INFINITY, NO_COLUMN, magnitude},
};
use crate::kernels::draw::DRAWS;

/// Writes for each row the column of the positive that its draw names among the positives, each as
/// likely as its weight says, [`NO_COLUMN`] if there is none or a weight is none; `units` is the
/// size of a cube.
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
    // A unit has adjacent vectors, so that it knows what lies before their positives.
    let unit = UNIT_POS as usize;
    let share = pairs.vectors.div_ceil(comptime![units]);
    let start = (unit * share).min(pairs.vectors);
    let end = (start + share).min(pairs.vectors);
    let mut own = 0.0f32;
    for i in start..end {
        let judgements = Judgements::<B, C, N>::load(pairs, row, i);
        #[unroll]
        for k in 0..N::value() {
            if judgements.is_positive(k) {
                own += judgements.weight_or_lowest(k);
            }
        }
    }
    let mut sums = Shared::<[f32]>::new_slice(units);
    sums[unit] = own;
    sync_cube();

    // Added in the same order by all, so that a draw falls into the share of one unit.
    let mut sum = 0.0f32;
    let mut before = 0.0f32;
    let mut behind = 0.0f32;
    let mut last = units.runtime();
    for other in 0..units {
        before = select(other == unit, sum, before);
        sum += sums[other];
        behind = select(other == unit, sum, behind);
        last = select(sums[other] > 0.0, other, last);
    }
    let is_weight = sum > 0.0 && magnitude(sum) < INFINITY;
    if !is_weight && unit == 0 {
        columns[row] = NO_COLUMN.runtime();
    }
    let drawn = draws[row].floor() * comptime![1.0 / DRAWS] * sum;
    // Rounding may lift the product to the sum itself.
    let is_own = drawn >= before && (drawn < behind || unit == last);
    if is_weight && is_own {
        let mut column = NO_COLUMN.runtime();
        let mut seen = before;
        for i in start..end {
            let judgements = Judgements::<B, C, N>::load(pairs, row, i);
            #[unroll]
            for k in 0..N::value() {
                // The first that ends behind the draw; the last, if rounding leaves none.
                if judgements.is_positive(k) && (seen <= drawn || column == NO_COLUMN) {
                    column = (i * N::value()) as u32 + comptime![k as u32];
                    seen += judgements.weight(k);
                }
            }
        }
        columns[row] = column;
    }
}
