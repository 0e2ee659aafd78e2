//! Bar charts of the metrics, learning curves, and curves over what was varied.

use std::path::Path;

use super::{
    cell::{Epoch, Outcome, Setting},
    diagnosis::{Places, SHOWN},
    labels::Regime,
    pulls::Pulls,
    report::{METRICS, collections, distinct, evaluations, places, settings, values},
    significance::interval,
};
use crate::{
    objective::Objective,
    output::{key, named},
    plot::{Content, Panel, Point, Series, UNTRAINED, figure},
};

pub fn write_all(out: &Path, outcomes: &[Outcome]) -> Result<(), String> {
    let folder = out.join("figures");
    named(&folder, std::fs::create_dir_all(&folder))?;
    for setting in settings(outcomes) {
        for collection in collections(outcomes) {
            let path = folder.join(format!("metrics_{collection}_{}", file_name(&setting)));
            figure(&path, 2, &metrics(outcomes, &setting, &collection))?;
        }
        let curves = learning(outcomes, &setting);
        if !curves.is_empty() {
            let path = folder.join(format!("learning_{}", file_name(&setting)));
            figure(&path, 2, &curves)?;
        }
        let pulls = pulls(outcomes, &setting);
        if !pulls.is_empty() {
            let path = folder.join(format!("pulls_{}", file_name(&setting)));
            figure(&path, 3, &pulls)?;
        }
        let diagnosis = diagnosis(outcomes, &setting);
        if !diagnosis.is_empty() {
            let path = folder.join(format!("diagnosis_{}", file_name(&setting)));
            figure(&path, 3, &diagnosis)?;
        }
    }
    for what in VARIED {
        for (place, others) in varied(outcomes, what.value).into_iter().enumerate() {
            for collection in collections(outcomes) {
                let path = folder.join(format!("{}_{collection}_{}", what.name, place + 1));
                figure(&path, 2, &sweep(outcomes, &others, &what, &collection))?;
            }
        }
    }
    println!("figures: {}", folder.display());
    Ok(())
}

/// With the dots of numbers replaced: what follows one would pass for a suffix.
fn file_name(setting: &Setting) -> String {
    let mut parts = Vec::new();
    parts.extend(setting.annotator.map(|annotator| key(&annotator)));
    parts.extend(setting.relevant_share.map(|share| format!("share{share}")));
    parts.extend(
        setting
            .clustering
            .map(|clustering| format!("clustering{clustering}")),
    );
    parts.extend(setting.mistakes.map(|mistakes| key(&mistakes)));
    parts.extend(setting.max_positives.map(|count| format!("max{count}")));
    parts.push(format!("t{}", setting.temperature));
    parts.join("_").replace('.', "p")
}

fn regimes(outcomes: &[Outcome]) -> Vec<Regime> {
    distinct(outcomes, |outcome| outcome.cell.regime)
}

fn objectives(outcomes: &[Outcome]) -> Vec<Objective> {
    distinct(outcomes, |outcome| outcome.cell.objective)
}

fn metrics(outcomes: &[Outcome], setting: &Setting, collection: &str) -> Vec<Panel> {
    let measured = |regime: &Regime| {
        let measured =
            |objective| !evaluations(outcomes, setting, *regime, objective, collection).is_empty();
        objectives(outcomes).into_iter().any(measured)
    };
    let regimes: Vec<Regime> = regimes(outcomes).into_iter().filter(measured).collect();
    let panels = METRICS.iter().map(|(name, metric)| {
        let series = objectives(outcomes).into_iter().map(|objective| {
            let points = regimes.iter().map(|regime| {
                let seeds = evaluations(outcomes, setting, *regime, objective, collection);
                let (mean, half) = interval(&values(&seeds, *metric));
                (mean, half.unwrap_or(0.0))
            });
            Series {
                name: objective.name().into(),
                color: objective.color(),
                points: points.collect(),
            }
        });
        Panel {
            title: format!("{collection}, {name}, 95% over seeds"),
            x: "labels (LLM, merged, curriculum: simulated)".into(),
            y: (*name).into(),
            content: Content::Bars {
                groups: regimes.iter().map(Regime::short_name).collect(),
                series: series.collect(),
            },
        }
    });
    panels.collect()
}

