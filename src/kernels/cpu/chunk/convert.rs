//! From the type of scores to that of their statistics, and back.

use crate::kernels::cpu::{
    element::Element,
    isa::Kernel,
    real::Lanes,
    simd::{Simd, Vector},
};

/// Writes scores in the type of their statistics.
pub struct Widen<'a, E: Element> {
    pub scores: &'a [E],
    pub out: &'a mut [E::Real],
}

impl<E: Element> Kernel for Widen<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = Lanes::<S, E::Real>::LANES;
        let scores = self.scores.chunks_exact(lanes);
        let last = scores.remainder();
        let (out, last_out) = self.out.split_at_mut(self.scores.len() - last.len());
        for (scores, out) in scores.zip(out.chunks_exact_mut(lanes)) {
            E::load::<S>(scores).store(out);
        }
        for (score, out) in last.iter().zip(last_out) {
            *out = score.widen();
        }
    }
}

/// Writes gradients in the type of their scores.
pub struct Narrow<'a, E: Element> {
    pub gradients: &'a [E::Real],
    pub out: &'a mut [E],
}

impl<E: Element> Kernel for Narrow<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = Lanes::<S, E::Real>::LANES;
        let gradients = self.gradients.chunks_exact(lanes);
        let last = gradients.remainder();
        let (out, last_out) = self.out.split_at_mut(self.gradients.len() - last.len());
        for (gradients, out) in gradients.zip(out.chunks_exact_mut(lanes)) {
            E::store::<S>(Vector::load(gradients), out);
        }
        for (&gradient, out) in last.iter().zip(last_out) {
            *out = E::from_real(gradient);
        }
    }
}
