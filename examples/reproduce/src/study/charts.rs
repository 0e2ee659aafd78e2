//! Curves of the choice over the temperature, and of the test over the share of right labels.

use std::path::Path;

use super::{choice::Last, condition::Condition, report::Results, sensitivity::by_temperature};
use crate::{
    objective::Objective,
    output::named,
    plot::{Content, Panel, Point, Series, figure},
    train::{charts::point, report::METRICS},
};

pub fn write_all(out: &Path, results: &Results) -> Result<(), String> {
    let folder = out.join("figures");
    named(&folder, std::fs::create_dir_all(&folder))?;
    let temperature = temperature(results);
    let columns = if temperature.len() > 4 { 3 } else { 2 };
    figure(&folder.join("temperature"), columns, &temperature)?;
    for (name, panels) in [
        ("right_labels", right(results)),
        ("positives", positives(results)),
    ] {
        if !panels.is_empty() {
            figure(&folder.join(name), panels.len().min(3), &panels)?;
        }
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

/// nDCG@10 over the share of right labels, where conditions differ in nothing else. All judgements
/// have more labels, not only right ones, and are not among them.
fn right(results: &Results) -> Vec<Panel> {
    let alike = |condition: Condition| Condition {
        relevant_share: None,
        ..condition
    };
    over(results, "share of right labels", alike, |last| last.right)
}

/// nDCG@10 over the largest number of positives, where conditions differ in nothing else.
fn positives(results: &Results) -> Vec<Panel> {
    let alike = |condition: Condition| Condition {
        max_positives: None,
        ..condition
    };
    let count = |last: &Last| last.condition.max_positives.map(|count| count as f64);
    over(results, "at most so many positives", alike, count)
}

/// A panel for each group of conditions that are the same when the varied is taken out of them.
fn over(
    results: &Results,
    x: &str,
    alike: impl Fn(Condition) -> Condition,
    value: impl Fn(&Last) -> Option<f64>,
) -> Vec<Panel> {
    let mut panels: Vec<(Condition, Vec<Series<Point>>)> = Vec::new();
    for last in &results.lasts {
        let Some(value) = value(last) else {
            continue;
        };
        let group = alike(last.condition);
        let place = panels.iter().position(|(other, _)| *other == group);
        let place = place.unwrap_or_else(|| {
            panels.push((group, Vec::new()));
            panels.len() - 1
        });
        let point = point(value, &last.values(METRICS[1].1));
        add(&mut panels[place].1, last.objective, point);
    }
    let panels = panels.into_iter().map(|(condition, mut lines)| {
        sort(&mut lines);
        Panel {
            title: format!("{}, 95% over seeds", condition.short_name()),
            x: x.into(),
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
