//! The types that scores are stored in.

use burn::tensor::DType;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Precision {
    F64,
    F32,
    F16,
    Bf16,
}

impl Precision {
    pub const ALL: [Self; 4] = [Self::F64, Self::F32, Self::F16, Self::Bf16];

    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    pub fn dtype(self) -> DType {
        match self {
            Self::F64 => DType::F64,
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// The nearest number of the type.
    pub fn round(self, x: f64) -> f64 {
        match self {
            Self::F64 => x,
            Self::F32 => f64::from(x as f32),
            Self::F16 => f16::from_f64(x).to_f64(),
            Self::Bf16 => bf16::from_f64(x).to_f64(),
        }
    }

    /// The type of losses and statistics.
    pub fn of_losses(self) -> Self {
        match self {
            Self::F64 => Self::F64,
            _ => Self::F32,
        }
    }

    /// The largest relative error of a rounding.
    pub fn rounding(self) -> f64 {
        2f64.powi(match self {
            Self::F64 => -53,
            Self::F32 => -24,
            Self::F16 => -11,
            Self::Bf16 => -8,
        })
    }

    /// The smallest number of all digits.
    pub fn least(self) -> f64 {
        match self {
            Self::F64 => f64::MIN_POSITIVE,
            Self::F32 | Self::Bf16 => f64::from(f32::MIN_POSITIVE),
            Self::F16 => f16::MIN_POSITIVE.to_f64(),
        }
    }

    /// The largest number.
    pub fn most(self) -> f64 {
        match self {
            Self::F64 => f64::MAX,
            Self::F32 => f64::from(f32::MAX),
            Self::F16 => f16::MAX.to_f64(),
            Self::Bf16 => bf16::MAX.to_f64(),
        }
    }

    /// The unit in the last place of a number.
    pub fn ulp(self, x: f64) -> f64 {
        let exponent = x.abs().max(self.least()).log2().floor();
        2f64.powf(exponent) * 2.0 * self.rounding()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_the_distance_of_neighbours() {
        for x in [1.0f32, 1.5, 0.1, 3e-20, 7e30] {
            let unit = f64::from(x.next_up()) - f64::from(x);
            assert_eq!(Precision::F32.ulp(f64::from(x)), unit);
        }
        assert_eq!(Precision::F16.ulp(1.0), 2f64.powi(-10));
        assert_eq!(Precision::Bf16.ulp(1.0), 2f64.powi(-7));
        assert_eq!(Precision::F64.ulp(1.0), f64::EPSILON);
    }
}
