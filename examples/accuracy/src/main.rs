//! The errors of every objective, option and path against exact arithmetic.
//!
//! ```text
//! # docs/accuracy.md and its figure; PYTHON has PyTorch and JAX.
//! cargo run --release -p accuracy -- --out docs/accuracy.md --python PYTHON
//! # One row of the page again.
//! cargo run --release -p accuracy -- --replay 'OBJECTIVE ROW'
//! ```

mod errors;
mod figure;
mod grid;
mod measure;
mod objectives;
mod oracle;
mod origin;
mod page;
mod paths;
mod peers;
mod precision;
mod real;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;

use grid::{Plan, plans};
use measure::Measured;
use objectives::Setting;
use peers::Peers;

/// Measure the errors of every objective, option and path against exact arithmetic.
#[derive(Parser)]
struct Arguments {
    /// The page to write; its figure goes to the folder `figures` beside it
    #[arg(long, value_name = "FILE", default_value = "docs/accuracy.md")]
    out: PathBuf,
    /// A Python that has PyTorch and JAX, which run on the same rows
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Where what was measured is kept; what is there is not measured again
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Measure those rows alone whose names begin so, such as f32/257
    #[arg(long, value_name = "START", default_value = "")]
    only: String,
    /// Print the errors of one row instead: an objective and a row, as the page names them
    #[arg(long, value_name = "NAME")]
    replay: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.replay {
        Some(name) => replay(name),
        None => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let mut peers = match &arguments.python {
        Some(python) => Some(Peers::start(python)?),
        None => None,
    };
    let mut measured = Measured::default();
    let start = Instant::now();
    let is_meant = |plan: &Plan| plan.name().starts_with(&arguments.only);
    for plan in plans(false).into_iter().filter(is_meant) {
        measured.extend(of_plan(plan, arguments.keep.as_deref(), peers.as_mut())?);
        eprintln!(
            "{:4.0} s: {}, {} candidates, spread {:e}",
            start.elapsed().as_secs_f64(),
            plan.precision.name(),
            plan.documents,
            plan.spread
        );
    }
    let origin = origin::here(peers.map(|peers| peers.versions.clone()));
    let records = &measured.records;
    let figure = figure::figure(&page::panels(records), &page::forms(records));
    let folder = arguments.out.parent().unwrap_or(Path::new("."));
    let folder = folder.join("figures");
    let write = |path: &Path, text: String| {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    write(&folder.join("accuracy.svg"), figure)?;
    write(&arguments.out, page::page(&measured, &origin))?;
    println!("{}", arguments.out.display());
    measured.assert_bounds()
}

/// Measures a cell, or reads what was measured of it.
fn of_plan(plan: Plan, keep: Option<&Path>, peers: Option<&mut Peers>) -> Result<Measured, String> {
    let file = keep.map(|folder| folder.join(plan.name().replace('/', "_") + ".json"));
    if let Some(kept) = file.as_ref().and_then(|file| fs::read(file).ok()) {
        return serde_json::from_slice(&kept).map_err(|error| format!("{file:?}: {error}"));
    }
    let mut measured = Measured::default();
    measured.add(&plan.cell(), peers)?;
    if let Some(file) = file {
        let text = serde_json::to_vec(&measured).map_err(|error| error.to_string())?;
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(measured)
}

fn replay(name: &str) -> Result<(), String> {
    let unknown = || format!("--replay {name}: there is no such objective or row");
    let (setting, row) = name.split_once(' ').ok_or_else(unknown)?;
    let setting = Setting::find(setting).ok_or_else(unknown)?;
    let mut plans = plans(false).into_iter().chain(plans(true));
    let plan = plans.find(|plan| row.starts_with(&plan.name()));
    let mut cell = plan
        .ok_or_else(unknown)?
        .cell()
        .only(row)
        .ok_or_else(unknown)?;
    cell.settings = vec![setting];
    let mut measured = Measured::default();
    measured.add(&cell, None)?;
    for record in &measured.records {
        println!("{}: loss {:e}", record.form, record.loss);
        println!("  {:?}", record.errors);
    }
    Ok(())
}
