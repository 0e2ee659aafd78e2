//! The experiments: a grid of trainings, each with its files, and what they come to together.

#[cfg(test)]
#[path = "../../tests/modules/adapter.rs"]
mod adapter_tests;
pub mod agreement;
pub mod annotator;
mod arguments;
mod batch;
pub mod cell;
pub mod charts;
mod checkpoint;
mod diagnosis;
pub mod evaluation;
mod failure;
pub mod job;
pub mod labels;
pub mod left_out;
mod lexical;
pub mod prepared;
mod pulls;
pub mod report;
pub mod settings;
pub mod significance;
mod source;
mod tevatron;
mod trainer;
#[cfg(test)]
#[path = "../../tests/modules/transformer.rs"]
pub mod transformer_tests;

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use burn::{backend::DispatchDevice, tensor::Device};
use indicatif::{ProgressBar, ProgressStyle};

pub use arguments::Arguments;
pub use cell::{Outcome, all};

use batch::GroupSize;
use cell::{Cell, Epoch, StepEvaluation};
use checkpoint::Checkpoints;
use diagnosis::Labelled;
use evaluation::{Measured, write_qrels};
use failure::Failure;
use job::Job;
use labels::{Lessons, Phase, lessons};
use prepared::{Prepared, Tested, TrainQuery};
use settings::{Fingerprint, Settings};
use source::Source;
use trainer::{Observer, Trained, Training};

use crate::{
    encoder::{AdapterSource, BagSource, Encoder, EncoderSource, TextOf, TransformerSource},
    output::named,
};

pub fn run(args: &Arguments) -> Result<(), String> {
    args.check()?;
    with_encoder(args, Grid(args))
}

/// Something to do with whatever encoder the arguments ask for.
pub trait WithEncoder {
    fn run<S: EncoderSource>(self, source: S) -> Result<(), String>;
}

pub fn with_encoder(args: &Arguments, task: impl WithEncoder) -> Result<(), String> {
    let options = &args.pretrained;
    let Some(folder) = &options.encoder else {
        return task.run(BagSource);
    };
    let transformer = TransformerSource::open(folder, options)?;
    match options.adapter {
        None => task.run(transformer),
        Some(shape) => {
            let device = args.device()?;
            task.run(AdapterSource::open(transformer, shape, options, &device)?)
        }
    }
}

/// The grid of trainings that the arguments ask for.
struct Grid<'a>(&'a Arguments);

impl WithEncoder for Grid<'_> {
    fn run<S: EncoderSource>(self, source: S) -> Result<(), String> {
        Experiment::new(self.0, source)?.run()
    }
}

pub struct Experiment<'a, S: EncoderSource> {
    args: &'a Arguments,
    pub source: S,
    pub device: Device,
    /// The first is trained on.
    pub collections: Vec<Prepared<TextOf<S>>>,
    pub queries: Vec<TrainQuery<TextOf<S>>>,
    files: Vec<tevatron::File>,
}

/// Where the trained encoder of a cell goes.
fn model_folder(cell: &Path) -> PathBuf {
    cell.join("model")
}

/// How a training ended.
enum End {
    Finished(Box<Outcome>),
    /// As --stop-after asks: what to tell.
    Stopped(String),
}

impl<'a, S: EncoderSource> Experiment<'a, S> {
    pub fn new(args: &'a Arguments, source: S) -> Result<Self, String> {
        let device = args.device()?.autodiff();
        let first = match &args.data {
            Some(folder) => Prepared::load(
                &source,
                folder,
                &args.train_split,
                &args.test_split,
                args.leave_out.as_deref(),
                args.human_cut,
            )?,
            None => Prepared::generated(&source)?,
        };
        let mut collections = vec![first];
        for folder in &args.also {
            // Trained on is nothing of it; the test split serves for both.
            let also = Prepared::load(&source, folder, "test", "test", None, args.human_cut)?;
            if collections
                .iter()
                .any(|collection| collection.test.name == also.test.name)
            {
                return Err(format!(
                    "{}: results named {} would be written twice: rename the folder",
                    folder.display(),
                    also.test.name
                ));
            }
            collections.push(also);
        }
        let files = args.tevatron.iter().chain(&args.tevatron_then);
        let files: Vec<_> = files
            .map(|path| tevatron::File::check(path))
            .collect::<Result<_, _>>()?;
        let mut queries = match files.is_empty() {
            true => collections[0].train_queries(&source)?,
            false => Vec::new(),
        };
        if args.ranks_before_training() {
            let encoder = source.create(0, &device)?;
            collections[0].rank_before_training(&encoder, &mut queries)?;
        }
        Ok(Self {
            args,
            source,
            device,
            collections,
            queries,
            files,
        })
    }

