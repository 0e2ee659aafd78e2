//! Arrays, which the compiler maps to what every processor of the architecture has.

// Loops over lanes: what takes closures may become a call.
#![allow(clippy::needless_range_loop)]

use half::{bf16, f16};

use super::{HalfVector, Simd, Vector};

/// SSE2 on x86-64, NEON on 64-bit Arm, ...
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// The baseline of 64-bit Arm has the fused instruction; where there is none, rounding
/// once would be a call to a function.
const FUSED: bool = cfg!(target_arch = "aarch64");

#[derive(Clone, Copy, Debug)]
pub struct Lanes<T, const N: usize>([T; N]);

impl Simd for Portable {
    type F32 = Lanes<f32, 4>;
    type F64 = Lanes<f64, 2>;

    #[inline(always)]
    fn nonzeros(bytes: &[u8; 64]) -> u64 {
        const ONES: u64 = u64::from_ne_bytes([1; 8]);
        let (words, _) = bytes.as_chunks::<8>();
        let mut bits = 0;
        for (index, word) in words.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            // The highest bit of each byte that is not 0, brought to its lowest one.
            let set = ((((word & (0x7f * ONES)) + 0x7f * ONES) | word) >> 7) & ONES;
            // These eight are brought together, the first one lowest, in the highest
            // byte.
            let set = set.wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits |= set << (8 * index);
        }
        bits
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
    ($t:ident, $bits:ident, $n:literal) => {
        impl Vector for Lanes<$t, $n> {
            type Scalar = $t;
            /// All bits of a lane are set, or none: so masks stay in vectors.
            type Mask = Lanes<$bits, $n>;

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
                let mut out = [0.0; $n];
                for lane in 0..$n {
                    let [this, that] = [self.0[lane], other.0[lane]].map($t::to_bits);
                    let mask = mask.0[lane];
                    out[lane] = $t::from_bits((this & mask) | (that & !mask));
                }
                Self(out)
            }

            #[inline(always)]
            fn zeros(bytes: &[u8]) -> Self::Mask {
                let bytes: [u8; $n] = *bytes.first_chunk().expect("a vector of entries");
                Lanes(bytes).map(|byte| if byte == 0 { $bits::MAX } else { 0 })
            }

            #[inline(always)]
            fn below(self, other: Self) -> Self::Mask {
                self.zip(other, |x, y| if x < y { $bits::MAX } else { 0 })
            }

            #[inline(always)]
            fn not_below(self, mask: Self::Mask, other: Self) -> Self::Mask {
                mask.zip(self.below(other), |mask, below| mask & !below)
            }

            #[inline(always)]
            fn count(mask: Self::Mask) -> u32 {
                mask.0.iter().map(|&lane| (lane & 1) as u32).sum()
            }
        }
    };
}

vector!(f32, u32, 4);
vector!(f64, u64, 2);

impl HalfVector for Lanes<f32, 4> {
    #[inline(always)]
    fn load_f16(from: &[f16]) -> Self {
        let from: [f16; Self::LANES] = *from.first_chunk().expect("a vector of entries");
        Lanes(from).map(f16::to_f32)
    }

    #[inline(always)]
    fn store_f16(self, to: &mut [f16]) {
        to[..Self::LANES].copy_from_slice(&self.map(f16::from_f32).0);
    }

    #[inline(always)]
    fn load_bf16(from: &[bf16]) -> Self {
        let from: [bf16; Self::LANES] = *from.first_chunk().expect("a vector of entries");
        Lanes(from).map(|x| f32::from_bits(u32::from(x.to_bits()) << 16))
    }

    #[inline(always)]
    fn store_bf16(self, to: &mut [bf16]) {
        let narrow = self.map(|x| {
            let bits = x.to_bits();
            let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
            // A NaN must not become infinite.
            let nan = u32::from(x.is_nan()).wrapping_neg();
            let rounded = (rounded & !nan) | ((bits | 0x40_0000) & nan);
            bf16::from_bits((rounded >> 16) as u16)
        });
        to[..Self::LANES].copy_from_slice(&narrow.0);
    }
}
