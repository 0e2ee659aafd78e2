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
    /// What the scores are divided by. Default: 1.
    #[config(default = 1.0)]
    pub temperature: f64,
    /// How far a positive should lie above a negative, in the unit of the scores. Default: 0.
    #[config(default = 0.0)]
    pub margin: f64,
    /// The positives that enter. Default: all.
    #[config(default = "PositiveSelection::All")]
    pub positives: PositiveSelection,
    /// The negatives that enter. Default: all.
    #[config(default = "NegativeSelection::All")]
    pub negatives: NegativeSelection,
    /// Divides the loss of a query by its number of positives. Default: false.
    #[config(default = false)]
    pub normalize_by_positives: bool,
    /// How much harder negatives weigh more: by `exp(hardness * score)`, a constant, of the
    /// score before the temperature, which should be a cosine. Default: 0.
    #[config(default = 0.0)]
    pub hardness: f64,
    /// Which negatives are ignored because they score too high to be believed. Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl LsePairLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If the temperature is not positive and finite or has no inverse in f32, or if the
    /// margin is not finite or not in f32 once divided by the temperature, or if the hardness
    /// is negative or too large, or the margin of false negatives not finite.
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
/// The weak positives get most of the gradient, in proportion to `exp(-s_p)`, and a query pulls
/// and pushes with the same total force of at most 1. It is the most robust of the objectives where
/// wrong labels are documents near to the query, as in the paper; where they are random ones,
/// [`JointLhLoss`](crate::JointLhLoss) is.
///
/// - A `margin` enlarges the violations to `exp((score_n - score_p + margin) / temperature)`.
/// - [`PositiveSelection`] and [`NegativeSelection`] replace a sum by its largest term; among
///   equal scores the first gets the gradient.
/// - `normalize_by_positives` divides the loss of a query by its number of positives.
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
    /// How far a positive should lie above a negative.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// The positives that enter.
    pub fn positives(&self) -> PositiveSelection {
        self.positives
    }

    /// The negatives that enter.
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
