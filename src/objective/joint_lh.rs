use burn::{config::Config, module::Module, tensor::Tensor};

use super::{Objective, assert_options, contrast, gap, inherent_forward, options, per_positive};
use crate::{
    FalseNegatives,
    statistics::{Request, Statistic, Statistics},
};

/// Configuration of [`JointLhLoss`].
#[derive(Config, Debug)]
pub struct JointLhLossConfig {
    /// What the scores are divided by. Default: 1.
    #[config(default = 1.0)]
    pub temperature: f64,
    /// Divides the loss of a query by its number of positives. Default: false, the paper's sum,
    /// in which a query weighs in proportion to its number of positives.
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

impl JointLhLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If the temperature is not positive and finite or has no inverse in f32, or if the
    /// hardness is negative or too large, or the margin of false negatives not finite.
    pub fn init(&self) -> JointLhLoss {
        let Self {
            temperature,
            hardness,
            false_negatives,
            ..
        } = *self;
        assert_options("JointLhLossConfig", temperature, hardness, false_negatives);
        JointLhLoss {
            temperature,
            normalize_by_positives: self.normalize_by_positives,
            hardness,
            false_negatives,
        }
    }
}

/// JointLH, the negative log of the product of the likelihoods of the positives (SupCon's
/// `L_out`, times the number of positives).
///
/// For one query with `m` positives `P`, negatives `N` and `s = score / temperature`:
///
/// ```text
/// loss = -sum_p log (e^s_p / (sum_P e^s + sum_N e^s)) = m lse_PN(s) - sum_p s_p
///      = m softplus(lse_N(s) - lse_P(s)) + sum_p (lse_P(s) - s_p)
///
/// gradient   s_p   m P_p - 1       P_d = the likelihood of d
///            s_n   m P_n
/// ```
///
/// It makes the positives equal: one that holds more than `1/m` of the likelihood is pushed down,
/// and the loss cannot fall below `m log m`. Use it where every label is right and all relevant
/// documents are to be found; `normalize_by_positives` divides by `m`.
///
/// Source: "Training Dense Retrievers with Multiple Positive Passages" (arXiv 2602.12727).
#[doc(alias = "JointLH")]
#[doc(alias = "SupCon")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct JointLhLoss {
    temperature: f64,
    normalize_by_positives: bool,
    hardness: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(JointLhLoss);
options!(JointLhLoss: temperature, normalize_by_positives, hardness, false_negatives);

impl JointLhLoss {
    /// Whether the loss of a query is divided by its number of positives.
    pub fn normalize_by_positives(&self) -> bool {
        self.normalize_by_positives
    }
}

impl Objective for JointLhLoss {
    fn request(&self) -> Request {
        let wanted = [
            Statistic::Negatives,
            Statistic::UnweightedPositives,
            Statistic::PositiveExcess,
        ];
        Request::new(self.temperature, &wanted)
            .with_hardness(self.hardness)
            .with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        let contrast = contrast(gap(Statistic::UnweightedPositives, statistics), statistics);
        let excess = statistics.get(Statistic::PositiveExcess);
        if self.normalize_by_positives {
            contrast + per_positive(excess, statistics)
        } else {
            contrast * statistics.positive_weights() + excess
        }
    }
}
