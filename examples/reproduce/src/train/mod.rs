//! The experiments: a grid of trainings, each with its files, and what they come to together.

mod annotator;
mod batch;
mod cell;
mod charts;
mod labels;
mod lexical;
mod prepared;
mod report;
mod significance;
mod source;
mod tevatron;
mod trainer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use burn::tensor::{Device, Tensor};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

pub use cell::{Outcome, all};

use annotator::Annotator;
use cell::{Cell, Epoch, Evaluation, Setting};
use labels::{Phase, Regime, phases};
use prepared::{Prepared, TrainQuery};
use source::Source;
use trainer::{Hyperparameters, train};

use crate::{
    encoder::{BagEncoder, Encoder},
    metrics::{Metrics, Ranking, search, write_run},
    objective::Objective,
    output::{claim, named, partial, write, write_json},
};

#[derive(Args)]
pub struct Arguments {
    /// Folder of a collection in BEIR layout [default: an embedded, generated collection]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Train on qrels/SPLIT.tsv
    #[arg(long, value_name = "SPLIT", default_value = "train", requires = "data")]
    train_split: String,
    /// Measure on qrels/SPLIT.tsv
    #[arg(long, value_name = "SPLIT", default_value = "test", requires = "data")]
    test_split: String,
    /// Measure on the test split of another collection as well; may be repeated
    #[arg(long, value_name = "DIR")]
    also: Vec<PathBuf>,
    /// Train on a file in Tevatron's format, plain or .gz, with its own labels, in place of the regimes
    #[arg(
        long,
        value_name = "FILE",
        requires = "data",
        conflicts_with = "regimes"
    )]
    tevatron: Option<PathBuf>,
    /// And on one epoch of this file after it: a curriculum
    #[arg(long, value_name = "FILE", requires = "tevatron")]
    tevatron_then: Option<PathBuf>,
    /// Results; finished cells in it are not run again
    #[arg(long, value_name = "DIR", default_value = "reproduction/train")]
    out: PathBuf,
    /// Two epochs, two seeds: a look at everything in under two minutes
    #[arg(long)]
    quick: bool,

    /// [default: the six that the paper compares]
    #[arg(long, value_enum, value_delimiter = ',')]
    objectives: Vec<Objective>,
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "human,llm,merged"
    )]
    regimes: Vec<Regime>,
    /// Who is simulated
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "util-sel-qwen"
    )]
    annotators: Vec<Annotator>,
    /// Shares of relevant documents among an annotator's labels beside the human one
    #[arg(long, value_delimiter = ',', default_value = "0.7")]
    relevant_shares: Vec<f64>,
    #[arg(long, value_delimiter = ',', default_value = "4")]
    max_positives: Vec<usize>,
    /// What cosines are divided by
    #[arg(long, value_delimiter = ',', default_value = "0.05")]
    temperatures: Vec<f64>,
    /// Seeds of labels, weights and order [default: 1,2,3,4,5]
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,

    /// [default: 6]
    #[arg(long)]
    epochs: Option<usize>,
    /// Queries a batch
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Passages a query brings to its batch: positives, then hard negatives
    #[arg(long, default_value_t = 8)]
    group_size: usize,
    /// Learning rate of Adam
    #[arg(long, default_value_t = 5e-3)]
    lr: f64,
    /// Rank the test queries once, after the last epoch
    #[arg(long)]
    no_curves: bool,
    /// Cells in training at a time, one thread each [default: the processor's threads]
    #[arg(long)]
    jobs: Option<usize>,
}

const QUICK_SEEDS: [u64; 2] = [1, 2];
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

impl Arguments {
    fn check(&self) -> Result<(), String> {
        let counts = [self.batch_size, self.group_size, self.epochs(), self.jobs()];
        if counts
            .iter()
            .chain(&self.max_positives)
            .any(|count| *count == 0)
        {
            return Err("--batch-size, --group-size, --max-positives, --epochs and --jobs must be at least 1".into());
        }
        let above_zero = |value: &f64| value.is_finite() && *value > 0.0;
        if !self.temperatures.iter().all(above_zero) || !above_zero(&self.lr) {
            return Err("--temperatures and --lr must be positive and finite".into());
        }
        if !self
            .relevant_shares
            .iter()
            .all(|share| (0.0..=1.0).contains(share))
        {
            return Err("--relevant-shares must lie between 0 and 1".into());
        }
        Ok(())
    }

