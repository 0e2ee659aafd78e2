use burn::{
    config::Config,
    module::Module,
    tensor::{Int, Tensor},
};

use super::{Objective, assert_options, contrast, gap, inherent_forward, options};
use crate::{
    FalseNegatives, Scores, Targets,
    statistics::{Request, Statistic, Statistics},
};

/// Configuration of [`Rand1LhLoss`].
#[derive(Config, Debug)]
pub struct Rand1LhLossConfig {
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

impl Rand1LhLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If the temperature is not positive and finite, or has no inverse in f32.
    /// - If the hardness is negative, or `hardness + 1 / temperature` is not below about 1e38.
    /// - If the margin of the false negatives is not finite.
    pub fn init(&self) -> Rand1LhLoss {
        let Self {
            temperature,
            hardness,
            false_negatives,
            ..
        } = *self;
        assert_options("Rand1LhLossConfig", temperature, hardness, false_negatives);
        Rand1LhLoss {
            temperature,
            hardness,
            false_negatives,
        }
    }
}

/// Rand1LH, the baseline: InfoNCE on one positive, drawn anew for each query and call.
///
/// For one query with the drawn positive `c`, negatives `N` and `s = score / temperature`:
///
/// ```text
/// loss = -log e^s_c / (e^s_c + sum_n e^s_n) = softplus(lse_N(s) - s_c)
///
/// gradient   s_c   P_c - 1      P_d = the likelihood of d among c and N
///            s_n   P_n
/// ```
///
/// The other positives of the query leave its candidate set. The draw is uniform over the
/// positives, or in proportion to their [weights](Targets::with_weights). It takes one random
/// number per query from the device of the targets, and repeats with the same
/// [`Device::seed`](burn::tensor::Device::seed).
/// [`forward_chosen`](Rand1LhLoss::forward_chosen) takes the positives that the caller
/// chooses. A query without negatives has loss 0.
///
/// Source: "Training Dense Retrievers with Multiple Positive Passages" (arXiv 2602.12727).
#[doc(alias = "Rand1LH")]
#[doc(alias = "InfoNCE")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Rand1LhLoss {
    temperature: f64,
    hardness: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(Rand1LhLoss);
options!(Rand1LhLoss: temperature, hardness, false_negatives);

impl Rand1LhLoss {
    /// The mean loss of the queries that have a positive, on the positives that the caller
    /// chooses. It is short for [`forward`](Self::forward) with [`Targets::with_chosen`].
    ///
    /// The entry of a query without a positive is not read. If a column is out of range, or
    /// not a positive candidate of its query, the loss of that query is NaN.
    ///
    /// # Shapes
    ///
    /// - `scores`: `[queries, documents]`
    /// - `targets`: `[queries, documents]`
    /// - `chosen`: `[queries]`, the column of each query's positive
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the targets or `chosen` do not fit the shape or the device of the scores.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::Rand1LhLossConfig;
    ///
    /// let device = Device::default();
    /// let scores = Tensor::<2>::from_floats([[3.0, 1.0, 1.0]], &device);
    /// let positives = Tensor::from_bool([[true, true, false]], &device);
    /// let chosen = Tensor::from_ints([1], &device);
    ///
    /// let loss = Rand1LhLossConfig::new().init().forward_chosen(scores, positives, chosen);
    /// assert!((loss.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
    /// ```
    pub fn forward_chosen(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
        chosen: Tensor<1, Int>,
    ) -> Tensor<1> {
        self.forward(scores, targets.into().with_chosen(chosen))
    }
}

impl Objective for Rand1LhLoss {
    fn request(&self) -> Request {
        let wanted = [Statistic::Negatives, Statistic::UnweightedPositives];
        Request::new(self.temperature, &wanted)
            .with_hardness(self.hardness)
            .with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        contrast(gap(Statistic::UnweightedPositives, statistics), statistics)
    }

    fn choose_positives(&self, targets: Targets) -> Targets {
        targets.with_draw()
    }
}
