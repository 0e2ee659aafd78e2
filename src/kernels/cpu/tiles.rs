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
    element::Element,
    isa::{Isa, Kernel},
    judgements::Judgements,
    matrix::Matrix,
    product::{Factor, product},
    real::Real,
    row::Scratch,
    slope::Slope,
    summary::Summary,
    weighted_sum::WeightedSum,
};
use crate::kernels::{
    ceiling::FalseNegatives,
    table::{POSITIVE_COUNT, Request, WIDTH},
};

/// Queries and documents of a block at most: half a MiB of scores in f32.
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

/// What a pass needs to know besides the embeddings.
#[derive(Clone, Copy)]
pub struct Plan<'a, R> {
    judgements: Judgements<'a, R>,
    request: Request,
    /// Multiples of the block.
    tile: [usize; 2],
    block: [usize; 2],
}

impl<'a, R> Plan<'a, R> {
    /// The `tile`, queries and documents, may be larger than the `counts` of what there is.
    pub fn new(
        judgements: Judgements<'a, R>,
        request: Request,
        tile: [usize; 2],
        counts: [usize; 2],
    ) -> Self {
        // Blocks of one size: a block of one document is multiplied in another way, and its last
        // bits differ. Both passes cut alike, so that a score is the same number in both.
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
            request,
            tile,
            block,
        }
    }

    /// Entries of the scratch memory that [`backward`] needs.
    pub fn scratch_len(&self) -> usize {
        self.tile[0] * self.tile[1]
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
    plan: Plan<R>,
) -> Vec<Summary<R>> {
    let isa = Isa::best();
    let [queries, documents] = embeddings.counts();
    let block = plan.block;
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
    let mut gathered = gathered.into_iter();
    while let Some(mut first) = gathered.next() {
        for later in gathered.by_ref().take(parts.len() - 1) {
            for (summary, later) in first.iter_mut().zip(&later) {
                summary.merge(later, plan.request);
            }
        }
        summaries.append(&mut first);
    }
    summaries
}

/// The ceilings of the negatives of each query, from the products of its positives alone; any
/// number where it has no positive.
pub fn ceilings<R: Element<Real = R> + Real>(
    embeddings: Embeddings<R>,
    judgements: Judgements<R>,
    rule: FalseNegatives,
) -> Vec<R> {
    let isa = Isa::best();
    let [queries, documents] = embeddings.counts();
    let ceiling = |columns: &mut Vec<usize>, query: usize| {
        let row = judgements.row(query);
        row.chosen_positives(documents, columns);
        let scores = isa.run(Pairs {
            query: embeddings.queries.row(query),
            documents: embeddings.documents,
            columns,
        });
        R::from_f64(rule.ceiling(scores.into_iter()))
    };
    (0..queries)
        .into_par_iter()
        .map_init(Vec::new, ceiling)
        .collect()
}

/// The products of a query with some documents.
struct Pairs<'a, R> {
    query: &'a [R],
    documents: Matrix<'a, R>,
    columns: &'a [usize],
}

impl<R: Real> Kernel for Pairs<'_, R> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        const LANES: usize = 16;
        let mut scores = Vec::with_capacity(self.columns.len());
        for &column in self.columns {
            let document = self.documents.row(column);
            let mut sums = [R::default(); LANES];
            let (query, last_query) = self.query.as_chunks::<LANES>();
            let (document, last_document) = document.as_chunks::<LANES>();
            for (x, y) in query.iter().zip(document) {
                for lane in 0..LANES {
                    sums[lane] = x[lane].mul_add::<FMA>(y[lane], sums[lane]);
                }
            }
            for ((sum, x), y) in sums.iter_mut().zip(last_query).zip(last_document) {
                *sum = x.mul_add::<FMA>(*y, *sum);
            }
            scores.push(sums.into_iter().map(R::to_f64).sum());
        }
        scores
    }
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
    plan: Plan<'a, R::Real>,
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
    plan: Plan<R>,
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
            let mut tile = Tile::new([rows.clone(), columns.clone()], plan.block, scratch);
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
    of: WeightedSum<'a, R>,
    out: &'a mut [R],
}

