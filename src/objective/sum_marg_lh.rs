use burn::{
    config::Config,
    module::{Content, DisplaySettings, Module, ModuleDisplay},
    tensor::Tensor,
};

use super::{
    Objective, assert_negatives, assert_temperature, contrast, gap, inherent_forward,
    log_positive_weights,
};
use crate::{
    FalseNegatives,
    statistics::{Request, Statistic, Statistics},
};

/// Configuration of [`SumMargLhLoss`].
#[derive(Config, Debug)]
pub struct SumMargLhLossConfig {
    /// What the scores are divided by. Default: 1.
    #[config(default = 1.0)]
    pub temperature: f64,
    /// How much harder negatives weigh more: by `exp(hardness * score)`, a constant, of the score before
    /// the temperature, which should be a cosine. Default: 0.
    #[config(default = 0.0)]
    pub hardness: f64,
    /// Which negatives are ignored because they score too high to be believed. Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl SumMargLhLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If the temperature is not positive and finite or has no inverse in f32, or if the hardness is
    /// negative or not finite, or the margin of false negatives not finite.
    pub fn init(&self) -> SumMargLhLoss {
        assert_temperature("SumMargLhLossConfig", self.temperature);
        assert_negatives("SumMargLhLossConfig", self.hardness, self.false_negatives);
        SumMargLhLoss {
            temperature: self.temperature,
            hardness: self.hardness,
            false_negatives: self.false_negatives,
        }
    }
}

/// SumMargLH, the negative log of the summed likelihood of the positives (also MIL-NCE).
///
/// For one query with positives `P`, negatives `N` and `s = score / temperature`:
///
/// ```text
/// loss = -log sum_p e^s_p / (sum_p e^s_p + sum_n e^s_n) = softplus(lse_N(s) - lse_P(s))
///
/// gradient   s_p   -(1 - P+) softmax_P(s)      P+ = the likelihood of all positives together
///            s_n   likelihood of n
/// ```
///
/// The strongest positive gets most of the gradient: one positive on top is enough. Use it where
/// any relevant document will do, or where some of the labels are wrong.
///
/// Source: "Training Dense Retrievers with Multiple Positive Passages" (arXiv 2602.12727), after
/// "Utility-Focused LLM Annotation for Retrieval and RAG" (arXiv 2504.05220).
#[doc(alias = "SumMargLH")]
#[doc(alias = "MIL-NCE")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct SumMargLhLoss {
    temperature: f64,
    hardness: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(SumMargLhLoss);

impl SumMargLhLoss {
    /// What the scores are divided by.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// How much harder negatives weigh more.
    pub fn hardness(&self) -> f64 {
        self.hardness
    }

    /// Which negatives are ignored because they score too high to be believed.
    pub fn false_negatives(&self) -> Option<FalseNegatives> {
        self.false_negatives
    }
}

impl Objective for SumMargLhLoss {
    fn request(&self) -> Request {
        let wanted = [Statistic::Negatives, Statistic::PositiveMean];
        Request::new(self.temperature, &wanted)
            .with_hardness(self.hardness)
            .with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        let gap = gap(Statistic::PositiveMean, statistics) - log_positive_weights(statistics);
        contrast(gap, statistics)
    }
}

impl ModuleDisplay for SumMargLhLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add("temperature", &self.temperature)
            .add("hardness", &self.hardness)
            .add(
                "false_negatives",
                format!("{:?}", self.false_negatives).as_str(),
            )
            .optional()
    }
}
