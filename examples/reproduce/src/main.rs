//! Reproduces "Training Dense Retrievers with Multiple Positive Passages" (arXiv 2602.12727).
//!
//! ```text
//! # The analysis, exactly.
//! cargo run --release -p reproduce -- gradients
//! # The experiments, small, on an embedded collection; on a collection in BEIR layout.
//! cargo run --release -p reproduce -- train --quick
//! cargo run --release -p reproduce -- train --data DIR
//! # The same, with temperatures chosen on held-out queries.
//! cargo run --release -p reproduce -- study --data DIR
//! # The written rankings, measured again.
//! cargo run --release -p reproduce -- verify --out DIR
//! # All tables and figures of docs/reproduction.md; DIR holds the collections.
//! cargo run --release -p reproduce -- page --collections DIR --encoder FOLDER
//! ```

mod encoder;
mod gradients;
mod hash;
mod objective;
mod output;
mod page;
mod plot;
mod study;
mod train;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reproduce the paper: its analysis exactly, its experiments at the scale of this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What each objective puts on every positive and negative, and the paper's claims about it
    Gradients(gradients::Arguments),
    /// The experiments: objectives, label regimes and seeds. LLM labels are simulated
    Train(Box<train::Arguments>),
    /// What is to be set chosen for each objective on held-out queries, and then compared
    Study(Box<study::Arguments>),
    /// Measure the rankings that train or study wrote once more, from the files alone
    Verify(verify::Arguments),
    /// All tables and figures of docs/reproduction.md, as far as they are not there
    Page(page::Arguments),
}

impl Command {
    fn run(&self) -> Result<(), String> {
        match self {
            Self::Gradients(arguments) => gradients::run(arguments),
            Self::Train(arguments) => train::run(arguments),
            Self::Study(arguments) => study::run(arguments),
            Self::Verify(arguments) => verify::run(arguments),
            Self::Page(arguments) => page::run(arguments),
        }
    }
}

fn main() -> ExitCode {
    match Arguments::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
