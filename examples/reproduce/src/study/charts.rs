//! Curves of the choice over the temperature, and of the test over the share of right labels.

use std::path::Path;

use super::{condition::Condition, report::Results, sensitivity::by_temperature};
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
    let positives = positives(results);
    if !positives.is_empty() {
        figure(&folder.join("positives"), 2, &positives)?;
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
    let first = results.conditions()[0];
    let alike = |one: Condition| {
        one.max_positives == first.max_positives
            && one.clustering == first.clustering
            && one.mistakes == first.mistakes
    };
    // All judgements are no matter of the clustering.
    let is_all = |one: Condition| one == Condition::all(first.max_positives);
    let lasts = results.lasts.iter();
    for last in lasts.filter(|last| alike(last.condition) || is_all(last.condition)) {
        let all = (last.condition.regime == Regime::All).then_some(1.0);
        let Some(right) = last.right.or(all) else {
            continue;
        };
        let point = point(right, &last.values(METRICS[1].1));
        add(&mut lines, last.objective, point);
    }
    sort(&mut lines);
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

/// nDCG@10 over the largest number of positives, where conditions differ in nothing else.
fn positives(results: &Results) -> Vec<Panel> {
    let alike = |condition: Condition| Condition {
        max_positives: None,
        ..condition
    };
    let conditions = results.conditions();
    let mut panels: Vec<(Condition, Vec<Series<Point>>)> = Vec::new();
    for condition in &conditions {
        let Some(count) = condition.max_positives else {
            continue;
        };
        let group = alike(*condition);
        let place = panels.iter().position(|(other, _)| *other == group);
        let place = place.unwrap_or_else(|| {
            panels.push((group, Vec::new()));
            panels.len() - 1
        });
        let lines = &mut panels[place].1;
        for last in results.under(*condition) {
            let point = point(count as f64, &last.values(METRICS[1].1));
            add(lines, last.objective, point);
        }
    }
    let panels = panels.into_iter().map(|(condition, mut lines)| {
        sort(&mut lines);
        Panel {
            title: format!("{}, 95% over seeds", condition.short_name()),
            x: "at most so many positives".into(),
            y: "nDCG@10".into(),
            content: Content::Lines {
                series: lines,
                log_x: false,
            },
        }
    });
    panels.filter(|panel| panel.content.has_points()).collect()
}

fn add(lines: &mut Vec<Series<Point>>, objective: Objective, point: Point) {
    let name = objective.name();
    match lines.iter_mut().find(|line| line.name == name) {
        Some(line) => line.points.push(point),
        None => lines.push(series(objective, vec![point])),
    }
}

/// Puts points in order. A line needs two.
fn sort(lines: &mut Vec<Series<Point>>) {
    for line in lines.iter_mut() {
        line.points.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    lines.retain(|line| line.points.len() > 1);
}

fn series(objective: Objective, points: Vec<Point>) -> Series<Point> {
    Series {
        name: objective.name().into(),
        color: objective.color(),
        points,
    }
}
