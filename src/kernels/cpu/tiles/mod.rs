//! The statistics of the products of embeddings, tile by tile, without ever holding all
//! scores.
//!
//! The unit of work is a *block* of scores that stays in a core's cache. Forward each
//! thread takes blocks of its own, products and statistics together. Backward a whole
//! *tile*, many blocks, is computed at a time and turned into its gradient; then the
//! gradients of its queries and of its documents are added up, each by one thread. How
//! the work is cut depends on shapes alone, so that results do not depend on the number
//! of threads.
//!
//! [`both`] takes two directions from a tile, [`symmetric`] those of queries over
//! themselves, and [`nested`] several sizes of the embeddings; [`mod@ceilings`] needs the
//! positives alone.

mod both;
mod ceilings;
mod nested;
mod symmetric;
#[cfg(test)]
mod tests;

use std::ops::Range;

use rayon::prelude::*;

use super::{
    judgements::Judgements,
    matrix::Matrix,
    product::{Factor, product, spread},
    real::Real,
    row::Scratch,
    slope::Slope,
    summary::Summary,
    weighted_sum::WeightedSum,
};
use crate::kernels::table::{POSITIVE_COUNT, Request, WIDTH};

pub use both::forward_both;
pub use ceilings::ceilings;
pub use nested::{Level, Nested, scales};
pub use symmetric::{backward_symmetric, forward_symmetric};

/// Queries and documents of a block at most: half a MiB of scores in f32.
/// Few under Miri, which is ten thousand times slower.
const BLOCK: [usize; 2] = if cfg!(miri) { [8, 16] } else { [256, 512] };

/// Tasks into which the forward pass is cut at least, where there is that much to do.
const TASKS: usize = 64;

/// Embeddings of queries and documents, rows of one length.
#[derive(Clone, Copy)]
pub struct Embeddings<'a, R> {
    pub queries: Matrix<'a, R>,
    pub documents: Matrix<'a, R>,
}

impl<R: Real> Embeddings<'_, R> {
    /// Documents as queries.
    pub fn transpose(self) -> Self {
        Self {
            queries: self.documents,
            documents: self.queries,
        }
    }

    /// Some of the dimensions.
    pub fn dimensions(self, range: Range<usize>) -> Self {
        Self {
            queries: self.queries.columns(range.clone()),
            documents: self.documents.columns(range),
        }
    }

    pub fn counts(&self) -> [usize; 2] {
        [self.queries.shape()[0], self.documents.shape()[0]]
    }

    /// Writes the scores of some queries and some documents, or adds them.
    pub fn scores(&self, [queries, documents]: [Range<usize>; 2], out: &mut [R], add: bool) {
        let queries = Factor::from(self.queries.rows(queries));
        spread(self.documents.rows(documents), |documents| {
            product(queries, documents.transpose(), out, add);
        });
    }
}

/// What a pass needs to know besides the embeddings.
#[derive(Clone, Copy)]
pub struct Plan<'a, R> {
    judgements: Judgements<'a, R>,
    /// The targets of the documents over the queries, where both directions are wanted.
    mirrored: Option<Judgements<'a, R>>,
    /// Whether queries and documents are the same, so that a tile above the diagonal is
    /// one below it as well.
    symmetric: bool,
    request: Request,
    /// Multiples of the block.
    tile: [usize; 2],
    block: [usize; 2],
}

impl<'a, R> Plan<'a, R> {
    /// The `tile`, queries and documents, may be larger than the `counts` of what there
    /// is.
    pub fn new(
        judgements: Judgements<'a, R>,
        request: Request,
        tile: [usize; 2],
        counts: [usize; 2],
    ) -> Self {
        // Blocks of one size: a block of one document is multiplied in another way, and
        // its last bits differ. Both passes cut alike, so that a score is the same number
        // in both.
        let block = [0, 1].map(|axis| {
            let largest = BLOCK[axis].min(tile[axis]);
            counts[axis].div_ceil(counts[axis].div_ceil(largest))
        });
        let tile = [0, 1].map(|axis| match tile[axis] < counts[axis] {
            true => (tile[axis] / block[axis]).max(1) * block[axis],
            false => counts[axis].next_multiple_of(block[axis]),
        });
        Self {
            judgements,
            mirrored: None,
            symmetric: false,
            request,
            tile,
            block,
        }
    }

