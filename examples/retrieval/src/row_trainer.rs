//! The encoder in training, on the rows that a batch uses.
//!
//! A batch uses a tenth of the table. Burn's gradient of a table is as large as the
//! table, and Burn's Adam moves all 8.4 million weights with it. Here the host sums up
//! means of rows, the means are what Burn differentiates with respect to, and
//! [`SparseAdam`] moves the rows that occur.

use burn::tensor::{Device, Gradients, Tensor};

use crate::{
    encoder::{Bag, DualEncoder, normalize},
    row_gradients::RowGradients,
    sparse_adam::SparseAdam,
    table::Table,
};

/// A [`DualEncoder`] in training, whose steps take the time of the rows that they use.
pub struct RowTrainer {
    table: Table,
    adam: SparseAdam,
    gradients: RowGradients,
    device: Device,
}

impl RowTrainer {
    /// Starts from a model, on its device.
    ///
    /// # Panics
    ///
    /// If the device is without autodiff.
    pub fn new(model: DualEncoder) -> Self {
        assert!(
            model.table.device().is_autodiff(),
            "RowTrainer: expected a model on a device with autodiff, got {:?}",
            model.table.device()
        );
        Self {
            device: model.table.device(),
            table: Table::of(model),
            adam: SparseAdam::default(),
            gradients: RowGradients::default(),
        }
    }

    /// The model as it is now.
    pub fn into_model(self) -> DualEncoder {
        self.table.into_model(&self.device)
    }

    /// What the vectors of a batch are made from, which has a gradient.
    pub fn means<'a>(&self, queries: &[&'a Bag], documents: &[&'a Bag]) -> Means<'a> {
        let texts = [queries, documents].concat();
        let means = self.table.means(&texts, &self.device).require_grad();
        Means {
            texts,
            queries: queries.len(),
            means,
        }
    }

    /// Adds the gradients of a batch to those of the step.
    pub fn learn(&mut self, means: &Means, gradients: &Gradients) {
        if let Some(gradient) = means.means.grad(gradients) {
            let gradient = gradient.into_data_as::<f32>();
            let gradient = gradient.try_into_vec().expect("numbers of f32");
            self.gradients.add(&means.texts, gradient);
        }
    }

    /// Moves the rows that have gradients since the last step.
    pub fn step(&mut self, learning_rate: f64) {
        let gradients = std::mem::take(&mut self.gradients);
        let rate = learning_rate as f32;
        self.adam.step(&mut self.table, &gradients, rate);
    }

    /// Unit vectors, `[texts, DIMENSIONS]`, that nothing is learned from.
    pub fn encode(&self, texts: &[&Bag]) -> Tensor<2> {
        let device = self.device.clone().without_autodiff();
        normalize(self.table.means(texts, &device))
    }
}

/// A batch as the means of its words' embeddings.
pub struct Means<'a> {
    texts: Vec<&'a Bag>,
    queries: usize,
    means: Tensor<2>,
}

impl Means<'_> {
    /// Queries and documents as unit vectors, `[texts, DIMENSIONS]` each.
    pub fn vectors(&self) -> (Tensor<2>, Tensor<2>) {
        let vectors = normalize(self.means.clone());
        let documents = self.texts.len() - self.queries;
        (
            vectors.clone().narrow(0, 0, self.queries),
            vectors.narrow(0, self.queries, documents),
        )
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Param, ParamId};
    use burn::optim::{AdamConfig, GradientsParams};
    use burn::tensor::TensorData;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::encoder::{BUCKETS, DIMENSIONS};

    /// The same embeddings in every run.
    fn encoder() -> DualEncoder {
        let mut rng = StdRng::seed_from_u64(0);
        let numbers = (0..BUCKETS * DIMENSIONS).map(|_| rng.random_range(-0.1..0.1f32));
        let table = TensorData::new(numbers.collect::<Vec<_>>(), [BUCKETS, DIMENSIONS]);
        let table = Tensor::from_data(table, &Device::default().autodiff());
        DualEncoder {
            table: Param::initialized(ParamId::new(), table.require_grad()),
        }
    }

    fn texts() -> Vec<Bag> {
        ["red green", "green blue blue", "", "yellow red"]
            .map(Bag::new)
            .into()
    }

    fn assert_close(ours: Tensor<2>, module: Tensor<2>, tolerance: f32) {
        let difference: f32 = (ours - module).abs().max().into_scalar();
        assert!(difference < tolerance, "{difference}");
    }

    fn loss(queries: Tensor<2>, documents: Tensor<2>) -> Tensor<1> {
        let scores = queries.matmul(documents.transpose());
        (scores.square() - 1.0).sum()
    }

    #[test]
    fn vectors_are_those_of_the_module() {
        let module = encoder();
        let texts = texts();
        let texts: Vec<&Bag> = texts.iter().collect();
        let trainer = RowTrainer::new(module.clone());
        assert_close(trainer.encode(&texts), module.encode(&texts).inner(), 1e-6);
        let (queries, documents) = trainer.means(&texts[..1], &texts[1..]).vectors();
        assert_close(
            Tensor::cat(vec![queries, documents], 0),
            module.encode(&texts),
            1e-6,
        );
    }

    #[test]
    fn one_step_is_that_of_burns_adam() {
        let before = encoder();
        let mut trainer = RowTrainer::new(before.clone());
        let texts = texts();
        let (queries, documents) = ([&texts[0]], [&texts[1], &texts[2], &texts[3]]);

        let means = trainer.means(&queries, &documents);
        let (query, document) = means.vectors();
        trainer.learn(&means, &loss(query, document).backward());
        trainer.step(0.01);

        let (query, document) = before.forward(&queries, &documents);
        let gradients = loss(query, document).backward();
        let gradients = GradientsParams::from_grads(gradients, &before);
        let after = AdamConfig::new().init().step(0.01, before, gradients);
        // Adam divides a gradient g by |g| + 1e-5, so it magnifies the rounding of small
        // gradients. A hundredth of the step of 0.01 leaves room for that.
        assert_close(
            trainer.into_model().table.val().inner(),
            after.table.val().inner(),
            1e-4,
        );
    }
}