    fn run(&self) -> Result<(), String> {
        let out = &self.args.out;
        let _lock = self.settings().claim(out)?;
        let runs = out.join("runs");
        named(&runs, std::fs::create_dir_all(&runs))?;
        for collection in &self.collections {
            write_qrels(out, &collection.corpus, &collection.test)?;
        }

        let jobs = self.args.cells().into_iter().map(|cell| Job {
            cell,
            out,
            queries: &self.queries,
            tested: self
                .collections
                .iter()
                .map(|one| (one, &one.test))
                .collect(),
            rankings: true,
            may_diverge: false,
        });
        let failed = self.run_jobs(&jobs.collect::<Vec<_>>());
        let outcomes = all(out)?;
        report::write_all(out, &outcomes)?;
        if let Some(peak) = peak_memory() {
            println!("peak memory {peak}");
        }
        failed
    }

    /// What all trainings of a folder share.
    pub fn settings(&self) -> Settings {
        let args = self.args;
        let (group_size, hard_negatives) = match args.group_size() {
            GroupSize::Passages(count) => (Some(count), None),
            GroupSize::Negatives(count) => (None, Some(count)),
        };
        Settings {
            encoder: self.source.name(),
            device: match self.device.clone().without_autodiff().as_dispatch() {
                DispatchDevice::Flex(_) => None,
                device => Some(format!("{device:?}")),
            },
            labels: match self.files.is_empty() {
                true => "LLM labels are simulated",
                false => "those of the files",
            },
            collections: self.collections.iter().map(Fingerprint::new).collect(),
            train_split: args.train_split.clone(),
            tevatron: self.files.iter().map(ToString::to_string).collect(),
            epochs: Some(args.epochs()),
            batch_size: args.batch_size,
            group_size,
            hard_negatives,
            accumulate: (args.accumulate > 1).then_some(args.accumulate),
            learning_rate: Some(args.learning_rate()),
            curves: !args.no_curves,
            evaluate_every: args.evaluate_every,
            pulls: args.pulls.then_some(true),
            human_cut: (args.human_cut != 1).then_some(args.human_cut),
            study: None,
        }
    }

    /// Runs what is not finished, and keeps what is.
    pub fn run_jobs(&self, jobs: &[Job<TextOf<S>>]) -> Result<(), String> {
        let mut unfinished = Vec::new();
        for job in jobs {
            let finished = job.finished()?.is_some();
            let saves = self.args.pretrained.save_model;
            if finished && saves && !model_folder(&job.folder()).exists() {
                return Err(format!(
                    "{}: is finished, and was not asked to --save-model: choose another --out",
                    job.folder().display()
                ));
            }
            match finished {
                // Left by a run that was interrupted as it finished.
                true => Checkpoints::of(&job.folder()).remove()?,
                false => unfinished.push(job.clone()),
            }
        }
        println!(
            "{} cells to run, {} finished before",
            unfinished.len(),
            jobs.len() - unfinished.len()
        );
        match self.run_unfinished(&unfinished).as_slice() {
            [] => Ok(()),
            failed => Err(format!(
                "{} of {} cells failed; the results of the others are kept\n{}",
                failed.len(),
                unfinished.len(),
                failed.join("\n")
            )),
        }
    }

