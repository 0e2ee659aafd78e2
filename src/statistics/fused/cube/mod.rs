//! The statistics as kernels for every CubeCL runtime.

mod inputs;
mod launch;
#[cfg(all(test, feature = "cpu"))]
mod tests;

use burn::{
    backend::{
        ops::FloatTensorOps,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::DType,
};
use burn_cubecl::{CubeBackend, kernel::into_contiguous};

use crate::{
    kernels::{ceiling::FalseNegatives, table::Request},
    statistics::{
        judged::Judged,
        operations::{StatisticsOps, ceilings_shape, table_shape},
    },
};
use inputs::Inputs;

impl StatisticsOps for CubeBackend {
    fn row_statistics(
        scores: FloatTensor<Self>,
        judged: Judged<Self>,
        request: Request,
    ) -> FloatTensor<Self> {
        let inputs = Inputs::new(scores, judged);
        if inputs.shape.contains(&0) {
            let shape = table_shape(inputs.scores.meta.shape());
            return Self::float_zeros(shape, &inputs.scores.device, DType::F32.into());
        }
        inputs.table(request)
    }

    fn row_statistics_backward(
        scores: FloatTensor<Self>,
        judged: Judged<Self>,
        table: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        request: Request,
    ) -> FloatTensor<Self> {
        let inputs = Inputs::new(scores, judged);
        if inputs.shape.contains(&0) {
            // The gradient of nothing is as empty.
            return inputs.scores;
        }
        inputs.gradient(into_contiguous(table), into_contiguous(upstream), request)
    }

    fn row_ceilings(
        scores: FloatTensor<Self>,
        judged: Judged<Self>,
        rule: FalseNegatives,
    ) -> FloatTensor<Self> {
        let inputs = Inputs::new(scores, judged);
        if inputs.shape.contains(&0) {
            let shape = ceilings_shape(inputs.scores.meta.shape());
            return Self::float_zeros(shape, &inputs.scores.device, DType::F32.into());
        }
        inputs.ceilings(rule)
    }

    fn drawn_columns(draws: FloatTensor<Self>, judged: Judged<Self>) -> IntTensor<Self> {
        launch::drawn_columns(into_contiguous(draws), judged)
    }
}
