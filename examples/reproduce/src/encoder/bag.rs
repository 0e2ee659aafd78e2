//! The bag-of-words encoder of the main example, trained on the rows that a batch uses.
//!
//! The main example takes the gradient of the whole table and hands it to Adam: 8.4 million weights a step,
//! of which a batch uses a tenth. Here a mean of rows is summed up on the host, the means are what Burn
//! differentiates with respect to, and Adam moves the rows that occur ("sparse" Adam: the moments of a row are
//! updated when the row is used).

use std::sync::Mutex;

use burn::tensor::{Device, Tensor, TensorData};

use super::Encoder;
use crate::dual_encoder::{BUCKETS, Bag, DIMENSIONS, DualEncoder, unit};

pub struct BagEncoder {
    table: Vec<f32>,
    adam: SparseAdam,
    device: Device,
}

/// A device has one source of random numbers for the whole process.
static DRAWING: Mutex<()> = Mutex::new(());

impl Encoder for BagEncoder {
    const NAME: &str = "bag of words, 65536 x 128, sparse Adam";

    type Text = Bag;

    fn read(text: &str) -> Bag {
        Bag::new(text)
    }

    fn new(seed: u64, device: &Device) -> Self {
        let drawing = DRAWING.lock();
        device.seed(seed);
        let table = DualEncoder::new(device).table.val().into_data();
        drop(drawing);
        Self {
            table: table.iter().collect(),
            adam: SparseAdam::default(),
            device: device.clone(),
        }
    }

    fn step(
        &mut self,
        queries: &[&Bag],
        documents: &[&Bag],
        learning_rate: f64,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> f64 {
        let texts = [queries, documents].concat();
        let means = self.means(&texts, &self.device).require_grad();
        let vectors = unit(means.clone());
        let loss = loss(
            vectors.clone().narrow(0, 0, queries.len()),
            vectors.narrow(0, queries.len(), documents.len()),
        );
        let gradients = loss.backward();
        if let Some(gradient) = means.grad(&gradients) {
            let gradient: Vec<f32> = gradient.into_data().iter().collect();
            self.adam
                .step(&mut self.table, &texts, &gradient, learning_rate as f32);
        }
        loss.into_scalar()
    }

    fn encode(&self, texts: &[&Bag]) -> Tensor<2> {
        unit(self.means(texts, &self.device.clone().without_autodiff()))
    }
}

impl BagEncoder {
    fn means(&self, texts: &[&Bag], device: &Device) -> Tensor<2> {
        let mut means = vec![0.0; texts.len() * DIMENSIONS];
        for (text, mean) in texts.iter().zip(means.chunks_exact_mut(DIMENSIONS)) {
            for (bucket, share) in &text.0 {
                add_scaled(mean, *share, row(&self.table, *bucket));
            }
        }
        Tensor::from_data(TensorData::new(means, [texts.len(), DIMENSIONS]), device)
    }
}

fn row(table: &[f32], index: usize) -> &[f32] {
    &table[index * DIMENSIONS..][..DIMENSIONS]
}

fn row_mut(table: &mut [f32], index: usize) -> &mut [f32] {
    &mut table[index * DIMENSIONS..][..DIMENSIONS]
}

fn add_scaled(sum: &mut [f32], factor: f32, vector: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(vector) {
        *sum += factor * value;
    }
}

/// Adam with Burn's default settings, for the rows that have a gradient.
struct SparseAdam {
    first: Vec<f32>,
    second: Vec<f32>,
    /// Powers of the decay rates, one a step.
    decayed: [f32; 2],
}

const DECAY: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-5;

impl Default for SparseAdam {
    fn default() -> Self {
        Self {
            first: vec![0.0; BUCKETS * DIMENSIONS],
            second: vec![0.0; BUCKETS * DIMENSIONS],
            decayed: [1.0; 2],
        }
    }
}

impl SparseAdam {
    /// `gradients` are those of the means of the texts.
    fn step(&mut self, table: &mut [f32], texts: &[&Bag], gradients: &[f32], rate: f32) {
        for (decayed, decay) in self.decayed.iter_mut().zip(DECAY) {
            *decayed *= decay;
        }
        let (rows, gradients) = gradients_of_rows(texts, gradients);
        for (index, gradient) in rows.into_iter().zip(gradients.chunks_exact(DIMENSIONS)) {
            let first = row_mut(&mut self.first, index);
            let second = row_mut(&mut self.second, index);
            let weights = row_mut(table, index);
            for (((weight, first), second), gradient) in
                weights.iter_mut().zip(first).zip(second).zip(gradient)
            {
                *first = DECAY[0] * *first + (1.0 - DECAY[0]) * gradient;
                *second = DECAY[1] * *second + (1.0 - DECAY[1]) * gradient * gradient;
                let mean = *first / (1.0 - self.decayed[0]);
                let square = *second / (1.0 - self.decayed[1]);
                *weight -= rate * mean / (square.sqrt() + EPSILON);
            }
        }
    }
}

/// The rows that the texts use, and the gradient of each.
fn gradients_of_rows(texts: &[&Bag], gradients: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let mut place = vec![None; BUCKETS];
    let mut rows = Vec::new();
    let mut sums = Vec::new();
    for (text, gradient) in texts.iter().zip(gradients.chunks_exact(DIMENSIONS)) {
        for (bucket, share) in &text.0 {
            let place = *place[*bucket].get_or_insert_with(|| {
                rows.push(*bucket);
                sums.resize(rows.len() * DIMENSIONS, 0.0);
                rows.len() - 1
            });
            add_scaled(row_mut(&mut sums, place), *share, gradient);
        }
    }
    (rows, sums)
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        optim::{AdamConfig, GradientsParams},
    };

