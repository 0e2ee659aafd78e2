//! Loops over a chunk of a row, its scores and bytes. `excluded` is 0 where the score is
//! that of a negative.
//!
//! Here is what they share: vectors in groups, the last group made up. [`scale`] brings
//! scores to exponents, [`masks`] are bytes, [`sums`] what a row is summed up to,
//! [`gradients`] what is written, and [`convert`] changes types.

mod convert;
mod gradients;
mod masks;
mod scale;
mod sums;

use super::{
    element::Element,
    real::{Lanes, Real},
    simd::{MAX_LANES, Simd, Vector},
};

pub use convert::{Narrow, Widen};
pub use gradients::{Add, Fence, Sigmoid, Softmax, Weigh};
pub use masks::{ExcludeAbove, Find, exclude_weightless};
pub use scale::{Logit, Scale};
pub use sums::{Count, Extremes, FindExtremes, SumExp, SumSoftplus, WeightedSumExp};

/// Scores handled at a time: a chunk of f32 and its mask, and those that come next, stay
/// in the first-level cache.
pub const CHUNK: usize = if cfg!(miri) { 64 } else { 2048 };

/// Vectors handled at a time, whose sums do not wait for each other.
const GROUP: usize = 4;

/// Entries of a group at most.
const PADDED: usize = GROUP * MAX_LANES;

/// The entries behind the last whole group, made up to a group.
#[inline(always)]
pub fn padded<T: Copy>(tail: &[T], pad: T) -> [T; PADDED] {
    let mut padded = [pad; PADDED];
    if !tail.is_empty() {
        padded[..tail.len()].copy_from_slice(tail);
    }
    padded
}

/// How many of `len` entries fill whole groups of `group`, and how many the last one has,
/// made up: none or all.
#[inline(always)]
fn groups(len: usize, group: usize) -> [usize; 2] {
    let whole = len / group * group;
    [whole, if whole < len { group } else { 0 }]
}

/// Calls `each` with its place in the group, a vector of scores, and the lanes of
/// negatives.
///
/// With `ahead` it asks for what comes next while it computes: the scores of the next
/// chunk, and the mask so many bytes further on.
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

/// Writes a function of the scores of negatives, which may stand in `out`, and 0 for the
/// others. Asks for what comes next as [`for_each`] does.
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
    // What `out` holds is not looked at where the scores are elsewhere.
    let last_scores = match scores {
        Some(scores) => &scores[whole..],
        None => &*tail,
    };
    let mut last_out = padded(last_scores, E::from_real(E::Real::default()));
    let last_excluded = padded(&excluded[whole..], 1);
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
            for (place, value) in values.iter_mut().enumerate() {
                S::prefetch(from[place * lanes..].as_ptr().wrapping_add(CHUNK));
                *value = E::load::<S>(&from[place * lanes..]);
            }
            for (place, &value) in values.iter().enumerate() {
                let at = place * lanes..(place + 1) * lanes;
                let negatives = Lanes::<S, E::Real>::zeros(&excluded[at.clone()]);
                let value = each(value, negatives);
                match STREAM {
                    true => E::stream::<S>(value, &mut out[at]),
                    false => E::store::<S>(value, &mut out[at]),
                }
            }
        }
    }
    tail.copy_from_slice(&last_out[..tail.len()]);
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
