//! The gradients of a chunk.

use super::{Logit, Scale, map, weighty};
use crate::kernels::cpu::{
    element::Element,
    exponential::sigmoid_where,
    isa::Kernel,
    real::{Lanes, Real},
    simd::{Simd, Vector},
};

/// Writes `exp(x) factor` for the negatives, 0 for the others.
pub struct Softmax<'a, E: Element> {
    /// `None` if they stand in `out`.
    pub scores: Option<&'a [E]>,
    pub excluded: &'a [u8],
    pub scale: Scale<E::Real>,
    pub factor: E::Real,
    /// How far ahead the mask goes on.
    pub ahead: usize,
    /// Whether it is too much for the caches. A [`Fence`] must follow before anything
    /// else is done with `out`.
    pub stream: bool,
    pub out: &'a mut [E],
}

impl<E: Element> Kernel for Softmax<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        match self.stream {
            true => self.write::<S, true>(),
            false => self.write::<S, false>(),
        }
    }
}

impl<E: Element> Softmax<'_, E> {
    #[inline(always)]
    fn write<S: Simd, const STREAM: bool>(self) {
        let scale = self.scale;
        let zero = Lanes::<S, E::Real>::splat(E::Real::default());
        let factor = Lanes::<S, E::Real>::splat(self.factor);
        map::<S, E, STREAM>(
            self.scores,
            self.excluded,
            self.ahead,
            self.out,
            #[inline(always)]
            |scores, negatives| {
                let gradient = scale.power_where::<S>(negatives, scores).mul(factor);
                // The factor may be NaN.
                gradient.select(negatives, zero)
            },
        );
    }
}

/// Ends what was streamed.
pub struct Fence;

impl Kernel for Fence {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        S::fence();
    }
}

/// Multiplies what was written for the negatives by their weights and a factor.
pub struct Weigh<'a, R> {
    pub excluded: &'a [u8],
    pub weights: &'a [R],
    pub factor: R,
    pub out: &'a mut [R],
}

impl<R: Real> Kernel for Weigh<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let pairs = self.weights.iter().zip(self.excluded);
        for (out, (&weight, &excluded)) in self.out.iter_mut().zip(pairs) {
            let weighted = out.mul(weight).mul(self.factor);
            *out = if excluded == 0 { weighted } else { *out };
        }
    }
}

/// Writes `sigmoid(z) factor` for the negatives, 0 for the others.
pub struct Sigmoid<'a, R: Real> {
    pub scores: &'a [R],
    pub excluded: &'a [u8],
    pub logit: Logit<R>,
    pub factor: R,
    pub out: &'a mut [R],
}

impl<R: Real> Kernel for Sigmoid<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let logit = self.logit;
        let zero = Lanes::<S, R>::splat(R::default());
        let factor = Lanes::<S, R>::splat(self.factor);
        map::<S, R, false>(
            Some(self.scores),
            self.excluded,
            0,
            self.out,
            #[inline(always)]
            |scores, negatives| {
                let some = weighty::<S, R>(negatives, scores);
                let slope = sigmoid_where::<S, R>(some, logit.of::<S>(scores));
                slope.mul(factor).select(some, zero)
            },
        );
    }
}

/// Adds entry by entry.
pub struct Add<'a, R> {
    pub terms: &'a [R],
    pub out: &'a mut [R],
}

impl<R: Real> Kernel for Add<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (out, &term) in self.out.iter_mut().zip(self.terms) {
            *out = out.add(term);
        }
    }
}
