//! What objectives are compared under, and what is chosen for each of them.

use std::fmt;

use serde::Serialize;

use crate::{
    objective::Objective,
    output::key,
    train::{
        annotator::{Annotator, Mistakes},
        cell::{Cell, Setting},
        labels::Regime,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Condition {
    pub regime: Regime,
    pub annotator: Option<Annotator>,
    /// The share of relevant documents among the annotator's labels beside the human one.
    pub relevant_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clustering: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mistakes: Option<Mistakes>,
    pub max_positives: Option<usize>,
}

/// A point of the grid that is chosen from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    pub temperature: f64,
    pub learning_rate: f64,
    pub epochs: usize,
}

impl Condition {
    /// All judgements, nothing simulated.
    pub fn all(max_positives: Option<usize>) -> Self {
        Self {
            regime: Regime::All,
            annotator: None,
            relevant_share: None,
            clustering: None,
            mistakes: None,
            max_positives,
        }
    }

    pub fn of(cell: &Cell) -> Self {
        let setting = cell.setting;
        Self {
            regime: cell.regime,
            annotator: setting.annotator,
            relevant_share: setting.relevant_share,
            clustering: setting.clustering,
            mistakes: setting.mistakes,
            max_positives: setting.max_positives,
        }
    }

    pub fn cell(&self, objective: Objective, point: Point, seed: u64) -> Cell {
        Cell {
            regime: self.regime,
            objective,
            setting: Setting {
                annotator: self.annotator,
                relevant_share: self.relevant_share,
                clustering: self.clustering,
                mistakes: self.mistakes,
                max_positives: self.max_positives,
                temperature: point.temperature,
                learning_rate: Some(point.learning_rate),
                epochs: Some(point.epochs),
            },
            seed,
        }
    }
}

impl Condition {
    /// For a figure, and for the column of a table.
    pub fn short_name(&self) -> String {
        let share = self.relevant_share.map(|share| format!(", share {share}"));
        let clustering = self.clustering.map(|one| format!(", clustering {one}"));
        let mistakes = self.mistakes.map(|one| format!(", {}", key(&one)));
        let count = self.max_positives.map(|count| format!(", max {count}"));
        let parts = [share, clustering, mistakes, count].map(Option::unwrap_or_default);
        format!("{}{}", self.regime.name(), parts.concat())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "labels: {}", self.regime.name())?;
        if let Some((annotator, share)) = self.annotator.zip(self.relevant_share) {
            write!(f, " {}, share {share}", annotator.name())?;
        }
        if let Some(clustering) = self.clustering {
            write!(f, ", clustering {clustering}")?;
        }
        if let Some(mistakes) = self.mistakes {
            write!(f, ", mistakes {}", key(&mistakes))?;
        }
        if let Some(count) = self.max_positives {
            write!(f, ", at most {count} positives")?;
        }
        Ok(())
    }
}
