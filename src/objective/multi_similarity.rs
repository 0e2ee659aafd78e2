use burn::{config::Config, module::Module, tensor::Tensor};

use super::{
    Objective, assert_options, inherent_forward, log_positive_weights, options, with_negatives,
};
use crate::{
    FalseNegatives,
    statistics::{Request, Statistic, Statistics, softplus},
};

/// Configuration of [`MultiSimilarityLoss`].
#[derive(Config, Debug)]
pub struct MultiSimilarityLossConfig {
    /// What the scores of positives are multiplied by. Default: 2, the paper's.
    #[config(default = 2.0)]
    pub alpha: f64,
    /// What the scores of negatives are multiplied by. Default: 50, the paper's.
    #[config(default = 50.0)]
    pub beta: f64,
    /// The score from which both are measured. Default: 1, the paper's; pytorch-metric-learning
    /// has 0.5.
    #[config(default = 1.0)]
    pub base: f64,
    /// How much harder negatives weigh more: by `exp(hardness * score)`, a constant, of the
    /// score, which should be a cosine. Default: 0.
    #[config(default = 0.0)]
    pub hardness: f64,
    /// Which negatives are ignored because they score too high to be believed. Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl MultiSimilarityLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If `alpha` or `beta` does not lie between 1.2e-38 and 3.4e38, or `beta` has no inverse in
    /// f32, if `base` is not finite in f32, the hardness negative or too large, or the margin
    /// of false negatives not finite.
    pub fn init(&self) -> MultiSimilarityLoss {
        let Self {
            alpha,
            beta,
            base,
            hardness,
            false_negatives,
        } = *self;
        let config = "MultiSimilarityLossConfig";
        for (field, value) in [("alpha", alpha), ("beta", beta)] {
            assert!(
                value > 0.0 && (value as f32).is_normal(),
                "{config}: {field} must be positive and finite, between 1.2e-38 and 3.4e38, got {value}"
            );
        }
        assert!(
            (base as f32).is_finite(),
            "{config}: base must be finite in f32, got {base}"
        );
        let temperature = 1.0 / beta;
        assert_options(config, temperature, hardness, false_negatives);
        MultiSimilarityLoss {
            temperature,
            alpha,
            beta,
            base,
            hardness,
            false_negatives,
        }
    }
}

/// Multi-similarity loss: positives and negatives each for themselves, against a fixed score.
///
/// For one query with positives `P`, negatives `N`, scores `s` and the base `b`:
///
/// ```text
/// loss = 1/alpha log(1 + sum_p e^{-alpha (s_p - b)}) + 1/beta log(1 + sum_n e^{beta (s_n - b)})
///
/// gradient   s_p   -e^{-alpha (s_p - b)} / (1 + sum_P e^{-alpha (s - b)})
///            s_n    e^{beta (s_n - b)} / (1 + sum_N e^{beta (s - b)})
/// ```
///
/// Unlike the objectives of this crate it depends on the level of the scores, not on their
/// differences alone: they should be cosines. A query without negatives has the first term.
/// With [weights](crate::Targets::with_weights) every term of a sum has its weight. The mining
/// of pairs that the paper does besides is not part of it.
///
/// Source: "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning"
/// (arXiv 1904.06627).
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::MultiSimilarityLossConfig;
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[1.0, 1.0]], &device);
/// let positives = Tensor::from_bool([[true, false]], &device);
///
/// // Both lie at the base.
/// let loss = MultiSimilarityLossConfig::new().init().forward(scores, positives);
/// let want = 2f32.ln() / 2.0 + 2f32.ln() / 50.0;
/// assert!((loss.into_scalar::<f32>() - want).abs() < 1e-6);
/// ```
#[doc(alias = "MS loss")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct MultiSimilarityLoss {
    temperature: f64,
    alpha: f64,
    beta: f64,
    base: f64,
    hardness: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(MultiSimilarityLoss);
options!(MultiSimilarityLoss: alpha, beta, base, hardness, false_negatives);

impl MultiSimilarityLoss {
    /// What the scores of positives are multiplied by.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// What the scores of negatives are multiplied by.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// The score from which both are measured.
    pub fn base(&self) -> f64 {
        self.base
    }
}

impl Objective for MultiSimilarityLoss {
    fn request(&self) -> Request {
        let wanted = [Statistic::Negatives, Statistic::PositiveMean];
        Request::new(self.temperature, &wanted)
            .with_exponent(-self.alpha / self.beta)
            .with_hardness(self.hardness)
            .with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        let Self {
            alpha, beta, base, ..
        } = *self;
        // How far the reference of the statistics lies above the base.
        let level = statistics.references().sub_scalar(base);
        let mean = statistics.get(Statistic::PositiveMean);
        let positives = mean.mul_scalar(-alpha / beta) + log_positive_weights(statistics)
            - level.clone().mul_scalar(alpha);
        let active = statistics.positive_counts().clamp_max(1.0);
        let positives = softplus(positives).mul_scalar(1.0 / alpha).mul(active);
        let negatives = statistics.get(Statistic::Negatives) + level.mul_scalar(beta);
        let negatives = softplus(with_negatives(negatives, statistics)).mul_scalar(1.0 / beta);
        positives + with_negatives(negatives, statistics)
    }
}
