//! The positives of one query. They are few, so f64 and the standard library will do.

/// `(score - reference) / temperature`, by way of halves, whose difference is finite.
pub fn relative(score: f64, reference: f64, temperature: f64) -> f64 {
    (0.5 * score - 0.5 * reference) * (2.0 / temperature)
}

/// Log-sum-exp over scores, relative to the largest: from the reference of the query, the
/// differences between them might drown.
pub struct LogSumExp {
    max: f64,
    log: f64,
    temperature: f64,
}

impl LogSumExp {
    pub fn new(scores: impl Iterator<Item = f64> + Clone, temperature: f64) -> Self {
        let max = scores.clone().fold(f64::NEG_INFINITY, f64::max);
        let exp = scores.map(|score| relative(score, max, temperature).exp());
        let log = exp.sum::<f64>().ln();
        Self {
            max,
            log,
            temperature,
        }
    }

    /// How far it lies above a score.
    pub fn above(&self, score: f64) -> f64 {
        relative(self.max, score, self.temperature) + self.log
    }

    pub fn softmax(&self, score: f64) -> f64 {
        (-self.above(score)).exp()
    }
}

/// The position and the value of the first of the smallest; NaN is the smallest of all.
pub fn smallest(values: impl Iterator<Item = f64>) -> (usize, f64) {
    values
        .enumerate()
        .reduce(|best, next| {
            let better = next.1 < best.1 || next.1.is_nan();
            if better && !best.1.is_nan() {
                next
            } else {
                best
            }
        })
        .unwrap_or_default()
}
