//! The choice, the test, and the answers to the paper's claims, as tables and as JSON.

use std::{fmt::Write, path::Path};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    charts,
    choice::{Choice, Last, mean},
    condition::{Condition, Point},
    sensitivity::{Difference, by_temperature, difference, queries_by_temperature, sensitivity},
};
use crate::{
    objective::Objective,
    output::{write, write_json},
    train::{
        agreement::Agreement,
        cell::Evaluation,
        report::{METRICS, of_queries},
        significance::{effect_size, holm, interval, paired, standard_deviation},
    },
};

pub struct Results<'a> {
    /// A pretrained encoder as it is.
    pub untrained: Option<Evaluation>,
    pub choices: Vec<Choice>,
    pub lasts: Vec<Last>,
    pub seeds: &'a [u64],
    /// Of the labels of a file.
    pub agreement: Option<Agreement>,
}

/// An objective against LSEPair, over queries.
#[derive(Clone, Copy, Serialize)]
struct Against {
    difference: f64,
    /// Cohen's d of the paired differences.
    effect_size: f64,
    p_holm: f64,
}

impl Results<'_> {
    pub fn write_all(&self, out: &Path) -> Result<(), String> {
        write_json(&out.join("results.json"), &self.json())?;
        let tables = self.tables();
        write(&out.join("tables.md"), &tables)?;
        println!("\n{tables}");
        charts::write_all(out, self)
    }

    pub fn conditions(&self) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for last in &self.lasts {
            if !conditions.contains(&last.condition) {
                conditions.push(last.condition);
            }
        }
        conditions
    }

    pub fn under(&self, condition: Condition) -> impl Iterator<Item = &Last> {
        let lasts = self.lasts.iter();
        lasts.filter(move |last| last.condition == condition)
    }

    /// One of each fold.
    pub fn choices_of(&self, last: &Last) -> Vec<&Choice> {
        let choices = self.choices.iter().filter(|choice| {
            choice.condition == last.condition && choice.objective == last.objective
        });
        choices.collect()
    }

    /// Whether a training of its choice did.
    fn diverged(&self, last: &Last) -> bool {
        let choices = self.choices_of(last).into_iter();
        let mut tried = choices.flat_map(|choice| &choice.tried);
        tried.any(|tried| !tried.diverged.is_empty())
    }

    /// The name of a condition, with the share of right labels that its trainings had.
    pub fn short_title(&self, condition: Condition) -> String {
        condition.short_name() + &self.right(condition)
    }

    fn right(&self, condition: Condition) -> String {
        let right = self.under(condition).find_map(|last| last.right);
        let right = right.map(|right| format!(", {:.0}% right", 100.0 * right));
        right.unwrap_or_default()
    }

    fn tables(&self) -> String {
        let queries = self
            .lasts
            .first()
            .map_or(0, |last| last.seeds[0].queries.len());
        let mut text = format!(
            "# Results\n\nWhat is to be set was chosen for each objective by nDCG@10 of held-out \
             train queries, which the trainings of the choice did not see, and which were measured \
             with all their judgements. The chosen was trained on all train queries with {} seeds, \
             and measured on {queries} test queries.\n",
            self.seeds.len()
        );
        if let Some(agreement) = &self.agreement {
            let _ = write!(
                text,
                "\n## The labels of the file, against the human ones\n\n{agreement}"
            );
        }
        self.overview(&mut text);
        for condition in self.conditions() {
            let _ = write!(text, "\n## {condition}{}\n", self.right(condition));
            self.choice(&mut text, condition);
            self.metrics(&mut text, condition);
            self.significance(&mut text, condition);
            self.losses(&mut text, condition);
            self.sensitivity(&mut text, condition);
        }
        text
    }

    /// nDCG@10 of every objective under every condition.
    fn overview(&self, text: &mut String) {
        let conditions = self.conditions();
        *text += "\n## nDCG@10 on the test queries\n\nMeans over seeds, with the half width of \
            their 95% interval.\n\n\
            | objective |";
        for condition in &conditions {
            let _ = write!(text, " {} |", self.short_title(*condition));
        }
        let _ = write!(text, "\n|---|{}\n", "---|".repeat(conditions.len()));
        let (_, ndcg_10) = METRICS[1];
        for objective in self.objectives() {
            let _ = write!(text, "| {} |", objective.name());
            for condition in &conditions {
                let mut lasts = self.under(*condition);
                let last = lasts.find(|last| last.objective == objective);
                let values = last.map(|last| last.values(ndcg_10)).unwrap_or_default();
                *text += &cell(&values);
            }
            *text += "\n";
        }
        if let Some(untrained) = &self.untrained {
            let value = format!(" {:.4} |", untrained.mean.ndcg_10);
            let _ = writeln!(text, "| untrained |{}", value.repeat(conditions.len()));
        }
    }

    fn objectives(&self) -> Vec<Objective> {
        let mut objectives: Vec<_> = self.lasts.iter().map(|last| last.objective).collect();
        objectives.sort();
        objectives.dedup();
        objectives
    }

    fn choice(&self, text: &mut String, condition: Condition) {
        let points: Vec<Point> = match self.choices.first() {
            Some(choice) => choice.tried.iter().map(|tried| tried.point).collect(),
            None => Vec::new(),
        };
        let rate = points
            .iter()
            .any(|one| one.learning_rate != points[0].learning_rate);
        let epochs = points.iter().any(|one| one.epochs != points[0].epochs);
        *text += "\nThe choice: nDCG@10 of the held-out train queries by temperature";
        *text += if rate { ", learning rate" } else { "" };
        *text += if epochs { ", epochs" } else { "" };
        *text += "; mean over seeds. The chosen is bold.";
        let mut lasts = self.under(condition);
        if lasts.any(|last| self.diverged(last)) {
            *text += " A point where a training diverged is not chosen.";
        }
        *text += "\n\n| objective | fold |";
        for point in &points {
            let _ = write!(text, " {}", point.temperature);
            let _ = match rate {
                true => write!(text, ", {}", point.learning_rate),
                false => Ok(()),
            };
            let _ = match epochs {
                true => write!(text, ", {}", point.epochs),
                false => Ok(()),
            };
            *text += " |";
        }
        let _ = write!(text, "\n|---|---|{}\n", "---|".repeat(points.len()));
        for last in self.under(condition) {
            for choice in self.choices_of(last) {
                let fold = choice.fold.as_deref().unwrap_or("");
                let _ = write!(text, "| {} | {fold} |", last.objective.name());
                for tried in &choice.tried {
                    let value = mean(&tried.ndcg_10);
                    let (seeds, diverged) = (tried.ndcg_10.len(), tried.diverged.len());
                    let _ = match tried.point == choice.chosen {
                        true => write!(text, " **{value:.4}** |"),
                        false if diverged == 0 => write!(text, " {value:.4} |"),
                        false if diverged == seeds => write!(text, " diverged |"),
                        false => write!(text, " diverged, {diverged} of {seeds} seeds |"),
                    };
                }
                *text += "\n";
            }
        }
    }

    fn metrics(&self, text: &mut String, condition: Condition) {
        *text += "\nThe test: mean over seeds, half width of its 95% interval, and in brackets \
            the standard deviation.\n\n\
            | objective |";
        METRICS
            .iter()
            .for_each(|(name, _)| *text += &format!(" {name} |"));
        let _ = write!(text, "\n|---|{}\n", "---|".repeat(METRICS.len()));
        for last in self.under(condition) {
            let _ = write!(text, "| {} |", last.objective.name());
            for (_, metric) in METRICS {
                let values = last.values(metric);
                let shown = cell(&values);
                *text += shown.trim_end_matches(" |");
                let deviation = standard_deviation(&values);
                let deviation = deviation.map(|deviation| format!(" ({deviation:.4})"));
                let _ = write!(text, "{} |", deviation.unwrap_or_default());
            }
            *text += "\n";
        }
        if let Some(untrained) = &self.untrained {
            *text += "| untrained |";
            for (_, metric) in METRICS {
                let _ = write!(text, " {:.4} |", metric(&untrained.mean));
            }
            *text += "\n";
        }
    }

    /// Against LSEPair for each metric, in the order of the objectives; `None` for LSEPair itself,
    /// and without it.
    fn against(&self, condition: Condition) -> Vec<(&Last, Option<[Against; METRICS.len()]>)> {
        let lasts: Vec<&Last> = self.under(condition).collect();
        let base = lasts
            .iter()
            .find(|last| last.objective == Objective::LsePair);
        let Some(base) = base else {
            return lasts.into_iter().map(|last| (last, None)).collect();
        };
        let others = lasts.iter().filter(|last| last.objective != base.objective);
        let others: Vec<&Last> = others.copied().collect();
        let tests = METRICS.map(|(_, metric)| {
            let others = others.iter();
            let values = others.map(|last| of_queries(last.seeds.iter(), metric));
            Against::all(
                &of_queries(base.seeds.iter(), metric),
                &values.collect::<Vec<_>>(),
            )
        });
        let place = |last: &&Last| {
            let mut others = others.iter();
            others.position(|other| other.objective == last.objective)
        };
        let of = |place: usize| tests.each_ref().map(|tests| tests[place]);
        lasts
            .iter()
            .map(|last| (*last, place(last).map(of)))
            .collect()
    }

    fn significance(&self, text: &mut String, condition: Condition) {
        let mut lines = String::new();
        for (last, tests) in self.against(condition) {
            let Some(tests) = tests else {
                continue;
            };
            let _ = write!(lines, "| {} |", last.objective.name());
            for test in tests {
                lines += &test.cell();
            }
            lines += "\n";
        }
        if lines.is_empty() {
            return;
        }
        *text += "\nDifference from LSEPair over the test queries, each the mean over seeds; \
            Cohen's d of the \
            paired differences; p of the paired t-test with Holm's correction over the \
            objectives; * is \
            p < 0.05.\n\n| objective |";
        METRICS
            .iter()
            .for_each(|(name, _)| *text += &format!(" {name} |"));
        let _ = write!(text, "\n|---|{}\n{lines}", "---|".repeat(METRICS.len()));
    }

    /// What nDCG@10 of each query the labels of a condition cost, against all judgements: the mean of
    /// each objective, and the comparison with LSEPair's. Empty where there is nothing to compare.
    fn lost(&self, condition: Condition) -> Vec<(&Last, f64, Option<Against>)> {
        let all = Condition::all(condition.max_positives);
        let (_, ndcg_10) = METRICS[1];
        let lost = |last: &'_ Last| {
            let mut alls = self.under(all);
            let all = alls.find(|all| all.objective == last.objective)?;
            let [all, these] = [all, last].map(|last| of_queries(last.seeds.iter(), ndcg_10));
            let lost = all.iter().zip(these).map(|(all, these)| all - these);
            Some(lost.collect::<Vec<f64>>())
        };
        if condition == all {
            return Vec::new();
        }
        let lasts = self.under(condition);
        let lost = lasts.filter_map(|last| Some((last, lost(last)?)));
        let lost: Vec<(&Last, Vec<f64>)> = lost.collect();
        let is_base = |(last, _): &&(&Last, Vec<f64>)| last.objective == Objective::LsePair;
        let others = lost.iter().filter(|one| !is_base(one));
        let others: Vec<Vec<f64>> = others.map(|(_, values)| values.clone()).collect();
        let against = lost.iter().find(is_base);
        let mut against = against.map(|(_, base)| Against::all(base, &others).into_iter());
        let lost = lost.iter().map(|one| {
            let against = match is_base(&one) {
                true => None,
                false => against.as_mut().and_then(Iterator::next),
            };
            (one.0, mean(&one.1), against)
        });
        lost.collect()
    }

    fn losses(&self, text: &mut String, condition: Condition) {
        let mut lines = String::new();
        for (last, lost, against) in self.lost(condition) {
            let _ = write!(lines, "| {} | {lost:.4} |", last.objective.name());
            lines += &against.map_or(" |".into(), |against| against.cell());
            lines += "\n";
        }
        if !lines.is_empty() {
            *text += "\nWhat these labels cost of nDCG@10, against all judgements, and beyond what \
                they cost LSEPair, tested as above.\n\n\
                | objective | lost | beyond LSEPair |\n|---|---|---|\n";
            *text += &lines;
        }
    }

    /// The areas under the curves over the temperature against that of LSEPair, in the order of the
    /// objectives; `None` for LSEPair itself, and without it. The intervals hold together.
    fn areas(&self, condition: Condition) -> Vec<(&Last, Option<Difference>)> {
        let lasts: Vec<&Last> = self.under(condition).collect();
        let curve = |last: &Last| queries_by_temperature(&self.choices_of(last));
        let mut base = lasts.iter();
        let base = base.find(|last| last.objective == Objective::LsePair);
        let base = base.map(|last| curve(last));
        let confidence = 1.0 - 0.05 / (lasts.len() - 1).max(1) as f64;
        let areas = lasts.into_iter().map(|last| {
            let base = base.as_ref();
            let base = base.filter(|_| last.objective != Objective::LsePair);
            let found = base.and_then(|base| difference(&curve(last), base, confidence));
            (last, found)
        });
        areas.collect()
    }

    fn sensitivity(&self, text: &mut String, condition: Condition) {
        let mut lines = String::new();
        let mut diverged = false;
        for (last, area) in self.areas(condition) {
            diverged |= self.diverged(last);
            let curve = by_temperature(&self.choices_of(last));
            if let Some(found) = sensitivity(&curve) {
                let _ = write!(lines, "| {} |", last.objective.name());
                lines += &cell(&found.area);
                lines += &cell(&found.worst);
                lines += &area.map_or(" |".into(), |area| area.cell());
                lines += "\n";
            }
        }
        if !lines.is_empty() {
            *text += "\nSensitivity to the temperature, from the choice: nDCG@10 relative to each \
                objective's best, its mean over the logarithm of the temperature, and at the \
                worst temperature; means over seeds with their 95% interval. Last, the \
                difference of that mean from LSEPair's, with an interval by the bootstrap over \
                the held-out queries, at a level that makes all of this table's hold together \
                with 95%; * leaves 0 out.";
            *text += match diverged {
                true => " A training that diverged counts as 0.",
                false => "",
            };
            *text += "\n\n| objective | mean | worst | from LSEPair |\n|---|---|---|---|\n";
            *text += &lines;
        }
    }

    fn json(&self) -> Value {
        let conditions = self.conditions().into_iter();
        let tested = conditions.flat_map(|condition| {
            let lost = self.lost(condition);
            let tested = self.against(condition).into_iter();
            // Both have the objectives of the condition in their order.
            let tested = tested.zip(self.areas(condition));
            let tested = tested.map(|((last, against), (_, area))| {
                let mut lost = lost.iter();
                let lost = lost.find(|(other, ..)| other.objective == last.objective);
                let lost = lost.map(
                    |(_, lost, against)| json!({ "ndcg_10": lost, "beyond_lse_pair": against }),
                );
                (last, against, area, lost)
            });
            tested.collect::<Vec<_>>()
        });
        let tested = tested.map(|(last, against, area, lost)| {
            let metrics = METRICS.iter().enumerate().map(|(place, (name, metric))| {
                let values = last.values(*metric);
                let (mean, half) = interval(&values);
                let of_metric = json!({
                    "seeds": values,
                    "mean": mean,
                    "standard_deviation": standard_deviation(&values),
                    "interval_half_width": half,
                    "against_lse_pair": against.map(|against| against[place]),
                });
                (name.to_string(), of_metric)
            });
            json!({
                "condition": last.condition,
                "objective": last.objective,
                "chosen": last.chosen,
                "right_labels": last.right,
                "metrics": metrics.collect::<Map<_, _>>(),
                "lost": lost,
                "sensitivity": sensitivity(&by_temperature(&self.choices_of(last))),
                "sensitivity_against_lse_pair": area,
            })
        });
        json!({
            "seeds": self.seeds,
            "untrained": self.untrained.as_ref().map(|untrained| untrained.mean),
            "annotator": self.agreement,
            "choices": self.choices,
            "test": tested.collect::<Vec<_>>(),
        })
    }
}