    fn epochs(&self) -> usize {
        self.epochs.unwrap_or(if self.quick { 2 } else { 6 })
    }

    fn jobs(&self) -> usize {
        let threads = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.unwrap_or_else(threads)
    }

    fn regimes(&self) -> Vec<Regime> {
        match (&self.tevatron, &self.tevatron_then) {
            (None, _) => self.regimes.clone(),
            (Some(_), None) => vec![Regime::File],
            (Some(_), Some(_)) => vec![Regime::FileCurriculum],
        }
    }

    /// The grid, each cell once.
    fn cells(&self) -> Vec<Cell> {
        let seeds: &[u64] = match self.seeds.as_slice() {
            [] if self.quick => &QUICK_SEEDS,
            [] => &SEEDS,
            seeds => seeds,
        };
        let objectives: &[Objective] = match self.objectives.as_slice() {
            [] => &Objective::MAIN,
            objectives => objectives,
        };
        let mut cells = Vec::new();
        // The seeds outermost: an interrupted grid has some seeds of everything.
        for &seed in seeds {
            for regime in self.regimes() {
                for setting in self.settings(regime) {
                    for &objective in objectives {
                        let cell = Cell {
                            regime,
                            objective,
                            setting,
                            seed,
                        };
                        if !cells.contains(&cell) {
                            cells.push(cell);
                        }
                    }
                }
            }
        }
        cells
    }

    fn settings(&self, regime: Regime) -> Vec<Setting> {
        let asked = regime.asks_an_annotator();
        let mut settings = Vec::new();
        for &annotator in &self.annotators {
            for &relevant_share in &self.relevant_shares {
                for &max_positives in &self.max_positives {
                    for &temperature in &self.temperatures {
                        settings.push(Setting {
                            annotator: asked.then_some(annotator),
                            relevant_share: asked.then_some(relevant_share),
                            max_positives: (regime != Regime::Human).then_some(max_positives),
                            temperature,
                        });
                    }
                }
            }
        }
        settings
    }
}

/// What all cells of a folder have in common.
#[derive(Serialize)]
struct Settings {
    encoder: &'static str,
    labels: &'static str,
    collections: Vec<Fingerprint>,
    train_split: String,
    tevatron: Vec<String>,
    epochs: usize,
    batch_size: usize,
    group_size: usize,
    learning_rate: f64,
    curves: bool,
}

#[derive(Serialize)]
struct Fingerprint {
    name: String,
    documents: usize,
    train_queries: usize,
    test_queries: usize,
    /// FNV-1a of ids, texts and judgements.
    hash: String,
}

impl Fingerprint {
    fn new<E: Encoder>(prepared: &Prepared<E>) -> Self {
        let collection = &prepared.collection;
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for document in &collection.documents {
            add(document.id.as_bytes());
            add(document.text.as_bytes());
        }
        for query in collection.train.iter().chain(&collection.test) {
            add(query.id.as_bytes());
            add(query.text.as_bytes());
            for (document, grade) in &query.judgements {
                add(&document.to_le_bytes());
                add(&grade.to_le_bytes());
            }
        }
        Self {
            name: prepared.name.clone(),
            documents: collection.documents.len(),
            train_queries: collection.train.len(),
            test_queries: collection.test.len(),
            hash: format!("{hash:016x}"),
        }
    }
}

pub fn run(args: &Arguments) -> Result<(), String> {
    args.check()?;
    // The place for another encoder.
    Experiment::<BagEncoder>::new(args)?.run()
}

struct Experiment<'a, E: Encoder> {
    args: &'a Arguments,
    device: Device,
    /// The first is trained on.
    collections: Vec<Prepared<E>>,
    queries: Vec<TrainQuery<E::Text>>,
    files: Vec<tevatron::File>,
}

impl<'a, E: Encoder + Send> Experiment<'a, E> {
    fn new(args: &'a Arguments) -> Result<Self, String> {
        let first = match &args.data {
            Some(folder) => Prepared::load(folder, &args.train_split, &args.test_split)?,
            None => Prepared::generated(),
        };
        let mut collections = vec![first];
        for folder in &args.also {
            // Trained on is nothing of it; the test split serves for both.
            let also = Prepared::load(folder, "test", "test")?;
            if collections
                .iter()
                .any(|collection| collection.name == also.name)
            {
                return Err(format!(
                    "{}: results named {} would be written twice: rename the folder",
                    folder.display(),
                    also.name
                ));
            }
            collections.push(also);
        }
        let files = args.tevatron.iter().chain(&args.tevatron_then);
        let files: Vec<_> = files
            .map(|path| tevatron::File::check(path))
            .collect::<Result<_, _>>()?;
        let queries = match files.is_empty() {
            true => collections[0].train_queries(),
            false => Vec::new(),
        };
        Ok(Self {
            args,
            device: Device::default().autodiff(),
            collections,
            queries,
            files,
        })
    }

