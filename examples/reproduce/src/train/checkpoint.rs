//! A training that was stopped, and where it goes on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    cell::{Epoch, StepEvaluation},
    pulls::Pulls,
};
use crate::{
    encoder::Encoder,
    output::{named, write_json},
};

/// What a training has come to after some steps, beside the weights.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct History {
    pub steps: usize,
    /// Of the queries of the epoch that is not finished.
    pub loss_sum: f64,
    pub queries: usize,
    pub pulls: Pulls,
    pub epochs: Vec<Epoch>,
    pub evaluations: Vec<StepEvaluation>,
    /// Until the checkpoint that the training goes on from.
    pub seconds: f64,
}

/// The folder of a training's checkpoints.
pub struct Checkpoints(PathBuf);

impl Checkpoints {
    pub fn of(cell_folder: &Path) -> Self {
        Self(cell_folder.join("checkpoints"))
    }

    fn history(&self, steps: usize) -> PathBuf {
        self.0.join(format!("history-{steps}.json"))
    }

    /// The history is there before its checkpoint, and so whenever the checkpoint is.
    pub fn save<E: Encoder>(&self, encoder: &E, history: &History) -> Result<(), String> {
        named(&self.0, fs::create_dir_all(&self.0))?;
        let path = self.history(history.steps);
        write_json(&path, history)?;
        encoder.save_checkpoint(&self.0, history.steps)?;
        for entry in named(&self.0, fs::read_dir(&self.0))? {
            let other = named(&self.0, entry)?.path();
            if other.is_file() && other != path {
                named(&other, fs::remove_file(&other))?;
            }
        }
        Ok(())
    }

    /// The encoder of the last checkpoint. Without one, the encoder as it is and an empty history.
    pub fn load<E: Encoder>(&self, encoder: E) -> Result<(E, History), String> {
        let (encoder, steps) = encoder.load_checkpoint(&self.0)?;
        if steps == 0 {
            return Ok((encoder, History::default()));
        }
        let path = self.history(steps);
        let text = named(&path, fs::read_to_string(&path))?;
        let history: History = named(&path, serde_json::from_str(&text))?;
        match history.steps == steps {
            true => Ok((encoder, history)),
            false => Err(format!(
                "{}: is of {} steps, and the checkpoint of {steps}",
                path.display(),
                history.steps
            )),
        }
    }

    pub fn remove(&self) -> Result<(), String> {
        match self.0.exists() {
            true => named(&self.0, fs::remove_dir_all(&self.0)),
            false => Ok(()),
        }
    }
}
