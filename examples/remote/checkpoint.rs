//! Training that stops and goes on: weights, moments and place, in a folder for each step.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::{module::Module, optim::ModuleOptimizer};
use files::PartialFolder;
use retrieval::DualEncoder;
use serde::{Deserialize, Serialize};

const PREFIX: &str = "step-";
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const RUN: &str = "run.json";

/// What the batches of a run follow from, and what else must not change when it goes on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Run {
    pub data: Option<PathBuf>,
    pub train_split: String,
    pub seed: u64,
    pub batch_size: usize,
    pub max_positives: usize,
    pub temperature: f64,
    pub lr: f64,
}

/// Writes model and optimizer after so many steps, and removes what was written after fewer. What
/// an interruption leaves is not read.
pub fn save(
    folder: &Path,
    step: usize,
    run: &Run,
    model: &DualEncoder,
    optimizer: &ModuleOptimizer,
) -> Result<PathBuf, String> {
    let place = folder.join(format!("{PREFIX}{step}"));
    let write = || -> Result<(), String> {
        let before = saved(folder).unwrap_or_default();
        let text = |error: std::io::Error| error.to_string();
        let partial = PartialFolder::new(&place).map_err(text)?;
        let saved = model.clone().save_file(partial.path().join(MODEL));
        saved.map_err(|error| error.to_string())?;
        let saved = optimizer.save(partial.path().join(OPTIMIZER));
        saved.map_err(|error| error.to_string())?;
        let json = serde_json::to_vec_pretty(run).map_err(|error| error.to_string())?;
        files::write(&partial.path().join(RUN), json).map_err(text)?;
        partial.commit().map_err(text)?;
        for (_, old) in before.into_iter().filter(|(old, _)| *old < step) {
            fs::remove_dir_all(old).map_err(text)?;
        }
        Ok(())
    };
    write().map_err(|error| format!("{}: {error}", place.display()))?;
    Ok(place)
}

/// Model and optimizer as they were last saved, on the CPU, and the steps that they had taken.
pub fn load(
    folder: &Path,
    run: &Run,
    model: DualEncoder,
    optimizer: ModuleOptimizer,
) -> Result<(DualEncoder, ModuleOptimizer, usize), String> {
    let last = saved(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let Some((step, place)) = last.into_iter().next_back() else {
        return Err(format!(
            "{}: there is no checkpoint to go on from",
            folder.display()
        ));
    };
    let read = || -> Result<_, String> {
        let json = fs::read(place.join(RUN)).map_err(|error| error.to_string())?;
        let of: Run = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
        if of != *run {
            return Err(format!(
                "it is of another run: expected {run:?}, got {of:?}"
            ));
        }
        let model = model.try_load_file(place.join(MODEL));
        let optimizer = optimizer.load(place.join(OPTIMIZER));
        let error = |error: burn::store::RecordError| error.to_string();
        Ok((model.map_err(error)?, optimizer.map_err(error)?))
    };
    let (model, optimizer) = read().map_err(|error| format!("{}: {error}", place.display()))?;
    Ok((model, optimizer, step))
}

/// The checkpoints of a folder, by their steps.
pub fn saved(folder: &Path) -> std::io::Result<Vec<(usize, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let step = name.and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        found.extend(step.map(|step| (step, path)));
    }
    found.sort();
    Ok(found)
}
