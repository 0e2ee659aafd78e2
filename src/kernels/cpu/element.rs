//! The types that scores are stored in, and the types that their statistics are computed
//! in.

use half::{bf16, f16};

use super::{
    real::{Lanes, Real},
    simd::{HalfVector, Simd, Vector},
};

/// A type that scores are stored in.
pub trait Element: Copy + Send + Sync {
    /// The type of its statistics.
    type Real: Real;

    fn widen(self) -> Self::Real;

    fn from_real(x: Self::Real) -> Self;

    /// A vector of the first entries.
    fn load<S: Simd>(from: &[Self]) -> Lanes<S, Self::Real>;

    /// Writes a vector to the first entries.
    fn store<S: Simd>(x: Lanes<S, Self::Real>, to: &mut [Self]);

    /// The same past the caches, where that is possible.
    #[inline(always)]
    fn stream<S: Simd>(x: Lanes<S, Self::Real>, to: &mut [Self]) {
        Self::store::<S>(x, to);
    }
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
            fn load<S: Simd>(from: &[$t]) -> Lanes<S, $t> {
                Vector::load(from)
            }

            #[inline(always)]
            fn store<S: Simd>(x: Lanes<S, $t>, to: &mut [$t]) {
                x.store(to);
            }

            #[inline(always)]
            fn stream<S: Simd>(x: Lanes<S, $t>, to: &mut [$t]) {
                x.stream(to);
            }
        }
    };
}

full!(f32);
full!(f64);

macro_rules! half {
    ($t:ident, $load:ident, $store:ident) => {
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
            fn load<S: Simd>(from: &[$t]) -> S::F32 {
                HalfVector::$load(from)
            }

            #[inline(always)]
            fn store<S: Simd>(x: S::F32, to: &mut [$t]) {
                x.$store(to);
            }
        }
    };
}

half!(f16, load_f16, store_f16);
half!(bf16, load_bf16, store_bf16);
