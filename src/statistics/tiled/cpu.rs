//! Tiles on Burn's CPU backends, by the kernels over embeddings.

use std::{fmt::Debug, sync::Arc};

use burn::{
    backend::{
        Backend, DispatchKindConversion, DispatchTensor, TensorMetadata, tensor::FloatTensor,
    },
    tensor::{DType, Tensor},
};

use super::{Batch, Tables, nested::NestedTiles};
use crate::{
    kernels::{
        cpu::{
            self, Summary,
            tiles::{self, Embeddings, Known, Plan},
        },
        table::{Request, WIDTH},
    },
    statistics::{
        cpu::{CpuBackend, HostJudged, Output, Storage, from_entries, host, primitive},
        operations::Gradients,
    },
};

/// The table, and the way back from its gradient.
pub(super) fn forward<B: CpuBackend>(batch: Batch) -> (Tensor<2>, Arc<dyn Gradients>)
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let is_f64 = batch.queries.dtype() == DType::F64;
    match batch.tables {
        Tables::Nested { .. } if is_f64 => NestedTiles::<B, f64>::forward(batch),
        Tables::Nested { .. } => NestedTiles::<B, f32>::forward(batch),
        _ if is_f64 => Tiles::<B, f64>::forward(batch),
        _ => Tiles::<B, f32>::forward(batch),
    }
}

/// A type that the kernels compute in.
pub(super) trait Float: Storage + cpu::Element<Real = Self> + cpu::Real + Debug {}

impl Float for f32 {}

impl Float for f64 {}

#[derive(Debug)]
struct Tiles<B: Backend, R> {
    queries: FloatTensor<B>,
    documents: FloatTensor<B>,
    judged: HostJudged<B>,
    /// The targets of the documents over the queries, if their table is wanted, too.
    mirrored: Option<HostJudged<B>>,
    symmetric: bool,
    request: Request,
    tile: [usize; 2],
    table: Vec<R>,
    summaries: Vec<Summary<R>>,
}

impl<B: CpuBackend, R: Float> Tiles<B, R>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    fn forward(batch: Batch) -> (Tensor<2>, Arc<dyn Gradients>) {
        let mirrored = match &batch.tables {
            Tables::OfBoth { mirrored } => Some(mirrored),
            _ => None,
        };
        let mut tiles = Self {
            judged: host(&batch.queries, &batch.targets),
            mirrored: mirrored.map(|targets| host(&batch.queries, targets)),
            queries: B::with_contiguous_rows(primitive::<B>(batch.queries)),
            documents: B::with_contiguous_rows(primitive::<B>(batch.documents)),
            symmetric: matches!(batch.tables, Tables::Symmetric),
            request: batch.request,
            tile: [batch.tile.queries, batch.tile.documents],
            table: Vec::new(),
            summaries: Vec::new(),
        };
        if let Some(rule) = batch.request.false_negatives() {
            let embeddings = tiles.embeddings();
            let ceilings = |judged: &HostJudged<B>, embeddings| {
                let ceilings = tiles::ceilings::<R>(embeddings, judged.judgements(), None, rule);
                let shape = [1, ceilings.len()];
                from_entries::<B, R>(ceilings, shape, &tiles.device())
            };
            let of_queries = ceilings(&tiles.judged, embeddings);
            let mirrored = tiles.mirrored.as_ref();
            let of_documents = mirrored.map(|judged| ceilings(judged, embeddings.transpose()));
            tiles.judged = tiles.judged.with_ceilings(of_queries);
            let mirrored = tiles.mirrored.take().zip(of_documents);
            tiles.mirrored = mirrored.map(|(judged, ceilings)| judged.with_ceilings(ceilings));
        }
        let (embeddings, plan) = (tiles.embeddings(), tiles.plan());
        let scratch = || Output::<R>::new([plan.scratch_len()].into());
        tiles.summaries = match batch.tables {
            Tables::Symmetric => {
                tiles::forward_symmetric(embeddings.queries, plan, scratch().entries())
            }
            Tables::OfBoth { .. } => tiles::forward_both(embeddings, plan, scratch().entries()),
            _ => tiles::forward(embeddings, plan),
        };
        tiles.table = tiles::table(&tiles.summaries, batch.request);
        let shape = [tiles.summaries.len(), WIDTH];
        let table = from_entries::<B, R>(tiles.table.clone(), shape, &tiles.device());
        (Tensor::from_primitive::<B>(table), Arc::new(tiles))
    }

    fn embeddings(&self) -> Embeddings<'_, R> {
        Embeddings {
            queries: B::matrix(&self.queries),
            documents: B::matrix(&self.documents),
        }
    }

    fn plan(&self) -> Plan<'_, R> {
        let counts = [&self.queries, &self.documents].map(|x| x.shape()[0]);
        let judgements = self.judged.judgements();
        if self.symmetric {
            return Plan::symmetric(judgements, self.request, self.tile, counts[0]);
        }
        let plan = Plan::new(judgements, self.request, self.tile, counts);
        match &self.mirrored {
            Some(judged) => plan.with_mirrored(judged.judgements()),
            None => plan,
        }
    }

    fn device(&self) -> B::Device {
        self.queries.device()
    }
}

impl<B: CpuBackend, R: Float> Gradients for Tiles<B, R>
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
        let plan = self.plan();
        gradients_of::<B, R>(
            [&self.queries, &self.documents],
            needed,
            plan.scratch_len(),
            |scratch, [of_queries, of_documents]| {
                let embeddings = self.embeddings();
                match of_queries {
                    Some(out) if self.symmetric => {
                        tiles::backward_symmetric(embeddings.queries, plan, known, scratch, out);
                    }
                    _ => {
                        let embeddings = self.embeddings();
                        tiles::backward(embeddings, plan, known, scratch, of_queries, of_documents);
                    }
                }
            },
        )
    }
}

/// The gradients of the `embeddings` that are needed: `write` fills them in, and has so much
/// scratch memory.
pub(super) fn gradients_of<B: CpuBackend, R: Float>(
    embeddings: [&FloatTensor<B>; 2],
    needed: [bool; 2],
    scratch_len: usize,
    write: impl FnOnce(&mut [R], [Option<&mut [R]>; 2]),
) -> [Option<Tensor<2>>; 2]
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let device = embeddings[0].device();
    let mut out = [0, 1].map(|side| {
        let like = embeddings[side];
        needed[side].then(|| Output::<R>::new(like.shape()))
    });
    let mut scratch = Output::<R>::new([scratch_len].into());
    let entries = out.each_mut().map(|out| out.as_mut().map(Output::entries));
    write(scratch.entries(), entries);
    out.map(|out| Some(Tensor::from_primitive::<B>(out?.into_tensor::<B>(&device))))
}
