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
    /// The temperature, by which the scores are divided: from 9e-39 to 8e37. Default: 1.
    #[config(default = 1.0)]
    pub temperature: f64,
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

impl SumMargLhLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If the temperature is not positive and finite, or has no inverse in f32.
    /// - If the hardness is negative, or `hardness + 1 / temperature` is not below about 1e38.
    /// - If the margin of the false negatives is not finite.
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

/// SumMargLH, the negative log of the summed likelihood of the positives (also MIL-NCE, arXiv
/// 1912.06430).
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
/// The strongest positive gets most of the gradient: one positive on top is enough. Use it
/// where any relevant document will do and labels are right. A query without negatives has
/// loss 0. [`Targets::with_weights`](crate::Targets::with_weights) has the formula with
/// weights.
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
