//! The operations that backends implement, and their places in the autodiff graph. A backend is
//! named here once.

// NdArray is deprecated, and served while Burn has it.
#![allow(deprecated)]

mod autodiff;
mod graph;

use std::{fmt::Debug, sync::Arc};

use burn::{
    backend::{
        Backend, Dispatch, backend_extension,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::Tensor,
};

use super::judged::Judged;
use crate::kernels::{ceiling::FalseNegatives, table::Request};

/// The gradients of the embeddings, queries and documents, given that of the table.
pub trait Gradients: Debug + Send + Sync {
    /// Those that are `needed`.
    fn of_embeddings(&self, upstream: Tensor<2>, needed: [bool; 2]) -> [Option<Tensor<2>>; 2];
}

/// Makes `table`, which has no autodiff, a function of the embeddings.
pub fn connect(
    queries: Tensor<2>,
    documents: Tensor<2>,
    table: Tensor<2>,
    gradients: Arc<dyn Gradients>,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::table_of_embeddings(
        queries.into_dispatch(),
        documents.into_dispatch(),
        table.into_dispatch(),
        gradients,
    ))
}

/// The shape of a table on CubeCL backends: the backward kernel has columns of its own there.
#[cfg(feature = "cubecl")]
pub fn table_shape(scores: &burn::tensor::Shape) -> burn::tensor::Shape {
    burn::tensor::Shape::new([scores[0], crate::kernels::cube::WIDTH])
}

/// The shape of ceilings.
#[cfg(feature = "cubecl")]
pub fn ceilings_shape(scores: &burn::tensor::Shape) -> burn::tensor::Shape {
    burn::tensor::Shape::new([1, scores[0]])
}

#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cubecl"),
    Remote: cfg(feature = "remote"),
    Fusion: cfg(feature = "cubecl"),
    Autodiff
)]
pub trait StatisticsOps: Backend {
    /// The table of statistics of `scores`; it may have private columns.
    #[fusion(dtype = burn::tensor::DType::F32, shape = table_shape(scores))]
    fn row_statistics(
        scores: FloatTensor<Self>,
        #[extension_type] judged: Judged<Self>,
        request: Request,
    ) -> FloatTensor<Self>;

    /// The gradient of `scores`, given the table and its gradient.
    #[allow(unused_variables)]
    #[fusion(dtype = scores, shape = scores)]
    fn row_statistics_backward(
        scores: FloatTensor<Self>,
        #[extension_type] judged: Judged<Self>,
        table: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        request: Request,
    ) -> FloatTensor<Self> {
        unreachable!("autodiff is of first order")
    }

    /// The ceilings of the negatives of each query, `[1, queries]`, in the type of the
    /// statistics; any number where a query has no positive.
    #[fusion(dtype = burn::tensor::DType::F32, shape = ceilings_shape(scores))]
    fn row_ceilings(
        scores: FloatTensor<Self>,
        #[extension_type] judged: Judged<Self>,
        rule: FalseNegatives,
    ) -> FloatTensor<Self>;

    /// The columns of the positives that [draws](crate::kernels::draw) name, one of each
    /// query; any other number where a query has none.
    #[fusion(dtype = burn::tensor::DType::U32, shape = draws)]
    fn drawn_columns(
        draws: FloatTensor<Self>,
        #[extension_type] judged: Judged<Self>,
    ) -> IntTensor<Self>;

    /// The table itself; with autodiff, a function of the embeddings that it was computed from.
    #[allow(unused_variables)]
    #[fusion(default)]
    fn table_of_embeddings(
        queries: FloatTensor<Self>,
        documents: FloatTensor<Self>,
        table: FloatTensor<Self>,
        gradients: Arc<dyn Gradients>,
    ) -> FloatTensor<Self> {
        table
    }
}