    /// For `count` queries over themselves, in square tiles.
    pub fn symmetric(
        judgements: Judgements<'a, R>,
        request: Request,
        tile: [usize; 2],
        count: usize,
    ) -> Self
    where
        R: Copy,
    {
        let side = tile[0].saturating_mul(tile[1]).isqrt();
        let plan = Self::new(judgements, request, [side, side], [count; 2]);
        // Blocks of half as many queries as documents, so that a square is made of them.
        let half = plan.block[1].div_ceil(2);
        let block = [half, 2 * half];
        Self {
            mirrored: Some(judgements),
            symmetric: true,
            tile: [(side.min(count + block[1]) / block[1]).max(1) * block[1]; 2],
            block,
            ..plan
        }
    }

    /// Documents are queries as well, over the queries.
    pub fn with_mirrored(self, mirrored: Judgements<'a, R>) -> Self {
        Self {
            mirrored: Some(mirrored),
            ..self
        }
    }

    /// Entries of the scratch memory that [`backward`] and [`forward_both`] need.
    pub fn scratch_len(&self) -> usize {
        self.blocks() * self.area()
    }

    /// Blocks of a tile.
    fn blocks(&self) -> usize {
        self.tile[0] / self.block[0] * (self.tile[1] / self.block[1])
    }

    /// Scores of a block.
    fn area(&self) -> usize {
        self.block[0] * self.block[1]
    }
}

impl<R: Real> Plan<'_, R> {
    /// Each tile in turn, with its queries and documents; a block has `chunk` entries of
    /// the scratch memory.
    fn for_each_tile(
        self,
        [queries, documents]: [usize; 2],
        chunk: usize,
        scratch: &mut [R],
        mut run: impl FnMut(Tile<R>, [Range<usize>; 2]),
    ) {
        for rows in cut(0..queries, self.tile[0]) {
            let first = if self.symmetric { rows.start } else { 0 };
            for columns in cut(first..documents, self.tile[1]) {
                let grid = [
                    cut(rows.clone(), self.block[0]).collect(),
                    cut(columns.clone(), self.block[1]).collect(),
                ];
                let tile = Tile {
                    data: &mut *scratch,
                    chunk,
                    area: self.area(),
                    grid,
                };
                run(tile, [rows.clone(), columns]);
            }
        }
    }
}

/// The ranges of `size` that make up `whole`.
pub fn cut(whole: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let end = whole.end;
    whole
        .step_by(size)
        .map(move |start| start..end.min(start + size))
}

/// The summaries of all queries, in one direction.
pub fn forward<R: Real>(embeddings: Embeddings<R>, plan: Plan<R>) -> Vec<Summary<R>> {
    type Buffers<R> = (Vec<R>, Scratch<R>);
    let gather =
        |(buffer, scratch): &mut Buffers<R>, ranges: [Range<usize>; 2], summaries: &mut _| {
            let [strip, columns] = ranges.clone();
            buffer.resize(strip.len() * columns.len(), R::default());
            embeddings.scores(ranges, buffer, false);
            Gather {
                scores: buffer,
                width: columns.len(),
                first: [strip.start, columns.start],
                judgements: plan.judgements,
                request: plan.request,
                summaries,
                scratch,
            }
            .run();
        };
    gathered(embeddings.counts(), plan, 1, gather).concat()
}

