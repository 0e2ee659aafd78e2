//! Adam for the rows that have a gradient.

use rayon::prelude::*;

use crate::{
    row_gradients::RowGradients,
    table::{Row, Table, vectorized},
};

const DECAY: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-5;

/// Adam with Burn's default settings for the rows of a step. The moments of a row are
/// updated when the row is used, as in PyTorch's `SparseAdam`.
pub struct SparseAdam {
    first: Table,
    second: Table,
    /// Powers of the decay rates, one a step.
    decayed: [f32; 2],
}

impl Default for SparseAdam {
    fn default() -> Self {
        Self {
            first: Table::zeros(),
            second: Table::zeros(),
            decayed: [1.0; 2],
        }
    }
}

impl SparseAdam {
    pub fn step(&mut self, table: &mut Table, gradients: &RowGradients, rate: f32) {
        for (decayed, decay) in self.decayed.iter_mut().zip(DECAY) {
            *decayed *= decay;
        }
        let gradients = gradients.by_row();
        let weights = table.rows_mut().par_iter_mut();
        let moments = self.first.rows_mut().par_iter_mut();
        let moments = moments.zip(self.second.rows_mut());
        let rows = weights.zip(moments).enumerate();
        rows.for_each(|(row, (weights, (first, second)))| {
            if let Some(gradient) = gradients.of(row) {
                vectorized(|| {
                    step_of_row(weights, first, second, &gradient, rate, self.decayed);
                });
            }
        });
    }
}

#[inline(always)]
fn step_of_row(
    weights: &mut Row,
    first: &mut Row,
    second: &mut Row,
    gradient: &Row,
    rate: f32,
    decayed: [f32; 2],
) {
    let moments = first.iter_mut().zip(second);
    let numbers = weights.iter_mut().zip(moments).zip(gradient);
    for ((weight, (first, second)), gradient) in numbers {
        *first = DECAY[0] * *first + (1.0 - DECAY[0]) * gradient;
        *second = DECAY[1] * *second + (1.0 - DECAY[1]) * gradient * gradient;
        let mean = *first / (1.0 - decayed[0]);
        let square = *second / (1.0 - decayed[1]);
        *weight -= rate * mean / (square.sqrt() + EPSILON);
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::encoder::{Bag, DIMENSIONS};

    fn step(adam: &mut SparseAdam, table: &mut Table, words: &[(usize, f32)]) {
        let mut gradients = RowGradients::default();
        for (row, gradient) in words {
            let text = Bag(vec![(*row, 1.0)]);
            gradients.add(&[&text], vec![*gradient; DIMENSIONS]);
        }
        adam.step(table, &gradients, 0.1);
    }

    #[test]
    fn a_row_rests_while_it_is_not_used() {
        let (mut adam, mut table) = (SparseAdam::default(), Table::zeros());
        let first = 0.1 / (1.0 + EPSILON);
        step(&mut adam, &mut table, &[(3, 1.0), (70, 1.0)]);
        assert_relative_eq!(table.rows()[70][5], -first, max_relative = 1e-5);
        assert_eq!(table.rows()[4], [0.0; _]);

        step(&mut adam, &mut table, &[(3, 1.0)]);
        assert_relative_eq!(table.rows()[70][5], -first, max_relative = 1e-5);

        // The moments are those of the first step, the bias that of three.
        step(&mut adam, &mut table, &[(70, 2.0)]);
        let mean = (0.9 * 0.1 + 0.1 * 2.0) / (1.0 - 0.9_f32.powi(3));
        let square = (0.999 * 0.001 + 0.001 * 4.0) / (1.0 - 0.999_f32.powi(3));
        let expected = -first - 0.1 * mean / (square.sqrt() + EPSILON);
        assert_relative_eq!(table.rows()[70][5], expected, max_relative = 1e-4);
    }

    #[test]
    fn gradients_of_a_row_add_up() {
        let (mut adam, mut table) = (SparseAdam::default(), Table::zeros());
        step(&mut adam, &mut table, &[(3, 1.0), (70, 2.0), (3, 1.0)]);
        assert_relative_eq!(adam.first.rows()[3][0], 0.2, max_relative = 1e-5);
        assert_relative_eq!(adam.first.rows()[70][0], 0.2, max_relative = 1e-5);
    }
}
