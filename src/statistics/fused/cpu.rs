//! The operation on Burn's CPU backends, by the kernels over slices.

// NdArray is deprecated, and served while Burn has it.
#![allow(deprecated)]

use burn::{
    backend::{
        TensorMetadata,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{DType, TensorData, bf16, f16, read_sync},
};

use crate::{
    kernels::{
        ceiling::FalseNegatives,
        cpu::{self, Matrix},
        table::{Request, WIDTH},
    },
    statistics::{
        cpu::{CpuBackend, HostJudged, Output, Storage, from_entries},
        judged::Judged,
        operations::StatisticsOps,
    },
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

            fn row_ceilings(
                scores: FloatTensor<Self>,
                judged: Judged<Self>,
                rule: FalseNegatives,
            ) -> FloatTensor<Self> {
                ceilings::<Self>(scores, judged, rule)
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

/// A function of a backend and the type that scores are stored in, for a type that is known now.
macro_rules! for_type {
    ($dtype:expr, $run:ident::<$backend:ident>) => {
        match $dtype {
            DType::F64 => $run::<$backend, f64>,
            DType::F32 => $run::<$backend, f32>,
            DType::F16 => $run::<$backend, f16>,
            DType::BF16 => $run::<$backend, bf16>,
            dtype => panic!("statistics: expected scores of a float type, got {dtype:?}"),
        }
    };
}

fn forward<B: CpuBackend>(
    scores: FloatTensor<B>,
    judged: Judged<B>,
    request: Request,
) -> FloatTensor<B> {
    let run = for_type!(scores.dtype(), forward_of::<B>);
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
    let run = for_type!(scores.dtype(), backward_of::<B>);
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

fn ceilings<B: CpuBackend>(
    scores: FloatTensor<B>,
    judged: Judged<B>,
    rule: FalseNegatives,
) -> FloatTensor<B> {
    let run = for_type!(scores.dtype(), ceilings_of::<B>);
    run(scores, HostJudged::new(judged), rule)
}

fn ceilings_of<B: CpuBackend, E: Storage>(
    scores: FloatTensor<B>,
    judged: HostJudged<B>,
    rule: FalseNegatives,
) -> FloatTensor<B> {
    let device = scores.device();
    let scores = B::with_contiguous_rows(scores);
    let ceilings = cpu::ceilings::<E>(B::matrix(&scores), judged.judgements(), rule);
    let shape = [1, ceilings.len()];
    from_entries::<B, E::Real>(ceilings, shape, &device)
}

fn drawn_columns<B: CpuBackend>(draws: FloatTensor<B>, judged: Judged<B>) -> IntTensor<B> {
    let device = draws.device();
    let draws = read_sync(B::float_into_data(draws)).expect("a CPU's tensor can be read");
    let draws: Vec<f32> = draws.iter().collect();
    let judged = HostJudged::new(judged);
    let documents = judged.documents();
    let columns = match judged.weights_dtype() {
        Some(DType::F64) => cpu::drawn_columns(judged.judgements::<f64>(), documents, &draws),
        _ => cpu::drawn_columns(judged.judgements::<f32>(), documents, &draws),
    };
    let shape = [columns.len()];
    B::int_from_data(TensorData::new(columns, shape), &device)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::{
        backend::{Flex, flex::FlexTensor},
        tensor::{Bool, Device, Distribution, Tensor},
    };

    use super::*;
    use crate::{
        kernels::{
            cpu::{Judgements, Relevance},
            table::{POSITIVE_COUNT, Statistic},
        },
        statistics::{
            Statistics,
            judged::{self, Candidates, Ceilings, Chosen, Weights},
        },
    };

    const SHAPE: [usize; 2] = [5, 700];

    fn batch() -> (Tensor<2>, Tensor<2, Bool>) {
        let device = Device::flex();
        let scores = Tensor::random(SHAPE, Distribution::Uniform(-9.0, 9.0), &device);
        let positives = scores.clone().slice([0..5, 0..700]).greater_scalar(8.5);
        (scores, positives)
    }

    fn request() -> Request {
        Request::new(0.1, &Statistic::ALL)
    }

    fn primitives(scores: Tensor<2>, positives: Tensor<2, Bool>) -> (FlexTensor, FlexTensor) {
        let scores = scores.try_into_primitive::<Flex>();
        let positives = positives.try_into_primitive::<Flex>();
        (scores.unwrap(), positives.unwrap())
    }

    #[test]
    fn the_fused_form_is_taken_unasked() {
        let (scores, positives) = batch();
        let targets = positives.clone().into();
        let statistics = Statistics::new(scores.clone(), &targets, request());
        let composed = Statistics::composed(scores.clone(), &targets, request());
        let (scores, positives) = primitives(scores, positives);
        let judgements = Judgements::of(Relevance::Mask(Flex::mask(&positives)));
        let kernel = cpu::forward::<f32>(Flex::matrix(&scores), judgements, request());
        let bits = |statistics: Statistics| -> Vec<f32> {
            statistics.table.into_data().iter::<f32>().collect()
        };
        assert_eq!(bits(statistics), kernel);
        // The two forms round differently, so that equality tells them apart.
        assert_ne!(bits(composed), kernel);
        assert!(kernel[POSITIVE_COUNT] > 0.0);
    }

    fn gradient_of(scores: FlexTensor, positives: FlexTensor) -> FlexTensor {
        let judged = || Judged {
            relevance: judged::Relevance::Mask(positives.clone()),
            candidates: Candidates::All,
            weights: Weights::All,
            ceilings: Ceilings::None,
            chosen: Chosen::All,
        };
        let table = Flex::row_statistics(scores.clone(), judged(), request());
        let upstream = table.clone();
        Flex::row_statistics_backward(scores, judged(), table, upstream, request())
    }

    #[test]
    fn scores_that_nobody_else_holds_give_their_buffer_to_the_gradient() {
        let (scores, positives) = batch();
        let (scores, positives) = primitives(scores, positives);
        let before = scores.bytes().as_ptr();
        assert_eq!(gradient_of(scores, positives).bytes().as_ptr(), before);
    }

    #[test]
    fn scores_that_are_held_stay_as_they_are() {
        let (scores, positives) = batch();
        let (scores, positives) = primitives(scores, positives);
        let before = scores.bytes().to_vec();
        let fresh = gradient_of(scores.clone(), positives.clone());
        assert_eq!(scores.bytes(), before);
        let reused = gradient_of(scores, positives);
        assert_eq!(fresh.bytes(), reused.bytes());
    }

    #[test]
    fn part_of_a_larger_buffer_is_not_overwritten() {
        let (scores, positives) = batch();
        let whole = scores.clone();
        let part = scores.narrow(0, 0, 3);
        let (part, positives) = primitives(part, positives.narrow(0, 0, 3));
        let before = whole.clone().into_data();
        gradient_of(part, positives);
        assert_eq!(whole.into_data(), before);
    }
}
