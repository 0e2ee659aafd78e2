//! `model.safetensors`: weights under the names that Hugging Face gives them.

use std::path::Path;

use burn::tensor::{DType, Shape};
use burn_store::{
    ApplyError, BurnToPyTorchAdapter, FloatCastAdapter, KeyRemapper, ModuleAdapter, ModuleSnapshot,
    PyTorchToBurnAdapter, SafetensorsStore,
};

use crate::{error::ModelError, model::Bert};

/// Modules of ours by their paths in a file. Layers and what is in them are told apart by
/// the numbers of the layers.
const NAMES: [(&str, &str); 12] = [
    ("words", "embeddings.word_embeddings"),
    ("positions", "embeddings.position_embeddings"),
    ("segments", "embeddings.token_type_embeddings"),
    ("norm", "embeddings.LayerNorm"),
    ("query", "attention.self.query"),
    ("key", "attention.self.key"),
    ("value", "attention.self.value"),
    ("attended", "attention.output.dense"),
    ("attended_norm", "attention.output.LayerNorm"),
    ("intermediate", "intermediate.dense"),
    ("output", "output.dense"),
    ("output_norm", "output.LayerNorm"),
];

/// Reads the weights of an encoder, in any float type. Heads that the file has beside it
/// are left out.
///
/// # Errors
///
/// If the file cannot be read, if a tensor is missing or has another shape than the
/// config says, and if the file has embeddings or layers that the config knows nothing
/// of.
pub fn load(mut bert: Bert, path: &Path) -> Result<Bert, ModelError> {
    if !path.is_file() {
        return Err(ModelError::new(path, absent(path)));
    }
    let mut store = SafetensorsStore::from_file(path)
        .remap(to_ours())
        .with_from_adapter(PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32)))
        .allow_partial(true)
        .validate(false);
    let result = bert.load_from(&mut store);
    let result = result.map_err(|problem| ModelError::new(path, problem))?;
    if let Some(error) = result.errors.first() {
        let (tensor, problem) = told(error);
        return Err(ModelError::of_tensor(path, &theirs(tensor), problem));
    }
    if let Some((tensor, _)) = result.missing.first() {
        let problem = match result.missing.len() - 1 {
            0 => "missing".to_string(),
            others => format!("missing, as are {others} others"),
        };
        return Err(ModelError::of_tensor(path, &theirs(tensor), problem));
    }
    let unknown = |tensor: &&String| {
        (tensor.starts_with("embeddings.") || tensor.starts_with("layers."))
            && !tensor.ends_with("position_ids")
    };
    if let Some(tensor) = result.unused.iter().find(unknown) {
        let problem = "has no place in the encoder that config.json describes";
        return Err(ModelError::of_tensor(path, &theirs(tensor), problem));
    }
    Ok(bert)
}

/// In what other files weights are, and what to do.
fn absent(path: &Path) -> String {
    let others = [
        (
            "model.safetensors.index.json",
            "weights in several files are not read; write them to one, by \
             AutoModel.from_pretrained(FOLDER).save_pretrained(OTHER, max_shard_size=\"100GB\")",
        ),
        (
            "pytorch_model.bin",
            "pickled weights are not read; convert them, by \
             AutoModel.from_pretrained(FOLDER).save_pretrained(OTHER)",
        ),
    ];
    let found = others
        .iter()
        .find(|(name, _)| path.with_file_name(name).exists());
    match found {
        Some((name, remedy)) => format!("there is no such file, but {name}: {remedy}"),
        None => "there is no such file".into(),
    }
}

/// Writes the weights in f32.
pub fn save(bert: &Bert, path: &Path) -> Result<(), ModelError> {
    let mut store = SafetensorsStore::from_file(path)
        .remap(to_theirs())
        .with_to_adapter(BurnToPyTorchAdapter)
        .clear_metadata()
        .metadata("format", "pt")
        .overwrite(true);
    let result = bert.save_into(&mut store);
    result.map_err(|problem| ModelError::new(path, problem))
}

fn told(error: &ApplyError) -> (&str, String) {
    match error {
        ApplyError::ShapeMismatch {
            path,
            expected,
            found,
        } => {
            let matrix = expected.rank() == 2 && !is_embedding(path);
            let [expected, found] = [expected, found].map(|shape| of_file(shape, matrix));
            let problem = format!("of shape {found:?}, and config.json says {expected:?}");
            (path, problem)
        }
        ApplyError::DTypeMismatch { path, found, .. } => {
            (path, format!("holds {found:?}, no floats"))
        }
        ApplyError::AdapterError { path, message } | ApplyError::LoadError { path, message } => {
            (path, message.clone())
        }
    }
}

/// The shape in a file, where matrices that multiply are transposed.
fn of_file(shape: &Shape, matrix: bool) -> Vec<usize> {
    let mut shape = shape.to_vec();
    if matrix && shape.len() == 2 {
        shape.reverse();
    }
    shape
}

fn is_embedding(ours: &str) -> bool {
    let names = ["words.", "positions.", "segments."];
    names.iter().any(|name| ours.starts_with(name))
}

fn remapper(patterns: Vec<(String, String)>) -> KeyRemapper {
    KeyRemapper::from_patterns(patterns).expect("patterns of this file")
}

fn to_ours() -> KeyRemapper {
    // Models with a head have the encoder under `bert`; old files call scale and shift of
    // a normalisation gamma and beta, as Burn does.
    let mut patterns = vec![
        (r"^bert\.".into(), String::new()),
        (r"^encoder\.layer\.".into(), "layers.".into()),
    ];
    for (ours, theirs) in NAMES {
        let theirs = theirs.replace('.', r"\.");
        patterns.push((
            format!(r"^(layers\.\d+\.|){theirs}\."),
            format!("${{1}}{ours}."),
        ));
    }
    remapper(patterns)
}

fn to_theirs() -> KeyRemapper {
    let mut patterns: Vec<(String, String)> = NAMES
        .iter()
        .map(|(ours, theirs)| {
            (
                format!(r"^(layers\.\d+\.|){ours}\."),
                format!("${{1}}{theirs}."),
            )
        })
        .collect();
    patterns.push((r"^layers\.".into(), "encoder.layer.".into()));
    remapper(patterns)
}

/// The name in a file of a tensor that we have another name for.
fn theirs(ours: &str) -> String {
    let mut name = ours.to_string();
    for (pattern, replacement) in to_theirs().to_regex_pairs() {
        name = pattern.replace(&name, replacement.as_str()).into_owned();
    }
    if name.contains("LayerNorm") {
        name = name.replace(".gamma", ".weight").replace(".beta", ".bias");
    }
    name
}
