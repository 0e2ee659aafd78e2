//! All tables and figures as one page.

use std::{fmt::Write, fs, path::Path};

use super::{
    experiments::{Experiment, Places},
    record::{Record, trainings},
};
use crate::output::{files, named};

/// An experiment, and why it is not complete.
pub type Entry<'a> = (&'a Experiment, Option<String>);

pub fn page(out: &Path, entries: &[Entry]) -> Result<String, String> {
    let mut text = String::from(
        "# Tables and figures\n\n\
         Of docs/reproduction.md. Times are wall times, summed over resumed runs. Texts are \
         embedded once, in the time of the first experiment that needs them.\n",
    );
    for (experiment, why) in entries {
        let Experiment { name, heading, .. } = experiment;
        let _ = write!(text, "\n## {name}: {heading}\n\n```text\n");
        for command in experiment.commands {
            let _ = writeln!(text, "{}", experiment.line(command, &Places::unknown()));
        }
        text += "```\n";
        let folder = out.join(name);
        let record = Record::read(&folder)?;
        let commands = experiment.commands.iter();
        let unfinished = commands.filter(|command| !record.has(command)).count();
        if unfinished > 0 {
            let why = why.as_deref().unwrap_or("interrupted, or not run yet");
            let of = experiment.commands.len();
            let _ = writeln!(
                text,
                "\n**Not finished** ({unfinished} of {of} commands): {why}."
            );
        } else if let Some(why) = why {
            let _ = writeln!(text, "\nFinished in an earlier run; in this one: {why}.");
        }
        if record == Record::default() {
            continue;
        }
        let _ = writeln!(text, "\n{}.", cost(&record, trainings(&folder)?));
        let tables = folder.join("tables.md");
        if tables.exists() {
            let tables = named(&tables, fs::read_to_string(&tables))?;
            let _ = write!(text, "\n{}", demoted(&tables));
        }
        for figure in files(&folder)? {
            if figure
                .extension()
                .is_some_and(|extension| extension == "svg")
            {
                let stem = figure.file_stem().unwrap_or_default().to_string_lossy();
                let path = figure.strip_prefix(out).unwrap_or(&figure);
                let _ = writeln!(text, "\n![{stem}]({})", path.display());
            }
        }
    }
    Ok(text)
}

fn cost(record: &Record, trainings: usize) -> String {
    let mut cost = duration(record.seconds);
    if let Some(seconds) = record.processor_seconds {
        let _ = write!(cost, ", {} of processor time", duration(seconds));
    }
    match trainings {
        0 => cost,
        1 => cost + "; 1 training",
        count => cost + &format!("; {count} trainings"),
    }
}

fn duration(seconds: f64) -> String {
    match seconds < 90.0 {
        true => format!("{seconds:.1} seconds"),
        false => format!("{:.1} minutes", seconds / 60.0),
    }
}

/// With its headings below those of the page.
fn demoted(tables: &str) -> String {
    let lines = tables.lines().map(|line| match line.starts_with('#') {
        true => format!("##{line}\n"),
        false => format!("{line}\n"),
    });
    lines.collect()
}
