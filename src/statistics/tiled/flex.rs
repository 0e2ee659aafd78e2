//! Tiles on Burn's CPU backend, by the kernels over embeddings.

use std::{fmt::Debug, sync::Arc};

use burn::{
    backend::{Flex, TensorMetadata, flex::FlexTensor},
    tensor::{Bool, DType, Element, Int, Tensor, TensorData},
};
use bytemuck::Pod;

use super::{Backward, Batch};
use crate::{
    Targets,
    kernel::{
        self, Choices, Judgements, Relevant, Summary,
        tiles::{self, Embeddings, Known, Plan},
    },
    statistics::{
        host::{matrix, pages, with_contiguous_rows},
        table::{Request, WIDTH},
    },
    targets::{Choice, Lists, Relevance},
};

/// The table, and the way back from its gradient.
pub(super) fn forward(batch: Batch) -> (Tensor<2>, Arc<dyn Backward>) {
    match batch.queries.dtype() {
        DType::F64 => Tiles::<f64>::forward(batch),
        _ => Tiles::<f32>::forward(batch),
    }
}

/// A float type that the kernels and Burn know.
trait Float: kernel::Element<Real = Self> + kernel::Real + Element + Pod + Debug {}

impl Float for f32 {}

impl Float for f64 {}

#[derive(Debug)]
struct Tiles<R> {
    queries: FlexTensor,
    documents: FlexTensor,
    targets: HostTargets,
    request: Request,
    tile: [usize; 2],
    table: Vec<R>,
    summaries: Vec<Summary<R>>,
}

impl<R: Float> Tiles<R> {
    fn forward(batch: Batch) -> (Tensor<2>, Arc<dyn Backward>) {
        let counts = batch.targets.dims();
        let mut tiles = Self {
            queries: with_contiguous_rows(float(batch.queries)),
            documents: with_contiguous_rows(float(batch.documents)),
            targets: HostTargets::new(&batch.targets),
            request: batch.request,
            tile: [batch.tile.queries, batch.tile.documents],
            table: Vec::new(),
            summaries: Vec::new(),
        };
        tiles.summaries = tiles::forward(tiles.embeddings(), tiles.plan());
        tiles.table = tiles::table(&tiles.summaries, batch.request);
        let table = TensorData::new(tiles.table.clone(), [counts[0], WIDTH]);
        let table = Tensor::from_primitive::<Flex>(FlexTensor::from_data(table));
        (table, Arc::new(tiles))
    }

    fn embeddings(&self) -> Embeddings<'_, R> {
        Embeddings {
            queries: matrix(&self.queries),
            documents: matrix(&self.documents),
        }
    }

    fn plan(&self) -> Plan<'_> {
        let counts = [&self.queries, &self.documents].map(|x| x.shape()[0]);
        Plan::new(self.targets.judgements(), self.request, self.tile, counts)
    }
}

impl<R: Float> Backward for Tiles<R> {
    fn gradients(&self, upstream: Tensor<2>, needed: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        let upstream = float(upstream).to_contiguous();
        let known = Known {
            summaries: &self.summaries,
            table: &self.table,
            upstream: upstream.storage::<R>(),
        };
        let plan = self.plan();
        let mut out = [(&self.queries, needed[0]), (&self.documents, needed[1])]
            .map(|(like, needed)| needed.then(|| pages::empty(like.shape(), R::dtype())));
        let mut scratch = pages::empty([plan.scratch_len()].into(), R::dtype());
        let [of_queries, of_documents] = &mut out;
        tiles::backward(
            self.embeddings(),
            plan,
            known,
            scratch.storage_mut(),
            of_queries.as_mut().map(FlexTensor::storage_mut),
            of_documents.as_mut().map(FlexTensor::storage_mut),
        );
        out.map(|out| out.map(Tensor::from_primitive::<Flex>))
    }
}

/// Targets in memory that kernels read.
#[derive(Debug)]
struct HostTargets {
    relevant: HostRelevant,
    candidates: Option<FlexTensor>,
    /// For each query the column of its only positive.
    chosen: Option<Vec<i64>>,
}

#[derive(Debug)]
enum HostRelevant {
    Mask(FlexTensor),
    Labels {
        queries: Vec<i64>,
        documents: Vec<i64>,
    },
    Lists(Lists),
}

impl HostTargets {
    fn new(targets: &Targets) -> Self {
        let mut host = Self {
            relevant: match targets.relevance() {
                Relevance::Mask(mask) => HostRelevant::Mask(bool(mask.clone())),
                Relevance::Labels { queries, documents } => HostRelevant::Labels {
                    queries: integers(queries),
                    documents: integers(documents),
                },
                Relevance::Lists(lists) => HostRelevant::Lists(lists.clone()),
            },
            candidates: targets.given_candidates().map(bool),
            chosen: None,
        };
        if let Some(choice) = targets.choice() {
            let chosen = integers(choice.tensor());
            let choices = match choice {
                Choice::Columns(_) => Choices::Columns(&chosen),
                Choice::Draws(_) => Choices::Draws(&chosen),
            };
            let columns = tiles::chosen_columns(host.judgements(), choices, targets.dims());
            host.chosen = Some(columns);
        }
        host
    }

    fn judgements(&self) -> Judgements<'_> {
        Judgements {
            relevant: match &self.relevant {
                HostRelevant::Mask(mask) => Relevant::Mask(matrix(mask)),
                HostRelevant::Labels { queries, documents } => {
                    Relevant::Labels { queries, documents }
                }
                HostRelevant::Lists(lists) => Relevant::Columns {
                    positives: lists.columns(),
                    ignored: lists.ignored(),
                },
            },
            candidates: self.candidates.as_ref().map(matrix),
            choices: self.chosen.as_deref().map(Choices::Columns),
        }
    }
}

fn float(tensor: Tensor<2>) -> FlexTensor {
    let primitive = tensor.try_into_primitive::<Flex>();
    primitive.expect("the device has been looked at")
}

fn bool(mask: Tensor<2, Bool>) -> FlexTensor {
    let primitive = mask.try_into_primitive::<Flex>();
    with_contiguous_rows(primitive.expect("targets are on the device of the embeddings"))
}

fn integers(tensor: &Tensor<1, Int>) -> Vec<i64> {
    tensor.to_data().iter().collect()
}
