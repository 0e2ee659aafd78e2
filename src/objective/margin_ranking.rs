use burn::{
    config::Config,
    module::Module,
    tensor::{Tensor, activation::relu},
};

use super::{Objective, assert_options, display, inherent_forward, with_negatives};
use crate::{
    FalseNegatives,
    statistics::{Request, Statistic, Statistics},
};

/// Configuration of [`MarginRankingLoss`].
#[derive(Config, Debug)]
pub struct MarginRankingLossConfig {
    /// The margin by which the weakest positive should lie above the hardest negative, in the
    /// unit of the scores. It must be finite in f32. Default: 0.1.
    #[config(default = 0.1)]
    pub margin: f64,
    /// The rule by which suspected false negatives are ignored. Its margin must be finite.
    /// Default: none.
    #[config(default = "None")]
    pub false_negatives: Option<FalseNegatives>,
}

impl MarginRankingLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// - If the margin is not finite in f32.
    /// - If the margin of the false negatives is not finite.
    pub fn init(&self) -> MarginRankingLoss {
        let Self {
            margin,
            false_negatives,
        } = *self;
        let config = "MarginRankingLossConfig";
        assert!(
            (margin as f32).is_finite(),
            "{config}: margin must be finite in f32, got {margin}"
        );
        assert_options(config, 1.0, 0.0, false_negatives);
        MarginRankingLoss {
            margin,
            false_negatives,
        }
    }
}

/// Margin ranking: the hinge loss between the weakest positive and the hardest negative.
///
/// For one query with positives `P`, negatives `N` and scores `s`:
///
/// ```text
/// loss = max(0, max_N s - min_P s + margin)
///
/// gradient   -1 at the weakest positive, 1 at the hardest negative; 0 once the margin is kept
/// ```
///
/// It is the triplet loss on the hardest triplet of a query. Scores are not divided by a
/// temperature. Among equal scores the first document gets the gradient. A query without
/// negatives has loss 0.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::MarginRankingLossConfig;
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[0.75, 0.5, 0.625]], &device);
/// let positives = Tensor::from_bool([[true, true, false]], &device);
///
/// let loss_fn = MarginRankingLossConfig::new().with_margin(0.25).init();
/// assert_eq!(loss_fn.forward(scores, positives).into_scalar::<f32>(), 0.375);
/// ```
#[doc(alias = "hinge")]
#[doc(alias = "TripletLoss")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct MarginRankingLoss {
    margin: f64,
    #[module(skip)]
    false_negatives: Option<FalseNegatives>,
}

inherent_forward!(MarginRankingLoss);
display!(MarginRankingLoss: margin, false_negatives);

impl MarginRankingLoss {
    /// The margin by which the weakest positive should lie above the hardest negative.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// The rule by which suspected false negatives are ignored, if there is one.
    pub fn false_negatives(&self) -> Option<FalseNegatives> {
        self.false_negatives
    }
}

impl Objective for MarginRankingLoss {
    fn request(&self) -> Request {
        let wanted = [Statistic::WeakestPositive, Statistic::HardestNegative];
        Request::new(1.0, &wanted).with_false_negatives(self.false_negatives)
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        let gap =
            statistics.get(Statistic::HardestNegative) - statistics.get(Statistic::WeakestPositive);
        let missed = with_negatives(gap + self.margin, statistics);
        with_negatives(relu(missed), statistics)
    }
}
