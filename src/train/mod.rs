//! Losses and metrics in Burn's training loop, [`burn::train`].
//!
//! [`RetrievalOutput`] is the output of a step: a loss, and the input of its metrics. Burn's
//! `LossMetric` averages the loss over queries. [`RankingMetric`] is the MRR, nDCG, recall or
//! precision of the rankings of a validation set, as `trec_eval` computes them. It reads a
//! [`RankingInput`]: rankings, scores, or embeddings of queries and documents that are
//! searched when the epoch ends.
//!
//! [`ShardedStrategy`] trains on several devices, whose queries see the documents of all
//! devices. [`Patience`] is early stopping that a resumed training continues.
//!
//! ```
//! use burn::{
//!     module::Module,
//!     nn::Linear,
//!     tensor::Tensor,
//!     train::{InferenceStep, TrainOutput, TrainStep},
//! };
//! use burn_multi_positive::{
//!     LsePairLossConfig, Targets,
//!     train::{RankingInput, RetrievalOutput},
//! };
//!
//! #[derive(Module, Debug)]
//! struct Retriever {
//!     encoder: Linear,
//! }
//!
//! // Burn's `DataLoaderBuilder` wants batches that are `Clone` and `Debug`.
//! #[derive(Clone, Debug)]
//! struct TrainBatch {
//!     queries: Tensor<2>,
//!     documents: Tensor<2>,
//!     targets: Targets,
//! }
//!
//! /// Some of the queries of the validation set and some of its documents; a batch may have
//! /// none of either.
//! #[derive(Clone, Debug)]
//! struct ValidBatch {
//!     queries: Tensor<2>,
//!     documents: Tensor<2>,
//!     document_ids: Vec<String>,
//!     /// The documents that were judged for each query, and their grades.
//!     judged: Vec<Vec<(String, i32)>>,
//! }
//!
//! impl TrainStep for Retriever {
//!     type Input = TrainBatch;
//!     type Output = RetrievalOutput;
//!
//!     fn step(&self, batch: TrainBatch) -> TrainOutput<RetrievalOutput> {
//!         let queries = self.encoder.forward(batch.queries);
//!         let documents = self.encoder.forward(batch.documents);
//!         let loss_fn = LsePairLossConfig::new().with_temperature(0.05).init();
//!         let loss = loss_fn.forward_embeddings(queries, documents, batch.targets.clone());
//!         let output = RetrievalOutput::new(loss.clone(), &batch.targets);
//!         TrainOutput::new(self, loss.backward(), output)
//!     }
//! }
//!
//! impl InferenceStep for Retriever {
//!     type Input = ValidBatch;
//!     type Output = RetrievalOutput;
//!
//!     fn step(&self, batch: ValidBatch) -> RetrievalOutput {
//!         let queries = self.encoder.forward(batch.queries);
//!         let documents = self.encoder.forward(batch.documents);
//!         RankingInput::from_embeddings(queries, documents, &batch.document_ids, &batch.judged)
//!             .into()
//!     }
//! }
//! ```
//!
//! `examples/learner`, in the repository, is a whole program: dashboard, checkpoints of
//! the best nDCG@10, early stopping, and a training that is resumed.

mod input;
mod metric;
mod output;
mod patience;
mod search;
mod sharded;

pub use input::RankingInput;
pub use metric::RankingMetric;
pub use output::RetrievalOutput;
pub use patience::Patience;
pub use sharded::{ShardedStep, ShardedStrategy, sum_gradients};
