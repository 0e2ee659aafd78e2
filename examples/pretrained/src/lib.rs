//! Pretrained BERT-type encoders in Burn, as towers of a dual encoder.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use burn::tensor::Device;
//! use pretrained::Pretrained;
//!
//! // A folder with config.json, tokenizer.json and model.safetensors.
//! let model = Pretrained::open("all-MiniLM-L6-v2")?;
//! let tokenizer = model.tokenizer()?;
//! let encoder = model.encoder(&Device::default())?;
//!
//! let texts = ["The ferry leaves at six.", "When does the ship sail?"];
//! let tokens = texts.iter().map(|text| tokenizer.tokenize(text));
//! let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
//! let vectors = encoder.encode(&tokens.iter().collect::<Vec<_>>(), 4096);
//! println!("{}", vectors.clone().matmul(vectors.transpose()));
//! # Ok(())
//! # }
//! ```
//!
//! The feature `hub` adds `Pretrained::from_hub`, which downloads a model by its name.
#![warn(missing_docs)]

mod checkpoint;
mod config;
mod encoder;
mod error;
mod folder;
#[cfg(feature = "hub")]
mod hub;
mod memory;
mod model;
mod operations;
mod optimizer;
mod pooling;
mod tokens;
mod towers;
mod weights;

pub use checkpoint::{load_checkpoint, save_checkpoint};
pub use config::{Activation, BertConfig};
pub use encoder::TextEncoder;
pub use error::ModelError;
pub use folder::{EncoderOptions, Pretrained};
pub use model::{Bert, Precision};
pub use optimizer::{Schedule, adam_w, clip_gradients};
pub use pooling::Pooling;
pub use tokens::{Batch, Tokenizer, Tokens};
pub use towers::DualEncoder;
