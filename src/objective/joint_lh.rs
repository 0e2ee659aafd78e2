use burn::{config::Config, module::Module, tensor::Tensor};

use super::{Objective, assert_options, contrast, gap, inherent_forward, options, per_positive};
use crate::{
    FalseNegatives,
    statistics::{Request, Statistic, Statistics},
};

/// Configuration of [`JointLhLoss`].
#[derive(Config, Debug)]
pub struct JointLhLossConfig {
    /// The temperature, by which the scores are divided: from 9e-39 to 8e37. Default: 1.
    #[config(default = 1.0)]
    pub temperature: f64,
    /// Whether the loss of a query is divided by its number of positives. Default: false,
    /// which is the sum of the paper. In this sum a query weighs in proportion to its number
    /// of positives.
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

impl JointLhLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If the temperature is not positive and finite, or has no inverse in f32.
    /// - If the hardness is negative, or `hardness + 1 / temperature` is not below about 1e38.
    /// - If the margin of the false negatives is not finite.
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
/// It makes the scores of the positives equal: a positive that has more than `1/m` of the
/// likelihood is pushed down. The loss is at least `m log m`. Use it where every label is
/// right and all relevant documents should be found. `normalize_by_positives` divides the loss
/// by `m`.
///
/// A query without negatives has loss `sum_p (lse_P(s) - s_p)`.
/// [`Targets::with_weights`](crate::Targets::with_weights) has the formula with weights.
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
