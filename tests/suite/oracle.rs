//! The objectives in f64, as the paper writes them: naive sums over documents and over
//! pairs of documents.
//!
//! A query is a slice of positive scores `p` and a slice of negative scores `n`. Every
//! objective is
//!
//! ```text
//! log(1 + sum of e^x)
//! ```
//!
//! of a list of differences x, or a sum of such terms; `log_one_plus_sum_exp` is the only
//! place where a maximum is taken out, so that e^x does not overflow. Gradients are the
//! paper's table, not derived from these values.

use approx::assert_relative_eq;

/// Which loss; the other fields are read by the losses that have them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    pub loss: Loss,
    pub temperature: f64,
    pub margin: f64,
    pub positives: Positives,
    pub negatives: Negatives,
    pub normalize_by_positives: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    LsePair,
    JointLh,
    SumMargLh,
    /// With the drawn positive given.
    Rand1Lh,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Positives {
    All,
    Weakest,
    Strongest,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Negatives {
    All,
    Hardest,
}

impl Objective {
    pub const fn new(loss: Loss) -> Self {
        Self {
            loss,
            temperature: 1.0,
            margin: 0.0,
            positives: Positives::All,
            negatives: Negatives::All,
            normalize_by_positives: false,
        }
    }

    pub const fn selecting(positives: Positives, negatives: Negatives) -> Self {
        Self {
            positives,
            negatives,
            ..Self::new(Loss::LsePair)
        }
    }

    pub const fn temperature(self, temperature: f64) -> Self {
        Self {
            temperature,
            ..self
        }
    }

    pub const fn margin(self, margin: f64) -> Self {
        Self { margin, ..self }
    }

    pub const fn normalized(self) -> Self {
        Self {
            normalize_by_positives: true,
            ..self
        }
    }
}

/// The four objectives with default options.
pub const DEFAULTS: [Objective; 4] = [
    Objective::new(Loss::LsePair),
    Objective::new(Loss::JointLh),
    Objective::new(Loss::SumMargLh),
    Objective::new(Loss::Rand1Lh),
];

/// Every objective and every option, at several temperatures.
pub fn objectives() -> Vec<Objective> {
    use Negatives::Hardest;
    use Positives::{Strongest, Weakest};
    let [lse_pair, joint, sum_marg, rand1] = DEFAULTS;
    vec![
        lse_pair,
        lse_pair.temperature(0.05),
        lse_pair.margin(0.3),
        lse_pair.margin(-0.2).temperature(0.5),
        lse_pair.normalized(),
        lse_pair.normalized().margin(0.1).temperature(2.0),
        Objective::selecting(Weakest, Negatives::All),
        Objective::selecting(Weakest, Negatives::All).normalized(),
        Objective::selecting(Strongest, Negatives::All).temperature(0.7),
        Objective::selecting(Positives::All, Hardest),
        Objective::selecting(Weakest, Hardest).margin(0.2),
        Objective::selecting(Strongest, Hardest).temperature(0.5),
        joint,
        joint.temperature(0.05),
        joint.normalized(),
        joint.normalized().temperature(2.0),
        sum_marg,
        sum_marg.temperature(0.1),
        rand1,
        rand1.temperature(0.1),
    ]
}

/// One query: its scores, who is positive, who counts at all, and the column drawn for
/// Rand1LH.
#[derive(Clone, Debug)]
pub struct Query {
    pub scores: Vec<f64>,
    pub positives: Vec<bool>,
    pub candidates: Vec<bool>,
    pub chosen: Option<usize>,
}

impl Query {
    /// A query that ignores nothing; Rand1LH draws the first positive.
    pub fn new(scores: &[f64], positives: &[usize]) -> Self {
        Self {
            scores: scores.to_vec(),
            positives: (0..scores.len()).map(|d| positives.contains(&d)).collect(),
            candidates: vec![true; scores.len()],
            chosen: positives.first().copied(),
        }
    }

    /// Columns of the positives.
    pub fn p(&self) -> Vec<usize> {
        self.columns(|d| self.positives[d])
    }

    /// Columns of the negatives.
    pub fn n(&self) -> Vec<usize> {
        self.columns(|d| !self.positives[d])
    }

    pub fn active(&self) -> bool {
        !self.p().is_empty()
    }

    fn columns(&self, keep: impl Fn(usize) -> bool) -> Vec<usize> {
        let candidate = |&d: &usize| self.candidates[d] && keep(d);
        (0..self.scores.len()).filter(candidate).collect()
    }

    /// Positives and negatives that the objective looks at, after selectors and drawing.
    fn selected(&self, objective: &Objective) -> (Vec<usize>, Vec<usize>) {
        let s = |d: &usize| self.scores[*d];
        let lowest = |of: Vec<usize>| of.into_iter().min_by(|a, b| s(a).total_cmp(&s(b)));
        let highest = |of: Vec<usize>| {
            // of equal scores `max_by` takes the last, a selector the first
            of.into_iter().rev().max_by(|a, b| s(a).total_cmp(&s(b)))
        };
        let p = match (objective.loss, objective.positives) {
            (Loss::Rand1Lh, _) => self.chosen.into_iter().collect(),
            (_, Positives::All) => self.p(),
            (_, Positives::Weakest) => lowest(self.p()).into_iter().collect(),
            (_, Positives::Strongest) => highest(self.p()).into_iter().collect(),
        };
        let n = match objective.negatives {
            Negatives::All => self.n(),
            Negatives::Hardest => highest(self.n()).into_iter().collect(),
        };
        (p, n)
    }

    /// The loss of the query, 0 without a positive.
    pub fn loss(&self, objective: &Objective) -> f64 {
        if !self.active() {
            return 0.0;
        }
        let t = objective.temperature;
        let (columns_p, columns_n) = self.selected(objective);
        let p: Vec<f64> = columns_p.iter().map(|&d| self.scores[d] / t).collect();
        let n: Vec<f64> = columns_n.iter().map(|&d| self.scores[d] / t).collect();
        let m = self.p().len() as f64;
        let loss = match objective.loss {
            // log(1 + sum over p, n of e^(s_n - s_p + margin))
            Loss::LsePair | Loss::Rand1Lh => {
                let margin = objective.margin / t;
                let pair = |p: f64| n.iter().map(move |n| n - p + margin);
                log_one_plus_sum_exp(p.iter().flat_map(|&p| pair(p)))
            }
            // sum over p of -log P(p), where 1 / P(p) = 1 + sum over d other than p of
            // e^(s_d - s_p)
            Loss::JointLh => {
                let minus_log = |i: usize| {
                    let others = (0..p.len()).filter(|&j| j != i).map(|j| p[j] - p[i]);
                    log_one_plus_sum_exp(others.chain(n.iter().map(|n| n - p[i])))
                };
                (0..p.len()).map(minus_log).sum()
            }
            // -log(sum over p of P(p)), where 1 / that sum = 1 + sum over n of e^(s_n) /
            // sum over p of e^(s_p)
            Loss::SumMargLh => {
                let share = |n: &f64| -log_sum_exp(&p.iter().map(|p| p - n).collect::<Vec<_>>());
                log_one_plus_sum_exp(n.iter().map(share))
            }
        };
        loss / if objective.normalize_by_positives {
            m
        } else {
            1.0
        }
    }

    /// The gradient of the loss with respect to the scores, from the paper's table.
    pub fn gradient(&self, objective: &Objective) -> Vec<f64> {
        let mut gradient = vec![0.0; self.scores.len()];
        if !self.active() {
            return gradient;
        }
        let t = objective.temperature;
        let (p, n) = self.selected(objective);
        let s = |of: &[usize]| of.iter().map(|&d| self.scores[d] / t).collect::<Vec<_>>();
        let negated = |of: &[usize]| of.iter().map(|&d| -self.scores[d] / t).collect::<Vec<_>>();
        let m = self.p().len() as f64;
        let (on_p, on_n) = match objective.loss {
            // p: -sigma(u) e^(-s_p) / sum over P of e^(-s)     n: sigma(u) e^(s_n) / sum
            // over N of e^s
            Loss::LsePair | Loss::Rand1Lh => {
                // u = log of the sum over p, n of e^(s_n - s_p + margin): of differences,
                // because a logarithm drowns beside scores of 1e38
                let pair = |p: f64| s(&n).into_iter().map(move |n| n - p + objective.margin / t);
                let u = log_sum_exp(&s(&p).into_iter().flat_map(pair).collect::<Vec<_>>());
                (
                    scaled(softmax(&negated(&p)), -sigmoid(u)),
                    scaled(softmax(&s(&n)), sigmoid(u)),
                )
            }
            // p: m P_p - 1     n: m P_n
            Loss::JointLh => {
                let probabilities = softmax(&s(&[&p[..], &n[..]].concat()));
                let (on_p, on_n) = probabilities.split_at(p.len());
                let on_p = match on_p {
                    // P_p - 1 cancels where the query is sure of its one positive
                    [_] => vec![-on_n.iter().sum::<f64>()],
                    _ => on_p
                        .iter()
                        .map(|probability| m * probability - 1.0)
                        .collect(),
                };
                (on_p, scaled(on_n.to_vec(), m))
            }
            // p: -(1 - P+) e^(s_p) / sum over P of e^s     n: P_n, with 1 - P+ the sum of
            // P_n
            Loss::SumMargLh => {
                let probabilities = softmax(&s(&[&p[..], &n[..]].concat()));
                let on_n = probabilities[p.len()..].to_vec();
                let rest: f64 = on_n.iter().sum();
                (scaled(softmax(&s(&p)), -rest), on_n)
            }
        };
        let scale = t * if objective.normalize_by_positives {
            m
        } else {
            1.0
        };
        for (columns, values) in [(p, on_p), (n, on_n)] {
            for (d, value) in columns.into_iter().zip(values) {
                gradient[d] = value / scale;
            }
        }
        gradient
    }
}

/// log(1 + sum of e^x), accurate where it is tiny and finite where it is huge.
fn log_one_plus_sum_exp(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = x.clone().fold(0.0, f64::max);
    let sum: f64 = x.map(|x| (x - top).exp()).sum();
    if top == 0.0 {
        sum.ln_1p()
    } else {
        top + ((-top).exp() + sum).ln()
    }
}

fn log_sum_exp(x: &[f64]) -> f64 {
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    top + x.iter().map(|x| (x - top).exp()).sum::<f64>().ln()
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - top).exp()).sum();
    x.iter().map(|x| (x - top).exp() / sum).collect()
}

