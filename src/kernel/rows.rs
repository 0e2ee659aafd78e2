//! All queries of a batch, spread over the threads.

use rayon::prelude::*;

use super::{
    backward::Backward,
    element::Element,
    forward::Forward,
    isa::Isa,
    row::{Row, Scratch},
};
use crate::statistics::table::{Request, WIDTH};

/// Scores per task below which a thread costs more than it brings.
const SCORES_PER_TASK: usize = 1 << 14;

/// A matrix whose rows are contiguous, and may overlap.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    stride: usize,
    shape: [usize; 2],
}

impl<'a, T> Matrix<'a, T> {
    /// Row `i` is `data[i * stride ..][.. columns]`.
    pub fn new(data: &'a [T], stride: usize, shape: [usize; 2]) -> Self {
        Self {
            data,
            stride,
            shape,
        }
    }

    fn row(&self, row: usize) -> &'a [T] {
        &self.data[row * self.stride..][..self.shape[1]]
    }
}

/// The targets of a batch; a mask entry is true unless it is 0.
#[derive(Clone, Copy)]
pub struct Masks<'a> {
    pub positives: Matrix<'a, u8>,
    pub candidates: Option<Matrix<'a, u8>>,
    /// For each query the column that is its only positive.
    pub chosen: Option<&'a [i64]>,
}

impl<'a> Masks<'a> {
    fn row(&self, row: usize) -> Row<'a> {
        Row {
            positives: self.positives.row(row),
            candidates: self.candidates.map(|candidates| candidates.row(row)),
            chosen: self.chosen.map(|chosen| chosen[row]),
        }
    }
}

/// The table of statistics, a row of [`WIDTH`] for each query.
pub fn forward<E: Element>(scores: Matrix<E>, masks: Masks, request: Request) -> Vec<E::Real> {
    let [queries, documents] = scores.shape;
    let mut table = vec![E::Real::default(); queries * WIDTH];
    let isa = Isa::best();
    for_rows(&mut table, WIDTH, documents, |scratch, query, table| {
        isa.run(Forward {
            scores: scores.row(query),
            row: masks.row(query),
            request,
            table,
            scratch,
        });
    });
    table
}

/// The gradient of the scores, given the table and its gradient; the scores stand in `out` if they
/// are `None`.
pub fn backward<E: Element>(
    scores: Option<Matrix<E>>,
    masks: Masks,
    request: Request,
    table: &[E::Real],
    upstream: &[E::Real],
    out: &mut [E],
) {
    let [_, documents] = masks.positives.shape;
    let isa = Isa::best();
    for_rows(out, documents, documents, |scratch, query, out| {
        isa.run(Backward {
            scores: scores.map(|scores| scores.row(query)),
            row: masks.row(query),
            request,
            table: &table[query * WIDTH..][..WIDTH],
            upstream: &upstream[query * WIDTH..][..WIDTH],
            out,
            scratch,
        });
    });
}

/// Calls `each` with buffers, the query, and its `width` entries of `out`.
fn for_rows<T: Send, E: Element>(
    out: &mut [T],
    width: usize,
    documents: usize,
    each: impl Fn(&mut Scratch<E>, usize, &mut [T]) + Sync,
) {
    if width == 0 {
        return;
    }
    let queries = out.len() / width;
    if queries * documents < 2 * SCORES_PER_TASK {
        let mut scratch = Scratch::default();
        for (query, out) in out.chunks_mut(width).enumerate() {
            each(&mut scratch, query, out);
        }
    } else {
        out.par_chunks_mut(width)
            .enumerate()
            .with_min_len(SCORES_PER_TASK.div_ceil(documents.max(1)))
            .for_each_init(Scratch::default, |scratch, (query, out)| {
                each(scratch, query, out)
            });
    }
}
