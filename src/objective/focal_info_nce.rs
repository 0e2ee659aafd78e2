use burn::{config::Config, module::Module, tensor::Tensor};

use super::{Objective, assert_options, display, inherent_forward, per_positive};
use crate::{
    FalseNegatives,
    statistics::{Curve, Request, Statistic, Statistics},
};

/// Configuration of [`FocalInfoNceLoss`].
#[derive(Config, Debug)]
pub struct FocalInfoNceLossConfig {
    /// The temperature, by which the products of scores are divided: from 9e-39 to 8e37.
    /// Default: 0.05, as in the code of its authors.
    #[config(default = 0.05)]
    pub temperature: f64,
    /// The margin, which is added to one of the two factors of a negative. It must be finite
    /// in f32. Default: 0.3, as in the code of its authors.
    #[config(default = 0.3)]
    pub margin: f64,
    /// The rule by which suspected false negatives are ignored. Its margin must be finite.
    /// Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl FocalInfoNceLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If the temperature is not positive and finite, or has no inverse in f32.
    /// - If the margin is not finite in f32.
    /// - If the margin of the false negatives is not finite.
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

/// Focal InfoNCE: InfoNCE on squared scores, in which hard negatives weigh more and easy ones
/// less.
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
/// Scores should be cosines. The squares have side effects: a positive below 0 is pushed
/// further down, and a negative below `-margin / 2` is pulled up. A score of minus infinity
/// stays below all other scores. A query without negatives has loss 0. With
/// [weights](crate::Targets::with_weights) each term is multiplied by the weight of its
/// positive, and the sum is divided by the sum of these weights.
///
/// Source: "Improving Contrastive Learning of Sentence Embeddings with Focal-InfoNCE" (arXiv
/// 2310.06918), for one positive. The formula is that of its authors' code.
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
    /// The temperature, by which the products of scores are divided.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The margin, which is added to one of the two factors of a negative.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// The rule by which suspected false negatives are ignored, if there is one.
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
