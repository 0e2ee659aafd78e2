//! All tables and figures of docs/reproduction.md, by one command that goes on where it stopped.

mod experiments;
mod record;
mod report;
#[cfg(test)]
#[path = "../../tests/modules/page.rs"]
mod tests;

use std::{num::NonZeroUsize, panic::catch_unwind, path::PathBuf};

use clap::{Args, Parser};

use crate::{
    Command,
    output::{claim, write},
    verify,
};
use experiments::{EXPERIMENTS, Experiment, Places};
use record::{Record, timed};
use report::{Entry, page};

#[derive(Args)]
pub struct Arguments {
    /// Folder of collections, each in BEIR layout and in a folder of its own: nfcorpus, cranfield,
    /// antique_llm [default: experiments that need one are skipped]
    #[arg(long, value_name = "DIR")]
    collections: Option<PathBuf>,
    /// Folder of all-MiniLM-L6-v2, as train takes it [default: experiments that need it are
    /// skipped]
    #[arg(long, value_name = "FOLDER")]
    encoder: Option<PathBuf>,
    /// A folder of results for each experiment, and page.md; what is in it is not run again
    #[arg(long, value_name = "DIR", default_value = "reproduction/page")]
    out: PathBuf,
    /// Where the vectors of texts are kept [default: that of train]
    #[arg(long, value_name = "FOLDER")]
    embeddings: Option<PathBuf>,
    /// Run these experiments alone
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Run the long ones as well
    #[arg(long)]
    long: bool,
    /// Print experiments, their commands and what they cost, and run none
    #[arg(long)]
    list: bool,
    /// Trainings at a time, where they have one thread each [default: that of train]
    #[arg(long, value_name = "COUNT")]
    jobs: Option<NonZeroUsize>,
    /// Write the rankings of studies too, and at the end measure what is written once more
    #[arg(long)]
    verify: bool,
}

pub fn run(args: &Arguments) -> Result<(), String> {
    run_list(args, EXPERIMENTS)
}

fn run_list(args: &Arguments, experiments: &[Experiment]) -> Result<(), String> {
    let is_known = |name: &&String| experiments.iter().any(|one| one.name == **name);
    if let Some(name) = args.only.iter().find(|name| !is_known(name)) {
        let names: Vec<&str> = experiments.iter().map(|one| one.name).collect();
        let names = names.join(", ");
        return Err(format!(
            "--only {name}: there is no such experiment, but {names}"
        ));
    }
    if args.list {
        args.list(experiments);
        return Ok(());
    }
    let _lock = claim(&args.out, "page.md")?;
    let mut entries: Vec<Entry> = experiments
        .iter()
        .map(|one| (one, args.skips(one)))
        .collect();
    let write_page =
        |entries: &[Entry]| write(&args.out.join("page.md"), page(&args.out, entries)?);
    write_page(&entries)?;

    let mut failed = Vec::new();
    for place in 0..entries.len() {
        let (experiment, skipped) = &entries[place];
        let name = experiment.name;
        if let Some(why) = skipped {
            if args.names(experiment) {
                println!("{name}: skipped: {why}");
            }
            continue;
        }
        if let Err(error) = args.run(experiment) {
            eprintln!("{name}: {error}");
            failed.push(format!("{name}: {error}"));
            entries[place].1 = Some(format!("failed: {}", error.trim_end()));
        }
        write_page(&entries)?;
    }
    if args.verify {
        for experiment in experiments {
            if let Err(error) = args.verify(experiment) {
                failed.push(format!("{}, verified: {error}", experiment.name));
            }
        }
    }
    println!("page: {}", args.out.join("page.md").display());
    match failed.as_slice() {
        [] => Ok(()),
        failed => Err(format!(
            "these failed; the results of the others are kept\n{}",
            failed.join("\n")
        )),
    }
}

impl Arguments {
    fn list(&self, experiments: &[Experiment]) {
        for experiment in experiments {
            let Experiment { name, cost, .. } = experiment;
            let long = if experiment.long {
                "; needs --long"
            } else {
                ""
            };
            println!("{name}: {cost}{long}");
            for command in experiment.commands {
                println!("    {}", experiment.line(command, &self.places()));
            }
        }
    }

    /// What was not given has a word in its place.
    fn places(&self) -> Places {
        let unknown = Places::unknown();
        Places {
            collections: self.collections.clone().unwrap_or(unknown.collections),
            encoder: self.encoder.clone().unwrap_or(unknown.encoder),
            out: self.out.clone(),
            embeddings: self.embeddings.clone(),
            jobs: self.jobs,
            rankings: self.verify,
        }
    }

    /// Without --only that is every experiment.
    fn names(&self, experiment: &Experiment) -> bool {
        let mut only = self.only.iter();
        self.only.is_empty() || only.any(|name| name == experiment.name)
    }

    /// Why an experiment does not run.
    fn skips(&self, experiment: &Experiment) -> Option<String> {
        if !self.names(experiment) {
            return Some("not among --only".into());
        }
        if experiment.long && self.only.is_empty() && !self.long {
            return Some("takes long, and runs with --long or --only".into());
        }
        let mut missing = Vec::new();
        if experiment.encoder && self.encoder.is_none() {
            missing.push("--encoder".to_string());
        }
        for name in experiment.collections {
            match &self.collections {
                None => missing.push(format!("--collections, with {name} in it")),
                Some(folder) if !folder.join(name).exists() => {
                    missing.push(folder.join(name).display().to_string());
                }
                Some(_) => {}
            }
        }
        (!missing.is_empty()).then(|| format!("missing: {}", missing.join("; ")))
    }

    fn run(&self, experiment: &Experiment) -> Result<(), String> {
        let folder = self.out.join(experiment.name);
        for command in experiment.commands {
            println!("\n{}", experiment.line(command, &self.places()));
            let parsed = parse(experiment, command, &self.places())?;
            timed(&folder, command, || match catch_unwind(|| parsed.run()) {
                Ok(result) => result,
                Err(_) => Err("panicked, as printed above".into()),
            })?;
        }
        Ok(())
    }

    fn verify(&self, experiment: &Experiment) -> Result<(), String> {
        let out = self.out.join(experiment.name);
        let record = Record::read(&out)?;
        let mut commands = experiment.commands.iter();
        if !commands.all(|command| record.has(command)) || !verify::has_rankings(&out)? {
            return Ok(());
        }
        print!("{}: ", experiment.name);
        verify::run(&verify::Arguments { out })
    }
}

fn parse(experiment: &Experiment, command: &str, places: &Places) -> Result<Command, String> {
    let words = experiment.words(command, places);
    let words = ["reproduce".into()].into_iter().chain(words);
    let parsed = crate::Arguments::try_parse_from(words);
    Ok(parsed.map_err(|error| error.to_string())?.command)
}