impl Against {
    /// Each of the others against the base, one value of each query, with Holm's correction over
    /// the others.
    fn all(base: &[f64], others: &[Vec<f64>]) -> Vec<Self> {
        let tests = others.iter().map(|other| paired(other, base));
        let (differences, p_values): (Vec<f64>, Vec<f64>) = tests.unzip();
        let others = others.iter().zip(differences).zip(holm(&p_values));
        let tests = others.map(|((other, difference), p_holm)| Self {
            difference,
            effect_size: effect_size(other, base),
            p_holm,
        });
        tests.collect()
    }

    /// As the cell of a table.
    fn cell(&self) -> String {
        let Self {
            difference,
            effect_size,
            p_holm,
        } = self;
        let mark = if *p_holm < 0.05 { " *" } else { "" };
        let p = match *p_holm < 0.0001 {
            true => "< 0.0001".into(),
            false => format!("{p_holm:.4}"),
        };
        format!(" {difference:+.4}, d {effect_size:+.2} ({p}){mark} |")
    }
}

impl Difference {
    /// As the cell of a table.
    fn cell(&self) -> String {
        let Self {
            area,
            interval: [low, high],
        } = self;
        let mark = if *low > 0.0 || *high < 0.0 { " *" } else { "" };
        format!(" {area:+.4} [{low:+.4}, {high:+.4}]{mark} |")
    }
}

impl Last {
    /// One of each seed.
    pub fn values(&self, metric: fn(&retrieval::Metrics) -> f64) -> Vec<f64> {
        self.seeds.iter().map(|seed| metric(&seed.mean)).collect()
    }
}

/// The mean and the half width of its interval, as the cell of a table.
fn cell(values: &[f64]) -> String {
    if values.is_empty() {
        return " |".into();
    }
    match interval(values) {
        (mean, Some(half)) => format!(" {mean:.4} ± {half:.4} |"),
        (mean, None) => format!(" {mean:.4} |"),
    }
}