    /// The bag of words and adapters train several cells at a time, one thread each; a
    /// transformer one, with all threads. Returns what went wrong.
    fn run_unfinished(&self, jobs: &[Job<TextOf<S>>]) -> Vec<String> {
        let queries: usize = jobs.iter().map(|job| self.cost(job)).sum();
        let bar = progress(queries);
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failed = Mutex::new(Vec::new());
        let work = || {
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (result, cell) = (self.run_job(job, &bar), &job.cell);
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                match result {
                    Ok(End::Finished(outcome)) => {
                        // Before `suspend`, which holds the bar's lock.
                        let left = seconds_left(&bar);
                        let result = match &outcome.diverged {
                            Some(how) => format!("diverged, {how}"),
                            None => {
                                format!("nDCG@10 {:.4}", outcome.collections[0].mean.ndcg_10)
                            }
                        };
                        bar.suspend(|| {
                            println!(
                                "[{done}/{}] {}: {result}, {:.1} s, about {left:.0} s left",
                                jobs.len(),
                                cell.name(),
                                outcome.seconds,
                            )
                        });
                    }
                    Ok(End::Stopped(message)) => {
                        bar.suspend(|| println!("{message}"));
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                    Err(error) => lock(&failed).push(format!("{}: {error}", cell.name())),
                }
            }
        };
        let one_thread = || match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
            Ok(pool) => pool.install(work),
            Err(error) => lock(&failed).push(error.to_string()),
        };
        match self.args.trains_transformer() {
            true => work(),
            false => std::thread::scope(|scope| {
                for _ in 0..self.args.jobs().min(jobs.len()) {
                    scope.spawn(one_thread);
                }
            }),
        }
        bar.finish_and_clear();
        failed.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries that are trained on.
    fn cost(&self, job: &Job<TextOf<S>>) -> usize {
        let queries = match self.files.first() {
            Some(file) => file.queries,
            None => job.queries.len(),
        };
        let then = match job.cell.regime {
            regime if regime.is_curriculum() => queries,
            _ => self.files.get(1).map_or(0, |file| file.queries),
        };
        queries * self.epochs(&job.cell) + then
    }

    fn epochs(&self, cell: &Cell) -> usize {
        cell.setting.epochs.unwrap_or(self.args.epochs())
    }

    fn lessons(&self, job: &Job<TextOf<S>>) -> Lessons<TextOf<S>> {
        let cell = &job.cell;
        let epochs = self.epochs(cell);
        if self.files.is_empty() {
            return lessons(
                &self.collections[0],
                job.queries,
                cell.regime,
                cell.setting.simulation(),
                epochs,
                cell.seed,
            );
        }
        let files = self.files.iter().zip([epochs, 1]);
        let phases = files.map(|(file, epochs)| Phase {
            source: Source::File(file.clone()),
            epochs,
            redrawn: false,
        });
        Lessons {
            phases: phases.collect(),
            report: None,
            annotated: None,
        }
    }

    fn run_job(&self, job: &Job<TextOf<S>>, bar: &ProgressBar) -> Result<End, String> {
        let start = Instant::now();
        let diverged = match self.train(job, bar) {
            Err(Failure::Diverged(how)) if job.may_diverge => how,
            end => return end.map_err(|failure| failure.to_string()),
        };
        let folder = job.folder();
        named(&folder, std::fs::create_dir_all(&folder))?;
        let outcome = Outcome {
            cell: job.cell,
            simulated_annotator: None,
            seconds: start.elapsed().as_secs_f64(),
            epochs: Vec::new(),
            evaluations: Vec::new(),
            collections: Vec::new(),
            diagnosis: None,
            diverged: Some(diverged),
        };
        outcome.write(job.out)?;
        Checkpoints::of(&folder).remove()?;
        Ok(End::Finished(Box::new(outcome)))
    }

    fn train(&self, job: &Job<TextOf<S>>, bar: &ProgressBar) -> Result<End, Failure> {
        let start = Instant::now();
        let (args, cell) = (self.args, &job.cell);
        let Lessons {
            phases,
            report: simulated_annotator,
            annotated,
        } = self.lessons(job);
        let folder = job.folder();
        let mut hyper = args.hyperparameters();
        if let Some(learning_rate) = cell.setting.learning_rate {
            hyper.learning_rate = learning_rate;
        }
        let training = Training {
            cell,
            phases: &phases,
            hyper,
            events: args.events(),
            checkpoints: Checkpoints::of(&folder),
            device: &self.device,
        };
        let watch = Watch {
            tested: job.tested[0],
            bar,
            name: args.trains_transformer().then(|| cell.name()),
            last: RefCell::new(None),
        };
        let Trained {
            encoder,
            history,
            stopped,
            seconds_per_step,
        } = training.run(&self.source, &watch)?;
        let pace = seconds_per_step.map(|seconds| format!("{seconds:.2} s a step"));
        let pace = pace.unwrap_or_default();
        if stopped {
            return Ok(End::Stopped(format!(
                "{}: stopped after step {} of {}, {pace}; the same command without --stop-after finishes it",
                cell.name(),
                history.steps,
                training.steps()
            )));
        }

        named(&folder, std::fs::create_dir_all(&folder))?;
        let mut collections = Vec::new();
        // The last epoch's measurement is that of the trained encoder.
        let mut last = watch.last.take().filter(|_| !args.no_curves);
        for (collection, tested) in &job.tested {
            let measured = match last.take() {
                Some(measured) => measured,
                None => Measured::new(&encoder, collection, tested)?,
            };
            if job.rankings {
                measured.write(&folder, cell.objective, &collection.corpus, tested)?;
            }
            collections.push(measured.evaluation);
        }
        let diagnosis = annotated.filter(|_| args.pulls).map(|lists| {
            let untrained = self.source.create(cell.seed, &self.device)?;
            let labelled = Labelled::new(&self.collections[0], job.queries, &lists);
            labelled.diagnose(&untrained, &encoder)
        });
        if args.pretrained.save_model {
            encoder.save(&model_folder(&folder))?;
        }
        let outcome = Outcome {
            cell: *cell,
            simulated_annotator,
            seconds: history.seconds + start.elapsed().as_secs_f64(),
            epochs: history.epochs,
            evaluations: history.evaluations,
            collections,
            diagnosis: diagnosis.transpose()?,
            diverged: None,
        };
        outcome.write(job.out)?;
        training.checkpoints.remove()?;
        Ok(End::Finished(Box::new(outcome)))
    }
}

