//! The statistics of the dot products of embeddings, without the `[queries, documents]` matrix of
//! their scores: tiles of it are computed, used, and computed again for the gradient.

#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "cpu")]
mod nested;
mod rows;

use burn::tensor::{DType, Tensor};

use super::{fused, operations, wide};
use crate::{Embeddings, Targets, Tile, device::Processor, kernels::table::Request};

/// The table of statistics, `[queries, WIDTH]` or wider.
pub(super) fn table(embeddings: Embeddings, targets: &Targets, request: Request) -> Tensor<2> {
    if !embeddings.have_tiles() {
        let scores = embeddings.queries.matmul(embeddings.documents.transpose());
        return fused::table(scores, targets, request);
    }
    tables(embeddings, targets, request, Tables::OfQueries)
}

/// The tables of both directions; `mirrored` are the targets of the documents over the queries.
pub(super) fn both(
    embeddings: Embeddings,
    targets: &Targets,
    mirrored: &Targets,
    request: Request,
) -> [Tensor<2>; 2] {
    if !embeddings.share_products() {
        let transposed = embeddings.clone().transpose();
        return [
            table(embeddings, targets, request),
            table(transposed, mirrored, request),
        ];
    }
    let [queries, documents] = targets.dims();
    let mirrored = Box::new(mirrored.clone());
    let tables = tables(embeddings, targets, request, Tables::OfBoth { mirrored });
    [(0, queries), (queries, documents)].map(|(first, rows)| tables.clone().narrow(0, first, rows))
}

/// The table of embeddings over themselves.
pub(super) fn symmetric(
    both: Tensor<2>,
    tile: Option<Tile>,
    targets: &Targets,
    request: Request,
) -> Tensor<2> {
    let shared = |documents: Tensor<2>| Embeddings {
        queries: both.clone(),
        documents,
        tile,
    };
    let embeddings = shared(both.clone());
    if !embeddings.share_products() {
        return table(embeddings, targets, request);
    }
    // All of the gradient is that of the queries.
    let embeddings = shared(both.clone().detach());
    tables(embeddings, targets, request, Tables::Symmetric)
}

/// The tables of embeddings cut to so many `sizes` dimensions, ascending, and normalized anew if
/// wanted.
pub(super) fn nested(
    embeddings: Embeddings,
    targets: &Targets,
    request: Request,
    sizes: &[usize],
    normalize: bool,
) -> Vec<Tensor<2>> {
    if !embeddings.share_products() {
        let of_size = |&size: &usize| {
            let leading = embeddings.clone().leading(size, normalize);
            table(leading, targets, request)
        };
        return sizes.iter().map(of_size).collect();
    }
    let [queries, _] = targets.dims();
    let nested = Tables::Nested {
        sizes: sizes.to_vec(),
        normalize,
    };
    let tables = tables(embeddings, targets, request, nested);
    let of_size = |level: usize| tables.clone().narrow(0, level * queries, queries);
    (0..sizes.len()).map(of_size).collect()
}

impl Embeddings {
    /// Whether their scores are computed tile by tile.
    fn have_tiles(&self) -> bool {
        let is_autodiff = self.queries.is_autodiff() || self.documents.is_autodiff();
        let is_empty = [&self.queries, &self.documents].map(Tensor::dims);
        let is_empty = is_empty.as_flattened().contains(&0);
        let processor = Processor::of(&self.queries.device());
        !is_empty && (processor.has_graph() || !is_autodiff)
    }

    /// Whether several tables are computed from the same products.
    fn share_products(&self) -> bool {
        self.have_tiles() && Processor::of(&self.queries.device()).shares_products()
    }
}

/// The tables, one behind the other.
fn tables(
    embeddings: Embeddings,
    targets: &Targets,
    request: Request,
    tables: Tables,
) -> Tensor<2> {
    let Embeddings {
        queries,
        documents,
        tile,
    } = embeddings;
    let processor = Processor::of(&queries.device());
    let is_autodiff = queries.is_autodiff() || documents.is_autodiff();
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
        tables,
        tile: tile.unwrap_or_else(|| Tile::of(processor, targets.dims())),
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
    #[cfg_attr(not(feature = "cpu"), allow(dead_code))]
    tables: Tables,
    tile: Tile,
}

/// Which tables are wanted; those behind the first need a device that shares products.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "cpu"), allow(dead_code))]
enum Tables {
    OfQueries,
    /// That of the queries, which are the documents as well.
    Symmetric,
    /// That of the queries, then that of the documents over the queries.
    OfBoth {
        mirrored: Box<Targets>,
    },
    /// Those of the queries at several sizes.
    Nested {
        sizes: Vec<usize>,
        normalize: bool,
    },
}
