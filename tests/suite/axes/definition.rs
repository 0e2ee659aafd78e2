//! What a loss is, by its definition: naive sums in f64 that carry derivatives.

use super::dual::Dual;
use burn_multi_positive::{FalseNegatives, PositiveThreshold};

pub type Matrix<T = Dual> = Vec<Vec<T>>;

/// An objective with what it can be told.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub kind: Kind,
    pub temperature: f64,
    pub hardness: f64,
    pub rule: Option<FalseNegatives>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// With a margin, divided by the positives or not, of these documents.
    LsePair {
        margin: f64,
        normalize: bool,
        positives: Select,
        hardest: bool,
    },
    JointLh {
        normalize: bool,
    },
    SumMargLh,
    Rand1Lh,
    ExpectedRand1Lh {
        normalize: bool,
    },
    PowerMean {
        exponent: f64,
        normalized: bool,
    },
    Dcl,
    MultiSimilarity {
        alpha: f64,
        beta: f64,
        base: f64,
    },
    Circle {
        gamma: f64,
        margin: f64,
    },
    FocalInfoNce {
        margin: f64,
    },
    Sigmoid {
        bias: f64,
    },
    MarginRanking {
        margin: f64,
    },
    MarginMse,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Select {
    All,
    Weakest,
    Strongest,
}

impl Kind {
    /// Whether it looks at single scores, which may tie.
    pub fn selects(self) -> bool {
        match self {
            Self::LsePair {
                positives, hardest, ..
            } => hardest || positives != Select::All,
            Self::PowerMean { exponent, .. } => exponent.is_infinite(),
            Self::MarginRanking { .. } => true,
            _ => false,
        }
    }

    pub fn has_hardness(self) -> bool {
        !matches!(
            self,
            Self::Circle { .. }
                | Self::FocalInfoNce { .. }
                | Self::Sigmoid { .. }
                | Self::MarginRanking { .. }
                | Self::MarginMse
        )
    }
}

/// How a pair of a query and a document is judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    pub relevant: bool,
    pub candidate: bool,
    pub weight: f64,
    /// Of a teacher, for margins.
    pub teacher: f64,
}

impl Judged {
    pub fn counts(&self) -> bool {
        self.candidate && self.weight > 0.0
    }

    pub fn is_positive(&self) -> bool {
        self.relevant && self.counts()
    }
}

/// A document of a row: its score as the objective takes it, and its weight.
#[derive(Clone, Copy)]
struct Scored {
    s: Dual,
    weight: f64,
}

