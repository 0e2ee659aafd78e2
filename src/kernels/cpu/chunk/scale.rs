//! Scores as the exponents that kernels take.

use crate::kernels::{
    cpu::{
        exponential::power_where,
        real::{Lanes, Real},
        simd::{Simd, Vector},
    },
    table::Request,
};

/// Scores relative to a reference, as exponents of 2:
/// `(score - reference) / temperature log2 e`.
#[derive(Clone, Copy)]
pub struct Scale<R> {
    half_reference: R,
    /// In two parts, the second what the first has lost.
    rate: [R; 2],
    /// What is below this is 0, and not computed: some processors take a hundred cycles
    /// for a result below the normal numbers.
    lowest: R,
}

/// Factors smaller than 2 to minus this make results below the normal numbers all the
/// same: the largest of them are not lost.
const SMALLEST_FACTOR: f64 = 60.0;

impl<R: Real> Scale<R> {
    /// The exponentials of the scores are multiplied by `factor`.
    pub fn new(reference: R, temperature: f64, factor: f64) -> Self {
        let rate = 2.0 * std::f64::consts::LOG2_E / temperature;
        let above = (-factor.abs().log2()).clamp(0.0, SMALLEST_FACTOR);
        let high = R::from_f64(rate);
        let lowest = (R::LEAST_EXPONENT + above) / rate;
        // Minus infinity is always below it.
        let lowest = lowest.max(R::MIN.to_f64());
        Self {
            half_reference: R::from_f64(-0.5).mul(reference),
            rate: [high, R::from_f64(rate - high.to_f64())],
            lowest: R::from_f64(lowest),
        }
    }

    /// The exponentials in the lanes of the mask, 0 in the others.
    ///
    /// Differences are taken between halves: the difference of finite halves is finite.
    #[inline(always)]
    pub fn power_where<S: Simd>(
        self,
        mask: <Lanes<S, R> as Vector>::Mask,
        scores: Lanes<S, R>,
    ) -> Lanes<S, R> {
        let half = Lanes::<S, R>::splat(R::from_f64(0.5));
        let x = scores.mul_add(half, Lanes::<S, R>::splat(self.half_reference));
        let mask = x.not_below(mask, Lanes::<S, R>::splat(self.lowest));
        power_where::<S, R>(mask, x, self.rate)
    }
}

/// Scores that are compared with nothing: `score / temperature + bias`.
#[derive(Clone, Copy)]
pub struct Logit<R> {
    inverse: R,
    bias: R,
}

impl<R: Real> Logit<R> {
    pub fn new(request: Request) -> Self {
        Self {
            inverse: R::from_f64(1.0 / request.temperature()),
            bias: R::from_f64(request.bias()),
        }
    }

    #[inline(always)]
    pub fn of<S: Simd>(self, scores: Lanes<S, R>) -> Lanes<S, R> {
        let inverse = Lanes::<S, R>::splat(self.inverse);
        scores.mul_add(inverse, Lanes::<S, R>::splat(self.bias))
    }
}
