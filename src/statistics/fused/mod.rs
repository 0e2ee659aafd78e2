//! The statistics as one operation with a hand-written backward, on the backends that have it.

// NdArray is deprecated, and served while Burn has it.
#![allow(deprecated)]

mod autodiff;
#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "cubecl")]
mod cube;

use burn::{
    backend::{
        Backend, Dispatch, backend_extension,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::Tensor,
};

use super::{composed, judged::Judged};
use crate::{Targets, device::Processor, kernels::table::Request};

/// The table of statistics, `[queries, WIDTH]` or wider, fused where the device has it, else composed.
pub(super) fn table(scores: Tensor<2>, targets: &Targets, request: Request) -> Tensor<2> {
    let processor = Processor::of(&scores.device());
    if !processor.has_kernels(scores.dtype()) || scores.dims().contains(&0) {
        return composed::table(scores, targets, request);
    }
    Tensor::from_dispatch(Dispatch::row_statistics(
        scores.into_dispatch(),
        Judged::new(targets, processor.reads_lists()),
        request,
    ))
}

/// The gradient of scores without autodiff, given what [`table`] returned for them and its gradient.
pub(super) fn gradient(
    scores: Tensor<2>,
    targets: &Targets,
    request: Request,
    table: Tensor<2>,
    upstream: Tensor<2>,
) -> Tensor<2> {
    let processor = Processor::of(&scores.device());
    if !processor.has_kernels(scores.dtype()) {
        return composed::gradient(scores, targets, request, table, upstream);
    }
    Tensor::from_dispatch(Dispatch::row_statistics_backward(
        scores.into_dispatch(),
        Judged::new(targets, processor.reads_lists()),
        table.into_dispatch(),
        upstream.into_dispatch(),
        request,
    ))
}

#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cubecl"),
    Fusion: cfg(feature = "cubecl"),
    Autodiff
)]
pub trait StatisticsOps: Backend {
    /// The table of statistics of `scores`; it may have private columns.
    #[fusion(dtype = burn::tensor::DType::F32, shape = cube::table_shape(scores))]
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

    /// The columns of the positives that [draws](crate::kernels::draw) name, one of each query; any other
    /// number where a query has none.
    #[fusion(dtype = burn::tensor::DType::U32, shape = draws)]
    fn drawn_columns(
        draws: FloatTensor<Self>,
        #[extension_type] judged: Judged<Self>,
    ) -> IntTensor<Self>;
}
