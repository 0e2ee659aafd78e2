//! Options that a pretrained encoder has.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::encoder::adapter::Shape;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pretrained encoder")]
pub struct PretrainedOptions {
    /// Train a pretrained BERT-type encoder, not the bag of words: a folder that holds
    /// config.json, tokenizer.json and model.safetensors, or one folder of these for each
    /// tower, named query and passage
    #[arg(long, value_name = "FOLDER")]
    pub encoder: Option<PathBuf>,
    /// Leave the encoder as it is, and train a small map of its vectors, which changes
    /// nothing at the start [default: both]
    #[arg(
        long,
        value_name = "SHAPE",
        num_args = 0..=1,
        default_missing_value = "both",
        requires = "encoder",
        conflicts_with_all = [
            "tevatron", "separate_towers", "dropout", "pass_tokens", "cache_chunk",
            "checkpoint_every", "stop_after", "save_model",
        ]
    )]
    pub adapter: Option<Shape>,
    /// Where --adapter keeps the vectors of texts, for other trainings
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "reproduction/embeddings",
        requires = "adapter"
    )]
    pub embeddings: PathBuf,
    /// From a text's tokens to its vector [default: as the folder says, or else the mean]
    #[arg(long, requires = "encoder")]
    pub pooling: Option<Pooling>,
    /// Whether vectors get length 1, and scores are cosines [default: as the folder says,
    /// or else false]
    #[arg(long, value_name = "true|false", requires = "encoder")]
    pub normalize: Option<bool>,
    /// One tower for queries and one for passages, which start alike [default: one for
    /// both, if FOLDER has one]
    #[arg(long, requires = "encoder")]
    pub separate_towers: bool,
    /// What the products of matrices are computed in; bf16 is for devices that are faster
    /// with it
    #[arg(long, default_value = "f32", requires = "encoder")]
    pub precision: Precision,
    /// Rate of dropout in training [default: as config.json says]
    #[arg(long, value_name = "RATE", requires = "encoder")]
    pub dropout: Option<f64>,
    /// Put before every query, such as "query: " for E5
    #[arg(long, value_name = "TEXT", default_value = "", requires = "encoder")]
    pub query_prefix: String,
    /// Put before every passage, such as "passage: " for E5
    #[arg(long, value_name = "TEXT", default_value = "", requires = "encoder")]
    pub passage_prefix: String,
    /// Tokens that queries are cut to [default: as the folder says]
    #[arg(long, value_name = "TOKENS", requires = "encoder")]
    pub query_length: Option<usize>,
    /// Tokens that passages are cut to [default: as the folder says]
    #[arg(long, value_name = "TOKENS", requires = "encoder")]
    pub passage_length: Option<usize>,
    /// Tokens that documents are cut to when they are ranked [default: --passage-length]
    #[arg(long, value_name = "TOKENS", requires = "encoder")]
    pub evaluation_length: Option<usize>,
    /// Tokens that go through the encoder at a time, padding included: bounds activations
    /// in evaluation; in training --cache-chunk does
    #[arg(
        long,
        value_name = "TOKENS",
        default_value_t = 4096,
        requires = "encoder"
    )]
    pub pass_tokens: usize,
    /// Train with a gradient cache, so many texts at a time: memory is that of one chunk,
    /// the gradients those of the whole batch [default: the whole batch in one graph]
    #[arg(long, value_name = "TEXTS", requires = "encoder")]
    pub cache_chunk: Option<usize>,
    /// Share of all steps in which the learning rate rises; after them it falls to 0
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.1,
        requires = "encoder"
    )]
    pub warmup: f64,
    /// Of AdamW, for matrices
    #[arg(
        long,
        value_name = "RATE",
        default_value_t = 0.01,
        requires = "encoder"
    )]
    pub weight_decay: f64,
    /// What the norm of all gradients together is cut to
    #[arg(long, value_name = "NORM", default_value_t = 1.0, requires = "encoder")]
    pub max_grad_norm: f64,
    /// Write a checkpoint after every so many steps; a run that finds one goes on from it
    #[arg(long, value_name = "STEPS", requires = "encoder")]
    pub checkpoint_every: Option<usize>,
    /// Stop after so many steps of a cell, with a checkpoint; the same command goes on
    #[arg(long, value_name = "STEPS", requires = "encoder")]
    pub stop_after: Option<usize>,
    /// Write the trained encoder to the folder "model" of its cell, which --encoder takes
    #[arg(long, requires = "encoder")]
    pub save_model: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Pooling {
    /// The mean over the text's tokens
    Mean,
    /// The first token, [CLS]
    Cls,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Precision {
    F32,
    Bf16,
}

impl PretrainedOptions {
    pub fn optimizer_name(&self) -> String {
        format!(
            "AdamW, warm-up {}, weight decay {}, gradient norm {}",
            self.warmup, self.weight_decay, self.max_grad_norm
        )
    }

    pub fn check(&self) -> Result<(), String> {
        let counts = [
            ("--query-length", self.query_length),
            ("--passage-length", self.passage_length),
            ("--evaluation-length", self.evaluation_length),
            ("--pass-tokens", Some(self.pass_tokens)),
            ("--cache-chunk", self.cache_chunk),
            ("--checkpoint-every", self.checkpoint_every),
            ("--stop-after", self.stop_after),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
            return Err(format!("{name} must be at least 1"));
        }
        if self.dropout.is_some_and(|rate| !(0.0..1.0).contains(&rate)) {
            return Err("--dropout must be at least 0 and below 1".into());
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return Err("--warmup must lie between 0 and 1".into());
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err("--weight-decay must be at least 0 and finite".into());
        }
        if !(self.max_grad_norm.is_finite() && self.max_grad_norm > 0.0) {
            return Err("--max-grad-norm must be positive and finite".into());
        }
        Ok(())
    }
}

impl From<Pooling> for pretrained::Pooling {
    fn from(pooling: Pooling) -> Self {
        match pooling {
            Pooling::Mean => Self::Mean,
            Pooling::Cls => Self::Cls,
        }
    }
}

impl From<Precision> for pretrained::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}