/// The summaries of each strip of queries, `levels` for each of them, level after level.
/// `gather` adds those of a block, and may reuse a value of its own from block to block.
fn gathered<R: Real, T: Default>(
    [queries, documents]: [usize; 2],
    plan: Plan<R>,
    levels: usize,
    gather: impl Fn(&mut T, [Range<usize>; 2], &mut [Summary<R>]) + Sync,
) -> Vec<Vec<Summary<R>>> {
    let block = plan.block;
    let strips: Vec<_> = cut(0..queries, block[0]).collect();
    // Few queries: their documents are cut as well, and merged in order.
    let parts = TASKS
        .div_ceil(strips.len())
        .min(documents.div_ceil(block[1]));
    let part = documents.div_ceil(parts).next_multiple_of(block[1]);
    let parts: Vec<_> = cut(0..documents, part).collect();

    let gather = |reused: &mut T, task: usize| {
        let (strip, part) = (&strips[task / parts.len()], &parts[task % parts.len()]);
        let mut summaries = vec![Summary::default(); levels * strip.len()];
        for columns in cut(part.clone(), block[1]) {
            gather(reused, [strip.clone(), columns], &mut summaries);
        }
        summaries
    };
    let gathered: Vec<_> = (0..strips.len() * parts.len())
        .into_par_iter()
        .with_max_len(1)
        .map_init(T::default, gather)
        .collect();

    let mut merged = Vec::with_capacity(strips.len());
    let mut gathered = gathered.into_iter();
    while let Some(mut first) = gathered.next() {
        for later in gathered.by_ref().take(parts.len() - 1) {
            for (summary, later) in first.iter_mut().zip(&later) {
                summary.merge(later, plan.request);
            }
        }
        merged.push(first);
    }
    merged
}

/// The table of statistics, a row of [`WIDTH`] for each query.
pub fn table<R: Real>(summaries: &[Summary<R>], request: Request) -> Vec<R> {
    let mut table = vec![R::default(); summaries.len() * WIDTH];
    for (summary, row) in summaries.iter().zip(table.chunks_exact_mut(WIDTH)) {
        summary.write(request, row);
    }
    table
}

/// Adds a block of scores to the summaries of its queries.
struct Gather<'a, R: Real> {
    scores: &'a [R],
    /// The number of its documents.
    width: usize,
    /// The first query and the first document.
    first: [usize; 2],
    judgements: Judgements<'a, R>,
    request: Request,
    summaries: &'a mut [Summary<R>],
    scratch: &'a mut Scratch<R>,
}

impl<R: Real> Gather<'_, R> {
    fn run(self) {
        let rows = self.scores.chunks_exact(self.width).enumerate();
        for ((index, scores), summary) in rows.zip(self.summaries) {
            let row = self.judgements.row(self.first[0] + index);
            summary.add(self.first[1], scores, row, self.request, self.scratch);
        }
    }
}

/// What the backward pass knows of the queries, and then of the documents, if both
/// directions are wanted.
#[derive(Clone, Copy)]
pub struct Known<'a, R> {
    pub summaries: &'a [Summary<R>],
    pub table: &'a [R],
    /// The gradient of the table.
    pub upstream: &'a [R],
}

impl<R> Known<'_, R> {
    /// Without the first rows.
    fn after(self, rows: usize) -> Self {
        Self {
            summaries: &self.summaries[rows..],
            table: &self.table[rows * WIDTH..],
            upstream: &self.upstream[rows * WIDTH..],
        }
    }
}

/// Writes the gradients of the embeddings that are asked for, rows one after the other.
/// `scratch` has [`Plan::scratch_len`] entries.
pub fn backward<R: Real>(
    embeddings: Embeddings<R>,
    plan: Plan<R>,
    known: Known<R>,
    scratch: &mut [R],
    of_queries: Option<&mut [R]>,
    of_documents: Option<&mut [R]>,
) {
    let mut of_queries = of_queries.map(|out| Sums::new(embeddings.documents, out));
    let mut of_documents = of_documents.map(|out| Sums::new(embeddings.queries, out));
    plan.for_each_tile(embeddings.counts(), plan.area(), scratch, |mut tile, _| {
        tile.differentiate(embeddings, plan, known);
        rayon::join(
            || {
                if let Some(sums) = &mut of_queries {
                    tile.add_to_queries(0, sums);
                }
            },
            || {
                if let Some(sums) = &mut of_documents {
                    tile.add_to_documents(0, sums);
                }
            },
        );
    });
}

