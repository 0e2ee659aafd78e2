//! One query: what an objective puts on each document, by the library and by the closed form.

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_multi_positive::Targets;

use crate::objective::Objective;

/// Scores, divided by the temperature already.
#[derive(Clone)]
pub struct Row {
    pub positives: Vec<f64>,
    pub negatives: Vec<f64>,
}

pub struct Gradient {
    pub loss: f64,
    pub positives: Vec<f64>,
    pub negatives: Vec<f64>,
}

impl Gradient {
    pub fn all(&self) -> impl Iterator<Item = f64> {
        self.positives.iter().chain(&self.negatives).copied()
    }

    /// How hard the positives are pulled up, together.
    pub fn pull(&self) -> f64 {
        -self.positives.iter().sum::<f64>()
    }

    pub fn push(&self) -> f64 {
        self.negatives.iter().sum()
    }

    /// The largest difference in value or gradient.
    pub fn distance(&self, other: &Self) -> f64 {
        let gradients = self.all().zip(other.all());
        gradients
            .map(|(a, b)| (a - b).abs())
            .fold((self.loss - other.loss).abs(), f64::max)
    }

    /// The mean of several.
    fn mean(parts: Vec<Self>) -> Self {
        let count = parts.len() as f64;
        let mean = |column: &dyn Fn(&Self) -> f64| parts.iter().map(column).sum::<f64>() / count;
        let first = &parts[0];
        Self {
            loss: mean(&|part| part.loss),
            positives: (0..first.positives.len())
                .map(|p| mean(&|part| part.positives[p]))
                .collect(),
            negatives: (0..first.negatives.len())
                .map(|n| mean(&|part| part.negatives[n]))
                .collect(),
        }
    }
}

impl Row {
    pub fn new(positives: &[f64], negatives: &[f64]) -> Self {
        Self {
            positives: positives.to_vec(),
            negatives: negatives.to_vec(),
        }
    }

    /// By the library. Rand1LH's is the expectation over its draws.
    pub fn library(&self, objective: Objective) -> Gradient {
        match objective {
            Objective::Rand1Lh => {
                let draws = 0..self.positives.len();
                Gradient::mean(
                    draws
                        .map(|drawn| self.of_library(objective, drawn))
                        .collect(),
                )
            }
            _ => self.of_library(objective, 0),
        }
    }

    fn of_library(&self, objective: Objective, chosen: usize) -> Gradient {
        let device = Device::default().autodiff();
        let scores = [self.positives.as_slice(), &self.negatives].concat();
        let documents = scores.len();
        let positive = |document: usize| document < self.positives.len();
        let mask: Vec<bool> = (0..documents).map(positive).collect();
        let mask = TensorData::new(mask, [1, documents]);
        let targets = Targets::new(Tensor::from_data(mask, &device));
        let scores = TensorData::new(scores, [1, documents]);
        let scores = Tensor::<2>::from_data(scores, (&device, DType::F64)).require_grad();

        let loss = objective.losses(scores.clone(), targets, &[chosen], 1.0);
        let gradient = scores.grad(&loss.clone().sum().backward());
        let gradient = gradient.expect("every objective depends on the scores");
        let mut positives: Vec<f64> = gradient.into_data().iter().collect();
        let negatives = positives.split_off(self.positives.len());
        Gradient {
            loss: loss.into_scalar(),
            positives,
            negatives,
        }
    }

