use burn::{config::Config, module::Module, tensor::Tensor};

use super::{Objective, assert_options, gap, inherent_forward, options, with_negatives};
use crate::{
    FalseNegatives,
    statistics::{Request, Statistic, Statistics},
};

/// Configuration of [`DclLoss`].
#[derive(Config, Debug)]
pub struct DclLossConfig {
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

impl DclLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If the temperature is not positive and finite, or has no inverse in f32.
    /// - If the hardness is negative, or `hardness + 1 / temperature` is not below about 1e38.
    /// - If the margin of the false negatives is not finite.
    pub fn init(&self) -> DclLoss {
        let Self {
            temperature,
            hardness,
            false_negatives,
        } = *self;
        assert_options("DclLossConfig", temperature, hardness, false_negatives);
        DclLoss {
            temperature,
            hardness,
            false_negatives,
        }
    }
}

/// Decoupled contrastive learning: InfoNCE without the positive in the denominator.
///
/// For one query with `m` positives `P`, negatives `N` and `s = score / temperature`:
///
/// ```text
/// loss = 1/m sum_p -log e^s_p / sum_n e^s_n = lse_N(s) - mean_P(s)
///
/// gradient   s_p   -1/m
///            s_n   softmax_N(s)
/// ```
///
/// The gradient does not vanish for a query that is ranked correctly already. The loss has no
/// lower bound, so use it where scores are cosines. A query without negatives has loss 0. With
/// [weights](crate::Targets::with_weights) the mean over the positives and the sum over the
/// negatives are weighted.
///
/// Source: "Decoupled Contrastive Learning" (arXiv 2110.06848), for one positive.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::DclLossConfig;
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[0.5, 0.1, 0.1]], &device);
/// let positives = Tensor::from_bool([[true, false, false]], &device);
///
/// let loss = DclLossConfig::new().init().forward(scores, positives);
/// assert!((loss.into_scalar::<f32>() - (2f32.ln() - 0.4)).abs() < 1e-6);
/// ```
#[doc(alias = "DCL")]
#[doc(alias = "DecoupledContrastive")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct DclLoss {
    temperature: f64,
    hardness: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(DclLoss);
options!(DclLoss: temperature, hardness, false_negatives);

impl Objective for DclLoss {
    fn request(&self) -> Request {
        let wanted = [Statistic::Negatives, Statistic::PositiveMean];
        Request::new(self.temperature, &wanted)
            .with_exponent(0.0)
            .with_hardness(self.hardness)
            .with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        with_negatives(gap(Statistic::PositiveMean, statistics), statistics)
    }
}
