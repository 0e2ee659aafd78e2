//! Which rows are measured.

use crate::{
    objectives::{SETTINGS, Setting},
    precision::Precision,
    rows::{Batch, Kind, Share},
};

/// Rows that are alike, and what is computed of them.
pub struct Cell {
    pub batch: Batch,
    pub settings: Vec<&'static Setting>,
}

pub const SPREADS: [f64; 7] = [1e-6, 1e-4, 1e-2, 1.0, 10.0, 100.0, 1e4];

/// Candidates where the spread changes: a vector's length and a rest.
pub const WIDTH: usize = 257;

/// The spread where the number of candidates changes.
pub const SPREAD: f64 = 10.0;

pub const COUNTS: [usize; 6] = [2, 16, WIDTH, 2049, 65_536, 1_000_000];

/// What is computed over many candidates; over the most the [first](LONGEST) of them, which
/// take some seconds each.
const LONG: [&str; 14] = [
    "lse_pair",
    "lse_pair/weights",
    "joint_lh",
    "sum_marg_lh",
    "rand1_lh/chosen",
    "expected_rand1_lh",
    "power_mean/0,normalized",
    "dcl",
    "lse_pair/hardness",
    "circle",
    "focal_info_nce",
    "sigmoid",
    "multi_similarity",
    "margin_ranking",
];

const LONGEST: usize = 8;

/// Where a cell stands in the grid. Its rows are made when it is run.
#[derive(Clone, Copy)]
pub struct Plan {
    pub precision: Precision,
    pub documents: usize,
    pub spread: f64,
    kinds: &'static [Kind],
    shares: &'static [Share],
}

/// The whole grid, or the part of it that a test runs.
pub fn plans(is_short: bool) -> Vec<Plan> {
    let spreads: &[f64] = if is_short { &[1e-4, 1e4] } else { &SPREADS };
    let counts: &[usize] = if is_short { &COUNTS[..2] } else { &COUNTS };
    let mut plans = Vec::new();
    for precision in Precision::ALL {
        plans.extend(spreads.iter().map(|&spread| Plan {
            precision,
            documents: if is_short { 67 } else { WIDTH },
            spread,
            kinds: &Kind::ALL,
            shares: &Share::ALL,
        }));
        let of_counts = counts.iter().filter(|&&count| count != WIDTH);
        plans.extend(of_counts.filter_map(|&count| Plan::of_count(precision, count)));
    }
    plans
}

impl Plan {
    /// So many candidates at the same spread.
    fn of_count(precision: Precision, documents: usize) -> Option<Self> {
        const SURE: &[Kind] = &[Kind::Mixed, Kind::Confident(1e-10)];
        const SOME: &[Kind] = &[
            Kind::Mixed,
            Kind::Lost,
            Kind::Confident(1e-10),
            Kind::Confident(1e-30),
        ];
        let is_wide = precision == precision.of_losses();
        let (kinds, shares): (&[Kind], &[Share]) = match documents {
            2 => (&Kind::ALL, &[Share::One]),
            0..1_000 => (&Kind::ALL, &Share::ALL),
            1_000..3_000 => (SOME, &[Share::Few, Share::Half]),
            3_000..100_000 => (SURE, &[Share::Few]),
            _ if is_wide => (SURE, &[Share::Few]),
            _ => return None,
        };
        Some(Self {
            precision,
            documents,
            spread: SPREAD,
            kinds,
            shares,
        })
    }

    /// What the names of its rows begin with.
    pub fn name(self) -> String {
        let precision = self.precision.name();
        format!("{precision}/{}/{:e}/", self.documents, self.spread)
    }

    pub fn cell(self) -> Cell {
        let Self {
            precision,
            documents,
            spread,
            kinds,
            shares,
        } = self;
        let is_run = |setting: &&Setting| match documents {
            0..3_000 => true,
            3_000..100_000 => LONG.contains(&setting.name),
            _ => LONG[..LONGEST].contains(&setting.name),
        };
        Cell {
            batch: Batch::new(precision, documents, spread, kinds, shares),
            settings: SETTINGS.iter().filter(is_run).collect(),
        }
    }
}

impl Cell {
    /// The one row of this name.
    pub fn only(mut self, name: &str) -> Option<Self> {
        let rows = 0..self.batch.rows.len();
        let row = rows.into_iter().find(|&row| self.batch.name(row) == name)?;
        self.batch.rows = vec![self.batch.rows.swap_remove(row)];
        Some(self)
    }
}
