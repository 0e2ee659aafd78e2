//! From the hidden states of a text's tokens to its vector.

use std::{fs, path::Path};

use burn::tensor::{DType, Tensor};
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
    /// From `[texts * tokens, hidden]` to `[texts, hidden]`. Padding has no part in the
    /// mean.
    pub fn forward(self, states: Tensor<2>, batch: &Batch) -> Tensor<2> {
        let [texts, tokens] = batch.ids.dims();
        let [_, hidden] = states.dims();
        let states = states.reshape([texts, tokens, hidden]);
        match (self, &batch.padding) {
            (Self::Cls, _) => states.slice([0..texts, 0..1]).reshape([texts, hidden]),
            (Self::Mean, None) => states.mean_dim(1).reshape([texts, hidden]),
            (Self::Mean, Some(padding)) => {
                let real = padding.clone().bool_not().float().cast(DType::F32);
                let shares = real.clone() / real.sum_dim(1);
                shares
                    .unsqueeze_dim::<3>(1)
                    .matmul(states)
                    .reshape([texts, hidden])
            }
        }
    }
}

pub(crate) const MODULES: &str = "modules.json";
pub(crate) const POOLING: &str = "1_Pooling/config.json";
pub(crate) const SENTENCE: &str = "sentence_bert_config.json";
pub(crate) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// What sentence-transformers writes beside a model: pooling, whether vectors are
/// normalised, and the longest text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SentenceSettings {
    /// Which hidden states make a vector.
    pub pooling: Pooling,
    /// Whether vectors have length 1.
    pub normalize: bool,
    /// In tokens. `None` leaves it to the config.
    pub max_length: Option<usize>,
}

impl SentenceSettings {
    /// Of a folder without these files: the mean, not normalised. The longest text is
    /// that of the tokenizer, if sentence-transformers has written no other, as it does
    /// no more from its version 6 on.
    ///
    /// # Errors
    ///
    /// If a file is damaged, if `modules.json` lists what this encoder does not do, or if
    /// pooling is of another kind.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let length = |file: &str, name: &str| {
            let length = read(&folder.join(file))?.and_then(|json| json.get(name)?.as_u64());
            Ok(length.map(|length| length as usize))
        };
        let of_tokenizer = length(TOKENIZER_CONFIG, "model_max_length")?;
        let Some(modules) = read(&folder.join(MODULES))? else {
            return Ok(Self {
                max_length: of_tokenizer,
                ..Self::default()
            });
        };
        let kinds = modules.as_array().map(|modules| modules.iter().map(kind));
        let kinds: Option<Vec<&str>> = kinds.and_then(Iterator::collect);
        let Some(kinds) = kinds else {
            let problem = "not a list of modules, each with its type";
            return Err(ModelError::new(&folder.join(MODULES), problem));
        };
        let known = ["Transformer", "Pooling", "Normalize"];
        if let Some(kind) = kinds.iter().find(|kind| !known.contains(kind)) {
            let problem = format!("a module of the kind {kind} is not known");
            return Err(ModelError::new(&folder.join(MODULES), problem));
        }
        if !kinds.contains(&"Pooling") {
            let problem = "without pooling there is no vector of a text";
            return Err(ModelError::new(&folder.join(MODULES), problem));
        }
        Ok(Self {
            pooling: pooling(folder)?,
            normalize: kinds.contains(&"Normalize"),
            max_length: length(SENTENCE, "max_seq_length")?.or(of_tokenizer),
        })
    }

    /// Writes the files.
    ///
    /// # Errors
    ///
    /// With the file that could not be written.
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
        let problem = "there is no such file, and modules.json lists pooling";
        return Err(ModelError::new(&path, problem));
    };
    // One flag for each kind, or a field with the kinds.
    let modes = json.as_object().into_iter().flatten();
    let modes = modes.filter(|(name, _)| name.starts_with("pooling_mode"));
    let modes = modes.filter_map(|(name, value)| match value {
        Value::String(mode) => Some(mode),
        value => (*value != Value::Bool(false)).then_some(name),
    });
    let modes: Vec<&str> = modes.map(String::as_str).collect();
    match modes[..] {
        ["pooling_mode_mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["pooling_mode_cls_token" | "cls"] => Ok(Pooling::Cls),
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

pub(crate) fn write(path: &Path, json: &Value) -> Result<(), ModelError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| ModelError::new(folder, error))?;
    }
    let text = format!("{json:#}\n");
    files::write(path, text).map_err(|error| ModelError::new(path, error))
}
