//! Every objective of one query in exact arithmetic: the sums of docs/mathematics.md, one
//! score after the other, with nothing taken out and nothing approximated. A temperature, a
//! margin and all other options are the f64 that the configuration has, a score is the
//! number that its type holds.
//!
//! Beside value and gradient stands what their errors are measured by, see
//! [`Condition`].

use std::collections::HashMap;

use crate::{
    objectives::{Loss, Rule, Selection, Setting, Threshold},
    real::{Double, Powers, Real},
    rows::{Batch, Row},
};

/// Value and gradient of one query.
pub struct Exact {
    pub value: Double,
    pub gradient: Vec<Double>,
    pub condition: Condition,
}

/// How large the parts are that value and gradient are sums of.
pub struct Condition {
    /// The absolute values of the parts of the loss.
    pub parts: f64,
    /// Of each document, the absolute values of the parts of the slope with respect to its
    /// exponent.
    pub mass: Vec<f64>,
    /// Of each document, the size of its exponent.
    pub size: Vec<f64>,
    /// Of each document, the size of what the slope is multiplied by for the gradient.
    pub steepness: Vec<f64>,
    /// What is added to exponents: margins, logarithms of counts and weights.
    pub level: f64,
}

/// What an exponent is a multiple of: `(value or 1 / value + more) times`.
#[derive(Clone, Copy, Debug)]
struct Rate {
    value: f64,
    inverse: bool,
    more: f64,
    times: f64,
}

impl Rate {
    fn over(temperature: f64) -> Self {
        Self {
            value: temperature,
            inverse: true,
            more: 0.0,
            times: 1.0,
        }
    }

    fn real(self) -> Real {
        let value = Real::from(self.value);
        let value = match self.inverse {
            true => Real::one() / value,
            false => value,
        };
        (value + Real::from(self.more)) * Real::from(self.times)
    }

    fn key(self) -> [u64; 4] {
        let inverse = f64::from(u8::from(self.inverse));
        [self.value, inverse, self.more, self.times].map(f64::to_bits)
    }
}

/// The exponentials of one row, shared by its objectives.
#[derive(Default)]
pub struct Cache(HashMap<[u64; 4], Powers>);

impl Cache {
    fn powers(&mut self, rate: Rate, documents: usize) -> &mut Powers {
        let powers = self.0.entry(rate.key());
        powers.or_insert_with(|| Powers::new(rate.real(), documents))
    }
}

/// The loss of a row and the gradient of its scores; none where an option compares two
/// numbers that are as close as a rounding error.
pub fn exact(setting: &Setting, batch: &Batch, row: usize, cache: &mut Cache) -> Option<Exact> {
    let query = Query::new(setting, batch, &batch.rows[row], cache)?;
    match setting.loss {
        Loss::MarginMse => Some(query.margin_mse()),
        Loss::MarginRanking { .. } => query.margin_ranking(),
        Loss::Sigmoid { bias } => Some(query.sigmoid(bias)),
        Loss::JointLh { per_positive } => Some(query.joint_lh(per_positive)),
        Loss::ExpectedRand1Lh { per_positive } => Some(query.expected(per_positive)),
        Loss::FocalInfoNce { .. } => Some(query.expected(true)),
        Loss::Dcl => Some(query.dcl()),
        Loss::MultiSimilarity { alpha, base } => Some(query.multi_similarity(alpha, base)),
        Loss::LsePair { .. }
        | Loss::SumMargLh
        | Loss::Rand1Lh
        | Loss::PowerMean { .. }
        | Loss::Circle { .. } => Some(query.contrast()),
    }
}

/// What a score becomes: itself, or what a curve makes of it.
struct Bent {
    value: Real,
    slope: Real,
    /// The size of the parts of the value, and of the slope.
    sizes: [f64; 2],
}

struct Query<'a> {
    setting: &'a Setting,
    row: &'a Row,
    cache: &'a mut Cache,
    temperature: f64,
    rate: Rate,
    positives: Vec<usize>,
    negatives: Vec<usize>,
    /// The score that exponents are measured from.
    reference: f64,
    reference_size: f64,
}

