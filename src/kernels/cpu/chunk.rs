//! Loops over a block of scores. `excluded` is 0 where the score is that of a negative.

use super::{
    curve::Bend,
    element::Element,
    exponential::{power_where, sigmoid_where, softplus_where},
    isa::{Isa, Kernel},
    real::{Lanes, Real},
    simd::{MAX_LANES, Simd, Vector},
};
use crate::kernels::table::Request;

/// Scores handled at a time: a block and its buffers stay in the first-level cache.
pub const CHUNK: usize = 2048;

/// Vectors handled at a time, whose sums do not wait for each other.
const GROUP: usize = 4;

/// Entries of a group at most.
const PADDED: usize = GROUP * MAX_LANES;

/// Scores relative to a reference, as exponents of 2: `(score - reference) / temperature log2 e`.
#[derive(Clone, Copy)]
pub struct Scale<R> {
    half_reference: R,
    rate: R,
    /// What is below this is 0, and not computed: some processors take a hundred cycles for a
    /// result below the normal numbers.
    lowest: R,
}

impl<R: Real> Scale<R> {
    /// The exponentials of the scores are multiplied by `factor`.
    pub fn new(reference: R, temperature: f64, factor: f64) -> Self {
        let rate = 2.0 * std::f64::consts::LOG2_E / temperature;
        let above = (-factor.abs().log2()).max(0.0);
        let lowest = (R::LEAST_EXPONENT + above) / rate;
        // Minus infinity is always below it.
        let lowest = lowest.max(R::MIN.to_f64());
        Self {
            half_reference: R::from_f64(-0.5).mul(reference),
            rate: R::from_f64(rate),
            lowest: R::from_f64(lowest),
        }
    }

    /// The exponentials in the lanes of the mask, 0 in the others.
    ///
    /// Differences are taken between halves: the difference of finite halves is finite.
    #[inline(always)]
    fn power_where<S: Simd>(
        self,
        mask: <Lanes<S, R> as Vector>::Mask,
        scores: Lanes<S, R>,
    ) -> Lanes<S, R> {
        let half = Lanes::<S, R>::splat(R::from_f64(0.5));
        let x = scores.mul_add(half, Lanes::<S, R>::splat(self.half_reference));
        let mask = x.not_below(mask, Lanes::<S, R>::splat(self.lowest));
        power_where::<S, R>(mask, x, Lanes::<S, R>::splat(self.rate))
    }
}

/// Scores that are compared with nothing: `score / temperature + bias`.
#[derive(Clone, Copy)]
pub struct Logit<R> {
    inverse: R,
    bias: R,
}

impl<R: Real> Logit<R> {
    pub fn new(request: Request) -> Self {
        Self {
            inverse: R::from_f64(1.0 / request.temperature()),
            bias: R::from_f64(request.bias()),
        }
    }

    #[inline(always)]
    fn of<S: Simd>(self, scores: Lanes<S, R>) -> Lanes<S, R> {
        let [inverse, bias] = [self.inverse, self.bias].map(Lanes::<S, R>::splat);
        scores.mul_add(inverse, bias)
    }
}

/// The entries behind the last whole group, made up to a group.
#[inline(always)]
fn padded<T: Copy>(tail: &[T], pad: T) -> [T; PADDED] {
    let mut padded = [pad; PADDED];
    if !tail.is_empty() {
        padded[..tail.len()].copy_from_slice(tail);
    }
    padded
}

/// How many of `len` entries fill whole groups of `group`, and how many the last one has, made
/// up: none or all.
#[inline(always)]
fn groups(len: usize, group: usize) -> [usize; 2] {
    let whole = len / group * group;
    [whole, if whole < len { group } else { 0 }]
}

