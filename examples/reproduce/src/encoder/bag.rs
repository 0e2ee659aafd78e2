//! The bag-of-words encoder of `retrieval`, trained on the rows that a batch uses.
//!
//! The main example takes the gradient of the whole table and hands it to Adam: 8.4 million weights a step,
//! of which a batch uses a tenth. Here a mean of rows is summed up on the host, the means are what Burn
//! differentiates with respect to, and Adam moves the rows that occur ("sparse" Adam: the moments of a row are
//! updated when the row is used).

use burn::tensor::{Device, Tensor, TensorData};
use retrieval::{BUCKETS, Bag, DIMENSIONS, DualEncoder, normalize};

use super::{Encoder, EncoderSource, Role, drawing};

/// Random weights.
pub struct BagSource;

pub struct BagEncoder {
    table: Vec<f32>,
    adam: SparseAdam,
    gradients: RowGradients,
    device: Device,
}

impl EncoderSource for BagSource {
    type Encoder = BagEncoder;

    fn name(&self) -> String {
        "bag of words, 65536 x 128, sparse Adam".into()
    }

    fn read(&self, text: &str, _: Role) -> Result<Bag, String> {
        Ok(Bag::new(text))
    }

    fn create(&self, seed: u64, device: &Device) -> Result<BagEncoder, String> {
        let drawing = drawing();
        device.seed(seed);
        let table = DualEncoder::new(device).table.val().into_data();
        drop(drawing);
        Ok(BagEncoder {
            table: table.iter().collect(),
            adam: SparseAdam::default(),
            gradients: RowGradients::default(),
            device: device.clone(),
        })
    }
}

/// Texts whose means are summed up before they become a tensor.
const PART: usize = 256;

impl Encoder for BagEncoder {
    type Text = Bag;

    fn learn(
        &mut self,
        queries: &[&Bag],
        documents: &[&Bag],
        _: u64,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> Result<f64, String> {
        let texts = [queries, documents].concat();
        let means = self.means(&texts, &self.device).require_grad();
        let vectors = normalize(means.clone());
        let loss = loss(
            vectors.clone().narrow(0, 0, queries.len()),
            vectors.narrow(0, queries.len(), documents.len()),
        );
        let gradients = loss.backward();
        if let Some(gradient) = means.grad(&gradients) {
            let gradient: Vec<f32> = gradient.into_data().iter().collect();
            self.gradients.add(&texts, &gradient);
        }
        Ok(loss.into_scalar())
    }

    fn update(mut self, learning_rate: f64) -> Self {
        let gradients = std::mem::take(&mut self.gradients);
        self.adam
            .step(&mut self.table, gradients, learning_rate as f32);
        self
    }

    fn encode(&self, texts: &[&Bag], _: Role) -> Tensor<2> {
        let device = self.device.clone().without_autodiff();
        let parts = texts.chunks(PART);
        let parts = parts.map(|texts| normalize(self.means(texts, &device)));
        Tensor::cat(parts.collect(), 0)
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
    fn step(&mut self, table: &mut [f32], gradients: RowGradients, rate: f32) {
        for (decayed, decay) in self.decayed.iter_mut().zip(DECAY) {
            *decayed *= decay;
        }
        let RowGradients { rows, sums, .. } = gradients;
        for (index, gradient) in rows.into_iter().zip(sums.chunks_exact(DIMENSIONS)) {
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

/// The rows that the texts of a step use, and the gradient of each.
struct RowGradients {
    place: Vec<Option<usize>>,
    rows: Vec<usize>,
    sums: Vec<f32>,
}

impl Default for RowGradients {
    fn default() -> Self {
        Self {
            place: vec![None; BUCKETS],
            rows: Vec::new(),
            sums: Vec::new(),
        }
    }
}

impl RowGradients {
    /// `gradients` are those of the means of the texts.
    fn add(&mut self, texts: &[&Bag], gradients: &[f32]) {
        for (text, gradient) in texts.iter().zip(gradients.chunks_exact(DIMENSIONS)) {
            for (bucket, share) in &text.0 {
                let place = *self.place[*bucket].get_or_insert_with(|| {
                    self.rows.push(*bucket);
                    self.sums.resize(self.rows.len() * DIMENSIONS, 0.0);
                    self.rows.len() - 1
                });
                add_scaled(row_mut(&mut self.sums, place), *share, gradient);
            }
        }
    }
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

    /// The module of `retrieval` with this encoder's weights.
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
        let encoder = BagSource.create(3, &device).unwrap();
        let texts = texts();
        let texts: Vec<&Bag> = texts.iter().collect();
        assert_close(
            encoder.encode(&texts, Role::Query),
            module(&encoder).encode(&texts).inner(),
        );
    }

    #[test]
    fn one_step_is_that_of_burns_adam() {
        let device = Device::default().autodiff();
        let mut encoder = BagSource.create(3, &device).unwrap();
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

        encoder.learn(&queries, &documents, 0, loss).unwrap();
        let encoder = encoder.update(0.01);
        assert_close(
            module(&encoder).table.val().inner(),
            after.table.val().inner(),
        );
    }
}
