//! The statistics of the products of embeddings, tile by tile, without ever holding all scores.
//!
//! The unit of work is a *block* of scores that stays in a core's cache. Forward each thread takes
//! blocks of its own, products and statistics together. Backward a whole *tile*, many blocks, is
//! computed at a time and turned into its gradient; then the gradients of its queries and of its
//! documents are added up, each by one thread. How the work is cut depends on shapes alone, so
//! that results do not depend on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    backward::Pull,
    element::Element,
    forward::Summary,
    isa::{Isa, Kernel},
    judgements::{Choices, Judgements},
    matrix::Matrix,
    product::{Factor, product},
    real::Real,
    row::Scratch,
    weighable::Weighable,
};
use crate::statistics::table::{POSITIVE_COUNT, Request, WIDTH};

/// Queries and documents of a block: half a MiB of scores in f32.
const BLOCK: [usize; 2] = [256, 512];

/// Tasks into which the forward pass is cut at least, where there is that much to do.
const TASKS: usize = 64;

/// Embeddings of queries and documents, rows of one length.
#[derive(Clone, Copy)]
pub struct Embeddings<'a, R> {
    pub queries: Matrix<'a, R>,
    pub documents: Matrix<'a, R>,
}

impl<R: Real> Embeddings<'_, R> {
    fn counts(&self) -> [usize; 2] {
        [self.queries.shape()[0], self.documents.shape()[0]]
    }

    /// Scores of some queries and some documents.
    fn scores(&self, queries: Range<usize>, documents: Range<usize>, out: &mut [R]) {
        let queries = Factor::from(self.queries.rows(queries));
        let documents = Factor::from(self.documents.rows(documents));
        product(queries, documents.transpose(), out, false);
    }
}

/// The choice of each query as a column; -1 where a draw is made from nothing.
pub fn chosen_columns(
    judgements: Judgements,
    choices: Choices,
    [queries, documents]: [usize; 2],
) -> Vec<i64> {
    let draws = match choices {
        Choices::Columns(columns) => return columns.to_vec(),
        Choices::Draws(draws) => draws,
    };
    let drawn = |query: usize| judgements.row(query).drawn(documents, draws[query]);
    (0..queries)
        .into_par_iter()
        .map(|query| drawn(query).map_or(-1, |column| column as i64))
        .collect()
}

/// What a pass needs to know besides the embeddings.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    judgements: Judgements<'a>,
    request: Request,
    tile: [usize; 2],
}

impl<'a> Plan<'a> {
    /// Of the judgements, choices are columns: see [`chosen_columns`]. The `tile`, queries and documents,
    /// may be larger than the `counts` of what there is.
    pub fn new(
        judgements: Judgements<'a>,
        request: Request,
        tile: [usize; 2],
        counts: [usize; 2],
    ) -> Self {
        assert!(!matches!(judgements.choices, Some(Choices::Draws(_))));
        Self {
            judgements,
            request,
            tile: [0, 1].map(|axis| tile[axis].min(counts[axis])),
        }
    }

    fn block(&self) -> [usize; 2] {
        [0, 1].map(|axis| BLOCK[axis].min(self.tile[axis]))
    }

    /// Entries of the scratch memory that [`backward`] needs.
    pub fn scratch_len(&self) -> usize {
        let block = self.block();
        let rounded = |axis: usize| self.tile[axis].next_multiple_of(block[axis]);
        rounded(0) * rounded(1)
    }
}

/// The ranges of `size` that make up `whole`.
fn cut(whole: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let end = whole.end;
    whole
        .step_by(size)
        .map(move |start| start..end.min(start + size))
}