impl<'a> Query<'a> {
    fn new(
        setting: &'a Setting,
        batch: &Batch,
        row: &'a Row,
        cache: &'a mut Cache,
    ) -> Option<Self> {
        let all = 0..batch.documents;
        let (mut positives, mut negatives): (Vec<usize>, Vec<usize>) =
            all.partition(|&column| row.positives[column]);
        if setting.loss == Loss::Rand1Lh {
            positives = vec![row.chosen];
        }
        if let Some(rule) = setting.false_negatives {
            let rounding = batch.precision.of_losses().rounding();
            let ceiling = ceiling(rule, row, &positives, batch.temperature);
            let of = |column: usize| row.scores[column] - ceiling;
            let size = |column: usize| row.scores[column].abs() + ceiling.abs();
            let unclear = |&column: &usize| of(column).abs() <= 8.0 * rounding * size(column);
            if negatives.iter().any(unclear) {
                return None;
            }
            negatives.retain(|&column| of(column) < 0.0);
        }
        let rate = match setting.loss {
            Loss::Circle { .. } | Loss::MultiSimilarity { .. } => Rate {
                value: 1.0 / batch.temperature,
                inverse: false,
                ..Rate::over(1.0)
            },
            Loss::MarginRanking { .. } | Loss::MarginMse => Rate::over(1.0),
            _ => Rate::over(batch.temperature),
        };
        let mut query = Self {
            setting,
            row,
            cache,
            temperature: batch.temperature,
            rate,
            positives,
            negatives,
            reference: 0.0,
            reference_size: 0.0,
        };
        let from = match query.negatives.is_empty() {
            true => &query.positives,
            false => &query.negatives,
        };
        let bent = from.iter().map(|&column| query.bent(column));
        let hardest = bent.reduce(|a, b| if b.value > a.value { b } else { a })?;
        query.reference = hardest.value.to_f64();
        query.reference_size = hardest.sizes[0];
        Some(query)
    }

    fn weight(&self, column: usize) -> f64 {
        match self.setting.is_weighted {
            true => self.row.weights[column],
            false => 1.0,
        }
    }

    fn total_weight(&self) -> f64 {
        let weights = self.positives.iter().map(|&column| self.weight(column));
        weights.sum()
    }

    fn bent(&self, column: usize) -> Bent {
        let score = self.row.scores[column];
        // `(k s + c) (s - d)`, the slope of the first factor left out if it is paced.
        let product = |k: f64, c: &Real, d: &Real, paced: bool| {
            let s = Real::from(score);
            let mut first = &(Real::from(k) * &s) + c;
            if paced && first < Real::zero() {
                first = Real::zero();
            }
            let second = &s - d;
            let rise = Real::from(if paced { 0.0 } else { k });
            let [k, c, d] = [k, c.to_f64(), d.to_f64()].map(f64::abs);
            let [of_first, of_second] = [k * score.abs() + c, score.abs() + d];
            Bent {
                value: &first * &second,
                slope: &first + &(rise * second),
                sizes: [of_first * of_second, of_first + k * of_second],
            }
        };
        let is_positive = self.row.positives[column];
        match self.setting.loss {
            Loss::Circle { margin } if is_positive => {
                let [margin, one] = [Real::from(margin), Real::one()];
                product(-1.0, &(&one + &margin), &(&one - &margin), true)
            }
            Loss::Circle { margin } => product(1.0, &Real::from(margin), &Real::from(margin), true),
            Loss::FocalInfoNce { .. } if is_positive => {
                product(1.0, &Real::zero(), &Real::zero(), false)
            }
            Loss::FocalInfoNce { margin } => {
                product(1.0, &Real::from(margin), &Real::zero(), false)
            }
            _ => Bent {
                value: Real::from(score),
                slope: Real::one(),
                sizes: [0.0, 1.0],
            },
        }
    }

    fn is_curved(&self) -> bool {
        matches!(
            self.setting.loss,
            Loss::Circle { .. } | Loss::FocalInfoNce { .. }
        )
    }

    /// The exponential of a document's exponent, times `times` or at a higher rate.
    fn power(&mut self, column: usize, rate: Rate) -> Real {
        let documents = self.row.scores.len();
        if self.is_curved() {
            let value = self.bent(column).value;
            return self.cache.powers(rate, documents).of(&value);
        }
        let score = self.row.scores[column];
        self.cache.powers(rate, documents).of_f64(score)
    }

    /// The rate of the negatives: their hardness is part of it.
    fn negative_rate(&self) -> Rate {
        Rate {
            more: self.setting.hardness / self.temperature,
            ..self.rate
        }
    }

