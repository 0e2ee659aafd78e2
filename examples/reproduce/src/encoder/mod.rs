//! What the experiments ask of an encoder.

mod adapter;
mod bag;
mod transformer;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::tensor::{Device, Tensor};

pub use adapter::AdapterSource;
pub use bag::BagSource;
use transformer::hash_of_files;
pub use transformer::{PretrainedOptions, TransformerSource};

/// What a text is to an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Query,
    /// A document that is trained on.
    Passage,
    /// A document that is ranked.
    Document,
}

/// Where encoders come from: one for each training.
pub trait EncoderSource: Sync {
    type Encoder: Encoder;

    /// With everything of it that changes results, for the record.
    fn name(&self) -> String;

    /// Called with texts before they are read, for what is done for many of them
    /// together.
    fn prepare(&self, _texts: &[(Role, &str)]) -> Result<(), String> {
        Ok(())
    }

    /// A text made ready once, before any training.
    fn read(&self, text: &str, role: Role) -> Result<TextOf<Self>, String>;

    /// Whether a document is read alike to be trained on and to be ranked.
    fn ranks_as_trained(&self) -> bool {
        true
    }

    /// The same encoder for the same seed.
    fn create(&self, seed: u64, device: &Device) -> Result<Self::Encoder, String>;
}

/// A source of encoders that read texts as `T`.
pub trait Reads<T>: EncoderSource<Encoder: Encoder<Text = T>> {}

impl<T, S: EncoderSource<Encoder: Encoder<Text = T>>> Reads<T> for S {}

pub type TextOf<S> = <<S as EncoderSource>::Encoder as Encoder>::Text;

/// A dual encoder in training, with its optimizer.
pub trait Encoder: Sized {
    /// What texts are read as: words, tokens, or vectors.
    type Text: Send + Sync;

    /// Adds the gradients of a batch to those of the step. `loss` gets the vectors of the
    /// queries and of the documents, `[texts, dimensions]`, and gives a loss of shape
    /// `[1]`; the answer is its value. Random numbers are those of the seed.
    fn learn(
        &mut self,
        queries: &[&Self::Text],
        documents: &[&Self::Text],
        seed: u64,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> Result<f64, String>;

    /// Moves the weights by the gradients since the last update: one step of training.
    fn update(self, learning_rate: f64) -> Self;

    /// Vectors, `[texts, dimensions]`, that nothing is learned from.
    fn encode(&self, texts: &[&Self::Text], role: Role) -> Tensor<2>;

    /// Writes weights and optimizer after so many steps, and removes earlier checkpoints.
    fn save_checkpoint(&self, _folder: &Path, _steps: usize) -> Result<(), String> {
        Err("this encoder writes no checkpoints".into())
    }

    /// The last checkpoint of a folder, with its number of steps; 0 if there is none.
    fn load_checkpoint(self, _folder: &Path) -> Result<(Self, usize), String> {
        Ok((self, 0))
    }

    /// Writes what [`EncoderSource`] can be opened on again.
    fn save(&self, _folder: &Path) -> Result<(), String> {
        Err("this encoder is not saved".into())
    }
}

/// Held while random numbers are drawn: a device has one source of them for the whole
/// process.
fn drawing() -> MutexGuard<'static, ()> {
    static DRAWING: Mutex<()> = Mutex::new(());
    DRAWING.lock().unwrap_or_else(PoisonError::into_inner)
}
