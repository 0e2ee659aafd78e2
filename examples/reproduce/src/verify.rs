//! Measures written rankings once more, from the files alone, and compares with what was reported.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use clap::Args;
use retrieval::{Metrics, Query};

use crate::{
    output::{files, named},
    train::{Outcome, all},
};

#[derive(Args)]
pub struct Arguments {
    /// A folder that train or study wrote
    #[arg(long, value_name = "DIR", default_value = "reproduction/train")]
    pub out: PathBuf,
}

/// What "the same to four digits" means.
const TOLERANCE: f64 = 0.5e-4;

pub fn run(args: &Arguments) -> Result<(), String> {
    let (mut cells, mut runs) = (0, 0);
    for folder in folders(&args.out)? {
        for outcome in all(&folder)? {
            cells += 1;
            runs += verify(&outcome, &folder)?;
        }
    }
    let mut files = vec![args.out.join("tables.md"), args.out.join("results.json")];
    let figures = args.out.join("figures");
    for entry in named(&figures, figures.read_dir())? {
        files.push(named(&figures, entry)?.path());
    }
    for file in &files {
        if named(file, file.metadata())?.len() == 0 {
            return Err(format!("{}: is empty", file.display()));
        }
    }
    if runs == 0 {
        return Err(format!("{}: holds no run", args.out.display()));
    }
    println!(
        "{cells} cells, {runs} runs: the metrics are those of the rankings to 4 digits; \
         {} files beside them",
        files.len()
    );
    Ok(())
}

/// Whether a folder has anything to verify.
pub fn has_rankings(out: &Path) -> Result<bool, String> {
    let mut files = files(out)?.into_iter();
    Ok(files.any(|file| {
        file.extension()
            .is_some_and(|extension| extension == "trec")
    }))
}

/// The folder itself, or those of the folds of a study.
fn folders(out: &Path) -> Result<Vec<PathBuf>, String> {
    if out.join("runs").exists() {
        return Ok(vec![out.to_path_buf()]);
    }
    let mut folds = Vec::new();
    for entry in named(out, out.read_dir())? {
        let folder = named(out, entry)?.path();
        if folder.join("runs").exists() {
            folds.push(folder);
        }
    }
    folds.sort();
    Ok(folds)
}

fn verify(outcome: &Outcome, out: &Path) -> Result<usize, String> {
    for reported in &outcome.collections {
        let path = outcome
            .cell
            .folder(out)
            .join(format!("{}.trec", reported.name));
        let mut numbers = HashMap::new();
        let judged = read_columns::<4>(&out.join(format!("{}.qrels", reported.name)), 0)?;
        let ranked = read_columns::<6>(&path, 0)?;

        let mut measured = Vec::new();
        for id in &reported.queries {
            let mut number = |document: &str| {
                let next = numbers.len();
                *numbers.entry(document.to_string()).or_insert(next)
            };
            let lines = judged.get(id).map_or(&[][..], Vec::as_slice);
            let judgements = lines.iter().map(|[_, _, document, grade]| {
                let grade = grade
                    .parse()
                    .map_err(|_| format!("{id}: grade {grade:?}"))?;
                Ok((number(document), grade))
            });
            let query = Query {
                id: id.clone(),
                text: String::new(),
                judgements: judgements.collect::<Result<_, String>>()?,
            };
            let lines = ranked.get(id).map_or(&[][..], Vec::as_slice);
            let mut ranking = Vec::new();
            for [_, _, document, _, score, _] in lines {
                let score: f32 = named(&path, score.parse::<f32>())?;
                ranking.push((document, score));
            }
            // As trec_eval does it, which does not look at the ranks.
            ranking.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| b.cmp(a)));
            let ranking = ranking.into_iter();
            let ranking = ranking.map(|(document, score)| (number(document), score));
            measured.push(Metrics::of_query(&query, &ranking.collect()));
        }
        compare(&Metrics::mean(&measured), &reported.mean)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(outcome.collections.len())
}

fn compare(measured: &Metrics, reported: &Metrics) -> Result<(), String> {
    for (name, measured, reported) in [
        ("MRR@10", measured.mrr_10, reported.mrr_10),
        ("nDCG@10", measured.ndcg_10, reported.ndcg_10),
        ("Recall@100", measured.recall_100, reported.recall_100),
        ("Recall@1000", measured.recall_1000, reported.recall_1000),
    ] {
        let same = (measured - reported).abs() < TOLERANCE;
        if !same {
            return Err(format!(
                "{name} of the ranking is {measured}, reported was {reported}"
            ));
        }
    }
    Ok(())
}

type Lines<const COLUMNS: usize> = HashMap<String, Vec<[String; COLUMNS]>>;

/// The lines of a file of columns, by one of them.
fn read_columns<const COLUMNS: usize>(path: &Path, by: usize) -> Result<Lines<COLUMNS>, String> {
    let mut lines = Lines::new();
    for (index, line) in BufReader::new(named(path, File::open(path))?)
        .lines()
        .enumerate()
    {
        let line = named(path, line)?;
        let columns: Vec<String> = line.split_whitespace().map(String::from).collect();
        let columns: [String; COLUMNS] = columns.try_into().map_err(|columns: Vec<String>| {
            format!(
                "{}:{}: expected {COLUMNS} columns, got {}",
                path.display(),
                index + 1,
                columns.len()
            )
        })?;
        lines.entry(columns[by].clone()).or_default().push(columns);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(ndcg_10: f64) -> Metrics {
        Metrics {
            mrr_10: 0.5,
            ndcg_10,
            recall_100: 0.5,
            recall_1000: 0.5,
        }
    }

    #[test]
    fn a_fifth_digit_may_differ_and_a_fourth_may_not() {
        assert!(compare(&metrics(0.25), &metrics(0.25004)).is_ok());
        assert!(compare(&metrics(0.25), &metrics(0.2501)).is_err());
        assert!(compare(&metrics(0.25), &metrics(f64::NAN)).is_err());
    }
}
