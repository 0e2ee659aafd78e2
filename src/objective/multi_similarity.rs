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
    /// The scale of the scores of positives, from 1.2e-38 to 3.4e38. Default: 2, as in the
    /// paper.
    #[config(default = 2.0)]
    pub alpha: f64,
    /// The scale of the scores of negatives, from 1.2e-38 to 1.1e38. Default: 50, as in the
    /// paper.
    #[config(default = 50.0)]
    pub beta: f64,
    /// The base, a fixed score that positives and negatives are compared with. It must be
    /// finite in f32. Default: 1, as in the paper. The default of pytorch-metric-learning is
    /// 0.5.
    #[config(default = 1.0)]
    pub base: f64,
    /// The hardness of the negatives: each one is weighted by `exp(hardness * score)`. The
    /// score should be a cosine. The weight is a constant: no gradient flows through it. The
    /// hardness must not be negative, and `hardness + beta` must be below about 1e38.
    /// Default: 0.
    #[config(default = 0.0)]
    pub hardness: f64,
    /// The rule by which suspected false negatives are ignored. Its margin must be finite.
    /// Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl MultiSimilarityLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If `alpha` or `beta` does not lie between 1.2e-38 and 3.4e38.
    /// - If `beta` has no inverse in f32.
    /// - If `base` is not finite in f32.
    /// - If the hardness is negative, or `hardness + beta` is not below about 1e38.
    /// - If the margin of the false negatives is not finite.
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

/// Multi-similarity loss, which compares the positives and the negatives of a query separately
/// with a fixed score, the base.
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
/// Unlike most objectives of this crate, it depends on the level of the scores, and not only
/// on their differences. The scores should be cosines. A query without negatives has only the
/// first term. With [weights](crate::Targets::with_weights) every term of a sum is multiplied
/// by its weight. The pair mining of the paper is not included.
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
    /// The scale of the scores of positives.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The scale of the scores of negatives.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// The base, a fixed score that positives and negatives are compared with.
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
