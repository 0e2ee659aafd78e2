//! GELU and its slope, `x P(x)` and `P(x) + x P'(x)`, where `P` is the normal
//! distribution or what approximates it.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::exp::{exp, polynomial};

/// Entries of one task.
const CHUNK: usize = 1 << 14;

/// Which `P`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `(1 + erf(x / sqrt 2)) / 2`
    Exact,
    /// `(1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`
    Tanh,
}

/// GELU of all entries, in their place.
pub fn in_place(form: Form, entries: &mut [f32]) {
    entries.par_chunks_mut(CHUNK).for_each(|entries| {
        Arch::new().dispatch(InPlace { form, entries });
    });
}

/// GELU of all entries to `values`; the slopes take the place of the entries.
pub fn with_slopes(form: Form, entries: &mut [f32], values: &mut [f32]) {
    let values = values.par_chunks_mut(CHUNK);
    let chunks = entries.par_chunks_mut(CHUNK).zip(values);
    chunks.for_each(|(entries, values)| {
        Arch::new().dispatch(WithSlopes {
            form,
            entries,
            values,
        });
    });
}

/// Multiplies entries by others.
pub fn multiply(entries: &mut [f32], factors: &[f32]) {
    let factors = factors.par_chunks(CHUNK);
    let chunks = entries.par_chunks_mut(CHUNK).zip(factors);
    chunks.for_each(|(entries, factors)| {
        for (entry, factor) in entries.iter_mut().zip(factors) {
            *entry *= factor;
        }
    });
}

struct InPlace<'a> {
    form: Form,
    entries: &'a mut [f32],
}

impl WithSimd for InPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.form {
            Form::Exact => values(self.entries, exact),
            Form::Tanh => values(self.entries, tanh),
        }
    }
}

#[inline(always)]
fn values(entries: &mut [f32], parts: impl Fn(f32) -> [f32; 2]) {
    for entry in entries {
        *entry *= parts(*entry)[0];
    }
}

struct WithSlopes<'a> {
    form: Form,
    entries: &'a mut [f32],
    values: &'a mut [f32],
}

impl WithSimd for WithSlopes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.form {
            Form::Exact => values_and_slopes(self.entries, self.values, exact),
            Form::Tanh => values_and_slopes(self.entries, self.values, tanh),
        }
    }
}

#[inline(always)]
fn values_and_slopes(entries: &mut [f32], values: &mut [f32], parts: impl Fn(f32) -> [f32; 2]) {
    for (entry, value) in entries.iter_mut().zip(values) {
        let x = *entry;
        let [share, density] = parts(x);
        *value = x * share;
        *entry = x.mul_add(density, share);
    }
}

/// `1 - P(a)` over `e^(-a^2 / 2)` as a polynomial in `(a - 3) / (a + 3)` for `a` of 0 to
/// 16: a minimax fit, off by 1.4e-8 of it.
const TAIL: [f32; 10] = [
    0.121_513_95,
    -0.206_402_63,
    0.123_225_08,
    -0.046_213_17,
    0.006_131_546_6,
    0.002_903_840_5,
    -0.000_981_913_3,
    -0.000_337_596_63,
    0.000_113_547_79,
    0.000_051_747_298,
];

/// From here on the tail rounds to 0.
const TAIL_END: f32 = 16.0;

const ROOT_OF_TWO_PI: f32 = 2.506_628_3;

/// `P(x)` and `P'(x)` of the normal distribution. Both keep their digits where they are
/// small.
#[inline(always)]
fn exact(x: f32) -> [f32; 2] {
    let size = x.abs();
    let size = if size < TAIL_END { size } else { TAIL_END };
    let square = size * size;
    // What the square lost to rounding matters in the exponent.
    let lost = size.mul_add(size, -square);
    let bell = exp(-0.5 * square);
    let bell = bell.mul_add(-0.5 * lost, bell);
    let tail = bell * polynomial(&TAIL, (size - 3.0) / (size + 3.0));
    [split(x, tail), bell * (1.0 / ROOT_OF_TWO_PI)]
}

