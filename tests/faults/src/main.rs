//! What trainings come to when something goes wrong: killed at random moments, on a full disk,
//! in a read-only folder, and two in one folder.
//!
//! ```text
//! cargo run --release -p faults                # 60 kills of each program, some minutes
//! cargo run --release -p faults -- --kills 4   # a look at everything
//! ```
//!
//! Each program is run undisturbed first. Then it is killed (SIGKILL) and started again with
//! the same command until it ends by itself, again and again. Every file that it leaves must
//! be that of the undisturbed run, byte for byte but for the seconds that it took, and there
//! must be no other. The program ends with an error as soon as one is not.
//!
//! A full disk and a read-only folder are file systems in memory, which root mounts on Linux;
//! elsewhere they are skipped, and this is said.

mod bank;
mod disk;
mod kills;
mod mount;
mod outcome;
mod pair;
mod program;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::Parser;

use program::programs;

/// Disturb trainings, and compare what comes of them.
#[derive(Parser)]
struct Arguments {
    /// Kills of each program, at least
    #[arg(long, default_value_t = 60)]
    kills: usize,
    /// Of the moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// These programs, by the first word of their names [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Take the programs as they are built
    #[arg(long)]
    built: bool,
    /// Be the training with a memory bank, and write to this folder
    #[arg(long, value_name = "DIR", hide = true)]
    bank: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.bank {
        Some(out) => bank::train(out),
        None => run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let here = here.parent().unwrap_or(Path::new("."));
    if !arguments.built {
        build(here)?;
    }
    let work = Work::new()?;
    let programs = programs(here, &work.0)?;
    let programs = programs.into_iter().filter(|program| {
        let mut only = arguments.only.iter();
        arguments.only.is_empty() || only.any(|word| program.name.starts_with(word.as_str()))
    });
    let mut kills = Vec::new();
    for program in programs {
        let whole = program.undisturbed(&work.0)?;
        println!(
            "{}: {:.2} s undisturbed, {} files, {} bytes",
            program.name,
            whole.seconds,
            whole.files.len(),
            whole.bytes()
        );
        disk::check(&program, &whole, &work.0)?;
        pair::check(&program, &whole, &work.0)?;
        kills.push(kills::check(&program, &whole, &work.0, arguments)?);
    }
    println!("\n| program | kills | while it wrote a file | trainings that ended | lost |");
    println!("|---|---|---|---|---|");
    for row in &kills {
        println!("{row}");
    }
    let total: usize = kills.iter().map(|row| row.kills).sum();
    println!("\n{total} kills, and every training ended with the files of the undisturbed one");
    Ok(())
}

/// Builds the programs beside this one.
fn build(here: &Path) -> Result<(), String> {
    let release = here.ends_with("release").then_some("--release");
    let members = ["-p", "reproduce", "-p", "pretrained"];
    let example = ["--example", "train_dual_encoder"];
    for what in [&members[..], &example] {
        let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
        cargo.args(["build", "--quiet"]).args(release).args(what);
        let status = cargo.status().map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err(format!("cargo build {}: {status}", what.join(" ")));
        }
    }
    Ok(())
}

/// A folder of this run, removed at its end.
struct Work(PathBuf);

impl Work {
    fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("faults-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