    /// What is added to the exponent of the negatives after the sum.
    fn hard_level(&self) -> f64 {
        self.setting.hardness / self.temperature * self.reference.abs()
    }

    /// The terms of a sum over the negatives, the hardest alone if that is selected.
    fn negative_terms(&mut self) -> (Vec<(usize, Real)>, Real) {
        let rate = self.negative_rate();
        let mut columns = self.negatives.clone();
        if matches!(self.setting.loss, Loss::LsePair { hardest: true, .. }) {
            columns = first(&columns, |a, b| self.row.scores[a] > self.row.scores[b]);
        }
        self.terms(&columns, rate)
    }

    /// Weighted exponentials and their sum.
    fn terms(&mut self, columns: &[usize], rate: Rate) -> (Vec<(usize, Real)>, Real) {
        let mut terms = Vec::with_capacity(columns.len());
        let mut sum = Real::zero();
        for &column in columns {
            let term = Real::from(self.weight(column)) * self.power(column, rate);
            sum = sum + &term;
            terms.push((column, term));
        }
        (terms, sum)
    }

    /// The empty result.
    fn build(&self) -> Builder {
        let documents = self.row.scores.len();
        let logarithms = [self.negatives.len(), self.positives.len()];
        let logarithms = logarithms.map(|count| (count.max(1) as f64).ln());
        let weight = self.total_weight().ln().abs();
        Builder {
            gradient: vec![Double::default(); documents],
            condition: Condition {
                parts: 0.0,
                mass: vec![0.0; documents],
                size: vec![0.0; documents],
                steepness: vec![0.0; documents],
                level: 1.0 + logarithms.iter().sum::<f64>() + weight,
            },
            rate: self.rate.real(),
        }
    }

    /// Writes the slope with respect to the exponent of a document.
    fn put(&self, built: &mut Builder, column: usize, slope: Real, mass: f64) {
        let hardness = match self.row.positives[column] {
            true => 0.0,
            false => self.setting.hardness / self.temperature,
        };
        // The exponents of a mean with an exponent are so many times as large.
        let steeper = match self.setting.loss {
            Loss::PowerMean { exponent, .. } if self.row.positives[column] => exponent.abs(),
            _ => 1.0,
        };
        let steeper = steeper.max(1.0);
        let rate = built.rate.to_f64();
        let condition = &mut built.condition;
        condition.mass[column] = mass;
        let gradient = if self.is_curved() {
            let bent = self.bent(column);
            condition.size[column] = rate * (bent.sizes[0] + self.reference_size);
            condition.steepness[column] = rate * bent.sizes[1];
            slope * &built.rate * bent.slope
        } else {
            let distance = (self.row.scores[column] - self.reference).abs();
            condition.size[column] = (rate * steeper + hardness) * distance;
            condition.steepness[column] = rate;
            slope * &built.rate
        };
        built.gradient[column] = gradient.split();
    }

    fn put_all(&self, built: &mut Builder, terms: Vec<(usize, Real)>, factor: &Real) {
        for (column, term) in terms {
            let slope = factor * &term;
            let mass = slope.to_f64().abs();
            self.put(built, column, slope, mass);
        }
    }

