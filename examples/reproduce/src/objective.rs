//! The objectives by name, as the library computes them.

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_multi_positive::{
    CircleLossConfig, DclLossConfig, ExpectedRand1LhLossConfig, FalseNegatives,
    FocalInfoNceLossConfig, JointLhLossConfig, LsePairLossConfig, MarginRankingLossConfig,
    MultiSimilarityLossConfig, NegativeSelection, Objective as Loss, PositiveSelection,
    PositiveThreshold, PowerMeanLossConfig, Rand1LhLossConfig, SigmoidLossConfig,
    SumMargLhLossConfig, Targets,
};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// InfoNCE on the first positive of the list
    Single,
    /// InfoNCE on one positive, drawn anew in every epoch
    Rand1Lh,
    /// The sum over the positives, as in the paper
    JointLh,
    /// JointLH divided by the number of positives
    JointLhNormalized,
    SumMargLh,
    LsePair,
    /// Selectors of LSEPair: the weakest positive
    LsePairWeakest,
    /// The strongest positive
    LsePairStrongest,
    /// The hardest negative
    LsePairHardest,
    LsePairWeakestHardest,
    LsePairStrongestHardest,
    /// A neighbour: the mean of InfoNCE on each positive
    ExpectedRand1Lh,
    /// A neighbour: all negatives against the mean score of the positives
    PowerMean,
    /// A neighbour: InfoNCE without the positive in the denominator
    Dcl,
    /// A neighbour: a hinge between the weakest positive and the hardest negative. Its margin is
    /// twice the temperature
    MarginRanking,
    /// A neighbour: positives and negatives each for themselves, against a cosine of 0.5.
    /// Negatives are multiplied by 1 / temperature, and positives by a 25th of that, as 50 and 2
    /// in its paper
    MultiSimilarity,
    /// A neighbour: LSEPair on scores weighed by how far they are from their places. Its gamma is
    /// 1 / temperature
    Circle,
    /// A neighbour: InfoNCE on squares
    FocalInfoNce,
    /// A neighbour: every document classified by itself, against a cosine of 0.5: its bias is
    /// -0.5 / temperature, and not learned
    Sigmoid,
    /// A neighbour: JointLH / m with a hardness of 5, whatever the temperature
    JointLhHard,
    /// A neighbour: LSEPair without the negatives that score above 95% of the strongest positive
    LsePairFalseNegatives,
}

impl Objective {
    /// The objectives that the paper compares.
    pub const MAIN: [Self; 6] = [
        Self::Single,
        Self::Rand1Lh,
        Self::JointLh,
        Self::JointLhNormalized,
        Self::SumMargLh,
        Self::LsePair,
    ];

    /// LSEPair with selectors.
    const SELECTORS: [Self; 5] = [
        Self::LsePairWeakest,
        Self::LsePairStrongest,
        Self::LsePairHardest,
        Self::LsePairWeakestHardest,
        Self::LsePairStrongestHardest,
    ];

    /// The objectives that the paper's analysis is about.
    pub fn analysed() -> impl Iterator<Item = Self> {
        Self::MAIN.into_iter().chain(Self::SELECTORS)
    }