    fn run(&self) -> Result<(), String> {
        let out = &self.args.out;
        self.claim_folder()?;
        for collection in &self.collections {
            write_qrels(&out.join(format!("{}.qrels", collection.name)), collection)?;
        }

        let mut cells = Vec::new();
        let mut finished = 0;
        for cell in self.args.cells() {
            match cell.finished(out)? {
                Some(_) => finished += 1,
                None => cells.push(cell),
            }
        }
        println!("{} cells to run, {finished} finished before", cells.len());
        let failed = self.run_cells(&cells);

        report::write_all(out, &all(out)?)?;
        if let Some(peak) = peak_memory() {
            println!("peak memory {peak}");
        }
        match failed.as_slice() {
            [] => Ok(()),
            failed => Err(format!(
                "{} of {} cells failed; the results of the others are kept\n{}",
                failed.len(),
                cells.len(),
                failed.join("\n")
            )),
        }
    }

    fn claim_folder(&self) -> Result<(), String> {
        const NAME: &str = "settings.json";
        claim(&self.args.out, NAME)?;
        let path = self.args.out.join(NAME);
        let settings = Settings {
            encoder: E::NAME,
            labels: match self.files.is_empty() {
                true => "LLM labels are simulated",
                false => "those of the files",
            },
            collections: self.collections.iter().map(Fingerprint::new).collect(),
            train_split: self.args.train_split.clone(),
            tevatron: self.files.iter().map(|file| format!("{file:?}")).collect(),
            epochs: self.args.epochs(),
            batch_size: self.args.batch_size,
            group_size: self.args.group_size,
            learning_rate: self.args.lr,
            curves: !self.args.no_curves,
        };
        if !path.exists() {
            return write_json(&path, &settings);
        }
        let before = named(&path, std::fs::read_to_string(&path))?;
        let before: serde_json::Value = named(&path, serde_json::from_str(&before))?;
        let now = serde_json::to_value(&settings).map_err(|error| error.to_string())?;
        let fields = now.as_object().into_iter().flatten();
        let other: Vec<String> = fields
            .filter(|(name, value)| before.get(name) != Some(value))
            .map(|(name, value)| {
                let before = before.get(name).unwrap_or(&serde_json::Value::Null);
                format!("{name} was {before}, is {value}")
            })
            .collect();
        match other.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{}: the results in this folder were made with other settings ({}): choose another --out",
                path.display(),
                other.join("; ")
            )),
        }
    }

    /// Several at a time, one thread each. Returns what went wrong.
    fn run_cells(&self, cells: &[Cell]) -> Vec<String> {
        let queries: usize = cells.iter().map(|cell| self.cost(cell)).sum();
        let bar = progress(queries);
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failed = Mutex::new(Vec::new());
        let work = || {
            while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = self.run_cell(cell, &bar);
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                match result {
                    Ok(outcome) => {
                        // Before `suspend`, which holds the bar's lock.
                        let left = bar.eta().as_secs();
                        bar.suspend(|| {
                            println!(
                                "[{done}/{}] {}: nDCG@10 {:.4}, {:.1} s, about {} s left",
                                cells.len(),
                                cell.name(),
                                outcome.collections[0].mean.ndcg_10,
                                outcome.seconds,
                                left
                            )
                        });
                    }
                    Err(error) => lock(&failed).push(format!("{}: {error}", cell.name())),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.args.jobs().min(cells.len()) {
                scope.spawn(
                    || match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
                        Ok(pool) => pool.install(work),
                        Err(error) => lock(&failed).push(error.to_string()),
                    },
                );
            }
        });
        bar.finish_and_clear();
        failed.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries that are trained on.
    fn cost(&self, cell: &Cell) -> usize {
        let queries = match self.files.first() {
            Some(file) => file.queries,
            None => self.queries.len(),
        };
        let then = match cell.regime {
            Regime::Curriculum => queries,
            _ => self.files.get(1).map_or(0, |file| file.queries),
        };
        queries * self.args.epochs() + then
    }

    fn phases(&self, cell: &Cell) -> (Vec<Phase<E::Text>>, Option<annotator::Report>) {
        let epochs = self.args.epochs();
        if self.files.is_empty() {
            let annotator = cell.setting.annotator.zip(cell.setting.relevant_share);
            return phases(
                &self.collections[0],
                &self.queries,
                cell.regime,
                annotator,
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
        (phases.collect(), None)
    }

    fn run_cell(&self, cell: &Cell, bar: &ProgressBar) -> Result<Outcome, String> {
        let start = Instant::now();
        let (phases, simulated_annotator) = self.phases(cell);
        let hyper = Hyperparameters {
            batch_size: self.args.batch_size,
            group_size: self.args.group_size,
            learning_rate: self.args.lr,
        };
        let mut epochs = Vec::new();
        let after_epoch = |encoder: &E, loss| {
            let ndcg_10 = match self.args.no_curves {
                true => None,
                false => Some(evaluate(encoder, &self.collections[0])?.0.mean.ndcg_10),
            };
            epochs.push(Epoch { loss, ndcg_10 });
            Ok(())
        };
        let progress = |queries| bar.inc(queries as u64);
        let encoder: E = train(cell, &phases, hyper, &self.device, progress, after_epoch)?;

        let folder = cell.folder(&self.args.out);
        named(&folder, std::fs::create_dir_all(&folder))?;
        let mut collections = Vec::new();
        for collection in &self.collections {
            let (evaluation, rankings) = evaluate(&encoder, collection)?;
            let path = folder.join(format!("{}.trec", collection.name));
            let Prepared { collection, .. } = collection;
            let tag = crate::output::key(&cell.objective);
            let (test, documents) = (&collection.test, &collection.documents);
            write_run(&partial(&path), &tag, test, documents, &rankings)?;
            named(&path, std::fs::rename(partial(&path), &path))?;
            collections.push(evaluation);
        }
        let outcome = Outcome {
            cell: *cell,
            simulated_annotator,
            seconds: start.elapsed().as_secs_f64(),
            epochs,
            collections,
        };
        outcome.write(&self.args.out)?;
        Ok(outcome)
    }
}

fn evaluate<E: Encoder>(
    encoder: &E,
    prepared: &Prepared<E>,
) -> Result<(Evaluation, Vec<Ranking>), String> {
    let encode = |texts: Vec<&E::Text>| {
        let parts = texts.chunks(256).map(|texts| encoder.encode(texts));
        Tensor::cat(parts.collect(), 0)
    };
    let queries = encode(prepared.test.iter().collect());
    let documents = prepared.documents.iter().map(|document| &*document.text);
    let rankings = search(
        queries,
        encode(documents.collect()),
        &prepared.collection.documents,
    )?;
    let test = &prepared.collection.test;
    let of_queries: Vec<Metrics> = test
        .iter()
        .zip(&rankings)
        .map(|(query, ranking)| Metrics::of_query(query, ranking))
        .collect();
    let evaluation = Evaluation {
        name: prepared.name.clone(),
        mean: Metrics::mean(&of_queries),
        queries: test.iter().map(|query| query.id.clone()).collect(),
        of_queries,
    };
    Ok((evaluation, rankings))
}

/// The judgements in the form that trec_eval and pytrec_eval read.
fn write_qrels<E: Encoder>(path: &Path, prepared: &Prepared<E>) -> Result<(), String> {
    let mut lines = String::new();
    for query in &prepared.collection.test {
        for (document, grade) in &query.judgements {
            let document = &prepared.collection.documents[*document].id;
            lines += &format!("{} 0 {document} {grade}\n", query.id);
        }
    }
    write(path, lines)
}

fn progress(queries: usize) -> ProgressBar {
    let style = "{bar:40} {percent}% of the training, {eta} left";
    ProgressBar::new(queries as u64)
        .with_style(ProgressStyle::with_template(style).expect("a valid template"))
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
    fn impossible_settings_are_named() {
        for (more, expected) in [
            (["--epochs", "0"], "--epochs"),
            (["--temperatures", "0"], "--temperatures"),
            (["--relevant-shares", "1.5"], "--relevant-shares"),
        ] {
            let error = run(&arguments(Path::new("/nowhere"), &more)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