impl<'a, R: Real> Sums<'a, R> {
    fn new(of: Matrix<'a, R>, out: &'a mut [R]) -> Self {
        let of = WeightedSum::new(of);
        Self { of, out }
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
    fn compute(&mut self, embeddings: Embeddings<R>, plan: Plan<R>, known: Known<R>) {
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
    plan: Plan<'a, R>,
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
            let slope = Slope::new(self.plan.request, table, upstream, summary.positives())
                .with_hardest(summary.hardest());
            let row = self.plan.judgements.row(query);
            slope.write::<FMA, R>(first, scores, row, self.scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::cpu::Relevance,
        kernels::reference::{Case, TEMPERATURE, weights},
        kernels::table::Statistic,
    };

    /// Embeddings and labels, and a gradient of the table.
    struct Batch {
        counts: [usize; 2],
        dimensions: usize,
        embeddings: [Vec<f32>; 2],
        labels: [Vec<i64>; 2],
        upstream: Vec<f32>,
    }

    /// The table and the gradients of queries and documents.
    type Outcome = [Vec<f32>; 3];

    impl Batch {
        fn new(counts: [usize; 2], dimensions: usize) -> Self {
            // Odd steps through a short range: no two rows alike for long.
            let entries = |count: usize, step: usize| {
                (0..count * dimensions)
                    .map(|i| (i * step % 1009) as f32 / 504.5 - 1.0)
                    .collect()
            };
            let label = |i: usize| (i * 7 % 401) as i64;
            Self {
                counts,
                dimensions,
                embeddings: [entries(counts[0], 571), entries(counts[1], 263)],
                labels: counts.map(|count| (0..count).map(label).collect()),
                upstream: weights(counts[0], WIDTH)
                    .into_iter()
                    .map(|x| x as f32)
                    .collect(),
            }
        }

        fn judgements(&self) -> Judgements<'_, f32> {
            Judgements::of(Relevance::Labels {
                queries: &self.labels[0],
                documents: &self.labels[1],
            })
        }

        fn matrix(&self, side: usize) -> Matrix<'_, f32> {
            let shape = [self.counts[side], self.dimensions];
            Matrix::new(&self.embeddings[side], self.dimensions, shape)
        }

        fn request() -> Request {
            Request::new(TEMPERATURE, &Statistic::ALL)
        }

        fn run(&self, tile: [usize; 2]) -> Outcome {
            let embeddings = Embeddings {
                queries: self.matrix(0),
                documents: self.matrix(1),
            };
            let plan = Plan::new(self.judgements(), Self::request(), tile, self.counts);
            let summaries = forward(embeddings, plan);
            let table = table(&summaries, plan.request);
            let known = Known {
                summaries: &summaries,
                table: &table,
                upstream: &self.upstream,
            };
            // What is not written shows.
            let mut scratch = vec![f32::NAN; plan.scratch_len()];
            let mut out = self
                .embeddings
                .each_ref()
                .map(|entries| vec![f32::NAN; entries.len()]);
            let [of_queries, of_documents] = &mut out;
            backward(
                embeddings,
                plan,
                known,
                &mut scratch,
                Some(of_queries),
                Some(of_documents),
            );
            let [of_queries, of_documents] = out;
            [table, of_queries, of_documents]
        }

        /// The same by way of all scores, as it is defined.
        fn dense(&self) -> Outcome {
            let [queries, documents] = self.counts;
            let mut scores = Vec::with_capacity(queries * documents);
            let mut positives = Vec::with_capacity(queries * documents);
            for query in 0..queries {
                let entries = self.matrix(0).row(query);
                scores.extend((0..documents).map(|document| {
                    let pairs = entries.iter().zip(self.matrix(1).row(document));
                    pairs.map(|(x, y)| f64::from(x * y)).sum::<f64>()
                }));
                let label = self.labels[0][query];
                positives.extend(self.labels[1].iter().map(|&other| other == label));
            }
            let case = Case {
                shape: self.counts,
                scores,
                positives,
                candidates: None,
                weights: None,
                chosen: None,
                request: Self::request(),
            };
            let (table, slopes) = case.expected();
            let mut of = [0, 1].map(|side| vec![0.0f64; self.embeddings[side].len()]);
            for (index, slope) in slopes.into_iter().enumerate() {
                let at = [index / documents, index % documents];
                for side in [0, 1] {
                    let other = self.matrix(1 - side).row(at[1 - side]);
                    let out = &mut of[side][at[side] * self.dimensions..];
                    for (out, x) in out.iter_mut().zip(other) {
                        *out += slope * f64::from(*x);
                    }
                }
            }
            let narrow = |of: &[f64]| of.iter().map(|x| *x as f32).collect();
            [narrow(&table), narrow(&of[0]), narrow(&of[1])]
        }
    }

    fn assert_close(what: &str, got: &Outcome, want: &Outcome, tolerance: f32) {
        for (got, want) in got.iter().zip(want) {
            assert_eq!(got.len(), want.len());
            for (index, (got, want)) in got.iter().zip(want).enumerate() {
                assert!(
                    (got - want).abs() <= tolerance * (1.0 + want.abs()),
                    "{what}, entry {index}: {got}, expected {want}"
                );
            }
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        for (counts, tile) in [
            ([300, 1100], [300, 1100]),
            ([300, 1100], [70, 600]),
            ([5, 3001], [5, 3001]),
            ([700, 40], [512, 40]),
        ] {
            let mut batch = Batch::new(counts, 7);
            // Not finite, and no one's: its label is no query's.
            batch.embeddings[1][7..9].fill(f32::NAN);
            batch.labels[1][1] = -1;
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                let outcome = pool.build().unwrap().install(|| batch.run(tile));
                outcome.map(|entries| entries.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            };
            let one = run(1);
            for threads in [2, 5] {
                assert!(
                    run(threads) == one,
                    "{counts:?} {tile:?}, {threads} threads"
                );
            }
        }
    }

    /// Few queries: the documents are cut into parts, each a task, and merged.
    #[test]
    fn few_queries_with_many_documents_are_merged_from_parts() {
        let batch = Batch::new([3, 100_003], 2);
        let want = batch.dense();
        // The product of a single row with a matrix is summed up in sequence.
        for (tile, tolerance) in [([3, 100_003], 1e-5), ([2, 40_000], 1e-5), ([1, 1000], 5e-4)] {
            assert_close(&format!("{tile:?}"), &batch.run(tile), &want, tolerance);
        }
    }

    #[test]
    fn every_tile_gives_what_all_scores_give() {
        for counts in [
            [1, 1],
            [1, 600],
            [600, 1],
            [257, 513],
            [600, 300],
            [3, 1300],
        ] {
            let batch = Batch::new(counts, 3);
            let want = batch.dense();
            for tile in [
                [1, 5],
                [100, 1],
                [64, 64],
                [256, 512],
                [300, 600],
                [1000, 1000],
            ] {
                if tile[0] * tile[1] < 64 && counts[0] * counts[1] > 1000 {
                    continue; // slow
                }
                let what = format!("{counts:?} {tile:?}");
                assert_close(&what, &batch.run(tile), &want, 1e-4);
            }
        }
    }
}
