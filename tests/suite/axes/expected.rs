//! The loss of a setup and its gradients, by the definition.

use super::{
    batch::{Batch, SIZE_WEIGHTS, SIZES, products},
    definition::{Judged, Matrix},
    dual::Dual,
    setup::{Setup, Source},
};
use burn::nn::loss::Reduction;

/// A number, and the sum of the sizes of what it is a sum of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    pub value: f64,
    pub size: f64,
}

impl Sum {
    fn add(&mut self, summand: f64) {
        self.value += summand;
        self.size += summand.abs();
    }

    fn add_all(&mut self, sum: Self, by: f64) {
        self.value += sum.value * by;
        self.size += (sum.size * by).abs();
    }
}

/// What a call gives.
pub struct Expected {
    pub losses: Vec<f64>,
    /// Of the scores, or of queries and documents.
    pub leaves: Vec<Matrix<Sum>>,
    pub log_scale: Sum,
    pub bias: Sum,
    /// Rounding decides between results that differ.
    pub is_close_call: bool,
}

/// What the scores are multiplied by, and what is added then.
#[derive(Clone, Copy)]
pub struct Learnt {
    pub scale: f64,
    pub bias: f64,
}

/// What each loss that is not reduced counts in the scalar that is differentiated.
pub fn coefficient(row: usize) -> f64 {
    1.0 + (row % 3) as f64
}

impl Expected {
    pub fn new(setup: &Setup, batch: &Batch, learnt: Learnt) -> Self {
        let nothing = |x: &Matrix<f64>, columns| vec![vec![Sum::default(); columns]; x.len()];
        let dimensions = batch.queries[0].len();
        let mut expected = Self {
            losses: Vec::new(),
            leaves: match setup.source {
                Source::Matrix => vec![nothing(&batch.queries, batch.documents.len())],
                _ => [&batch.queries, &batch.documents]
                    .map(|x| nothing(x, dimensions))
                    .into(),
            },
            log_scale: Sum::default(),
            bias: Sum::default(),
            is_close_call: false,
        };
        match setup.nested {
            None => expected.add_size(setup, batch, learnt, dimensions, false, 1.0),
            Some(normalize) => {
                for (size, weight) in SIZES.into_iter().zip(SIZE_WEIGHTS) {
                    expected.add_size(setup, batch, learnt, size, normalize, weight);
                }
            }
        }
        expected
    }

    /// Whether its naive exponentials are more than f64 holds.
    pub fn overflows(&self) -> bool {
        let leaves = self.leaves.iter().flatten().flatten();
        let sums = leaves.chain([&self.log_scale, &self.bias]);
        let is_wrong = |number: &f64| !number.is_finite();
        self.losses.iter().any(is_wrong) || sums.map(|sum| &sum.value).any(is_wrong)
    }

    /// Adds the loss of the first dimensions.
    fn add_size(
        &mut self,
        setup: &Setup,
        batch: &Batch,
        learnt: Learnt,
        size: usize,
        normalize: bool,
        weight: f64,
    ) {
        let sides = [&batch.queries, &batch.documents].map(|x| Side::new(x, size, normalize));
        let mut losses = Vec::new();
        let directions = match setup.both {
            None => vec![(false, 1.0)],
            Some([forth, back]) => vec![(false, forth), (true, back)],
        };
        for (back, of_direction) in directions {
            let [own, other] = match back {
                false => [0, 1],
                true => [1, 0],
            };
            let weight = weight * of_direction;
            let raw = products(&sides[own].rows, &sides[other].rows);
            let same = products(&sides[own].rows, &sides[own].rows);
            let count = sides[own].rows.len();
            let rows: Vec<Row> = (0..count)
                .map(|row| {
                    let mut scores = raw[row].clone();
                    let judged = |column: usize| match back {
                        false => batch.judged[row][column],
                        true => batch.judged[column][row],
                    };
                    let mut judged: Vec<Judged> = (0..scores.len()).map(judged).collect();
                    if setup.same_side {
                        scores.extend(&same[row]);
                        judged.extend((0..count).map(|column| Judged {
                            relevant: false,
                            candidate: !batch.are_kin(back, row, column),
                            weight: 1.0,
                            teacher: 0.0,
                        }));
                    }
                    Row { scores, judged }
                })
                .collect();
            let weights = match back || setup.query_weights.is_none() {
                true => vec![1.0; count],
                false => batch.query_weights.clone(),
            };
            let first = losses.len();
            let factors = factors(setup, &rows, &weights, first);
            let mut total = 0.0;
            for (index, (row, factor)) in rows.iter().zip(factors).enumerate() {
                let (loss, slopes) = row.differentiate(setup, learnt);
                // Without a scale the scores and their sums are exact, but of a query and a
                // document with equal scores either may be the first.
                let is_exact = !setup.learns_temperature() && !setup.same_side;
                self.is_close_call |= !is_exact && row.is_close_call(setup, learnt);
                match setup.reduction {
                    Some(_) => total += factor * weight * loss,
                    None => losses.push(weight * loss),
                }
                // An empty set may be infinitely far away and count nothing.
                let by = |slope: f64| {
                    if slope == 0.0 {
                        0.0
                    } else {
                        slope * factor * weight
                    }
                };
                for (column, slope) in slopes.into_iter().map(by).enumerate() {
                    let score = row.scores[column];
                    self.log_scale.add(slope * score * learnt.scale);
                    self.bias.add(slope);
                    let slope = slope * learnt.scale;
                    let others = sides[other].rows.len();
                    let ends = match column < others {
                        true => [(own, index), (other, column)],
                        false => [(own, index), (own, column - others)],
                    };
                    if setup.source == Source::Matrix {
                        let [q, d] = if back {
                            [column, index]
                        } else {
                            [index, column]
                        };
                        self.leaves[0][q][d].add(slope);
                        continue;
                    }
                    for [(side, at), (beside, place)] in [ends, [ends[1], ends[0]]] {
                        let leaf = &mut self.leaves[side][at];
                        sides[side].pull(leaf, at, &sides[beside].rows[place], score, slope);
                    }
                }
            }
            if setup.reduction.is_some() {
                losses.push(total);
            }
        }
        if setup.reduction.is_some() {
            losses = vec![losses.iter().sum()];
        }
        self.losses.resize(losses.len(), 0.0);
        self.losses
            .iter_mut()
            .zip(losses)
            .for_each(|(sum, loss)| *sum += loss);
    }
}

