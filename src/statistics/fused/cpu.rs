//! The operation on Burn's CPU backends, by the kernels over slices.

use burn::{
    backend::{
        TensorMetadata,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{DType, TensorData, bf16, f16, read_sync},
};

use super::{Judged, Request, StatisticsOps};
use crate::{
    kernels::{
        cpu::{self, Matrix},
        table::WIDTH,
    },
    statistics::cpu::{CpuBackend, HostJudged, Output, Storage, from_entries},
};

/// The operation of one CPU backend. Macros know no other way to name the same for several.
macro_rules! statistics_ops {
    ($backend:ty) => {
        impl StatisticsOps for $backend {
            fn row_statistics(
                scores: FloatTensor<Self>,
                judged: Judged<Self>,
                request: Request,
            ) -> FloatTensor<Self> {
                forward::<Self>(scores, judged, request)
            }

            fn row_statistics_backward(
                scores: FloatTensor<Self>,
                judged: Judged<Self>,
                table: FloatTensor<Self>,
                upstream: FloatTensor<Self>,
                request: Request,
            ) -> FloatTensor<Self> {
                backward::<Self>(scores, judged, table, upstream, request)
            }

            fn drawn_columns(draws: FloatTensor<Self>, judged: Judged<Self>) -> IntTensor<Self> {
                drawn_columns::<Self>(draws, judged)
            }
        }
    };
}

#[cfg(feature = "flex")]
statistics_ops!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
statistics_ops!(burn::backend::NdArray);

fn forward<B: CpuBackend>(
    scores: FloatTensor<B>,
    judged: Judged<B>,
    request: Request,
) -> FloatTensor<B> {
    let run = match scores.dtype() {
        DType::F64 => forward_of::<B, f64>,
        DType::F32 => forward_of::<B, f32>,
        DType::F16 => forward_of::<B, f16>,
        DType::BF16 => forward_of::<B, bf16>,
        dtype => panic!("row_statistics: expected scores of a float type, got {dtype:?}"),
    };
    run(scores, HostJudged::new(judged), request)
}

fn forward_of<B: CpuBackend, E: Storage>(
    scores: FloatTensor<B>,
    judged: HostJudged<B>,
    request: Request,
) -> FloatTensor<B> {
    let device = scores.device();
    let scores = B::with_contiguous_rows(scores);
    let table = cpu::forward::<E>(B::matrix(&scores), judged.judgements(), request);
    let queries = table.len() / WIDTH;
    from_entries::<B, E::Real>(table, [queries, WIDTH], &device)
}

fn backward<B: CpuBackend>(
    scores: FloatTensor<B>,
    judged: Judged<B>,
    table: FloatTensor<B>,
    upstream: FloatTensor<B>,
    request: Request,
) -> FloatTensor<B> {
    let run = match scores.dtype() {
        DType::F64 => backward_of::<B, f64>,
        DType::F32 => backward_of::<B, f32>,
        DType::F16 => backward_of::<B, f16>,
        DType::BF16 => backward_of::<B, bf16>,
        dtype => panic!("row_statistics: expected scores of a float type, got {dtype:?}"),
    };
    run(scores, HostJudged::new(judged), table, upstream, request)
}

fn backward_of<B: CpuBackend, E: Storage>(
    scores: FloatTensor<B>,
    judged: HostJudged<B>,
    table: FloatTensor<B>,
    upstream: FloatTensor<B>,
    request: Request,
) -> FloatTensor<B> {
    let (table, upstream) = (B::without_gaps(table), B::without_gaps(upstream));
    let run = |scores: Option<Matrix<E>>, out: &mut [E]| {
        let [table, upstream] = [&table, &upstream].map(|x| B::matrix::<E::Real>(x).data());
        cpu::backward(scores, judged.judgements(), request, table, upstream, out);
    };
    // Nobody else will read these scores: their gradient takes their place.
    match B::overwrite(scores, |out| run(None, out)) {
        Ok(gradient) => gradient,
        Err(scores) => {
            let device = scores.device();
            let scores = B::with_contiguous_rows(scores);
            let mut out = Output::<E>::new(scores.shape());
            run(Some(B::matrix(&scores)), out.entries());
            out.into_tensor::<B>(&device)
        }
    }
}

fn drawn_columns<B: CpuBackend>(draws: FloatTensor<B>, judged: Judged<B>) -> IntTensor<B> {
    let device = draws.device();
    let draws = read_sync(B::float_into_data(draws)).expect("a CPU's tensor can be read");
    let draws: Vec<f32> = draws.iter().collect();
    let judged = HostJudged::new(judged);
    let columns = cpu::drawn_columns(judged.judgements(), judged.documents(), &draws);
    let shape = [columns.len()];
    B::int_from_data(TensorData::new(columns, shape), &device)
}