    use super::*;

    fn texts() -> Vec<Bag> {
        ["red green", "green blue blue", "", "yellow red"]
            .map(Bag::new)
            .into()
    }

    /// The main example's module with this encoder's weights.
    fn module(encoder: &BagEncoder) -> DualEncoder {
        let table = TensorData::new(encoder.table.clone(), [BUCKETS, DIMENSIONS]);
        let table = Tensor::from_data(table, &encoder.device);
        let mut module = DualEncoder::new(&encoder.device);
        module.table = Param::initialized(module.table.id, table.require_grad());
        module
    }

    fn assert_close(ours: Tensor<2>, module: Tensor<2>) {
        let difference: f32 = (ours - module).abs().max().into_scalar();
        assert!(difference < 1e-6, "{difference}");
    }

    #[test]
    fn vectors_are_those_of_the_module() {
        let device = Device::default().autodiff();
        let encoder = BagEncoder::new(3, &device);
        let texts = texts();
        let texts: Vec<&Bag> = texts.iter().collect();
        assert_close(
            encoder.encode(&texts),
            module(&encoder).encode(&texts).inner(),
        );
    }

    #[test]
    fn one_step_is_that_of_burns_adam() {
        let device = Device::default().autodiff();
        let mut encoder = BagEncoder::new(3, &device);
        let texts = texts();
        let (queries, documents) = ([&texts[0]], [&texts[1], &texts[2], &texts[3]]);
        let loss = |queries: Tensor<2>, documents: Tensor<2>| {
            let scores = queries.matmul(documents.transpose());
            (scores.square() - 1.0).sum()
        };

        let before = module(&encoder);
        let (query, document) = before.forward(&queries, &documents);
        let gradients = loss(query, document).backward();
        let gradients = GradientsParams::from_grads(gradients, &before);
        let after = AdamConfig::new().init().step(0.01, before, gradients);

        encoder.step(&queries, &documents, 0.01, loss);
        assert_close(
            module(&encoder).table.val().inner(),
            after.table.val().inner(),
        );
    }
}
