//! Nested dimensions: the products over the first dimensions are part of those over more.

use std::ops::Range;

use rayon::prelude::*;

use super::{Differentiate, Embeddings, Gather, Known, Plan, Sums, Tile, gathered};
use crate::kernels::cpu::{
    isa::{Isa, Kernel},
    judgements::Judgements,
    matrix::Matrix,
    real::Real,
    row::Scratch,
    simd::Simd,
    summary::Summary,
};

/// The embeddings cut to some of their first dimensions.
#[derive(Clone)]
pub struct Level<'a, R> {
    /// The dimensions that the level before has not.
    pub dimensions: Range<usize>,
    /// What the products are multiplied by, for each query and for each document.
    pub scales: Option<[&'a [R]; 2]>,
    pub judgements: Judgements<'a, R>,
}

/// The inverse length of each row when cut to so many `sizes` dimensions, ascending: 0
/// for zeros and for what is too short to have one, NaN where there is no finite length.
pub fn scales<R: Real>(embeddings: Matrix<R>, sizes: &[usize]) -> Vec<Vec<R>> {
    let rows = 0..embeddings.shape()[0];
    let of_row = |row: usize| {
        let row = embeddings.row(row);
        let mut squares = 0.0;
        let mut start = 0;
        let scales = sizes.iter().map(|&size| {
            let squared = |x: &R| x.to_f64() * x.to_f64();
            squares += row[start..size].iter().map(squared).sum::<f64>();
            start = size;
            if !squares.is_finite() {
                return R::NAN;
            }
            let scale = R::from_f64(1.0 / squares.sqrt());
            match scale.to_f64().is_finite() {
                true => scale,
                false => R::default(),
            }
        });
        scales.collect::<Vec<R>>()
    };
    let of_rows: Vec<_> = rows.into_par_iter().with_min_len(64).map(of_row).collect();
    let of_level = |level: usize| of_rows.iter().map(|scales| scales[level]).collect();
    (0..sizes.len()).map(of_level).collect()
}

/// Embeddings at several levels, the dimensions of one behind those of the one before.
#[derive(Clone, Copy)]
pub struct Nested<'a, R> {
    pub embeddings: Embeddings<'a, R>,
    pub plan: Plan<'a, R>,
    pub levels: &'a [Level<'a, R>],
}

impl<'a, R: Real> Nested<'a, R> {
    /// Entries of the scratch memory that [`backward`](Self::backward) needs.
    pub fn scratch_len(&self) -> usize {
        self.plan.blocks() * self.chunk()
    }

    /// Entries for a block: at each level its scores, and the sums of its queries and
    /// documents.
    fn chunk(&self) -> usize {
        self.levels.len() * (self.plan.area() + self.sums())
    }

    fn sums(&self) -> usize {
        self.plan.block[0] + self.plan.block[1]
    }

    /// The summaries of all queries, level after level.
    pub fn forward(self) -> Vec<Summary<R>> {
        type Buffers<R> = ([Vec<R>; 2], Scratch<R>);
        let gather = |buffers: &mut Buffers<R>, ranges: [Range<usize>; 2], summaries: &mut [_]| {
            let ([products, scores], scratch) = buffers;
            let [strip, columns] = ranges.clone();
            products.resize(strip.len() * columns.len(), R::default());
            scores.resize(products.len(), R::default());
            let of_levels = summaries.chunks_exact_mut(strip.len());
            for ((index, level), summaries) in self.levels.iter().enumerate().zip(of_levels) {
                self.scores(index, ranges.clone(), products, scores);
                Gather {
                    scores,
                    width: columns.len(),
                    first: [strip.start, columns.start],
                    judgements: level.judgements,
                    request: self.plan.request,
                    summaries,
                    scratch,
                }
                .run();
            }
        };
        let levels = self.levels.len();
        let strips = gathered(self.embeddings.counts(), self.plan, levels, gather);
        let of_level = |level: usize| {
            let strips = strips.iter();
            strips.flat_map(move |strip| {
                let count = strip.len() / levels;
                strip[level * count..][..count].iter().cloned()
            })
        };
        (0..levels).flat_map(of_level).collect()
    }

    /// Writes the scores of a level, given the products of the one before.
    fn scores(
        &self,
        index: usize,
        ranges: [Range<usize>; 2],
        products: &mut [R],
        scores: &mut [R],
    ) {
        let level = &self.levels[index];
        let embeddings = self.embeddings.dimensions(level.dimensions.clone());
        embeddings.scores(ranges.clone(), products, index > 0);
        match level.scales_of(&ranges) {
            Some(scales) => Isa::best().run(Scale {
                products,
                scales,
                scores,
            }),
            None => scores.copy_from_slice(products),
        }
    }

