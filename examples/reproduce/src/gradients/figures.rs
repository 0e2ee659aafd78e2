//! The analysis at a glance.

use std::path::Path;

use super::row::{Gradient, Row};
use crate::{
    objective::Objective,
    plot::{Content, Panel, Point, Series, figure},
};

/// One of the two JointLH: as a sum it differs by a factor.
const SHOWN: [Objective; 4] = [
    Objective::Rand1Lh,
    Objective::JointLhNormalized,
    Objective::SumMargLh,
    Objective::LsePair,
];

pub fn write_all(out: &Path) -> Result<(), String> {
    let patterns: Vec<Panel> = super::patterns().iter().map(pattern).collect();
    figure(&out.join("patterns"), 2, &patterns)?;
    figure(&out.join("sweep"), 2, &sweep())
}

fn pattern(pattern: &super::Pattern) -> Panel {
    let Row {
        positives,
        negatives,
    } = &pattern.row;
    let positives = positives.iter().map(|score| format!("p {score}"));
    let negatives = negatives.iter().map(|score| format!("n {score}"));
    let series = SHOWN.map(|objective| Series {
        name: objective.name().into(),
        color: objective.color(),
        points: pattern
            .row
            .library(objective)
            .all()
            .map(|g| (g, 0.0))
            .collect(),
    });
    Panel {
        title: pattern.name.into(),
        x: "document: positive or negative, and its score".into(),
        y: "gradient (below 0: pulled up)".into(),
        content: Content::Bars {
            groups: positives.chain(negatives).collect(),
            series: series.into(),
        },
    }
}

fn sweep() -> Vec<Panel> {
    let panel = |title: &str, y: &str, value: fn(&Gradient) -> f64| {
        let series = SHOWN.map(|objective| Series {
            name: objective.name().into(),
            color: objective.color(),
            points: super::sweep()
                .map(|(score, row)| Point {
                    x: score,
                    y: value(&row.library(objective)),
                    half: 0.0,
                })
                .collect(),
        });
        Panel {
            title: title.into(),
            x: "score of the moving positive".into(),
            y: y.into(),
            content: Content::Lines {
                series: series.into(),
                log_x: false,
            },
        }
    };
    vec![
        panel(
            "on the moving positive",
            "gradient (below 0: pulled up)",
            |g| g.positives[0],
        ),
        panel(
            "on the positive that stays at 1",
            "gradient (below 0: pulled up)",
            |g| g.positives[1],
        ),
        panel(
            "on the hardest negative, at 1 (JointLH / m as SumMargLH)",
            "gradient (above 0: pushed down)",
            |g| g.negatives[0],
        ),
        panel("the loss", "loss", |g| g.loss),
    ]
}
