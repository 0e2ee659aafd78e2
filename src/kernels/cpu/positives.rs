//! The positives of one query. They are few, so f64 and the standard library will do.

use crate::kernels::table::{Request, Statistic};

/// `(score - reference) / temperature`, by way of halves, whose difference is finite.
pub fn relative(score: f64, reference: f64, temperature: f64) -> f64 {
    (0.5 * score - 0.5 * reference) * (2.0 / temperature)
}

/// `score / temperature + bias`.
pub fn logit(score: f64, request: Request) -> f64 {
    score / request.temperature() + request.bias()
}

/// `log(1 + exp(x))` with its relative accuracy at both ends.
pub fn softplus(x: f64) -> f64 {
    // Not `max`, which would lose a NaN.
    let above = if x < 0.0 { 0.0 } else { x };
    above + (-x.abs()).exp().ln_1p()
}

/// The slope of [`softplus`].
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A positive: where it stands, its score, how that changes with the one it was made of, and its
/// weight.
#[derive(Clone, Copy, Debug)]
pub struct Positive {
    pub column: usize,
    pub score: f64,
    pub slope: f64,
    pub weight: f64,
}

/// The positives seen so far.
#[derive(Clone, Debug)]
pub struct Positives {
    pub count: usize,
    /// The sum of the weights.
    pub weight: f64,
    /// The largest score; passes over NaN.
    pub max: f64,
    /// Over the scores, without their weights.
    pub plain: LogSumExp,
    /// Over the scores with weights, as their [`Power`] has them.
    pub power: LogSumExp,
    pub weakest: Smallest,
    /// Of the negated scores.
    pub strongest: Smallest,
    /// The loss of each alone, summed with the weights.
    pub binary: f64,
    /// All of them, if they are wanted.
    pub each: Vec<Positive>,
}

impl Default for Positives {
    fn default() -> Self {
        Self {
            count: 0,
            weight: 0.0,
            max: f64::NEG_INFINITY,
            plain: LogSumExp::default(),
            power: LogSumExp::default(),
            weakest: Smallest::default(),
            strongest: Smallest::default(),
            binary: 0.0,
            each: Vec::new(),
        }
    }
}

impl Positives {
    pub fn add(&mut self, positive: Positive, request: Request) {
        let Positive {
            column,
            score,
            weight,
            ..
        } = positive;
        self.count += 1;
        self.weight += weight;
        self.max = self.max.max(score);
        if request.computes(Statistic::UnweightedPositives)
            || request.computes(Statistic::PositiveExcess)
        {
            let one = LogSumExp::one(score, 1.0, weight);
            self.plain.merge(&one, Power::of_one(request));
        }
        if request.computes(Statistic::PositiveMean) {
            let power = Power::of(request);
            let one = LogSumExp::one(power.sign * score, weight, weight);
            self.power.merge(&one, power);
        }
        if request.computes(Statistic::PositiveLosses) {
            self.each.push(positive);
        }
        if request.computes(Statistic::BinaryLosses) {
            self.binary += weight * softplus(-logit(score, request));
        }
        self.weakest.add(column, score);
        self.strongest.add(column, -score);
    }

    /// Adds what was seen of later columns.
    pub fn merge(&mut self, later: &Self, request: Request) {
        self.count += later.count;
        self.weight += later.weight;
        self.max = self.max.max(later.max);
        self.plain.merge(&later.plain, Power::of_one(request));
        self.power.merge(&later.power, Power::of(request));
        self.binary += later.binary;
        self.weakest.merge(&later.weakest);
        self.strongest.merge(&later.strongest);
        self.each.extend_from_slice(&later.each);
    }

    /// One of the statistics of these alone, of which there are some.
    pub fn statistic(&self, statistic: Statistic, reference: f64, request: Request) -> f64 {
        let temperature = request.temperature();
        match statistic {
            Statistic::PositiveMean => self.power.mean_above(reference, Power::of(request)),
            Statistic::UnweightedPositives => self.plain.above(reference, temperature),
            Statistic::PositiveExcess => self.plain.excess(),
            Statistic::WeakestPositive => relative(self.weakest.value(), reference, temperature),
            Statistic::StrongestPositive => {
                relative(-self.strongest.value(), reference, temperature)
            }
            Statistic::Negatives
            | Statistic::HardestNegative
            | Statistic::PositiveLosses
            | Statistic::BinaryLosses => {
                unreachable!("{statistic:?} is not of the positives alone")
            }
        }
    }
}

/// An exponent as a sign and a size, and the temperature of the scores.
#[derive(Clone, Copy, Debug)]
pub struct Power {
    /// Of the scores that are summed up: their exponentials fall from the largest on.
    sign: f64,
    size: f64,
    temperature: f64,
}

impl Power {
    pub fn of(request: Request) -> Self {
        Self {
            sign: if request.exponent() < 0.0 { -1.0 } else { 1.0 },
            size: request.exponent().abs(),
            temperature: request.temperature(),
        }
    }

