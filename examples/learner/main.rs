//! A dual encoder in Burn's training loop: metrics of retrieval, a dashboard, checkpoints of the
//! best epoch, early stopping, and a training that is resumed.
//!
//! ```text
//! cargo run --release --example learner --features dashboard     # on a terminal
//! cargo run --release --example learner --features train         # plain lines
//! cargo run --release --example learner --features train -- --out DIR
//! cargo run --release --example learner --features train -- --out DIR --resume
//! cargo run --release --example learner --features train -- --cache 128
//! cargo run --release --example learner --features train -- --sharded
//! ```
//!
//! The encoder and the embedded collection are those of `train_dual_encoder`. One in five
//! train queries is kept for the validation, which chooses the epoch.

mod batches;
mod lines;
mod model;

use std::{
    fs,
    io::{IsTerminal, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use burn::{
    lr_scheduler::LrSchedulerRecord,
    module::Module,
    optim::{AdamConfig, OptimizerRecord},
    store::ModuleRecord,
    tensor::{Device, Tensor},
    train::{
        Learner, LearnerSummary, SupervisedTraining, TrainingStrategy,
        checkpoint::{
            ComposedCheckpointingStrategy, KeepLastNCheckpoints, MetricCheckpointingStrategy,
        },
        metric::{
            LossMetric, Metric,
            store::{Aggregate, Direction, Split},
        },
    },
};
use burn_multi_positive::train::{Patience, RankingMetric, ShardedStrategy};
use clap::Parser;
use files::Lock;
use retrieval::{Bag, Collection, Metrics, search};

use batches::{Data, TrainLoader, ValidLoader};
use lines::Lines;
use model::Retriever;

/// Train a dual encoder in Burn's training loop.
#[derive(Parser)]
struct Arguments {
    /// Folder of checkpoints and metrics [default: a new one for temporary files]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the training in --out
    #[arg(long, requires = "out")]
    resume: bool,
    #[arg(long, default_value_t = 8)]
    epochs: usize,
    /// Stop when nDCG@10 has not been higher for so many epochs
    #[arg(long, default_value_t = 2)]
    patience: usize,
    /// A gradient cache with chunks of so many texts [default: none]
    #[arg(
        long,
        value_name = "TEXTS",
        default_value_t = 0,
        hide_default_value = true
    )]
    cache: usize,
    /// Two devices: Burn's CPU backend and a GPU where wgpu is compiled in, else one device twice
    #[arg(long, conflicts_with = "cache")]
    sharded: bool,
    /// Plain lines also on a terminal
    #[arg(long)]
    plain: bool,
    /// Learning rate of Adam
    #[arg(long, default_value_t = 5e-3)]
    lr: f64,
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Arguments) -> Result<(), String> {
    if args.epochs == 0 || args.patience == 0 {
        return Err("--epochs and --patience must be at least 1".into());
    }
    if !(args.lr.is_finite() && args.lr > 0.0) {
        return Err(format!("--lr must be positive and finite, got {}", args.lr));
    }
    let data = Arc::new(Data::new(Collection::generate()));
    let [train, valid] = data.sizes();
    println!(
        "{} documents, {train} train, {valid} validation and {} test queries",
        data.documents.len(),
        data.collection.test.len()
    );
    let device = Device::default().autodiff();
    device.seed(args.seed);
    let model = Retriever::new(args.cache, &device);
    let before = measure(&model, &data)?;

    let out = match &args.out {
        Some(out) => out.clone(),
        None => new_folder()?,
    };
    let _lock = Lock::take(&out)?;
    let done = start(&out, args.resume)?;
    if done >= args.epochs {
        return Err(format!(
            "{}: {done} epochs are done: ask for more with --epochs",
            out.display()
        ));
    }
    let best = train_in(&out, done, model, &data, args)?;
    let after = measure(&best, &data)?;
    println!("\ntest        MRR@10  nDCG@10  Recall@100");
    for (name, metrics) in [("before", before), ("best epoch", after)] {
        println!(
            "{name:10} {:7.4} {:8.4} {:11.4}",
            metrics.mrr_10, metrics.ndcg_10, metrics.recall_100
        );
    }
    match &args.out {
        Some(out) => println!("\ncheckpoints and metrics are in {}", out.display()),
        None => fs::remove_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?,
    }
    if after.ndcg_10 <= before.ndcg_10 {
        return Err("the training did not better nDCG@10: try another --lr".into());
    }
    Ok(())
}

