//! The objectives by name, as the library computes them.

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_multi_positive::{
    DclLossConfig, ExpectedRand1LhLossConfig, FalseNegatives, JointLhLossConfig, LsePairLossConfig,
    MarginRankingLossConfig, MultiSimilarityLossConfig, NegativeSelection, PositiveSelection,
    PositiveThreshold, PowerMeanLossConfig, Rand1LhLossConfig, SumMargLhLossConfig, Targets,
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

    /// The objectives that the paper's analysis is about.
    pub const ANALYSED: [Self; 11] = [
        Self::Single,
        Self::Rand1Lh,
        Self::JointLh,
        Self::JointLhNormalized,
        Self::SumMargLh,
        Self::LsePair,
        Self::LsePairWeakest,
        Self::LsePairStrongest,
        Self::LsePairHardest,
        Self::LsePairWeakestHardest,
        Self::LsePairStrongestHardest,
    ];

    /// Other losses of the library, which the paper does not have.
    pub const NEIGHBOURS: [Self; 7] = [
        Self::ExpectedRand1Lh,
        Self::PowerMean,
        Self::Dcl,
        Self::MarginRanking,
        Self::MultiSimilarity,
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
        use NegativeSelection::Hardest;
        use PositiveSelection::{Strongest, Weakest};
        let lse_pair = LsePairLossConfig::new().with_temperature(temperature);
        let lse_pair = match self {
            Self::Single | Self::Rand1Lh => {
                let chosen = columns(chosen, &scores.device());
                let loss = Rand1LhLossConfig::new().with_temperature(temperature);
                return loss
                    .init()
                    .forward_no_reduction(scores, targets.with_chosen(chosen));
            }
            Self::JointLh | Self::JointLhNormalized | Self::JointLhHard => {
                let loss = JointLhLossConfig::new()
                    .with_temperature(temperature)
                    .with_normalize_by_positives(self != Self::JointLh)
                    .with_hardness(if self == Self::JointLhHard { 5.0 } else { 0.0 });
                return loss.init().forward_no_reduction(scores, targets);
            }
            Self::SumMargLh => {
                let loss = SumMargLhLossConfig::new().with_temperature(temperature);
                return loss.init().forward_no_reduction(scores, targets);
            }
            Self::ExpectedRand1Lh => {
                let loss = ExpectedRand1LhLossConfig::new().with_temperature(temperature);
                return loss.init().forward_no_reduction(scores, targets);
            }
            Self::PowerMean => {
                let loss = PowerMeanLossConfig::new()
                    .with_temperature(temperature)
                    .with_exponent(0.0)
                    .with_normalized(true);
                return loss.init().forward_no_reduction(scores, targets);
            }
            Self::Dcl => {
                let loss = DclLossConfig::new().with_temperature(temperature);
                return loss.init().forward_no_reduction(scores, targets);
            }
            Self::MarginRanking => {
                let loss = MarginRankingLossConfig::new().with_margin(2.0 * temperature);
                return loss.init().forward_no_reduction(scores, targets);
            }
            Self::MultiSimilarity => {
                let beta = 1.0 / temperature;
                let loss = MultiSimilarityLossConfig::new()
                    .with_alpha(beta / 25.0)
                    .with_beta(beta)
                    .with_base(0.5);
                return loss.init().forward_no_reduction(scores, targets);
            }
            Self::LsePair => lse_pair,
            Self::LsePairWeakest => lse_pair.with_positives(Weakest),
            Self::LsePairStrongest => lse_pair.with_positives(Strongest),
            Self::LsePairHardest => lse_pair.with_negatives(Hardest),
            Self::LsePairWeakestHardest => lse_pair.with_positives(Weakest).with_negatives(Hardest),
            Self::LsePairStrongestHardest => {
                lse_pair.with_positives(Strongest).with_negatives(Hardest)
            }
            Self::LsePairFalseNegatives => {
                let false_negatives = FalseNegatives::new(PositiveThreshold::Strongest);
                let false_negatives = false_negatives.with_margin(0.05).with_relative(true);
                lse_pair.with_false_negatives(Some(false_negatives))
            }
        };
        lse_pair.init().forward_no_reduction(scores, targets)
    }
}

fn columns(chosen: &[usize], device: &Device) -> Tensor<1, Int> {
    let chosen: Vec<i32> = chosen.iter().map(|column| *column as i32).collect();
    let count = chosen.len();
    Tensor::from_data(TensorData::new(chosen, [count]), device)
}
