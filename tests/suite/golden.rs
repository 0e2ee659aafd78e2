//! `tests/golden/losses.json`: values and gradients from 50-digit arithmetic, scores up
//! to 3.4e37 among them.

use crate::{
    batch::Batch,
    close::{Tolerance, assert_all_close, assert_close},
    device::{autodiff_devices, precisions},
    oracle::{Loss, Negatives, Objective, Positives, Query},
};
use approx::relative_eq;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    loss: String,
    config: Config,
    scores: Vec<Vec<f64>>,
    positives: Vec<Vec<u8>>,
    candidates: Option<Vec<Vec<u8>>>,
    chosen: Option<Vec<usize>>,
    rows: Vec<f64>,
    active: Vec<u8>,
    mean: f64,
    gradient: Option<Vec<Vec<f64>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    temperature: f64,
    margin: f64,
    normalize_by_positives: bool,
    positives: String,
    negatives: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            margin: 0.0,
            normalize_by_positives: false,
            positives: "all".into(),
            negatives: "all".into(),
        }
    }
}

impl Case {
    fn objective(&self) -> Objective {
        Objective {
            loss: match self.loss.as_str() {
                "lse_pair" => Loss::LsePair,
                "joint_lh" => Loss::JointLh,
                "sum_marg_lh" => Loss::SumMargLh,
                "rand1_lh" => Loss::Rand1Lh,
                loss => panic!("{}: unknown loss {loss}", self.name),
            },
            temperature: self.config.temperature,
            margin: self.config.margin,
            positives: match self.config.positives.as_str() {
                "all" => Positives::All,
                "weakest" => Positives::Weakest,
                "strongest" => Positives::Strongest,
                selection => panic!("{}: unknown selection {selection}", self.name),
            },
            negatives: match self.config.negatives.as_str() {
                "all" => Negatives::All,
                "hardest" => Negatives::Hardest,
                selection => panic!("{}: unknown selection {selection}", self.name),
            },
            normalize_by_positives: self.config.normalize_by_positives,
        }
    }

    fn batch(&self) -> Batch {
        let flags = |row: &[u8]| row.iter().map(|&flag| flag == 1).collect::<Vec<_>>();
        let query = |q: usize| Query {
            scores: self.scores[q].clone(),
            positives: flags(&self.positives[q]),
            candidates: match &self.candidates {
                Some(candidates) => flags(&candidates[q]),
                None => vec![true; self.scores[q].len()],
            },
            chosen: self.chosen.as_ref().map(|chosen| chosen[q]),
        };
        Batch((0..self.scores.len()).map(query).collect())
    }
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../golden/losses.json")).expect("valid cases");
    assert_eq!(cases.len(), 165);
    cases
}

#[test]
fn the_library_reproduces_the_golden_values_and_gradients() {
    for case in cases() {
        let (batch, objective) = (case.batch(), case.objective());
        let upstream = 1.0 / batch.active().max(1.0);
        for (device, dtype) in autodiff_devices()
            .iter()
            .flat_map(|device| precisions().into_iter().map(move |dtype| (device, dtype)))
        {
            let outcome = batch.run(&objective, device, dtype);
            let what = format!("{} {objective:?} {dtype:?}", case.name);
            let mut slack = Tolerance::units(dtype, 64.0);
            for (q, query) in batch.0.iter().enumerate() {
                let tolerance = Tolerance::loss(query, &objective, case.rows[q], dtype);
                slack.absolute += tolerance.absolute * upstream;
                let row = format!("{what}, row {q}");
                assert_close(&row, outcome.rows[q], case.rows[q], tolerance);
                if let Some(gradient) = &case.gradient {
                    let tolerance = Tolerance::gradient(query, &objective, upstream, dtype);
                    let what = format!("{row}, gradient");
                    assert_all_close(what, &outcome.gradient[q], &gradient[q], tolerance);
                }
            }
            assert_close(format!("{what}, mean"), outcome.mean, case.mean, slack);
        }
    }
}

#[test]
fn the_oracle_reproduces_the_golden_values_and_gradients() {
    for case in cases() {
        let (batch, objective) = (case.batch(), case.objective());
        for (q, query) in batch.0.iter().enumerate() {
            let what = format!("{} {objective:?}, row {q}", case.name);
            assert_eq!(query.active(), case.active[q] == 1, "{what}: active");
            let loss = query.loss(&objective);
            let want = case.rows[q];
            assert!(
                relative_eq!(loss, want, epsilon = 1e-300, max_relative = 1e-11),
                "{what}: {loss:e} for {want:e}"
            );
            let Some(gradient) = &case.gradient else {
                continue;
            };
            for (d, slope) in query.gradient(&objective).into_iter().enumerate() {
                let (slope, want) = (slope / batch.active().max(1.0), gradient[q][d]);
                assert!(
                    relative_eq!(slope, want, epsilon = 1e-12, max_relative = 1e-11),
                    "{what}, column {d}: {slope:e} for {want:e}"
                );
            }
        }
    }
}