/// Trains until the epochs are over or the patience is, and gives the best model.
fn train_in(
    out: &Path,
    done: usize,
    model: Retriever,
    data: &Arc<Data>,
    args: &Arguments,
) -> Result<Retriever, String> {
    let ndcg = RankingMetric::ndcg(10);
    let strategy = ComposedCheckpointingStrategy::builder()
        // Two, because three files are written at a time: if that breaks off, there is another.
        .add(KeepLastNCheckpoints::new(2))
        .add(MetricCheckpointingStrategy::new(
            &ndcg,
            Aggregate::Mean,
            Direction::Highest,
            Split::Valid,
        ))
        .build();
    let mut training = SupervisedTraining::new(
        out,
        TrainLoader::over(data.clone(), args.seed, done),
        ValidLoader::over(data.clone()),
    )
    .metric_train_numeric(LossMetric::new())
    .metric_valid_numeric(RankingMetric::mrr(10))
    .metric_valid_numeric(ndcg.clone())
    .metric_valid_numeric(RankingMetric::recall(100))
    .num_epochs(args.epochs)
    .with_default_checkpointers()
    .with_checkpointing_strategy(strategy)
    .early_stopping(Patience::highest(&ndcg, args.patience));
    if args.cache == 0 && !args.sharded {
        // The batch that is trained on, ranked already.
        training = training.metric_train_numeric(RankingMetric::mrr(10));
    }
    if args.sharded {
        let strategy = ShardedStrategy::new(devices());
        training = training.with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)));
    }
    if done > 0 {
        training = training.checkpoint(done);
    }
    if args.plain || !cfg!(feature = "dashboard") || !stdout().is_terminal() {
        training = training.renderer(Box::new(Lines::default()));
    }
    let untrained = model.clone();
    let result = training.launch(Learner::new(model, AdamConfig::new().init(), args.lr));
    if let Some(error) = result.error {
        let out = out.display();
        return Err(format!(
            "{error}\nlook into {out}/experiment.log; --out {out} --resume goes on"
        ));
    }
    // Gives the terminal back.
    drop(result.renderer);

    // `result.model` is that of the last epoch.
    let epoch = best_epoch(out, &ndcg)?;
    println!("best epoch by the validation: {epoch}");
    let path = out.join(format!("checkpoint/model-{epoch}.bpk"));
    let record = ModuleRecord::load(&path);
    let record = record.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(untrained.load_record(record))
}

fn best_epoch(out: &Path, metric: &RankingMetric) -> Result<usize, String> {
    let summary = LearnerSummary::new(out, &[metric.name().as_str()])?;
    let entries = summary
        .metrics
        .valid
        .iter()
        .flat_map(|metric| &metric.entries);
    // An epoch whose validation was stopped has no checkpoint, and may have no value.
    let entries = entries.filter(|entry| {
        let saved = out.join(format!("checkpoint/model-{}.bpk", entry.step));
        !entry.value.is_nan() && saved.is_file()
    });
    let best = entries.max_by(|a, b| a.value.total_cmp(&b.value).then(b.step.cmp(&a.step)));
    best.map(|entry| entry.step)
        .ok_or_else(|| format!("{}: no metrics", out.display()))
}

/// The epochs that a folder has a checkpoint of. What came after it is deleted.
fn start(out: &Path, resume: bool) -> Result<usize, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", out.display());
    fs::create_dir_all(out).map_err(fail)?;
    // Files that are written at the same time: the last may be there in part.
    let saved = |epoch: &usize| {
        let path = |name| out.join(format!("checkpoint/{name}-{epoch}.bpk"));
        ModuleRecord::load(path("model")).is_ok()
            && OptimizerRecord::load(path("optim")).is_ok()
            && LrSchedulerRecord::load(path("scheduler")).is_ok()
    };
    let done = epochs(&out.join("checkpoint"), "model-", ".bpk");
    let done = done.into_iter().filter(saved).max();
    let logged = ["train", "valid"].map(|split| out.join(split));
    let logs = |split: &PathBuf| epochs(split, "epoch-", "");
    let done = match (done, resume) {
        (None, false) if logged.iter().all(|split| logs(split).is_empty()) => 0,
        (Some(done), true) => done,
        (Some(epoch), false) => {
            return Err(format!(
                "{}: there is a training of {epoch} epochs: go on with --resume, or name another --out",
                out.display()
            ));
        }
        (None, false) => {
            return Err(format!(
                "{}: there are metrics of a training, and no checkpoint: name another --out",
                out.display()
            ));
        }
        (None, true) => return Err(format!("{}: no checkpoint to resume from", out.display())),
    };
    for split in &logged {
        for epoch in logs(split).into_iter().filter(|epoch| *epoch > done) {
            fs::remove_dir_all(split.join(format!("epoch-{epoch}"))).map_err(fail)?;
        }
    }
    Ok(done)
}