    /// Writes the gradients of the embeddings that are asked for, as
    /// [`backward`](super::backward) does; dimensions beyond the last level get 0.
    pub fn backward(
        self,
        known: Known<R>,
        scratch: &mut [R],
        of_queries: Option<&mut [R]>,
        of_documents: Option<&mut [R]>,
    ) {
        let Self {
            embeddings,
            plan,
            levels,
        } = self;
        let counts = embeddings.counts();
        let mut outs = [of_queries, of_documents];
        // The sums over the dimensions of each level.
        let mut parts = [0, 1].map(|side| {
            let wanted = levels.iter().filter(|_| outs[side].is_some());
            let part = |level: &Level<R>| vec![R::default(); counts[side] * level.dimensions.len()];
            wanted.map(part).collect::<Vec<_>>()
        });
        let mut pulls = counts.map(|count| vec![0.0; count * levels.len()]);
        let [of_queries, of_documents] = &mut parts;
        let mut of_queries = self.sums_of(embeddings.documents, of_queries);
        let mut of_documents = self.sums_of(embeddings.queries, of_documents);
        plan.for_each_tile(counts, self.chunk(), scratch, |mut tile, _| {
            self.differentiate(&mut tile, known);
            self.collect_pulls(&tile, &mut pulls);
            rayon::join(
                || {
                    for (level, sums) in of_queries.iter_mut().enumerate() {
                        tile.add_to_queries(level, sums);
                    }
                },
                || {
                    for (level, sums) in of_documents.iter_mut().enumerate() {
                        tile.add_to_documents(level, sums);
                    }
                },
            );
        });
        let sides = [embeddings.queries, embeddings.documents];
        for side in [0, 1] {
            if let Some(out) = &mut outs[side] {
                self.assemble(side, sides[side], &parts[side], &pulls[side], out);
            }
        }
    }

    /// What each level's dimensions of the gradients are sums of.
    fn sums_of<'b>(&self, others: Matrix<'b, R>, outs: &'b mut [Vec<R>]) -> Vec<Sums<'b, R>> {
        let levels = self.levels.iter().zip(outs);
        let sums =
            levels.map(|(level, out)| Sums::new(others.columns(level.dimensions.clone()), out));
        sums.collect()
    }

    /// Computes the scores of a tile at all levels and turns them into the gradients of
    /// what the dimensions of each level contribute to the products.
    fn differentiate(&self, tile: &mut Tile<R>, known: Known<R>) {
        let isa = Isa::best();
        let [queries, _] = self.embeddings.counts();
        let area = self.plan.area();
        type Buffers<R> = (Vec<R>, Scratch<R>);
        tile.for_each_block(|buffers: &mut Buffers<R>, ranges, entries| {
            let (products, scratch) = buffers;
            let [rows, columns] = ranges.clone();
            let count = rows.len() * columns.len();
            products.resize(count, R::default());
            let (gradients, sums) = entries.split_at_mut(self.levels.len() * area);
            for (index, level) in self.levels.iter().enumerate() {
                let gradients = &mut gradients[index * area..][..count];
                self.scores(index, ranges.clone(), products, gradients);
                Differentiate {
                    scores: gradients,
                    width: columns.len(),
                    first: [rows.start, columns.start],
                    judgements: level.judgements,
                    request: self.plan.request,
                    known: known.after(index * queries),
                    scratch,
                }
                .run();
                if let Some(scales) = level.scales_of(&ranges) {
                    let sums = &mut sums[index * self.sums()..][..self.sums()];
                    let sums = sums.split_at_mut(self.plan.block[0]);
                    isa.run(DifferentiateScale {
                        products,
                        scales,
                        gradients,
                        sums: [sums.0, sums.1],
                    });
                }
            }
            // The dimensions of a level are part of all levels behind it.
            for index in (1..self.levels.len()).rev() {
                let (before, these) = gradients.split_at_mut(index * area);
                let before = &mut before[(index - 1) * area..][..count];
                for (before, &this) in before.iter_mut().zip(these.iter()) {
                    *before = before.add(this);
                }
            }
        });
    }

    /// Adds up what the lengths of queries and documents have to do with the scores of a
    /// tile.
    fn collect_pulls(&self, tile: &Tile<R>, pulls: &mut [Vec<f64>; 2]) {
        let counts = self.embeddings.counts();
        let [rows, columns] = &tile.grid;
        let blocks = tile.data.chunks_exact(self.chunk());
        for (index, entries) in blocks.take(rows.len() * columns.len()).enumerate() {
            let ranges = [
                &rows[index / columns.len()],
                &columns[index % columns.len()],
            ];
            let sums = &entries[self.levels.len() * self.plan.area()..];
            for (index, level) in self.levels.iter().enumerate() {
                if level.scales.is_none() {
                    continue;
                }
                let sums = sums[index * self.sums()..].split_at(self.plan.block[0]);
                for (side, sums) in [sums.0, sums.1].into_iter().enumerate() {
                    let start = index * counts[side] + ranges[side].start;
                    let pulls = &mut pulls[side][start..][..ranges[side].len()];
                    for (pull, sum) in pulls.iter_mut().zip(sums) {
                        *pull += sum.to_f64();
                    }
                }
            }
        }
    }

