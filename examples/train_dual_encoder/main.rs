//! Trains a dual encoder on queries that have several relevant documents each, and
//! measures retrieval before and after.
//!
//! ```text
//! cargo run --release --example train_dual_encoder                # an embedded collection
//! cargo run --release --example train_dual_encoder -- --loss all  # objectives compared
//! cargo run --release --example train_dual_encoder -- --data DIR --test-split dev
//! ```
//!
//! `DIR` holds a collection in BEIR layout: `corpus.jsonl`, `queries.jsonl`,
//! `qrels/SPLIT.tsv`; `--export DIR` writes the embedded one. `--run FILE` writes the test
//! ranking for trec_eval and pytrec_eval. `--save FILE` and `--load FILE` keep the model;
//! `--load FILE --epochs 0` measures one without training it. A file is written whole or not
//! at all. A run that is killed is lost and starts anew: `fine_tune` of `examples/pretrained`
//! and `examples/reproduce` go on from checkpoints.
//!
//! The encoder, its optimiser, the collections and the metrics are those of
//! `examples/retrieval`. The encoder's table is on the host, and a step moves the rows that
//! its batch uses; the loss and its gradient are computed on the device. A module of Burn
//! with an optimiser of Burn is trained in `examples/your_encoder.rs`.

use std::{
    collections::HashSet,
    fmt,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use burn::{module::Module, tensor::Device};
use burn_multi_positive::{
    JointLhLossConfig, LsePairLossConfig, Rand1LhLossConfig, SumMargLhLossConfig, Targets,
};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rand::{
    SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use rayon::prelude::*;
use retrieval::{
    BUCKETS, Bag, Collection, DEPTH, DIMENSIONS, DualEncoder, Metrics, Ranking, RowTrainer, search,
    write_run,
};

/// Train a dual encoder on queries that have several relevant documents each.
#[derive(Parser)]
struct Arguments {
    /// Folder of a collection in BEIR layout [default: an embedded collection]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Write the embedded collection to DIR in BEIR layout, for other programs, and end
    #[arg(long, value_name = "DIR", exclusive = true)]
    export: Option<PathBuf>,
    /// Train on qrels/SPLIT.tsv
    #[arg(long, value_name = "SPLIT", default_value = "train", requires = "data")]
    train_split: String,
    /// Measure on qrels/SPLIT.tsv; several with commas between them are measured as one
    #[arg(long, value_name = "SPLIT", default_value = "test", requires = "data")]
    test_split: String,
    /// lse-pair, joint-lh, sum-marg-lh, rand1-lh, or all of them for a comparison
    #[arg(long, default_value = "lse-pair", value_parser = losses)]
    loss: &'static [(&'static str, Loss)],
    #[arg(long, default_value_t = 8)]
    epochs: usize,
    /// Queries a batch
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Relevant documents drawn for a query each time it is trained on
    #[arg(long, default_value_t = 4)]
    max_positives: usize,
    /// What cosines are divided by
    #[arg(long, default_value_t = 0.05)]
    temperature: f64,
    /// Learning rate of sparse Adam
    #[arg(long, default_value_t = 5e-3)]
    lr: f64,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// flex, ndarray, wgpu or cuda, where compiled in [default: the first that is]
    #[arg(long)]
    device: Option<String>,
    /// Write the test ranking, 1000 documents a query, as a TREC run
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
    /// Write the trained model, to FILE.bpk if FILE has no extension
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Start from a model written by --save
    #[arg(long, value_name = "FILE")]
    load: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Loss {
    LsePair,
    JointLh,
    SumMargLh,
    Rand1Lh,
}

const LOSSES: [(&str, Loss); 4] = [
    ("lse-pair", Loss::LsePair),
    ("joint-lh", Loss::JointLh),
    ("sum-marg-lh", Loss::SumMargLh),
    ("rand1-lh", Loss::Rand1Lh),
];

fn losses(name: &str) -> Result<&'static [(&'static str, Loss)], String> {
    let named = LOSSES.iter().position(|(known, _)| *known == name);
    match named {
        Some(index) => Ok(&LOSSES[index..=index]),
        None if name == "all" => Ok(&LOSSES),
        None => {
            let known = LOSSES.map(|(known, _)| known).join(", ");
            Err(format!("expected {known} or all"))
        }
    }
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
    if let Some(directory) = &args.export {
        Collection::generate().save(directory)?;
        println!("written to {}", directory.display());
        return Ok(());
    }
    if args.loss.len() > 1 && (args.run.is_some() || args.save.is_some()) {
        return Err("--run and --save are for one model: name one --loss".into());
    }
    if args.batch_size == 0 || args.max_positives == 0 {
        return Err("--batch-size and --max-positives must be at least 1".into());
    }
    // f32 has their inverses.
    if !(1e-30..=1e30).contains(&args.temperature) {
        let value = args.temperature;
        return Err(format!(
            "--temperature must lie between 1e-30 and 1e30, got {value}"
        ));
    }
    if !(args.lr.is_finite() && args.lr > 0.0) {
        return Err(format!("--lr must be positive and finite, got {}", args.lr));
    }
    let save = args.save.as_ref().map(|path| match path.extension() {
        Some(_) => path.clone(),
        None => path.with_extension("bpk"),
    });
    let device = device(args.device.as_deref())?.autodiff();
    let collection = match &args.data {
        Some(directory) => Collection::load(directory, &args.train_split, &args.test_split)?,
        None => Collection::generate(),
    };
    let (documents, test) = (&collection.documents, &collection.test);
    println!(
        "{} documents, {} train and {} test queries",
        documents.len(),
        collection.train.len(),
        test.len()
    );
    // Now rather than after the training.
    let line = "query Q0 document 1000 0.12345678 lse-pair\n".len();
    let lines = test.len() * documents.len().min(DEPTH);
    let model = BUCKETS * DIMENSIONS * size_of::<f32>();
    for (path, bytes) in [(&args.run, line * lines), (&save, model)] {
        if let Some(path) = path {
            files::check_room(path, bytes as u64)?;
        }
    }
    let bags: Vec<Bag> = documents.par_iter().map(|d| Bag::new(&d.text)).collect();

    let mut results = Vec::new();
    let mut trained = None;
    for (name, loss) in args.loss {
        // Every objective starts from the same weights and sees the same batches.
        device.seed(args.seed);
        let mut model = DualEncoder::new(&device);
        if let Some(path) = &args.load {
            let loaded = model.try_load_file(path);
            model = loaded.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let encoder = RowTrainer::new(model);
        if results.is_empty() {
            let rankings = rankings(&encoder, &collection, &bags)?;
            results.push(("before", Metrics::new(test, &rankings), 0.0));
        }

        println!("\n{name}");
        let start = Instant::now();
        let encoder = train(encoder, *loss, args, &collection, &bags, &device)?;
        let seconds = start.elapsed().as_secs_f64();

        let rankings = rankings(&encoder, &collection, &bags)?;
        results.push((name, Metrics::new(test, &rankings), seconds));
        trained = Some((name, encoder, rankings));
    }

    println!("\n                 MRR@10  nDCG@10  Recall@100  Recall@1000  seconds");
    for (name, metrics, seconds) in results {
        let Metrics {
            mrr_10,
            ndcg_10,
            recall_100,
            recall_1000,
        } = metrics;
        println!(
            "{name:14} {mrr_10:8.4} {ndcg_10:8.4} {recall_100:11.4} {recall_1000:12.4} {seconds:8.2}"
        );
    }
    // After the figures: a disk that is full by now does not take them along.
    if let Some((name, encoder, rankings)) = trained {
        if let Some(path) = &save {
            let bytes = encoder.into_model().into_record().into_bytes();
            let bytes = bytes.map_err(|error| error.to_string())?;
            let saved = files::write(path, &*bytes);
            saved.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        if let Some(path) = &args.run {
            write_run(path, name, test, documents, &rankings)?;
        }
    }
    Ok(())
}

fn train(
    mut encoder: RowTrainer,
    loss: Loss,
    args: &Arguments,
    collection: &Collection,
    documents: &[Bag],
    device: &Device,
) -> Result<RowTrainer, String> {
    let t = args.temperature;
    let lse_pair = LsePairLossConfig::new().with_temperature(t).init();
    let joint_lh = JointLhLossConfig::new().with_temperature(t).init();
    let sum_marg_lh = SumMargLhLossConfig::new().with_temperature(t).init();
    let rand1_lh = Rand1LhLossConfig::new().with_temperature(t).init();

    let mut queries: Vec<(Bag, Vec<usize>)> = collection
        .train
        .iter()
        .map(|query| (Bag::new(&query.text), query.relevant()))
        .filter(|(_, relevant)| !relevant.is_empty())
        .collect();
    let mut rng = StdRng::seed_from_u64(args.seed);
    let progress = progress(args.epochs.saturating_mul(queries.len()));
    let mut clock = Clock::start();

    for epoch in 1..=args.epochs {
        let start = Instant::now();
        let mut total = 0.0;
        queries.shuffle(&mut rng);

        for batch in queries.chunks(args.batch_size) {
            // A query's negatives are the documents that the others drew. One drawn by
            // several queries is in the batch once.
            let mut seen = HashSet::new();
            let mut ids = Vec::new();
            for (_, relevant) in batch {
                let drawn = relevant.choose_multiple(&mut rng, args.max_positives);
                ids.extend(drawn.filter(|id| seen.insert(**id)));
            }
            // All that is relevant to a query, not only what it drew: a document that
            // another query brought along must not become its negative.
            let relevant: Vec<Vec<usize>> = batch.iter().map(|(_, all)| all.clone()).collect();
            let targets =
                Targets::from_ids(&relevant, &ids, device).map_err(|error| error.to_string())?;
            let query_bags: Vec<&Bag> = batch.iter().map(|(bag, _)| bag).collect();
            let document_bags: Vec<&Bag> = ids.iter().map(|id| &documents[*id]).collect();
            clock.lap("batches");

            let means = encoder.means(&query_bags, &document_bags);
            let (query_vectors, document_vectors) = means.vectors();
            let scores = query_vectors.matmul(document_vectors.transpose());
            clock.lap("encoder");

            let loss = match loss {
                Loss::LsePair => lse_pair.forward(scores, targets),
                Loss::JointLh => joint_lh.forward(scores, targets),
                Loss::SumMargLh => sum_marg_lh.forward(scores, targets),
                Loss::Rand1Lh => rand1_lh.forward(scores, targets),
            };
            clock.lap("loss");

            encoder.learn(&means, &loss.backward());
            clock.lap("backward");
            encoder.step(args.lr);
            clock.lap("optimiser");

            let loss: f64 = loss.into_scalar();
            if !loss.is_finite() {
                return Err(format!(
                    "the loss is {loss} in epoch {epoch}: try a lower --lr or a higher --temperature"
                ));
            }
            total += loss * batch.len() as f64;
            progress.inc(batch.len() as u64);
            progress.set_message(format!("loss {loss:.4}"));
        }

        let mean = total / queries.len() as f64;
        let rate = queries.len() as f64 / start.elapsed().as_secs_f64();
        progress
            .suspend(|| println!("epoch {epoch:2}  loss {mean:.4}  {rate:.0} queries a second"));
    }
    progress.finish_and_clear();
    if args.epochs > 0 {
        println!("seconds: {clock}");
    }
    Ok(encoder)
}

/// The best documents for every test query.
fn rankings(
    encoder: &RowTrainer,
    collection: &Collection,
    documents: &[Bag],
) -> Result<Vec<Ranking>, String> {
    let queries = collection.test.iter().map(|query| Bag::new(&query.text));
    let queries: Vec<Bag> = queries.collect();
    let encode = |bags: &[Bag]| encoder.encode(&bags.iter().collect::<Vec<_>>());
    search(encode(&queries), encode(documents), &collection.documents)
}

fn device(name: Option<&str>) -> Result<Device, String> {
    match name {
        None => Ok(Device::default()),
        #[cfg(feature = "flex")]
        Some("flex") => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)]
        Some("ndarray") => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        Some("wgpu") => Ok(Device::wgpu(Default::default())),
        #[cfg(feature = "cuda")]
        Some("cuda") => Ok(Device::cuda(0_usize)),
        Some(other) => Err(format!(
            "--device {other} is not compiled in: add --features {other} to the command, \
             where that is one of flex, ndarray, wgpu and cuda"
        )),
    }
}

/// Drawn on a terminal only; the lines of the epochs are printed everywhere.
fn progress(queries: usize) -> ProgressBar {
    let style = "{bar:40} {pos}/{len} queries, {per_sec}, {msg}";
    ProgressBar::new(queries as u64)
        .with_style(ProgressStyle::with_template(style).expect("a valid template"))
}

/// Where time goes. On a device that works in the background it goes to whoever waits for
/// a result.
struct Clock {
    last: Instant,
    parts: Vec<(&'static str, Duration)>,
}

impl Clock {
    fn start() -> Self {
        Self {
            last: Instant::now(),
            parts: Vec::new(),
        }
    }

    fn lap(&mut self, name: &'static str) {
        let elapsed = self.last.elapsed();
        match self.parts.iter_mut().find(|(part, _)| *part == name) {
            Some((_, total)) => *total += elapsed,
            None => self.parts.push((name, elapsed)),
        }
        self.last = Instant::now();
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter();
        let parts = parts.map(|(name, total)| format!("{name} {:.2}", total.as_secs_f64()));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}
