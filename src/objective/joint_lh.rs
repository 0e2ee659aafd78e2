use burn::{
    config::Config,
    module::{Content, DisplaySettings, Module, ModuleDisplay},
    tensor::Tensor,
};

use super::{Objective, assert_temperature, contrast, inherent_forward, likelihood_gap};
use crate::statistics::{Statistic, Statistics};

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
}

impl JointLhLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If the temperature is not positive and finite, or has no inverse in f32.
    pub fn init(&self) -> JointLhLoss {
        assert_temperature("JointLhLossConfig", self.temperature);
        JointLhLoss {
            temperature: self.temperature,
            normalize_by_positives: self.normalize_by_positives,
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
}

inherent_forward!(JointLhLoss);

impl JointLhLoss {
    /// What the scores are divided by.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// Whether the loss of a query is divided by its number of positives.
    pub fn normalize_by_positives(&self) -> bool {
        self.normalize_by_positives
    }
}

impl Objective for JointLhLoss {
    fn temperature(&self) -> f64 {
        self.temperature
    }

    fn wanted(&self) -> Vec<Statistic> {
        vec![
            Statistic::Negatives,
            Statistic::Positives,
            Statistic::PositiveExcess,
        ]
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        let positives = statistics.positive_counts();
        let contrast = contrast(likelihood_gap(statistics), statistics);
        let excess = statistics.get(Statistic::PositiveExcess);
        if self.normalize_by_positives {
            contrast + excess / positives.clamp_min(1.0)
        } else {
            contrast * positives + excess
        }
    }
}

impl ModuleDisplay for JointLhLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add("temperature", &self.temperature)
            .add("normalize_by_positives", &self.normalize_by_positives)
            .optional()
    }
}
