use burn::{config::Config, module::Module, tensor::Tensor};

use super::{Objective, assert_options, display, inherent_forward};
use crate::{
    FalseNegatives,
    statistics::{Request, Statistic, Statistics},
};

/// Configuration of [`SigmoidLoss`].
#[derive(Config, Debug)]
pub struct SigmoidLossConfig {
    /// The temperature, by which the scores are divided: from 9e-39 to 8e37. Default: 0.1, the
    /// initial value of SigLIP. Set it to 1 if you use a
    /// [`LearnableTemperature`](crate::LearnableTemperature).
    #[config(default = 0.1)]
    pub temperature: f64,
    /// The bias, which is added after the division by the temperature. Choose it below 0,
    /// because most documents are negatives. It must be finite in f32. Default: -10, the
    /// initial value of SigLIP. Set it to 0 if you use a
    /// [`LearnableBias`](crate::LearnableBias).
    #[config(default = -10.0)]
    pub bias: f64,
    /// The rule by which suspected false negatives are ignored. Its margin must be finite.
    /// Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl SigmoidLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If the temperature is not positive and finite, or has no inverse in f32.
    /// - If the bias is not finite in f32.
    /// - If the margin of the false negatives is not finite.
    pub fn init(&self) -> SigmoidLoss {
        let Self {
            temperature,
            bias,
            false_negatives,
        } = *self;
        let config = "SigmoidLossConfig";
        assert_options(config, temperature, 0.0, false_negatives);
        assert!(
            (bias as f32).is_finite(),
            "{config}: bias must be finite in f32, got {bias}"
        );
        SigmoidLoss {
            temperature,
            bias,
            false_negatives,
        }
    }
}

/// The sigmoid loss of SigLIP: every pair of a query and a document is classified by itself,
/// as relevant or not.
///
/// For one query with positives `P`, negatives `N` and `z = score / temperature + bias`:
///
/// ```text
/// loss = sum_p softplus(-z_p) + sum_n softplus(z_n)
///
/// gradient   z_p   -sigmoid(-z_p)
///            z_n    sigmoid(z_n)
/// ```
///
/// Documents do not compete with each other: the loss depends on the level of the scores,
/// which should be cosines. Its mean over queries is SigLIP's mean over images. SigLIP learns
/// the temperature and the bias. To learn them, apply a
/// [`LearnableTemperature`](crate::LearnableTemperature) and a
/// [`LearnableBias`](crate::LearnableBias) to the scores, and set the temperature to 1 and the
/// bias to 0 here.
///
/// A query without negatives has only the first sum. As in every loss of this crate, a query
/// without a positive has loss 0, although its negatives could be classified. With
/// [weights](crate::Targets::with_weights) every term of a sum is multiplied by its weight.
///
/// Source: "Sigmoid Loss for Language Image Pre-Training" (arXiv 2303.15343).
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::SigmoidLossConfig;
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[1.0, 1.0]], &device);
/// let positives = Tensor::from_bool([[true, false]], &device);
///
/// // Relevant or not, the chances are even.
/// let loss = SigmoidLossConfig::new().init().forward(scores, positives);
/// assert!((loss.into_scalar::<f32>() - 2.0 * 2f32.ln()).abs() < 1e-5);
/// ```
#[doc(alias = "SigLIP")]
#[doc(alias = "BCE")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct SigmoidLoss {
    temperature: f64,
    bias: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(SigmoidLoss);
display!(SigmoidLoss: temperature, bias, false_negatives);

impl SigmoidLoss {
    /// The temperature, by which the scores are divided.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The bias, which is added after the division by the temperature.
    pub fn bias(&self) -> f64 {
        self.bias
    }

    /// The rule by which suspected false negatives are ignored, if there is one.
    pub fn false_negatives(&self) -> Option<FalseNegatives> {
        self.false_negatives
    }
}

impl Objective for SigmoidLoss {
    fn request(&self) -> Request {
        Request::new(self.temperature, &[Statistic::BinaryLosses])
            .with_bias(self.bias)
            .with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        statistics.get(Statistic::BinaryLosses)
    }
}
