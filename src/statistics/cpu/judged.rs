//! Targets in memory that the kernels read.

use burn::{
    backend::{
        Backend, TensorMetadata,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{DType, read_sync},
};

use super::{CpuBackend, Entry};
use crate::{
    kernels::cpu::{Judgements, Relevance},
    statistics::judged::{self, Candidates, Ceilings, Chosen, Judged, Weights},
    targets::Lists,
};

/// The targets of a batch, masks without gaps and numbers as the kernels count.
#[derive(Debug)]
pub struct HostJudged<B: Backend> {
    relevance: HostRelevance<B>,
    candidates: Candidates<B>,
    weights: Weights<B>,
    ceilings: Ceilings<B>,
    chosen: Option<Vec<i64>>,
}

#[derive(Debug)]
enum HostRelevance<B: Backend> {
    Mask(B::BoolTensorPrimitive),
    Labels {
        queries: Vec<i64>,
        documents: Vec<i64>,
    },
    Lists(Lists),
}

impl<B: CpuBackend> HostJudged<B> {
    pub fn new(judged: Judged<B>) -> Self {
        Self {
            relevance: match judged.relevance {
                judged::Relevance::Mask(mask) => {
                    HostRelevance::Mask(B::mask_with_contiguous_rows(mask))
                }
                judged::Relevance::Labels { queries, documents } => HostRelevance::Labels {
                    queries: integers::<B>(queries),
                    documents: integers::<B>(documents),
                },
                judged::Relevance::Lists(lists) => HostRelevance::Lists(lists),
            },
            candidates: match judged.candidates {
                Candidates::All => Candidates::All,
                Candidates::Mask(mask) => Candidates::Mask(B::mask_with_contiguous_rows(mask)),
            },
            weights: match judged.weights {
                Weights::All => Weights::All,
                Weights::Matrix(weights) => Weights::Matrix(B::with_contiguous_rows(weights)),
            },
            ceilings: match judged.ceilings {
                Ceilings::None => Ceilings::None,
                Ceilings::Each(ceilings) => Ceilings::Each(B::without_gaps(ceilings)),
            },
            chosen: match judged.chosen {
                Chosen::All => None,
                Chosen::Column(columns) => Some(integers::<B>(columns)),
            },
        }
    }

    /// Ignores negatives above the ceiling of their query, `[1, queries]`.
    pub fn with_ceilings(self, ceilings: FloatTensor<B>) -> Self {
        Self {
            ceilings: Ceilings::Each(ceilings),
            ..self
        }
    }

    /// The number of documents.
    pub fn documents(&self) -> usize {
        match &self.relevance {
            HostRelevance::Mask(mask) => B::mask(mask).shape()[1],
            HostRelevance::Labels { documents, .. } => documents.len(),
            HostRelevance::Lists(lists) => lists.dims()[1],
        }
    }

    /// The type of the weights, if there are any.
    pub fn weights_dtype(&self) -> Option<DType> {
        match &self.weights {
            Weights::All => None,
            Weights::Matrix(weights) => Some(weights.dtype()),
        }
    }

    /// The targets, whose weights are in `R`.
    pub fn judgements<R: Entry>(&self) -> Judgements<'_, R> {
        Judgements {
            relevance: match &self.relevance {
                HostRelevance::Mask(mask) => Relevance::Mask(B::mask(mask)),
                HostRelevance::Labels { queries, documents } => {
                    Relevance::Labels { queries, documents }
                }
                HostRelevance::Lists(lists) => Relevance::Columns {
                    positives: lists.columns(),
                    weights: lists.weights(),
                    ignored: lists.ignored(),
                },
            },
            candidates: match &self.candidates {
                Candidates::All => None,
                Candidates::Mask(mask) => Some(B::mask(mask)),
            },
            weights: match &self.weights {
                Weights::All => None,
                Weights::Matrix(weights) => Some(B::matrix(weights)),
            },
            ceilings: match &self.ceilings {
                Ceilings::None => None,
                Ceilings::Each(ceilings) => Some(B::matrix(ceilings).row(0)),
            },
            chosen: self.chosen.as_deref(),
        }
    }
}

fn integers<B: Backend>(tensor: IntTensor<B>) -> Vec<i64> {
    let data = read_sync(B::int_into_data(tensor)).expect("a CPU's tensor can be read");
    data.iter().collect()
}
