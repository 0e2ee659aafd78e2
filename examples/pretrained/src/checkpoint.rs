//! Training that stops and goes on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::{module::Module, optim::ModuleOptimizer};

use crate::error::ModelError;

const PREFIX: &str = "checkpoint-";
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
    let partial = folder.join(format!("{PREFIX}{steps}.partial"));
    let before = checkpoints(folder)?;
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|error| ModelError::new(&partial, error))?;
    }
    fs::create_dir_all(&partial).map_err(|error| ModelError::new(&partial, error))?;
    let path = partial.join(MODEL);
    let saved = model.clone().save_file(&path);
    saved.map_err(|error| ModelError::new(&path, error))?;
    let path = partial.join(OPTIMIZER);
    let saved = optimizer.save(&path);
    saved.map_err(|error| ModelError::new(&path, error))?;
    if place.exists() {
        fs::remove_dir_all(&place).map_err(|error| ModelError::new(&place, error))?;
    }
    fs::rename(&partial, &place).map_err(|error| ModelError::new(&place, error))?;
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
    let Some((steps, place)) = checkpoints(folder)?.pop() else {
        return Ok((model, optimizer, 0));
    };
    let path = place.join(MODEL);
    let model = model.try_load_file(&path);
    let model = model.map_err(|error| ModelError::new(&path, error))?;
    let path = place.join(OPTIMIZER);
    let optimizer = optimizer.load(&path);
    let optimizer = optimizer.map_err(|error| ModelError::new(&path, error))?;
    Ok((model, optimizer, steps))
}

/// By their steps.
fn checkpoints(folder: &Path) -> Result<Vec<(usize, PathBuf)>, ModelError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let error = |error: std::io::Error| ModelError::new(folder, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let steps = name.and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        found.extend(steps.map(|steps| (steps, path)));
    }
    found.sort();
    Ok(found)
}