impl Spec {
    /// The loss of a query, 0 without a positive.
    pub fn loss(&self, scores: &[Dual], judged: &[Judged]) -> Dual {
        let (p, n) = self.sides(scores, judged);
        if p.is_empty() {
            return Dual::constant(0.0);
        }
        let weight: f64 = p.iter().map(|p| p.weight).sum();
        let per_positive = |normalize| if normalize { 1.0 / weight } else { 1.0 };
        match self.kind {
            Kind::LsePair {
                margin,
                normalize,
                positives,
                hardest,
            } => {
                let n = match hardest {
                    // Its weight does not count, its hardness does.
                    true => extreme(&n, 1.0)
                        .into_iter()
                        .map(|n| Scored {
                            weight: (self.hardness * self.temperature * n.s.value).exp(),
                            ..n
                        })
                        .collect(),
                    false => n,
                };
                let p = match positives {
                    Select::All => p,
                    Select::Weakest => extreme(&p, -1.0),
                    Select::Strongest => extreme(&p, 1.0),
                };
                let margin = Dual::constant(margin / self.temperature);
                let pair =
                    |p: &Scored, n: &Scored| (n.s - p.s + margin).exp() * p.weight * n.weight;
                sum_of_pairs(&p, &n, pair).ln_1p() * per_positive(normalize)
            }
            Kind::JointLh { normalize } => {
                let each = p.iter().enumerate().map(|(i, own)| {
                    let others = p.iter().enumerate().filter(|(j, _)| *j != i);
                    let others = others.map(|(_, other)| (other.s - own.s).exp());
                    let negatives = n.iter().map(|n| (n.s - own.s).exp() * n.weight);
                    others.chain(negatives).sum::<Dual>().ln_1p() * own.weight
                });
                each.sum::<Dual>() * per_positive(normalize)
            }
            Kind::SumMargLh => share(&n, log_sum(&p)).ln_1p(),
            // The weights are those of the draw.
            Kind::Rand1Lh => {
                let p: Vec<Scored> = p.iter().map(|p| Scored { weight: 1.0, ..*p }).collect();
                share(&n, log_sum(&p)).ln_1p()
            }
            Kind::ExpectedRand1Lh { normalize } => {
                let each = p.iter().map(|p| share(&n, p.s).ln_1p() * p.weight);
                each.sum::<Dual>() * per_positive(normalize)
            }
            Kind::FocalInfoNce { .. } => {
                let each = p.iter().map(|p| share(&n, p.s).ln_1p() * p.weight);
                each.sum::<Dual>() * per_positive(true)
            }
            Kind::PowerMean {
                exponent,
                normalized,
            } => {
                let level = if exponent == 0.0 {
                    p.iter().map(|p| p.s * p.weight).sum::<Dual>() * (1.0 / weight)
                } else if exponent.is_infinite() {
                    extreme(&p, exponent.signum())[0].s
                } else {
                    let sum: Dual = p.iter().map(|p| (p.s * exponent).exp() * p.weight).sum();
                    let by = if normalized { 1.0 / weight } else { 1.0 };
                    (sum * by).ln() * (1.0 / exponent)
                };
                share(&n, level).ln_1p()
            }
            Kind::Dcl => match n.is_empty() {
                true => Dual::constant(0.0),
                false => {
                    let mean = p.iter().map(|p| p.s * p.weight).sum::<Dual>() * (1.0 / weight);
                    log_sum(&n) - mean
                }
            },
            // Scores are measured from the base.
            Kind::MultiSimilarity { alpha, beta, .. } => {
                let p: Dual = p
                    .iter()
                    .map(|p| (p.s * (-alpha / beta)).exp() * p.weight)
                    .sum();
                let n: Dual = n.iter().map(|n| n.s.exp() * n.weight).sum();
                p.ln_1p() * (1.0 / alpha) + n.ln_1p() * (1.0 / beta)
            }
            Kind::Circle { .. } => {
                let pair = |p: &Scored, n: &Scored| (n.s - p.s).exp() * p.weight * n.weight;
                sum_of_pairs(&p, &n, pair).ln_1p()
            }
            Kind::Sigmoid { bias } => {
                let bias = Dual::constant(bias);
                let of = |s: Dual, weight: f64| s.exp().ln_1p() * weight;
                let p: Dual = p.iter().map(|p| of(-p.s - bias, p.weight)).sum();
                p + n.iter().map(|n| of(n.s + bias, n.weight)).sum::<Dual>()
            }
            Kind::MarginRanking { margin } => match n.is_empty() {
                true => Dual::constant(0.0),
                false => {
                    let gap = extreme(&n, 1.0)[0].s - extreme(&p, -1.0)[0].s;
                    (gap + Dual::constant(margin)).relu()
                }
            },
            // Scores are distances from the teacher's.
            Kind::MarginMse => {
                let pair = |p: &Scored, n: &Scored| (p.s - n.s) * (p.s - n.s) * p.weight * n.weight;
                let all = weight * n.iter().map(|n| n.weight).sum::<f64>();
                match n.is_empty() {
                    true => Dual::constant(0.0),
                    false => sum_of_pairs(&p, &n, pair) * (1.0 / all),
                }
            }
        }
    }

    /// Whether rounding decides which side of a rule's ceiling a score is on, or which score
    /// is selected.
    pub fn is_close_call(&self, scores: &[f64], judged: &[Judged]) -> bool {
        let of = |is_relevant: bool| {
            let documents = scores.iter().zip(judged);
            let documents = documents.filter(|(_, is)| is.counts());
            let documents = documents.filter(move |(_, is)| is.relevant == is_relevant);
            documents.map(|(score, _)| *score)
        };
        let is_near = |a: f64, b: f64| (a - b).abs() < 5e-7 * (1.0 + a.abs());
        let is_tied = |best: f64, is_relevant| {
            let near = of(is_relevant).filter(|score| is_near(best, *score));
            near.count() > 1
        };
        let positives: Vec<f64> = of(true).collect();
        let ceiling = self.rule.and_then(|rule| ceiling(rule, &positives));
        ceiling.is_some_and(|ceiling| of(false).any(|score| is_near(ceiling, score)))
            || self.kind.selects()
                && [true, false].into_iter().any(|side| {
                    is_tied(of(side).fold(f64::NEG_INFINITY, f64::max), side)
                        || is_tied(of(side).fold(f64::INFINITY, f64::min), side)
                })
    }

