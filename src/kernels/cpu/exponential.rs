//! Powers and what is made of them, over vectors.

use super::{
    real::{Lanes, Real},
    simd::{Simd, Vector},
};

/// `2^(x rate)` in the lanes of the mask, 0 in the others, to 2.1 ulp, with the rate in
/// two parts. In the lanes of the mask the result must be a normal number, or NaN.
///
/// `2^t = 2^n 2^r` with `n` the integer nearest to `t`. Where the processor rounds `x
/// rate - n` once, `r` has hardly an error; elsewhere that of a product, which grows with
/// `t`.
#[inline(always)]
pub fn power_where<S: Simd, R: Real>(
    mask: <Lanes<S, R> as Vector>::Mask,
    x: Lanes<S, R>,
    [high, low]: [R; 2],
) -> Lanes<S, R> {
    let shift = Lanes::<S, R>::splat(R::SHIFT);
    let high = Lanes::<S, R>::splat(high);
    let shifted = x.mul_add(high, shift);
    let n = shifted.sub(shift);
    let r = x.mul_add(Lanes::<S, R>::splat(low), x.mul_sub(high, n));
    fraction::<S, R>(r).scale_where(mask, n, shifted)
}

#[inline(always)]
fn splat<S: Simd, R: Real>(x: f64) -> Lanes<S, R> {
    Lanes::<S, R>::splat(R::from_f64(x))
}

/// `2^r` for `|r| <= 0.5`.
#[inline(always)]
fn fraction<S: Simd, R: Real>(r: Lanes<S, R>) -> Lanes<S, R> {
    let (last, others) = R::POWER.split_last().expect("coefficients");
    let mut power = Lanes::<S, R>::splat(*last);
    for &coefficient in others.iter().rev() {
        power = power.mul_add(r, Lanes::<S, R>::splat(coefficient));
    }
    power.mul_add(r, Lanes::<S, R>::splat(R::ONE))
}

/// `e^x` for `x <= 0` in the lanes of the mask, to 4 ulp; 0 in the others and where it is
/// below the normal numbers.
#[inline(always)]
fn exp_where<S: Simd, R: Real>(mask: <Lanes<S, R> as Vector>::Mask, x: Lanes<S, R>) -> Lanes<S, R> {
    let log2_e = splat::<S, R>(std::f64::consts::LOG2_E);
    let shift = Lanes::<S, R>::splat(R::SHIFT);
    let lowest = splat::<S, R>(R::LEAST_EXPONENT * std::f64::consts::LN_2);
    let shifted = x.mul_add(log2_e, shift);
    let n = shifted.sub(shift);
    // Less `n ln 2` first: far from 0, `x log2 e` has too few digits behind the point.
    let high = splat::<S, R>(-R::LN_2[0].to_f64());
    let low = splat::<S, R>(-R::LN_2[1].to_f64());
    let rest = n.mul_add(low, n.mul_add(high, x));
    fraction::<S, R>(rest.mul(log2_e)).scale_where(x.not_below(mask, lowest), n, shifted)
}

/// `log(1 + e^x)` in the lanes of the mask, with its relative accuracy at both ends; 0
/// where it is below the normal numbers.
///
/// `log(1 + y) = 2 atanh(z)` with `z = y / (2 + y)`, for `y <= 1`.
#[inline(always)]
pub fn softplus_where<S: Simd, R: Real>(
    mask: <Lanes<S, R> as Vector>::Mask,
    x: Lanes<S, R>,
) -> Lanes<S, R> {
    let zero = splat::<S, R>(0.0);
    let y = exp_where::<S, R>(mask, zero.sub(x.abs()));
    let z = y.div(y.add(splat::<S, R>(2.0)));
    let square = z.mul(z);
    let mut series = zero;
    for i in (0..R::ATANH_TERMS).rev() {
        series = series.mul_add(square, splat::<S, R>(1.0 / (2 * i + 1) as f64));
    }
    // Not the larger of both, which would lose a NaN.
    let above = zero.select(x.below(zero), x);
    above.add(z.add(z).mul(series))
}

