//! Training that stops and goes on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::{module::Module, optim::ModuleOptimizer};
use files::PartialFolder;

use crate::error::ModelError;

const PREFIX: &str = "checkpoint-";
/// Of what an interrupted save leaves.
const PARTIAL: &str = ".partial";
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";

/// Writes the model and the optimizer after so many steps to `folder/checkpoint-STEPS`,
/// and removes all other checkpoints. A checkpoint is there whole or not at all: what an
/// interrupted save leaves is not read. Only where it replaces a checkpoint of the same
/// step, an interruption can lose that one.
///
/// # Errors
///
/// With the file that could not be written; older checkpoints are then left.
pub fn save_checkpoint<M: Module>(
    folder: &Path,
    steps: usize,
    model: &M,
    optimizer: &ModuleOptimizer,
) -> Result<(), ModelError> {
    let place = folder.join(format!("{PREFIX}{steps}"));
    // Those of an interrupted save take room that this one may need.
    for (_, old) in numbered(folder, PARTIAL)? {
        fs::remove_dir_all(&old).map_err(|error| ModelError::new(&old, error))?;
    }
    let before = numbered(folder, "")?;
    let partial = PartialFolder::new(&place).map_err(|error| ModelError::new(&place, error))?;
    let path = partial.path().join(MODEL);
    let saved = model.clone().save_file(&path);
    saved.map_err(|error| ModelError::new(&path, error))?;
    let path = partial.path().join(OPTIMIZER);
    let saved = optimizer.save(&path);
    saved.map_err(|error| ModelError::new(&path, error))?;
    let committed = partial.commit();
    committed.map_err(|error| ModelError::new(&place, error))?;
    for (_, old) in before.into_iter().filter(|(_, old)| *old != place) {
        fs::remove_dir_all(&old).map_err(|error| ModelError::new(&old, error))?;
    }
    Ok(())
}

/// The model and the optimizer of the last checkpoint in a folder, with its number of
/// steps. `None` if there is none.
///
/// Weights, moments and the parameters' ids are those that were saved: with the same
/// batches, and the same seed before each step, training goes on as if it had not
/// stopped.
///
/// # Errors
///
/// If the checkpoint is damaged, or of a model of another form.
pub fn load_checkpoint<M: Module>(
    folder: &Path,
    model: M,
    optimizer: ModuleOptimizer,
) -> Result<(M, ModuleOptimizer, usize), ModelError> {
    let Some((steps, place)) = numbered(folder, "")?.pop() else {
        return Ok((model, optimizer, 0));
    };
    let path = place.join(MODEL);
    let model = ModelError::caught(&path, || model.try_load_file(&path))?;
    let path = place.join(OPTIMIZER);
    let optimizer = ModelError::caught(&path, || optimizer.load(&path))?;
    Ok((model, optimizer, steps))
}

/// The checkpoints, or with a suffix what has that behind its name, by their steps.
fn numbered(folder: &Path, suffix: &str) -> Result<Vec<(usize, PathBuf)>, ModelError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let error = |error: std::io::Error| ModelError::new(folder, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = |name: &str| {
            let number = name.strip_prefix(PREFIX)?.strip_suffix(suffix)?;
            number.parse().ok()
        };
        let steps = name.and_then(number);
        found.extend(steps.map(|steps| (steps, path)));
    }
    found.sort();
    Ok(found)
}
