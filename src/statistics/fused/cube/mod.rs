//! The statistics as kernels for every CubeCL runtime.

mod inputs;
mod kernels;
#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::{
    backend::{
        ops::FloatTensorOps,
        tensor::{BoolTensor, FloatTensor, IntTensor},
    },
    tensor::{DType, Shape},
};
use burn_cubecl::{
    CubeBackend, kernel::into_contiguous, ops::numeric::empty_device_contiguous_dtype,
    tensor::CubeTensor,
};

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
        let [rows, columns] = inputs.shape;
        if rows == 0 || columns == 0 {
            let device = &inputs.scores.device;
            return Self::float_zeros(Shape::new([rows, WIDTH]), device, DType::F32.into());
        }
        let table = empty_like(&inputs.scores, Shape::new([rows, WIDTH]), DType::F32);
        inputs.forward(table.clone());
        table
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
        let gradient = empty_like(
            &inputs.scores,
            Shape::new(inputs.shape),
            inputs.scores.dtype,
        );
        if !inputs.shape.contains(&0) {
            inputs.backward(
                into_contiguous(table),
                into_contiguous(upstream),
                gradient.clone(),
            );
        }
        gradient
    }
}

/// A contiguous tensor on the same device, of unknown values.
fn empty_like(tensor: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), shape, dtype)
}
