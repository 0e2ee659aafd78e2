//! 512 bits of AVX-512 F, BW, DQ and VL.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{HalfVector, Simd, Vector, x86::arithmetic};

/// The instructions that [`Isa`](crate::kernels::cpu::isa::Isa) has found.
#[derive(Clone, Copy, Debug)]
pub struct Avx512;

#[derive(Clone, Copy, Debug)]
pub struct F32(__m512);

#[derive(Clone, Copy, Debug)]
pub struct F64(__m512d);

impl Simd for Avx512 {
    type F32 = F32;
    type F64 = F64;

    #[inline(always)]
    fn nonzeros(bytes: &[u8; 64]) -> u64 {
        // SAFETY: as below.
        unsafe {
            let bytes = _mm512_loadu_si512(bytes.as_ptr().cast());
            _mm512_test_epi8_mask(bytes, bytes)
        }
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
const SIZE: usize = 64;

// SAFETY, for all that follows: code over `Avx512` runs only where the processor has
// these instructions, and the lengths of slices are asserted before memory is accessed.
macro_rules! vector {
    (
        $vector:ident, $t:ident, $lanes:literal, $mask:ident, $bytes:ident,
        $splat:ident, $load:ident, $store:ident, $stream:ident,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $mul_add:ident, $mul_sub:ident,
        $abs:ident, $max:ident, $min:ident, $scale:ident, $select:ident,
        $compare:ident, $compare_where:ident
    ) => {
        impl Vector for $vector {
            type Scalar = $t;
            type Mask = $mask;

            const LANES: usize = $lanes;

            arithmetic!(
                $t, $splat, $load, $store, $stream, $add, $sub, $mul, $div, $mul_add, $mul_sub
            );

            #[inline(always)]
            fn abs(self) -> Self {
                Self(unsafe { $abs(self.0) })
            }

            #[inline(always)]
            fn max_where(self, mask: $mask, other: Self) -> Self {
                // Of a NaN and another the instruction gives the latter operand.
                Self(unsafe { $max(self.0, mask, other.0, self.0) })
            }

            #[inline(always)]
            fn min_where(self, mask: $mask, other: Self) -> Self {
                Self(unsafe { $min(self.0, mask, other.0, self.0) })
            }

            #[inline(always)]
            fn scale_where(self, mask: $mask, n: Self, _: Self) -> Self {
                Self(unsafe { $scale(mask, self.0, n.0) })
            }

            #[inline(always)]
            fn select(self, mask: $mask, other: Self) -> Self {
                Self(unsafe { $select(mask, other.0, self.0) })
            }

            #[inline(always)]
            fn zeros(bytes: &[u8]) -> $mask {
                assert!(bytes.len() >= Self::LANES);
                unsafe {
                    let bytes = $bytes(bytes.as_ptr().cast());
                    _mm_testn_epi8_mask(bytes, bytes) as $mask
                }
            }

            #[inline(always)]
            fn below(self, other: Self) -> $mask {
                unsafe { $compare::<_CMP_LT_OQ>(self.0, other.0) }
            }

            #[inline(always)]
            fn not_below(self, mask: $mask, other: Self) -> $mask {
                unsafe { $compare_where::<_CMP_NLT_UQ>(mask, self.0, other.0) }
            }

            #[inline(always)]
            fn count(mask: $mask) -> u32 {
                mask.count_ones()
            }
        }
    };
}

vector!(
    F32,
    f32,
    16,
    __mmask16,
    _mm_loadu_si128,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_stream_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_div_ps,
    _mm512_fmadd_ps,
    _mm512_fmsub_ps,
    _mm512_abs_ps,
    _mm512_mask_max_ps,
    _mm512_mask_min_ps,
    _mm512_maskz_scalef_ps,
    _mm512_mask_blend_ps,
    _mm512_cmp_ps_mask,
    _mm512_mask_cmp_ps_mask
);
vector!(
    F64,
    f64,
    8,
    __mmask8,
    _mm_loadl_epi64,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_stream_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd,
    _mm512_div_pd,
    _mm512_fmadd_pd,
    _mm512_fmsub_pd,
    _mm512_abs_pd,
    _mm512_mask_max_pd,
    _mm512_mask_min_pd,
    _mm512_maskz_scalef_pd,
    _mm512_mask_blend_pd,
    _mm512_cmp_pd_mask,
    _mm512_mask_cmp_pd_mask
);

impl HalfVector for F32 {
    #[inline(always)]
    fn load_f16(from: &[f16]) -> Self {
        assert!(from.len() >= Self::LANES);
        unsafe { Self(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn store_f16(self, to: &mut [f16]) {
        assert!(to.len() >= Self::LANES);
        unsafe {
            let narrow = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0);
            _mm256_storeu_si256(to.as_mut_ptr().cast(), narrow);
        }
    }

    #[inline(always)]
    fn load_bf16(from: &[bf16]) -> Self {
        assert!(from.len() >= Self::LANES);
        unsafe {
            let narrow = _mm256_loadu_si256(from.as_ptr().cast());
            let wide = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(narrow));
            Self(_mm512_castsi512_ps(wide))
        }
    }

    #[inline(always)]
    fn store_bf16(self, to: &mut [bf16]) {
        assert!(to.len() >= Self::LANES);
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_add_epi32(bits, half);
            // A NaN must not become infinite.
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let quiet = _mm512_set1_epi32(0x40_0000);
            let rounded = _mm512_mask_or_epi32(rounded, nan, bits, quiet);
            let narrow = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded));
            _mm256_storeu_si256(to.as_mut_ptr().cast(), narrow);
        }
    }
}