    /// `log(1 + N e^-A)`, where `A` is a mean of the positives.
    fn contrast(mut self) -> Exact {
        let mut built = self.build();
        if self.negatives.is_empty() {
            return built.done(Real::zero());
        }
        let (on_negatives, sum) = self.negative_terms();
        let total = self.total_weight();
        let mut per_positive = false;
        built.condition.level += self.hard_level();
        // `e^-A`, and the shares of the positives.
        let (inverse, shares) = match self.setting.loss {
            Loss::LsePair {
                margin,
                positives,
                per_positive: normalized,
                ..
            } => {
                per_positive = normalized;
                let scores = &self.row.scores;
                let columns = match positives {
                    Selection::All => self.positives.clone(),
                    Selection::Weakest => first(&self.positives, |a, b| scores[a] < scores[b]),
                    Selection::Strongest => first(&self.positives, |a, b| scores[a] > scores[b]),
                };
                built.condition.level += margin.abs();
                let margin = Real::from(margin * self.temperature) / Real::from(self.temperature);
                let (terms, inverse) = self.terms(&columns, self.rate.times(-1.0));
                (&inverse * &margin.exp(), shares(terms, &inverse))
            }
            Loss::Circle { .. } => {
                let columns = self.positives.clone();
                let (terms, inverse) = self.terms(&columns, self.rate.times(-1.0));
                (inverse.clone(), shares(terms, &inverse))
            }
            Loss::SumMargLh => {
                let columns = self.positives.clone();
                let (terms, sum) = self.terms(&columns, self.rate);
                (Real::one() / &sum, shares(terms, &sum))
            }
            Loss::Rand1Lh => {
                let [column] = self.positives[..] else {
                    unreachable!("one is chosen")
                };
                let power = self.power(column, self.rate.times(-1.0));
                (power, vec![(column, Real::one())])
            }
            Loss::PowerMean { exponent: 0.0, .. } => {
                let mean = self.mean();
                let weight = Real::from(total);
                let share = |&column: &usize| Real::from(self.weight(column)) / &weight;
                let columns = self.positives.iter();
                let shares = columns.map(|column| (*column, share(column))).collect();
                (mean.neg().exp(), shares)
            }
            Loss::PowerMean {
                exponent,
                normalized,
            } => {
                let columns = self.positives.clone();
                let (terms, sum) = self.terms(&columns, self.rate.times(exponent));
                if !normalized {
                    built.condition.level += total.ln().abs() / exponent.abs();
                }
                let shared = match normalized {
                    true => &sum / &Real::from(total),
                    false => sum.clone(),
                };
                let mean = shared.ln() / Real::from(exponent);
                (mean.neg().exp(), shares(terms, &sum))
            }
            _ => unreachable!("{:?} is no contrast", self.setting.loss),
        };
        let odds = &sum * &inverse;
        let divisor = Real::from(if per_positive { total } else { 1.0 });
        let value = odds.ln_one_plus() / &divisor;
        let pull = &odds / &(Real::one() + &odds) / divisor;
        self.put_all(&mut built, on_negatives, &(&pull / &sum));
        self.put_all(&mut built, shares, &pull.neg());
        built.done(value)
    }

    /// The mean exponent of the positives.
    fn mean(&self) -> Real {
        let rate = self.rate.real();
        let terms = self.positives.iter().map(|&column| {
            let weight = Real::from(self.weight(column));
            weight * Real::from(self.row.scores[column])
        });
        terms.sum::<Real>() * rate / Real::from(self.total_weight())
    }

    /// `-sum_P w log P_p`.
    fn joint_lh(mut self, per_positive: bool) -> Exact {
        let mut built = self.build();
        let (on_negatives, n) = self.negative_terms();
        let columns = self.positives.clone();
        let powers: Vec<Real> = columns
            .iter()
            .map(|&column| self.power(column, self.rate))
            .collect();
        let p = powers.iter().cloned().sum::<Real>();
        let rate = self.rate.real();
        let weight = Real::from(self.total_weight());
        let divisor = match per_positive {
            true => weight.clone(),
            false => Real::one(),
        };
        let odds = &n / &p;
        let mut value = &weight * &odds.ln_one_plus();
        let log = p.ln();
        let all = &n + &p;
        for (&column, power) in columns.iter().zip(powers) {
            let own = Real::from(self.weight(column));
            if columns.len() == 1 {
                let slope = (&own * &n / &all / &divisor).neg();
                let mass = slope.to_f64().abs();
                self.put(&mut built, column, slope, mass);
                continue;
            }
            let exponent = Real::from(self.row.scores[column]) * &rate;
            value = value + &own * &(&log - &exponent);
            let share = &weight * &power;
            let slope = (&share / &all - &own) / &divisor;
            let mass = (share * Real::from(2.0) / &p + own) / &divisor;
            self.put(&mut built, column, slope, mass.to_f64());
        }
        let factor = weight / all / &divisor;
        self.put_all(&mut built, on_negatives, &factor);
        built.done(value / divisor)
    }

    /// `sum_P w log(1 + N e^-x_p)`.
    fn expected(mut self, per_positive: bool) -> Exact {
        let mut built = self.build();
        if self.negatives.is_empty() {
            return built.done(Real::zero());
        }
        built.condition.level += self.hard_level();
        let (on_negatives, n) = self.negative_terms();
        let divisor = Real::from(if per_positive {
            self.total_weight()
        } else {
            1.0
        });
        let [mut value, mut push] = [Real::zero(), Real::zero()];
        for column in self.positives.clone() {
            let odds = &n * &self.power(column, self.rate.times(-1.0));
            let weight = Real::from(self.weight(column)) / &divisor;
            value = value + &weight * &odds.ln_one_plus();
            let pull = weight * &odds / (Real::one() + &odds);
            push = push + &pull;
            let mass = pull.to_f64();
            self.put(&mut built, column, pull.neg(), mass);
        }
        self.put_all(&mut built, on_negatives, &(push / n));
        built.done(value)
    }

