//! A model's folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::Device;

use crate::{
    config::BertConfig,
    encoder::TextEncoder,
    error::ModelError,
    model::{Bert, Precision},
    pooling::{Pooling, SentenceSettings},
    tokens::Tokenizer,
    weights,
};

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";

/// A pretrained model in a folder of the layout of Hugging Face: `config.json`, `tokenizer.json`,
/// `model.safetensors`, and if it is there what sentence-transformers writes beside them.
#[derive(Clone, Debug)]
pub struct Pretrained {
    folder: PathBuf,
    pub config: BertConfig,
    /// As the folder says; change them before an encoder is made.
    pub options: EncoderOptions,
}

/// How hidden states become vectors, and at which precision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EncoderOptions {
    pub pooling: Pooling,
    /// Vectors of length 1, whose dot products are cosines.
    pub normalize: bool,
    pub precision: Precision,
    /// In place of the rates in `config.json`.
    pub dropout: Option<f64>,
    /// The longest text, in tokens.
    pub max_length: usize,
}

impl Pretrained {
    /// Reads everything but the weights.
    ///
    /// # Errors
    ///
    /// If a file is missing, damaged, or of an architecture that is not BERT's.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, ModelError> {
        let folder = folder.into();
        if !folder.is_dir() {
            return Err(ModelError::new(&folder, "there is no such folder"));
        }
        let config = BertConfig::load(&folder.join(CONFIG))?;
        let settings = SentenceSettings::load(&folder)?;
        let longest = config.max_position_embeddings;
        let pretrained = Self {
            options: EncoderOptions {
                pooling: settings.pooling,
                normalize: settings.normalize,
                max_length: settings.max_length.unwrap_or(longest).min(longest),
                ..Default::default()
            },
            config,
            folder,
        };
        Ok(pretrained)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The tokenizer, which cuts texts to `max_length` of the options.
    pub fn tokenizer(&self) -> Result<Tokenizer, ModelError> {
        let path = self.folder.join(TOKENIZER);
        let longest = self.config.max_position_embeddings;
        if self.options.max_length > longest {
            let problem = format!(
                "max_position_embeddings is {longest}, and texts of {} tokens are asked for",
                self.options.max_length
            );
            return Err(ModelError::new(&self.folder.join(CONFIG), problem));
        }
        Tokenizer::load(&path, self.config.vocab_size, self.options.max_length)
    }

    /// An encoder with the pretrained weights. Each has parameters of its own.
    ///
    /// # Errors
    ///
    /// If the weights are missing, damaged, or of other shapes than `config.json` says: with the tensor's name.
    pub fn encoder(&self, device: &Device) -> Result<TextEncoder, ModelError> {
        let mut config = self.config.clone();
        if let Some(dropout) = self.options.dropout {
            config.hidden_dropout_prob = dropout;
            config.attention_probs_dropout_prob = dropout;
        }
        let bert = weights::load(Bert::new(&config, device), &self.folder.join(WEIGHTS))?;
        Ok(TextEncoder::new(bert, &self.options))
    }

    /// Writes an encoder to another folder, which [`open`](Self::open), transformers and sentence-transformers read.
    pub fn save(&self, encoder: &TextEncoder, folder: &Path) -> Result<(), ModelError> {
        fs::create_dir_all(folder).map_err(|error| ModelError::new(folder, error))?;
        for name in [CONFIG, TOKENIZER] {
            let (from, to) = (self.folder.join(name), folder.join(name));
            if from != to {
                fs::copy(&from, &to).map_err(|error| ModelError::new(&to, error))?;
            }
        }
        let settings = SentenceSettings {
            pooling: encoder.pooling,
            normalize: encoder.normalize,
            max_length: Some(self.options.max_length),
        };
        settings.save(folder, self.config.hidden_size)?;
        weights::save(&encoder.bert, &folder.join(WEIGHTS))
    }
}
