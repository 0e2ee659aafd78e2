//! Real numbers of 192 bits, and exponentials of many of them.

use std::{
    cell::RefCell,
    cmp::Ordering,
    collections::HashMap,
    ops::{Add, Div, Mul, Sub},
};

use astro_float_num::{BigFloat, Consts, RoundingMode};

const BITS: usize = 192;
const NEAREST: RoundingMode = RoundingMode::ToEven;

thread_local! {
    static CONSTANTS: RefCell<Consts> = RefCell::new(Consts::new().expect("memory"));
}

/// A number of 192 bits whose exponent has 32: neither sums nor exponentials overflow.
#[derive(Clone, Debug)]
pub struct Real(BigFloat);

impl From<f64> for Real {
    fn from(x: f64) -> Self {
        assert!(x.is_finite(), "{x} is no real number");
        if x.is_subnormal() {
            // The crate takes these for half of what they are.
            return Self::from(x * 2f64.powi(128)) * Self::from(2f64.powi(-128));
        }
        Self(BigFloat::from_f64(x, BITS))
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident) => {
        impl $trait<&Real> for &Real {
            type Output = Real;

            fn $method(self, other: &Real) -> Real {
                Real(self.0.$method(&other.0, BITS, NEAREST))
            }
        }

        impl $trait<Real> for Real {
            type Output = Real;

            fn $method(self, other: Real) -> Real {
                (&self).$method(&other)
            }
        }

        impl $trait<&Real> for Real {
            type Output = Real;

            fn $method(self, other: &Real) -> Real {
                (&self).$method(other)
            }
        }
    };
}

operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.0.cmp(&other.0).map(|order| order.cmp(&0))
    }
}

impl std::iter::Sum for Real {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        terms.fold(Self::zero(), |sum, term| sum + term)
    }
}

impl Real {
    pub fn zero() -> Self {
        Self::from(0.0)
    }

    pub fn one() -> Self {
        Self::from(1.0)
    }

    pub fn neg(&self) -> Self {
        Self(self.0.neg())
    }

    pub fn exp(&self) -> Self {
        CONSTANTS.with_borrow_mut(|constants| Self(self.0.exp(BITS, NEAREST, constants)))
    }

    pub fn ln(&self) -> Self {
        CONSTANTS.with_borrow_mut(|constants| Self(self.0.ln(BITS, NEAREST, constants)))
    }

    /// `log(1 + x)` for `x >= 0`: where `1 + x` has not the digits of `x`, by its series.
    pub fn ln_one_plus(&self) -> Self {
        if self.exponent() > -64 {
            return (Self::one() + self).ln();
        }
        // The next term is below 2^-192 of the first.
        let square = self * self;
        let cube = &square * self;
        self - &(square / Self::from(2.0)) + cube / Self::from(3.0)
    }

    /// `e` in `1/2 <= |x| / 2^e < 1`; the least there is for 0.
    fn exponent(&self) -> i32 {
        match self.0.is_zero() {
            true => i32::MIN,
            false => self.0.exponent().expect("a finite number"),
        }
    }

    /// The nearest f64, up to a rounding error of the rounded.
    pub fn to_f64(&self) -> f64 {
        if self.0.is_zero() {
            return 0.0;
        }
        let (words, _, sign, exponent, _) = self.0.as_raw_parts().expect("a finite number");
        let top = *words.last().expect("a word") as f64;
        // In two steps: 2^exponent alone may leave f64 where the product does not.
        let half = exponent.clamp(-4000, 4000) / 2;
        let rest = exponent.clamp(-4000, 4000) - half;
        let size = top * 2f64.powi(-64) * 2f64.powi(half) * 2f64.powi(rest);
        match sign {
            astro_float_num::Sign::Neg => -size,
            astro_float_num::Sign::Pos => size,
        }
    }

    /// As a sum of two f64, which has 106 bits.
    pub fn split(&self) -> Double {
        let high = self.to_f64();
        if !high.is_finite() {
            return Double { high, low: 0.0 };
        }
        let low = (self - &Self::from(high)).to_f64();
        Double { high, low }
    }
}

/// A number as the sum of two f64.
#[derive(Clone, Copy, Debug, Default)]
pub struct Double {
    pub high: f64,
    pub low: f64,
}

impl Double {
    /// How far a number lies from this one.
    pub fn distance(self, got: f64) -> f64 {
        ((got - self.high) - self.low).abs()
    }
}

/// The exponentials of multiples of a rate. Those that were computed are kept.
pub struct Powers {
    rate: Real,
    /// Those of f64, by their bits.
    known: HashMap<u64, Real>,
    /// Those of digits, by place and count.
    digits: HashMap<(i32, i64), Real>,
    /// Whether an exponential is the product of those of digits: there are too many for
    /// one each.
    by_digits: bool,
}

/// The bits of a digit.
const DIGIT: i32 = 10;

impl Powers {
    /// For so many numbers.
    pub fn new(rate: Real, count: usize) -> Self {
        Self {
            rate,
            known: HashMap::new(),
            digits: HashMap::new(),
            by_digits: count > 3_000,
        }
    }

