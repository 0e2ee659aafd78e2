//! What the experiments ask of an encoder: the place for another one.

mod bag;

use burn::tensor::{Device, Tensor};

pub use bag::BagEncoder;

/// A dual encoder in training, with its optimiser.
///
/// Another encoder is another implementation, and its name in `train::run`. One that is a Burn module
/// makes its vectors from its own weights in [`step`](Encoder::step), and hands the gradients of the loss to a
/// Burn optimiser.
pub trait Encoder: Sized {
    /// With what tells it from others, for the record.
    const NAME: &str;

    /// A text made ready once, before any training: words, or tokens.
    type Text: Send + Sync;

    fn read(text: &str) -> Self::Text;

    /// The same encoder for the same seed.
    fn new(seed: u64, device: &Device) -> Self;

    /// Takes one step of training. `loss` gets the vectors of the queries and of the documents, `[texts,
    /// dimensions]`, and gives a loss of shape `[1]`; the answer is its value.
    fn step(
        &mut self,
        queries: &[&Self::Text],
        documents: &[&Self::Text],
        learning_rate: f64,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> f64;

    /// Vectors, `[texts, dimensions]`, that nothing is learned from.
    fn encode(&self, texts: &[&Self::Text]) -> Tensor<2>;
}
