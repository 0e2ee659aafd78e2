//! Texts to tokens, and tokens to batches.

use std::path::Path;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use tokenizers::{PostProcessor, TruncationParams};

use crate::error::ModelError;

/// A tokenizer of Hugging Face, with the length that texts are cut to.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

/// The tokens of one text, special tokens included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens(Vec<u32>);

/// Texts of one batch as tensors, padded to the longest.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[texts, tokens]`
    pub ids: Tensor<2, Int>,
    /// True at padding, `[texts, tokens]`. `None` if no text is shorter than another.
    pub padding: Option<Tensor<2, Bool>>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`. Texts are cut to `max_length` tokens, special tokens
    /// included; what the file says of truncation and padding is not used.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has a token beyond the `vocab_size` of the weights.
    pub fn load(path: &Path, vocab_size: usize, max_length: usize) -> Result<Self, ModelError> {
        let error = |problem: &dyn std::fmt::Display| ModelError::new(path, problem);
        let inner = ModelError::caught(path, || tokenizers::Tokenizer::from_file(path))?;
        let last = inner.get_vocab(true).into_values().max();
        if let Some(last) = last.filter(|last| *last as usize >= vocab_size) {
            return Err(error(&format!(
                "token {last} is beyond the vocab_size of config.json, {vocab_size}"
            )));
        }
        let mut tokenizer = Self { inner };
        tokenizer.inner.with_padding(None);
        tokenizer
            .cut_to(max_length)
            .map_err(|problem| error(&problem))?;
        // The special tokens of the post-processor have numbers of their own.
        let special = tokenizer.tokenize("").map_err(|problem| error(&problem))?;
        if let Some(id) = special.0.iter().find(|id| **id as usize >= vocab_size) {
            return Err(error(&format!(
                "special token {id} is beyond the vocab_size of config.json, {vocab_size}"
            )));
        }
        Ok(tokenizer)
    }

    /// The same tokenizer with another maximal length.
    ///
    /// # Errors
    ///
    /// If not even the special tokens fit.
    pub fn with_max_length(mut self, max_length: usize) -> Result<Self, String> {
        self.cut_to(max_length)?;
        Ok(self)
    }

    fn cut_to(&mut self, max_length: usize) -> Result<(), String> {
        // The tokenizer subtracts without looking.
        let special = self.inner.get_post_processor();
        let special = special.map_or(0, |processor| processor.added_tokens(false));
        if max_length < special.max(1) {
            return Err(format!(
                "a maximal length of {max_length} has no room for {special} special tokens"
            ));
        }
        let truncation = TruncationParams {
            max_length,
            ..Default::default()
        };
        let set = self.inner.with_truncation(Some(truncation));
        set.map(|_| ())
            .map_err(|problem| format!("a maximal length of {max_length}: {problem}"))
    }

    /// The tokens of a text. An empty one has the special tokens only; of one beyond the
    /// maximal length the beginning is kept.
    ///
    /// # Errors
    ///
    /// If the tokenizer refuses the text, which those of BERT never do.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, String> {
        let encoding = self.inner.encode_fast(text, true);
        let encoding = encoding.map_err(|problem| problem.to_string())?;
        match encoding.get_ids() {
            [] => Err("the tokenizer gives no token for the text, not even a special one".into()),
            ids => Ok(Tokens(ids.to_vec())),
        }
    }
}

impl From<Vec<u32>> for Tokens {
    /// Tokens that some other tokenizer made.
    fn from(ids: Vec<u32>) -> Self {
        Self(ids)
    }
}

impl Tokens {
    /// How many there are; at least 1 from a [`Tokenizer`].
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Their numbers in the vocabulary.
    pub fn ids(&self) -> &[u32] {
        &self.0
    }
}

impl Batch {
    /// Pads texts to the longest of them. The tensors are on `device` without autodiff.
    pub fn new(texts: &[&Tokens], device: &Device) -> Self {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let shape = [texts.len(), longest];
        let padded = |text: &Tokens| {
            let ids = text.0.iter().map(|id| *id as i32);
            ids.chain(std::iter::repeat(0))
                .take(longest)
                .collect::<Vec<_>>()
        };
        let ids: Vec<i32> = texts.iter().flat_map(|text| padded(text)).collect();
        let uneven = texts.iter().any(|text| text.len() < longest);
        let device = device.clone().without_autodiff();
        let padding = uneven.then(|| {
            let rows = texts.iter();
            let padding = rows.flat_map(|text| (0..longest).map(|place| place >= text.len()));
            let padding: Vec<bool> = padding.collect();
            Tensor::from_data(TensorData::new(padding, shape), &device)
        });
        Self {
            ids: Tensor::from_data(TensorData::new(ids, shape), &device),
            padding,
        }
    }
}
