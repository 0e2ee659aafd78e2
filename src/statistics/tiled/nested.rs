//! Tiles of nested dimensions on Burn's CPU backends.

use std::{ops::Range, sync::Arc};

use burn::{
    backend::{
        Backend, DispatchKindConversion, DispatchTensor, TensorMetadata, tensor::FloatTensor,
    },
    tensor::Tensor,
};

use super::{
    Batch, Tables,
    cpu::{Float, gradients_of},
};
use crate::{
    kernels::{
        cpu::{
            Judgements, Summary,
            tiles::{self, Embeddings, Known, Level, Nested, Plan},
        },
        table::WIDTH,
    },
    statistics::{
        cpu::{CpuBackend, HostJudged, from_entries, host, primitive},
        operations::Gradients,
    },
};

/// Embeddings cut to several sizes, and what a step has computed of them.
#[derive(Debug)]
pub(super) struct NestedTiles<B: Backend, R> {
    batch: Batch,
    queries: FloatTensor<B>,
    documents: FloatTensor<B>,
    judged: HostJudged<B>,
    sizes: Vec<usize>,
    /// For each size what queries and documents are multiplied by; empty if they are not.
    scales: [Vec<Vec<R>>; 2],
    /// For each size the largest scores that are believed, if there is a rule.
    ceilings: Vec<Vec<R>>,
    table: Vec<R>,
    summaries: Vec<Summary<R>>,
}

impl<B: CpuBackend, R: Float> NestedTiles<B, R>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    /// The tables, one behind the other, and the way back from their gradient.
    pub fn forward(batch: Batch) -> (Tensor<2>, Arc<dyn Gradients>) {
        let Tables::Nested { sizes, normalize } = batch.tables.clone() else {
            unreachable!("tables of sizes were asked for");
        };
        let mut tiles = Self {
            judged: host(&batch.queries, &batch.targets),
            queries: B::with_contiguous_rows(primitive::<B>(batch.queries.clone())),
            documents: B::with_contiguous_rows(primitive::<B>(batch.documents.clone())),
            batch,
            sizes: sizes.clone(),
            scales: [Vec::new(), Vec::new()],
            ceilings: Vec::new(),
            table: Vec::new(),
            summaries: Vec::new(),
        };
        if normalize {
            let Embeddings { queries, documents } = tiles.embeddings();
            tiles.scales = [queries, documents].map(|x| tiles::scales(x, &sizes));
        }
        let request = tiles.batch.request;
        if let Some(rule) = request.false_negatives() {
            let ceilings = |level: usize| {
                let scales = tiles.scales_of(level);
                let embeddings = tiles.embeddings().dimensions(0..sizes[level]);
                tiles::ceilings(embeddings, tiles.judged.judgements(), scales, rule)
            };
            tiles.ceilings = (0..sizes.len()).map(ceilings).collect();
        }
        tiles.summaries = tiles.with_nested(|nested| nested.forward());
        tiles.table = tiles::table(&tiles.summaries, request);
        let shape = [tiles.summaries.len(), WIDTH];
        let table = from_entries::<B, R>(tiles.table.clone(), shape, &tiles.queries.device());
        (Tensor::from_primitive::<B>(table), Arc::new(tiles))
    }

    fn embeddings(&self) -> Embeddings<'_, R> {
        Embeddings {
            queries: B::matrix(&self.queries),
            documents: B::matrix(&self.documents),
        }
    }

    fn scales_of(&self, level: usize) -> Option<[&[R]; 2]> {
        let [of_queries, of_documents] = &self.scales;
        Some([of_queries.get(level)?, of_documents.get(level)?])
    }

    fn with_nested<T>(&self, run: impl FnOnce(Nested<R>) -> T) -> T {
        let judgements = self.judged.judgements();
        let starts = [0].into_iter().chain(self.sizes.iter().copied());
        let dimensions = starts.zip(&self.sizes).map(|(start, &end)| start..end);
        let level = |(index, dimensions): (usize, Range<usize>)| Level {
            dimensions,
            scales: self.scales_of(index),
            judgements: Judgements {
                ceilings: self.ceilings.get(index).map(Vec::as_slice),
                ..judgements
            },
        };
        let levels: Vec<_> = dimensions.enumerate().map(level).collect();
        let counts = [&self.queries, &self.documents].map(|x| x.shape()[0]);
        // All levels of a tile are held together.
        let tile = self.batch.tile;
        let tile = [tile.queries, (tile.documents / levels.len()).max(1)];
        run(Nested {
            embeddings: self.embeddings(),
            plan: Plan::new(judgements, self.batch.request, tile, counts),
            levels: &levels,
        })
    }
}

impl<B: CpuBackend, R: Float> Gradients for NestedTiles<B, R>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    fn of_embeddings(&self, upstream: Tensor<2>, needed: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        let upstream = B::without_gaps(primitive::<B>(upstream));
        let known = Known {
            summaries: &self.summaries,
            table: &self.table,
            upstream: B::matrix::<R>(&upstream).data(),
        };
        self.with_nested(|nested| {
            gradients_of::<B, R>(
                [&self.queries, &self.documents],
                needed,
                nested.scratch_len(),
                |scratch, [of_queries, of_documents]| {
                    nested.backward(known, scratch, of_queries, of_documents);
                },
            )
        })
    }
}
