//! A model's folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use files::PartialFolder;
use serde_json::Value;

use crate::{
    config::BertConfig,
    encoder::TextEncoder,
    error::ModelError,
    model::{Bert, Precision},
    pooling::{self, MODULES, POOLING, Pooling, SENTENCE, SentenceSettings},
    tokens::Tokenizer,
    weights,
};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// What transformers and sentence-transformers read beside them.
const OF_OTHERS: [&str; 5] = [
    pooling::TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "config_sentence_transformers.json",
];

/// A pretrained model in a folder of the layout of Hugging Face: `config.json`,
/// `tokenizer.json`, `model.safetensors`, and if it is there what sentence-transformers
/// writes beside them.
#[derive(Clone, Debug)]
pub struct Pretrained {
    folder: PathBuf,
    /// As the folder says.
    pub config: BertConfig,
    /// As the folder says; change them before an encoder is made.
    pub options: EncoderOptions,
}

/// How hidden states become vectors, and at which precision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EncoderOptions {
    /// Which hidden states make a vector.
    pub pooling: Pooling,
    /// Vectors of length 1, whose dot products are cosines.
    pub normalize: bool,
    /// What the products of matrices are computed in.
    pub precision: Precision,
    /// In place of the rates in `config.json`. It is for training: nothing is dropped on
    /// a device without autodiff.
    pub dropout: Option<f64>,
    /// The longest text, in tokens, special tokens included. At most
    /// `max_position_embeddings` of the config.
    pub max_length: usize,
}

impl Pretrained {
    /// [Opens](Self::open) a folder, or with the feature `hub` a model by its name if
    /// there is no such folder.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open) and of `from_hub`.
    pub fn find(model: &str) -> Result<Self, ModelError> {
        #[cfg(feature = "hub")]
        if !Path::new(model).exists() {
            return Self::from_hub(model);
        }
        Self::open(model)
    }

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

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The tokenizer, which cuts texts to `max_length` of the options.
    ///
    /// # Errors
    ///
    /// If the file is missing or damaged, has tokens beyond the `vocab_size` of the
    /// config, or if `max_length` is longer than the config allows or too short for the
    /// special tokens.
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
    /// If the weights are missing, damaged, or of other shapes than `config.json` says:
    /// with the tensor's name. If the dropout of the options is not a rate below 1.
    pub fn encoder(&self, device: &Device) -> Result<TextEncoder, ModelError> {
        let mut config = self.config.clone();
        if let Some(dropout) = self.options.dropout {
            config.hidden_dropout_prob = dropout;
            config.attention_probs_dropout_prob = dropout;
        }
        let checked = config.check();
        checked.map_err(|problem| ModelError::new(&self.folder.join(CONFIG), problem))?;
        let bert = weights::load(Bert::new(&config, device), &self.folder.join(WEIGHTS))?;
        Ok(TextEncoder::new(bert, &self.options))
    }

    /// Writes an encoder to another folder, which [`open`](Self::open), transformers and
    /// sentence-transformers read: weights in f32, the encoder's pooling and
    /// normalisation, `max_length` of the options, and copies of the tokenizer and the
    /// config.
    ///
    /// All files are written before the first gets its name, and the weights get theirs
    /// last: an interruption never leaves weights beside settings of another encoder.
    ///
    /// # Errors
    ///
    /// With the file that could not be read or written. A model that was in the folder is
    /// then as it was.
    pub fn save(&self, encoder: &TextEncoder, folder: &Path) -> Result<(), ModelError> {
        let fail = |error: io::Error| ModelError::new(folder, error);
        let new = PartialFolder::new(&folder.join("model")).map_err(fail)?;
        self.write(encoder, new.path())?;
        match fs::remove_file(folder.join(WEIGHTS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let pooling = folder.join(POOLING);
        fs::create_dir_all(pooling.with_file_name("")).map_err(fail)?;
        let ours = [TOKENIZER, CONFIG, MODULES, POOLING, SENTENCE, WEIGHTS];
        for name in OF_OTHERS.into_iter().chain(ours) {
            let from = new.path().join(name);
            if from.exists() {
                fs::rename(from, folder.join(name)).map_err(fail)?;
            }
        }
        Ok(())
    }

    /// The files of [`save`](Self::save), to an empty folder.
    fn write(&self, encoder: &TextEncoder, folder: &Path) -> Result<(), ModelError> {
        let read = |path: &Path| fs::read(path).map_err(|error| ModelError::new(path, error));
        let others = OF_OTHERS
            .iter()
            .filter(|name| self.folder.join(name).exists());
        for name in others.chain([&TOKENIZER]) {
            let bytes = read(&self.folder.join(name))?;
            let path = folder.join(name);
            files::write(&path, bytes).map_err(|error| ModelError::new(&path, error))?;
        }
        let path = self.folder.join(CONFIG);
        let config = serde_json::from_slice(&read(&path)?);
        let config = config.map_err(|error| ModelError::new(&path, error))?;
        pooling::write(&folder.join(CONFIG), &of_f32(config))?;
        let settings = SentenceSettings {
            pooling: encoder.pooling,
            normalize: encoder.normalize,
            max_length: Some(self.options.max_length),
        };
        settings.save(folder, self.config.hidden_size)?;
        weights::save(&encoder.bert, &folder.join(WEIGHTS))
    }
}

/// Readers of a config take the weights to be of the type that it names.
fn of_f32(mut config: Value) -> Value {
    for name in ["dtype", "torch_dtype"] {
        if let Some(dtype) = config.get_mut(name) {
            *dtype = "float32".into();
        }
    }
    config
}
