//! What a chunk is summed up to.

use super::{GROUP, Logit, Scale, fold, for_each, for_each_weighted, masks::zeros, total, weighty};
use crate::kernels::cpu::{
    element::Element,
    exponential::softplus_where,
    isa::Kernel,
    real::{Lanes, Real},
    simd::{MAX_LANES, Simd, Vector},
};

/// What there is to know of negatives before they are summed up.
pub struct Extremes<R> {
    /// The largest score, minus infinity if there is none; passes over NaN.
    pub max: R,
    /// The smallest, infinity if there is none; likewise.
    pub min: R,
    pub count: usize,
}

/// Finds the [`Extremes`].
pub struct FindExtremes<'a, E: Element> {
    pub scores: &'a [E],
    pub excluded: &'a [u8],
}

impl<E: Element> Kernel for FindExtremes<'_, E> {
    type Output = Extremes<E::Real>;

    #[inline(always)]
    fn run<S: Simd>(self) -> Extremes<E::Real> {
        let Self { scores, excluded } = self;
        let mut max = [Lanes::<S, E::Real>::splat(E::Real::NEG_INFINITY); GROUP];
        let mut min = [Lanes::<S, E::Real>::splat(E::Real::INFINITY); GROUP];
        for_each::<S, E>(
            scores,
            excluded,
            None,
            #[inline(always)]
            |place, scores, negatives| {
                max[place] = max[place].max_where(negatives, scores);
                min[place] = min[place].min_where(negatives, scores);
            },
        );
        let larger = |a: Lanes<S, E::Real>, b: Lanes<S, E::Real>| b.select(a.below(b), a);
        let smaller = |a: Lanes<S, E::Real>, b: Lanes<S, E::Real>| b.select(b.below(a), a);
        let mut largest = [E::Real::NEG_INFINITY; MAX_LANES];
        let mut smallest = [E::Real::INFINITY; MAX_LANES];
        let [a, b, c, d] = max;
        larger(larger(a, b), larger(c, d)).store(&mut largest);
        let [a, b, c, d] = min;
        smaller(smaller(a, b), smaller(c, d)).store(&mut smallest);
        Extremes {
            max: fold(largest, |a, b| if b > a { b } else { a }),
            min: fold(smallest, |a, b| if b < a { b } else { a }),
            count: zeros::<S>(excluded),
        }
    }
}

/// Sums up `exp(x)` over the negatives.
pub struct SumExp<'a, E: Element> {
    pub scores: &'a [E],
    pub excluded: &'a [u8],
    pub scale: Scale<E::Real>,
    /// How far ahead the mask goes on.
    pub ahead: usize,
}

impl<E: Element> Kernel for SumExp<'_, E> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let scale = self.scale;
        let mut sums = [Lanes::<S, E::Real>::splat(E::Real::default()); GROUP];
        for_each::<S, E>(
            self.scores,
            self.excluded,
            Some(self.ahead),
            #[inline(always)]
            |place, scores, negatives| {
                sums[place] = sums[place].add(scale.power_where::<S>(negatives, scores));
            },
        );
        total::<S, E::Real>(sums)
    }
}

/// Sums up `weight exp(x)` over the negatives, to NaN if a weight is negative.
pub struct WeightedSumExp<'a, E: Element> {
    pub scores: &'a [E],
    pub excluded: &'a [u8],
    pub weights: &'a [E::Real],
    pub scale: Scale<E::Real>,
}

impl<E: Element> Kernel for WeightedSumExp<'_, E> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let scale = self.scale;
        let zero = Lanes::<S, E::Real>::splat(E::Real::default());
        let mut sums = [zero; GROUP];
        for_each_weighted::<S, E>(
            self.scores,
            self.excluded,
            self.weights,
            #[inline(always)]
            |place, scores, negatives, weights| {
                let weights = checked::<S, E::Real>(negatives, weights);
                let power = scale.power_where::<S>(negatives, scores);
                sums[place] = power.mul_add(weights, sums[place]);
            },
        );
        total::<S, E::Real>(sums)
    }
}

/// Weights of negatives, NaN for what is negative; of the others nothing is to be seen,
/// infinite weights included.
#[inline(always)]
fn checked<S: Simd, R: Real>(
    negatives: <Lanes<S, R> as Vector>::Mask,
    weights: Lanes<S, R>,
) -> Lanes<S, R> {
    let zero = Lanes::<S, R>::splat(R::default());
    let weights = weights.select(negatives, zero);
    Lanes::<S, R>::splat(R::NAN).select(weights.below(zero), weights)
}

/// Counts the negatives that have weight, and tells whether one is NaN.
pub struct Count<'a, E: Element> {
    pub scores: &'a [E],
    pub excluded: &'a [u8],
}

impl<E: Element> Kernel for Count<'_, E> {
    type Output = (usize, bool);

    #[inline(always)]
    fn run<S: Simd>(self) -> (usize, bool) {
        let (mut count, mut unordered) = (0, 0);
        let [zero, one] = [0.0, 1.0].map(|x| Lanes::<S, E::Real>::splat(E::Real::from_f64(x)));
        for_each::<S, E>(
            self.scores,
            self.excluded,
            None,
            #[inline(always)]
            |_, scores, negatives| {
                let some = weighty::<S, E::Real>(negatives, scores);
                count += Lanes::<S, E::Real>::count(some);
                // Only NaN is neither below 0 nor above -1 when negated.
                let not_below = scores.not_below(some, zero);
                let neither = zero.sub(scores).not_below(not_below, one);
                unordered += Lanes::<S, E::Real>::count(neither);
            },
        );
        (count as usize, unordered > 0)
    }
}

/// Sums up `softplus(z)` over the negatives, with their weights if they have some; to NaN
/// if one of these is negative.
pub struct SumSoftplus<'a, E: Element> {
    pub scores: &'a [E],
    pub excluded: &'a [u8],
    pub weights: Option<&'a [E::Real]>,
    pub logit: Logit<E::Real>,
}

impl<E: Element> Kernel for SumSoftplus<'_, E> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let Self {
            scores,
            excluded,
            weights,
            logit,
        } = self;
        let zero = Lanes::<S, E::Real>::splat(E::Real::default());
        let mut sums = [zero; GROUP];
        match weights {
            None => for_each::<S, E>(
                scores,
                excluded,
                None,
                #[inline(always)]
                |place, scores, negatives| {
                    sums[place] = sums[place].add(loss::<S, _>(logit, scores, negatives));
                },
            ),
            Some(weights) => for_each_weighted::<S, E>(
                scores,
                excluded,
                weights,
                #[inline(always)]
                |place, scores, negatives, weights| {
                    let some = weighty::<S, E::Real>(negatives, scores);
                    let weights = checked::<S, E::Real>(some, weights);
                    let loss = loss::<S, _>(logit, scores, negatives);
                    sums[place] = loss.mul_add(weights, sums[place]);
                },
            ),
        }
        total::<S, E::Real>(sums)
    }
}

/// `softplus(z)` of the negatives, 0 of the others.
#[inline(always)]
fn loss<S: Simd, R: Real>(
    logit: Logit<R>,
    scores: Lanes<S, R>,
    negatives: <Lanes<S, R> as Vector>::Mask,
) -> Lanes<S, R> {
    // Minus infinity times a large temperature's inverse of 0 would be NaN.
    let some = weighty::<S, R>(negatives, scores);
    let loss = softplus_where::<S, R>(some, logit.of::<S>(scores));
    loss.select(some, Lanes::<S, R>::splat(R::default()))
}
