//! Runs the cells of the grid on every path.

use std::fmt::Write;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    errors::{Counts, Errors, Got, errors, larger},
    grid::Cell,
    objectives::Setting,
    oracle::{Cache, Exact, exact},
    paths::{Outcome, Path},
    peers::Peers,
    precision::Precision,
    rows::{Kind, Share},
};

/// The errors of one row in one form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// A path of the crate, or a library.
    pub form: String,
    pub is_ours: bool,
    pub setting: String,
    pub precision: Precision,
    pub documents: usize,
    pub spread: f64,
    pub kind: Kind,
    pub share: Share,
    /// The exact loss.
    pub loss: f64,
    pub errors: Errors,
    /// What runs it again.
    pub name: String,
}

/// What was measured.
#[derive(Default, Serialize, Deserialize)]
pub struct Measured {
    pub records: Vec<Record>,
    /// Rows of which a rule could not be decided by numbers of finite length.
    pub undecided: usize,
}

/// The exact results of the rows of a cell, a list for each setting.
pub fn exact_of(cell: &Cell) -> Vec<Vec<Option<Exact>>> {
    let rows = (0..cell.batch.rows.len()).into_par_iter();
    let of_row = |row: usize| {
        let mut cache = Cache::default();
        let settings = cell.settings.iter();
        let results = settings.map(|setting| exact(setting, &cell.batch, row, &mut cache));
        results.collect::<Vec<_>>()
    };
    let mut rows: Vec<_> = rows.map(|row| of_row(row).into_iter()).collect();
    let of_setting = |_| rows.iter_mut().map(|row| row.next().flatten()).collect();
    (0..cell.settings.len()).map(of_setting).collect()
}

impl Measured {
    pub fn extend(&mut self, other: Self) {
        self.records.extend(other.records);
        self.undecided += other.undecided;
    }

    /// Measures a cell on every path, and in the libraries if they are there.
    pub fn add(&mut self, cell: &Cell, peers: Option<&mut Peers>) -> Result<(), String> {
        let exact = exact_of(cell);
        for (setting, exact) in cell.settings.iter().zip(&exact) {
            self.undecided += exact.iter().filter(|row| row.is_none()).count();
            for &path in Path::ALL {
                if path.takes(setting, cell.batch.precision) {
                    let outcome = path.run(setting, &cell.batch);
                    self.compare(Form::Ours(path), setting, cell, exact, &outcome);
                }
            }
        }
        let (Some(peers), Precision::F32) = (peers, cell.batch.precision) else {
            return Ok(());
        };
        for answer in peers.ask(&cell.batch)? {
            let place = |setting: &&Setting| setting.name == answer.setting;
            let Some(place) = cell.settings.iter().position(place) else {
                continue;
            };
            let outcome = Outcome {
                losses: answer.losses,
                gradients: answer.gradients,
                of_queries: None,
            };
            let form = Form::Peer(answer.form);
            self.compare(form, cell.settings[place], cell, &exact[place], &outcome);
        }
        Ok(())
    }

    /// Whether all errors are within their bounds; else those that lie farthest outside.
    pub fn assert_bounds(&self) -> Result<(), String> {
        let worst = |record: &Record| record.errors.shares.into_iter().fold(0.0, larger);
        let ours = self.records.iter().filter(|record| record.is_ours);
        let mut broken: Vec<&Record> = ours.filter(|record| worst(record) > 1.0).collect();
        if broken.is_empty() {
            return Ok(());
        }
        broken.sort_by(|a, b| worst(b).total_cmp(&worst(a)));
        let mut text = format!("{} rows are outside their bounds:", broken.len());
        for record in broken.iter().take(20) {
            let Record {
                form,
                setting,
                name,
                errors,
                ..
            } = record;
            let _ = write!(text, "\n{form}, {setting} {name}: {:?}", errors.shares);
        }
        Err(text)
    }

    fn compare(
        &mut self,
        form: Form,
        setting: &'static Setting,
        cell: &Cell,
        exact: &[Option<Exact>],
        outcome: &Outcome,
    ) {
        let batch = &cell.batch;
        let counts = match form {
            Form::Ours(path) => Some(Counts::of(path, batch.precision, batch.documents)),
            Form::Peer(_) => None,
        };
        let is_ours = counts.is_some();
        let form = match form {
            Form::Ours(path) => path.name().to_string(),
            Form::Peer(name) => name,
        };
        let record = |row: usize| {
            let got = Got {
                loss: outcome.losses[row],
                gradient: &outcome.gradients[row],
                of_query: outcome.of_queries.as_ref().map(|queries| queries[row]),
            };
            let exact = exact[row].as_ref()?;
            let of = &batch.rows[row];
            Some(Record {
                form: form.clone(),
                is_ours,
                setting: setting.name.into(),
                precision: batch.precision,
                documents: batch.documents,
                spread: batch.spread,
                kind: of.kind,
                share: of.share,
                loss: exact.value.high,
                errors: errors(counts, setting, batch.precision, of, exact, got),
                name: batch.name(row),
            })
        };
        let rows = (0..batch.rows.len()).into_par_iter();
        let records: Vec<Record> = rows.filter_map(record).collect();
        self.records.extend(records);
    }
}

enum Form {
    Ours(Path),
    Peer(String),
}
