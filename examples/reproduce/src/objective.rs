//! The objectives by name, as the library computes them.

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_multi_positive::{
    JointLhLossConfig, LsePairLossConfig, NegativeSelection, PositiveSelection, Rand1LhLossConfig,
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
            Self::JointLh | Self::JointLhNormalized => {
                let loss = JointLhLossConfig::new()
                    .with_temperature(temperature)
                    .with_normalize_by_positives(self == Self::JointLhNormalized);
                return loss.init().forward_no_reduction(scores, targets);
            }
            Self::SumMargLh => {
                let loss = SumMargLhLossConfig::new().with_temperature(temperature);
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
        };
        lse_pair.init().forward_no_reduction(scores, targets)
    }
}

fn columns(chosen: &[usize], device: &Device) -> Tensor<1, Int> {
    let chosen: Vec<i32> = chosen.iter().map(|column| *column as i32).collect();
    let count = chosen.len();
    Tensor::from_data(TensorData::new(chosen, [count]), device)
}
