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
    /// What the scores are divided by. Default: 1.
    #[config(default = 1.0)]
    pub temperature: f64,
    /// How much harder negatives weigh more: by `exp(hardness * score)`, a constant, of the
    /// score before the temperature, which should be a cosine. Default: 0.
    #[config(default = 0.0)]
    pub hardness: f64,
    /// Which negatives are ignored because they score too high to be believed. Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl Rand1LhLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If the temperature is not positive and finite or has no inverse in f32, or if the
    /// hardness is negative or too large, or the margin of false negatives not finite.
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
/// The query's other positives leave its candidate set. The draw is uniform over the positives,
/// takes one random number a query from the device, and repeats after the same
/// [`Device::seed`](burn::tensor::Device::seed);
/// [`forward_chosen`](Rand1LhLoss::forward_chosen) takes the choice from the caller.
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
    /// The mean loss of the queries that have a positive, on positives of the caller's choice:
    /// the short form of [`Targets::with_chosen`].
    ///
    /// An entry of a query without a positive is not read. A column that is no positive candidate
    /// of its query, or out of range, makes the loss of that query NaN.
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
