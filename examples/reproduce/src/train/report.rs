//! All finished cells of a folder as tables, figures and one file of JSON.

use std::{fmt::Write, path::Path};

use retrieval::Metrics;

use super::{
    cell::{Epoch, Evaluation, Outcome, Setting},
    charts,
    diagnosis::{Places, SHOWN},
    labels::Regime,
    pulls::Pulls,
    significance::{holm, interval, paired},
};
use crate::{
    objective::Objective,
    output::{key, write, write_json},
};

/// A metric and its name.
pub type Metric = (&'static str, fn(&Metrics) -> f64);

pub const METRICS: [Metric; 4] = [
    ("MRR@10", |metrics| metrics.mrr_10),
    ("nDCG@10", |metrics| metrics.ndcg_10),
    ("Recall@100", |metrics| metrics.recall_100),
    ("Recall@1000", |metrics| metrics.recall_1000),
];

pub fn write_all(out: &Path, outcomes: &[Outcome]) -> Result<(), String> {
    if outcomes.is_empty() {
        return Ok(());
    }
    write_json(&out.join("results.json"), &outcomes)?;
    let tables = tables(outcomes);
    write(&out.join("tables.md"), &tables)?;
    println!("\n{tables}");
    charts::write_all(out, outcomes)
}

/// The settings that have tables of their own. A regime that a part of a setting makes no difference
/// to stands in each.
pub fn settings(outcomes: &[Outcome]) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for outcome in outcomes {
        let setting = outcome.cell.setting;
        if !settings.contains(&setting) {
            settings.push(setting);
        }
    }
    let general = |one: &Setting| settings.iter().any(|other| one != other && one.fits(other));
    let special: Vec<Setting> = settings
        .iter()
        .filter(|one| !general(one))
        .copied()
        .collect();
    special
}

pub fn describe(setting: &Setting) -> String {
    let mut parts = Vec::new();
    parts.extend(setting.annotator.map(|annotator| {
        let share = setting.relevant_share.unwrap_or_default();
        let mut text = format!(
            "simulated annotator {}, {share} of its further labels relevant",
            annotator.name()
        );
        if let Some(mistakes) = setting.mistakes {
            text += &format!(", the others {}", key(&mistakes));
        }
        if let Some(clustering) = setting.clustering {
            text += &format!(", clustering {clustering}");
        }
        text
    }));
    parts.extend(
        setting
            .max_positives
            .map(|count| format!("at most {count} positives")),
    );
    parts.push(format!("temperature {}", setting.temperature));
    parts.join("; ")
}

/// What the outcomes hold for one regime and objective: the seed, and the evaluation.
pub fn evaluations<'a>(
    outcomes: &'a [Outcome],
    setting: &Setting,
    regime: Regime,
    objective: Objective,
    collection: &str,
) -> Vec<(u64, &'a Evaluation)> {
    let outcomes = outcomes.iter().filter(|outcome| {
        let cell = &outcome.cell;
        cell.setting.fits(setting) && cell.regime == regime && cell.objective == objective
    });
    let evaluations = outcomes.flat_map(|outcome| {
        let seed = outcome.cell.seed;
        outcome
            .collections
            .iter()
            .map(move |evaluation| (seed, evaluation))
    });
    evaluations
        .filter(|(_, evaluation)| evaluation.name == collection)
        .collect()
}

/// The metric's mean of each seed.
pub fn values(seeds: &[(u64, &Evaluation)], metric: fn(&Metrics) -> f64) -> Vec<f64> {
    let values = seeds.iter().map(|(_, evaluation)| metric(&evaluation.mean));
    values.collect()
}

/// The distinct values of something, in their own order.
pub fn distinct<T: Ord>(outcomes: &[Outcome], value: impl Fn(&Outcome) -> T) -> Vec<T> {
    let mut values: Vec<T> = outcomes.iter().map(value).collect();
    values.sort();
    values.dedup();
    values
}

pub fn collections(outcomes: &[Outcome]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for evaluation in outcomes.iter().flat_map(|outcome| &outcome.collections) {
        if !names.contains(&evaluation.name) {
            names.push(evaluation.name.clone());
        }
    }
    names
}