/// What the loss of each row is multiplied by in the result.
fn factors(setup: &Setup, rows: &[Row], weights: &[f64], first: usize) -> Vec<f64> {
    let is_active = |row: &Row| row.judged.iter().any(Judged::is_positive);
    let all = rows.iter().zip(weights);
    let active: f64 = all
        .filter(|(row, _)| is_active(row))
        .map(|(_, weight)| weight)
        .sum();
    let by = match &setup.reduction {
        None => return (first..first + rows.len()).map(coefficient).collect(),
        Some(Reduction::Sum) => 1.0,
        Some(Reduction::BatchMean) => 1.0 / rows.len() as f64,
        Some(_) if active == 0.0 => 0.0,
        Some(_) => 1.0 / active,
    };
    weights.iter().map(|weight| weight * by).collect()
}

/// The scores of a row before they are scaled, and what they are scores of.
struct Row {
    scores: Vec<f64>,
    judged: Vec<Judged>,
}

impl Row {
    /// The loss, and its slopes with respect to the scores as the loss sees them.
    fn differentiate(&self, setup: &Setup, learnt: Learnt) -> (f64, Vec<f64>) {
        let mut scores: Vec<Dual> = self
            .scores
            .iter()
            .map(|score| Dual::constant(score * learnt.scale + learnt.bias))
            .collect();
        let loss = setup.spec.loss(&scores, &self.judged).value;
        let slopes = (0..scores.len()).map(|column| {
            scores[column].slope = 1.0;
            let slope = match self.judged[column].counts() {
                true => setup.spec.loss(&scores, &self.judged).slope,
                false => 0.0,
            };
            scores[column].slope = 0.0;
            slope
        });
        (loss, slopes.collect())
    }

    fn is_close_call(&self, setup: &Setup, learnt: Learnt) -> bool {
        let scores = self.scores.iter();
        let scores: Vec<f64> = scores
            .map(|score| score * learnt.scale + learnt.bias)
            .collect();
        setup.spec.is_close_call(&scores, &self.judged)
    }
}

/// The first dimensions of embeddings.
struct Side {
    rows: Matrix<f64>,
    /// 1 over the lengths, if they are divided by these.
    inverse: Option<Vec<f64>>,
}

impl Side {
    fn new(embeddings: &Matrix<f64>, size: usize, normalize: bool) -> Self {
        let mut rows: Matrix<f64> = embeddings.iter().map(|row| row[..size].to_vec()).collect();
        let length = |row: &Vec<f64>| row.iter().map(|x| x * x).sum::<f64>().sqrt();
        let inverse = normalize.then(|| rows.iter().map(|row| 1.0 / length(row)).collect());
        let inverse: Option<Vec<f64>> = inverse;
        for (row, by) in rows.iter_mut().zip(inverse.iter().flatten()) {
            // No direction, no score.
            let by = if by.is_finite() { *by } else { 0.0 };
            row.iter_mut().for_each(|x| *x *= by);
        }
        Self { rows, inverse }
    }

    /// Adds what the slope of a score means for one of the two embeddings.
    fn pull(&self, leaf: &mut [Sum], at: usize, other: &[f64], score: f64, slope: f64) {
        for (dimension, other) in other.iter().enumerate() {
            let mut sum = Sum::default();
            sum.add(slope * other);
            let by = match &self.inverse {
                None => 1.0,
                Some(inverse) => {
                    sum.add(-slope * score * self.rows[at][dimension]);
                    if inverse[at].is_finite() {
                        inverse[at]
                    } else {
                        0.0
                    }
                }
            };
            leaf[dimension].add_all(sum, by);
        }
    }
}
