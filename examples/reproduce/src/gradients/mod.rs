//! The paper's analysis, exactly: gradients of the library beside the closed forms,
//! claims, figures.

mod claims;
mod figures;
mod neighbours;
mod row;

use std::{fmt::Write, path::PathBuf};

use clap::Args;
use serde::Serialize;

use crate::{
    objective::Objective,
    output::{claim, key, write, write_json},
};
use row::Row;

#[derive(Args)]
pub struct Arguments {
    /// Tables, figures, and everything as JSON
    #[arg(long, value_name = "DIR", default_value = "reproduction/gradients")]
    out: PathBuf,
}

pub struct Pattern {
    pub name: &'static str,
    pub row: Row,
}

fn patterns() -> Vec<Pattern> {
    vec![
        strong_and_weak(),
        false_positive(),
        Pattern {
            name: "all equal",
            row: Row::new(&[0.0; 2], &[0.0; 4]),
        },
        Pattern {
            name: "many positives",
            row: Row::new(
                &[2.5, 2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0],
                &[1.0, 0.0, -1.0],
            ),
        },
        Pattern {
            name: "one hard and many easy negatives",
            row: Row::new(&[2.0, 1.0], &[1.8, -3.0, -4.0, -5.0]),
        },
    ]
}

fn strong_and_weak() -> Pattern {
    Pattern {
        name: "a strong and a weak positive",
        row: Row::new(&[3.0, -0.5], &[1.0, 0.5, 0.0, -1.0]),
    }
}

fn false_positive() -> Pattern {
    Pattern {
        name: "two positives and a false one far below",
        row: Row::new(&[3.0, 2.5, -6.0], &[1.0, 0.5, 0.0, -1.0]),
    }
}

/// One positive's score from far below to far above; another stays at 1, negatives at 1,
/// 0.5, 0, -1.
fn sweep() -> impl Iterator<Item = (f64, Row)> {
    (0..=160).map(|step| {
        let score = -8.0 + f64::from(step) * 0.1;
        (score, Row::new(&[score, 1.0], &[1.0, 0.5, 0.0, -1.0]))
    })
}

#[derive(Serialize)]
struct Report {
    patterns: Vec<PatternReport>,
    claims: Vec<ClaimReport>,
}

#[derive(Serialize)]
struct PatternReport {
    name: &'static str,
    positives: Vec<f64>,
    negatives: Vec<f64>,
    objectives: Vec<ObjectiveReport>,
}

#[derive(Serialize)]
struct ObjectiveReport {
    objective: String,
    #[serde(skip)]
    name: &'static str,
    loss: f64,
    library: Vec<f64>,
    closed_form: Vec<f64>,
}

#[derive(Serialize)]
struct ClaimReport {
    line: String,
    #[serde(skip)]
    text: String,
    holds: bool,
}

pub fn run(args: &Arguments) -> Result<(), String> {
    const NAME: &str = "gradients.json";
    let _lock = claim(&args.out, NAME)?;
    let patterns: Vec<PatternReport> = patterns().iter().map(show).collect();
    let claims = claims::claims();
    println!("claims");
    for claim in &claims {
        println!("{claim}");
    }
    let claims = claims.into_iter().map(|claim| ClaimReport {
        line: claim.to_string(),
        holds: claim.holds,
        text: claim.text,
    });
    let report = Report {
        patterns,
        claims: claims.collect(),
    };
    write_json(&args.out.join(NAME), &report)?;
    write(&args.out.join("tables.md"), tables(&report))?;
    figures::write_all(&args.out)?;
    neighbours::write(&args.out.join("neighbours"))?;
    neighbours::write_the_papers(&args.out.join("objectives"))?;
    println!("\nfigures: {}", args.out.display());
    Ok(())
}

/// The claims, and the library's gradients on each pattern.
fn tables(report: &Report) -> String {
    let mut text = String::from("# The analysis\n\n| claim | |\n|---|---|\n");
    for ClaimReport {
        text: claim, holds, ..
    } in &report.claims
    {
        let verdict = if *holds { "holds" } else { "**fails**" };
        // A bar in a claim is not one of the table.
        let _ = writeln!(text, "| {} | {verdict} |", claim.replace('|', "\\|"));
    }
    for pattern in &report.patterns {
        let _ = write!(
            text,
            "\n## Gradients: {}\n\n| objective | loss |",
            pattern.name
        );
        let names = [("p", &pattern.positives), ("n", &pattern.negatives)];
        for (name, scores) in names {
            scores
                .iter()
                .for_each(|score| text += &format!(" {name} {score} |"));
        }
        let scores = pattern.positives.len() + pattern.negatives.len();
        let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(scores));
        for objective in &pattern.objectives {
            let _ = write!(text, "| {} | {:.5} |", objective.name, objective.loss);
            let gradients = objective.library.iter();
            gradients.for_each(|value| text += &format!(" {value:+.5} |"));
            text += "\n";
        }
    }
    text
}

/// Prints what each objective puts on each document: the library's gradient, and below it
/// the closed form.
fn show(pattern: &Pattern) -> PatternReport {
    let row = &pattern.row;
    println!("{}", pattern.name);
    print!("{:32} {:>9} ", "", "loss");
    let names = ["p", "n"].into_iter().zip([&row.positives, &row.negatives]);
    for (name, scores) in names {
        scores
            .iter()
            .for_each(|score| print!(" {:>9}", format!("{name} {score}")));
    }
    println!();
    let objectives = Objective::analysed().map(|objective| {
        let (library, closed) = (row.library(objective), row.closed(objective));
        for (name, gradient) in [(objective.name(), &library), ("  closed form", &closed)] {
            print!("{name:32} {:9.5} ", gradient.loss);
            gradient.all().for_each(|value| print!(" {value:+9.5}"));
            println!();
        }
        ObjectiveReport {
            objective: key(&objective),
            name: objective.name(),
            loss: library.loss,
            library: library.all().collect(),
            closed_form: closed.all().collect(),
        }
    });
    let objectives = objectives.collect();
    println!();
    PatternReport {
        name: pattern.name,
        positives: row.positives.clone(),
        negatives: row.negatives.clone(),
        objectives,
    }
}
