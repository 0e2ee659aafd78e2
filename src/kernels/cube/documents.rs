//! Adjacent documents of a row, as many as are read at a time.

use cubecl::prelude::*;

use super::{
    batch::{Batch, Matrix, Pairs, Query},
    curve::{self, Curve},
    row::{INFINITY, NEG_INFINITY, magnitude},
};

/// What is known of documents beside their scores.
#[derive(CubeType)]
pub struct Judgements<B: Int, C: Int, N: Size> {
    positives: Vector<B, N>,
    candidates: Vector<C, N>,
    weights: ComptimeOption<Vector<f32, N>>,
}

#[cube]
impl<B: Int, C: Int, N: Size> Judgements<B, C, N> {
    /// The `i`th vector of a row. All documents are candidates, where there is no mask.
    pub fn load(pairs: &Pairs<B, C, N>, row: usize, i: usize) -> Judgements<B, C, N> {
        Judgements::<B, C, N> {
            positives: pairs.positives.at(row, i),
            candidates: candidates_at::<C, N>(&pairs.candidates, row, i),
            weights: pairs.weights.as_ref().map(|weights| weights.at(row, i)),
        }
    }

    pub fn is_positive(&self, #[comptime] k: usize) -> bool {
        self.positives.extract(k) != B::from_int(0) && self.is_candidate(k)
    }

    pub fn is_negative(&self, #[comptime] k: usize) -> bool {
        self.positives.extract(k) == B::from_int(0) && self.is_candidate(k)
    }

    /// Whether it is not ignored, by the mask or by a weight of 0.
    fn is_candidate(&self, #[comptime] k: usize) -> bool {
        let candidate = self.candidates.extract(k) != C::from_int(0);
        #[comptime]
        match &self.weights {
            ComptimeOption::Some(weights) => candidate && magnitude(weights.extract(k)) != 0,
            ComptimeOption::None => candidate,
        }
    }

    /// Whether all are negatives whose weights are finite and positive.
    pub fn are_negatives(&self) -> bool {
        let mut positive = self.positives.extract(0usize);
        let mut candidates = self.candidates.extract(0usize) != C::from_int(0);
        #[unroll]
        for k in 1..N::value() {
            positive |= self.positives.extract(k);
            candidates = candidates && self.candidates.extract(k) != C::from_int(0);
        }
        positive == B::from_int(0) && candidates && self.have_weights()
    }

    fn have_weights(&self) -> bool {
        #[comptime]
        match &self.weights {
            ComptimeOption::Some(weights) => {
                let mut smallest = u32::reinterpret(weights.extract(0usize));
                let mut largest = u32::reinterpret(weights.extract(0usize));
                #[unroll]
                for k in 1..N::value() {
                    smallest = smallest.min(u32::reinterpret(weights.extract(k)));
                    largest = largest.max(u32::reinterpret(weights.extract(k)));
                }
                smallest > 0 && largest < INFINITY
            }
            ComptimeOption::None => true.runtime(),
        }
    }

    /// Whether its weight is none: NaN or negative.
    pub fn is_weightless(&self, #[comptime] k: usize) -> bool {
        #[comptime]
        match &self.weights {
            ComptimeOption::Some(weights) => u32::reinterpret(weights.extract(k)) > INFINITY,
            ComptimeOption::None => false.runtime(),
        }
    }

    pub fn weight(&self, #[comptime] k: usize) -> f32 {
        #[comptime]
        match &self.weights {
            ComptimeOption::Some(weights) => weights.extract(k),
            ComptimeOption::None => 1.0f32.runtime(),
        }
    }

    /// Its weight; if that is none, what makes every sum negative.
    pub fn weight_or_lowest(&self, #[comptime] k: usize) -> f32 {
        select(self.is_weightless(k), f32::min_value(), self.weight(k))
    }

    /// A value times the weight.
    pub fn weigh(&self, #[comptime] k: usize, value: f32) -> f32 {
        #[comptime]
        match &self.weights {
            ComptimeOption::Some(weights) => weights.extract(k) * value,
            ComptimeOption::None => value,
        }
    }
}

#[cube]
fn candidates_at<C: Int, N: Size>(
    candidates: &ComptimeOption<Matrix<Vector<C, N>>>,
    row: usize,
    i: usize,
) -> Vector<C, N> {
    #[comptime]
    match candidates {
        ComptimeOption::Some(candidates) => candidates.at(row, i),
        ComptimeOption::None => Vector::new(C::from_int(1)),
    }
}

