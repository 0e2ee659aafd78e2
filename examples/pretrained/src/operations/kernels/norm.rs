//! Layer normalisation of rows.
//!
//! ```text
//! n = (x - mean(x)) / sqrt(variance(x) + epsilon)              y = gamma n + beta
//! ```

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::lanes::{fold, sum_pairs};

/// Rows of one task. Sums over rows depend on it, and on nothing else.
const CHUNK: usize = 32;

/// What scales and shifts the normalised rows.
#[derive(Clone, Copy)]
pub struct Affine<'a> {
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
}

/// Adds `residual` to the rows and normalises them in their place. Returns what the
/// centered rows were multiplied by.
pub fn normalize(rows: &mut [f32], residual: &[f32], width: usize, epsilon: f32) -> Vec<f32> {
    let mut inverses = vec![0.0; rows.len() / width];
    let tasks = rows.par_chunks_mut(CHUNK * width);
    let tasks = tasks.zip(residual.par_chunks(CHUNK * width));
    let tasks = tasks.zip(inverses.par_chunks_mut(CHUNK));
    tasks.for_each(|((rows, residual), inverses)| {
        Arch::new().dispatch(Normalize {
            rows,
            residual,
            inverses,
            width,
            epsilon,
        });
    });
    inverses
}

/// Scales and shifts normalised rows, in their place.
pub fn scale_in_place(rows: &mut [f32], affine: Affine) {
    let width = affine.gamma.len();
    rows.par_chunks_mut(CHUNK * width).for_each(|rows| {
        for row in rows.chunks_exact_mut(width) {
            for ((x, gamma), beta) in row.iter_mut().zip(affine.gamma).zip(affine.beta) {
                *x = *x * gamma + beta;
            }
        }
    });
}

/// The same to `out`.
pub fn scale(rows: &[f32], affine: Affine, out: &mut [f32]) {
    let width = affine.gamma.len();
    let tasks = out.par_chunks_mut(CHUNK * width);
    tasks
        .zip(rows.par_chunks(CHUNK * width))
        .for_each(|(out, rows)| {
            for (out, row) in out.chunks_exact_mut(width).zip(rows.chunks_exact(width)) {
                let affine = affine.gamma.iter().zip(affine.beta);
                for ((y, x), (gamma, beta)) in out.iter_mut().zip(row).zip(affine) {
                    *y = x * gamma + beta;
                }
            }
        });
}

/// The gradients of `gamma` and `beta`; that of `x` takes the place of `gradient`, which
/// is that of `y`.
pub fn backward(
    gradient: &mut [f32],
    normalized: &[f32],
    inverses: &[f32],
    gamma: &[f32],
) -> [Vec<f32>; 2] {
    let width = gamma.len();
    let tasks = gradient.par_chunks_mut(CHUNK * width);
    let tasks = tasks.zip(normalized.par_chunks(CHUNK * width));
    let tasks = tasks.zip(inverses.par_chunks(CHUNK));
    let parts: Vec<[Vec<f32>; 2]> = tasks
        .map(|((gradient, normalized), inverses)| {
            Arch::new().dispatch(Gradient {
                gradient,
                normalized,
                inverses,
                gamma,
            })
        })
        .collect();
    let mut sums = [vec![0.0; width], vec![0.0; width]];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            for (sum, part) in sum.iter_mut().zip(part) {
                *sum += part;
            }
        }
    }
    sums
}

struct Normalize<'a> {
    rows: &'a mut [f32],
    residual: &'a [f32],
    inverses: &'a mut [f32],
    width: usize,
    epsilon: f32,
}

impl WithSimd for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.rows.chunks_exact_mut(self.width);
        let rows = rows.zip(self.residual.chunks_exact(self.width));
        for ((row, residual), inverse) in rows.zip(self.inverses) {
            for (x, residual) in row.iter_mut().zip(residual) {
                *x += residual;
            }
            let share = 1.0 / self.width as f32;
            let mean = fold(row, 0.0, |a, b| a + b) * share;
            for x in row.iter_mut() {
                *x -= mean;
            }
            let variance = sum_pairs(row, row, |x, y| x * y) * share;
            *inverse = 1.0 / (variance + self.epsilon).sqrt();
            for x in row.iter_mut() {
                *x *= *inverse;
            }
        }
    }
}

struct Gradient<'a> {
    gradient: &'a mut [f32],
    normalized: &'a [f32],
    inverses: &'a [f32],
    gamma: &'a [f32],
}

impl WithSimd for Gradient<'_> {
    type Output = [Vec<f32>; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let width = self.gamma.len();
        let mut of_gamma = vec![0.0; width];
        let mut of_beta = vec![0.0; width];
        let rows = self.gradient.chunks_exact_mut(width);
        let rows = rows.zip(self.normalized.chunks_exact(width));
        for ((gradient, normalized), inverse) in rows.zip(self.inverses) {
            for index in 0..width {
                of_gamma[index] += gradient[index] * normalized[index];
                of_beta[index] += gradient[index];
                gradient[index] *= self.gamma[index];
            }
            let share = 1.0 / width as f32;
            let mean = fold(gradient, 0.0, |a, b| a + b) * share;
            let slope = sum_pairs(gradient, normalized, |x, y| x * y) * share;
            for (x, normalized) in gradient.iter_mut().zip(normalized) {
                *x = (*x - mean - normalized * slope) * inverse;
            }
        }
        [of_gamma, of_beta]
    }
}
