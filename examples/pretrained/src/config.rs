//! `config.json`: the sizes of a BERT-type encoder, in the words of Hugging Face.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use crate::error::ModelError;

/// The sizes and rates that an encoder is built from. What `config.json` leaves out has
/// the value that Hugging Face's `BertConfig` gives it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct BertConfig {
    /// Tokens in the table of embeddings.
    pub vocab_size: usize,
    /// Entries of a hidden state, and so of a text's vector.
    pub hidden_size: usize,
    /// Layers of attention and feed-forward network, at most 1,000.
    pub num_hidden_layers: usize,
    /// Heads of attention, of `hidden_size / num_attention_heads` entries each.
    pub num_attention_heads: usize,
    /// Entries between the two products of a feed-forward network.
    pub intermediate_size: usize,
    /// What a feed-forward network applies in between.
    pub hidden_act: Activation,
    /// Of embeddings and of what a sublayer adds.
    pub hidden_dropout_prob: f64,
    /// Of the weights of attention.
    pub attention_probs_dropout_prob: f64,
    /// The longest text, in tokens.
    pub max_position_embeddings: usize,
    /// Segments in the table of embeddings, of which the first is used.
    pub type_vocab_size: usize,
    /// What layer normalisation adds to the variance.
    pub layer_norm_eps: f64,
}

/// What a feed-forward network applies to each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x Phi(x)`, `Phi` the distribution function of the normal distribution.
    Gelu,
    /// The approximation by a hyperbolic tangent.
    #[serde(alias = "gelu_pytorch_tanh")]
    GeluNew,
    /// `max(x, 0)`.
    Relu,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
        }
    }
}

impl BertConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is of another architecture than BERT, or asks for what this
    /// encoder does not do.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let error = |problem: &dyn std::fmt::Display| ModelError::new(path, problem);
        let text = fs::read_to_string(path).map_err(|problem| error(&problem))?;
        let json: Value = serde_json::from_str(&text).map_err(|problem| error(&problem))?;
        check_architecture(&json).map_err(|problem| error(&problem))?;
        let config: Self = serde_json::from_value(json).map_err(|problem| error(&problem))?;
        config.check().map_err(|problem| error(&problem))?;
        Ok(config)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        // Layers are made before the weights are read, and tokens are 32-bit integers.
        if self.num_hidden_layers > 1000 {
            let layers = self.num_hidden_layers;
            return Err(format!("num_hidden_layers is {layers}, and at most 1000"));
        }
        if i32::try_from(self.vocab_size).is_err() {
            return Err(format!("vocab_size {} is too large", self.vocab_size));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "hidden_size {} is no multiple of num_attention_heads {}",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if self.max_position_embeddings < 3 {
            return Err("max_position_embeddings must be at least 3".into());
        }
        let rates = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            (
                "attention_probs_dropout_prob",
                self.attention_probs_dropout_prob,
            ),
        ];
        if let Some((name, rate)) = rates.iter().find(|(_, rate)| !(0.0..1.0).contains(rate)) {
            return Err(format!("{name} is {rate}, and must lie in 0 .. 1"));
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps > 0.0) {
            return Err("layer_norm_eps must be positive".into());
        }
        Ok(())
    }
}

/// What reads like a config of BERT, and computes something else.
fn check_architecture(json: &Value) -> Result<(), String> {
    let model_type = json.get("model_type").and_then(Value::as_str);
    let architecture = json.pointer("/architectures/0").and_then(Value::as_str);
    let bert = match (model_type, architecture) {
        (Some(model_type), _) => model_type == "bert",
        (None, Some(architecture)) => architecture.starts_with("Bert"),
        (None, None) => false,
    };
    if !bert {
        return Err(format!(
            "unknown architecture {}: this encoder is of model_type \"bert\" \
             (BERT, MiniLM, Contriever, RetroMAE, BGE, E5)",
            model_type.or(architecture).unwrap_or("without model_type")
        ));
    }
    let position = json.get("position_embedding_type").and_then(Value::as_str);
    if let Some(position) = position.filter(|position| *position != "absolute") {
        return Err(format!("position_embedding_type {position} is not known"));
    }
    if json.get("is_decoder").and_then(Value::as_bool) == Some(true) {
        return Err("is_decoder: a decoder attends to the left only".into());
    }
    Ok(())
}
