//! Targets in memory that the kernels read.

use burn::{
    backend::{Backend, tensor::IntTensor},
    tensor::read_sync,
};

use super::CpuBackend;
use crate::{
    kernels::cpu::{Judgements, Relevance},
    statistics::judged::{self, Candidates, Chosen, Judged},
    targets::Lists,
};

/// The targets of a batch, masks without gaps and numbers as the kernels count.
#[derive(Debug)]
pub struct HostJudged<B: Backend> {
    relevance: HostRelevance<B>,
    candidates: Candidates<B>,
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
            chosen: match judged.chosen {
                Chosen::All => None,
                Chosen::Column(columns) => Some(integers::<B>(columns)),
            },
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

    pub fn judgements(&self) -> Judgements<'_> {
        Judgements {
            relevance: match &self.relevance {
                HostRelevance::Mask(mask) => Relevance::Mask(B::mask(mask)),
                HostRelevance::Labels { queries, documents } => {
                    Relevance::Labels { queries, documents }
                }
                HostRelevance::Lists(lists) => Relevance::Columns {
                    positives: lists.columns(),
                    ignored: lists.ignored(),
                },
            },
            candidates: match &self.candidates {
                Candidates::All => None,
                Candidates::Mask(mask) => Some(B::mask(mask)),
            },
            chosen: self.chosen.as_deref(),
        }
    }
}

fn integers<B: Backend>(tensor: IntTensor<B>) -> Vec<i64> {
    let data = read_sync(B::int_into_data(tensor)).expect("a CPU's tensor can be read");
    data.iter().collect()
}
