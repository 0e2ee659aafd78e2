//! The bag-of-words encoder of `retrieval`, trained on the rows that a batch uses.

use burn::tensor::{Device, Tensor};
use retrieval::{Bag, DualEncoder, RowTrainer};

use super::{Encoder, EncoderSource, Role, drawing};

/// Random weights.
pub struct BagSource;

pub struct BagEncoder(RowTrainer);

impl EncoderSource for BagSource {
    type Encoder = BagEncoder;

    fn name(&self) -> String {
        "bag of words, 65536 x 128, sparse Adam".into()
    }

    fn read(&self, text: &str, _: Role) -> Result<Bag, String> {
        Ok(Bag::new(text))
    }

    fn create(&self, seed: u64, device: &Device) -> Result<BagEncoder, String> {
        let _drawing = drawing();
        device.seed(seed);
        Ok(BagEncoder(RowTrainer::new(DualEncoder::new(device))))
    }
}

impl Encoder for BagEncoder {
    type Text = Bag;

    fn learn(
        &mut self,
        queries: &[&Bag],
        documents: &[&Bag],
        _: u64,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> Result<f64, String> {
        let means = self.0.means(queries, documents);
        let (queries, documents) = means.vectors();
        let loss = loss(queries, documents);
        self.0.learn(&means, &loss.backward());
        Ok(loss.into_scalar())
    }

    fn update(mut self, learning_rate: f64) -> Self {
        self.0.step(learning_rate);
        self
    }

    fn encode(&self, texts: &[&Bag], _: Role) -> Tensor<2> {
        self.0.encode(texts)
    }
}