/// nDCG@10 after each epoch, the mean over the seeds, where it was measured.
fn learning(outcomes: &[Outcome], setting: &Setting) -> Vec<Panel> {
    let panel = |regime: Regime| {
        let series = objectives(outcomes).into_iter().map(|objective| {
            let seeds = outcomes.iter().filter(|outcome| {
                let cell = &outcome.cell;
                cell.setting.fits(setting) && cell.regime == regime && cell.objective == objective
            });
            let curves: Vec<Vec<f64>> = seeds
                .filter_map(|outcome| outcome.epochs.iter().map(|epoch| epoch.ndcg_10).collect())
                .collect();
            Series {
                name: objective.name().into(),
                color: objective.color(),
                points: mean_curve(&curves),
            }
        });
        Panel {
            title: format!("labels: {}, 95% over seeds", regime.name()),
            x: "epoch".into(),
            y: "nDCG@10".into(),
            content: Content::Lines {
                series: series.collect(),
                log_x: false,
            },
        }
    };
    let panels = regimes(outcomes).into_iter().map(panel);
    panels.filter(|panel| panel.content.has_points()).collect()
}

/// What share of the gradient on the positives each kind of label has in each epoch, the mean
/// over the seeds, where it was recorded.
fn pulls(outcomes: &[Outcome], setting: &Setting) -> Vec<Panel> {
    let panel = |regime: Regime, kind: usize| {
        let mut series = Vec::new();
        for objective in objectives(outcomes) {
            let seeds = outcomes.iter().filter(|outcome| {
                let cell = &outcome.cell;
                cell.setting.fits(setting) && cell.regime == regime && cell.objective == objective
            });
            let of_epoch = |epoch: &Epoch| epoch.pulls.map(|pulls| pulls.shares()[kind][1]);
            let curves: Vec<Vec<f64>> = seeds
                .filter_map(|outcome| outcome.epochs.iter().map(of_epoch).collect())
                .collect();
            series.push(Series {
                name: objective.name().into(),
                color: objective.color(),
                points: mean_curve(&curves),
            });
        }
        Panel {
            title: format!("{}: {}", regime.short_name(), Pulls::KINDS[kind]),
            x: "epoch".into(),
            y: "share of the pull".into(),
            content: Content::Lines {
                series,
                log_x: false,
            },
        }
    };
    let regimes = regimes(outcomes).into_iter();
    let panels = regimes.flat_map(|regime| (0..Pulls::KINDS.len()).map(move |kind| (regime, kind)));
    let panels = panels.map(|(regime, kind)| panel(regime, kind));
    panels.filter(|panel| panel.content.has_points()).collect()
}

/// Which documents are among the ten best of their train queries, before training and after it,
/// where it was recorded.
fn diagnosis(outcomes: &[Outcome], setting: &Setting) -> Vec<Panel> {
    let mut regimes = regimes(outcomes);
    regimes.retain(|regime| !places(outcomes, setting, *regime, None).is_empty());
    if regimes.is_empty() {
        return Vec::new();
    }
    let panel = |title: &str, y: &str, value: &dyn Fn(&Places) -> f64| {
        let objectives = objectives(outcomes).into_iter().map(Some);
        let series = std::iter::once(None).chain(objectives).map(|objective| {
            let points = regimes.iter().map(|regime| {
                let places = places(outcomes, setting, *regime, objective);
                let values: Vec<f64> = places.iter().map(value).collect();
                let (mean, half) = interval(&values);
                (mean, half.unwrap_or(0.0))
            });
            Series {
                name: objective.map_or("untrained", Objective::name).into(),
                color: objective.map_or(UNTRAINED, Objective::color),
                points: points.collect(),
            }
        });
        Panel {
            title: format!("{title}, 95% over seeds"),
            x: "labels (simulated)".into(),
            y: y.into(),
            content: Content::Bars {
                groups: regimes.iter().map(Regime::short_name).collect(),
                series: series.collect(),
            },
        }
    };
    let kinds = SHOWN.iter().map(|(name, place)| {
        let share = |places: &Places| place(places).top_10;
        panel(name, "share among the ten best", &share)
    });
    let mut panels: Vec<Panel> = kinds.collect();
    panels.push(panel("train queries", "nDCG@10", &|places| places.ndcg_10));
    panels
}

