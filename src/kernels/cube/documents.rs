//! Adjacent documents of a row, as many as are read at a time.

use cubecl::prelude::*;

use super::{
    batch::{Batch, Matrix, Pairs},
    row::{INFINITY, NEG_INFINITY, magnitude},
};

/// What is known of documents beside their scores.
#[derive(CubeType)]
pub struct Judgements<B: Int, C: Int, N: Size> {
    positives: Vector<B, N>,
    candidates: Vector<C, N>,
}

#[cube]
impl<B: Int, C: Int, N: Size> Judgements<B, C, N> {
    /// The `i`th vector of a row. All documents are candidates, where there is no mask.
    pub fn load(pairs: &Pairs<B, C, N>, row: usize, i: usize) -> Judgements<B, C, N> {
        Judgements::<B, C, N> {
            positives: pairs.positives.at(row, i),
            candidates: candidates_at::<C, N>(&pairs.candidates, row, i),
        }
    }

    pub fn is_positive(&self, #[comptime] k: usize) -> bool {
        self.positives.extract(k) != B::from_int(0) && self.candidates.extract(k) != C::from_int(0)
    }

    pub fn is_negative(&self, #[comptime] k: usize) -> bool {
        self.positives.extract(k) == B::from_int(0) && self.candidates.extract(k) != C::from_int(0)
    }

    pub fn are_negatives(&self) -> bool {
        let mut positive = self.positives.extract(0usize);
        let mut candidates = self.candidates.extract(0usize) != C::from_int(0);
        #[unroll]
        for k in 1..N::value() {
            positive |= self.positives.extract(k);
            candidates = candidates && self.candidates.extract(k) != C::from_int(0);
        }
        positive == B::from_int(0) && candidates
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
    judgements: Judgements<B, C, N>,
}

#[cube]
impl<F: Float, B: Int, C: Int, N: Size> Documents<F, B, C, N> {
    /// The `i`th vector of a row.
    pub fn load<I: Int>(
        batch: &Batch<F, B, C, I, N>,
        row: usize,
        i: usize,
    ) -> Documents<F, B, C, N> {
        Documents::<F, B, C, N> {
            column: (i * N::value()) as u32,
            scores: batch.scores.at(row, i),
            judgements: Judgements::<B, C, N>::load(&batch.pairs, row, i),
        }
    }

    /// `count` vectors of a row, from the `i`th on and `step` apart, on their way all at once;
    /// the last of the row stands in for those behind it.
    pub fn load_ahead<I: Int>(
        batch: &Batch<F, B, C, I, N>,
        row: usize,
        i: usize,
        step: usize,
        #[comptime] count: usize,
    ) -> Sequence<Documents<F, B, C, N>> {
        let mut loaded = Sequence::<Documents<F, B, C, N>>::new();
        #[unroll]
        for k in 0..count {
            let at = (i + k * step).min(batch.pairs.vectors - 1);
            loaded.push(Documents::<F, B, C, N>::load::<I>(batch, row, at));
        }
        loaded
    }

    pub fn score(&self, #[comptime] k: usize) -> f32 {
        f32::cast_from(self.scores.extract(k))
    }

    pub fn is_positive(&self, #[comptime] k: usize) -> bool {
        self.judgements.is_positive(k)
    }

    /// Whether it is a negative that has a weight: not if its score is minus infinity.
    pub fn is_negative(&self, #[comptime] k: usize) -> bool {
        self.judgements.is_negative(k) && u32::reinterpret(self.score(k)) != NEG_INFINITY
    }

    /// Whether all are negatives that have finite scores, as nearly always.
    pub fn are_negatives(&self) -> bool {
        let mut largest = magnitude(self.score(0usize));
        #[unroll]
        for k in 1..N::value() {
            largest = largest.max(magnitude(self.score(k)));
        }
        largest < INFINITY && self.judgements.are_negatives()
    }
}
