//! The types that scores are stored in, and the types that their statistics are computed in.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::real::Real;

/// A type that scores are stored in.
pub trait Element: Copy + Send + Sync {
    /// The type of its statistics.
    type Real: Real;

    fn widen(self) -> Self::Real;

    fn from_real(x: Self::Real) -> Self;

    /// `from`, widened: in `buffer`, or itself where nothing needs to be done.
    fn load<'a>(from: &'a [Self], buffer: &'a mut [Self::Real]) -> &'a [Self::Real];

    /// Where to compute what goes to `to`: in `buffer`, or in `to` where nothing needs to be done.
    fn target<'a>(to: &'a mut [Self], buffer: &'a mut [Self::Real]) -> &'a mut [Self::Real];

    /// Brings what was computed in the [`target`](Self::target) to `to`.
    fn store(to: &mut [Self], buffer: &[Self::Real]);
}

macro_rules! full {
    ($t:ident) => {
        impl Element for $t {
            type Real = $t;

            #[inline(always)]
            fn widen(self) -> $t {
                self
            }

            #[inline(always)]
            fn from_real(x: $t) -> Self {
                x
            }

            #[inline(always)]
            fn load<'a>(from: &'a [Self], _: &'a mut [$t]) -> &'a [$t] {
                from
            }

            #[inline(always)]
            fn target<'a>(to: &'a mut [Self], _: &'a mut [$t]) -> &'a mut [$t] {
                to
            }

            #[inline(always)]
            fn store(_: &mut [Self], _: &[$t]) {}
        }
    };
}

full!(f32);
full!(f64);

macro_rules! half {
    ($t:ident) => {
        impl Element for $t {
            type Real = f32;

            #[inline(always)]
            fn widen(self) -> f32 {
                self.to_f32()
            }

            #[inline(always)]
            fn from_real(x: f32) -> Self {
                Self::from_f32(x)
            }

            #[inline(always)]
            fn load<'a>(from: &'a [Self], buffer: &'a mut [f32]) -> &'a [f32] {
                from.convert_to_f32_slice(&mut buffer[..from.len()]);
                &buffer[..from.len()]
            }

            #[inline(always)]
            fn target<'a>(to: &'a mut [Self], buffer: &'a mut [f32]) -> &'a mut [f32] {
                &mut buffer[..to.len()]
            }

            #[inline(always)]
            fn store(to: &mut [Self], buffer: &[f32]) {
                let buffer = &buffer[..to.len()];
                to.convert_from_f32_slice(buffer);
            }
        }
    };
}

half!(f16);
half!(bf16);