/// Follows a training.
struct Watch<'a, T> {
    tested: (&'a Prepared<T>, &'a Tested<T>),
    bar: &'a ProgressBar,
    /// Of the cell, if its course is printed.
    name: Option<String>,
    last: RefCell<Option<Measured>>,
}

impl<T> Watch<'_, T> {
    fn print(&self, what: String) {
        if let Some(name) = &self.name {
            self.bar.suspend(|| println!("{name}: {what}"));
        }
    }
}

impl<E: Encoder> Observer<E> for Watch<'_, E::Text> {
    fn queries(&self, count: usize) {
        self.bar.inc(count as u64);
    }

    fn evaluate(&self, encoder: &E) -> Result<f64, Failure> {
        let measured = Measured::new(encoder, self.tested.0, self.tested.1)?;
        let ndcg_10 = measured.evaluation.mean.ndcg_10;
        self.last.replace(Some(measured));
        Ok(ndcg_10)
    }

    fn epoch(&self, number: usize, epoch: &Epoch) {
        let ndcg_10 = epoch
            .ndcg_10
            .map(|ndcg_10| format!(", nDCG@10 {ndcg_10:.4}"));
        let ndcg_10 = ndcg_10.unwrap_or_default();
        self.print(format!("epoch {number}: loss {:.4}{ndcg_10}", epoch.loss));
    }

    fn evaluation(&self, evaluation: &StepEvaluation) {
        let StepEvaluation { step, ndcg_10 } = evaluation;
        self.print(format!("step {step}: nDCG@10 {ndcg_10:.4}"));
    }
}

fn progress(queries: usize) -> ProgressBar {
    let style = "{bar:40} {percent}% of the training, {eta} left";
    ProgressBar::new(queries as u64)
        .with_style(ProgressStyle::with_template(style).expect("a valid template"))
}