/// The summaries of all queries.
pub fn forward<R: Element<Real = R> + Real>(
    embeddings: Embeddings<R>,
    plan: Plan,
) -> Vec<Summary<R>> {
    let isa = Isa::best();
    let [queries, documents] = embeddings.counts();
    let block = plan.block();
    let strips: Vec<_> = cut(0..queries, block[0]).collect();
    // Few queries: their documents are cut as well, and merged in order.
    let parts = TASKS
        .div_ceil(strips.len())
        .min(documents.div_ceil(block[1]));
    let part = documents.div_ceil(parts).next_multiple_of(block[1]);
    let parts: Vec<_> = cut(0..documents, part).collect();

    let gather = |(scores, scratch): &mut (Vec<R>, Scratch<R>), task: usize| {
        let (strip, part) = (&strips[task / parts.len()], &parts[task % parts.len()]);
        let mut summaries = vec![Summary::default(); strip.len()];
        for columns in cut(part.clone(), block[1]) {
            let scores = &mut scores[..strip.len() * columns.len()];
            embeddings.scores(strip.clone(), columns.clone(), scores);
            isa.run(Gather {
                scores,
                width: columns.len(),
                first: [strip.start, columns.start],
                plan,
                summaries: &mut summaries,
                scratch,
            });
        }
        summaries
    };
    let gathered: Vec<_> = (0..strips.len() * parts.len())
        .into_par_iter()
        .with_max_len(1)
        .map_init(
            || (vec![R::default(); block[0] * block[1]], Scratch::default()),
            gather,
        )
        .collect();

    let mut summaries = Vec::with_capacity(queries);
    for mut parts in gathered.chunks(parts.len()).map(<[_]>::iter) {
        let Some(first) = parts.next() else { continue };
        let mut first = first.clone();
        for later in parts {
            for (summary, later) in first.iter_mut().zip(later) {
                summary.merge(later, plan.request.temperature);
            }
        }
        summaries.append(&mut first);
    }
    summaries
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
struct Gather<'a, R: Element> {
    scores: &'a [R],
    /// The number of its documents.
    width: usize,
    /// The first query and the first document.
    first: [usize; 2],
    plan: Plan<'a>,
    summaries: &'a mut [Summary<R::Real>],
    scratch: &'a mut Scratch<R>,
}

impl<R: Element<Real = R> + Real> Kernel for Gather<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let rows = self.scores.chunks_exact(self.width).enumerate();
        for ((index, scores), summary) in rows.zip(self.summaries) {
            let row = self.plan.judgements.row(self.first[0] + index);
            let (first, request) = (self.first[1], self.plan.request);
            summary.add::<FMA, R>(first, scores, row, request, self.scratch);
        }
    }
}

/// What the backward pass knows of the queries.
#[derive(Clone, Copy)]
pub struct Known<'a, R> {
    pub summaries: &'a [Summary<R>],
    pub table: &'a [R],
    /// The gradient of the table.
    pub upstream: &'a [R],
}

/// Writes the gradients of the embeddings that are asked for, rows one after the other. `scratch`
/// has [`Plan::scratch_len`] entries.
pub fn backward<R: Element<Real = R> + Real>(
    embeddings: Embeddings<R>,
    plan: Plan,
    known: Known<R>,
    scratch: &mut [R],
    of_queries: Option<&mut [R]>,
    of_documents: Option<&mut [R]>,
) {
    let [queries, documents] = embeddings.counts();
    let of_queries = of_queries.map(|out| Sums::new(embeddings.documents, out));
    let of_documents = of_documents.map(|out| Sums::new(embeddings.queries, out));
    let (mut of_queries, mut of_documents) = (of_queries, of_documents);
    for rows in cut(0..queries, plan.tile[0]) {
        for columns in cut(0..documents, plan.tile[1]) {
            let mut tile = Tile::new([rows.clone(), columns.clone()], plan.block(), scratch);
            tile.compute(embeddings, plan, known);
            rayon::join(
                || {
                    if let Some(sums) = &mut of_queries {
                        tile.add_to_queries(sums);
                    }
                },
                || {
                    if let Some(sums) = &mut of_documents {
                        tile.add_to_documents(sums);
                    }
                },
            );
        }
    }
}

