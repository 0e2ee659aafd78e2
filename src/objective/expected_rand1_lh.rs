use burn::{config::Config, module::Module, tensor::Tensor};

use super::{Objective, assert_options, inherent_forward, options, per_positive};
use crate::{
    FalseNegatives,
    statistics::{Request, Statistic, Statistics},
};

/// Configuration of [`ExpectedRand1LhLoss`].
#[derive(Config, Debug)]
pub struct ExpectedRand1LhLossConfig {
    /// The temperature, by which the scores are divided: from 9e-39 to 8e37. Default: 1.
    #[config(default = 1.0)]
    pub temperature: f64,
    /// Whether the loss of a query is divided by its number of positives. If it is, the loss
    /// is the expectation, otherwise the sum. Default: true.
    #[config(default = true)]
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

impl ExpectedRand1LhLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If the temperature is not positive and finite, or has no inverse in f32.
    /// - If the hardness is negative, or `hardness + 1 / temperature` is not below about 1e38.
    /// - If the margin of the false negatives is not finite.
    pub fn init(&self) -> ExpectedRand1LhLoss {
        let Self {
            temperature,
            hardness,
            false_negatives,
            ..
        } = *self;
        assert_options(
            "ExpectedRand1LhLossConfig",
            temperature,
            hardness,
            false_negatives,
        );
        ExpectedRand1LhLoss {
            temperature,
            normalize_by_positives: self.normalize_by_positives,
            hardness,
            false_negatives,
        }
    }
}

/// The expectation of [`Rand1LhLoss`](crate::Rand1LhLoss): the mean of InfoNCE on each
/// positive, without the query's other positives in the denominator. Nothing is drawn, so the
/// loss has no variance.
///
/// For one query with `m` positives `P`, negatives `N` and `s = score / temperature`:
///
/// ```text
/// loss = 1/m sum_p -log e^s_p / (e^s_p + sum_n e^s_n) = 1/m sum_p softplus(lse_N(s) - s_p)
///
/// gradient   s_p   -1/m sigmoid(u_p)                        u_p = lse_N(s) - s_p
///            s_n    1/m sum_p sigmoid(u_p) softmax_N(s)
/// ```
///
/// Every positive is pulled up until it lies above the negatives by itself. Without
/// `normalize_by_positives` the loss is the sum in NT-Xent of pytorch-metric-learning and in
/// the unique softmax of rax and TF-Ranking. A query without negatives has loss 0. With
/// [weights](crate::Targets::with_weights) each term is multiplied by the weight of its
/// positive, and the sum is divided by the sum of these weights.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::ExpectedRand1LhLossConfig;
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[1.0, 1.0, 1.0]], &device);
/// let positives = Tensor::from_bool([[true, true, false]], &device);
///
/// let loss = ExpectedRand1LhLossConfig::new().init().forward(scores, positives);
/// assert!((loss.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
/// ```
#[doc(alias = "NTXent")]
#[doc(alias = "UniqueSoftmax")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ExpectedRand1LhLoss {
    temperature: f64,
    normalize_by_positives: bool,
    hardness: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(ExpectedRand1LhLoss);
options!(ExpectedRand1LhLoss: temperature, normalize_by_positives, hardness, false_negatives);

impl ExpectedRand1LhLoss {
    /// Whether the loss of a query is divided by its number of positives.
    pub fn normalize_by_positives(&self) -> bool {
        self.normalize_by_positives
    }
}

impl Objective for ExpectedRand1LhLoss {
    fn request(&self) -> Request {
        Request::new(self.temperature, &[Statistic::PositiveLosses])
            .with_hardness(self.hardness)
            .with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        let losses = statistics.get(Statistic::PositiveLosses);
        match self.normalize_by_positives {
            true => per_positive(losses, statistics),
            false => losses,
        }
    }
}
