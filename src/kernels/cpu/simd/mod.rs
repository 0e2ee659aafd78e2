//! Vectors: what an instruction set works on at once.
//!
//! Loops are written once over these traits, and compiled for each instruction set by
//! [`Isa`](super::isa::Isa).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use half::{bf16, f16};

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use portable::Portable;

/// An instruction set that the code in force may use.
pub trait Simd: Copy + 'static {
    type F32: HalfVector<Scalar = f32>;
    type F64: Vector<Scalar = f64>;

    /// A bit for each byte that is not 0, the first one lowest.
    fn nonzeros(bytes: &[u8; 64]) -> u64;

    /// Ends what was [streamed](Vector::stream).
    fn fence();

    /// Asks for the cache line of an address, which need not exist.
    fn prefetch<T>(at: *const T);
}

/// The lanes of a vector at most.
pub const MAX_LANES: usize = 16;

/// A vector of floats. Methods that take a slice read or write its first
/// [`LANES`](Self::LANES) entries, and panic if it has fewer.
pub trait Vector: Copy {
    type Scalar: Copy;
    /// A truth value for each lane.
    type Mask: Copy;

    const LANES: usize;

    fn splat(x: Self::Scalar) -> Self;

    fn load(from: &[Self::Scalar]) -> Self;

    fn store(self, to: &mut [Self::Scalar]);

    /// The same past the caches, for what is not read again soon, where `to` is aligned
    /// to a vector. [`fence`](Simd::fence) must follow before anything else is done with
    /// `to`.
    fn stream(self, to: &mut [Self::Scalar]);

    fn add(self, other: Self) -> Self;

    fn sub(self, other: Self) -> Self;

    fn mul(self, other: Self) -> Self;

    fn div(self, other: Self) -> Self;

    /// `self * factor + summand`, rounded once where the processor does that.
    fn mul_add(self, factor: Self, summand: Self) -> Self;

    /// `self * factor - subtrahend`, likewise.
    fn mul_sub(self, factor: Self, subtrahend: Self) -> Self;

    fn abs(self) -> Self;

    /// In the lanes of the mask the larger of both, `self` where `other` is NaN.
    fn max_where(self, mask: Self::Mask, other: Self) -> Self;

    /// In the lanes of the mask the smaller of both, `self` where `other` is NaN.
    fn min_where(self, mask: Self::Mask, other: Self) -> Self;

    /// `self 2^n` in the lanes of the mask, 0 in the others. `shifted` is `n` plus the
    /// [shift](super::real::Real::SHIFT) of its type. `2^n` must be a normal number.
    fn scale_where(self, mask: Self::Mask, n: Self, shifted: Self) -> Self;

    /// `self` in the lanes of the mask, `other` in the others.
    fn select(self, mask: Self::Mask, other: Self) -> Self;

    /// The lanes whose byte is 0.
    fn zeros(bytes: &[u8]) -> Self::Mask;

    /// The lanes where `self < other`.
    fn below(self, other: Self) -> Self::Mask;

    /// The lanes of the mask where not `self < other`: those of NaN stay.
    fn not_below(self, mask: Self::Mask, other: Self) -> Self::Mask;

    /// The lanes that are set.
    fn count(mask: Self::Mask) -> u32;
}

/// A vector of f32 that widens and narrows to half precision, to the nearest, ties to
/// even.
pub trait HalfVector: Vector {
    fn load_f16(from: &[f16]) -> Self;

    fn store_f16(self, to: &mut [f16]);

    fn load_bf16(from: &[bf16]) -> Self;

    fn store_bf16(self, to: &mut [bf16]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cpu::isa::{Isa, Kernel};

    /// What f32 become in half precision, and that again in f32.
    struct Round<'a>(&'a [f32]);

    impl Kernel for Round<'_> {
        type Output = Vec<[f32; 2]>;

        #[inline(always)]
        fn run<S: Simd>(self) -> Vec<[f32; 2]> {
            let mut rounded = Vec::new();
            for x in self.0.chunks_exact(S::F32::LANES) {
                let x = S::F32::load(x);
                let (mut f16s, mut bf16s) = ([f16::ZERO; MAX_LANES], [bf16::ZERO; MAX_LANES]);
                x.store_f16(&mut f16s);
                x.store_bf16(&mut bf16s);
                let mut wide = [[0.0; MAX_LANES]; 2];
                S::F32::load_f16(&f16s).store(&mut wide[0]);
                S::F32::load_bf16(&bf16s).store(&mut wide[1]);
                rounded.extend((0..S::F32::LANES).map(|lane| wide.map(|wide| wide[lane])));
            }
            rounded
        }
    }

    #[test]
    fn half_precision_is_rounded_to_the_nearest_even() {
        // All signs and exponents, and those mantissas that decide.
        let mantissas = [
            0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001, 0x1_8000,
            0x1_8001, 0x7f_7fff, 0x7f_8000, 0x7f_ffff,
        ];
        let floats = (0..1u32 << 9)
            .step_by(if cfg!(miri) { 15 } else { 1 })
            .flat_map(|head| mantissas.map(|mantissa| f32::from_bits(head << 23 | mantissa)));
        let floats: Vec<f32> = floats.collect();
        for isa in Isa::all() {
            for (x, rounded) in floats.iter().zip(isa.run(Round(&floats))) {
                let exact = [f16::from_f32(*x).to_f32(), bf16::from_f32(*x).to_f32()];
                for (got, exact) in rounded.into_iter().zip(exact) {
                    let is_right = match exact.is_nan() {
                        true => got.is_nan(),
                        false => got.to_bits() == exact.to_bits(),
                    };
                    assert!(
                        is_right,
                        "{x:e} on {isa:?}: expected {exact:e}, got {got:e}"
                    );
                }
            }
        }
    }

    struct Nonzeros([u8; 64]);

    impl Kernel for Nonzeros {
        type Output = u64;

        #[inline(always)]
        fn run<S: Simd>(self) -> u64 {
            S::nonzeros(&self.0)
        }
    }

    #[test]
    fn bytes_that_are_not_zero_have_a_bit() {
        for isa in Isa::all() {
            assert_eq!(isa.run(Nonzeros([0; 64])), 0);
            for place in 0..64 {
                for byte in [1, 0x80, 0xff] {
                    let mut bytes = [0; 64];
                    bytes[place] = byte;
                    assert_eq!(isa.run(Nonzeros(bytes)), 1 << place, "{isa:?}");
                }
            }
        }
    }
}