fn scaled(values: Vec<f64>, by: f64) -> Vec<f64> {
    values.into_iter().map(|value| value * by).collect()
}

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 {
        x.exp() / (1.0 + x.exp())
    } else {
        1.0 / (1.0 + (-x).exp())
    }
}

fn query() -> Query {
    let mut query = Query::new(&[0.3, -1.1, 0.9, 0.2, 1.7, -0.4, 0.05], &[0, 2, 5]);
    query.candidates[3] = false;
    query.chosen = Some(2);
    query
}

/// The worked example of the paper's notes: e^(s_p) = (2, 1), e^(s_n) = 1.
#[test]
fn a_worked_example_by_hand() {
    let mut query = Query::new(&[2f64.ln(), 0.0, 0.0], &[0, 1]);
    let losses = DEFAULTS.map(|objective| query.loss(&objective));
    // 1 + 1/2 + 1/1;  (4/2)(4/1);  4 / 3;  1 + 1/2
    assert_relative_eq!(losses[0], 2.5f64.ln(), max_relative = 1e-14);
    assert_relative_eq!(losses[1], 8f64.ln(), max_relative = 1e-14);
    assert_relative_eq!(losses[2], (4.0 / 3f64).ln(), max_relative = 1e-14);
    assert_relative_eq!(losses[3], 1.5f64.ln(), max_relative = 1e-14);

    let on_positives = |query: &Query, objective: Objective| {
        let gradient = query.gradient(&objective);
        [gradient[0], gradient[1]]
    };
    let [lse_pair, joint, sum_marg, rand1] = DEFAULTS;
    for (objective, expected) in [
        (lse_pair, [-1.0 / 5.0, -2.0 / 5.0]),
        (joint.normalized(), [0.0, -1.0 / 4.0]),
        (sum_marg, [-1.0 / 6.0, -1.0 / 12.0]),
    ] {
        let gradient = on_positives(&query, objective);
        assert_relative_eq!(gradient[..], expected[..], epsilon = 1e-15);
    }
    // the expectation over the draw: half of each
    let first = on_positives(&query, rand1)[0] / 2.0;
    query.chosen = Some(1);
    let second = on_positives(&query, rand1)[1] / 2.0;
    assert_relative_eq!(first, -1.0 / 6.0, max_relative = 1e-14);
    assert_relative_eq!(second, -1.0 / 4.0, max_relative = 1e-14);
}

#[test]
fn gradients_of_the_table_are_slopes_of_the_values() {
    let step = 1e-5;
    for objective in objectives() {
        let gradient = query().gradient(&objective);
        for (d, on_d) in gradient.into_iter().enumerate() {
            let moved = |by: f64| {
                let mut query = query();
                query.scores[d] += by;
                query.loss(&objective)
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            assert!(
                (on_d - slope).abs() <= 1e-8 + 1e-6 * slope.abs(),
                "{objective:?} column {d}: table {on_d}, slope {slope}"
            );
        }
    }
}

#[test]
fn tiny_and_huge_losses_keep_their_relative_accuracy() {
    for objective in DEFAULTS {
        let sure = Query::new(&[40.0, 0.0], &[0]).loss(&objective);
        assert_relative_eq!(sure, (-40f64).exp(), max_relative = 1e-14);
        let lost = Query::new(&[-1e300, 1e300], &[0]).loss(&objective);
        assert_relative_eq!(lost, 2e300, max_relative = 1e-14);
    }
}
