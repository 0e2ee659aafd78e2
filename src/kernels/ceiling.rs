//! Negatives that score too high to be believed.

use burn::config::Config;

/// The score of a query's positives that its negatives are compared with.
#[derive(Config, Debug, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PositiveThreshold {
    /// The smallest score.
    Weakest,
    /// The largest score.
    Strongest,
    /// The arithmetic mean of the scores.
    Mean,
}

/// The rule for suspected false negatives: a negative that scores too high is taken for a
/// positive that nobody labelled, and is ignored. Its score is compared with a bound, which is
/// computed from `t`, a score of its query's positives.
///
/// ```text
/// absolute margin     score > t + margin          0.1: Qwen3-Embedding (arXiv 2506.05176)
/// relative margin     score > t - margin |t|      0.05: NV-Retriever (arXiv 2407.15831), which keeps
///                                                 negatives of less than 95% of the positive's score
/// ```
///
/// The scores are those before the division by the temperature. They are constants: no
/// gradient flows through the decision. Positives are never ignored. If the score of a
/// positive is NaN, no negative of its query is ignored.
///
/// If scores come from embeddings, a score that equals the bound up to rounding may fall on
/// either side. So let [ids](crate::Targets::from_ids) say which documents are copies of a
/// positive.
///
/// # Example
///
/// ```
/// use burn_multi_positive::{FalseNegatives, LsePairLossConfig, PositiveThreshold};
///
/// let false_negatives = FalseNegatives::new(PositiveThreshold::Weakest).with_margin(0.1);
/// let loss_fn = LsePairLossConfig::new()
///     .with_temperature(0.05)
///     .with_false_negatives(Some(false_negatives))
///     .init();
/// ```
#[derive(Config, Debug, Copy, PartialEq)]
pub struct FalseNegatives {
    /// The score of the positives that is `t`.
    pub threshold: PositiveThreshold,
    /// The distance of the bound from `t`, which must be finite. An absolute margin is added
    /// to `t`, in the unit of the scores. A relative margin is a share of `|t|`, and is
    /// subtracted from `t`. Default: 0.
    #[config(default = 0.0)]
    pub margin: f64,
    /// Whether the margin is a share of `|t|`. Default: false.
    #[config(default = false)]
    pub relative: bool,
}

impl FalseNegatives {
    /// Panics unless the margin is finite.
    pub(crate) fn assert_finite(&self, who: &str) {
        assert!(
            self.margin.is_finite(),
            "{who}: expected a finite margin, got {}",
            self.margin
        );
    }

    /// The largest score that is believed.
    #[cfg(feature = "cpu")]
    pub(crate) fn ceiling(&self, scores: impl ExactSizeIterator<Item = f64>) -> f64 {
        let count = scores.len() as f64;
        // Not `min` and `max`, which pass over NaN.
        let pick = |better: fn(f64, f64) -> bool| {
            move |a: f64, b: f64| if better(b, a) || b.is_nan() { b } else { a }
        };
        let threshold = match self.threshold {
            PositiveThreshold::Weakest => scores.reduce(pick(|b, a| b < a)),
            PositiveThreshold::Strongest => scores.reduce(pick(|b, a| b > a)),
            PositiveThreshold::Mean => scores.reduce(|a, b| a + b).map(|sum| sum / count),
        };
        let threshold = threshold.unwrap_or(f64::NAN);
        match self.relative {
            true => threshold - self.margin * threshold.abs(),
            false => threshold + self.margin,
        }
    }
}
