//! What all cells of a folder have in common.

use std::path::Path;

use files::Lock;
use serde::Serialize;
use serde_json::Value;

use super::prepared::Prepared;
use crate::{
    hash::Hash,
    output::{claim, named, write_json},
};

/// What is `None` makes no difference, and may be missing from a file.
#[derive(Serialize)]
pub struct Settings {
    pub encoder: String,
    /// `None` is Burn's CPU backend.
    pub device: Option<String>,
    pub labels: &'static str,
    pub collections: Vec<Fingerprint>,
    pub train_split: String,
    pub tevatron: Vec<String>,
    /// `None` if they are chosen, as with the learning rate.
    pub epochs: Option<usize>,
    pub batch_size: usize,
    /// `None` if the number of hard negatives is given.
    pub group_size: Option<usize>,
    pub hard_negatives: Option<usize>,
    pub accumulate: Option<usize>,
    pub learning_rate: Option<f64>,
    pub curves: bool,
    pub evaluate_every: Option<usize>,
    pub pulls: Option<bool>,
    /// `None` is 1.
    pub human_cut: Option<i32>,
    /// `None` is a grid of trainings.
    pub study: Option<StudySettings>,
}

/// What all trainings of a study share beside that.
#[derive(Serialize)]
pub struct StudySettings {
    pub folds: Option<usize>,
    pub held_out: usize,
    pub draw: u64,
    /// The file of labels, if they are not simulated.
    pub llm_labels: Option<String>,
}

#[derive(Serialize)]
pub struct Fingerprint {
    name: String,
    documents: usize,
    train_queries: usize,
    test_queries: usize,
    /// FNV-1a of ids, texts, judgements, and what is left out.
    hash: String,
}

impl Fingerprint {
    pub fn new<T>(prepared: &Prepared<T>) -> Self {
        let Prepared {
            corpus,
            train,
            test,
            ..
        } = prepared;
        let mut hash = Hash::default();
        for document in corpus {
            hash.add(document.id.as_bytes());
            hash.add(document.text.as_bytes());
        }
        for query in train.iter().chain(&test.queries) {
            hash.add(query.id.as_bytes());
            hash.add(query.text.as_bytes());
            for (document, grade) in &query.judgements {
                hash.add(&document.to_le_bytes());
                hash.add(&grade.to_le_bytes());
            }
        }
        for (query, documents) in test.left_out.queries() {
            hash.add(query.as_bytes());
            for document in documents {
                hash.add(&document.to_le_bytes());
            }
        }
        Self {
            name: test.name.clone(),
            documents: corpus.len(),
            train_queries: train.len(),
            test_queries: test.queries.len(),
            hash: hash.to_string(),
        }
    }
}

impl Settings {
    pub fn is_of_a_study(&mut self, study: StudySettings) {
        self.epochs = None;
        self.learning_rate = None;
        self.study = Some(study);
    }

    /// Takes a folder for results, if what it holds was made with the same settings. No other
    /// process writes there as long as the lock is kept.
    pub fn claim(&self, out: &Path) -> Result<Lock, String> {
        const NAME: &str = "settings.json";
        let lock = claim(out, NAME)?;
        let path = out.join(NAME);
        if !path.exists() {
            write_json(&path, self)?;
            return Ok(lock);
        }
        let before = named(&path, std::fs::read_to_string(&path))?;
        let before: Value = named(&path, serde_json::from_str(&before))?;
        let now = serde_json::to_value(self).map_err(|error| error.to_string())?;
        let fields = now.as_object().into_iter().flatten();
        let other: Vec<String> = fields
            .map(|(name, now)| (name, before.get(name).unwrap_or(&Value::Null), now))
            .filter(|(_, before, now)| before != now)
            .map(|(name, before, now)| format!("{name} was {before}, is {now}"))
            .collect();
        match other.is_empty() {
            true => Ok(lock),
            false => Err(format!(
                "{}: the results in this folder were made with other settings ({}): choose another --out",
                path.display(),
                other.join("; ")
            )),
        }
    }
}
