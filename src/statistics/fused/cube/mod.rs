//! The statistics as kernels for every CubeCL runtime.

mod inputs;
mod kernels;
mod launch;
#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::{
    backend::{
        ops::FloatTensorOps,
        tensor::{BoolTensor, FloatTensor, IntTensor},
    },
    tensor::{DType, Shape},
};
use burn_cubecl::{CubeBackend, kernel::into_contiguous};

use super::{Options, StatisticsOps};
use inputs::Inputs;
use kernels::WIDTH;

/// The shape of the table: the backward kernel has columns of its own there.
pub(super) fn table_shape(scores: &Shape) -> Shape {
    Shape::new([scores[0], WIDTH])
}

impl StatisticsOps for CubeBackend {
    fn row_statistics(
        scores: FloatTensor<Self>,
        positives: BoolTensor<Self>,
        candidates: BoolTensor<Self>,
        chosen: IntTensor<Self>,
        options: Options,
    ) -> FloatTensor<Self> {
        let inputs = Inputs::new(scores, positives, candidates, chosen, options);
        if inputs.shape.contains(&0) {
            let shape = table_shape(inputs.scores.meta.shape());
            return Self::float_zeros(shape, &inputs.scores.device, DType::F32.into());
        }
        inputs.table()
    }

    fn row_statistics_backward(
        scores: FloatTensor<Self>,
        positives: BoolTensor<Self>,
        candidates: BoolTensor<Self>,
        chosen: IntTensor<Self>,
        table: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        options: Options,
    ) -> FloatTensor<Self> {
        let inputs = Inputs::new(scores, positives, candidates, chosen, options);
        if inputs.shape.contains(&0) {
            // The gradient of nothing is as empty.
            return inputs.scores;
        }
        inputs.gradient(into_contiguous(table), into_contiguous(upstream))
    }
}