/// Calls `each` with its place in the group, a vector of scores, and the lanes of negatives.
#[inline(always)]
fn for_each<S: Simd, E: Element>(
    scores: &[E],
    excluded: &[u8],
    ahead: Option<usize>,
    mut each: impl FnMut(usize, Lanes<S, E::Real>, <Lanes<S, E::Real> as Vector>::Mask),
) {
    let lanes = Lanes::<S, E::Real>::LANES;
    let group = GROUP * lanes;
    let [whole, last] = groups(scores.len(), group);
    let last_scores = padded(&scores[whole..], E::from_real(E::Real::default()));
    let last_excluded = padded(&excluded[whole..], 1);
    let parts = [
        (&scores[..whole], &excluded[..whole]),
        (&last_scores[..last], &last_excluded[..last]),
    ];
    for (scores, excluded) in parts {
        let groups = scores.chunks_exact(group).zip(excluded.chunks_exact(group));
        for (scores, excluded) in groups {
            if let Some(ahead) = ahead {
                S::prefetch(excluded.as_ptr().wrapping_add(ahead));
            }
            for place in 0..GROUP {
                let at = place * lanes..(place + 1) * lanes;
                if ahead.is_some() {
                    S::prefetch(scores[at.clone()].as_ptr().wrapping_add(CHUNK));
                }
                let negatives = Lanes::<S, E::Real>::zeros(&excluded[at.clone()]);
                each(place, E::load::<S>(&scores[at]), negatives);
            }
        }
    }
}

/// The same with a vector of weights.
#[inline(always)]
fn for_each_weighted<S: Simd, E: Element>(
    scores: &[E],
    excluded: &[u8],
    weights: &[E::Real],
    mut each: impl FnMut(
        usize,
        Lanes<S, E::Real>,
        <Lanes<S, E::Real> as Vector>::Mask,
        Lanes<S, E::Real>,
    ),
) {
    let lanes = Lanes::<S, E::Real>::LANES;
    let group = GROUP * lanes;
    let [whole, last] = groups(scores.len(), group);
    let zero = E::Real::default();
    let last_scores = padded(&scores[whole..], E::from_real(zero));
    let last_excluded = padded(&excluded[whole..], 1);
    let last_weights = padded(&weights[whole..], zero);
    let parts = [
        (&scores[..whole], &excluded[..whole], &weights[..whole]),
        (
            &last_scores[..last],
            &last_excluded[..last],
            &last_weights[..last],
        ),
    ];
    for (scores, excluded, weights) in parts {
        let groups = scores.chunks_exact(group).zip(excluded.chunks_exact(group));
        for ((scores, excluded), weights) in groups.zip(weights.chunks_exact(group)) {
            for place in 0..GROUP {
                let at = place * lanes..(place + 1) * lanes;
                let negatives = Lanes::<S, E::Real>::zeros(&excluded[at.clone()]);
                let scores = E::load::<S>(&scores[at.clone()]);
                each(place, scores, negatives, Vector::load(&weights[at]));
            }
        }
    }
}

/// The sum of all lanes.
#[inline(always)]
fn total<S: Simd, R: Real>(sums: [Lanes<S, R>; GROUP]) -> f64 {
    let mut lanes = [R::default(); MAX_LANES];
    let [a, b, c, d] = sums;
    a.add(b).add(c.add(d)).store(&mut lanes);
    fold(lanes.map(R::to_f64), |a, b| a + b)
}

/// What `f` makes of all, two by two.
#[inline(always)]
fn fold<T: Copy>(mut lanes: [T; MAX_LANES], f: impl Fn(T, T) -> T) -> T {
    let mut half = MAX_LANES;
    while half > 1 {
        half /= 2;
        for lane in 0..half {
            lanes[lane] = f(lanes[lane], lanes[lane + half]);
        }
    }
    lanes[0]
}

