//! The statistics of the dot products of embeddings, without the `[queries, documents]` matrix of
//! their scores: tiles of it are computed, used, and computed again for the gradient.

#[cfg(feature = "cpu")]
mod cpu;
mod rows;

use burn::tensor::{DType, Tensor};

use super::{fused, operations, wide};
use crate::{Embeddings, Targets, Tile, device::Processor, kernels::table::Request};

/// The table of statistics, `[queries, WIDTH]` or wider.
pub(super) fn table(embeddings: Embeddings, targets: &Targets, request: Request) -> Tensor<2> {
    let Embeddings {
        queries,
        documents,
        tile,
    } = embeddings;
    let processor = Processor::of(&queries.device());
    let counts = targets.dims();
    let is_autodiff = queries.is_autodiff() || documents.is_autodiff();
    let is_empty = counts.contains(&0) || queries.dims()[1] == 0;
    if is_empty || is_autodiff && !processor.has_graph() {
        let scores = queries.matmul(documents.transpose());
        return fused::table(scores, targets, request);
    }
    let [queries, documents] =
        [queries, documents].map(|x| match processor.has_fast_products(x.dtype()) {
            true => x,
            false => x.cast(DType::F32),
        });
    let batch = Batch {
        queries: queries.clone().without_autodiff(),
        documents: documents.clone().without_autodiff(),
        targets: targets.clone(),
        request,
        tile: tile.unwrap_or_else(|| Tile::of(processor, counts)),
    };
    let (table, gradients) = match processor {
        #[cfg(feature = "flex")]
        Processor::Flex => cpu::forward::<burn::backend::Flex>(batch),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)]
        Processor::NdArray => cpu::forward::<burn::backend::NdArray>(batch),
        _ => rows::forward(batch),
    };
    match is_autodiff {
        true => operations::connect(queries, documents, table, gradients),
        false => table,
    }
}

/// What a table is computed from; the embeddings without autodiff.
#[derive(Clone, Debug)]
struct Batch {
    queries: Tensor<2>,
    documents: Tensor<2>,
    targets: Targets,
    request: Request,
    tile: Tile,
}