/// Documents and their scores.
#[derive(CubeType)]
pub struct Documents<F: Float, B: Int, C: Int, N: Size> {
    /// The column of the first.
    pub column: u32,
    scores: Vector<F, N>,
    pub judgements: Judgements<B, C, N>,
    /// What becomes of the scores.
    curve: ComptimeOption<Curve>,
    /// The largest score of a negative that is believed.
    ceiling: ComptimeOption<f32>,
}

#[cube]
impl<F: Float, B: Int, C: Int, N: Size> Documents<F, B, C, N> {
    /// The `i`th vector of a row.
    pub fn load<I: Int>(
        batch: &Batch<F, B, C, I, N>,
        query: &Query<I>,
        i: usize,
    ) -> Documents<F, B, C, N> {
        Documents::<F, B, C, N> {
            column: (i * N::value()) as u32,
            scores: batch.scores.at(query.row, i),
            judgements: Judgements::<B, C, N>::load(&batch.pairs, query.row, i),
            curve: batch.curve.as_ref().map(|curve| curve.copy()),
            ceiling: query.ceiling,
        }
    }

    /// `count` vectors of a row, from the `i`th on and `step` apart, on their way all at once;
    /// the last of the row stands in for those behind it.
    pub fn load_ahead<I: Int>(
        batch: &Batch<F, B, C, I, N>,
        query: &Query<I>,
        i: usize,
        step: usize,
        #[comptime] count: usize,
    ) -> Sequence<Documents<F, B, C, N>> {
        let mut loaded = Sequence::<Documents<F, B, C, N>>::new();
        #[unroll]
        for k in 0..count {
            let at = (i + k * step).min(batch.pairs.vectors - 1);
            loaded.push(Documents::<F, B, C, N>::load::<I>(batch, query, at));
        }
        loaded
    }

    fn score(&self, #[comptime] k: usize) -> f32 {
        f32::cast_from(self.scores.extract(k))
    }

    /// What becomes of its score, being that of a negative.
    pub fn of_negative(&self, #[comptime] k: usize) -> f32 {
        curve::of_negative(&self.curve, self.score(k))
    }

    /// The gradient of the score of a negative, given that of what became of it.
    pub fn through_negative(&self, #[comptime] k: usize, gradient: f32) -> f32 {
        curve::through_negative(&self.curve, self.score(k), gradient)
    }

    /// What becomes of its score, being that of a positive.
    pub fn of_positive(&self, #[comptime] k: usize) -> f32 {
        curve::of_positive(&self.curve, self.score(k))
    }

    /// The gradient of the score of a positive, given that of what became of it.
    pub fn through_positive(&self, #[comptime] k: usize, gradient: f32) -> f32 {
        curve::through_positive(&self.curve, self.score(k), gradient)
    }

    pub fn is_positive(&self, #[comptime] k: usize) -> bool {
        self.judgements.is_positive(k)
    }

    /// Whether it is a negative that counts: not if its score is minus infinity.
    pub fn is_negative(&self, #[comptime] k: usize) -> bool {
        self.judgements.is_negative(k)
            && u32::reinterpret(self.score(k)) != NEG_INFINITY
            && self.is_believed(k)
    }

    /// Whether its score does not lie above the ceiling.
    fn is_believed(&self, #[comptime] k: usize) -> bool {
        #[comptime]
        match &self.ceiling {
            ComptimeOption::Some(ceiling) => {
                let score = self.score(k);
                score <= *ceiling || magnitude(score) > INFINITY
            }
            ComptimeOption::None => true.runtime(),
        }
    }

    /// Whether all are negatives that have finite scores, as nearly always.
    pub fn are_negatives(&self) -> bool {
        let mut largest = magnitude(self.score(0usize));
        #[unroll]
        for k in 1..N::value() {
            largest = largest.max(magnitude(self.score(k)));
        }
        largest < INFINITY && self.judgements.are_negatives() && self.are_believed()
    }

    fn are_believed(&self) -> bool {
        #[comptime]
        match &self.ceiling {
            ComptimeOption::Some(ceiling) => {
                let mut largest = self.score(0usize);
                #[unroll]
                for k in 1..N::value() {
                    largest = largest.max(self.score(k));
                }
                largest <= *ceiling
            }
            ComptimeOption::None => true.runtime(),
        }
    }
}
