//! The dual encoder as a model of Burn's training loop.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
    train::{InferenceStep, TrainOutput, TrainStep},
};
use burn_multi_positive::{
    GradientCache, LsePairLoss, LsePairLossConfig, Shards, Targets,
    train::{RankingInput, RetrievalOutput, ShardedStep, sum_gradients},
};
use retrieval::{Bag, DualEncoder};

use crate::batches::{TrainBatch, ValidBatch};

const TEMPERATURE: f64 = 0.05;

#[derive(Module, Debug)]
pub struct Retriever {
    pub encoder: DualEncoder,
    /// The rows that a gradient cache holds the activations of; 0 for none.
    chunk: usize,
}

impl Retriever {
    pub fn new(chunk: usize, device: &Device) -> Self {
        let encoder = DualEncoder::new(device);
        Self { encoder, chunk }
    }

    /// The gradients of the whole batch with the activations of a chunk.
    fn cached_step(&self, batch: &TrainBatch, targets: &Targets) -> TrainOutput<RetrievalOutput> {
        let (queries, documents) = (batch.query_bags(), batch.document_bags());
        let step = GradientCache::new(self, [self.chunk; 2], batch.number).step(
            queries.len(),
            |model, rows| Ok(model.encoder.encode(&queries[rows])),
            documents.len(),
            |model, rows| Ok(model.encoder.encode(&documents[rows])),
            |queries, documents| {
                Ok(loss_fn().forward_embeddings(queries, documents, targets.clone()))
            },
        );
        let step = step.expect("a step of the gradient cache");
        TrainOutput {
            grads: step.gradients,
            item: RetrievalOutput::new(step.loss, targets),
        }
    }
}

fn loss_fn() -> LsePairLoss {
    LsePairLossConfig::new()
        .with_temperature(TEMPERATURE)
        .init()
}

impl TrainStep for Retriever {
    type Input = TrainBatch;
    type Output = RetrievalOutput;

    fn step(&self, batch: TrainBatch) -> TrainOutput<RetrievalOutput> {
        let targets = batch.targets(&self.encoder.table.device());
        if self.chunk > 0 {
            return self.cached_step(&batch, &targets);
        }
        let (queries, documents) = self
            .encoder
            .forward(&batch.query_bags(), &batch.document_bags());
        let scores = queries.matmul(documents.transpose());
        let loss = loss_fn().forward(scores.clone(), targets.clone());
        let output = RetrievalOutput::new(loss.clone(), &targets)
            .with_ranking(RankingInput::from_targets(scores, targets));
        TrainOutput::new(self, loss.backward(), output)
    }
}

impl InferenceStep for Retriever {
    type Input = ValidBatch;
    type Output = RetrievalOutput;

    /// Nothing is ranked here: the metrics do that when all documents are there.
    fn step(&self, batch: ValidBatch) -> RetrievalOutput {
        let device = self.encoder.table.device();
        let encode = |bags: &[&Bag]| match bags {
            [] => Tensor::zeros([0, retrieval::DIMENSIONS], &device),
            bags => self.encoder.encode(bags),
        };
        RankingInput::from_embeddings(
            encode(&batch.query_bags()),
            encode(&batch.document_bags()),
            &batch.document_ids(),
            &batch.judged(),
        )
        .into()
    }
}

impl ShardedStep for Retriever {
    fn sharded_step(replicas: &[Self], batch: TrainBatch) -> TrainOutput<RetrievalOutput> {
        let targets = batch.targets(&replicas[0].encoder.table.device());
        let embed = |bags: &[&Bag]| -> Vec<Tensor<2>> {
            let part = bags.len().div_ceil(replicas.len());
            let parts = bags.chunks(part).zip(replicas);
            parts
                .map(|(bags, replica)| replica.encoder.encode(bags))
                .collect()
        };
        let shards = Shards::new(embed(&batch.query_bags()), embed(&batch.document_bags()));
        let loss = loss_fn().forward(shards, targets.clone());
        let output = RetrievalOutput::new(loss.clone(), &targets);
        TrainOutput {
            grads: sum_gradients(loss.backward(), replicas),
            item: output,
        }
    }
}
