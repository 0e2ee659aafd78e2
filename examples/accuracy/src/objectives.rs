//! Every objective with its options, at the temperature of a batch.

use burn_multi_positive::{
    CircleLossConfig, DclLossConfig, ExpectedRand1LhLossConfig, FalseNegatives,
    FocalInfoNceLossConfig, JointLhLossConfig, LsePairLossConfig, MarginRankingLossConfig,
    MultiSimilarityLossConfig, NegativeSelection, Objective, PositiveSelection, PositiveThreshold,
    PowerMeanLossConfig, Rand1LhLossConfig, SigmoidLossConfig, SumMargLhLossConfig,
};

/// An objective, and what targets it takes.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub loss: Loss,
    pub is_weighted: bool,
    /// Times the temperature.
    pub hardness: f64,
    pub false_negatives: Option<Rule>,
}

/// Negatives above a score of the positives are ignored, which lies this far above it.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub threshold: Threshold,
    /// Divided by the temperature, unless it is relative.
    pub margin: f64,
    pub relative: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Threshold {
    Weakest,
    Strongest,
    Mean,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// The margin is divided by the temperature.
    LsePair {
        margin: f64,
        positives: Selection,
        hardest: bool,
        per_positive: bool,
    },
    JointLh {
        per_positive: bool,
    },
    SumMargLh,
    Rand1Lh,
    ExpectedRand1Lh {
        per_positive: bool,
    },
    PowerMean {
        exponent: f64,
        normalized: bool,
    },
    Dcl,
    Circle {
        margin: f64,
    },
    FocalInfoNce {
        margin: f64,
    },
    Sigmoid {
        bias: f64,
    },
    /// The scale of positives, as a share of that of negatives, which is the inverse of the
    /// temperature; the base, divided by the temperature.
    MultiSimilarity {
        alpha: f64,
        base: f64,
    },
    /// The margin is divided by the temperature.
    MarginRanking {
        margin: f64,
    },
    MarginMse,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Selection {
    All,
    Weakest,
    Strongest,
}

const fn plain(name: &'static str, loss: Loss) -> Setting {
    Setting {
        name,
        loss,
        is_weighted: false,
        hardness: 0.0,
        false_negatives: None,
    }
}

const fn weighted(name: &'static str, loss: Loss) -> Setting {
    Setting {
        is_weighted: true,
        ..plain(name, loss)
    }
}

const fn hard(name: &'static str, loss: Loss) -> Setting {
    Setting {
        hardness: 0.4,
        ..plain(name, loss)
    }
}

const fn ruled(name: &'static str, loss: Loss, rule: Rule) -> Setting {
    Setting {
        false_negatives: Some(rule),
        ..plain(name, loss)
    }
}

const fn power_mean(exponent: f64, normalized: bool) -> Loss {
    Loss::PowerMean {
        exponent,
        normalized,
    }
}

const LSE_PAIR: Loss = Loss::LsePair {
    margin: 0.0,
    positives: Selection::All,
    hardest: false,
    per_positive: false,
};

const JOINT_LH: Loss = Loss::JointLh {
    per_positive: false,
};

const EXPECTED: Loss = Loss::ExpectedRand1Lh { per_positive: true };

pub const SETTINGS: &[Setting] = &[
    plain("lse_pair", LSE_PAIR),
    plain(
        "lse_pair/margin,per_positive",
        Loss::LsePair {
            margin: 1.7,
            positives: Selection::All,
            hardest: false,
            per_positive: true,
        },
    ),
    plain(
        "lse_pair/weakest",
        Loss::LsePair {
            margin: 0.0,
            positives: Selection::Weakest,
            hardest: false,
            per_positive: false,
        },
    ),
    plain(
        "lse_pair/strongest,hardest",
        Loss::LsePair {
            margin: -0.6,
            positives: Selection::Strongest,
            hardest: true,
            per_positive: false,
        },
    ),
    weighted("lse_pair/weights", LSE_PAIR),
    hard("lse_pair/hardness", LSE_PAIR),
    ruled(
        "lse_pair/false_negatives",
        LSE_PAIR,
        Rule {
            threshold: Threshold::Weakest,
            margin: 2.1,
            relative: false,
        },
    ),
    plain("joint_lh", JOINT_LH),
    plain(
        "joint_lh/per_positive",
        Loss::JointLh { per_positive: true },
    ),
    weighted("joint_lh/weights", JOINT_LH),
    plain("sum_marg_lh", Loss::SumMargLh),
    Setting {
        hardness: 0.4,
        ..weighted("sum_marg_lh/weights,hardness", Loss::SumMargLh)
    },
    ruled(
        "sum_marg_lh/false_negatives",
        Loss::SumMargLh,
        Rule {
            threshold: Threshold::Mean,
            margin: 0.05,
            relative: true,
        },
    ),
    plain("rand1_lh/chosen", Loss::Rand1Lh),
    plain("expected_rand1_lh", EXPECTED),
    Setting {
        hardness: 0.4,
        ..weighted("expected_rand1_lh/weights,hardness", EXPECTED)
    },
    plain("power_mean/-3", power_mean(-3.0, false)),
    plain("power_mean/0.01,normalized", power_mean(0.01, true)),
    plain("power_mean/0,normalized", power_mean(0.0, true)),
    weighted("power_mean/2.5,weights", power_mean(2.5, false)),
    plain("dcl", Loss::Dcl),
    ruled(
        "dcl/false_negatives",
        Loss::Dcl,
        Rule {
            threshold: Threshold::Strongest,
            margin: 0.3,
            relative: false,
        },
    ),
    plain("circle", Loss::Circle { margin: 0.4 }),
    plain("focal_info_nce", Loss::FocalInfoNce { margin: 0.3 }),
    plain("sigmoid", Loss::Sigmoid { bias: -9.7 }),
    weighted("sigmoid/weights", Loss::Sigmoid { bias: 0.3 }),
    plain(
        "multi_similarity",
        Loss::MultiSimilarity {
            alpha: 0.04,
            base: 0.9,
        },
    ),
    plain("margin_ranking", Loss::MarginRanking { margin: 0.1 }),
    plain("margin_mse", Loss::MarginMse),
];

impl Setting {
    pub fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// The objective; margin-MSE is none, because it takes a teacher.
    pub fn objective(&self, temperature: f64) -> Option<Box<dyn Objective>> {
        let hardness = self.hardness / temperature;
        let false_negatives = self.false_negatives.map(|rule| {
            let threshold = match rule.threshold {
                Threshold::Weakest => PositiveThreshold::Weakest,
                Threshold::Strongest => PositiveThreshold::Strongest,
                Threshold::Mean => PositiveThreshold::Mean,
            };
            FalseNegatives::new(threshold)
                .with_margin(rule.margin(temperature))
                .with_relative(rule.relative)
        });
        // What all the softmax objectives have.
        macro_rules! softmax {
            ($config:ident $(, $method:ident $value:expr)*) => {
                Box::new(
                    $config::new()
                        .with_temperature(temperature)
                        .with_hardness(hardness)
                        .with_false_negatives(false_negatives)
                        $(.$method($value))*
                        .init(),
                )
            };
        }
        Some(match self.loss {
            Loss::LsePair {
                margin,
                positives,
                hardest,
                per_positive,
            } => softmax!(
                LsePairLossConfig,
                with_margin margin * temperature,
                with_positives match positives {
                    Selection::All => PositiveSelection::All,
                    Selection::Weakest => PositiveSelection::Weakest,
                    Selection::Strongest => PositiveSelection::Strongest,
                },
                with_negatives match hardest {
                    true => NegativeSelection::Hardest,
                    false => NegativeSelection::All,
                },
                with_normalize_by_positives per_positive
            ),
            Loss::JointLh { per_positive } => {
                softmax!(JointLhLossConfig, with_normalize_by_positives per_positive)
            }
            Loss::SumMargLh => softmax!(SumMargLhLossConfig),
            Loss::Rand1Lh => softmax!(Rand1LhLossConfig),
            Loss::ExpectedRand1Lh { per_positive } => {
                softmax!(ExpectedRand1LhLossConfig, with_normalize_by_positives per_positive)
            }
            Loss::PowerMean {
                exponent,
                normalized,
            } => softmax!(
                PowerMeanLossConfig,
                with_exponent exponent,
                with_normalized normalized
            ),
            Loss::Dcl => softmax!(DclLossConfig),
            Loss::Circle { margin } => Box::new(
                CircleLossConfig::new()
                    .with_gamma(1.0 / temperature)
                    .with_margin(margin)
                    .init(),
            ),
            Loss::FocalInfoNce { margin } => Box::new(
                FocalInfoNceLossConfig::new()
                    .with_temperature(temperature)
                    .with_margin(margin)
                    .init(),
            ),
            Loss::Sigmoid { bias } => Box::new(
                SigmoidLossConfig::new()
                    .with_temperature(temperature)
                    .with_bias(bias)
                    .init(),
            ),
            Loss::MultiSimilarity { alpha, base } => Box::new(
                MultiSimilarityLossConfig::new()
                    .with_alpha(alpha / temperature)
                    .with_beta(1.0 / temperature)
                    .with_base(base * temperature)
                    .init(),
            ),
            Loss::MarginRanking { margin } => Box::new(
                MarginRankingLossConfig::new()
                    .with_margin(margin * temperature)
                    .init(),
            ),
            Loss::MarginMse => return None,
        })
    }
}

impl Rule {
    /// As the configuration has it.
    pub fn margin(&self, temperature: f64) -> f64 {
        match self.relative {
            true => self.margin,
            false => self.margin * temperature,
        }
    }
}
