//! What a study is asked for.

use std::path::PathBuf;

use clap::Args;

use super::condition::{Condition, Point};
use crate::{
    objective::Objective,
    output::key,
    train::{self, labels::Regime},
};

#[derive(Args)]
#[command(
    mut_arg("out", |out| out.default_value("reproduction/study")),
    mut_arg("regimes", |regimes| regimes.default_value("llm")),
    mut_arg("temperatures", |list| list.default_value("0.02,0.05,0.1,0.2,0.5")),
    mut_arg("seeds", |seeds| seeds.default_value("1,2,3,4,5,6,7,8,9,10")),
)]
pub struct Arguments {
    #[command(flatten)]
    pub train: train::Arguments,

    /// Choose among these learning rates as well [default: --lr]
    #[arg(
        long,
        value_name = "RATES",
        value_delimiter = ',',
        conflicts_with = "lr"
    )]
    learning_rates: Vec<f64>,
    /// Choose among these numbers of epochs as well [default: --epochs]
    #[arg(
        long,
        value_name = "COUNTS",
        value_delimiter = ',',
        conflicts_with = "epochs"
    )]
    epoch_counts: Vec<usize>,
    /// Train queries that the choice measures with, and does not train on [default: one in five]
    #[arg(long, value_name = "QUERIES")]
    pub held_out: Option<usize>,
    /// Seeds of the trainings that the choice compares
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    pub choice_seeds: Vec<u64>,
    /// Seed that draws the held-out queries, and the folds
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub draw: u64,
    /// Without a test split: as many parts of the train queries, each tested once by trainings on
    /// the others
    #[arg(
        long,
        value_name = "COUNT",
        requires = "data",
        conflicts_with = "test_split"
    )]
    pub folds: Option<usize>,
    /// Take the labels of the regime llm from this file, a path in the collection's folder, in
    /// place of simulated ones
    #[arg(
        long,
        value_name = "FILE",
        requires = "data",
        conflicts_with_all = ["annotators", "relevant_shares", "clusterings", "mistakes"]
    )]
    pub llm_labels: Option<PathBuf>,
    /// Lowest grade of a document that the file labels as relevant
    #[arg(
        long,
        value_name = "GRADE",
        default_value_t = 1,
        requires = "llm_labels"
    )]
    pub llm_cut: i32,
    /// Write metrics, and no rankings: these have a line for each of a query's first 1000 documents
    #[arg(long)]
    pub no_rankings: bool,
}

/// What is compared, under which conditions, and what is chosen from.
pub struct Plan {
    pub conditions: Vec<Condition>,
    pub objectives: Vec<Objective>,
    pub points: Vec<Point>,
    pub seeds: Vec<u64>,
}

impl Arguments {
    pub fn check(&self) -> Result<(), String> {
        self.train.check()?;
        if let Some(option) = self.train.beside_a_study() {
            return Err(format!(
                "{option} is an option of train, and study has none of it"
            ));
        }
        if self.choice_seeds.is_empty() || self.train.cells().is_empty() {
            return Err("a list without an entry leaves nothing to train".into());
        }
        let mut cells = self.train.cells().into_iter();
        let mixed = cells.find(|cell| self.llm_labels.is_some() && cell.regime.is_mixed());
        if let Some(cell) = mixed {
            return Err(format!(
                "--llm-labels has labels for the regime llm, and not for {}",
                key(&cell.regime)
            ));
        }
        let above_zero = |value: &f64| value.is_finite() && *value > 0.0;
        if !self.learning_rates.iter().all(above_zero) {
            return Err("--learning-rates must be positive and finite".into());
        }
        if self.epoch_counts.contains(&0) || self.train.epochs() == 0 {
            return Err("--epochs and --epoch-counts must be at least 1".into());
        }
        Ok(())
    }

    /// What the trainings are run with.
    pub fn train_arguments(&self) -> train::Arguments {
        let mut train = self.train.clone();
        // The test queries are seen once, at the end.
        train.no_curves = true;
        if self.folds.is_some() {
            train.test_split = train.train_split.clone();
        }
        train
    }

    pub fn plan(&self) -> Plan {
        let mut cells = self.train.cells();
        if self.llm_labels.is_some() {
            let simulated = cells.iter_mut().filter(|cell| cell.regime == Regime::Llm);
            simulated.for_each(|cell| {
                cell.regime = Regime::File;
                cell.setting.annotator = None;
                cell.setting.relevant_share = None;
                cell.setting.clustering = None;
                cell.setting.mistakes = None;
            });
        }
        let learning_rates = match self.learning_rates.as_slice() {
            [] => vec![self.train.learning_rate()],
            rates => rates.to_vec(),
        };
        let epochs = match self.epoch_counts.as_slice() {
            [] => vec![self.train.epochs()],
            counts => counts.to_vec(),
        };
        let mut points = Vec::new();
        for temperature in distinct(cells.iter().map(|cell| cell.setting.temperature)) {
            for learning_rate in distinct(learning_rates.iter().copied()) {
                for epochs in distinct(epochs.iter().copied()) {
                    points.push(Point {
                        temperature,
                        learning_rate,
                        epochs,
                    });
                }
            }
        }
        Plan {
            conditions: distinct(cells.iter().map(Condition::of)),
            objectives: distinct(cells.iter().map(|cell| cell.objective)),
            points,
            seeds: distinct(cells.iter().map(|cell| cell.seed)),
        }
    }
}

/// Each once, in the order in which they come.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}
