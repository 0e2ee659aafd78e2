//! Bytes that are masks.

use crate::kernels::cpu::{
    element::Element,
    isa::{Isa, Kernel},
    real::{Lanes, Real},
    simd::{MAX_LANES, Simd, Vector},
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
    let mut zeros = bytes.len();
    for block in blocks {
        zeros -= S::nonzeros(block).count_ones() as usize;
    }
    for &byte in last {
        zeros -= usize::from(byte != 0);
    }
    zeros
}

/// Excludes the documents whose scores lie above the ceiling.
pub struct ExcludeAbove<'a, E: Element> {
    pub excluded: &'a mut [u8],
    pub scores: &'a [E],
    pub ceiling: E::Real,
}

impl<E: Element> Kernel for ExcludeAbove<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = Lanes::<S, E::Real>::LANES;
        let mut wide = [E::Real::default(); MAX_LANES];
        let scores = self.scores.chunks_exact(lanes);
        let last = scores.remainder();
        let (excluded, last_excluded) = self.excluded.split_at_mut(self.scores.len() - last.len());
        for (excluded, scores) in excluded.chunks_exact_mut(lanes).zip(scores) {
            E::load::<S>(scores).store(&mut wide);
            for (excluded, &score) in excluded.iter_mut().zip(&wide) {
                *excluded |= u8::from(score > self.ceiling);
            }
        }
        for (excluded, score) in last_excluded.iter_mut().zip(last) {
            *excluded |= u8::from(score.widen() > self.ceiling);
        }
    }
}

/// Excludes the documents without weight.
pub fn exclude_weightless<R: Real>(isa: Isa, excluded: &mut [u8], weights: &[R]) {
    isa.vectorize(
        #[inline(always)]
        || {
            for (excluded, &weight) in excluded.iter_mut().zip(weights) {
                *excluded |= u8::from(weight == R::default());
            }
        },
    );
}
