//! The CPU kernels on NdArray: its tensors go to Burn's CPU backend and back as host data.

use burn::{
    backend::{
        Flex, NdArray,
        flex::FlexTensor,
        ops::{BoolTensorOps, FloatTensorOps, IntTensorOps},
        tensor::{BoolTensor, FloatTensor, IntTensor},
    },
    tensor::{TensorData, read_sync},
};

use super::{Options, StatisticsOps};

impl StatisticsOps for NdArray {
    fn row_statistics(
        scores: FloatTensor<Self>,
        positives: BoolTensor<Self>,
        candidates: BoolTensor<Self>,
        chosen: IntTensor<Self>,
        options: Options,
    ) -> FloatTensor<Self> {
        float_from_flex(Flex::row_statistics(
            float(scores),
            bool(positives),
            bool(candidates),
            int(chosen),
            options,
        ))
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
        float_from_flex(Flex::row_statistics_backward(
            float(scores),
            bool(positives),
            bool(candidates),
            int(chosen),
            float(table),
            float(upstream),
            options,
        ))
    }
}

fn float(tensor: FloatTensor<NdArray>) -> FlexTensor {
    flex(read_sync(NdArray::float_into_data(tensor)))
}

fn bool(tensor: BoolTensor<NdArray>) -> FlexTensor {
    flex(read_sync(NdArray::bool_into_data(tensor)))
}

fn int(tensor: IntTensor<NdArray>) -> FlexTensor {
    flex(read_sync(NdArray::int_into_data(tensor)))
}

fn flex<Error: std::fmt::Debug>(data: Result<TensorData, Error>) -> FlexTensor {
    FlexTensor::from_data(data.expect("NdArray keeps its data on the host"))
}

fn float_from_flex(tensor: FlexTensor) -> FloatTensor<NdArray> {
    NdArray::float_from_data(tensor.into_data(), &Default::default())
}
