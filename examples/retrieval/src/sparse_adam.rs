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
    for ((weight, (first, second)), gradient) in weights.iter_mut().zip(moments).zip(gradient) {
        *first = DECAY[0] * *first + (1.0 - DECAY[0]) * gradient;
        *second = DECAY[1] * *second + (1.0 - DECAY[1]) * gradient * gradient;
        let mean = *first / (1.0 - decayed[0]);
        let square = *second / (1.0 - decayed[1]);
        *weight -= rate * mean / (square.sqrt() + EPSILON);
    }
}
