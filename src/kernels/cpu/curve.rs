//! A curve in the arithmetic of the kernels.

use super::{isa::Isa, real::Real};
use crate::kernels::curve::{Curve, Product};

/// What becomes of scores by one of the curves, `u (s - d)` with `u = k s + c`.
#[derive(Clone, Copy)]
pub struct Bend<R> {
    rate: R,
    offset: R,
    /// `-d`.
    shift: R,
    /// The least that `u` is.
    floor: R,
    /// The slope has `k (s - d)` times this beside `u`.
    share: R,
}

impl<R: Real> Bend<R> {
    pub fn new(curve: Curve, product: Product) -> Self {
        let Product {
            rate,
            offset,
            center,
        } = product;
        Self {
            rate: R::from_f64(rate),
            offset: R::from_f64(offset),
            shift: R::from_f64(-center),
            floor: match curve.paced {
                true => R::default(),
                false => R::NEG_INFINITY,
            },
            share: R::from_f64(if curve.paced { 0.0 } else { rate }),
        }
    }

    #[inline(always)]
    fn factor(self, score: R) -> R {
        let factor = score.mul(self.rate).add(self.offset);
        if factor < self.floor {
            self.floor
        } else {
            factor
        }
    }

    /// Minus infinity stays what it is.
    #[inline(always)]
    pub fn value(self, score: R) -> R {
        let value = self.factor(score).mul(score.add(self.shift));
        if score == R::NEG_INFINITY {
            score
        } else {
            value
        }
    }

    #[inline(always)]
    pub fn slope(self, score: R) -> R {
        let slope = score
            .add(self.shift)
            .mul(self.share)
            .add(self.factor(score));
        if score == R::NEG_INFINITY {
            R::from_f64(1.0)
        } else {
            slope
        }
    }
}

/// Writes what a curve makes of scores.
pub fn bend<R: Real>(isa: Isa, scores: &[R], bend: Bend<R>, out: &mut [R]) {
    isa.vectorize(
        #[inline(always)]
        || {
            for (out, &score) in out.iter_mut().zip(scores) {
                *out = bend.value(score);
            }
        },
    );
}

/// Multiplies the gradients of what a curve made of the scores of negatives by its
/// slopes.
pub fn unbend<R: Real>(isa: Isa, scores: &[R], excluded: &[u8], bend: Bend<R>, out: &mut [R]) {
    isa.vectorize(
        #[inline(always)]
        || {
            for ((out, &score), &excluded) in out.iter_mut().zip(scores).zip(excluded) {
                let gradient = out.mul(bend.slope(score));
                *out = if excluded == 0 { gradient } else { *out };
            }
        },
    );
}
