use burn::{config::Config, module::Module, tensor::Tensor};

use super::{
    Objective, assert_options, contrast, inherent_forward, log_positive_weights, options,
    per_positive,
};
use crate::{
    FalseNegatives,
    statistics::{Request, Statistic, Statistics},
};

/// Which positives of a query enter [`LsePairLoss`].
#[derive(Config, Debug, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PositiveSelection {
    /// All of them.
    All,
    /// The one with the smallest score.
    Weakest,
    /// The one with the largest score.
    Strongest,
}

/// Which negatives of a query enter [`LsePairLoss`].
#[derive(Config, Debug, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NegativeSelection {
    /// All of them.
    All,
    /// The one with the largest score.
    Hardest,
}

/// Configuration of [`LsePairLoss`].
#[derive(Config, Debug)]
pub struct LsePairLossConfig {
    /// The temperature, by which the scores are divided: from 9e-39 to 8e37. Default: 1.
    #[config(default = 1.0)]
    pub temperature: f64,
    /// The margin by which a positive should lie above a negative, in the unit of the scores.
    /// It must be finite, and finite in f32 once divided by the temperature. Default: 0.
    #[config(default = 0.0)]
    pub margin: f64,
    /// Which positives of a query enter the loss. Default: all.
    #[config(default = "PositiveSelection::All")]
    pub positives: PositiveSelection,
    /// Which negatives of a query enter the loss. Default: all.
    #[config(default = "NegativeSelection::All")]
    pub negatives: NegativeSelection,
    /// Whether the loss of a query is divided by its number of positives. Default: false.
    #[config(default = false)]
    pub normalize_by_positives: bool,
    /// The hardness of the negatives: each one is weighted by `exp(hardness * score)`. The
    /// score is the one before the division by the temperature, and should be a cosine. The
    /// weight is a constant: no gradient flows through it. The hardness must not be negative,
    /// and `hardness + 1 / temperature` must be below about 1e38. Default: 0.
    #[config(default = 0.0)]
    pub hardness: f64,
    /// The rule by which suspected false negatives are ignored. Its margin must be finite.
    /// Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl LsePairLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If the temperature is not positive and finite, or has no inverse in f32.
    /// - If the margin is not finite, or not finite in f32 once divided by the temperature.
    /// - If the hardness is negative, or `hardness + 1 / temperature` is not below about 1e38.
    /// - If the margin of the false negatives is not finite.
    pub fn init(&self) -> LsePairLoss {
        let Self {
            temperature,
            hardness,
            false_negatives,
            ..
        } = *self;
        assert_options("LsePairLossConfig", temperature, hardness, false_negatives);
        assert!(
            self.margin.is_finite(),
            "LsePairLossConfig: margin must be finite, got {}",
            self.margin
        );
        assert!(
            ((self.margin / self.temperature) as f32).is_finite(),
            "LsePairLossConfig: margin must be finite in f32 when divided by the temperature {}, got {}",
            self.temperature,
            self.margin
        );
        LsePairLoss {
            temperature,
            margin: self.margin,
            positives: self.positives,
            negatives: self.negatives,
            normalize_by_positives: self.normalize_by_positives,
            hardness,
            false_negatives,
        }
    }
}

/// LSEPair, the smooth maximum of all violations between a positive and a negative.
///
/// For one query with positives `P`, negatives `N` and `s = score / temperature`:
///
/// ```text
/// loss = log(1 + sum_p sum_n exp(s_n - s_p)) = softplus(u),   u = lse_N(s) + lse_P(-s)
///
/// gradient   s_p   -sigmoid(u) softmax_P(-s)
///            s_n    sigmoid(u) softmax_N(s)
/// ```
///
/// The weakest positives get most of the gradient, in proportion to `exp(-s_p)`. The gradients
/// on the positives of a query and those on its negatives have the same total size,
/// `sigmoid(u)`, which is at most 1. LSEPair is the most robust of the objectives if wrong
/// labels are documents near the query, as in the paper. If they are random documents,
/// [`JointLhLoss`](crate::JointLhLoss) is the most robust.
///
/// - A `margin` enlarges the violations to `exp((score_n - score_p + margin) / temperature)`.
/// - [`PositiveSelection`] and [`NegativeSelection`] replace a sum by one of its terms. Among
///   equal scores the first gets the gradient.
/// - `normalize_by_positives` divides the loss of a query by its number of positives.
///
/// A query without negatives has loss 0.
/// [`Targets::with_weights`](crate::Targets::with_weights) has the formula with weights.
///
/// Source: "Training Dense Retrievers with Multiple Positive Passages" (arXiv 2602.12727).
#[doc(alias = "LSEPair")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LsePairLoss {
    temperature: f64,
    margin: f64,
    #[module(skip)]
    positives: PositiveSelection,
    #[module(skip)]
    negatives: NegativeSelection,
    normalize_by_positives: bool,
    hardness: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(LsePairLoss);
options!(LsePairLoss: temperature, margin, positives, negatives, normalize_by_positives, hardness, false_negatives);

impl LsePairLoss {
    /// The margin by which a positive should lie above a negative.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// Which positives of a query enter the loss.
    pub fn positives(&self) -> PositiveSelection {
        self.positives
    }

    /// Which negatives of a query enter the loss.
    pub fn negatives(&self) -> NegativeSelection {
        self.negatives
    }

    /// Whether the loss of a query is divided by its number of positives.
    pub fn normalize_by_positives(&self) -> bool {
        self.normalize_by_positives
    }

    fn positive_statistic(&self) -> Statistic {
        match self.positives {
            PositiveSelection::All => Statistic::PositiveMean,
            PositiveSelection::Weakest => Statistic::WeakestPositive,
            PositiveSelection::Strongest => Statistic::StrongestPositive,
        }
    }

    fn negative_statistic(&self) -> Statistic {
        match self.negatives {
            NegativeSelection::All => Statistic::Negatives,
            NegativeSelection::Hardest => Statistic::HardestNegative,
        }
    }
}

impl Objective for LsePairLoss {
    fn request(&self) -> Request {
        let wanted = [self.negative_statistic(), self.positive_statistic()];
        Request::new(self.temperature, &wanted)
            .with_exponent(-1.0)
            .with_hardness(self.hardness)
            .with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        let negatives = statistics.get(self.negative_statistic());
        let gap = negatives - statistics.get(self.positive_statistic());
        let gap = match self.positives {
            PositiveSelection::All => gap + log_positive_weights(statistics),
            PositiveSelection::Weakest | PositiveSelection::Strongest => gap,
        };
        let gap = match self.margin {
            0.0 => gap,
            margin => gap + margin / self.temperature,
        };
        let losses = contrast(gap, statistics);
        match self.normalize_by_positives {
            true => per_positive(losses, statistics),
            false => losses,
        }
    }
}
