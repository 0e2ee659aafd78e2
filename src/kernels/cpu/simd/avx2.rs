//! 256 bits of AVX2, with FMA and F16C.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{HalfVector, Simd, Vector, x86::arithmetic};

/// The instructions that [`Isa`](crate::kernels::cpu::isa::Isa) has found.
#[derive(Clone, Copy, Debug)]
pub struct Avx2;

#[derive(Clone, Copy, Debug)]
pub struct F32(__m256);

#[derive(Clone, Copy, Debug)]
pub struct F64(__m256d);

impl Simd for Avx2 {
    type F32 = F32;
    type F64 = F64;

    #[inline(always)]
    fn nonzeros(bytes: &[u8; 64]) -> u64 {
        let (halves, _) = bytes.as_chunks::<SIZE>();
        let mut bits = 0;
        for (index, half) in halves.iter().enumerate() {
            // SAFETY: as below.
            let zeros = unsafe {
                let half = _mm256_loadu_si256(half.as_ptr().cast());
                _mm256_movemask_epi8(_mm256_cmpeq_epi8(half, _mm256_setzero_si256()))
            };
            bits |= u64::from(!zeros.cast_unsigned()) << (SIZE * index);
        }
        bits
    }

    #[inline(always)]
    fn fence() {
        // SAFETY: as below.
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    fn prefetch<T>(at: *const T) {
        // SAFETY: a prefetch of an address that does not exist does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

/// Bytes of a vector.
const SIZE: usize = 32;

// SAFETY, for all that follows: code over `Avx2` runs only where the processor has these
// instructions, and the lengths of slices are asserted before memory is accessed.
macro_rules! vector {
    (
        $vector:ident, $t:ident, $lanes:literal, $register:ident, $mantissa:literal,
        $splat:ident, $load:ident, $store:ident, $stream:ident,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $mul_add:ident, $mul_sub:ident,
        $max:ident, $min:ident, $and:ident, $and_not:ident, $blend:ident,
        $compare:ident, $move_mask:ident,
        $to_bits:ident, $from_bits:ident, $shift:ident,
        $bytes:ident, $widen:ident, $equal:ident
    ) => {
        impl Vector for $vector {
            type Scalar = $t;
            /// All bits of a lane are set, or none.
            type Mask = $register;

            const LANES: usize = $lanes;

            arithmetic!(
                $t, $splat, $load, $store, $stream, $add, $sub, $mul, $div, $mul_add, $mul_sub
            );

            #[inline(always)]
            fn abs(self) -> Self {
                Self(unsafe { $and_not($splat(-0.0), self.0) })
            }

            #[inline(always)]
            fn max_where(self, mask: $register, other: Self) -> Self {
                let other = other.select(mask, Self::splat($t::NEG_INFINITY));
                // Of a NaN and another the instruction gives the latter operand.
                Self(unsafe { $max(other.0, self.0) })
            }

            #[inline(always)]
            fn min_where(self, mask: $register, other: Self) -> Self {
                let other = other.select(mask, Self::splat($t::INFINITY));
                Self(unsafe { $min(other.0, self.0) })
            }

            #[inline(always)]
            fn scale_where(self, mask: $register, _: Self, shifted: Self) -> Self {
                unsafe {
                    let power = $from_bits($shift::<$mantissa>($to_bits(shifted.0)));
                    Self($and(mask, $mul(self.0, power)))
                }
            }

            #[inline(always)]
            fn select(self, mask: $register, other: Self) -> Self {
                Self(unsafe { $blend(other.0, self.0, mask) })
            }

            #[inline(always)]
            fn zeros(bytes: &[u8]) -> $register {
                assert!(bytes.len() >= Self::LANES);
                unsafe {
                    let bytes = $widen($bytes(bytes.as_ptr().cast()));
                    $from_bits($equal(bytes, _mm256_setzero_si256()))
                }
            }

            #[inline(always)]
            fn below(self, other: Self) -> $register {
                unsafe { $compare::<_CMP_LT_OQ>(self.0, other.0) }
            }

            #[inline(always)]
            fn not_below(self, mask: $register, other: Self) -> $register {
                unsafe { $and(mask, $compare::<_CMP_NLT_UQ>(self.0, other.0)) }
            }

            #[inline(always)]
            fn count(mask: $register) -> u32 {
                unsafe { $move_mask(mask) }.count_ones()
            }
        }
    };
}

vector!(
    F32,
    f32,
    8,
    __m256,
    23,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_stream_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_div_ps,
    _mm256_fmadd_ps,
    _mm256_fmsub_ps,
    _mm256_max_ps,
    _mm256_min_ps,
    _mm256_and_ps,
    _mm256_andnot_ps,
    _mm256_blendv_ps,
    _mm256_cmp_ps,
    _mm256_movemask_ps,
    _mm256_castps_si256,
    _mm256_castsi256_ps,
    _mm256_slli_epi32,
    _mm_loadl_epi64,
    _mm256_cvtepu8_epi32,
    _mm256_cmpeq_epi32
);
vector!(
    F64,
    f64,
    4,
    __m256d,
    52,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_stream_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd,
    _mm256_div_pd,
    _mm256_fmadd_pd,
    _mm256_fmsub_pd,
    _mm256_max_pd,
    _mm256_min_pd,
    _mm256_and_pd,
    _mm256_andnot_pd,
    _mm256_blendv_pd,
    _mm256_cmp_pd,
    _mm256_movemask_pd,
    _mm256_castpd_si256,
    _mm256_castsi256_pd,
    _mm256_slli_epi64,
    _mm_loadu_si32,
    _mm256_cvtepu8_epi64,
    _mm256_cmpeq_epi64
);

impl HalfVector for F32 {
    #[inline(always)]
    fn load_f16(from: &[f16]) -> Self {
        assert!(from.len() >= Self::LANES);
        unsafe { Self(_mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn store_f16(self, to: &mut [f16]) {
        assert!(to.len() >= Self::LANES);
        unsafe {
            let narrow = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0);
            _mm_storeu_si128(to.as_mut_ptr().cast(), narrow);
        }
    }

    #[inline(always)]
    fn load_bf16(from: &[bf16]) -> Self {
        assert!(from.len() >= Self::LANES);
        unsafe {
            let narrow = _mm_loadu_si128(from.as_ptr().cast());
            let wide = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(narrow));
            Self(_mm256_castsi256_ps(wide))
        }
    }

    #[inline(always)]
    fn store_bf16(self, to: &mut [bf16]) {
        assert!(to.len() >= Self::LANES);
        unsafe {
            let bits = _mm256_castps_si256(self.0);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
            let rounded = _mm256_add_epi32(bits, half);
            // A NaN must not become infinite.
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0));
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
            let rounded = _mm256_blendv_epi8(rounded, quiet, nan);
            let narrow = _mm256_srli_epi32::<16>(rounded);
            let narrow = _mm_packus_epi32(
                _mm256_castsi256_si128(narrow),
                _mm256_extracti128_si256::<1>(narrow),
            );
            _mm_storeu_si128(to.as_mut_ptr().cast(), narrow);
        }
    }
}
