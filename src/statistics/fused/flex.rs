//! The CPU kernels on Burn's CPU backend.

use burn::{
    backend::{
        Flex, TensorMetadata,
        flex::FlexTensor,
        tensor::{BoolTensor, FloatTensor, IntTensor},
    },
    tensor::{DType, Element, TensorData, bf16, f16},
};
use bytemuck::Pod;

use super::{Chosen, Options, StatisticsOps};
use crate::{
    kernel::{self, Choices, Judgements, Matrix, Relevant},
    statistics::{
        host::{matrix, pages, with_contiguous_rows},
        table::WIDTH,
    },
};

impl StatisticsOps for Flex {
    fn row_statistics(
        scores: FloatTensor<Self>,
        positives: BoolTensor<Self>,
        candidates: BoolTensor<Self>,
        chosen: IntTensor<Self>,
        options: Options,
    ) -> FloatTensor<Self> {
        let run = match scores.dtype() {
            DType::F64 => forward::<f64>,
            DType::F32 => forward::<f32>,
            DType::F16 => forward::<f16>,
            DType::BF16 => forward::<bf16>,
            dtype => panic!("row_statistics: expected scores of a float type, got {dtype:?}"),
        };
        run(scores, Targets::new(positives, candidates, chosen, options))
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
        let run = match scores.dtype() {
            DType::F64 => backward::<f64>,
            DType::F32 => backward::<f32>,
            DType::F16 => backward::<f16>,
            DType::BF16 => backward::<bf16>,
            dtype => panic!("row_statistics: expected scores of a float type, got {dtype:?}"),
        };
        let targets = Targets::new(positives, candidates, chosen, options);
        run(scores, targets, table, upstream)
    }
}

struct Targets {
    positives: FlexTensor,
    candidates: Option<FlexTensor>,
    choices: Vec<i64>,
    options: Options,
}

impl Targets {
    fn new(
        positives: FlexTensor,
        candidates: FlexTensor,
        chosen: FlexTensor,
        options: Options,
    ) -> Self {
        Self {
            positives: with_contiguous_rows(positives),
            candidates: options
                .has_candidates
                .then(|| with_contiguous_rows(candidates)),
            choices: match options.choice {
                Some(_) => chosen.into_data().iter().collect(),
                None => Vec::new(),
            },
            options,
        }
    }

    fn judgements(&self) -> Judgements<'_> {
        Judgements {
            relevant: Relevant::Mask(matrix(&self.positives)),
            candidates: self.candidates.as_ref().map(matrix),
            choices: self.options.choice.map(|choice| match choice {
                Chosen::Column => Choices::Columns(&self.choices),
                Chosen::Draw => Choices::Draws(&self.choices),
            }),
        }
    }
}

fn forward<E>(scores: FlexTensor, targets: Targets) -> FlexTensor
where
    E: kernel::Element<Real: Element + Pod> + Element + Pod,
{
    let scores = with_contiguous_rows(scores);
    let request = targets.options.request;
    let table = kernel::forward::<E>(matrix(&scores), targets.judgements(), request);
    let queries = table.len() / WIDTH;
    FlexTensor::from_data(TensorData::new(table, [queries, WIDTH]))
}

fn backward<E>(
    scores: FlexTensor,
    targets: Targets,
    table: FlexTensor,
    upstream: FlexTensor,
) -> FlexTensor
where
    E: kernel::Element<Real: Element + Pod> + Element + Pod,
{
    let request = targets.options.request;
    let (table, upstream) = (table.to_contiguous(), upstream.to_contiguous());
    let run = |scores: Option<Matrix<E>>, out: &mut [E]| {
        let (table, upstream) = (table.storage(), upstream.storage());
        kernel::backward(scores, targets.judgements(), request, table, upstream, out);
    };

    let fills_its_buffer = scores.is_contiguous()
        && scores.layout().num_elements() * size_of::<E>() == scores.bytes().len();
    let mut scores = with_contiguous_rows(scores);
    if fills_its_buffer && let Some(buffer) = scores.try_storage_mut::<E>() {
        // Nobody else will read these scores: their gradient takes their place.
        run(None, buffer);
        return scores;
    }
    let mut gradient = pages::empty(scores.shape(), scores.dtype());
    run(Some(matrix(&scores)), gradient.storage_mut());
    gradient
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Bool, Device, Distribution, Tensor};

    use super::*;
    use crate::statistics::{
        Statistic, Statistics,
        table::{POSITIVE_COUNT, Request},
    };

    const SHAPE: [usize; 2] = [5, 700];

    fn batch() -> (Tensor<2>, Tensor<2, Bool>) {
        let device = Device::flex();
        let scores = Tensor::random(SHAPE, Distribution::Uniform(-9.0, 9.0), &device);
        let positives = scores.clone().slice([0..5, 0..700]).greater_scalar(8.5);
        (scores, positives)
    }

    fn options() -> Options {
        Options {
            request: Request::new(0.1, &Statistic::ALL),
            has_candidates: false,
            choice: None,
        }
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
        let statistics = Statistics::new(scores.clone(), &targets, 0.1, &Statistic::ALL);
        let composed = Statistics::composed(scores.clone(), &targets, 0.1, &Statistic::ALL);
        let (scores, positives) = primitives(scores, positives);
        let judgements = Judgements {
            relevant: Relevant::Mask(matrix(&positives)),
            candidates: None,
            choices: None,
        };
        let kernel = kernel::forward::<f32>(matrix(&scores), judgements, options().request);
        let bits = |statistics: Statistics| -> Vec<f32> {
            statistics.table.into_data().iter::<f32>().collect()
        };
        assert_eq!(bits(statistics), kernel);
        // The two forms round differently, so that equality tells them apart.
        assert_ne!(bits(composed), kernel);
        assert!(kernel[POSITIVE_COUNT] > 0.0);
    }

    fn gradient_of(scores: FlexTensor, positives: FlexTensor) -> FlexTensor {
        let (rows, columns) = (positives.clone(), positives.clone());
        let table = Flex::row_statistics(scores.clone(), rows, columns.clone(), columns, options());
        let upstream = table.clone();
        let (candidates, chosen) = (positives.clone(), positives.clone());
        Flex::row_statistics_backward(
            scores,
            positives,
            candidates,
            chosen,
            table,
            upstream,
            options(),
        )
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
