//! The float types that kernels compute in.

use std::cell::RefCell;

use super::{
    element::Element,
    simd::{Simd, Vector},
};

/// A float type that kernels compute in.
pub trait Real: Element<Real = Self> + Copy + Default + PartialOrd + Send + Sync + 'static {
    /// Its vectors.
    type Vector<S: Simd>: Vector<Scalar = Self>;

    const NEG_INFINITY: Self;
    const INFINITY: Self;
    /// The least finite number.
    const MIN: Self;
    const NAN: Self;
    const ONE: Self;

    /// 1.5 times the power of two at which floats are the integers, and the bias of exponents.
    /// What is added to it is rounded to an integer `n`, and the last bits of the sum are the
    /// exponent of `2^n`.
    const SHIFT: Self;
    /// `2^r = 1 + r (c_0 + r (c_1 + ...))` for `|r| <= 0.5`, the coefficients.
    const POWER: &[Self];
    /// A power of two to this or more is a normal number.
    const LEAST_EXPONENT: f64;
    /// ln 2 in two parts, of which integers times the first are exact.
    const LN_2: [Self; 2];
    /// Terms of the series of atanh that give all digits up to 1/3.
    const ATANH_TERMS: usize;

    fn from_f64(x: f64) -> Self;

    fn to_f64(self) -> f64;

    /// Calls `run` with a buffer of this thread, of any content. Not within another call.
    fn with_buffer<T>(run: impl FnOnce(&mut Vec<Self>) -> T) -> T;

    fn add(self, other: Self) -> Self;

    fn mul(self, other: Self) -> Self;
}

/// The vectors of a type in an instruction set.
pub type Lanes<S, R> = <R as Real>::Vector<S>;

macro_rules! real {
    ($t:ident, $vector:ident { $($constants:tt)* }) => {
        impl Real for $t {
            type Vector<S: Simd> = S::$vector;

            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            const INFINITY: Self = $t::INFINITY;
            const MIN: Self = $t::MIN;
            const NAN: Self = $t::NAN;
            const ONE: Self = 1.0;

            $($constants)*

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }

            fn with_buffer<T>(run: impl FnOnce(&mut Vec<Self>) -> T) -> T {
                thread_local! {
                    static BUFFER: RefCell<Vec<$t>> = const { RefCell::new(Vec::new()) };
                }
                BUFFER.with_borrow_mut(run)
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }
        }
    };
}

// The coefficients have the digits that the fits gave them: in f64 that of the least
// largest relative error, in f32 that of the least largest error in units of the last
// place, and then a search among its neighbours for the least with the rounding of both
// ways to multiply and add.
#[allow(clippy::excessive_precision)]
mod fits {
    use super::*;

    real!(f32, F32 {
        const SHIFT: Self = 12_582_912.0 + 127.0;
        const POWER: &[Self] = &[
            0.693_146_884,
            0.240_222_409,
            0.055_508_796_1,
            0.009_671_648_96,
            0.001_322_267_46,
        ];
        const LEAST_EXPONENT: f64 = -125.5;
        const LN_2: [Self; 2] = [0.693_359_375, -2.121_944_400_5e-4];
        const ATANH_TERMS: usize = 7;
    });

    real!(f64, F64 {
        const SHIFT: Self = 6_755_399_441_055_744.0 + 1_023.0;
        const POWER: &[Self] = &[
            0.693_147_180_559_945_696_8,
            0.240_226_506_959_100_980_1,
            0.055_504_108_664_790_394_53,
            0.009_618_129_107_607_002_617,
            0.001_333_355_815_343_996_974,
            1.540_353_044_157_185_010e-4,
            1.525_272_738_518_977_480e-5,
            1.321_544_267_545_285_518e-6,
            1.018_064_766_057_306_934e-7,
            7.072_570_394_540_799_434e-9,
            4.078_071_786_092_870_417e-10,
        ];
        const LEAST_EXPONENT: f64 = -1021.5;
        const LN_2: [Self; 2] = [0.693_147_180_485_539_1, 7.440_617_110_012_396_716e-11];
        const ATANH_TERMS: usize = 16;
    });
}
