//! Trains the dual encoder of `train_dual_encoder` on the devices of other machines, by Burn's
//! remote backend: every query is scored against the documents of all of them.
//!
//! ```text
//! cargo run --release --features remote-server --example remote -- train --compare
//! ```
//!
//! starts two servers on this machine, trains for an epoch on them, and then the same on one
//! device. With machines of your own, on each of them
//!
//! ```text
//! cargo run --release --features remote-server --example remote -- serve --port 4000 --key key
//! ```
//!
//! which prints ID@127.0.0.1:4000, and on the one that trains, with the names of the machines
//!
//! ```text
//! cargo run --release --features remote-server --example remote -- train \
//!     --server ID@one:4000 --server ID@other:4000 --checkpoints DIR
//! ```
//!
//! The servers reach each other at the same addresses. A server that is lost ends the training
//! with an error; with `--resume` it goes on after the last checkpoint.

mod checkpoint;
mod servers;
mod traffic;
mod training;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use burn_multi_positive::remote::use_kernels;
use clap::{Args, Parser};
use files::Lock;
use retrieval::{Bag, Collection, DualEncoder, Metrics, search};

use checkpoint::Run;
use servers::{Address, Own, Serve, answers, read_token};
use training::{Failure, Plan, Task, Trained};

/// Train on the devices of other machines.
#[derive(Parser)]
enum Command {
    Serve(Serve),
    Train(Train),
    Check(Check),
}

/// See whether a server answers.
#[derive(Args)]
struct Check {
    #[arg(long, value_name = "ID@HOST:PORT")]
    server: Address,
    /// The file that the server has, too
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
}

