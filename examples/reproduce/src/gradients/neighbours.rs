//! What the losses that people choose between put on each document of one query.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use burn_multi_positive::{
    CircleLossConfig, DclLossConfig, ExpectedRand1LhLossConfig, FocalInfoNceLossConfig,
    JointLhLossConfig, LsePairLossConfig, MarginRankingLossConfig, MultiSimilarityLossConfig,
    Objective, PowerMeanLossConfig, SigmoidLossConfig, SumMargLhLossConfig,
};

use crate::{
    objective::Objective as Named,
    plot::{Content, Panel, Series, figure, figure_for_both_pages},
};

/// Cosines of the query.
const POSITIVES: [f32; 3] = [0.8, 0.6, 0.3];
const NEGATIVES: [f32; 5] = [0.7, 0.5, 0.2, 0.0, -0.2];

const TEMPERATURE: f64 = 0.1;

/// The losses, with their defaults where these are no temperature.
fn losses() -> Vec<(&'static str, Box<dyn Objective>)> {
    macro_rules! at {
        ($config:ident) => {
            Box::new($config::new().with_temperature(TEMPERATURE).init())
        };
    }
    let joint = JointLhLossConfig::new()
        .with_temperature(TEMPERATURE)
        .with_normalize_by_positives(true);
    let mean = PowerMeanLossConfig::new()
        .with_temperature(TEMPERATURE)
        .with_exponent(0.0)
        .with_normalized(true);
    vec![
        ("LSEPair", at!(LsePairLossConfig)),
        ("SumMargLH", at!(SumMargLhLossConfig)),
        ("JointLH / m", Box::new(joint.init())),
        ("E[Rand1LH]", at!(ExpectedRand1LhLossConfig)),
        ("power mean, exponent 0", Box::new(mean.init())),
        ("DCL", at!(DclLossConfig)),
        ("focal InfoNCE", at!(FocalInfoNceLossConfig)),
        ("circle", Box::new(CircleLossConfig::new().init())),
        (
            "multi-similarity, base 0.5",
            Box::new(MultiSimilarityLossConfig::new().with_base(0.5).init()),
        ),
        ("sigmoid, bias -10", at!(SigmoidLossConfig)),
        (
            "margin ranking",
            Box::new(MarginRankingLossConfig::new().init()),
        ),
    ]
}

/// The gradients as shares of their summed sizes, positives first.
fn shares(loss: &dyn Objective) -> Vec<f64> {
    let device = Device::default().autodiff();
    let scores = [POSITIVES.as_slice(), &NEGATIVES].concat();
    let scores = Tensor::<1>::from_floats(scores.as_slice(), &device);
    let scores = scores.unsqueeze::<2>().require_grad();
    let positives = (0..8).map(|column| column < POSITIVES.len());
    let positives: Vec<bool> = positives.collect();
    let positives = Tensor::<1, _>::from_bool(positives.as_slice(), &device);
    let gradients = loss
        .forward(scores.clone(), positives.unsqueeze::<2>())
        .backward();
    let gradient = scores.grad(&gradients).expect("a leaf").into_data();
    let gradient: Vec<f64> = gradient.iter().collect();
    let size: f64 = gradient.iter().map(|x| x.abs()).sum();
    gradient.into_iter().map(|x| x / size).collect()
}

/// The paper's four in one panel, of a width that a page has.
pub fn write_the_papers(path: &Path) -> Result<(), String> {
    const COLORS: [(&str, Named); 4] = [
        ("LSEPair", Named::LsePair),
        ("SumMargLH", Named::SumMargLh),
        ("JointLH / m", Named::JointLhNormalized),
        ("E[Rand1LH]", Named::Rand1Lh),
    ];
    let losses = losses();
    let series = COLORS.map(|(name, objective)| {
        let (_, loss) = losses.iter().find(|loss| loss.0 == name).expect("a loss");
        Series {
            name: name.into(),
            color: objective.color(),
            points: shares(loss.as_ref())
                .into_iter()
                .map(|share| (share, 0.0))
                .collect(),
        }
    });
    let panel = Panel {
        title: "shares of the gradient of one query".into(),
        x: "p is relevant, n is not; the cosine with the query".into(),
        y: "gradient (below 0: pulled up)".into(),
        content: Content::Bars {
            groups: documents(),
            series: series.into(),
        },
    };
    figure_for_both_pages(path, (900, 340), panel)
}

fn documents() -> Vec<String> {
    let positives = POSITIVES.iter().map(|score| format!("p {score}"));
    let negatives = NEGATIVES.iter().map(|score| format!("n {score}"));
    positives.chain(negatives).collect()
}

pub fn write(path: &Path) -> Result<(), String> {
    let panel = |(name, loss): (&str, Box<dyn Objective>)| {
        let shares = shares(loss.as_ref());
        let of = |name: &str, color: usize, positive: bool| Series {
            name: name.into(),
            color,
            points: shares
                .iter()
                .enumerate()
                .map(
                    |(column, share)| match (column < POSITIVES.len()) == positive {
                        true => (*share, 0.0),
                        false => (0.0, 0.0),
                    },
                )
                .collect(),
        };
        Panel {
            title: name.into(),
            x: "document: positive or negative, and its cosine".into(),
            y: "share of the gradient".into(),
            content: Content::Bars {
                groups: documents(),
                series: vec![
                    of("on positives (below 0: pulled up)", 3, true),
                    of("on negatives (above 0: pushed down)", 5, false),
                ],
            },
        }
    };
    let panels: Vec<Panel> = losses().into_iter().map(panel).collect();
    figure(path, 3, &panels)
}
