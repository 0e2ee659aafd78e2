use burn::{config::Config, module::Module, tensor::Tensor};

use super::{
    Objective, assert_options, contrast, gap, inherent_forward, log_positive_weights, options,
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
    /// How much harder negatives weigh more: by `exp(hardness * score)`, a constant, of the
    /// score before the temperature, which should be a cosine. Default: 0.
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
    /// If the temperature is not positive and finite or has no inverse in f32, or if the
    /// hardness is negative or too large, or the margin of false negatives not finite.
    pub fn init(&self) -> SumMargLhLoss {
        let Self {
            temperature,
            hardness,
            false_negatives,
            ..
        } = *self;
        assert_options(
            "SumMargLhLossConfig",
            temperature,
            hardness,
            false_negatives,
        );
        SumMargLhLoss {
            temperature,
            hardness,
            false_negatives,
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
/// any relevant document will do and labels are right.
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
options!(SumMargLhLoss: temperature, hardness, false_negatives);

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
