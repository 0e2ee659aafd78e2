//! Pretrained BERT-type encoders in Burn, as towers of a dual encoder.

mod checkpoint;
mod config;
mod encoder;
mod error;
mod folder;
mod model;
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
