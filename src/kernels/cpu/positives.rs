//! The positives of one query. They are few, so f64 and the standard library will do.

use crate::kernels::table::{Request, Statistic};

/// `(score - reference) / temperature`, by way of halves, whose difference is finite.
pub fn relative(score: f64, reference: f64, temperature: f64) -> f64 {
    (0.5 * score - 0.5 * reference) * (2.0 / temperature)
}

/// The positives seen so far.
#[derive(Clone, Debug)]
pub struct Positives {
    pub count: usize,
    /// The largest score; passes over NaN.
    pub max: f64,
    /// Over the scores.
    pub strong: LogSumExp,
    /// Over the negated scores.
    pub weak: LogSumExp,
    pub weakest: Smallest,
    /// Of the negated scores.
    pub strongest: Smallest,
}

impl Default for Positives {
    fn default() -> Self {
        Self {
            count: 0,
            max: f64::NEG_INFINITY,
            strong: LogSumExp::default(),
            weak: LogSumExp::default(),
            weakest: Smallest::default(),
            strongest: Smallest::default(),
        }
    }
}

impl Positives {
    pub fn add(&mut self, column: usize, score: f64, request: Request) {
        self.count += 1;
        self.max = self.max.max(score);
        if request.wants(Statistic::Positives) || request.wants(Statistic::PositiveExcess) {
            self.strong.add(score, request.temperature);
        }
        if request.wants(Statistic::WeakPositives) {
            self.weak.add(-score, request.temperature);
        }
        self.weakest.add(column, score);
        self.strongest.add(column, -score);
    }

    /// Adds what was seen of later columns.
    pub fn merge(&mut self, later: &Self, temperature: f64) {
        self.count += later.count;
        self.max = self.max.max(later.max);
        self.strong.merge(&later.strong, temperature);
        self.weak.merge(&later.weak, temperature);
        self.weakest.merge(&later.weakest);
        self.strongest.merge(&later.strongest);
    }
}

/// Log-sum-exp over scores, relative to the largest: from the reference of the query, the
/// differences between them might drown.
#[derive(Clone, Debug)]
pub struct LogSumExp {
    count: f64,
    max: f64,
    /// The sum of `exp((score - max) / temperature)`.
    sum: f64,
    /// The sum of `(max - score) / temperature`.
    below: f64,
}

impl Default for LogSumExp {
    fn default() -> Self {
        Self {
            count: 0.0,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            below: 0.0,
        }
    }
}

impl LogSumExp {
    fn add(&mut self, score: f64, temperature: f64) {
        let one = Self {
            count: 1.0,
            max: score,
            sum: 1.0,
            below: 0.0,
        };
        self.merge(&one, temperature);
    }

    fn merge(&mut self, other: &Self, temperature: f64) {
        let rises = other.max > self.max;
        let (mut high, low) = match rises {
            true => (other.clone(), &*self),
            false => (self.clone(), other),
        };
        if low.count > 0.0 {
            // Nor do two infinities differ.
            let gap = match low.max == high.max {
                true => 0.0,
                false => relative(high.max, low.max, temperature),
            };
            high.count += low.count;
            high.sum += low.sum * (-gap).exp();
            high.below += low.below + low.count * gap;
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

    pub fn softmax(&self, score: f64, temperature: f64) -> f64 {
        (-self.above(score, temperature)).exp()
    }

    /// How far it lies above all the scores, summed: 0 for one.
    pub fn excess(&self) -> f64 {
        self.below + self.count * self.log()
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