/// The numbers in the names of a folder.
fn epochs(folder: &Path, prefix: &str, suffix: &str) -> Vec<usize> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let number = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        number.parse().ok()
    };
    entries.filter_map(number).collect()
}

/// A folder that was not there.
fn new_folder() -> Result<PathBuf, String> {
    let base = std::env::temp_dir();
    let folder = |number| base.join(format!("learner-{}-{number}", std::process::id()));
    for number in 0.. {
        match fs::create_dir(folder(number)) {
            Ok(()) => return Ok(folder(number)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("{}: {error}", folder(number).display())),
        }
    }
    unreachable!("there is a number that no folder has")
}

/// The metrics of the test queries.
fn measure(model: &Retriever, data: &Data) -> Result<Metrics, String> {
    let encoder = model.encoder.valid();
    let encode = |bags: &[Bag]| {
        let chunks = bags.chunks(256);
        let vectors = chunks.map(|bags| encoder.encode(&bags.iter().collect::<Vec<_>>()));
        Tensor::cat(vectors.collect(), 0)
    };
    let test = &data.collection.test;
    let queries: Vec<Bag> = test.iter().map(|query| Bag::new(&query.text)).collect();
    let documents = encode(&data.documents);
    let rankings = search(encode(&queries), documents, &data.collection.documents)?;
    Ok(Metrics::new(test, &rankings))
}

#[cfg(all(feature = "flex", feature = "wgpu"))]
fn devices() -> [Device; 2] {
    [Device::flex(), Device::wgpu(Default::default())]
}

#[cfg(not(all(feature = "flex", feature = "wgpu")))]
fn devices() -> [Device; 2] {
    [Device::default(), Device::default()]
}

#[cfg(test)]
mod tests {
    use burn::{lr_scheduler::module_lr_scheduler::ModuleLrScheduler, nn::LinearConfig};

    use super::*;

    /// A folder with these files, each with a byte in it.
    fn folder(name: &str, files: &[&str]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("learner-{name}-{}", std::process::id()));
        fs::remove_dir_all(&folder).ok();
        for file in files {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        folder
    }

    /// Writes a checkpoint of an epoch.
    fn save(out: &Path, epoch: usize) {
        let path = |name| out.join(format!("checkpoint/{name}-{epoch}.bpk"));
        fs::create_dir_all(out.join("checkpoint")).unwrap();
        let model = LinearConfig::new(2, 2).init(&Device::default());
        model.into_record().save(path("model")).unwrap();
        let optimizer = AdamConfig::new().init().to_record();
        optimizer.save(path("optim")).unwrap();
        let scheduler = ModuleLrScheduler::from(0.1).to_record();
        scheduler.save(path("scheduler")).unwrap();
    }

    #[test]
    fn a_new_folder_has_no_epoch() {
        let out = folder("new", &[]);
        assert_eq!(start(&out, false), Ok(0));
        let error = start(&out, true).unwrap_err();
        assert!(error.ends_with("no checkpoint to resume from"), "{error}");
    }

    #[test]
    fn a_training_is_resumed_from_its_last_whole_checkpoint() {
        let logs = [
            "train/epoch-2/Loss.log",
            "train/epoch-4/Loss.log",
            "valid/epoch-2/nDCG@10.log",
            "valid/epoch-3/nDCG@10.log",
        ];
        let out = folder("broken", &logs);
        for epoch in 1..=4 {
            save(&out, epoch);
        }
        fs::remove_file(out.join("checkpoint/optim-4.bpk")).unwrap();
        let part = out.join("checkpoint/model-3.bpk");
        let bytes = fs::read(&part).unwrap();
        fs::write(&part, &bytes[..bytes.len() / 2]).unwrap();
        let error = start(&out, false).unwrap_err();
        assert!(error.contains("there is a training of 2 epochs"), "{error}");
        assert_eq!(start(&out, true), Ok(2));
        for (folder, left) in [("train", vec![2]), ("valid", vec![2])] {
            assert_eq!(epochs(&out.join(folder), "epoch-", ""), left, "{folder}");
        }
    }
}