    /// Writes the gradients of a side from the sums over each level's dimensions, less
    /// what would only change the lengths.
    fn assemble(
        &self,
        side: usize,
        embeddings: Matrix<R>,
        parts: &[Vec<R>],
        pulls: &[f64],
        out: &mut [R],
    ) {
        let [count, dimensions] = embeddings.shape();
        let rows = out.par_chunks_exact_mut(dimensions).with_min_len(64);
        rows.enumerate().for_each(|(row, out)| {
            out.fill(R::default());
            let mut pull = 0.0;
            for (index, level) in self.levels.iter().enumerate().rev() {
                let range = level.dimensions.clone();
                if let Some(scales) = level.scales {
                    let of_level = pulls[index * count + row];
                    // A row without a length has no part in any loss that is a number.
                    if of_level != 0.0 {
                        let scale = scales[side][row].to_f64();
                        pull += scale * scale * of_level;
                    }
                }
                let part = &parts[index][row * range.len()..][..range.len()];
                let out = &mut out[range.clone()];
                out.copy_from_slice(part);
                if pull != 0.0 {
                    for (out, x) in out.iter_mut().zip(&embeddings.row(row)[range]) {
                        *out = out.add(R::from_f64(-pull * x.to_f64()));
                    }
                }
            }
        });
    }
}

impl<R> Level<'_, R> {
    /// The scales of some queries and some documents.
    fn scales_of(&self, [queries, documents]: &[Range<usize>; 2]) -> Option<[&[R]; 2]> {
        let [of_queries, of_documents] = self.scales?;
        Some([
            &of_queries[queries.clone()],
            &of_documents[documents.clone()],
        ])
    }
}

/// Multiplies products by what belongs to their query and their document.
struct Scale<'a, R> {
    products: &'a [R],
    scales: [&'a [R]; 2],
    scores: &'a mut [R],
}

impl<R: Real> Kernel for Scale<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let [of_queries, of_documents] = self.scales;
        let width = of_documents.len();
        let products = self.products.chunks_exact(width).zip(of_queries);
        for (scores, (products, &of_query)) in self.scores.chunks_exact_mut(width).zip(products) {
            let products = products.iter().zip(of_documents);
            for (score, (&product, &of_document)) in scores.iter_mut().zip(products) {
                *score = product.mul(of_query).mul(of_document);
            }
        }
    }
}

/// Turns the gradients of scores into those of the products, and sums up score times
/// gradient for each query and each document.
struct DifferentiateScale<'a, R> {
    products: &'a [R],
    scales: [&'a [R]; 2],
    gradients: &'a mut [R],
    sums: [&'a mut [R]; 2],
}

impl<R: Real> Kernel for DifferentiateScale<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        const LANES: usize = 16;
        let [of_queries, of_documents] = self.scales;
        let width = of_documents.len();
        let [rows, columns] = self.sums;
        let columns = &mut columns[..width];
        columns.fill(R::default());
        // What has no gradient may be NaN.
        let step = |gradient: &mut R, product: R, of_query: R, of_document: R| {
            let zero = R::default();
            let has_none = *gradient == zero;
            let of_product = gradient.mul(of_query).mul(of_document);
            let of_product = if has_none { zero } else { of_product };
            *gradient = of_product;
            let sum = of_product.mul(product);
            if has_none { zero } else { sum }
        };
        let products = self.products.chunks_exact(width);
        let gradients = self.gradients.chunks_exact_mut(width);
        let of_rows = gradients.zip(products).zip(of_queries).zip(rows);
        for (((gradients, products), &of_query), row) in of_rows {
            let mut lanes = [R::default(); LANES];
            let mut gradients = gradients.chunks_exact_mut(LANES);
            let mut products = products.chunks_exact(LANES);
            let mut scales = of_documents.chunks_exact(LANES);
            let mut sums = columns.chunks_exact_mut(LANES);
            for gradients in &mut gradients {
                let products = products.next().expect("as many");
                let scales = scales.next().expect("as many");
                let sums = sums.next().expect("as many");
                for lane in 0..LANES {
                    let sum = step(&mut gradients[lane], products[lane], of_query, scales[lane]);
                    lanes[lane] = lanes[lane].add(sum);
                    sums[lane] = sums[lane].add(sum);
                }
            }
            let rest = gradients.into_remainder().iter_mut();
            let rest = rest.zip(products.remainder()).zip(scales.remainder());
            for (((gradient, &product), &scale), sum_of_column) in rest.zip(sums.into_remainder()) {
                let sum = step(gradient, product, of_query, scale);
                lanes[0] = lanes[0].add(sum);
                *sum_of_column = sum_of_column.add(sum);
            }
            *row = lanes.into_iter().reduce(R::add).expect("there are lanes");
        }
    }
}
