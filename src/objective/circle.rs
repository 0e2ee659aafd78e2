use burn::{config::Config, module::Module, tensor::Tensor};

use super::{
    Objective, assert_options, contrast, display, gap, inherent_forward, log_positive_weights,
};
use crate::{
    FalseNegatives,
    statistics::{Curve, Request, Statistic, Statistics},
};

/// Configuration of [`CircleLoss`].
#[derive(Config, Debug)]
pub struct CircleLossConfig {
    /// The scale, by which the weighted scores are multiplied: from 1e-37 to 1e38.
    /// Default: 80. The paper uses 256 for faces.
    #[config(default = 80.0)]
    pub gamma: f64,
    /// The margin: how far positives may stay below 1, and negatives above 0. It must be
    /// finite in f32. Default: 0.4. The paper uses 0.25 for faces.
    #[config(default = 0.4)]
    pub margin: f64,
    /// The rule by which suspected false negatives are ignored. Its margin must be finite.
    /// Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl CircleLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If `gamma` does not lie between 1e-37 and 1e38.
    /// - If the margin is not finite in f32.
    /// - If the margin of the false negatives is not finite.
    pub fn init(&self) -> CircleLoss {
        let Self {
            gamma,
            margin,
            false_negatives,
        } = *self;
        let config = "CircleLossConfig";
        assert!(
            (1e-37..=1e38).contains(&gamma),
            "{config}: gamma must be positive and finite, between 1e-37 and 1e38, got {gamma}"
        );
        assert!(
            (margin as f32).is_finite(),
            "{config}: margin must be finite in f32, got {margin}"
        );
        assert_options(config, 1.0 / gamma, 0.0, false_negatives);
        CircleLoss {
            gamma,
            margin,
            false_negatives,
        }
    }
}

/// Circle loss: LSEPair on scores that are weighted by their distance from an optimum.
///
/// For one query with positives `P`, negatives `N`, scores `s` and the margin `m`:
///
/// ```text
/// loss = softplus(lse_N(gamma a_n (s_n - m)) + lse_P(-gamma a_p (s_p - 1 + m)))
///
/// a_n = max(s_n + m, 0)    a_p = max(1 + m - s_p, 0)    constants
///
/// gradient   s_p   -gamma a_p sigmoid(u) softmax_P(-gamma a_p (s_p - 1 + m))    u the sum inside
///            s_n    gamma a_n sigmoid(u) softmax_N(gamma a_n (s_n - m))
/// ```
///
/// Scores should be cosines. With `m` = 0.4 the optimum of a positive is 1.4, and that of a
/// negative -0.4. A query without negatives has loss 0. With
/// [weights](crate::Targets::with_weights) every term of a sum is multiplied by its weight.
///
/// Source: "Circle Loss: A Unified Perspective of Pair Similarity Optimization" (arXiv
/// 2002.10857).
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::CircleLossConfig;
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[0.6, 0.4]], &device);
/// let positives = Tensor::from_bool([[true, false]], &device);
///
/// // Both lie at their margins.
/// let loss = CircleLossConfig::new().init().forward(scores, positives);
/// assert!((loss.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct CircleLoss {
    gamma: f64,
    margin: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(CircleLoss);
display!(CircleLoss: gamma, margin, false_negatives);

impl CircleLoss {
    /// The scale, by which the weighted scores are multiplied.
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// The margin: how far positives may stay below 1, and negatives above 0.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// The rule by which suspected false negatives are ignored, if there is one.
    pub fn false_negatives(&self) -> Option<FalseNegatives> {
        self.false_negatives
    }
}

impl Objective for CircleLoss {
    fn request(&self) -> Request {
        let wanted = [Statistic::Negatives, Statistic::PositiveMean];
        Request::new(1.0 / self.gamma, &wanted)
            .with_curve(Curve::circle(self.margin))
            .with_exponent(-1.0)
            .with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        // The sum over the positives, not their mean.
        let gap = gap(Statistic::PositiveMean, statistics) + log_positive_weights(statistics);
        contrast(gap, statistics)
    }
}