/// From the pace of the whole run: what the bar says follows the last seconds, in which a transformer
/// may have ranked.
fn seconds_left(bar: &ProgressBar) -> f64 {
    let done = bar.position().max(1) as f64;
    let left = bar.length().unwrap_or(0) as f64 - done;
    bar.elapsed().as_secs_f64() * left.max(0.0) / done
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most memory that this process has held, where the system says.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(format!("{:.0} MiB", kib / 1024.0))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn folder(name: &str) -> PathBuf {
        let name = format!("reproduce-train-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    fn arguments(out: &Path, more: &[&str]) -> Arguments {
        let out = ["reproduce", "--out", &out.display().to_string()].map(String::from);
        let more = more.iter().map(|argument| argument.to_string());
        Command::parse_from(out.into_iter().chain(more)).arguments
    }

    #[test]
    fn the_main_grid_has_ninety_cells_of_distinct_names() {
        let cells = arguments(Path::new("x"), &[]).cells();
        let names: std::collections::HashSet<String> = cells.iter().map(Cell::name).collect();
        assert_eq!((cells.len(), names.len()), (90, 90));
    }

    #[test]
    fn what_makes_no_difference_to_a_regime_makes_no_cells() {
        let more = [
            "--regimes",
            "human",
            "--max-positives",
            "1,2",
            "--relevant-shares",
            "0,1",
        ];
        assert_eq!(arguments(Path::new("x"), &more).cells().len(), 30);
    }

    #[test]
    fn finished_cells_are_kept_and_unfinished_ones_run() {
        let out = folder("resume");
        let small = ["--epochs", "1", "--seeds", "1", "--regimes", "llm"];
        let with = |objectives| [&small[..], &["--objectives", objectives]].concat();
        run(&arguments(&out, &with("lse-pair"))).unwrap();
        let first = arguments(&out, &with("lse-pair")).cells()[0];
        let written = || {
            first
                .folder(&out)
                .join("metrics.json")
                .metadata()
                .unwrap()
                .modified()
        };
        let before = written().unwrap();

        run(&arguments(&out, &with("lse-pair,sum-marg-lh"))).unwrap();
        assert_eq!(written().unwrap(), before);
        let both = all(&out).unwrap();
        assert_eq!(both.len(), 2);

        // The same seed gives the same figures.
        std::fs::remove_dir_all(first.folder(&out)).unwrap();
        run(&arguments(&out, &with("lse-pair"))).unwrap();
        let (again, first) = (&all(&out).unwrap()[0], &both[0]);
        assert_eq!(again.epochs[0].loss, first.epochs[0].loss);
        assert_eq!(
            again.collections[0].mean.ndcg_10,
            first.collections[0].mean.ndcg_10
        );

        let other = [&with("lse-pair")[..], &["--lr", "0.1"]].concat();
        let error = run(&arguments(&out, &other)).unwrap_err();
        assert!(error.contains("learning_rate was 0.005, is 0.1"), "{error}");
        assert_eq!(all(&out).unwrap().len(), 2);
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn a_run_that_was_killed_as_it_began_leaves_a_folder_to_begin_in() {
        let out = folder("began");
        std::fs::create_dir_all(&out).unwrap();
        for name in [".lock", "settings.json.partial"] {
            std::fs::write(out.join(name), "").unwrap();
        }
        let more = ["--epochs", "1", "--seeds", "1", "--regimes", "human"];
        let more = [&more[..], &["--objectives", "lse-pair"]].concat();
        run(&arguments(&out, &more)).unwrap();
        assert_eq!(all(&out).unwrap().len(), 1);
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn a_folder_has_one_process() {
        let out = folder("taken");
        let lock = files::Lock::take(&out).unwrap();
        let error = run(&arguments(&out, &[])).unwrap_err();
        assert!(
            error.contains("another process") && error.contains("choose another"),
            "{error}"
        );
        drop(lock);
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let out = folder("foreign");
        std::fs::create_dir_all(&out).unwrap();
        std::fs::write(out.join("thesis.md"), "years of work").unwrap();
        let error = run(&arguments(&out, &[])).unwrap_err();
        assert!(error.contains("choose another --out"), "{error}");
        assert_eq!(out.read_dir().unwrap().count(), 1);
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn with_one_label_a_query_all_objectives_train_alike() {
        let out = folder("human");
        let more = ["--epochs", "1", "--seeds", "1", "--regimes", "human"];
        run(&arguments(&out, &more)).unwrap();
        let outcomes = all(&out).unwrap();
        assert_eq!(outcomes.len(), 6);
        for outcome in &outcomes {
            let difference = outcome.epochs[0].loss - outcomes[0].epochs[0].loss;
            assert!(difference.abs() < 1e-4, "{}", outcome.cell.name());
        }
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn a_training_that_diverges_fails() {
        let out = folder("diverges");
        let more = ["--epochs", "1", "--seeds", "1", "--regimes", "human"];
        let more = [&more[..], &["--objectives", "lse-pair", "--lr", "1e39"]].concat();
        let error = run(&arguments(&out, &more)).unwrap_err();
        assert!(error.contains("try a lower --lr"), "{error}");
        assert!(all(&out).unwrap().is_empty());
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn impossible_settings_are_named() {
        for (more, expected) in [
            (["--epochs", "0"], "--epochs"),
            (["--temperatures", "0"], "--temperatures"),
            (["--temperatures", "1e-40"], "--temperatures"),
            (["--temperatures", "1e40"], "--temperatures"),
            (["--lr", "inf"], "--lr"),
            (["--relevant-shares", "1.5"], "--relevant-shares"),
        ] {
            let error = run(&arguments(Path::new("/nowhere"), &more)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
