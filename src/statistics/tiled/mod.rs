//! The statistics of the dot products of embeddings, without the `[queries, documents]` matrix of
//! their scores: tiles of it are computed, used, and computed again for the gradient.

#[cfg(feature = "flex")]
mod flex;
mod graph;
mod rows;
mod tile;

use std::fmt::Debug;

#[cfg(any(feature = "flex", feature = "cubecl"))]
use burn::backend::DispatchDevice;
use burn::tensor::{DType, Tensor};

use super::{fused, table::Request};
use crate::Targets;

pub use tile::Tile;

/// The table of statistics, `[queries, WIDTH]` or wider.
pub(super) fn table(
    queries: Tensor<2>,
    documents: Tensor<2>,
    targets: &Targets,
    request: Request,
    tile: Option<Tile>,
) -> Tensor<2> {
    let device = queries.device();
    let counts = targets.dims();
    let is_autodiff = queries.is_autodiff() || documents.is_autodiff();
    let is_empty = counts.contains(&0) || queries.dims()[1] == 0;
    if is_empty || is_autodiff && !graph::is_known(&device) {
        let scores = queries.matmul(documents.transpose());
        return fused::table(scores, targets, request);
    }
    let [queries, documents] = [queries, documents].map(|x| match has_fast_products(&x) {
        true => x,
        false => x.cast(DType::F32),
    });
    let batch = Batch {
        queries: queries.clone().without_autodiff(),
        documents: documents.clone().without_autodiff(),
        targets: targets.clone(),
        request,
        tile: tile.unwrap_or_else(|| Tile::of(&device, counts)),
    };
    let (table, backward) = match device.without_autodiff().as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => flex::forward(batch),
        _ => rows::forward(batch),
    };
    match is_autodiff {
        true => graph::connect(queries, documents, table, backward),
        false => table,
    }
}

/// Whether to multiply in the type of the embeddings: half precision buys a CPU nothing, and
/// rounds the scores.
fn has_fast_products(embeddings: &Tensor<2>) -> bool {
    match embeddings.device().without_autodiff().as_dispatch() {
        #[cfg(feature = "cubecl")]
        DispatchDevice::Cube(_) => true,
        _ => matches!(embeddings.dtype(), DType::F32 | DType::F64),
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

/// The gradients of the embeddings, queries and documents, given that of the table.
trait Backward: Debug + Send + Sync {
    /// Those that are `needed`.
    fn gradients(&self, upstream: Tensor<2>, needed: [bool; 2]) -> [Option<Tensor<2>>; 2];
}