/// The gradients of some embeddings: sums of the others.
struct Sums<'a, R> {
    of: Weighable<'a, R>,
    out: &'a mut [R],
}

impl<'a, R: Real> Sums<'a, R> {
    fn new(of: Matrix<'a, R>, out: &'a mut [R]) -> Self {
        let of = Weighable::new(of);
        Self { of, out }
    }

    /// Those in `rows`, `step` at a time.
    fn parts(
        &mut self,
        rows: Range<usize>,
        step: usize,
    ) -> (
        &Weighable<'a, R>,
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
    block: [usize; 2],
    /// The queries of each row of blocks, the documents of each column.
    grid: [Vec<Range<usize>>; 2],
}

impl<'a, R: Element<Real = R> + Real> Tile<'a, R> {
    fn new(ranges: [Range<usize>; 2], block: [usize; 2], data: &'a mut [R]) -> Self {
        let [rows, columns] = ranges;
        Self {
            data,
            block,
            grid: [
                cut(rows, block[0]).collect(),
                cut(columns, block[1]).collect(),
            ],
        }
    }

    /// Computes the scores and turns them into their gradients.
    fn compute(&mut self, embeddings: Embeddings<R>, plan: Plan, known: Known<R>) {
        let isa = Isa::best();
        let [rows, columns] = &self.grid;
        self.data
            .par_chunks_mut(self.block[0] * self.block[1])
            .take(rows.len() * columns.len())
            .with_max_len(1)
            .enumerate()
            .for_each_init(Scratch::default, |scratch, (index, scores)| {
                let rows = rows[index / columns.len()].clone();
                let columns = columns[index % columns.len()].clone();
                let scores = &mut scores[..rows.len() * columns.len()];
                embeddings.scores(rows.clone(), columns.clone(), scores);
                isa.run(Differentiate {
                    scores,
                    width: columns.len(),
                    first: [rows.start, columns.start],
                    plan,
                    known,
                    scratch,
                });
            });
    }

    /// The block in a row and a column of the grid.
    fn block(&self, row: usize, column: usize) -> Matrix<'_, R> {
        let [rows, columns] = &self.grid;
        let start = (row * columns.len() + column) * self.block[0] * self.block[1];
        let shape = [rows[row].len(), columns[column].len()];
        Matrix::new(&self.data[start..], shape[1], shape)
    }

    /// Adds to the gradients of the queries of this tile, or begins them.
    fn add_to_queries(&self, sums: &mut Sums<R>) {
        let [rows, columns] = &self.grid;
        let (documents, parts) = sums.parts(span(rows), self.block[0]);
        parts.enumerate().for_each(|(row, out)| {
            for (column, range) in columns.iter().enumerate() {
                let block = self.block(row, column).into();
                documents.sum(range.clone(), block, out, range.start > 0);
            }
        });
    }

    /// Adds to the gradients of the documents of this tile, or begins them.
    fn add_to_documents(&self, sums: &mut Sums<R>) {
        let [rows, columns] = &self.grid;
        let (queries, parts) = sums.parts(span(columns), self.block[1]);
        parts.enumerate().for_each(|(column, out)| {
            for (row, range) in rows.iter().enumerate() {
                let block = Factor::from(self.block(row, column)).transpose();
                queries.sum(range.clone(), block, out, range.start > 0);
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
struct Differentiate<'a, R: Element> {
    scores: &'a mut [R],
    /// The number of its documents.
    width: usize,
    /// The first query and the first document.
    first: [usize; 2],
    plan: Plan<'a>,
    known: Known<'a, R>,
    scratch: &'a mut Scratch<R>,
}

impl<R: Element<Real = R> + Real> Kernel for Differentiate<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
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
            let pull = Pull::new(self.plan.request, table, upstream, summary.positives())
                .with_hardest(summary.hardest());
            let row = self.plan.judgements.row(query);
            pull.write::<FMA, R>(first, scores, row, self.scratch);
        }
    }
}