    /// Other losses of the library, which the paper does not have.
    pub const NEIGHBOURS: [Self; 10] = [
        Self::ExpectedRand1Lh,
        Self::PowerMean,
        Self::Dcl,
        Self::MarginRanking,
        Self::MultiSimilarity,
        Self::Circle,
        Self::FocalInfoNce,
        Self::Sigmoid,
        Self::JointLhHard,
        Self::LsePairFalseNegatives,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single positive",
            Self::Rand1Lh => "Rand1LH",
            Self::JointLh => "JointLH (sum)",
            Self::JointLhNormalized => "JointLH / m",
            Self::SumMargLh => "SumMargLH",
            Self::LsePair => "LSEPair",
            Self::LsePairWeakest => "LSEPair, weakest positive",
            Self::LsePairStrongest => "LSEPair, strongest positive",
            Self::LsePairHardest => "LSEPair, hardest negative",
            Self::LsePairWeakestHardest => "LSEPair, weakest and hardest",
            Self::LsePairStrongestHardest => "LSEPair, strongest and hardest",
            Self::ExpectedRand1Lh => "ExpectedRand1LH",
            Self::PowerMean => "power mean, exponent 0",
            Self::Dcl => "DCL",
            Self::MarginRanking => "margin ranking",
            Self::MultiSimilarity => "multi-similarity",
            Self::Circle => "circle",
            Self::FocalInfoNce => "focal InfoNCE",
            Self::Sigmoid => "sigmoid",
            Self::JointLhHard => "JointLH / m, hardness 5",
            Self::LsePairFalseNegatives => "LSEPair, false negatives",
        }
    }

    /// Its place in the palette of the figures.
    pub fn color(self) -> usize {
        match self {
            Self::Single => 7,
            Self::Rand1Lh => 1,
            Self::JointLh => 2,
            Self::JointLhNormalized => 3,
            Self::SumMargLh => 4,
            Self::LsePair => 5,
            Self::LsePairWeakest => 6,
            Self::LsePairStrongest => 0,
            Self::LsePairHardest => 8,
            Self::LsePairWeakestHardest => 9,
            Self::LsePairStrongestHardest => 10,
            Self::ExpectedRand1Lh => 11,
            Self::PowerMean => 12,
            Self::Dcl => 13,
            Self::MarginRanking => 14,
            Self::MultiSimilarity => 15,
            Self::JointLhHard => 16,
            Self::LsePairFalseNegatives => 17,
            Self::Circle => 18,
            Self::FocalInfoNce => 19,
            Self::Sigmoid => 20,
        }
    }

    /// The loss of every query, `[queries]`. `chosen` is the column of each query's positive, and
    /// read by the objectives that take one.
    pub fn losses(
        self,
        scores: Tensor<2>,
        targets: Targets,
        chosen: &[usize],
        temperature: f64,
    ) -> Tensor<1> {
        let targets = match self {
            Self::Single | Self::Rand1Lh => targets.with_chosen(columns(chosen, &scores.device())),
            _ => targets,
        };
        self.loss(temperature).forward_no_reduction(scores, targets)
    }

    fn loss(self, temperature: f64) -> Box<dyn Loss> {
        use NegativeSelection::Hardest;
        use PositiveSelection::{Strongest, Weakest};
        macro_rules! at {
            ($config:ident $(, $option:ident = $value:expr)*) => {
                Box::new($config::new().with_temperature(temperature)$(.$option($value))*.init())
            };
        }
        let inverse = 1.0 / temperature;
        match self {
            Self::Single | Self::Rand1Lh => at!(Rand1LhLossConfig),
            Self::JointLh => at!(JointLhLossConfig),
            Self::JointLhNormalized => at!(JointLhLossConfig, with_normalize_by_positives = true),
            Self::SumMargLh => at!(SumMargLhLossConfig),
            Self::LsePair => at!(LsePairLossConfig),
            Self::LsePairWeakest => at!(LsePairLossConfig, with_positives = Weakest),
            Self::LsePairStrongest => at!(LsePairLossConfig, with_positives = Strongest),
            Self::LsePairHardest => at!(LsePairLossConfig, with_negatives = Hardest),
            Self::LsePairWeakestHardest => at!(
                LsePairLossConfig,
                with_positives = Weakest,
                with_negatives = Hardest
            ),
            Self::LsePairStrongestHardest => at!(
                LsePairLossConfig,
                with_positives = Strongest,
                with_negatives = Hardest
            ),
            Self::LsePairFalseNegatives => {
                let rule = FalseNegatives::new(PositiveThreshold::Strongest);
                let rule = rule.with_margin(0.05).with_relative(true);
                at!(LsePairLossConfig, with_false_negatives = Some(rule))
            }
            Self::JointLhHard => at!(
                JointLhLossConfig,
                with_normalize_by_positives = true,
                with_hardness = 5.0
            ),
            Self::ExpectedRand1Lh => at!(ExpectedRand1LhLossConfig),
            Self::PowerMean => at!(
                PowerMeanLossConfig,
                with_exponent = 0.0,
                with_normalized = true
            ),
            Self::Dcl => at!(DclLossConfig),
            Self::FocalInfoNce => at!(FocalInfoNceLossConfig),
            Self::Sigmoid => at!(SigmoidLossConfig, with_bias = -0.5 * inverse),
            Self::Circle => Box::new(CircleLossConfig::new().with_gamma(inverse).init()),
            Self::MarginRanking => {
                let loss = MarginRankingLossConfig::new().with_margin(2.0 * temperature);
                Box::new(loss.init())
            }
            Self::MultiSimilarity => {
                let loss = MultiSimilarityLossConfig::new()
                    .with_alpha(inverse / 25.0)
                    .with_beta(inverse)
                    .with_base(0.5);
                Box::new(loss.init())
            }
        }
    }
}

fn columns(chosen: &[usize], device: &Device) -> Tensor<1, Int> {
    let chosen: Vec<i32> = chosen.iter().map(|column| *column as i32).collect();
    let count = chosen.len();
    Tensor::from_data(TensorData::new(chosen, [count]), device)
}
