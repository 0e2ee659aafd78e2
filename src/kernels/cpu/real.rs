//! The arithmetic of the kernels, in f32 or f64, written so that the compiler vectorises it.

// The coefficients have the digits that the fit gave them.
#![allow(clippy::excessive_precision)]

/// A float type that kernels compute in.
pub trait Real: Copy + Default + PartialOrd + Send + Sync + 'static {
    const NEG_INFINITY: Self;
    const NAN: Self;

    fn from_f64(x: f64) -> Self;

    fn to_f64(self) -> f64;

    fn add(self, other: Self) -> Self;

    fn mul(self, other: Self) -> Self;

    /// `self * factor + summand`, rounded once if `FMA`: without the instruction, rounding once
    /// would be a call to a function.
    fn mul_add<const FMA: bool>(self, factor: Self, summand: Self) -> Self;

    /// `e^self` to 2 ulp for `self <= 1`, subnormal results included; NaN for NaN.
    fn exp<const FMA: bool>(self) -> Self;

    /// `log(1 + e^self)` with its relative accuracy at both ends.
    fn softplus<const FMA: bool>(self) -> Self;

    /// The slope of [`softplus`](Real::softplus).
    fn sigmoid<const FMA: bool>(self) -> Self;
}

/// `e^x = 2^n e^r` with `n` the integer nearest to `x log2 e`, and `e^r = 1 + r + r^2 q(r)`.
///
/// `$q` holds the coefficients of the polynomial `q` that has the least squared relative error of
/// `e^r` on `|r| <= ln 2 / 2`, `$ln2` is ln 2 in two parts of which `n` times the first is exact,
/// `$shift` is 1.5 times the power of two at which floats are the integers, and `e^$lowest`
/// rounds to 0. `log(1 + y) = 2 atanh(z)` with `z = y / (2 + y)`, of whose series `$terms` terms
/// give all digits for `y <= 1`.
macro_rules! real {
    ($t:ident, $bits:ident, $q:expr, $ln2:expr, $shift:expr, $lowest:expr, $terms:expr) => {
        impl Real for $t {
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            const NAN: Self = $t::NAN;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }

            #[inline(always)]
            fn mul_add<const FMA: bool>(self, factor: Self, summand: Self) -> Self {
                if FMA {
                    $t::mul_add(self, factor, summand)
                } else {
                    self * factor + summand
                }
            }

            #[inline(always)]
            fn exp<const FMA: bool>(self) -> Self {
                const BIAS: $bits = $t::MAX_EXP as $bits - 1;
                const MANTISSA: u32 = $t::MANTISSA_DIGITS - 1;
                let fma = <$t as Real>::mul_add::<FMA>;
                // Not computed: some processors take a hundred cycles for a result that underflows.
                let is_zero = self < $lowest;
                let x = if is_zero { 0.0 } else { self };
                let shifted = fma(x, std::f64::consts::LOG2_E as $t, $shift);
                let n = shifted - $shift;
                let r = fma(n, -$ln2[1], fma(n, -$ln2[0], x));
                let [q @ .., last] = $q;
                let q = q.iter().rev().fold(last, |sum, &q| fma(sum, r, q));
                let power = fma(r * r, q, r) + 1.0;
                // The last bits of `shifted` are `n`. It is applied in two factors, because 2^n
                // itself may lie below the normal numbers.
                let n = shifted.to_bits().wrapping_sub($t::to_bits($shift)) as $bits;
                let scale = |n: $bits| $t::from_bits((n.wrapping_add(BIAS) << MANTISSA) as _);
                let result = power * scale(n >> 1) * scale(n.wrapping_sub(n >> 1));
                if is_zero { 0.0 } else { result }
            }

            #[inline(always)]
            fn softplus<const FMA: bool>(self) -> Self {
                let y = <$t as Real>::exp::<FMA>(-self.abs());
                let z = y / (2.0 + y);
                let square = z * z;
                let mut series = 0.0;
                for i in (0..$terms).rev() {
                    let term = 1.0 / (2 * i + 1) as $t;
                    series = <$t as Real>::mul_add::<FMA>(series, square, term);
                }
                // Not `max`, which would lose a NaN.
                let above = if self < 0.0 { 0.0 } else { self };
                above + 2.0 * z * series
            }

            #[inline(always)]
            fn sigmoid<const FMA: bool>(self) -> Self {
                let y = <$t as Real>::exp::<FMA>(-self.abs());
                let share = if self < 0.0 { y } else { 1.0 };
                share / (1.0 + y)
            }
        }
    };
}

real!(
    f32,
    i32,
    [
        0.499_999_885_6f32,
        0.166_665_181_65,
        0.041_669_538_69,
        0.008_368_951_777,
        0.001_375_127_911,
    ],
    [0.693_359_375f32, -2.121_944_400_5e-4],
    12_582_912.0f32,
    -104.0f32,
    7
);