/// The mean of curves over the epochs that all have, and its 95% interval.
fn mean_curve(curves: &[Vec<f64>]) -> Vec<Point> {
    let epochs = curves.iter().map(Vec::len).min().unwrap_or(0);
    let of_epoch = |epoch: usize| {
        let values: Vec<f64> = curves.iter().map(|curve| curve[epoch]).collect();
        point((epoch + 1) as f64, &values)
    };
    (0..epochs).map(of_epoch).collect()
}

/// The mean of seeds, and its 95% interval.
pub fn point(x: f64, values: &[f64]) -> Point {
    let (y, half) = interval(values);
    Point {
        x,
        y,
        half: half.unwrap_or(0.0),
    }
}

/// What may be varied.
struct Varied {
    /// Of the figure.
    name: &'static str,
    /// Of its axis.
    label: &'static str,
    log_x: bool,
    value: fn(&mut Setting) -> &mut dyn Value,
}

const VARIED: [Varied; 3] = [
    Varied {
        name: "temperature",
        label: "temperature",
        log_x: true,
        value: |setting| &mut setting.temperature,
    },
    Varied {
        name: "positives",
        label: "at most so many positives",
        log_x: false,
        value: |setting| &mut setting.max_positives,
    },
    Varied {
        name: "noise",
        label: "relevant share of the further labels",
        log_x: false,
        value: |setting| &mut setting.relevant_share,
    },
];

pub trait Value {
    fn get(&self) -> Option<f64>;
    fn clear(&mut self);
}

impl Value for f64 {
    fn get(&self) -> Option<f64> {
        Some(*self)
    }
    fn clear(&mut self) {
        *self = 0.0;
    }
}

impl Value for Option<f64> {
    fn get(&self) -> Option<f64> {
        *self
    }
    fn clear(&mut self) {
        *self = None;
    }
}

impl Value for Option<usize> {
    fn get(&self) -> Option<f64> {
        self.map(|count| count as f64)
    }
    fn clear(&mut self) {
        *self = None;
    }
}

/// Groups of settings that differ in this value alone, two values at least.
fn varied(outcomes: &[Outcome], value: fn(&mut Setting) -> &mut dyn Value) -> Vec<Vec<Setting>> {
    let mut groups: Vec<(Setting, Vec<Setting>)> = Vec::new();
    for setting in settings(outcomes) {
        let mut others = setting;
        value(&mut others).clear();
        match groups.iter_mut().find(|(known, _)| *known == others) {
            Some((_, group)) => group.push(setting),
            None => groups.push((others, vec![setting])),
        }
    }
    let groups = groups.into_iter().map(|(_, group)| group);
    groups.filter(|group| group.len() > 1).collect()
}

fn sweep(
    outcomes: &[Outcome],
    settings: &[Setting],
    what: &Varied,
    collection: &str,
) -> Vec<Panel> {
    let (_, metric) = METRICS[1];
    let Varied {
        label,
        log_x,
        value,
        ..
    } = *what;
    let panels = regimes(outcomes).into_iter().map(|regime| {
        let series = objectives(outcomes).into_iter().map(|objective| {
            let mut points: Vec<Point> = settings
                .iter()
                .filter_map(|setting| {
                    let seeds = evaluations(outcomes, setting, regime, objective, collection);
                    let values = values(&seeds, metric);
                    let x = value(&mut setting.clone()).get()?;
                    (!values.is_empty()).then(|| point(x, &values))
                })
                .collect();
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            Series {
                name: objective.name().into(),
                color: objective.color(),
                points,
            }
        });
        Panel {
            title: format!("{collection}, labels: {}, 95% over seeds", regime.name()),
            x: label.into(),
            y: "nDCG@10".into(),
            // One point says nothing of a trend.
            content: Content::Lines {
                series: series.filter(|series| series.points.len() > 1).collect(),
                log_x,
            },
        }
    });
    panels.filter(|panel| panel.content.has_points()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_no_dot_in_their_names() {
        let setting = Setting {
            annotator: None,
            relevant_share: Some(0.5),
            clustering: None,
            mistakes: None,
            max_positives: Some(4),
            temperature: 0.05,
            learning_rate: None,
            epochs: None,
        };
        assert_eq!(file_name(&setting), "share0p5_max4_t0p05");
    }
}