    /// Whether a mean is divided by so little that a share near 1 has too few digits for it.
    fn is_small(self) -> bool {
        self.size < 0.5
    }

    /// The exponent 1.
    fn of_one(request: Request) -> Self {
        Self {
            sign: 1.0,
            size: 1.0,
            temperature: request.temperature(),
        }
    }
}

/// Log-sum-exp over scores, relative to the largest: from the reference of the query, the
/// differences between them might drown. With `g = (max - score) / temperature`:
#[derive(Clone, Debug)]
pub struct LogSumExp {
    count: usize,
    weight: f64,
    max: f64,
    /// The sum of `factor exp(-size g)`.
    sum: f64,
    /// The sum of `weight (1 - exp(-size g))`, which keeps its digits where the size is
    /// [small](Power::is_small), and is 0 elsewhere.
    shortfall: f64,
    /// The sum of `weight g`.
    below: f64,
}

impl Default for LogSumExp {
    fn default() -> Self {
        Self {
            count: 0,
            weight: 0.0,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            shortfall: 0.0,
            below: 0.0,
        }
    }
}

impl LogSumExp {
    fn one(score: f64, factor: f64, weight: f64) -> Self {
        Self {
            count: 1,
            weight,
            max: score,
            sum: factor,
            shortfall: 0.0,
            below: 0.0,
        }
    }

    fn merge(&mut self, other: &Self, power: Power) {
        let rises = other.max > self.max;
        let (mut high, low) = match rises {
            true => (other.clone(), &*self),
            false => (self.clone(), other),
        };
        if low.count > 0 {
            // Nor do two infinities differ.
            let gap = match low.max == high.max {
                true => 0.0,
                false => relative(high.max, low.max, power.temperature),
            };
            let exponent = -power.size * gap;
            high.count += low.count;
            high.weight += low.weight;
            let share = exponent.exp();
            high.sum += low.sum * share;
            if power.is_small() {
                high.shortfall += low.shortfall * share - low.weight * exponent.exp_m1();
            }
            high.below += low.below + low.weight * gap;
        }
        *self = high;
    }

    /// How far it lies above the largest score.
    fn log(&self) -> f64 {
        match self.max == f64::NEG_INFINITY {
            true => f64::NAN,
            false => self.sum.ln(),
        }
    }

    /// How far it lies above a score.
    pub fn above(&self, score: f64, temperature: f64) -> f64 {
        relative(self.max, score, temperature) + self.log()
    }

    /// How far `log(sum / weight) / exponent` lies above a score; at the exponent 0 it is the mean.
    fn mean_above(&self, score: f64, power: Power) -> f64 {
        let share = self.shortfall / self.weight;
        let fall = match power.size {
            _ if self.max == f64::NEG_INFINITY => f64::NAN,
            0.0 => -self.below / self.weight,
            size if power.is_small() && share < 0.5 => (-share).ln_1p() / size,
            size => (self.sum / self.weight).ln() / size,
        };
        power.sign * (relative(self.max, power.sign * score, power.temperature) + fall)
    }

    /// The share of a score of factor 1, as its [`Power`] has it.
    pub fn share(&self, score: f64, power: Power) -> f64 {
        let gap = relative(self.max, power.sign * score, power.temperature);
        (-power.size * gap - self.log()).exp()
    }

    /// The share of a score of factor 1, times a weight. Of equal scores and the weight of
    /// all it is that of one, exactly: less this, nothing is left.
    pub fn softmax(&self, score: f64, temperature: f64, weight: f64) -> f64 {
        let gap = relative(self.max, score, temperature);
        weight * (-gap).exp() / self.sum
    }

    /// How far it lies above all the scores, summed with their weights: 0 for one of factor 1.
    pub fn excess(&self) -> f64 {
        self.below + self.weight * self.log()
    }
}

/// The first of the smallest values; NaN is the smallest of all.
#[derive(Clone, Debug, Default)]
pub struct Smallest(Option<(usize, f64)>);

impl Smallest {
    fn add(&mut self, column: usize, value: f64) {
        let better = self
            .0
            .is_none_or(|(_, best)| !best.is_nan() && (value < best || value.is_nan()));
        if better {
            self.0 = Some((column, value));
        }
    }

    fn merge(&mut self, later: &Self) {
        if let Some((column, value)) = later.0 {
            self.add(column, value);
        }
    }

    pub fn column(&self) -> Option<usize> {
        self.0.map(|(column, _)| column)
    }

    /// NaN if there is none.
    pub fn value(&self) -> f64 {
        self.0.map_or(f64::NAN, |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_scores_nothing_is_left_beside_their_shares() {
        let request = Request::new(0.07, &[Statistic::PositiveExcess]);
        for count in 1..200 {
            let mut positives = Positives::default();
            for column in 0..count {
                let positive = Positive {
                    column,
                    score: 0.7,
                    slope: 1.0,
                    weight: 1.0,
                };
                positives.add(positive, request);
            }
            let share = positives.plain.softmax(0.7, 0.07, positives.weight);
            assert_eq!(share, 1.0, "of {count}");
        }
    }
}
