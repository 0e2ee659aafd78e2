//! The numbers of a setup, and how its pairs are judged.

use super::{
    definition::{Judged, Matrix, ceiling},
    setup::{Learned, Relevance, Setup},
};
use crate::batch::Random;
use burn::tensor::IntDType;
use burn_multi_positive::{FalseNegatives, PositiveThreshold};

pub const DIMENSIONS: usize = 4;
pub const TEACHER_TEMPERATURE: f64 = 0.7;
/// Sizes of nested dimensions and their weights.
pub const SIZES: [usize; 3] = [2, 4, 3];
pub const SIZE_WEIGHTS: [f64; 3] = [1.0, 0.5, -0.25];

/// What makes a document relevant.
#[derive(Debug)]
pub enum Facts {
    Mask(Vec<Vec<bool>>),
    /// Of each query and of the documents.
    Ids(Vec<Vec<(usize, f32)>>, Vec<usize>),
    /// The weights of the positives at the head of each group.
    Groups(Vec<Vec<f32>>),
    Labels([Vec<i64>; 2]),
    Teacher(Matrix<f64>),
    TeacherGroups(Vec<Vec<f32>>),
}

#[derive(Debug)]
pub struct Batch {
    pub queries: Matrix<f64>,
    pub documents: Matrix<f64>,
    pub facts: Facts,
    /// One after the other.
    pub candidates: Vec<Vec<Vec<bool>>>,
    pub weights: Vec<Matrix<f64>>,
    pub query_weights: Vec<f64>,
    pub chosen: Vec<i64>,
    /// Embeddings of another model.
    pub guide: [Matrix<f64>; 2],
    pub guide_rule: FalseNegatives,
    /// Scores that distances are taken from.
    pub teacher: Matrix<f64>,
    /// All of this together.
    pub judged: Vec<Vec<Judged>>,
    /// Who is a positive of whom before one is chosen.
    positives: Vec<Vec<bool>>,
}

impl Batch {
    pub fn new(setup: &Setup, random: &mut Random) -> Self {
        let [queries, documents] = setup.counts;
        let teacher = grid(random, [queries, documents], 1.0 / 256.0);
        let facts = facts(setup, random);
        let mut batch = Self {
            queries: grid(random, [queries, DIMENSIONS], setup.grid),
            documents: grid(random, [documents, DIMENSIONS], setup.grid),
            candidates: setup
                .candidates
                .iter()
                .map(|_| random.mask(queries, documents, 0.8))
                .collect(),
            weights: setup
                .weights
                .iter()
                .map(|_| eighths(random, [queries, documents]))
                .collect(),
            query_weights: eighths(random, [1, queries]).remove(0),
            chosen: Vec::new(),
            guide: [queries, documents].map(|count| grid(random, [count, 3], 1.0 / 256.0)),
            guide_rule: FalseNegatives::new(PositiveThreshold::Strongest).with_margin(0.0937),
            judged: judged(&facts, [queries, documents]),
            positives: Vec::new(),
            facts,
            teacher,
        };
        batch.judge(setup, random);
        batch
    }

    /// What else the targets are told.
    fn judge(&mut self, setup: &Setup, random: &mut Random) {
        let Self {
            judged,
            candidates,
            weights,
            teacher,
            ..
        } = self;
        for (q, row) in judged.iter_mut().enumerate() {
            for (d, is) in row.iter_mut().enumerate() {
                is.candidate &= candidates.iter().all(|mask| mask[q][d]);
                is.weight *= weights.iter().map(|weights| weights[q][d]).product::<f64>();
                is.teacher = teacher[q][d];
            }
        }
        let row = |row: &Vec<Judged>| row.iter().map(Judged::is_positive).collect();
        self.positives = self.judged.iter().map(row).collect();
        if setup.chosen.is_some() {
            for row in &mut self.judged {
                let positives: Vec<usize> =
                    (0..row.len()).filter(|&d| row[d].is_positive()).collect();
                let Some(last) = positives.len().checked_sub(1) else {
                    // Not read, and of no column.
                    self.chosen.push(127);
                    continue;
                };
                let chosen = positives[random.below(last + 1)];
                self.chosen.push(chosen as i64);
                for d in positives.into_iter().filter(|&d| d != chosen) {
                    row[d].candidate = false;
                }
            }
        }
        if setup.guide.is_some() {
            let scores = products(&self.guide[0], &self.guide[1]);
            for (row, scores) in self.judged.iter_mut().zip(scores) {
                let all = row.iter().zip(&scores);
                let positives = all.filter(|(is, _)| is.is_positive());
                let positives: Vec<f64> = positives.map(|(_, score)| *score).collect();
                let Some(ceiling) = ceiling(self.guide_rule, &positives) else {
                    continue;
                };
                for (is, score) in row.iter_mut().zip(scores) {
                    is.candidate &= is.relevant || score <= ceiling;
                }
            }
        }
    }