    /// `e^(x rate)`.
    pub fn of(&mut self, x: &Real) -> Real {
        match self.by_digits {
            true => self.product(x),
            false => (x * &self.rate).exp(),
        }
    }

    /// The same of an f64.
    pub fn of_f64(&mut self, x: f64) -> Real {
        if self.by_digits {
            return self.product(&Real::from(x));
        }
        let rate = &self.rate;
        let power = self.known.entry(x.to_bits());
        power
            .or_insert_with(|| (Real::from(x) * rate).exp())
            .clone()
    }

    /// The product of `e^(d rate)` over the digits `d` of `x`.
    fn product(&mut self, x: &Real) -> Real {
        let mut rest = x.clone();
        let mut product = Real::one();
        let top = (&rest * &self.rate).exponent();
        // What is left out changes nothing in the last place.
        while rest.exponent() != i32::MIN && (&rest * &self.rate).exponent() > -(BITS as i32) {
            // Places are the same for all numbers, so that digits meet again.
            let place = (rest.exponent() - 1).div_euclid(DIGIT) * DIGIT;
            let unit = 2f64.powi(place);
            let count = (rest.to_f64() / unit).trunc() as i64;
            let digit = Real::from(count as f64 * unit);
            let rate = &self.rate;
            let power = self.digits.entry((place, count));
            let power = power.or_insert_with(|| (&digit * rate).exp());
            product = product * &*power;
            rest = rest - digit;
        }
        debug_assert!(top < 32, "an exponent of 2^{top}");
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPONENTIALS: [(f64, &str); 5] = [
        (
            1.0,
            "2.71828182845904523536028747135266249775724709369995957496697",
        ),
        (
            -69.0776,
            "9.99952790935749578938814802444324643880902050654163421676728e-31",
        ),
        (
            0.001,
            "1.00100050016670834168889326279830288872940455419575496519736",
        ),
        (
            -5000.0,
            "3.36969414830891751445003232381322016795509790272926555810788e-2172",
        ),
        (
            12345.678,
            "4.56910095929212708089220491393724221653228302441836461339326e+5361",
        ),
    ];

    const LOGARITHMS: [(f64, &str); 4] = [
        (
            2.0,
            "0.69314718055994530941723212145817656807550013436025525412068",
        ),
        (
            1e-30,
            "-69.0775527898213704372033230329449443495812084742353877553866",
        ),
        (
            10.0,
            "2.30258509299404568401799145468436420760110148862877297603333",
        ),
        (
            1.0000001,
            "0.0000000999999950583870451775160996834544912302987959214771887459571",
        ),
    ];

    const LOGARITHMS_OF_ONE_PLUS: [(f64, &str); 5] = [
        (
            1e-30,
            "1.00000000000000008333642060758548535093133602678531808175692e-30",
        ),
        (
            1e-15,
            "0.000000000000000999999999999999577705399876661334866240642273273796506931959",
        ),
        (
            1e-19,
            "9.99999999999999975195926835260131858207899705484201916139974e-20",
        ),
        (
            0.5,
            "0.405465108108164381978013115464349136571990423462494197614014",
        ),
        (
            1e40,
            "92.1034037197618273910982610300749345316896042078895284129637",
        ),
    ];

    /// Digits of another implementation: mpmath 1.3, 60 digits.
    #[test]
    fn exponentials_and_logarithms_are_those_of_mpmath() {
        let is = |got: Real, digits: &str| {
            let mut constants = Consts::new().unwrap();
            let want = BigFloat::parse(
                digits,
                astro_float_num::Radix::Dec,
                BITS,
                NEAREST,
                &mut constants,
            );
            let off = (&got - &Real(want.clone())) / Real(want);
            assert!(off.to_f64().abs() < 1e-55, "{digits}: {off:?}");
        };
        for (x, digits) in EXPONENTIALS {
            is(Real::from(x).exp(), digits);
        }
        for (x, digits) in LOGARITHMS {
            is(Real::from(x).ln(), digits);
        }
        for (x, digits) in LOGARITHMS_OF_ONE_PLUS {
            is(Real::from(x).ln_one_plus(), digits);
        }
    }

    #[test]
    fn exponentials_by_digits_are_the_same() {
        let rate = Real::one() / Real::from(0.013);
        let mut by_digits = Powers::new(rate.clone(), 1_000_000);
        let mut whole = Powers::new(rate, 1);
        for x in [0.0, 1.0, -0.1, 1e-9, 123.456, -77.7, 2f64.powi(-30), 1023.0] {
            let x = Real::from(x);
            let [got, want] = [by_digits.of(&x), whole.of(&x)];
            let off = (got - &want) / want;
            assert!(off.to_f64().abs() < 1e-52, "{x:?}: {off:?}");
        }
    }

    #[test]
    fn two_halves_have_more_digits_than_one() {
        let third = Real::one() / Real::from(3.0);
        let Double { high, low } = third.split();
        assert_eq!(high, 1.0 / 3.0);
        let sum = Real::from(high) + Real::from(low);
        assert!((sum - third).to_f64().abs() < 1e-32);
        assert_eq!(Real::from(-2.5e-310).to_f64(), -2.5e-310);
        assert_eq!(Real::from(1e5).exp().to_f64(), f64::INFINITY);
    }
}