real!(
    f64,
    i64,
    [
        0.500_000_000_000_001_279f64,
        0.166_666_666_666_664_815_1,
        0.041_666_666_666_515_724_17,
        0.008_333_333_333_451_908_796,
        0.001_388_888_894_685_138_876,
        1.984_126_959_937_882_328e-4,
        2.480_149_015_313_805_228e-5,
        2.755_750_766_846_624_482e-6,
        2.763_119_898_056_821_451e-7,
        2.502_461_548_521_721_889e-8,
    ],
    [0.693_147_180_485_539_1f64, 7.440_617_110_012_396_716e-11],
    6_755_399_441_055_744.0f64,
    -745.2f64,
    16
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Units in the last place of `exact` between `got` and `exact`.
    fn ulp_f32(got: f32, exact: f64) -> f64 {
        let near = exact as f32;
        let ulp = f32::from_bits(near.to_bits() + 1) - near;
        (f64::from(got) - exact).abs() / f64::from(ulp)
    }

    #[test]
    fn exp_f32_is_within_2_ulp_over_its_whole_range() {
        // Every 101st float from -0.0 to the underflow, and from 0 to 1.
        let negative = (-0.0f32).to_bits()..=(-104.0f32).to_bits();
        let positive = 0.0f32.to_bits()..=1.0f32.to_bits();
        let worst = negative
            .step_by(101)
            .chain(positive.step_by(101))
            .map(f32::from_bits)
            .flat_map(|x| {
                let exact = f64::from(x).exp();
                [Real::exp::<true>(x), Real::exp::<false>(x)].map(|got| ulp_f32(got, exact))
            })
            .fold(0.0, f64::max);
        assert!(worst <= 2.0, "{worst} ulp");
    }

    #[test]
    fn exp_f64_is_within_4_ulp_of_the_standard_library_over_its_whole_range() {
        for i in 0..1_000_000 {
            let x = -745.0 * f64::from(i) / 1e6;
            let exact = x.exp();
            let ulp = f64::from_bits(exact.to_bits() + 1) - exact;
            for got in [Real::exp::<true>(x), Real::exp::<false>(x)] {
                let off = (got - exact).abs() / ulp;
                assert!(off <= 4.0, "exp({x}): {off} ulp");
            }
        }
    }

    #[test]
    fn softplus_and_sigmoid_keep_their_digits_at_both_ends() {
        for i in -100_000..=100_000 {
            let x = f64::from(i) / 1e3;
            let [softplus, sigmoid] = [
                (-x.abs()).exp().ln_1p() + x.max(0.0),
                1.0 / (1.0 + (-x).exp()),
            ];
            let narrow = x as f32;
            let of_f32 = |f: fn(f64) -> f64| f(f64::from(narrow));
            let wide_softplus = of_f32(|x| (-x.abs()).exp().ln_1p() + x.max(0.0));
            let wide_sigmoid = of_f32(|x| 1.0 / (1.0 + (-x).exp()));
            for (got, exact) in [
                (Real::softplus::<true>(x), softplus),
                (Real::softplus::<false>(x), softplus),
                (Real::sigmoid::<true>(x), sigmoid),
                (Real::sigmoid::<false>(x), sigmoid),
            ] {
                assert!((got / exact - 1.0).abs() < 2e-15, "{x}: {got}, not {exact}");
            }
            for (got, exact) in [
                (Real::softplus::<true>(narrow), wide_softplus),
                (Real::softplus::<false>(narrow), wide_softplus),
                (Real::sigmoid::<true>(narrow), wide_sigmoid),
                (Real::sigmoid::<false>(narrow), wide_sigmoid),
            ] {
                // Below, the results are subnormal.
                if x > -87.0 {
                    let off = f64::from(got) / exact - 1.0;
                    assert!(off.abs() < 5e-7, "{x}: {got}, not {exact}");
                }
            }
        }
        for x in [f32::INFINITY, f32::MAX] {
            assert_eq!(Real::softplus::<true>(x), x);
            assert_eq!(Real::sigmoid::<true>(x), 1.0);
            assert_eq!(Real::softplus::<true>(-x), 0.0);
            assert_eq!(Real::sigmoid::<true>(-x), 0.0);
        }
        assert!(Real::softplus::<true>(f32::NAN).is_nan());
        assert!(Real::sigmoid::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn exp_of_special_values() {
        assert_eq!(Real::exp::<true>(0.0f32), 1.0);
        assert_eq!(Real::exp::<true>(-0.0f64), 1.0);
        assert_eq!(Real::exp::<true>(f32::NEG_INFINITY), 0.0);
        assert_eq!(Real::exp::<true>(f64::NEG_INFINITY), 0.0);
        assert_eq!(Real::exp::<true>(f32::MIN), 0.0);
        assert!(Real::exp::<true>(f32::NAN).is_nan());
        assert!(Real::exp::<true>(f64::NAN).is_nan());
    }
}
