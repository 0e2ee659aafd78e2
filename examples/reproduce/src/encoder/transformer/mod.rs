//! A pretrained transformer as the encoder of the experiments.

mod learner;
mod options;
mod source;

pub use options::PretrainedOptions;
pub use source::{TransformerSource, hash_of_files};
