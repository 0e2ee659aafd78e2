//! Fine-tunes a pretrained encoder with LSEPair, and nothing else: the loop, to be
//! copied.
//!
//! ```text
//! cargo run --release -p pretrained --bin fine_tune -- ENCODER DATA OUT
//! ```
//!
//! `ENCODER` is a folder with `config.json`, `tokenizer.json` and `model.safetensors`, or
//! with `--features hub` a name such as `sentence-transformers/all-MiniLM-L6-v2`; `DATA`
//! one with `corpus.jsonl`, `queries.jsonl` and `qrels/train.tsv`, as BEIR has them;
//! `OUT` gets the trained model, in the files that `ENCODER` has. With `--checkpoint-every`
//! a run that was interrupted goes on when the same command is given again, and ends with the
//! same model; without it, it begins anew.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use burn::{module::Module, tensor::Device};
use burn_multi_positive::{GradientCache, LsePairLossConfig, Targets};
use clap::Parser;
use files::{Lock, check_room};
use pretrained::{
    DualEncoder, Pretrained, Schedule, Tokenizer, Tokens, adam_w, clip_gradients, load_checkpoint,
    save_checkpoint,
};
use rand::{
    SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use serde::Deserialize;

#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Folder of the pretrained model, or with the feature hub its name
    encoder: String,
    /// Folder of the collection, in BEIR layout
    data: PathBuf,
    /// Folder for the trained model
    out: PathBuf,
    #[arg(long, default_value_t = 1)]
    epochs: usize,
    /// Queries a batch; the passages of the others are a query's negatives
    #[arg(long, default_value_t = 32, value_parser = at_least_one)]
    batch_size: usize,
    /// Positives that a query brings to its batch
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    positives: usize,
    /// Tokens of a passage; queries have at most 64
    #[arg(long, default_value_t = 256)]
    passage_length: usize,
    /// Texts whose activations are held at a time: less is less memory
    #[arg(long, default_value_t = 32, value_parser = at_least_one)]
    chunk: usize,
    /// What cosines are divided by
    #[arg(long, default_value_t = 0.05, value_parser = temperature)]
    temperature: f64,
    #[arg(long, default_value_t = 2e-5, value_parser = above_zero)]
    lr: f64,
    /// Put before every query, such as "query: " for E5
    #[arg(long, default_value = "")]
    query_prefix: String,
    /// Put before every passage, such as "passage: " for E5
    #[arg(long, default_value = "")]
    passage_prefix: String,
    /// In place of the rates in config.json; on CPUs random numbers are slow
    #[arg(long)]
    dropout: Option<f64>,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Write a checkpoint to OUT after every so many steps
    #[arg(long, value_name = "STEPS", value_parser = at_least_one)]
    checkpoint_every: Option<usize>,
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

fn run(args: &Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let device = Device::default().autodiff();
    let _lock = Lock::take(&args.out)?;

    let mut pretrained = Pretrained::find(&args.encoder)?;
    // Cosines, whatever the encoder was trained for.
    pretrained.options.normalize = true;
    pretrained.options.dropout = args.dropout;
    let longest = pretrained.options.max_length;
    let tokenizer = pretrained.tokenizer()?;
    let for_queries = tokenizer.clone().with_max_length(longest.min(64))?;
    let for_passages = tokenizer.with_max_length(longest.min(args.passage_length))?;
    let passages = read(
        &args.data.join("corpus.jsonl"),
        &args.passage_prefix,
        &for_passages,
    )?;
    let queries = read(
        &args.data.join("queries.jsonl"),
        &args.query_prefix,
        &for_queries,
    )?;
    let mut judged = judgements(&args.data.join("qrels/train.tsv"), &queries, &passages)?;

    if judged.is_empty() {
        return Err("no query of qrels/train.tsv has a relevant passage".into());
    }

    let model = DualEncoder::shared(pretrained.encoder(&device)?);
    let optimizer = adam_w(&model, 0.01);
    // Now rather than after the training. A checkpoint has the weights and two moments, and
    // is there until the next is.
    let models = if args.checkpoint_every.is_some() {
        6
    } else {
        1
    };
    let bytes = models * model.num_params() * size_of::<f32>();
    check_room(&args.out.join("model.safetensors"), bytes as u64)?;
    let checkpoints = args.out.join("checkpoints");
    let (mut model, mut optimizer, done) = load_checkpoint(&checkpoints, model, optimizer)?;
    if args.checkpoint_every.is_some() || done > 0 {
        let texts = [judged.len(), passages.len()];
        check_arguments(args, texts, &checkpoints.join("arguments.txt"), done)?;
    }
    let loss_fn = LsePairLossConfig::new()
        .with_temperature(args.temperature)
        .init();
    let total = args.epochs * judged.len().div_ceil(args.batch_size);
    let schedule = Schedule {
        peak: args.lr,
        warmup: total / 10,
        total,
    };
    let mut rng = StdRng::seed_from_u64(args.seed);
    let mut step = 0;

    for _ in 0..args.epochs {
        judged.shuffle(&mut rng);
        for batch in judged.chunks(args.batch_size) {
            let start = Instant::now();
            // Each passage once, whoever brings it.
            let mut seen = HashSet::new();
            let mut columns = Vec::new();
            for (_, relevant) in batch {
                let own = relevant.choose_multiple(&mut rng, args.positives);
                columns.extend(own.filter(|passage| seen.insert(**passage)));
            }
            // All that is relevant to a query, not only what it brings: what another
            // query brings must not become its negative.
            let relevant: Vec<Vec<usize>> = batch.iter().map(|(_, all)| all.clone()).collect();
            let targets = Targets::from_ids(&relevant, &columns, &device)?;
            let query_tokens: Vec<&Tokens> =
                batch.iter().map(|(query, _)| &queries[*query].1).collect();
            let passage_tokens: Vec<&Tokens> = columns
                .iter()
                .map(|passage| &passages[*passage].1)
                .collect();

            // Before a checkpoint only the random numbers of a step are drawn.
            if step < done {
                step += 1;
                continue;
            }
            let result = GradientCache::new(&model, [args.chunk; 2], args.seed ^ step as u64)
                .step(
                    query_tokens.len(),
                    |model, rows| Ok(model.queries().encode(&query_tokens[rows], usize::MAX)),
                    passage_tokens.len(),
                    |model, rows| Ok(model.passages().encode(&passage_tokens[rows], usize::MAX)),
                    |queries, passages| Ok(loss_fn.forward_embeddings(queries, passages, targets)),
                )?;
            let gradients = clip_gradients(&model, result.gradients, 1.0);
            model = optimizer.step(schedule.rate(step), model, gradients);

            step += 1;
            let loss: f64 = result.loss.into_scalar();
            if !loss.is_finite() {
                return Err(format!("the loss is {loss} in step {step}: try a lower --lr").into());
            }
            println!(
                "step {step}/{total}  loss {loss:.4}  {} passages  {:.1} s",
                columns.len(),
                start.elapsed().as_secs_f64()
            );
            if args
                .checkpoint_every
                .is_some_and(|every| step.is_multiple_of(every))
            {
                save_checkpoint(&checkpoints, step, &model, &optimizer)?;
            }
        }
    }
    pretrained.save(model.queries(), &args.out)?;
    if checkpoints.exists() {
        fs::remove_dir_all(&checkpoints)?;
    }
    println!("written to {}", args.out.display());
    Ok(())
}

/// Whether a checkpoint is of this training. For the checkpoints of a new one, the file gets
/// what they are of.
fn check_arguments(
    args: &Arguments,
    [queries, passages]: [usize; 2],
    path: &Path,
    done: usize,
) -> Result<(), String> {
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    let args = Arguments {
        checkpoint_every: None,
        ..args.clone()
    };
    let now = format!("{args:#?}\n{queries} queries, {passages} passages\n");
    if done == 0 {
        fs::create_dir_all(path.parent().unwrap_or(path)).map_err(named)?;
        return files::write(path, now).map_err(named);
    }
    if fs::read_to_string(path).map_err(named)? != now {
        return Err(format!(
            "{}: checkpoints of a training with other arguments: finish that, remove the \
             checkpoints, or choose another folder",
            path.display()
        ));
    }
    println!("goes on after step {done}");
    Ok(())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

/// One whose inverse f32 has.
fn temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (1e-30..=1e30).contains(&number) => Ok(number),
        _ => Err("must be a number from 1e-30 to 1e30".into()),
    }
}

fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("must be a number above 0".into()),
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

/// The ids and tokens of texts, one a line.
fn read(path: &Path, prefix: &str, tokenizer: &Tokenizer) -> Result<Vec<(String, Tokens)>, String> {
    let error = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = fs::File::open(path).map_err(|problem| error(&problem))?;
    let mut texts = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|problem| error(&problem))?;
        let line: Line = serde_json::from_str(&line)
            .map_err(|problem| error(&format!("line {}: {problem}", index + 1)))?;
        let text = format!("{} {}", line.title, line.text);
        let text = format!("{prefix}{}", text.trim());
        texts.push((line.id, tokenizer.tokenize(&text)?));
    }
    Ok(texts)
}

type Texts = [(String, Tokens)];

/// The queries that have relevant passages, with these.
fn judgements(
    path: &Path,
    queries: &Texts,
    passages: &Texts,
) -> Result<Vec<(usize, Vec<usize>)>, String> {
    let places = |texts: &Texts| -> HashMap<String, usize> {
        texts.iter().map(|(id, _)| id.clone()).zip(0..).collect()
    };
    let (queries, passages) = (places(queries), places(passages));
    let file = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut relevant: HashMap<usize, Vec<usize>> = HashMap::new();
    for (index, line) in file.lines().enumerate() {
        if index == 0 && line.starts_with("query-id") {
            continue;
        }
        let error = |problem| format!("{}: line {}: {problem}", path.display(), index + 1);
        let [query, passage, grade] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(error("a query, a passage and a grade are expected"));
        };
        let grade: i32 = grade
            .trim()
            .parse()
            .map_err(|_| error("the grade is no integer"))?;
        let query = queries
            .get(query)
            .ok_or_else(|| error("the query is unknown"))?;
        let passage = passages
            .get(passage)
            .ok_or_else(|| error("the passage is unknown"))?;
        if grade > 0 {
            relevant.entry(*query).or_default().push(*passage);
        }
    }
    let mut relevant: Vec<_> = relevant.into_iter().collect();
    relevant.sort();
    Ok(relevant)
}