fn tables(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "# Results\n\nMeans over seeds, with the half width of the 95% interval over seeds. LLM, merged and curriculum labels are simulated.\n",
    );
    annotators(&mut text, outcomes);
    for setting in settings(outcomes) {
        for collection in collections(outcomes) {
            let _ = write!(text, "\n## {collection}; {}\n\n", describe(&setting));
            metrics(&mut text, outcomes, &setting, &collection);
            significance(&mut text, outcomes, &setting, &collection);
        }
        pulls(&mut text, outcomes, &setting);
        diagnosis(&mut text, outcomes, &setting);
    }
    text
}

/// What was asked of the simulated annotators, and what they reached.
fn annotators(text: &mut String, outcomes: &[Outcome]) {
    let mut lines: Vec<String> = Vec::new();
    for outcome in outcomes {
        let (Some(annotator), Some(report)) =
            (outcome.cell.setting.annotator, outcome.simulated_annotator)
        else {
            continue;
        };
        let (asked, reached) = (report.asked, report.reached);
        let line = format!(
            "| {} | {} | {:.1} / {:.1} | {:.1} / {:.1} | {:.1} / {:.2} | {:.2} / {:.2} | {:.1} | {:.1} |",
            annotator.name(),
            outcome.cell.seed,
            100.0 * asked.precision,
            100.0 * reached.precision,
            100.0 * asked.recall,
            100.0 * reached.recall,
            asked.average,
            reached.average,
            report.relevant_share_asked,
            report.relevant_share_reached,
            100.0 * report.correct,
            100.0 * report.unlabelled,
        );
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if !lines.is_empty() {
        *text += "\nSimulated annotators, asked / reached. Precision and recall are against the human label, one a query; \
            correct is the share of labels that are judged relevant.\n\n\
            | simulated annotator | seed | precision | recall | labels a query | relevant among the further labels | correct | queries without a label |\n\
            |---|---|---|---|---|---|---|---|\n";
        *text += &lines.join("\n");
        *text += "\n";
    }
}

fn metrics(text: &mut String, outcomes: &[Outcome], setting: &Setting, collection: &str) {
    *text += "| labels | objective |";
    METRICS
        .iter()
        .for_each(|(name, _)| *text += &format!(" {name} |"));
    *text += " seeds |\n|---|---|";
    *text += &"---|".repeat(METRICS.len() + 1);
    *text += "\n";
    for regime in distinct(outcomes, |outcome| outcome.cell.regime) {
        for objective in distinct(outcomes, |outcome| outcome.cell.objective) {
            let seeds = evaluations(outcomes, setting, regime, objective, collection);
            if seeds.is_empty() {
                continue;
            }
            let _ = write!(text, "| {} | {} |", regime.name(), objective.name());
            for (_, metric) in METRICS {
                let (mean, half) = interval(&values(&seeds, metric));
                let _ = match half {
                    Some(half) => write!(text, " {mean:.4} ± {half:.4} |"),
                    None => write!(text, " {mean:.4} |"),
                };
            }
            let _ = writeln!(text, " {} |", seeds.len());
        }
    }
}

/// Whom the losses pull up in the first epoch and in the last, where it was recorded.
fn pulls(text: &mut String, outcomes: &[Outcome], setting: &Setting) {
    let mut lines = String::new();
    for regime in distinct(outcomes, |outcome| outcome.cell.regime) {
        for objective in distinct(outcomes, |outcome| outcome.cell.objective) {
            let of = outcomes.iter().filter(|outcome| {
                let cell = &outcome.cell;
                cell.setting.fits(setting) && cell.regime == regime && cell.objective == objective
            });
            let ends = of.filter_map(|outcome| {
                let pulls = |epoch: &Epoch| Some(epoch.pulls?.shares());
                Some([
                    pulls(outcome.epochs.first()?)?,
                    pulls(outcome.epochs.last()?)?,
                ])
            });
            let ends: Vec<_> = ends.collect();
            if ends.is_empty() {
                continue;
            }
            let _ = write!(lines, "| {} | {} |", regime.name(), objective.name());
            for kind in 0..Pulls::KINDS.len() {
                let mean = |end: usize, part: usize| {
                    let sum: f64 = ends.iter().map(|ends| ends[end][kind][part]).sum();
                    100.0 * sum / ends.len() as f64
                };
                let _ = write!(
                    lines,
                    " {:.1} of {:.1}, {:.1} of {:.1} |",
                    mean(0, 1),
                    mean(0, 0),
                    mean(1, 1),
                    mean(1, 0)
                );
            }
            lines += "\n";
        }
    }
    if !lines.is_empty() {
        *text += "\nPercent of the pull on the labels, of percent of the labels, in the first \
            epoch and in the last.\n\n| labels | objective |";
        Pulls::KINDS
            .iter()
            .for_each(|name| *text += &format!(" {name} |"));
        *text += "\n|---|---|";
        *text += &"---|".repeat(Pulls::KINDS.len());
        *text += "\n";
        *text += &lines;
    }
}

/// Where the documents of the train queries lie, one for each seed: after training with an
/// objective, or before it.
pub fn places(
    outcomes: &[Outcome],
    setting: &Setting,
    regime: Regime,
    objective: Option<Objective>,
) -> Vec<Places> {
    let mut seeds = Vec::new();
    let mut places = Vec::new();
    for Outcome {
        cell, diagnosis, ..
    } in outcomes
    {
        let fits = cell.setting.fits(setting) && cell.regime == regime;
        let Some(diagnosis) = diagnosis.filter(|_| fits) else {
            continue;
        };
        match objective {
            Some(objective) if objective == cell.objective => places.push(diagnosis.after),
            None if !seeds.contains(&cell.seed) => {
                seeds.push(cell.seed);
                places.push(diagnosis.before);
            }
            _ => {}
        }
    }
    places
}

/// What encoders make of the labels of their train queries, where it was recorded.
fn diagnosis(text: &mut String, outcomes: &[Outcome], setting: &Setting) {
    let mut lines = [String::new(), String::new()];
    let objectives = distinct(outcomes, |outcome| outcome.cell.objective).into_iter();
    let objectives: Vec<_> = std::iter::once(None).chain(objectives.map(Some)).collect();
    for regime in distinct(outcomes, |outcome| outcome.cell.regime) {
        counts(&mut lines[0], outcomes, setting, regime);
        for &objective in &objectives {
            let seeds = places(outcomes, setting, regime, objective);
            if seeds.is_empty() {
                continue;
            }
            let name = objective.map_or("untrained", Objective::name);
            for lines in &mut lines {
                let _ = write!(lines, "| {} | {name} |", regime.name());
            }
            let of_seeds = |value: &dyn Fn(&Places) -> f64| percent(seeds.iter().map(value));
            lines[0] += &of_seeds(&|places| places.ndcg_10);
            for (_, place) in SHOWN {
                lines[0] += &of_seeds(&|places| place(places).top_10);
                lines[1] += &of_seeds(&|places| place(places).reciprocal_rank);
            }
            lines.iter_mut().for_each(|lines| *lines += "\n");
        }
    }
    let [top_10, reciprocal_rank] = lines;
    if top_10.is_empty() {
        return;
    }
    let head = |columns: &[&str]| {
        let kinds = SHOWN.iter().map(|(name, _)| *name);
        let names: Vec<&str> = columns.iter().copied().chain(kinds).collect();
        format!(
            "| {} |\n{}|\n",
            names.join(" | "),
            "|---".repeat(names.len())
        )
    };
    let _ = write!(
        text,
        "\nTrain queries and their labels, before training and after: nDCG@10 against all \
         judgements, and what share of the documents is among the ten best of its query, in \
         percent. Weak are documents that were not among the ten best before, strong those that \
         were.\n\n{}{top_10}\nThe same documents: the mean of the reciprocal rank, in \
         percent.\n\n{}{reciprocal_rank}",
        head(&["labels", "objective", "nDCG@10"]),
        head(&["labels", "objective"])
    );
}

/// How many queries and documents the shares are of, the mean over the seeds.
fn counts(lines: &mut String, outcomes: &[Outcome], setting: &Setting, regime: Regime) {
    let seeds = places(outcomes, setting, regime, None);
    if seeds.is_empty() {
        return;
    }
    let mean = |count: &dyn Fn(&Places) -> usize| {
        let sum: usize = seeds.iter().map(count).sum();
        sum as f64 / seeds.len() as f64
    };
    let queries = mean(&|places| places.queries);
    let _ = write!(
        lines,
        "| {} | queries, documents | {queries:.0} |",
        regime.name()
    );
    for (_, place) in SHOWN {
        let _ = write!(lines, " {:.0} |", mean(&|places| place(places).documents));
    }
    *lines += "\n";
}

/// The mean of shares and the half width of its interval, as the cell of a table.
fn percent(values: impl Iterator<Item = f64>) -> String {
    let values: Vec<f64> = values.map(|value| 100.0 * value).collect();
    match interval(&values) {
        (mean, Some(half)) => format!(" {mean:.1} ± {half:.1} |"),
        (mean, None) => format!(" {mean:.1} |"),
    }
}

/// Against LSEPair, over queries, each the mean over the seeds.
fn significance(text: &mut String, outcomes: &[Outcome], setting: &Setting, collection: &str) {
    let mut lines = String::new();
    for regime in distinct(outcomes, |outcome| outcome.cell.regime) {
        let of = |objective| evaluations(outcomes, setting, regime, objective, collection);
        let base = of(Objective::LsePair);
        // Over the seeds that both have.
        let others: Vec<(Objective, Pairs)> = distinct(outcomes, |outcome| outcome.cell.objective)
            .into_iter()
            .filter(|objective| *objective != Objective::LsePair)
            .map(|objective| (objective, pairs(&of(objective), &base)))
            .filter(|(_, pairs)| !pairs.is_empty())
            .collect();
        let tests = METRICS.map(|(_, metric)| {
            let tests = others.iter().map(|(_, pairs)| {
                let ours = of_queries(pairs.iter().map(|pair| pair.0), metric);
                paired(&ours, &of_queries(pairs.iter().map(|pair| pair.1), metric))
            });
            let (means, p_values): (Vec<f64>, Vec<f64>) = tests.unzip();
            let tests = means.into_iter().zip(holm(&p_values));
            tests.collect::<Vec<_>>()
        });
        for (place, (objective, _)) in others.iter().enumerate() {
            let _ = write!(lines, "| {} | {} |", regime.name(), objective.name());
            for test in &tests {
                let (mean, p) = test[place];
                let mark = if p < 0.05 { " *" } else { "" };
                let p = match p < 0.0001 {
                    true => "< 0.0001".into(),
                    false => format!("{p:.4}"),
                };
                let _ = write!(lines, " {mean:+.4} ({p}){mark} |");
            }
            lines += "\n";
        }
    }
    if !lines.is_empty() {
        *text += "\nDifference from LSEPair with the same labels, and p of the paired t-test over queries (each the mean over \
            seeds) with Holm's correction over the objectives; * is p < 0.05.\n\n| labels | objective |";
        METRICS
            .iter()
            .for_each(|(name, _)| *text += &format!(" {name} |"));
        *text += "\n|---|---|";
        *text += &"---|".repeat(METRICS.len());
        *text += "\n";
        *text += &lines;
    }
}

/// Evaluations of the same seed.
type Pairs<'a> = Vec<(&'a Evaluation, &'a Evaluation)>;

fn pairs<'a>(ours: &[(u64, &'a Evaluation)], theirs: &[(u64, &'a Evaluation)]) -> Pairs<'a> {
    let pairs = ours.iter().flat_map(|(seed, ours)| {
        let same = theirs.iter().filter(move |(other, _)| other == seed);
        same.map(|(_, theirs)| (*ours, *theirs))
    });
    pairs.collect()
}

/// The metric of each query, the mean over the evaluations.
pub fn of_queries<'a>(
    evaluations: impl Iterator<Item = &'a Evaluation>,
    metric: fn(&Metrics) -> f64,
) -> Vec<f64> {
    let evaluations: Vec<&Evaluation> = evaluations.collect();
    let queries = evaluations.first().map_or(0, |one| one.of_queries.len());
    let mean = |query: usize| {
        let values = evaluations.iter().map(|one| metric(&one.of_queries[query]));
        values.sum::<f64>() / evaluations.len() as f64
    };
    (0..queries).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{
        annotator::{Annotator, Mistakes},
        cell::Cell,
    };

    fn outcome(regime: Regime, objective: Objective, seed: u64, values: [f64; 2]) -> Outcome {
        let metrics = |value| Metrics {
            mrr_10: value,
            ndcg_10: value,
            recall_100: value,
            recall_1000: value,
        };
        let asked = regime.asks_an_annotator();
        Outcome {
            cell: Cell {
                regime,
                objective,
                setting: Setting {
                    annotator: asked.then_some(Annotator::UtilSelQwen),
                    relevant_share: asked.then_some(0.5),
                    clustering: None,
                    mistakes: None,
                    max_positives: asked.then_some(4),
                    temperature: 0.05,
                    learning_rate: None,
                    epochs: None,
                },
                seed,
            },
            simulated_annotator: None,
            seconds: 0.0,
            epochs: vec![Epoch {
                loss: 1.0,
                ndcg_10: None,
                pulls: None,
            }],
            evaluations: Vec::new(),
            collections: vec![Evaluation {
                name: "c".into(),
                mean: metrics((values[0] + values[1]) / 2.0),
                queries: vec!["q1".into(), "q2".into()],
                of_queries: values.map(metrics).to_vec(),
            }],
            diagnosis: None,
            diverged: None,
        }
    }

    #[test]
    fn annotators_that_err_otherwise_stand_apart() {
        let mut outcomes = vec![outcome(Regime::Llm, Objective::LsePair, 1, [0.2, 0.4]); 3];
        outcomes[1].cell.setting.mistakes = Some(Mistakes::Near);
        outcomes[2].cell.setting.clustering = Some(0.5);
        let human = outcome(Regime::Human, Objective::LsePair, 1, [0.2, 0.4]);
        outcomes.push(human);
        assert_eq!(settings(&outcomes).len(), 3);
        let tables = tables(&outcomes);
        assert!(tables.contains("0.5 of its further labels relevant, the others near;"));
        assert!(tables.contains("0.5 of its further labels relevant, clustering 0.5;"));
        for objective in [
            "| LLM (simulated) | LSEPair | 0.3000 |",
            "| human | LSEPair |",
        ] {
            assert_eq!(tables.matches(objective).count(), 3, "{tables}");
        }
    }

    #[test]
    fn a_regime_without_an_annotator_stands_in_the_tables_of_each_setting() {
        let outcomes = [
            outcome(Regime::Human, Objective::LsePair, 1, [0.2, 0.4]),
            outcome(Regime::Llm, Objective::LsePair, 1, [0.2, 0.4]),
        ];
        let settings = settings(&outcomes);
        assert_eq!(settings, [outcomes[1].cell.setting]);
        let tables = tables(&outcomes);
        assert!(tables.contains("| human | LSEPair | 0.3000 |"), "{tables}");
        assert!(
            tables.contains("| LLM (simulated) | LSEPair | 0.3000 |"),
            "{tables}"
        );
    }

    #[test]
    fn tables_have_means_intervals_and_differences() {
        let outcomes = [
            outcome(Regime::Llm, Objective::LsePair, 1, [0.2, 0.4]),
            outcome(Regime::Llm, Objective::LsePair, 2, [0.4, 0.4]),
            outcome(Regime::Llm, Objective::SumMargLh, 1, [0.1, 0.3]),
            outcome(Regime::Llm, Objective::SumMargLh, 2, [0.2, 0.4]),
        ];
        let tables = tables(&outcomes);
        // 12.706 times the standard error 0.05.
        assert!(tables.contains("| LSEPair | 0.3500 ± 0.6353 |"), "{tables}");
        // Differences of the queries: -0.15 and -0.05, so t = -2 with one degree of freedom.
        assert!(
            tables.contains("| SumMargLH | -0.1000 (0.2952) |"),
            "{tables}"
        );
    }
}
