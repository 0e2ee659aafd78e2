//! Every way in which the crate computes a loss and its gradient.

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use burn_multi_positive::{
    Embeddings, MarginMseLoss, Targets,
    statistics::{Request, Statistics},
};

use crate::{
    objectives::{Loss, Setting},
    precision::Precision,
    rows::Batch,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// Composed Burn operations, on Burn's CPU backend.
    Composed,
    /// The kernels on plain slices.
    Kernels,
    /// From embeddings, tile by tile, with those kernels.
    Tiled,
    /// The kernels for CubeCL, through wgpu.
    CubeCl,
}

impl Path {
    pub const ALL: &[Self] = &[
        Self::Kernels,
        Self::Tiled,
        Self::Composed,
        #[cfg(feature = "wgpu")]
        Self::CubeCl,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Composed => "composed",
            Self::Kernels => "CPU kernels",
            Self::Tiled => "tiled",
            Self::CubeCl => "CubeCL kernels",
        }
    }

    fn device(self) -> Device {
        match self {
            #[cfg(feature = "wgpu")]
            Self::CubeCl => Device::wgpu(Default::default()),
            _ => Device::flex(),
        }
    }

    /// Whether the path computes this at all.
    pub fn takes(self, setting: &Setting, precision: Precision) -> bool {
        match (self, setting.loss) {
            // There is one form of it.
            (Self::Composed, Loss::MarginMse) => true,
            (_, Loss::MarginMse) => false,
            (Self::CubeCl, _) => {
                // Shaders have no functions of f64.
                precision != Precision::F64 && self.device().supports_dtype(precision.dtype())
            }
            _ => true,
        }
    }

    /// Losses and gradients of the rows of a batch.
    pub fn run(self, setting: &Setting, batch: &Batch) -> Outcome {
        let device = self.device();
        let dtype = batch.precision.dtype();
        let targets = targets(setting, batch, &device);
        let on = device.clone().autodiff();
        let scores = || {
            let rows: Vec<&[f64]> = batch.rows.iter().map(|row| &*row.scores).collect();
            matrix(&rows.concat(), rows.len(), &on, dtype).require_grad()
        };
        let Some(objective) = setting.objective(batch.temperature) else {
            let rows: Vec<&[f64]> = batch.rows.iter().map(|row| &*row.teacher).collect();
            let teacher = matrix(&rows.concat(), rows.len(), &on, dtype);
            let scores = scores();
            let losses =
                MarginMseLoss::new().forward_no_reduction(scores.clone(), teacher, targets);
            return Outcome::of_scores(losses, scores);
        };
        let request = objective.request();
        let statistics: fn(Tensor<2>, &Targets, Request) -> Statistics = match self {
            Self::Composed => Statistics::composed,
            Self::Kernels | Self::CubeCl => Statistics::new,
            Self::Tiled => {
                let [queries, documents] = embeddings(batch, &on);
                let scored = Embeddings::new(queries.clone(), documents.clone());
                let statistics = Statistics::from_embeddings(scored, &targets, request);
                let losses = objective.losses(&statistics);
                return Outcome::of_embeddings(losses, queries, documents);
            }
        };
        let scores = scores();
        let losses = objective.losses(&statistics(scores.clone(), &targets, request));
        Outcome::of_scores(losses, scores)
    }
}

/// What came out, one row after the other.
pub struct Outcome {
    pub losses: Vec<f64>,
    /// With respect to the scores.
    pub gradients: Vec<Vec<f64>>,
    /// From embeddings, the first entry of the gradient of each query.
    pub of_queries: Option<Vec<f64>>,
}

impl Outcome {
    fn of_scores(losses: Tensor<1>, scores: Tensor<2>) -> Self {
        let gradients = losses.clone().sum().backward();
        let gradient = scores.grad(&gradients).expect("a gradient of the scores");
        let [_, documents] = gradient.dims();
        let gradient = numbers(gradient);
        Self {
            losses: numbers(losses),
            gradients: gradient.chunks(documents).map(<[f64]>::to_vec).collect(),
            of_queries: None,
        }
    }

    fn of_embeddings(losses: Tensor<1>, queries: Tensor<2>, documents: Tensor<2>) -> Self {
        let gradients = losses.clone().sum().backward();
        let of = |leaf: &Tensor<2>| {
            let gradient = leaf.grad(&gradients).expect("a gradient of the embeddings");
            numbers(gradient)
        };
        let [rows, width] = queries.dims();
        let of_documents = of(&documents);
        let of_row = |row: usize| {
            let entries = of_documents.chunks(width);
            entries.map(|entry| entry[2 * row]).collect()
        };
        let of_queries = of(&queries);
        Self {
            losses: numbers(losses),
            gradients: (0..rows).map(of_row).collect(),
            of_queries: Some(
                (0..rows)
                    .map(|row| of_queries[row * width + 2 * row])
                    .collect(),
            ),
        }
    }
}

fn targets(setting: &Setting, batch: &Batch, device: &Device) -> Targets {
    let rows = &batch.rows;
    let dims = [rows.len(), batch.documents];
    let positives: Vec<bool> = rows.iter().flat_map(|row| row.positives.clone()).collect();
    let positives = Tensor::<2, Bool>::from_data(TensorData::new(positives, dims), device);
    let mut targets = Targets::new(positives);
    if setting.is_weighted {
        let weights: Vec<f64> = rows.iter().flat_map(|row| row.weights.clone()).collect();
        let dtype = batch.precision.of_losses().dtype();
        targets = targets.with_weights(matrix(&weights, rows.len(), device, dtype));
    }
    if setting.loss == Loss::Rand1Lh {
        let chosen: Vec<i64> = rows.iter().map(|row| row.chosen as i64).collect();
        let chosen = Tensor::<1, Int>::from_data(TensorData::from(chosen.as_slice()), device);
        targets = targets.with_chosen(chosen);
    }
    targets
}

fn matrix(numbers: &[f64], rows: usize, device: &Device, dtype: DType) -> Tensor<2> {
    let data = TensorData::new(numbers.to_vec(), [rows, numbers.len() / rows]);
    Tensor::from_data(data, (device, dtype))
}

/// Queries and documents whose products are the scores, exactly: a query is 1 in two
/// dimensions of its own, where a document has the first and the last bits of its score.
fn embeddings(batch: &Batch, device: &Device) -> [Tensor<2>; 2] {
    let dtype = batch.precision.dtype();
    let rows = batch.rows.len();
    let mut queries = vec![0.0; rows * 2 * rows];
    let mut documents = vec![0.0; batch.documents * 2 * rows];
    for (index, row) in batch.rows.iter().enumerate() {
        for half in 0..2 {
            queries[index * 2 * rows + 2 * index + half] = 1.0;
        }
        for (document, &score) in row.scores.iter().enumerate() {
            let first = first_bits(score, batch.precision);
            let parts = &mut documents[document * 2 * rows + 2 * index..];
            parts[0] = first;
            parts[1] = score - first;
        }
    }
    [
        matrix(&queries, rows, device, dtype).require_grad(),
        matrix(&documents, batch.documents, device, dtype).require_grad(),
    ]
}

/// The first half of the bits of a score.
pub fn first_bits(score: f64, precision: Precision) -> f64 {
    let kept = match precision {
        Precision::F64 => 26,
        Precision::F32 => 12,
        Precision::F16 => 5,
        Precision::Bf16 => 4,
    };
    f64::from_bits(score.to_bits() & (!0 << (53 - kept)))
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as().expect("readable")
}
