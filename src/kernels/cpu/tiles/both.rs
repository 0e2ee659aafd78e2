//! Both directions at once: documents are queries as well, and each score serves twice.

use std::ops::Range;

use rayon::prelude::*;

use super::{Embeddings, Gather, Plan, Tile, cut};
use crate::kernels::cpu::{matrix::Matrix, real::Real, row::Scratch, summary::Summary};

/// Queries, or documents, whose summaries one task gathers from a tile.
const STRIP: usize = if cfg!(miri) { 4 } else { 64 };

/// The summaries of all queries, and then those of all documents. `scratch` has
/// [`Plan::scratch_len`] entries.
///
/// A tile is computed at a time, and then gathered both ways.
///
/// # Panics
///
/// If the plan has no targets of the documents.
pub fn forward_both<R: Real>(
    embeddings: Embeddings<R>,
    plan: Plan<R>,
    scratch: &mut [R],
) -> Vec<Summary<R>> {
    let [queries, documents] = embeddings.counts();
    let mut summaries = vec![Summary::default(); queries + documents];
    let (of_queries, of_documents) = summaries.split_at_mut(queries);
    plan.for_each_tile(
        [queries, documents],
        plan.area(),
        scratch,
        |mut tile, ranges| {
            let [rows, columns] = ranges;
            tile.compute(embeddings, |_: &mut (), _, _| ());
            rayon::join(
                || tile.gather_queries(plan, &mut of_queries[rows]),
                || tile.gather_documents(plan, &mut of_documents[columns]),
            );
        },
    );
    summaries
}

impl<R: Real> Tile<'_, R> {
    /// Adds the scores to the summaries of the queries of this tile.
    pub fn gather_queries(&self, plan: Plan<R>, summaries: &mut [Summary<R>]) {
        let [rows, columns] = &self.grid;
        strips(summaries, rows[0].len()).for_each_init(Scratch::default, |scratch, strip| {
            let Strip {
                block: row,
                range,
                summaries,
            } = strip;
            for (column, documents) in columns.iter().enumerate() {
                let scores = self.block(row, column, 0).rows(range.clone());
                let width = documents.len();
                Gather {
                    scores: &scores.data()[..range.len() * width],
                    width,
                    first: [rows[row].start + range.start, documents.start],
                    judgements: plan.judgements,
                    request: plan.request,
                    summaries,
                    scratch,
                }
                .run();
            }
        });
    }

    /// Adds the scores to the summaries of the documents of this tile.
    pub fn gather_documents(&self, plan: Plan<R>, summaries: &mut [Summary<R>]) {
        let judgements = plan.mirrored.expect("targets of the documents");
        let [rows, columns] = &self.grid;
        let buffers = <(Scratch<R>, Vec<R>)>::default;
        strips(summaries, columns[0].len()).for_each_init(buffers, |(scratch, scores), strip| {
            let Strip {
                block: column,
                range,
                summaries,
            } = strip;
            for (row, queries) in rows.iter().enumerate() {
                let width = queries.len();
                scores.resize(range.len() * width, R::default());
                transpose(self.block(row, column, 0).columns(range.clone()), scores);
                Gather {
                    scores,
                    width,
                    first: [columns[column].start + range.start, queries.start],
                    judgements,
                    request: plan.request,
                    summaries,
                    scratch,
                }
                .run();
            }
        });
    }
}

/// Some rows, or columns, of a row, or column, of blocks.
struct Strip<'a, R> {
    /// The row, or column, of the grid.
    block: usize,
    /// Within the block.
    range: Range<usize>,
    summaries: &'a mut [Summary<R>],
}

/// The summaries of blocks of `block` each, in strips.
fn strips<R: Real>(
    summaries: &mut [Summary<R>],
    block: usize,
) -> impl ParallelIterator<Item = Strip<'_, R>> {
    let blocks = summaries.par_chunks_mut(block).enumerate();
    blocks.flat_map(|(block, summaries)| {
        let strips = summaries.par_chunks_mut(STRIP).with_max_len(1).enumerate();
        strips.map(move |(index, summaries)| Strip {
            block,
            range: index * STRIP..index * STRIP + summaries.len(),
            summaries,
        })
    })
}

/// Rows that are read together, so that a cache line is read once.
const SIDE: usize = 16;

/// Writes the columns of a matrix one after the other.
pub fn transpose<R: Copy>(from: Matrix<R>, out: &mut [R]) {
    let [height, width] = from.shape();
    for rows in cut(0..height, SIDE) {
        for column in 0..width {
            let out = &mut out[column * height..][rows.clone()];
            for (out, row) in out.iter_mut().zip(rows.clone()) {
                *out = from.row(row)[column];
            }
        }
    }
}

/// Adds the columns of a matrix to rows that stand one after the other.
pub fn add_transposed<R: Real>(from: Matrix<R>, out: &mut [R]) {
    let [height, width] = from.shape();
    for rows in cut(0..height, SIDE) {
        for column in 0..width {
            let out = &mut out[column * height..][rows.clone()];
            for (out, row) in out.iter_mut().zip(rows.clone()) {
                *out = out.add(from.row(row)[column]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows() {
        let (height, width) = (37, 21);
        let entries: Vec<f32> = (0..height * width).map(|i| i as f32).collect();
        let part = Matrix::new(&entries, width, [height, width]).columns(2..20);
        let mut out = vec![f32::NAN; height * 18];
        transpose(part, &mut out);
        for (index, got) in out.iter().enumerate() {
            let (column, row) = (index / height, index % height);
            assert_eq!(*got, part.row(row)[column]);
        }
        add_transposed(part, &mut out);
        assert_eq!(out[height], 2.0 * part.row(0)[1]);
    }
}
