//! One training: what it is, and the files that it leaves.

use std::path::{Path, PathBuf};

use retrieval::Metrics;
use serde::{Deserialize, Serialize};

use super::{
    annotator::{Annotator, Mistakes, Report, Simulation},
    diagnosis::Diagnosis,
    labels::Regime,
    pulls::Pulls,
};
use crate::{
    objective::Objective,
    output::{key, named, write_json},
};

/// What a training depends on, beside the settings that all cells of a folder share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub regime: Regime,
    pub objective: Objective,
    #[serde(flatten)]
    pub setting: Setting,
    pub seed: u64,
}

/// What is varied, one at a time, to find out when a result holds. `None` where it makes
/// no difference: the human regime has no annotator, and one positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub annotator: Option<Annotator>,
    /// The share of relevant documents among the annotator's labels beside the human one.
    pub relevant_share: Option<f64>,
    /// How the annotator's wrong labels keep together by query; `None` if they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clustering: Option<f64>,
    /// Where its wrong labels are drawn from; `None` is the lexical ranking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mistakes: Option<Mistakes>,
    pub max_positives: Option<usize>,
    pub temperature: f64,
    /// `None` is that of the folder, as with the epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
}

/// What a training gave.
#[derive(Clone, Serialize, Deserialize)]
pub struct Outcome {
    pub cell: Cell,
    /// The simulated annotator: what was asked of it, and what it reached.
    pub simulated_annotator: Option<Report>,
    pub seconds: f64,
    pub epochs: Vec<Epoch>,
    /// Those between the epochs, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<StepEvaluation>,
    /// The first is the collection that was trained on.
    pub collections: Vec<Evaluation>,
    /// If it was asked for, and an annotator labelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// How it diverged, if it did: it has no collections then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Epoch {
    pub loss: f64,
    /// On the test queries, if they were ranked after each epoch.
    pub ndcg_10: Option<f64>,
    /// If they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulls: Option<Pulls>,
}

/// After so many steps, on the test queries.
#[derive(Clone, Serialize, Deserialize)]
pub struct StepEvaluation {
    pub step: usize,
    pub ndcg_10: f64,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Evaluation {
    pub name: String,
    pub mean: Metrics,
    pub queries: Vec<String>,
    /// In the order of the queries.
    pub of_queries: Vec<Metrics>,
}

impl Setting {
    /// Of the annotator, if there is one.
    pub fn simulation(&self) -> Option<Simulation> {
        let annotator = self.annotator.zip(self.relevant_share);
        annotator.map(|(annotator, relevant_share)| Simulation {
            annotator,
            relevant_share,
            clustering: self.clustering.unwrap_or(0.0),
            mistakes: self.mistakes.unwrap_or(Mistakes::Lexical),
        })
    }

    /// Whether results of this setting belong beside those of `other`.
    pub fn fits(&self, other: &Self) -> bool {
        fn fits<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.is_none() || one == other
        }
        fits(self.simulation(), other.simulation())
            && fits(self.max_positives, other.max_positives)
            && self.temperature == other.temperature
            && self.learning_rate == other.learning_rate
            && self.epochs == other.epochs
    }
}

impl Cell {
    pub fn name(&self) -> String {
        let Setting {
            annotator,
            relevant_share,
            clustering,
            mistakes,
            max_positives,
            temperature,
            learning_rate,
            epochs,
        } = self.setting;
        let mut parts = vec![key(&self.regime)];
        parts.extend(annotator.map(|annotator| key(&annotator)));
        parts.extend(relevant_share.map(|share| format!("share{share}")));
        parts.extend(clustering.map(|clustering| format!("clustering{clustering}")));
        parts.extend(mistakes.map(|mistakes| key(&mistakes)));
        parts.extend(max_positives.map(|count| format!("max{count}")));
        parts.push(format!("t{temperature}"));
        parts.extend(learning_rate.map(|rate| format!("lr{rate}")));
        parts.extend(epochs.map(|epochs| format!("epochs{epochs}")));
        parts.push(key(&self.objective));
        parts.push(format!("seed{}", self.seed));
        parts.join("_")
    }

    pub fn folder(&self, out: &Path) -> PathBuf {
        out.join("runs").join(self.name())
    }

    /// The outcome, if this cell is finished.
    pub fn finished(&self, out: &Path) -> Result<Option<Outcome>, String> {
        let path = self.folder(out).join("metrics.json");
        if !path.exists() {
            return Ok(None);
        }
        let outcome = read(&path)?;
        if outcome.cell != *self {
            return Err(format!("{}: is of another cell", path.display()));
        }
        Ok(Some(outcome))
    }
}

impl Outcome {
    /// Written last: a cell that has it is finished.
    pub fn write(&self, out: &Path) -> Result<(), String> {
        write_json(&self.cell.folder(out).join("metrics.json"), self)
    }
}

pub fn read(path: &Path) -> Result<Outcome, String> {
    let text = named(path, std::fs::read_to_string(path))?;
    // The message of serde_json has the line.
    named(path, serde_json::from_str(&text))
}

/// Every finished cell of a folder, whatever command made it, in the order of the names.
pub fn all(out: &Path) -> Result<Vec<Outcome>, String> {
    let runs = out.join("runs");
    let mut paths = Vec::new();
    for entry in named(&runs, std::fs::read_dir(&runs))? {
        let path = named(&runs, entry)?.path().join("metrics.json");
        if path.exists() {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}
