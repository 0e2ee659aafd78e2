//! Curves of the choice over the temperature, and of the test over the share of right labels.

use std::path::Path;

use super::{report::Results, sensitivity::by_temperature};
use crate::{
    objective::Objective,
    output::named,
    plot::{Content, Panel, Point, Series, figure},
    train::{charts::point, labels::Regime, report::METRICS},
};

pub fn write_all(out: &Path, results: &Results) -> Result<(), String> {
    let folder = out.join("figures");
    named(&folder, std::fs::create_dir_all(&folder))?;
    figure(&folder.join("temperature"), 2, &temperature(results))?;
    let right = right(results);
    if right.content.has_points() {
        figure(&folder.join("right_labels"), 1, &[right])?;
    }
    println!("figures: {}", folder.display());
    Ok(())
}

fn temperature(results: &Results) -> Vec<Panel> {
    let panels = results.conditions().into_iter().map(|condition| {
        let series = results.under(condition).map(|last| {
            let curve = by_temperature(&results.choices_of(last));
            let points = curve.iter().map(|(x, values)| point(*x, values));
            series(last.objective, points.collect())
        });
        Panel {
            title: results.short_title(condition),
            x: "temperature".into(),
            y: "nDCG@10, held-out, 95% over seeds".into(),
            content: Content::Lines {
                series: series.collect(),
                log_x: true,
            },
        }
    });
    panels.collect()
}

/// A line needs two shares.
fn right(results: &Results) -> Panel {
    let mut lines: Vec<Series<Point>> = Vec::new();
    for last in &results.lasts {
        let all = (last.condition.regime == Regime::All).then_some(1.0);
        let Some(right) = last.right.or(all) else {
            continue;
        };
        let point = point(right, &last.values(METRICS[1].1));
        let name = last.objective.name();
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(series(last.objective, vec![point])),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    lines.retain(|line| line.points.len() > 1);
    Panel {
        title: "What was chosen, on the test queries, 95% over seeds".into(),
        x: "share of right labels".into(),
        y: "nDCG@10".into(),
        content: Content::Lines {
            series: lines,
            log_x: false,
        },
    }
}

fn series(objective: Objective, points: Vec<Point>) -> Series<Point> {
    Series {
        name: objective.name().into(),
        color: objective.color(),
        points,
    }
}
