//! Sums over rows in an order that vectorises.

/// Independent partial results: four vectors of the widest instruction set.
const LANES: usize = 64;

/// Folds a row, with partial results that are folded in the end.
#[inline(always)]
pub fn fold(row: &[f32], start: f32, step: impl Fn(f32, f32) -> f32) -> f32 {
    fold_pairs(row, row, start, |partial, x, _| step(partial, x), &step)
}

/// The sum of a function of the entries of two rows.
#[inline(always)]
pub fn sum_pairs(left: &[f32], right: &[f32], of: impl Fn(f32, f32) -> f32) -> f32 {
    fold_pairs(left, right, 0.0, |sum, x, y| sum + of(x, y), |a, b| a + b)
}

#[inline(always)]
fn fold_pairs(
    left: &[f32],
    right: &[f32],
    start: f32,
    step: impl Fn(f32, f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [start; LANES];
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            lanes[lane] = step(lanes[lane], left[lane], right[lane]);
        }
    }
    for ((lane, x), y) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
        *lane = step(*lane, *x, *y);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_length_are_summed_and_searched() {
        for length in [0, 1, 5, 63, 64, 65, 200] {
            let row: Vec<f32> = (0..length).map(|i| (i * 37 % 101) as f32).collect();
            assert_eq!(fold(&row, 0.0, |a, b| a + b), row.iter().sum::<f32>());
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let found = fold(&row, f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
            assert_eq!(found, largest);
            let squares: f32 = row.iter().map(|x| x * x).sum();
            assert_eq!(sum_pairs(&row, &row, |x, y| x * y), squares);
        }
    }
}