    /// Whether two queries, or two documents, are no negatives of each other.
    pub fn are_kin(&self, documents: bool, a: usize, b: usize) -> bool {
        let is_same = match (&self.facts, documents) {
            (Facts::Ids(_, ids), true) => ids[a] == ids[b],
            (Facts::Labels([queries, _]), false) => queries[a] == queries[b],
            (Facts::Labels([_, documents]), true) => documents[a] == documents[b],
            _ => false,
        };
        let positive = |q: usize, d: usize| self.positives[q][d];
        let share = || match documents {
            true => (0..self.queries.len()).any(|q| positive(q, a) && positive(q, b)),
            false => (0..self.documents.len()).any(|d| positive(a, d) && positive(b, d)),
        };
        a == b || is_same || share()
    }
}

impl Setup {
    pub fn learns_temperature(&self) -> bool {
        matches!(self.learned, Learned::Temperature | Learned::Both)
    }

    pub fn learns_bias(&self) -> bool {
        matches!(self.learned, Learned::Bias | Learned::Both)
    }
}

fn facts(setup: &Setup, random: &mut Random) -> Facts {
    let [queries, documents] = setup.counts;
    let group = documents / queries;
    // A weight of 0 ignores its document.
    let weight = |random: &mut Random| [1.0, 0.5, 2.0, 0.0][random.below(4)];
    match setup.relevance {
        Relevance::Mask(_) => Facts::Mask(random.mask(queries, documents, 0.25)),
        Relevance::Ids | Relevance::WeightedIds => {
            let kinds = (documents * 3).div_ceil(4);
            let ids = (0..documents).map(|_| random.below(kinds)).collect();
            let is_weighted = setup.relevance == Relevance::WeightedIds;
            let relevant = (0..queries).map(|_| {
                // The last is not in the batch, and some are named twice.
                let some = (0..=kinds).filter(|_| random.below(4) == 0);
                let mut some: Vec<usize> = some.collect();
                some.extend(some.first().copied());
                let weighted = some.into_iter().map(|id| {
                    let weight = if is_weighted { weight(random) } else { 1.0 };
                    (id, weight)
                });
                weighted.collect()
            });
            Facts::Ids(relevant.collect(), ids)
        }
        Relevance::Groups | Relevance::WeightedGroups => {
            let is_weighted = setup.relevance == Relevance::WeightedGroups;
            let weights = (0..queries).map(|_| {
                let count = random.below(group + 1);
                let each = (0..count).map(|_| if is_weighted { weight(random) } else { 1.0 });
                each.collect()
            });
            Facts::Groups(weights.collect())
        }
        Relevance::Labels(of_queries, of_documents) => {
            let signed = |int| {
                matches!(
                    int,
                    IntDType::I64 | IntDType::I32 | IntDType::I16 | IntDType::I8
                )
            };
            let lowest = if signed(of_queries) && signed(of_documents) {
                -60
            } else {
                0
            };
            let mut labels = |count| {
                (0..count)
                    .map(|_| lowest + 25 * random.below(5) as i64)
                    .collect()
            };
            Facts::Labels([labels(queries), labels(documents)])
        }
        Relevance::Columns(_) => {
            // One beyond the last is of no document.
            let columns = (0..queries).map(|_| random.below(documents + 1) as i64);
            Facts::Labels([columns.collect(), (0..documents as i64).collect()])
        }
        Relevance::Teacher => {
            let mut scores = grid(random, [queries, documents], 1.0 / 64.0);
            for score in scores.iter_mut().flatten() {
                if random.below(5) == 0 {
                    *score = f64::NEG_INFINITY;
                }
            }
            Facts::Teacher(scores)
        }
        Relevance::TeacherGroups => {
            let lists = (0..queries).map(|_| {
                let count = random.below(group + 1);
                let scores = (0..count).map(|_| match random.below(5) {
                    0 => f32::NEG_INFINITY,
                    step => step as f32 * 0.75,
                });
                scores.collect()
            });
            Facts::TeacherGroups(lists.collect())
        }
    }
}