/// The slope of [`softplus_where`].
#[inline(always)]
pub fn sigmoid_where<S: Simd, R: Real>(
    mask: <Lanes<S, R> as Vector>::Mask,
    x: Lanes<S, R>,
) -> Lanes<S, R> {
    let zero = Lanes::<S, R>::splat(R::default());
    let one = Lanes::<S, R>::splat(R::ONE);
    let y = exp_where::<S, R>(mask, zero.sub(x.abs()));
    y.select(x.below(zero), one).div(y.add(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cpu::isa::{Isa, Kernel};

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Function {
        /// With this rate.
        Power(f64),
        Softplus,
        Sigmoid,
    }

    /// Of inputs that are tried, every so many-th.
    const STEP: usize = if cfg!(miri) { 4999 } else { 1 };

    struct Apply<'a, R> {
        function: Function,
        inputs: &'a [R],
    }

    impl<R: Real> Kernel for Apply<'_, R> {
        type Output = Vec<R>;

        #[inline(always)]
        fn run<S: Simd>(self) -> Vec<R> {
            let lanes = Lanes::<S, R>::LANES;
            let all = Lanes::<S, R>::zeros(&[0; crate::kernels::cpu::simd::MAX_LANES]);
            let mut outputs = vec![R::default(); self.inputs.len().next_multiple_of(lanes)];
            for (x, out) in self.inputs.chunks(lanes).zip(outputs.chunks_mut(lanes)) {
                let mut padded = vec![R::default(); lanes];
                padded[..x.len()].copy_from_slice(x);
                let x = Lanes::<S, R>::load(&padded);
                let y = match self.function {
                    Function::Power(rate) => {
                        let high = R::from_f64(rate);
                        let low = R::from_f64(rate - high.to_f64());
                        power_where::<S, R>(all, x, [high, low])
                    }
                    Function::Softplus => softplus_where::<S, R>(all, x),
                    Function::Sigmoid => sigmoid_where::<S, R>(all, x),
                };
                y.store(out);
            }
            outputs.truncate(self.inputs.len());
            outputs
        }
    }

    /// Checks a function on every instruction set: `off` of what was got and the input is
    /// at most `bound`.
    fn check<R: Real>(function: Function, inputs: &[R], bound: f64, off: impl Fn(f64, f64) -> f64) {
        for isa in Isa::all() {
            let outputs = isa.run(Apply { function, inputs });
            for (x, got) in inputs.iter().zip(outputs) {
                let (x, got) = (x.to_f64(), got.to_f64());
                let off = off(got, x);
                assert!(
                    off <= bound,
                    "{function:?} of {x} on {isa:?} is {got}, {off} off"
                );
            }
        }
    }

    /// `(got - exact)` in units of the last place of f32.
    fn ulp_f32(got: f64, exact: f64) -> f64 {
        let near = (exact as f32).abs();
        let ulp = f32::from_bits(near.to_bits() + 1) - near;
        (got - exact).abs() / f64::from(ulp)
    }

    #[test]
    fn powers_in_f32_are_within_2_ulp() {
        // Every 101st float from -0.0 to the smallest normal result, and from 0 to 1.
        let step = if cfg!(miri) { 10_000_019 } else { 101 };
        let negative = (-0.0f32).to_bits()..=(-125.5f32).to_bits();
        let positive = 0.0f32.to_bits()..=1.0f32.to_bits();
        let inputs = negative.step_by(step).chain(positive.step_by(step));
        let inputs: Vec<f32> = inputs.map(f32::from_bits).collect();
        check(Function::Power(1.0), &inputs, 2.0, |got, x| {
            ulp_f32(got, x.exp2())
        });
    }

    #[test]
    fn the_rate_costs_no_digit_where_products_are_fused() {
        // As cosines and a temperature of 0.05 have it.
        let rate = 40.0 * std::f64::consts::LOG2_E;
        let inputs: Vec<f32> = (0..1_000_000)
            .step_by(STEP)
            .map(|i| -2e-6 * i as f32)
            .collect();
        for isa in Isa::all() {
            let function = Function::Power(rate);
            let outputs = isa.run(Apply {
                function,
                inputs: &inputs,
            });
            let fused = isa != Isa::all()[0] || cfg!(target_arch = "aarch64");
            let bound = if fused { 2.1 } else { 60.0 };
            for (x, got) in inputs.iter().zip(outputs) {
                let off = ulp_f32(f64::from(got), (f64::from(*x) * rate).exp2());
                assert!(off <= bound, "2^({rate} {x}) on {isa:?}: {off} ulp");
            }
        }
    }

    #[test]
    fn powers_in_f64_are_within_4_ulp_of_the_standard_library() {
        let inputs: Vec<f64> = (0..1_000_000)
            .step_by(STEP)
            .map(|i| -1021.5e-6 * f64::from(i))
            .collect();
        check(Function::Power(1.0), &inputs, 4.0, |got, x| {
            let exact = x.exp2();
            let ulp = f64::from_bits(exact.to_bits() + 1) - exact;
            (got - exact).abs() / ulp
        });
    }

    #[test]
    fn softplus_and_sigmoid_keep_their_digits_at_both_ends() {
        let inputs: Vec<f64> = (-100_000..=100_000)
            .step_by(STEP)
            .map(|i| f64::from(i) / 1e3)
            .collect();
        let softplus = |x: f64| (-x.abs()).exp().ln_1p() + x.max(0.0);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let relative = |f: fn(f64) -> f64| move |got: f64, x: f64| (got / f(x) - 1.0).abs();
        check(Function::Softplus, &inputs, 2e-15, relative(softplus));
        check(Function::Sigmoid, &inputs, 2e-15, relative(sigmoid));
        // Below, the results are not normal.
        let normal = inputs.iter().filter(|&&x| x > -86.0);
        let inputs: Vec<f32> = normal.map(|&x| x as f32).collect();
        check(Function::Softplus, &inputs, 5e-7, relative(softplus));
        check(Function::Sigmoid, &inputs, 5e-7, relative(sigmoid));
    }

    #[test]
    fn special_values_pass() {
        let nan = [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)];
        for isa in Isa::all() {
            let of = |function, inputs: &[f32]| isa.run(Apply { function, inputs });
            assert_eq!(
                of(Function::Power(1.0), &[0.0, -0.0, -1.0]),
                [1.0, 1.0, 0.5]
            );
            let ends = [f32::INFINITY, f32::MAX, f32::MIN, f32::NEG_INFINITY];
            let softplus = [f32::INFINITY, f32::MAX, 0.0, 0.0];
            assert_eq!(of(Function::Softplus, &ends), softplus);
            assert_eq!(of(Function::Sigmoid, &ends), [1.0, 1.0, 0.0, 0.0]);
            for function in [Function::Power(1.0), Function::Softplus, Function::Sigmoid] {
                let got = of(function, &nan);
                assert!(got.iter().all(|x| x.is_nan()), "{function:?} on {isa:?}");
            }
        }
    }
}
