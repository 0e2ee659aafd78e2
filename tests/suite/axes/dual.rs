//! Numbers that carry a derivative with them.

use std::iter::Sum;
use std::ops::{Add, Mul, Neg, Sub};

/// A value and its derivative with respect to one input.
#[derive(Clone, Copy, Debug)]
pub struct Dual {
    pub value: f64,
    pub slope: f64,
}

impl Dual {
    pub fn constant(value: f64) -> Self {
        Self { value, slope: 0.0 }
    }

    pub fn exp(self) -> Self {
        let value = self.value.exp();
        Self {
            value,
            slope: value * self.slope,
        }
    }

    /// log(1 + x), accurate for small ones.
    pub fn ln_1p(self) -> Self {
        Self {
            value: self.value.ln_1p(),
            slope: self.slope / (1.0 + self.value),
        }
    }

    pub fn ln(self) -> Self {
        Self {
            value: self.value.ln(),
            slope: self.slope / self.value,
        }
    }

    /// At 0 it does not rise.
    pub fn relu(self) -> Self {
        match self.value > 0.0 {
            true => self,
            false => Self::constant(0.0),
        }
    }
}

impl Add for Dual {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            slope: self.slope + other.slope,
        }
    }
}

impl Sub for Dual {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Dual {
    type Output = Self;

    fn neg(self) -> Self {
        self * -1.0
    }
}

impl Mul for Dual {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self {
            value: self.value * other.value,
            slope: self.slope * other.value + self.value * other.slope,
        }
    }
}

impl Mul<f64> for Dual {
    type Output = Self;

    fn mul(self, by: f64) -> Self {
        Self {
            value: self.value * by,
            slope: self.slope * by,
        }
    }
}

impl Sum for Dual {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::constant(0.0), Self::add)
    }
}
