use burn::{config::Config, module::Module, tensor::Tensor};

use super::{
    Objective, assert_options, contrast, gap, inherent_forward, log_positive_weights, options,
};
use crate::{
    FalseNegatives,
    statistics::{Request, Statistic, Statistics},
};

/// Configuration of [`PowerMeanLoss`].
#[derive(Config, Debug)]
pub struct PowerMeanLossConfig {
    /// The exponent of the mean over the positives: the larger it is, the more the strongest
    /// positives count. Minus infinity selects the weakest positive, and infinity the
    /// strongest. NaN is not allowed. Unless the loss is `normalized`, the exponent must not
    /// be 0, and must have an inverse in f32. Default: -1, which is LSEPair.
    #[config(default = "-1.0")]
    pub exponent: f64,
    /// The temperature, by which the scores are divided: from 9e-39 to 8e37. Default: 1.
    #[config(default = 1.0)]
    pub temperature: f64,
    /// Whether the positives are averaged instead of summed, so that their number has no
    /// influence. Default: false.
    #[config(default = false)]
    pub normalized: bool,
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

impl PowerMeanLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If the exponent is NaN.
    /// - If the loss is not normalized, and the exponent is 0 or has no inverse in f32.
    /// - If the temperature is not positive and finite, or has no inverse in f32.
    /// - If the hardness is negative, or `hardness + 1 / temperature` is not below about 1e38.
    /// - If the margin of the false negatives is not finite.
    pub fn init(&self) -> PowerMeanLoss {
        let Self {
            temperature,
            hardness,
            false_negatives,
            ..
        } = *self;
        assert_options(
            "PowerMeanLossConfig",
            temperature,
            hardness,
            false_negatives,
        );
        let exponent = self.exponent;
        assert!(
            !exponent.is_nan(),
            "PowerMeanLossConfig: exponent must be a number, got {exponent}"
        );
        assert!(
            self.normalized || ((1.0 / exponent) as f32).is_finite(),
            "PowerMeanLossConfig: exponent must not be 0 and must have an inverse in f32 unless the loss is \
             normalized, got {exponent}"
        );
        PowerMeanLoss {
            exponent,
            temperature,
            normalized: self.normalized,
            hardness,
            false_negatives,
        }
    }
}

/// The family of losses that contains LSEPair and SumMargLH: all negatives against an
/// exponential mean of the positives.
///
/// For one query with `m` positives `P`, negatives `N`, `s = score / temperature` and the
/// exponent `b`:
///
/// ```text
/// loss = softplus(u),   u = lse_N(s) - A_b,   A_b = lse_P(b s) / b
///        normalized     u = lse_N(s) - M_b,   M_b = A_b - log(m) / b
///
/// gradient   s_p   -sigmoid(u) softmax_P(b s)
///            s_n    sigmoid(u) softmax_N(s)
/// ```
///
/// | `b` | `A_b` | loss |
/// |---|---|---|
/// | minus infinity | the weakest positive | [`LsePairLoss`](crate::LsePairLoss) of the weakest |
/// | -1 | `-lse_P(-s)` | `LsePairLoss` |
/// | 0 | normalized: the mean score | |
/// | 1 | `lse_P(s)` | [`SumMargLhLoss`](crate::SumMargLhLoss) |
/// | infinity | the strongest positive | `LsePairLoss` of the strongest |
///
/// `M_b` increases with `b`, so the normalized loss decreases. A small `b` demands that all
/// positives are found. A large `b` is satisfied with one of them. At the two infinite
/// exponents the first of equal scores gets the gradient. A query without negatives has
/// loss 0. With [weights](crate::Targets::with_weights) `w`, `A_b = lse_P(b s + log w) / b`,
/// and the sum of the weights of the positives replaces `m`.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::PowerMeanLossConfig;
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[0.9, 0.5, 0.3]], &device);
/// let positives = Tensor::from_bool([[true, true, false]], &device);
///
/// let losses = [-4.0, 0.0, 4.0].map(|exponent| {
///     let config = PowerMeanLossConfig::new().with_exponent(exponent);
///     let loss_fn = config.with_normalized(true).with_temperature(0.1).init();
///     loss_fn.forward(scores.clone(), positives.clone()).into_scalar::<f32>()
/// });
/// assert!(losses[0] > losses[1] && losses[1] > losses[2]);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct PowerMeanLoss {
    exponent: f64,
    temperature: f64,
    normalized: bool,
    hardness: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(PowerMeanLoss);
options!(PowerMeanLoss: exponent, temperature, normalized, hardness, false_negatives);

impl PowerMeanLoss {
    /// The exponent of the mean over the positives.
    pub fn exponent(&self) -> f64 {
        self.exponent
    }

    /// Whether the positives are averaged instead of summed.
    pub fn normalized(&self) -> bool {
        self.normalized
    }

    fn positive_statistic(&self) -> Statistic {
        match self.exponent {
            f64::INFINITY => Statistic::StrongestPositive,
            f64::NEG_INFINITY => Statistic::WeakestPositive,
            _ => Statistic::PositiveMean,
        }
    }
}

impl Objective for PowerMeanLoss {
    fn request(&self) -> Request {
        let wanted = [Statistic::Negatives, self.positive_statistic()];
        let request = Request::new(self.temperature, &wanted)
            .with_hardness(self.hardness)
            .with_false_negatives(self.false_negatives);
        match self.exponent.is_finite() {
            true => request.with_exponent(self.exponent),
            false => request,
        }
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        let gap = gap(self.positive_statistic(), statistics);
        let gap = match self.normalized || self.exponent.is_infinite() {
            true => gap,
            false => gap - log_positive_weights(statistics) / self.exponent,
        };
        contrast(gap, statistics)
    }
}