/// The gradients of some embeddings: sums of the others.
struct Sums<'a, R> {
    of: WeightedSum<'a, R>,
    out: &'a mut [R],
    /// Whether the first tile adds to what is there.
    begun: bool,
}

impl<'a, R: Real> Sums<'a, R> {
    fn new(of: Matrix<'a, R>, out: &'a mut [R]) -> Self {
        Self {
            of: WeightedSum::new(of),
            out,
            begun: false,
        }
    }

    /// Those in `rows`, `step` at a time.
    fn parts(
        &mut self,
        rows: Range<usize>,
        step: usize,
    ) -> (
        &WeightedSum<'a, R>,
        impl IndexedParallelIterator<Item = &mut [R]>,
    ) {
        let dimensions = self.of.dimensions();
        let out = &mut self.out[rows.start * dimensions..rows.end * dimensions];
        let parts = out.par_chunks_mut(step * dimensions).with_max_len(1);
        (&self.of, parts)
    }
}

/// A tile of scores, or of their gradients: a grid of blocks, each contiguous.
struct Tile<'a, R> {
    data: &'a mut [R],
    /// Entries of each block: scores of one level or more, and what else is kept of it.
    chunk: usize,
    /// Entries of each level.
    area: usize,
    /// The queries of each row of blocks, the documents of each column.
    grid: [Vec<Range<usize>>; 2],
}

