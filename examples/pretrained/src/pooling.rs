//! From the hidden states of a text's tokens to its vector.

use std::{fs, path::Path};

use burn::tensor::Tensor;
use serde_json::{Value, json};

use crate::{error::ModelError, tokens::Batch};

/// Which hidden states make the vector of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over the text's tokens, special tokens included.
    #[default]
    Mean,
    /// That of the first token, `[CLS]`.
    Cls,
}

impl Pooling {
    /// `[texts * tokens, hidden]` to `[texts, hidden]`.
    pub fn forward(self, states: Tensor<2>, batch: &Batch) -> Tensor<2> {
        let [texts, tokens] = batch.ids.dims();
        let [_, hidden] = states.dims();
        let states = states.reshape([texts, tokens, hidden]);
        match (self, &batch.padding) {
            (Self::Cls, _) => states.slice([0..texts, 0..1]).reshape([texts, hidden]),
            (Self::Mean, None) => states.mean_dim(1).reshape([texts, hidden]),
            (Self::Mean, Some(padding)) => {
                let real = padding.clone().bool_not().float();
                let shares = real.clone() / real.sum_dim(1);
                shares
                    .unsqueeze_dim::<3>(1)
                    .matmul(states)
                    .reshape([texts, hidden])
            }
        }
    }
}

const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling/config.json";
const SENTENCE: &str = "sentence_bert_config.json";

/// What sentence-transformers writes beside a model: pooling, whether vectors are normalised, and the longest text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SentenceSettings {
    pub pooling: Pooling,
    pub normalize: bool,
    pub max_length: Option<usize>,
}

impl SentenceSettings {
    /// Of a folder without these files: the mean, not normalised.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let Some(modules) = read(&folder.join(MODULES))? else {
            return Ok(Self::default());
        };
        let kinds: Vec<&str> = modules
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(kind)
            .collect();
        let known = ["Transformer", "Pooling", "Normalize"];
        if let Some(kind) = kinds.iter().find(|kind| !known.contains(kind)) {
            let problem = format!("a module of the kind {kind} is not known");
            return Err(ModelError::new(&folder.join(MODULES), problem));
        }
        let sentence = read(&folder.join(SENTENCE))?;
        let max_length = sentence.and_then(|json| json.get("max_seq_length")?.as_u64());
        Ok(Self {
            pooling: pooling(folder)?,
            normalize: kinds.contains(&"Normalize"),
            max_length: max_length.map(|length| length as usize),
        })
    }

    pub fn save(&self, folder: &Path, hidden: usize) -> Result<(), ModelError> {
        let mut modules = vec![("", "Transformer"), ("1_Pooling", "Pooling")];
        if self.normalize {
            modules.push(("2_Normalize", "Normalize"));
        }
        let modules: Vec<Value> = modules
            .iter()
            .enumerate()
            .map(|(index, (path, kind))| {
                let kind = format!("sentence_transformers.models.{kind}");
                json!({"idx": index, "name": index.to_string(), "path": path, "type": kind})
            })
            .collect();
        let pooling = json!({
            "word_embedding_dimension": hidden,
            "pooling_mode_cls_token": self.pooling == Pooling::Cls,
            "pooling_mode_mean_tokens": self.pooling == Pooling::Mean,
        });
        let sentence = json!({"max_seq_length": self.max_length, "do_lower_case": false});
        write(&folder.join(MODULES), &Value::from(modules))?;
        write(&folder.join(POOLING), &pooling)?;
        write(&folder.join(SENTENCE), &sentence)
    }
}

/// The last part of a module's type.
fn kind(module: &Value) -> Option<&str> {
    module.get("type")?.as_str()?.rsplit('.').next()
}

fn pooling(folder: &Path) -> Result<Pooling, ModelError> {
    let path = folder.join(POOLING);
    let Some(json) = read(&path)? else {
        return Ok(Pooling::default());
    };
    let modes = json.as_object().into_iter().flatten();
    let modes =
        modes.filter(|(name, on)| name.starts_with("pooling_mode") && on.as_bool() == Some(true));
    let modes: Vec<&str> = modes.map(|(name, _)| name.as_str()).collect();
    match modes[..] {
        ["pooling_mode_mean_tokens"] => Ok(Pooling::Mean),
        ["pooling_mode_cls_token"] => Ok(Pooling::Cls),
        _ => Err(ModelError::new(
            &path,
            format!("pooling by {modes:?} is not known"),
        )),
    }
}

/// `None` if there is no such file.
fn read(path: &Path) -> Result<Option<Value>, ModelError> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(|error| ModelError::new(path, error))?;
    let json = serde_json::from_str(&text).map_err(|error| ModelError::new(path, error))?;
    Ok(Some(json))
}

fn write(path: &Path, json: &Value) -> Result<(), ModelError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| ModelError::new(folder, error))?;
    }
    let text = format!("{json:#}\n");
    fs::write(path, text).map_err(|error| ModelError::new(path, error))
}
