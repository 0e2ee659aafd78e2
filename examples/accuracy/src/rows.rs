//! Rows of scores, made from seeds.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::index};
use serde::{Deserialize, Serialize};

use crate::precision::Precision;

/// Queries whose documents are as many, as far apart, and scored at one temperature.
#[derive(Clone, Debug)]
pub struct Batch {
    pub precision: Precision,
    pub documents: usize,
    /// How far the negatives lie apart, divided by the temperature.
    pub spread: f64,
    pub temperature: f64,
    pub rows: Vec<Row>,
}

/// A query. All numbers are such that the type of the scores has them.
#[derive(Clone, Debug)]
pub struct Row {
    pub kind: Kind,
    pub share: Share,
    pub scores: Vec<f64>,
    pub positives: Vec<bool>,
    pub weights: Vec<f64>,
    pub teacher: Vec<f64>,
    /// The column of the only positive, for objectives that draw.
    pub chosen: usize,
}

/// Where the positives lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// Among the negatives.
    Mixed,
    /// Below all negatives, by up to as much as these lie apart.
    Lost,
    /// As mixed, but all scores are one of five.
    Ties,
    /// So far above the negatives that the loss is about this number.
    Confident(f64),
}

/// How many of the documents are positives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Share {
    One,
    Few,
    Half,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Mixed,
        Self::Lost,
        Self::Ties,
        Self::Confident(1e-3),
        Self::Confident(1e-10),
        Self::Confident(1e-20),
        Self::Confident(1e-30),
    ];

    pub fn name(self) -> String {
        match self {
            Self::Mixed => "mixed".into(),
            Self::Lost => "lost".into(),
            Self::Ties => "ties".into(),
            Self::Confident(loss) => format!("confident-{loss:e}"),
        }
    }
}

impl Share {
    pub const ALL: [Self; 3] = [Self::One, Self::Few, Self::Half];

    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Few => "few",
            Self::Half => "half",
        }
    }

    fn of(self, documents: usize) -> usize {
        match self {
            Self::One => 1,
            Self::Few => 5.min(documents / 2),
            Self::Half => documents / 2,
        }
    }
}

/// None of them a power of two.
const TEMPERATURES: [f64; 5] = [0.05, 0.07, 0.3, 0.013, 1.3];

/// Where the hardest negatives lie, divided by the temperature.
const LEVELS: [f64; 3] = [0.0, 0.7, -3.0];

impl Batch {
    pub fn new(
        precision: Precision,
        documents: usize,
        spread: f64,
        kinds: &[Kind],
        shares: &[Share],
    ) -> Self {
        let seed = documents as u64 ^ spread.to_bits() ^ (precision as u64) << 32;
        let mut random = StdRng::seed_from_u64(seed);
        let temperature = TEMPERATURES[random.random_range(0..TEMPERATURES.len())];
        let mut rows = Vec::new();
        for &kind in kinds {
            for &share in shares {
                let level = LEVELS[random.random_range(0..LEVELS.len())];
                let scale = Scale {
                    precision,
                    spread,
                    temperature,
                    level,
                };
                rows.push(Row::new(kind, share, documents, scale, &mut random));
            }
        }
        Self {
            precision,
            documents,
            spread,
            temperature,
            rows,
        }
    }

    /// The name of a row, by which it can be run again.
    pub fn name(&self, row: usize) -> String {
        let Row { kind, share, .. } = &self.rows[row];
        format!(
            "{}/{}/{:e}/{}/{}",
            self.precision.name(),
            self.documents,
            self.spread,
            kind.name(),
            share.name()
        )
    }
}

#[derive(Clone, Copy)]
struct Scale {
    precision: Precision,
    spread: f64,
    temperature: f64,
    level: f64,
}

impl Row {
    fn new(kind: Kind, share: Share, documents: usize, scale: Scale, random: &mut StdRng) -> Self {
        let Scale {
            precision,
            spread,
            temperature,
            level,
        } = scale;
        let count = share.of(documents);
        let mut positives = vec![false; documents];
        for column in index::sample(random, documents, count) {
            positives[column] = true;
        }
        let of_kind = |relevant: bool, random: &mut StdRng| {
            // From the hardest negative down.
            let depth = spread * random.random::<f64>();
            match (kind, relevant) {
                (Kind::Ties, _) => spread * f64::from(random.random_range(-4i8..=0)) / 4.0,
                (Kind::Lost, true) => -spread - depth,
                (Kind::Confident(loss), true) => {
                    let above = (documents as f64 / loss).ln();
                    above + random.random::<f64>() * spread.min(1.0)
                }
                _ => -depth,
            }
        };
        let scores = positives
            .iter()
            .map(|&relevant| precision.round((level + of_kind(relevant, random)) * temperature));
        let scores: Vec<f64> = scores.collect();
        // Few bits, so that half precision has them.
        let weights = (0..documents).map(|_| f64::from(random.random_range(26..512)) / 256.0);
        let weights = weights
            .map(|weight| Precision::Bf16.round(weight))
            .collect();
        let teacher = scores.iter().map(|score| {
            precision.round(score + spread * temperature * random.random_range(-0.5..0.5))
        });
        let teacher = teacher.collect();
        let columns: Vec<usize> = (0..documents).filter(|&column| positives[column]).collect();
        Self {
            kind,
            share,
            chosen: columns[columns.len() / 2],
            scores,
            positives,
            weights,
            teacher,
        }
    }
}