impl<R: Real> Tile<'_, R> {
    /// Runs over the queries, the documents and the entries of each block; may reuse a
    /// value of its own from block to block.
    fn for_each_block<T: Default>(
        &mut self,
        run: impl Fn(&mut T, [Range<usize>; 2], &mut [R]) + Sync,
    ) {
        let [rows, columns] = &self.grid;
        self.data
            .par_chunks_mut(self.chunk)
            .take(rows.len() * columns.len())
            .with_max_len(1)
            .enumerate()
            .for_each_init(T::default, |reused, (index, entries)| {
                let row = rows[index / columns.len()].clone();
                let column = columns[index % columns.len()].clone();
                run(reused, [row, column], entries);
            });
    }

    /// Computes the scores, and runs over those of each block, its queries and documents.
    fn compute<T: Default>(
        &mut self,
        embeddings: Embeddings<R>,
        run: impl Fn(&mut T, [Range<usize>; 2], &mut [R]) + Sync,
    ) {
        self.for_each_block(|reused, ranges, entries| {
            let [rows, columns] = ranges.clone();
            let scores = &mut entries[..rows.len() * columns.len()];
            embeddings.scores(ranges.clone(), scores, false);
            run(reused, ranges, scores);
        });
    }

    /// Computes the scores and turns them into their gradients.
    fn differentiate(&mut self, embeddings: Embeddings<R>, plan: Plan<R>, known: Known<R>) {
        let of_documents = match plan.symmetric {
            true => known,
            false => known.after(embeddings.counts()[0]),
        };
        let is_mirror = plan.symmetric && self.is_on_diagonal();
        let mirrored = plan.mirrored.filter(|_| !is_mirror);
        type Buffers<R> = (Scratch<R>, Vec<R>);
        self.compute(embeddings, |buffers: &mut Buffers<R>, ranges, scores| {
            let (scratch, transposed) = buffers;
            let [rows, columns] = ranges;
            let shape = [rows.len(), columns.len()];
            let mut differentiate = |scores: &mut [R], width, first, judgements, known| {
                Differentiate {
                    scores,
                    width,
                    first,
                    judgements,
                    request: plan.request,
                    known,
                    scratch,
                }
                .run();
            };
            let first = [rows.start, columns.start];
            let Some(mirrored) = mirrored else {
                return differentiate(scores, shape[1], first, plan.judgements, known);
            };
            transposed.resize(scores.len(), R::default());
            both::transpose(Matrix::new(scores, shape[1], shape), transposed);
            differentiate(scores, shape[1], first, plan.judgements, known);
            let first = [columns.start, rows.start];
            differentiate(transposed, shape[0], first, mirrored, of_documents);
            both::add_transposed(
                Matrix::new(transposed, shape[0], [shape[1], shape[0]]),
                scores,
            );
        });
    }

    fn is_on_diagonal(&self) -> bool {
        let [rows, columns] = &self.grid;
        rows[0].start == columns[0].start
    }

    /// A level of the block in a row and a column of the grid.
    fn block(&self, row: usize, column: usize, level: usize) -> Matrix<'_, R> {
        let [rows, columns] = &self.grid;
        let start = (row * columns.len() + column) * self.chunk + level * self.area;
        let shape = [rows[row].len(), columns[column].len()];
        Matrix::new(&self.data[start..], shape[1], shape)
    }

    /// Adds to the gradients of the queries of this tile, or begins them.
    fn add_to_queries(&self, level: usize, sums: &mut Sums<R>) {
        let [rows, columns] = &self.grid;
        let begun = sums.begun;
        let (documents, parts) = sums.parts(span(rows), rows[0].len());
        parts.enumerate().for_each(|(row, out)| {
            for (column, range) in columns.iter().enumerate() {
                let block = self.block(row, column, level).into();
                documents.sum(range.clone(), block, out, begun || range.start > 0);
            }
        });
    }

    /// Adds to the gradients of the documents of this tile, or begins them.
    fn add_to_documents(&self, level: usize, sums: &mut Sums<R>) {
        let [rows, columns] = &self.grid;
        let begun = sums.begun;
        let (queries, parts) = sums.parts(span(columns), columns[0].len());
        parts.enumerate().for_each(|(column, out)| {
            for (row, range) in rows.iter().enumerate() {
                let block = Factor::from(self.block(row, column, level)).transpose();
                queries.sum(range.clone(), block, out, begun || range.start > 0);
            }
        });
    }
}

/// From the first to the last of adjacent ranges.
fn span(ranges: &[Range<usize>]) -> Range<usize> {
    let end = ranges.last().map_or(0, |range| range.end);
    ranges.first().map_or(0, |range| range.start)..end
}

/// Turns a block of scores into its gradient.
struct Differentiate<'a, R: Real> {
    scores: &'a mut [R],
    /// The number of its documents.
    width: usize,
    /// The first query and the first document.
    first: [usize; 2],
    judgements: Judgements<'a, R>,
    request: Request,
    known: Known<'a, R>,
    scratch: &'a mut Scratch<R>,
}

impl<R: Real> Differentiate<'_, R> {
    fn run(self) {
        let [first_query, first] = self.first;
        for (index, scores) in self.scores.chunks_exact_mut(self.width).enumerate() {
            let query = first_query + index;
            let table = &self.known.table[query * WIDTH..][..WIDTH];
            if table[POSITIVE_COUNT] == R::default() {
                scores.fill(R::default());
                continue;
            }
            let summary = &self.known.summaries[query];
            let upstream = &self.known.upstream[query * WIDTH..][..WIDTH];
            let row = self.judgements.row(query);
            let is_weighted = row.weights.is_some();
            let positives = summary.positives();
            let slope = Slope::new(self.request, is_weighted, table, upstream, positives)
                .with_hardest(summary.hardest());
            slope.write(first, scores, row, self.scratch);
        }
    }
}