/// The lanes of the mask whose score is not minus infinity.
#[inline(always)]
fn weighty<S: Simd, R: Real>(
    negatives: <Lanes<S, R> as Vector>::Mask,
    scores: Lanes<S, R>,
) -> <Lanes<S, R> as Vector>::Mask {
    scores.not_below(negatives, Lanes::<S, R>::splat(R::MIN))
}

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
fn zeros<S: Simd>(bytes: &[u8]) -> usize {
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

/// Sums up `softplus(z)` over the negatives, with their weights if they have some; to NaN if one
/// of these is negative.
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

/// Writes a function of the scores of negatives, which may stand in `out`, and 0 for the others.
#[inline(always)]
fn map<S: Simd, E: Element, const STREAM: bool>(
    scores: Option<&[E]>,
    excluded: &[u8],
    ahead: usize,
    out: &mut [E],
    each: impl Fn(Lanes<S, E::Real>, <Lanes<S, E::Real> as Vector>::Mask) -> Lanes<S, E::Real>,
) {
    let lanes = Lanes::<S, E::Real>::LANES;
    let group = GROUP * lanes;
    let [whole, last] = groups(out.len(), group);
    let (out, tail) = out.split_at_mut(whole);
    let mut last_out = padded(tail, E::from_real(E::Real::default()));
    let last_excluded = padded(&excluded[whole..], 1);
    if let Some(scores) = scores {
        last_out[..tail.len()].copy_from_slice(&scores[whole..]);
    }
    let parts = [
        (scores, &excluded[..whole], out),
        (None, &last_excluded[..last], &mut last_out[..last]),
    ];
    for (scores, excluded, out) in parts {
        let groups = out
            .chunks_exact_mut(group)
            .zip(excluded.chunks_exact(group));
        for (index, (out, excluded)) in groups.enumerate() {
            let mut values = [Lanes::<S, E::Real>::splat(E::Real::default()); GROUP];
            let from = match scores {
                Some(scores) => &scores[index * group..][..group],
                None => &*out,
            };
            S::prefetch(excluded.as_ptr().wrapping_add(ahead));
            for place in 0..GROUP {
                S::prefetch(from[place * lanes..].as_ptr().wrapping_add(CHUNK));
                values[place] = E::load::<S>(&from[place * lanes..]);
            }
            for place in 0..GROUP {
                let at = place * lanes..(place + 1) * lanes;
                let negatives = Lanes::<S, E::Real>::zeros(&excluded[at.clone()]);
                let value = each(values[place], negatives);
                match STREAM {
                    true => E::stream::<S>(value, &mut out[at]),
                    false => E::store::<S>(value, &mut out[at]),
                }
            }
        }
    }
    tail.copy_from_slice(&last_out[..tail.len()]);
}

/// Writes `exp(x) factor` for the negatives, 0 for the others.
pub struct Softmax<'a, E: Element> {
    /// `None` if they stand in `out`.
    pub scores: Option<&'a [E]>,
    pub excluded: &'a [u8],
    pub scale: Scale<E::Real>,
    pub factor: E::Real,
    /// Where the mask goes on.
    pub ahead: usize,
    /// Whether it is too much for the caches. A [`Fence`] must follow.
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

/// Has all see what was streamed before they see what follows.
pub struct Fence;

impl Kernel for Fence {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        S::fence();
    }
}

/// Adds `sigmoid(z) factor` for the negatives.
pub struct AddSigmoid<'a, R: Real> {
    pub scores: &'a [R],
    pub excluded: &'a [u8],
    pub logit: Logit<R>,
    pub factor: R,
    pub out: &'a mut [R],
}

impl<R: Real> Kernel for AddSigmoid<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let logit = self.logit;
        let zero = Lanes::<S, R>::splat(R::default());
        let factor = Lanes::<S, R>::splat(self.factor);
        let mut slopes = [R::default(); CHUNK];
        let slopes = &mut slopes[..self.out.len()];
        map::<S, R, false>(
            Some(self.scores),
            self.excluded,
            0,
            slopes,
            #[inline(always)]
            |scores, negatives| {
                let some = weighty::<S, R>(negatives, scores);
                let slope = sigmoid_where::<S, R>(some, logit.of::<S>(scores));
                slope.mul(factor).select(some, zero)
            },
        );
        for (out, &slope) in self.out.iter_mut().zip(&*slopes) {
            *out = out.add(slope);
        }
    }
}

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

/// Writes what a curve makes of scores.
pub fn bend<R: Real>(isa: Isa, scores: &[R], bend: Bend<R>, out: &mut [R]) {
    isa.vectorize(
        #[inline(always)]
        || {
            for (out, &score) in out.iter_mut().zip(scores) {
                *out = bend.value(score);
            }
        },
    );
}

/// Multiplies the gradients of what a curve made of the scores of negatives by its slopes.
pub fn unbend<R: Real>(isa: Isa, scores: &[R], excluded: &[u8], bend: Bend<R>, out: &mut [R]) {
    isa.vectorize(
        #[inline(always)]
        || {
            for ((out, &score), &excluded) in out.iter_mut().zip(scores).zip(excluded) {
                let gradient = out.mul(bend.slope(score));
                *out = if excluded == 0 { gradient } else { *out };
            }
        },
    );
}

/// Multiplies what was written for the negatives by their weights.
pub fn weigh<R: Real>(isa: Isa, excluded: &[u8], weights: &[R], out: &mut [R]) {
    isa.vectorize(
        #[inline(always)]
        || {
            for ((out, &weight), &excluded) in out.iter_mut().zip(weights).zip(excluded) {
                let weighted = out.mul(weight);
                *out = if excluded == 0 { weighted } else { *out };
            }
        },
    );
}
