//! What the examples of dense retrieval share: test collections with relevance
//! judgements, a bag-of-words dual encoder that is fast on a CPU and its optimiser,
//! exhaustive search, and the metrics of its rankings.
//!
//! It knows no objective: how the encoder is trained is the business of each example.

#![warn(missing_docs)]

mod collection;
mod encoder;
mod export;
mod metrics;
mod ranking;
mod row_gradients;
mod row_trainer;
mod sparse_adam;
mod table;
pub mod tevatron;

pub use collection::{Collection, Document, Query, load_judgements};
pub use encoder::{BUCKETS, Bag, DIMENSIONS, DualEncoder, normalize};
pub use metrics::Metrics;
pub use ranking::{DEPTH, Ranking, search, write_run};
pub use row_trainer::{Means, RowTrainer};
