//! Loops over a block of scores. `excluded` is 0 where the score is that of a negative.

use super::{curve::Bend, real::Real};
use crate::kernels::table::Request;

/// Scores handled at a time: a block and its buffers stay in the first-level cache.
pub const CHUNK: usize = 1024;

/// Independent sums, enough to keep the widest vectors and the adders busy.
const LANES: usize = 32;

/// Scores relative to a reference: `(score - reference) / temperature`.
#[derive(Clone, Copy)]
pub struct Scale<R> {
    half_reference: R,
    double_inverse: R,
}

impl<R: Real> Scale<R> {
    pub fn new(reference: R, temperature: f64) -> Self {
        Self {
            half_reference: R::from_f64(-0.5).mul(reference),
            double_inverse: R::from_f64(2.0 / temperature),
        }
    }

    /// The difference to the reference over 2: the difference of finite halves is finite.
    #[inline(always)]
    fn half_difference<const FMA: bool>(self, score: R) -> R {
        score.mul_add::<FMA>(R::from_f64(0.5), self.half_reference)
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
    fn of<const FMA: bool>(self, score: R) -> R {
        score.mul_add::<FMA>(self.inverse, self.bias)
    }
}

/// Calls `each` with its lane, the score, and whether it is a negative's.
#[inline(always)]
fn for_each<R: Real>(scores: &[R], excluded: &[u8], mut each: impl FnMut(usize, R, bool)) {
    let (scores, last_scores) = scores.as_chunks::<LANES>();
    let (excluded, last_excluded) = excluded.as_chunks::<LANES>();
    for (scores, excluded) in scores.iter().zip(excluded) {
        for lane in 0..LANES {
            each(lane, scores[lane], excluded[lane] == 0);
        }
    }
    for (lane, (&score, &excluded)) in last_scores.iter().zip(last_excluded).enumerate() {
        each(lane, score, excluded == 0);
    }
}

/// Excludes the documents whose `values` say so.
#[inline(always)]
pub fn exclude<R: Real>(excluded: &mut [u8], values: &[R], is_out: impl Fn(R) -> bool) {
    let (excluded, last_excluded) = excluded.as_chunks_mut::<LANES>();
    let (values, last_values) = values.as_chunks::<LANES>();
    for (excluded, values) in excluded.iter_mut().zip(values) {
        // A new value, as in `max`.
        let mut flags = [0; LANES];
        for lane in 0..LANES {
            flags[lane] = excluded[lane] | u8::from(is_out(values[lane]));
        }
        *excluded = flags;
    }
    for (excluded, &value) in last_excluded.iter_mut().zip(last_values) {
        *excluded |= u8::from(is_out(value));
    }
}

/// The largest score of a negative, minus infinity if there is none; passes over NaN.
#[inline(always)]
pub fn max<R: Real>(scores: &[R], excluded: &[u8]) -> R {
    let larger = |a: R, b: R| if b > a { b } else { a };
    let negative = |score: R, excluded: u8| match excluded {
        0 => score,
        _ => R::NEG_INFINITY,
    };
    let (scores, last_scores) = scores.as_chunks::<LANES>();
    let (excluded, last_excluded) = excluded.as_chunks::<LANES>();
    let mut lanes = [R::NEG_INFINITY; LANES];
    for (scores, excluded) in scores.iter().zip(excluded) {
        // A new value, not a loop over places in memory: the lanes stay in registers. A loop, not
        // `array::from_fn`: that may become a call, compiled for the lowest common denominator.
        let mut largest = [R::NEG_INFINITY; LANES];
        for lane in 0..LANES {
            largest[lane] = larger(lanes[lane], negative(scores[lane], excluded[lane]));
        }
        lanes = largest;
    }
    let last = last_scores.iter().zip(last_excluded);
    let last = last.map(|(&score, &excluded)| negative(score, excluded));
    last.chain(lanes).fold(R::NEG_INFINITY, larger)
}

/// The sum of `exp(x)` over the negatives, and how many of them have weight.
#[inline(always)]
pub fn sum_exp<const FMA: bool, R: Real>(
    scores: &[R],
    excluded: &[u8],
    scale: Scale<R>,
) -> (f64, u64) {
    let mut sums = [R::default(); LANES];
    let mut counts = [0u32; LANES];
    for_each(scores, excluded, |lane, score, negative| {
        let score = if negative { score } else { R::NEG_INFINITY };
        counts[lane] += u32::from(score != R::NEG_INFINITY);
        let x = scale
            .half_difference::<FMA>(score)
            .mul(scale.double_inverse);
        sums[lane] = sums[lane].add(x.exp::<FMA>());
    });
    (
        sums.into_iter().map(R::to_f64).sum(),
        counts.into_iter().map(u64::from).sum(),
    )
}

/// The sum of `weight exp(x)` over the negatives, NaN if a weight is negative, and how many of them
/// have weight.
#[inline(always)]
pub fn weighted_sum_exp<const FMA: bool, R: Real>(
    scores: &[R],
    excluded: &[u8],
    weights: &[R],
    scale: Scale<R>,
) -> (f64, u64) {
    let mut sums = [R::default(); LANES];
    let mut counts = [0u32; LANES];
    let mut add = |lane: usize, score: R, excluded: u8, weight: R| {
        let score = if excluded == 0 {
            score
        } else {
            R::NEG_INFINITY
        };
        // Of the others nothing is to be seen, infinite weights included.
        let weight = if excluded == 0 { weight } else { R::default() };
        let weight = if weight < R::default() {
            R::NAN
        } else {
            weight
        };
        counts[lane] += u32::from(score != R::NEG_INFINITY);
        let x = scale
            .half_difference::<FMA>(score)
            .mul(scale.double_inverse);
        sums[lane] = sums[lane].add(x.exp::<FMA>().mul(weight));
    };
    let (scores, last_scores) = scores.as_chunks::<LANES>();
    let (excluded, last_excluded) = excluded.as_chunks::<LANES>();
    let (weights, last_weights) = weights.as_chunks::<LANES>();
    for ((scores, excluded), weights) in scores.iter().zip(excluded).zip(weights) {
        for lane in 0..LANES {
            add(lane, scores[lane], excluded[lane], weights[lane]);
        }
    }
    let last = last_scores.iter().zip(last_excluded).zip(last_weights);
    for (lane, ((&score, &excluded), &weight)) in last.enumerate() {
        add(lane, score, excluded, weight);
    }
    (
        sums.into_iter().map(R::to_f64).sum(),
        counts.into_iter().map(u64::from).sum(),
    )
}

/// How many negatives have weight, and whether one is NaN.
#[inline(always)]
pub fn count<R: Real>(scores: &[R], excluded: &[u8]) -> (u64, bool) {
    let mut counts = [0u32; LANES];
    let mut unordered = [0u32; LANES];
    for_each(scores, excluded, |lane, score, negative| {
        let score = if negative { score } else { R::NEG_INFINITY };
        counts[lane] += u32::from(score != R::NEG_INFINITY);
        unordered[lane] |= u32::from(score.partial_cmp(&score).is_none());
    });
    (
        counts.into_iter().map(u64::from).sum(),
        unordered.into_iter().any(|lane| lane != 0),
    )
}

/// The sum of `softplus(z)` over the negatives, with their weights if they have some; NaN if one
/// of these is negative.
#[inline(always)]
pub fn sum_softplus<const FMA: bool, R: Real>(
    scores: &[R],
    excluded: &[u8],
    weights: Option<&[R]>,
    logit: Logit<R>,
) -> f64 {
    let mut sums = [R::default(); LANES];
    let mut add = |lane: usize, score: R, negative: bool, weight: R| {
        let score = if negative { score } else { R::NEG_INFINITY };
        let weight = if negative { weight } else { R::default() };
        let weight = if weight < R::default() {
            R::NAN
        } else {
            weight
        };
        // Minus infinity times a large temperature's inverse of 0 would be NaN.
        let loss = logit.of::<FMA>(score).softplus::<FMA>().mul(weight);
        let loss = if score == R::NEG_INFINITY {
            R::default()
        } else {
            loss
        };
        sums[lane] = sums[lane].add(loss);
    };
    match weights {
        None => {
            let one = R::from_f64(1.0);
            for_each(scores, excluded, |lane, score, negative| {
                add(lane, score, negative, one)
            });
        }
        Some(weights) => {
            let entries = scores.iter().zip(excluded).zip(weights);
            for (index, ((&score, &excluded), &weight)) in entries.enumerate() {
                add(index % LANES, score, excluded == 0, weight);
            }
        }
    }
    sums.into_iter().map(R::to_f64).sum()
}

/// Adds `sigmoid(z) factor` for the negatives.
#[inline(always)]
pub fn add_sigmoid<const FMA: bool, R: Real>(
    scores: &[R],
    excluded: &[u8],
    logit: Logit<R>,
    factor: R,
    out: &mut [R],
) {
    for ((out, &score), &excluded) in out.iter_mut().zip(scores).zip(excluded) {
        let value = logit.of::<FMA>(score).sigmoid::<FMA>().mul(factor);
        let counts = excluded == 0 && score != R::NEG_INFINITY;
        *out = out.add(if counts { value } else { R::default() });
    }
}

/// Writes what a curve makes of scores.
#[inline(always)]
pub fn bend<R: Real>(scores: &[R], bend: Bend<R>, out: &mut [R]) {
    for (out, &score) in out.iter_mut().zip(scores) {
        *out = bend.value(score);
    }
}

/// Multiplies the gradients of what a curve made of the scores of negatives by its slopes.
#[inline(always)]
pub fn unbend<R: Real>(scores: &[R], excluded: &[u8], bend: Bend<R>, out: &mut [R]) {
    for ((out, &score), &excluded) in out.iter_mut().zip(scores).zip(excluded) {
        let gradient = out.mul(bend.slope(score));
        *out = if excluded == 0 { gradient } else { *out };
    }
}

/// Multiplies what was written for the negatives by their weights.
#[inline(always)]
pub fn weigh<R: Real>(excluded: &[u8], weights: &[R], out: &mut [R]) {
    for ((out, &weight), &excluded) in out.iter_mut().zip(weights).zip(excluded) {
        let weighted = out.mul(weight);
        *out = if excluded == 0 { weighted } else { *out };
    }
}

/// Writes `exp(x - log_sum) factor` for the negatives, 0 for the others.
#[inline(always)]
pub fn softmax<const FMA: bool, R: Real>(
    scores: &[R],
    excluded: &[u8],
    scale: Scale<R>,
    log_sum: R,
    factor: R,
    out: &mut [R],
) {
    let shift = R::from_f64(-1.0).mul(log_sum);
    let one = |score: R, excluded: u8| {
        let x = scale
            .half_difference::<FMA>(score)
            .mul_add::<FMA>(scale.double_inverse, shift);
        let value = x.exp::<FMA>().mul(factor);
        if excluded == 0 { value } else { R::default() }
    };
    let (scores, last_scores) = scores.as_chunks::<LANES>();
    let (excluded, last_excluded) = excluded.as_chunks::<LANES>();
    let (out, last_out) = out.as_chunks_mut::<LANES>();
    for ((scores, excluded), out) in scores.iter().zip(excluded).zip(out) {
        for lane in 0..LANES {
            out[lane] = one(scores[lane], excluded[lane]);
        }
    }
    for ((&score, &excluded), out) in last_scores.iter().zip(last_excluded).zip(last_out) {
        *out = one(score, excluded);
    }
}
