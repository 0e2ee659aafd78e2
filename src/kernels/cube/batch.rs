//! What the kernels are given of a batch.

use cubecl::prelude::*;

use super::curve::Curve;

/// A matrix whose rows may have gaps behind them, or be the same for all.
#[derive(CubeType, CubeLaunch)]
pub struct Matrix<T: CubePrimitive> {
    entries: OwnedTensor<T>,
    /// How far apart the rows are.
    stride: usize,
}

#[cube]
impl<T: CubePrimitive> Matrix<T> {
    pub fn at(&self, row: usize, i: usize) -> T {
        self.entries[row * self.stride + i]
    }
}

/// What is known of the pairs of a query and a document.
#[derive(CubeType, CubeLaunch)]
pub struct Pairs<B: Int, C: Int, N: Size> {
    /// The number of queries.
    pub rows: usize,
    /// The vectors of a row.
    pub vectors: usize,
    pub positives: Matrix<Vector<B, N>>,
    pub candidates: ComptimeOption<Matrix<Vector<C, N>>>,
    pub weights: ComptimeOption<Matrix<Vector<f32, N>>>,
}

/// The scores of a batch, and what is known of its pairs and queries.
#[derive(CubeType, CubeLaunch)]
pub struct Batch<F: Float, B: Int, C: Int, I: Int, N: Size> {
    pub scores: Matrix<Vector<F, N>>,
    pub pairs: Pairs<B, C, N>,
    /// What becomes of the scores before anything is summed up.
    pub curve: ComptimeOption<Curve>,
    /// The largest score of each query's negatives that is believed.
    ceilings: ComptimeOption<OwnedTensor<f32>>,
    /// The column of the only positive of each query.
    chosen: ComptimeOption<OwnedTensor<I>>,
}

#[cube]
impl<F: Float, B: Int, C: Int, I: Int, N: Size> Batch<F, B, C, I, N> {
    pub fn query(&self, row: usize) -> Query<I> {
        Query::<I> {
            row,
            ceiling: self.ceilings.as_ref().map(|ceilings| ceilings[row]),
            chosen: self.chosen.as_ref().map(|chosen| chosen[row]),
        }
    }
}

/// A query, its row of the scores and what is known of it alone.
#[derive(CubeType)]
pub struct Query<I: Int> {
    pub row: usize,
    /// The largest score of its negatives that is believed.
    pub ceiling: ComptimeOption<f32>,
    /// The column of its only positive.
    chosen: ComptimeOption<I>,
}

#[cube]
impl<I: Int> Query<I> {
    /// Whether the positive at `column` stays one: all do, unless one was chosen.
    pub fn keeps(&self, column: u32) -> bool {
        #[comptime]
        match &self.chosen {
            ComptimeOption::Some(choice) => {
                // There and back: a choice that is no u32 is no column.
                let index = u32::cast_from(*choice);
                index == column && I::cast_from(index) == *choice
            }
            ComptimeOption::None => true.runtime(),
        }
    }
}