    /// `lse_N - M_0`.
    fn dcl(mut self) -> Exact {
        let mut built = self.build();
        if self.negatives.is_empty() {
            return built.done(Real::zero());
        }
        let (on_negatives, n) = self.negative_terms();
        let value = n.ln() - self.mean();
        self.put_all(&mut built, on_negatives, &(Real::one() / n));
        let weight = Real::from(self.total_weight());
        for &column in &self.positives {
            let slope = Real::from(-self.weight(column)) / &weight;
            let mass = -slope.to_f64();
            self.put(&mut built, column, slope, mass);
        }
        built.done(value)
    }

    /// `log(1 + sum_P e^(-alpha (s - b))) / alpha + log(1 + sum_N e^(beta (s - b))) / beta`.
    fn multi_similarity(mut self, alpha: f64, base: f64) -> Exact {
        let mut built = self.build();
        let [alpha, beta, base] = [
            alpha / self.temperature,
            1.0 / self.temperature,
            base * self.temperature,
        ];
        let sides = [
            (self.positives.clone(), -alpha),
            (self.negatives.clone(), beta),
        ];
        built.condition.level += beta * (self.reference.abs() + base.abs());
        built.rate = Real::one();
        let mut value = Real::zero();
        for (columns, signed) in sides {
            let rate = Rate {
                value: signed,
                ..self.rate
            };
            let (terms, sum) = self.terms(&columns, rate);
            let level = (Real::from(-base) * Real::from(signed)).exp();
            let odds = &sum * &level;
            value = value + odds.ln_one_plus() / Real::from(signed.abs());
            let factor = level / (Real::one() + odds) * Real::from(signed.signum());
            self.put_all(&mut built, terms, &factor);
            // Slopes were taken with respect to scores; exponents have the scale.
            for column in columns {
                let condition = &mut built.condition;
                condition.size[column] *= signed.abs();
                condition.mass[column] /= signed.abs();
                condition.steepness[column] = signed.abs();
            }
        }
        built.done(value)
    }

    /// `sum_P w softplus(-z) + sum_N w softplus(z)`.
    fn sigmoid(mut self, bias: f64) -> Exact {
        let mut built = self.build();
        let positive = Real::from(bias).neg().exp();
        let negative = Real::from(bias).exp();
        let mut value = Real::zero();
        // The logarithm of a product for terms that are not small.
        let mut product = Real::one();
        for column in 0..self.row.scores.len() {
            let weight = Real::from(self.weight(column));
            let odds = match self.row.positives[column] {
                true => &positive * &self.power(column, self.rate.times(-1.0)),
                false => &negative * &self.power(column, self.rate),
            };
            match self.setting.is_weighted || odds.to_f64() < 1e-19 {
                true => value = value + &weight * &odds.ln_one_plus(),
                false => product = product * (Real::one() + &odds),
            }
            let slope = weight * &odds / (Real::one() + &odds);
            let mass = slope.to_f64();
            let slope = match self.row.positives[column] {
                true => slope.neg(),
                false => slope,
            };
            self.put(&mut built, column, slope, mass);
            let logit = self.row.scores[column].abs() / self.temperature + bias.abs();
            built.condition.size[column] = logit;
        }
        built.condition.level = 1.0;
        built.done(value + product.ln())
    }

    /// `max(0, max_N s - min_P s + margin)`.
    fn margin_ranking(self) -> Option<Exact> {
        let Loss::MarginRanking { margin } = self.setting.loss else {
            unreachable!("that is the loss");
        };
        let mut built = self.build();
        let margin = margin * self.temperature;
        let scores = &self.row.scores;
        let [hardest] = first(&self.negatives, |a, b| scores[a] > scores[b])[..] else {
            return None;
        };
        let [weakest] = first(&self.positives, |a, b| scores[a] < scores[b])[..] else {
            return None;
        };
        let gap = Real::from(scores[hardest]) - Real::from(scores[weakest]);
        let parts = gap.to_f64().abs() + margin.abs();
        let value = gap + Real::from(margin);
        // Of a relative rounding error of f32 nobody can say on which side it is.
        if value.to_f64().abs() <= 1e-6 * parts {
            return None;
        }
        if value < Real::zero() {
            return Some(built.done(Real::zero()));
        }
        self.put(&mut built, hardest, Real::one(), 1.0);
        self.put(&mut built, weakest, Real::from(-1.0), 1.0);
        let mut exact = built.done(value);
        exact.condition.parts = parts;
        // Nothing is summed up, and the masses say nothing of the value.
        exact.condition.level = 0.0;
        exact.condition.size.fill(0.0);
        Some(exact)
    }

