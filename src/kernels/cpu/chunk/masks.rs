//! Bytes that are masks.

use crate::kernels::cpu::{
    element::Element,
    isa::{Isa, Kernel},
    simd::Simd,
};

/// Collects the places, from `first` on, of the bytes that are not 0.
pub struct Find<'a> {
    pub bytes: &'a [u8],
    pub first: usize,
    pub found: &'a mut Vec<usize>,
}

impl Kernel for Find<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let (blocks, last) = self.bytes.as_chunks::<64>();
        let mut collect = |index: usize, mut bits: u64| {
            while bits != 0 {
                let place = index * 64 + bits.trailing_zeros() as usize;
                self.found.push(self.first + place);
                bits &= bits - 1;
            }
        };
        for (index, block) in blocks.iter().enumerate() {
            collect(index, S::nonzeros(block));
        }
        let mut padded = [0; 64];
        padded[..last.len()].copy_from_slice(last);
        collect(blocks.len(), S::nonzeros(&padded));
    }
}

/// How many bytes are 0.
#[inline(always)]
pub fn zeros<S: Simd>(bytes: &[u8]) -> usize {
    let (blocks, last) = bytes.as_chunks::<64>();
    let ones = blocks
        .iter()
        .map(|block| S::nonzeros(block).count_ones() as usize);
    let zeros = 64 * blocks.len() - ones.sum::<usize>();
    zeros + last.iter().filter(|&&byte| byte == 0).count()
}

/// Excludes the documents whose `values` say so.
pub fn exclude<E: Element>(
    isa: Isa,
    excluded: &mut [u8],
    values: &[E],
    is_out: impl Fn(E::Real) -> bool,
) {
    isa.vectorize(
        #[inline(always)]
        || {
            for (excluded, value) in excluded.iter_mut().zip(values) {
                *excluded |= u8::from(is_out(value.widen()));
            }
        },
    );
}
