//! Arrays, which the compiler maps to what every processor of the architecture has.

use half::{bf16, f16};

use super::{HalfVector, Simd, Vector};

/// SSE2 on x86-64, NEON on 64-bit Arm, ...
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// The baseline of 64-bit Arm has the fused instruction; where there is none, rounding once
/// would be a call to a function.
const FUSED: bool = cfg!(target_arch = "aarch64");

#[derive(Clone, Copy, Debug)]
pub struct Lanes<T, const N: usize>([T; N]);

impl Simd for Portable {
    type F32 = Lanes<f32, 8>;
    type F64 = Lanes<f64, 4>;

    #[inline(always)]
    fn nonzeros(bytes: &[u8; 64]) -> u64 {
        let bits = bytes.iter().map(|&byte| u64::from(byte != 0)).enumerate();
        bits.fold(0, |bits, (place, bit)| bits | bit << place)
    }

    #[inline(always)]
    fn fence() {}

    #[inline(always)]
    fn prefetch<T>(_: *const T) {}
}

impl<T: Copy + Default, const N: usize> Lanes<T, N> {
    // A loop, not `array::from_fn`: that may become a call.
    #[inline(always)]
    fn map<U: Copy + Default>(self, f: impl Fn(T) -> U) -> Lanes<U, N> {
        let mut out = [U::default(); N];
        for lane in 0..N {
            out[lane] = f(self.0[lane]);
        }
        Lanes(out)
    }

    #[inline(always)]
    fn zip<U: Copy, V: Copy + Default>(
        self,
        other: Lanes<U, N>,
        f: impl Fn(T, U) -> V,
    ) -> Lanes<V, N> {
        let mut out = [V::default(); N];
        for lane in 0..N {
            out[lane] = f(self.0[lane], other.0[lane]);
        }
        Lanes(out)
    }
}

macro_rules! vector {
    ($t:ident, $n:literal) => {
        impl Vector for Lanes<$t, $n> {
            type Scalar = $t;
            type Mask = Lanes<bool, $n>;

            const LANES: usize = $n;

            #[inline(always)]
            fn splat(x: $t) -> Self {
                Self([x; $n])
            }

            #[inline(always)]
            fn load(from: &[$t]) -> Self {
                Self(*from.first_chunk().expect("a vector of entries"))
            }

            #[inline(always)]
            fn store(self, to: &mut [$t]) {
                to[..$n].copy_from_slice(&self.0);
            }

            #[inline(always)]
            fn stream(self, to: &mut [$t]) {
                self.store(to);
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.zip(other, |x, y| x + y)
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.zip(other, |x, y| x - y)
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.zip(other, |x, y| x * y)
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                self.zip(other, |x, y| x / y)
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, summand: Self) -> Self {
                if FUSED {
                    let mut out = summand.0;
                    for lane in 0..$n {
                        out[lane] = self.0[lane].mul_add(factor.0[lane], summand.0[lane]);
                    }
                    Self(out)
                } else {
                    self.mul(factor).add(summand)
                }
            }

            #[inline(always)]
            fn mul_sub(self, factor: Self, subtrahend: Self) -> Self {
                self.mul_add(factor, subtrahend.map(|x| -x))
            }

            #[inline(always)]
            fn abs(self) -> Self {
                self.map($t::abs)
            }

            #[inline(always)]
            fn max_where(self, mask: Self::Mask, other: Self) -> Self {
                let other = other.select(mask, Self::splat($t::NEG_INFINITY));
                self.zip(other, |x, y| if y > x { y } else { x })
            }

            #[inline(always)]
            fn min_where(self, mask: Self::Mask, other: Self) -> Self {
                let other = other.select(mask, Self::splat($t::INFINITY));
                self.zip(other, |x, y| if y < x { y } else { x })
            }

            #[inline(always)]
            fn scale_where(self, mask: Self::Mask, _: Self, shifted: Self) -> Self {
                const MANTISSA: u32 = $t::MANTISSA_DIGITS - 1;
                let power = shifted.map(|n| $t::from_bits(n.to_bits() << MANTISSA));
                self.mul(power).select(mask, Self::splat(0.0))
            }

            #[inline(always)]
            fn select(self, mask: Self::Mask, other: Self) -> Self {
                let mut out = other.0;
                for lane in 0..$n {
                    out[lane] = if mask.0[lane] {
                        self.0[lane]
                    } else {
                        other.0[lane]
                    };
                }
                Self(out)
            }

            #[inline(always)]
            fn zeros(bytes: &[u8]) -> Self::Mask {
                let bytes: [u8; $n] = *bytes.first_chunk().expect("a vector of entries");
                Lanes(bytes).map(|byte| byte == 0)
            }

            #[inline(always)]
            fn below(self, other: Self) -> Self::Mask {
                self.zip(other, |x, y| x < y)
            }

            #[inline(always)]
            fn not_below(self, mask: Self::Mask, other: Self) -> Self::Mask {
                mask.zip(self.below(other), |mask, below| mask & !below)
            }

            #[inline(always)]
            fn count(mask: Self::Mask) -> u32 {
                mask.0.iter().map(|&set| u32::from(set)).sum()
            }
        }
    };
}

vector!(f32, 8);
vector!(f64, 4);

macro_rules! half {
    ($load:ident, $store:ident, $t:ident) => {
        #[inline(always)]
        fn $load(from: &[$t]) -> Self {
            let from: [$t; Self::LANES] = *from.first_chunk().expect("a vector of entries");
            Lanes(from).map($t::to_f32)
        }

        #[inline(always)]
        fn $store(self, to: &mut [$t]) {
            to[..Self::LANES].copy_from_slice(&self.map($t::from_f32).0);
        }
    };
}

impl HalfVector for Lanes<f32, 8> {
    half!(load_f16, store_f16, f16);
    half!(load_bf16, store_bf16, bf16);
}