/// Train a dual encoder on the devices of servers.
#[derive(Args)]
struct Train {
    /// As `serve` prints it, with the name of its machine; once for each server [default: two
    /// servers on this machine]
    #[arg(long = "server", value_name = "ID@HOST:PORT")]
    servers: Vec<Address>,
    /// The file that the servers have, too
    #[arg(long, value_name = "FILE", requires = "servers")]
    token: Option<PathBuf>,
    /// Compute the losses by the kernels of the servers, which have Burn's CPU backend
    #[arg(long)]
    kernels: bool,
    /// Then train the same on one device here, and compare
    #[arg(long, conflicts_with = "resume")]
    compare: bool,
    /// Save model and optimizer in this folder
    #[arg(long, value_name = "DIR")]
    checkpoints: Option<PathBuf>,
    /// Steps between two checkpoints
    #[arg(long, default_value_t = 10, requires = "checkpoints")]
    every: usize,
    /// Go on after the last checkpoint
    #[arg(long, requires = "checkpoints")]
    resume: bool,
    /// Seconds that a step, or a checkpoint, may take before a server is taken for lost
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// Folder of a collection in BEIR layout [default: an embedded collection]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Train on qrels/SPLIT.tsv
    #[arg(long, value_name = "SPLIT", default_value = "train", requires = "data")]
    train_split: String,
    /// Measure on qrels/SPLIT.tsv
    #[arg(long, value_name = "SPLIT", default_value = "test", requires = "data")]
    test_split: String,
    #[arg(long, default_value_t = 1)]
    epochs: usize,
    /// Queries a batch, on all servers together
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Relevant documents drawn for a query each time it is trained on
    #[arg(long, default_value_t = 4)]
    max_positives: usize,
    /// What cosines are divided by
    #[arg(long, default_value_t = 0.05)]
    temperature: f64,
    /// Learning rate of Adam
    #[arg(long, default_value_t = 5e-3)]
    lr: f64,
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

fn main() -> ExitCode {
    let ran = match Command::parse() {
        Command::Serve(serve) => serve.run(),
        Command::Train(train) => train.run(),
        Command::Check(Check { server, token }) => check(&server, token),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(server: &Address, token: Option<PathBuf>) -> Result<(), String> {
    let token = token.as_deref().map(read_token).transpose()?;
    server.connect(token.as_deref())?;
    println!("{server} answers");
    Ok(())
}

impl Train {
    fn run(&self) -> Result<(), String> {
        if self.batch_size == 0 || self.max_positives == 0 || self.every == 0 {
            return Err("--batch-size, --max-positives and --every must be at least 1".into());
        }
        // f32 has their inverses.
        if !(1e-30..=1e30).contains(&self.temperature) {
            let value = self.temperature;
            return Err(format!(
                "--temperature must lie between 1e-30 and 1e30, got {value}"
            ));
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return Err(format!("--lr must be positive and finite, got {}", self.lr));
        }
        let _lock = self.checkpoints.as_deref().map(Lock::take).transpose()?;
        if let (Some(folder), true) = (&self.checkpoints, self.resume) {
            let saved = checkpoint::saved(folder);
            let saved = saved.map_err(|error| format!("{}: {error}", folder.display()))?;
            if saved.is_empty() {
                return Err(format!("{}: there is no checkpoint", folder.display()));
            }
        }
        if let (Some(folder), false) = (&self.checkpoints, self.resume)
            && checkpoint::saved(folder).is_ok_and(|saved| !saved.is_empty())
        {
            return Err(format!(
                "{}: has checkpoints already: --resume goes on from them",
                folder.display()
            ));
        }
        let token = self.token.as_deref().map(read_token).transpose()?;
        let collection = match &self.data {
            Some(data) => Collection::load(data, &self.train_split, &self.test_split)?,
            None => Collection::generate(),
        };
        let task = Arc::new(Task::new(collection));

        let mut own = Vec::new();
        let mut servers = self.servers.clone();
        if servers.is_empty() {
            for _ in 0..2 {
                own.push(Own::start()?);
            }
            servers.extend(own.iter().map(|server| server.address.clone()));
        }
        let mut devices = Vec::new();
        for server in &servers {
            println!("server {server}");
            let device = server.connect(token.as_deref())?.autodiff();
            if self.kernels {
                use_kernels(&device).map_err(|error| format!("{server}: {error}"))?;
            }
            devices.push(device);
        }
        let parts = devices.len();
        if self.batch_size < parts {
            return Err(format!(
                "--batch-size must be at least 1 a server, {parts} in all"
            ));
        }

        let plan = Plan {
            run: Run {
                data: self.data.clone(),
                train_split: self.train_split.clone(),
                seed: self.seed,
                batch_size: self.batch_size,
                max_positives: self.max_positives,
                temperature: self.temperature,
                lr: self.lr,
            },
            epochs: self.epochs,
            checkpoints: self.checkpoints.clone().map(|folder| (folder, self.every)),
            resume: self.resume,
            loopback: servers.iter().all(Address::is_local),
        };
        println!(
            "nDCG@10 before {:.4}",
            ndcg(&training::untrained(self.seed), &task)?
        );
        let trained = bounded(&task, &plan, devices, Duration::from_secs(self.limit));
        let trained = trained.map_err(|failure| match failure {
            Failure::Lost(error) => self.lost(&servers, &error),
            Failure::Other(error) => error,
        })?;
        println!("nDCG@10 after {:.4}", ndcg(&trained.model, &task)?);

        if self.compare {
            println!("\nthe same on one device of this machine");
            let (done, _) = mpsc::channel();
            let plan = Plan {
                checkpoints: None,
                ..plan
            };
            let one = [Device::default().autodiff()];
            let alone = training::train(&task, &plan, &one, &done);
            let alone = alone.map_err(Failure::into_text)?;
            println!("nDCG@10 after {:.4}", ndcg(&alone.model, &task)?);
            let pairs = trained.losses.iter().zip(&alone.losses);
            let differences = pairs.map(|(got, want)| ((got - want) / want).abs());
            let largest = differences.fold(0.0, f64::max);
            println!("largest difference of the losses, relative: {largest:.1e}");
        }
        Ok(())
    }

    /// What is known about a training that broke off, and how it goes on.
    fn lost(&self, servers: &[Address], error: &str) -> String {
        // Half a minute for one that does not.
        eprintln!("{error}\nasking the servers whether they answer");
        let answers = |server: &&Address| answers(server, self.token.as_deref());
        let silent = servers.iter().filter(|server| !answers(server));
        let silent: Vec<String> = silent.map(Address::to_string).collect();
        let mut text = match silent.is_empty() {
            true => "the training broke off, and all servers answer now".into(),
            false => format!(
                "the training broke off: no answer from {}",
                silent.join(", ")
            ),
        };
        let saved = self.checkpoints.as_deref().map(checkpoint::saved);
        let last = saved.and_then(|saved| saved.ok()?.pop());
        match last {
            Some((step, place)) => {
                text += &format!(
                    "\nsteps up to {step} are in {}: once all servers answer, the same command \
                     with --resume goes on after them",
                    place.display()
                );
            }
            None => text += "\nnothing is saved yet, which --checkpoints and --every decide",
        }
        text
    }
}

/// Trains in a thread, because what waits for a server that is lost may wait for ever.
fn bounded(
    task: &Arc<Task>,
    plan: &Plan,
    devices: Vec<Device>,
    limit: Duration,
) -> Result<Trained, Failure> {
    let (done, news) = mpsc::channel();
    let (task, plan) = (task.clone(), plan.clone());
    let thread = thread::spawn(move || {
        let train = || training::train(&task, &plan, &devices, &done);
        // Burn's operations have no other way to say that a session is over.
        let lost = |payload: Box<dyn Any + Send>| Failure::Lost(said(&*payload));
        catch_unwind(AssertUnwindSafe(train)).unwrap_or_else(|payload| Err(lost(payload)))
    });
    let mut last = String::from("the start");
    loop {
        match news.recv_timeout(limit) {
            Ok(news) => last = news,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                return Err(Failure::Lost(format!(
                    "nothing was heard for {limit:?} after {last}: --limit can be more"
                )));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let trained = thread
        .join()
        .map_err(|payload| Failure::Lost(said(&*payload)));
    trained.flatten().map_err(|failure| match failure {
        Failure::Lost(error) => Failure::Lost(format!("after {last}: {error}")),
        Failure::Other(error) => Failure::Other(format!("after {last}: {error}")),
    })
}

/// The message of a panic.
fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".into())
}

/// Over the test queries.
fn ndcg(model: &DualEncoder, task: &Task) -> Result<f64, String> {
    let model = model.valid();
    let encode = |bags: &[Bag]| {
        let chunks = bags.chunks(256);
        let vectors = chunks.map(|bags| model.encode(&bags.iter().collect::<Vec<_>>()));
        Tensor::cat(vectors.collect(), 0)
    };
    let test = &task.collection.test;
    let queries: Vec<Bag> = test.iter().map(|query| Bag::new(&query.text)).collect();
    let (queries, documents) = (encode(&queries), encode(&task.documents));
    let rankings = search(queries, documents, &task.collection.documents)?;
    Ok(Metrics::new(test, &rankings).ndcg_10)
}