/// The same of `1 / (1 + e^-y)`, where `y = 2 sqrt(2 / pi) (x + 0.044715 x^3)`.
#[inline(always)]
fn tanh(x: f32) -> [f32; 2] {
    const RATE: f32 = 1.595_769;
    const CUBIC: f32 = 0.044_715 * RATE;
    let square = x * x;
    let power = exp(-x.abs() * square.mul_add(CUBIC, RATE));
    let above = 1.0 / (1.0 + power);
    let tail = power * above;
    let slope = square.mul_add(3.0 * CUBIC, RATE);
    // Of infinite `x` the slope is infinite, and the tail 0.
    let density = if tail > 0.0 {
        tail * above * slope
    } else {
        0.0
    };
    [split(x, tail), density]
}

/// `P(x)` from `P(-|x|)`.
#[inline(always)]
fn split(x: f32, tail: f32) -> f32 {
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    /// `P(x)` and `P'(x)` of the normal distribution in f64.
    fn normal(x: f64) -> [f64; 2] {
        let density = (-x * x / 2.0).exp() / (2.0 * PI).sqrt();
        let size = x.abs();
        let tail = match size < 3.0 {
            // The sum of x^n / (1 3 5 ... n).
            true => {
                let terms = (1..60).scan(size, |term, n| {
                    let now = *term;
                    *term *= size * size / f64::from(2 * n + 1);
                    Some(now)
                });
                0.5 - density * terms.sum::<f64>()
            }
            false => {
                let fraction = (1..200)
                    .rev()
                    .fold(size, |sum, n| size + f64::from(n) / sum);
                density / fraction
            }
        };
        [if x < 0.0 { tail } else { 1.0 - tail }, density]
    }

    fn logistic(x: f64) -> [f64; 2] {
        let rate = 2.0 * (2.0 / PI).sqrt();
        let power = (-rate * (x + 0.044715 * x.powi(3))).exp();
        let share = 1.0 / (1.0 + power);
        let slope = rate * (1.0 + 3.0 * 0.044715 * x * x);
        [share, share * power / (1.0 + power) * slope]
    }

    /// The largest error of both parts, of what they are; below the normal numbers, of
    /// the smallest of these.
    fn largest(ours: fn(f32) -> [f32; 2], exact: fn(f64) -> [f64; 2]) -> f64 {
        let steps = -3000..=3000;
        let errors = steps.flat_map(|step| {
            let x = step as f32 * 0.005_123;
            let pairs = ours(x).into_iter().zip(exact(x.into()));
            pairs.map(|(ours, exact)| {
                let size = exact.max(f32::MIN_POSITIVE.into());
                (f64::from(ours) - exact).abs() / size
            })
        });
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn the_normal_distribution_keeps_its_digits_in_the_tails() {
        let largest = largest(exact, normal);
        println!("{largest:e}");
        assert!(largest < 5e-7, "{largest:e}");
        let value = exact(-10.0)[0] * -10.0;
        assert!((value / -7.619_853e-23 - 1.0).abs() < 1e-6, "{value:e}");
    }

    #[test]
    fn its_approximation_keeps_its_digits_too() {
        let largest = largest(tanh, logistic);
        println!("{largest:e}");
        assert!(largest < 2e-5, "{largest:e}");
    }

    #[test]
    fn infinities_and_nan_are_those_of_the_formula() {
        for form in [Form::Exact, Form::Tanh] {
            let mut x = [
                f32::INFINITY,
                f32::MAX,
                f32::NAN,
                f32::NEG_INFINITY,
                f32::MIN,
                -0.0,
            ];
            in_place(form, &mut x);
            assert_eq!(x[..2], [f32::INFINITY, f32::MAX]);
            assert!(x[2].is_nan() && x[3].is_nan());
            assert_eq!(x[4..], [0.0, 0.0]);
        }
    }
}
