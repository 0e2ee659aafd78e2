use burn::{config::Config, module::Module, tensor::Tensor};

use super::{Objective, assert_options, display, inherent_forward, per_positive};
use crate::{
    FalseNegatives,
    statistics::{Curve, Request, Statistic, Statistics},
};

/// Configuration of [`FocalInfoNceLoss`].
#[derive(Config, Debug)]
pub struct FocalInfoNceLossConfig {
    /// What the products of scores are divided by. Default: 0.05, its authors'.
    #[config(default = 0.05)]
    pub temperature: f64,
    /// What is added to the score of a negative, in one of its two factors. Default: 0.3, its
    /// authors'.
    #[config(default = 0.3)]
    pub margin: f64,
    /// Which negatives are ignored because they score too high to be believed. Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl FocalInfoNceLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If the temperature is not positive and finite or has no inverse in f32, or if the
    /// margin is not finite in f32, or that of false negatives not finite.
    pub fn init(&self) -> FocalInfoNceLoss {
        let Self {
            temperature,
            margin,
            false_negatives,
        } = *self;
        let config = "FocalInfoNceLossConfig";
        assert_options(config, temperature, 0.0, false_negatives);
        assert!(
            (margin as f32).is_finite(),
            "{config}: margin must be finite in f32, got {margin}"
        );
        FocalInfoNceLoss {
            temperature,
            margin,
            false_negatives,
        }
    }
}

/// Focal InfoNCE: InfoNCE on squares, in which hard negatives weigh more and easy ones less.
///
/// For one query with `m` positives `P`, negatives `N`, scores `s` and temperature `T`:
///
/// ```text
/// loss = 1/m sum_p softplus(lse_N(z) - z_p)
///
/// z_p = s_p^2 / T    z_n = s_n (s_n + margin) / T
///
/// gradient   s_p   -1/m sigmoid(u_p) 2 s_p / T                  u_p = lse_N(z) - z_p
///            s_n    1/m sum_p sigmoid(u_p) softmax_N(z) (2 s_n + margin) / T
/// ```
///
/// Scores should be cosines. Mind the squares: a positive below 0 is pushed further down, and a
/// negative below `-margin / 2` is pulled up. Minus infinity stays what it is, below all other
/// scores. A query without negatives
/// has loss 0. With [weights](crate::Targets::with_weights) the terms are weighed and divided
/// by the sum of the weights.
///
/// Source: "Improving Contrastive Learning of Sentence Embeddings with Focal-InfoNCE" (arXiv
/// 2310.06918) for one positive, after its authors' code.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::FocalInfoNceLossConfig;
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[0.5, 0.25]], &device);
/// let positives = Tensor::from_bool([[true, false]], &device);
///
/// // 0.5^2 = 0.25 (0.25 + 0.75)
/// let loss_fn = FocalInfoNceLossConfig::new().with_margin(0.75).init();
/// let loss = loss_fn.forward(scores, positives);
/// assert!((loss.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct FocalInfoNceLoss {
    temperature: f64,
    margin: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(FocalInfoNceLoss);
display!(FocalInfoNceLoss: temperature, margin, false_negatives);

impl FocalInfoNceLoss {
    /// What the products of scores are divided by.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// What is added to the score of a negative, in one of its two factors.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// Which negatives are ignored because they score too high to be believed.
    pub fn false_negatives(&self) -> Option<FalseNegatives> {
        self.false_negatives
    }
}

impl Objective for FocalInfoNceLoss {
    fn request(&self) -> Request {
        Request::new(self.temperature, &[Statistic::PositiveLosses])
            .with_curve(Curve::focal(self.margin))
            .with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        per_positive(statistics.get(Statistic::PositiveLosses), statistics)
    }
}