    /// `var_P(d) + var_N(d) + (mean_P(d) - mean_N(d))^2`, `d` how far score and teacher lie
    /// apart.
    fn margin_mse(self) -> Exact {
        let mut built = self.build();
        let distance = |column: usize| {
            Real::from(self.row.scores[column]) - Real::from(self.row.teacher[column])
        };
        let two = Real::from(2.0);
        let moments = |columns: &[usize]| {
            let count = Real::from(columns.len() as f64);
            let mean = columns.iter().map(|&c| distance(c)).sum::<Real>() / &count;
            let square = |&column: &usize| {
                let off = distance(column) - &mean;
                &off * &off
            };
            let variance = columns.iter().map(square).sum::<Real>() / &count;
            let sizes = columns.iter().map(|&c| distance(c).to_f64().abs());
            let size = sizes.sum::<f64>() / columns.len() as f64;
            let parts = columns.iter().map(|&column| {
                let off = (distance(column).to_f64() - mean.to_f64()).abs();
                2.0 * off * (distance(column).to_f64().abs() + size) + off * off
            });
            let parts = parts.sum::<f64>() / columns.len() as f64;
            (count, mean, variance, size, parts)
        };
        let sides = [&self.positives, &self.negatives];
        let [of_p, of_n] = sides.map(|columns| moments(columns));
        let apart = &of_p.1 - &of_n.1;
        let value = &of_p.2 + &of_n.2 + &apart * &apart;
        let sizes = of_p.3 + of_n.3;
        let parts = of_p.4 + of_n.4 + 2.0 * apart.to_f64().abs() * sizes + value.to_f64();
        for (columns, of, sign) in [(sides[0], &of_p, 1.0), (sides[1], &of_n, -1.0)] {
            let (count, mean, _, _, _) = of;
            for &column in columns {
                let off = distance(column) - mean;
                let slope = &two * &(off + Real::from(sign) * &apart) / count;
                let size = distance(column).to_f64().abs() + 2.0 * sizes;
                let mass = 2.0 * size / count.to_f64();
                self.put(&mut built, column, slope, mass);
            }
        }
        let mut exact = built.done(value);
        exact.condition.parts = parts;
        exact.condition.level = 0.0;
        exact.condition.size.fill(0.0);
        exact
    }
}

impl Rate {
    fn times(self, times: f64) -> Self {
        Self { times, ..self }
    }
}

/// The first of the columns that is better than all before, and not worse than one behind.
fn first(columns: &[usize], better: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let best = columns.iter().copied();
    let best = best.reduce(|best, column| if better(column, best) { column } else { best });
    best.into_iter().collect()
}

fn shares(terms: Vec<(usize, Real)>, sum: &Real) -> Vec<(usize, Real)> {
    let share = |(column, term): (usize, Real)| (column, term / sum);
    terms.into_iter().map(share).collect()
}

/// The largest score that is believed; of a mean, up to a rounding error of f64.
fn ceiling(rule: Rule, row: &Row, positives: &[usize], temperature: f64) -> f64 {
    let scores = positives.iter().map(|&column| row.scores[column]);
    let threshold = match rule.threshold {
        Threshold::Weakest => scores.fold(f64::INFINITY, f64::min),
        Threshold::Strongest => scores.fold(f64::NEG_INFINITY, f64::max),
        Threshold::Mean => scores.sum::<f64>() / positives.len() as f64,
    };
    let margin = rule.margin(temperature);
    match rule.relative {
        true => threshold - margin * threshold.abs(),
        false => threshold + margin,
    }
}

struct Builder {
    gradient: Vec<Double>,
    condition: Condition,
    rate: Real,
}

impl Builder {
    fn done(mut self, value: Real) -> Exact {
        self.condition.parts = value.to_f64().abs();
        Exact {
            value: value.split(),
            gradient: self.gradient,
            condition: self.condition,
        }
    }
}
