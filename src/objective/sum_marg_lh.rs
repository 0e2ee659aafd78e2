use burn::{
    config::Config,
    module::{Content, DisplaySettings, Module, ModuleDisplay},
    tensor::Tensor,
};

use super::{Objective, assert_temperature, contrast, inherent_forward, likelihood_gap};
use crate::statistics::{Statistic, Statistics};

/// Configuration of [`SumMargLhLoss`].
#[derive(Config, Debug)]
pub struct SumMargLhLossConfig {
    /// What the scores are divided by. Default: 1.
    #[config(default = 1.0)]
    pub temperature: f64,
}

impl SumMargLhLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If the temperature is not positive and finite, or has no inverse in f32.
    pub fn init(&self) -> SumMargLhLoss {
        assert_temperature("SumMargLhLossConfig", self.temperature);
        SumMargLhLoss {
            temperature: self.temperature,
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
}

inherent_forward!(SumMargLhLoss);

impl SumMargLhLoss {
    /// What the scores are divided by.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }
}

impl Objective for SumMargLhLoss {
    fn temperature(&self) -> f64 {
        self.temperature
    }

    fn wanted(&self) -> Vec<Statistic> {
        vec![Statistic::Negatives, Statistic::Positives]
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        contrast(likelihood_gap(statistics), statistics)
    }
}

impl ModuleDisplay for SumMargLhLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content.add("temperature", &self.temperature).optional()
    }
}