    /// By the closed form.
    pub fn closed(&self, objective: Objective) -> Gradient {
        use Objective as O;
        let Self {
            positives: p,
            negatives: n,
        } = self;
        let count = p.len() as f64;
        let joint = |weight: f64| {
            let all = lse(&[p.as_slice(), n].concat());
            Gradient {
                loss: weight * p.iter().map(|s| all - s).sum::<f64>(),
                positives: p
                    .iter()
                    .map(|s| weight * (count * (s - all).exp() - 1.0))
                    .collect(),
                negatives: n.iter().map(|s| weight * count * (s - all).exp()).collect(),
            }
        };
        // softplus(A - B): what A and B are, and how each divides its gradient.
        let (weakest, strongest) = (least(p), most(p));
        let weak: Vec<f64> = p.iter().map(|s| -s).collect();
        let all_negatives = (lse(n), softmax(n));
        let hardest = (n[most(n)], one(most(n), n.len()));
        let weakest = (p[weakest], one(weakest, p.len()));
        let strongest = (p[strongest], one(strongest, p.len()));
        let soft_weakest = (-lse(&weak), softmax(&weak));
        let (negative, positive) = match objective {
            O::Single => (all_negatives, (p[0], one(0, p.len()))),
            O::Rand1Lh => {
                let of = |drawn: usize| (p[drawn], one(drawn, p.len()));
                let draws = 0..p.len();
                let draws = draws.map(|drawn| contrast(all_negatives.clone(), of(drawn)));
                return Gradient::mean(draws.collect());
            }
            O::JointLh => return joint(1.0),
            O::JointLhNormalized => return joint(1.0 / count),
            O::SumMargLh => (all_negatives, (lse(p), softmax(p))),
            O::LsePair => (all_negatives, soft_weakest),
            O::LsePairWeakest => (all_negatives, weakest),
            O::LsePairStrongest => (all_negatives, strongest),
            O::LsePairHardest => (hardest, soft_weakest),
            O::LsePairWeakestHardest => (hardest, weakest),
            O::LsePairStrongestHardest => (hardest, strongest),
            other => unreachable!("{} is not among the analysed", other.name()),
        };
        contrast(negative, positive)
    }
}

/// softplus(a - b), where `a` and `b` come with their gradients.
fn contrast(a: (f64, Vec<f64>), b: (f64, Vec<f64>)) -> Gradient {
    let gap = a.0 - b.0;
    let force = 1.0 / (1.0 + (-gap).exp());
    Gradient {
        loss: softplus(gap),
        positives: b.1.iter().map(|share| -force * share).collect(),
        negatives: a.1.iter().map(|share| force * share).collect(),
    }
}

pub fn lse(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + values
        .iter()
        .map(|value| (value - top).exp())
        .sum::<f64>()
        .ln()
}

pub fn softplus(value: f64) -> f64 {
    value.max(0.0) + (-value.abs()).exp().ln_1p()
}

pub fn softmax(values: &[f64]) -> Vec<f64> {
    let total = lse(values);
    values.iter().map(|value| (value - total).exp()).collect()
}

/// Among equal values the first.
fn most(values: &[f64]) -> usize {
    let better = |best: usize, next: usize| {
        if values[next] > values[best] {
            next
        } else {
            best
        }
    };
    (0..values.len()).fold(0, better)
}

fn least(values: &[f64]) -> usize {
    most(&values.iter().map(|value| -value).collect::<Vec<_>>())
}

fn one(place: usize, count: usize) -> Vec<f64> {
    let mut shares = vec![0.0; count];
    shares[place] = 1.0;
    shares
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    /// Scores whose exponentials are 2, 1 and 1.
    fn example() -> Row {
        Row::new(&[2.0_f64.ln(), 0.0], &[0.0])
    }

    #[test]
    fn closed_forms_by_hand() {
        let cases = [
            (Objective::Rand1Lh, [-1.0 / 6.0, -1.0 / 4.0]),
            (Objective::LsePair, [-1.0 / 5.0, -2.0 / 5.0]),
            (Objective::SumMargLh, [-1.0 / 6.0, -1.0 / 12.0]),
            (Objective::JointLhNormalized, [0.0, -1.0 / 4.0]),
        ];
        for (objective, want) in cases {
            let got = example().closed(objective).positives;
            for (got, want) in got.into_iter().zip(want) {
                assert_relative_eq!(got, want, epsilon = 1e-12);
            }
        }
    }

    #[test]
    fn the_closed_gradient_is_the_slope_of_the_closed_value() {
        let row = Row::new(&[1.2, -0.7, 0.4], &[0.9, -1.5]);
        let step = 1e-6;
        for objective in Objective::analysed() {
            let gradient = row.closed(objective);
            for (place, slope) in gradient.all().enumerate() {
                let moved = |by: f64| {
                    let mut row = row.clone();
                    let scores = row.positives.iter_mut().chain(&mut row.negatives);
                    scores.skip(place).take(1).for_each(|score| *score += by);
                    row.closed(objective).loss
                };
                let difference = (moved(step) - moved(-step)) / (2.0 * step);
                assert_relative_eq!(slope, difference, epsilon = 1e-8);
            }
        }
    }
}
