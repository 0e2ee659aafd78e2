//! The exponential of numbers that are not positive.

/// Where the exponential rounds to 0.
const LOWEST: f32 = -104.0;

/// A number whose last bit counts ones: adding it rounds to an integer.
const SHIFT: f32 = 12_582_912.0;

/// ln 2 in two parts, the first short enough for exact products.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// `(e^r - 1 - r) / r^2` for `|r| <= ln 2 / 2`: a minimax fit, off by 3e-9 of `e^r`.
const SERIES: [f32; 5] = [
    0.499_999_94,
    0.166_665_2,
    0.041_668_393,
    0.008_368_781,
    0.001_381_446_5,
];

/// `e^x` of `x <= 0` or NaN, within 1.5 units in the last place.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Not `max`, which would lose a NaN.
    let x = if x < LOWEST { LOWEST } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = n.mul_add(-LN_2[1], n.mul_add(-LN_2[0], x));
    let series = polynomial(&SERIES, r);
    let power = (r * r).mul_add(series, r) + 1.0;
    // The last bits of `shifted` are `n`. It is applied in two factors, because 2^n
    // itself may lie below the normal numbers.
    let n = shifted.to_bits().wrapping_sub(SHIFT.to_bits()) as i32;
    let scale = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let half = n >> 1;
    power * scale(half) * scale(n.wrapping_sub(half))
}

/// A polynomial, its constant first.
#[inline(always)]
pub fn polynomial(coefficients: &[f32], x: f32) -> f32 {
    let falling = coefficients.iter().rev();
    falling.fold(0.0, |sum, coefficient| sum.mul_add(x, *coefficient))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_within_one_and_a_half_units_in_the_last_place() {
        let mut largest = 0.0f64;
        for step in 0..2_000_000 {
            let x = -104.5 * step as f32 / 2_000_000.0;
            let exact = f64::from(x).exp();
            // Of numbers below the normal ones the unit is the smallest of all.
            let unit = exact.max(f64::from(f32::MIN_POSITIVE)).log2().floor() - 23.0;
            largest = largest.max((f64::from(exp(x)) - exact).abs() / unit.exp2());
        }
        println!("{largest}");
        assert!(largest < 1.5, "{largest}");
    }

    #[test]
    fn its_limits_are_those_of_the_exponential() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        for x in [-105.0, -1e9, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0);
        }
        assert!(exp(f32::NAN).is_nan());
    }
}