fn judged(facts: &Facts, [queries, documents]: [usize; 2]) -> Vec<Vec<Judged>> {
    let group = documents / queries;
    // In the group of a query, the entry of a list.
    let entry = |q: usize, d: usize| (d / group == q).then_some(d % group);
    let judge = |q: usize, d: usize| -> (bool, f64) {
        match facts {
            Facts::Mask(mask) => (mask[q][d], 1.0),
            Facts::Ids(relevant, ids) => {
                let named = relevant[q].iter().filter(|(id, _)| *id == ids[d]);
                let weights = named.map(|(_, weight)| f64::from(*weight));
                match weights.reduce(f64::max) {
                    Some(weight) => (true, weight),
                    None => (false, 1.0),
                }
            }
            Facts::Groups(weights) => match entry(q, d).and_then(|entry| weights[q].get(entry)) {
                Some(weight) => (true, f64::from(*weight)),
                None => (false, 1.0),
            },
            Facts::Labels([of_queries, of_documents]) => (of_queries[q] == of_documents[d], 1.0),
            Facts::Teacher(scores) => (true, likelihood(&scores[q], d)),
            Facts::TeacherGroups(scores) => {
                let row: Vec<f64> = scores[q].iter().map(|score| f64::from(*score)).collect();
                match entry(q, d).filter(|entry| *entry < row.len()) {
                    Some(entry) => (true, likelihood(&row, entry)),
                    None => (false, 1.0),
                }
            }
        }
    };
    let row = |q| {
        let judged = (0..documents).map(|d| {
            let (relevant, weight) = judge(q, d);
            Judged {
                relevant,
                candidate: true,
                weight,
                teacher: 0.0,
            }
        });
        judged.collect()
    };
    (0..queries).map(row).collect()
}

fn likelihood(scores: &[f64], of: usize) -> f64 {
    let exp = |score: &f64| (score / TEACHER_TEMPERATURE).exp();
    match scores[of] == f64::NEG_INFINITY {
        true => 0.0,
        false => exp(&scores[of]) / scores.iter().map(exp).sum::<f64>(),
    }
}

pub fn products(a: &Matrix<f64>, b: &Matrix<f64>) -> Matrix<f64> {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum();
    let row = |x: &Vec<f64>| b.iter().map(|y| dot(x, y)).collect();
    a.iter().map(row).collect()
}

/// Multiples of a step below 1.
fn grid(random: &mut Random, [rows, columns]: [usize; 2], step: f64) -> Matrix<f64> {
    let steps = (1.0 / step) as usize;
    let entry =
        |random: &mut Random| (random.below(2 * steps - 1) as f64 + 1.0 - steps as f64) * step;
    let mut row = |_| (0..columns).map(|_| entry(random)).collect();
    (0..rows).map(&mut row).collect()
}

/// Weights that every type holds, some of them 0.
fn eighths(random: &mut Random, [rows, columns]: [usize; 2]) -> Matrix<f64> {
    let entry = |random: &mut Random| random.below(17).saturating_sub(3) as f64 / 8.0;
    let mut row = |_| (0..columns).map(|_| entry(random)).collect();
    (0..rows).map(&mut row).collect()
}
