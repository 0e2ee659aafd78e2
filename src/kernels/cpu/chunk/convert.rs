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
        let scores = self.scores.chunks(lanes).zip(self.out.chunks_mut(lanes));
        for (scores, out) in scores {
            match scores.len() == lanes {
                true => E::load::<S>(scores).store(out),
                false => {
                    for (out, score) in out.iter_mut().zip(scores) {
                        *out = score.widen();
                    }
                }
            }
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
        let gradients = self.gradients.chunks(lanes).zip(self.out.chunks_mut(lanes));
        for (gradients, out) in gradients {
            match gradients.len() == lanes {
                true => E::store::<S>(Vector::load(gradients), out),
                false => {
                    for (out, &gradient) in out.iter_mut().zip(gradients) {
                        *out = E::from_real(gradient);
                    }
                }
            }
        }
    }
}