    /// The positives and the negatives of a row, as the objective takes their scores.
    fn sides(&self, scores: &[Dual], judged: &[Judged]) -> (Vec<Scored>, Vec<Scored>) {
        let of = |is_relevant: bool| {
            let documents = scores.iter().zip(judged);
            documents.filter(move |(_, is)| is.counts() && is.relevant == is_relevant)
        };
        let positives: Vec<f64> = of(true).map(|(score, _)| score.value).collect();
        let ceiling = self.rule.and_then(|rule| ceiling(rule, &positives));
        let is_believed = |score: Dual| ceiling.is_none_or(|ceiling| score.value <= ceiling);
        let hardness = |score: Dual| (self.hardness * score.value).exp();
        (
            of(true)
                .map(|(score, is)| Scored {
                    s: self.taken(*score, is, true),
                    weight: is.weight,
                })
                .collect(),
            of(false)
                .filter(|(score, _)| is_believed(**score))
                .map(|(score, is)| Scored {
                    s: self.taken(*score, is, false),
                    weight: is.weight * hardness(*score),
                })
                .collect(),
        )
    }

    /// What the objective makes of a score before it compares.
    fn taken(&self, score: Dual, judged: &Judged, is_positive: bool) -> Dual {
        let constant = Dual::constant;
        let (score, temperature) = match self.kind {
            Kind::Circle { gamma, margin } => {
                let (factor, from) = match is_positive {
                    true => (1.0 + margin - score.value, 1.0 - margin),
                    false => (score.value + margin, margin),
                };
                ((score - constant(from)) * factor.max(0.0), 1.0 / gamma)
            }
            Kind::FocalInfoNce { margin } => {
                let margin = if is_positive { 0.0 } else { margin };
                (score * (score + constant(margin)), self.temperature)
            }
            Kind::MultiSimilarity { beta, base, .. } => (score - constant(base), 1.0 / beta),
            Kind::MarginRanking { .. } => (score, 1.0),
            Kind::MarginMse => (score - constant(judged.teacher), 1.0),
            _ => (score, self.temperature),
        };
        score * (1.0 / temperature)
    }
}

/// The score above which a rule believes no negative.
pub fn ceiling(rule: FalseNegatives, positives: &[f64]) -> Option<f64> {
    let first = *positives.first()?;
    let all = positives.iter().copied();
    let threshold = match rule.threshold {
        PositiveThreshold::Weakest => all.fold(first, f64::min),
        PositiveThreshold::Strongest => all.fold(first, f64::max),
        _ => all.sum::<f64>() / positives.len() as f64,
    };
    Some(match rule.relative {
        true => threshold - rule.margin * threshold.abs(),
        false => threshold + rule.margin,
    })
}

/// The first of the largest scores, or of the smallest with the sign -1. It counts once.
fn extreme(of: &[Scored], sign: f64) -> Vec<Scored> {
    let mut best: Option<Scored> = None;
    for scored in of {
        if best.is_none_or(|best| sign * scored.s.value > sign * best.s.value) {
            best = Some(Scored {
                weight: 1.0,
                ..*scored
            });
        }
    }
    best.into_iter().collect()
}

fn sum_of_pairs(p: &[Scored], n: &[Scored], pair: impl Fn(&Scored, &Scored) -> Dual) -> Dual {
    let pair = &pair;
    p.iter()
        .flat_map(|p| n.iter().map(move |n| pair(p, n)))
        .sum()
}

/// The sum of the negatives over what stands for the positives.
fn share(n: &[Scored], level: Dual) -> Dual {
    n.iter().map(|n| (n.s - level).exp() * n.weight).sum()
}

fn log_sum(of: &[Scored]) -> Dual {
    let sum: Dual = of.iter().map(|one| one.s.exp() * one.weight).sum();
    sum.ln()
}
