//! Trains the encoder of `train_dual_encoder`, by Burn's Adam over the whole table, with
//! the batch cut into shards, one a device.

use std::{collections::HashSet, path::PathBuf, sync::mpsc::Sender, time::Instant};

use burn::{
    module::Module,
    optim::{AdamConfig, GradientsAccumulator, GradientsParams},
    tensor::{Device, Tensor},
};
use burn_multi_positive::{LsePairLoss, LsePairLossConfig, Shards, Targets};
use rand::{
    SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use retrieval::{BUCKETS, Bag, Collection, DIMENSIONS, DualEncoder};

use crate::{
    checkpoint::{self, Run},
    traffic::{Formula, MiB, Traffic},
};

/// What is trained on.
pub struct Task {
    pub collection: Collection,
    pub documents: Vec<Bag>,
    /// Bag and relevant documents of each train query that has any.
    queries: Vec<(Bag, Vec<usize>)>,
}

impl Task {
    pub fn new(collection: Collection) -> Self {
        let documents = collection.documents.iter();
        let documents = documents.map(|document| Bag::new(&document.text)).collect();
        let queries = collection.train.iter();
        let queries = queries.map(|query| (Bag::new(&query.text), query.relevant()));
        let queries = queries.filter(|(_, relevant)| !relevant.is_empty());
        Self {
            queries: queries.collect(),
            documents,
            collection,
        }
    }

    /// The batches of all epochs: queries, and the documents that they drew. They follow from the
    /// seed alone, so that a run which goes on finds its place by counting.
    fn batches(&self, run: &Run, epochs: usize) -> Vec<(Vec<usize>, Vec<usize>)> {
        let mut rng = StdRng::seed_from_u64(run.seed);
        let mut order: Vec<usize> = (0..self.queries.len()).collect();
        let mut batches = Vec::new();
        for _ in 0..epochs {
            order.shuffle(&mut rng);
            for batch in order.chunks(run.batch_size) {
                let mut seen = HashSet::new();
                let mut drawn = Vec::new();
                for query in batch {
                    let relevant = &self.queries[*query].1;
                    let relevant = relevant.choose_multiple(&mut rng, run.max_positives);
                    drawn.extend(relevant.filter(|id| seen.insert(**id)));
                }
                batches.push((batch.to_vec(), drawn));
            }
        }
        batches
    }
}

/// How to train.
#[derive(Clone)]
pub struct Plan {
    pub run: Run,
    pub epochs: usize,
    /// Where checkpoints are, and after how many steps there is another.
    pub checkpoints: Option<(PathBuf, usize)>,
    pub resume: bool,
    /// Whether what goes over the loopback interface is counted, or what goes over the others.
    pub loopback: bool,
}

/// Why a training broke off.
pub enum Failure {
    /// A server is gone, as far as is known.
    Lost(String),
    Other(String),
}

impl Failure {
    pub fn into_text(self) -> String {
        match self {
            Self::Lost(error) | Self::Other(error) => error,
        }
    }
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self::Other(error)
    }
}

/// What came of it.
pub struct Trained {
    pub model: DualEncoder,
    /// Of each step, those before a restart left out.
    pub losses: Vec<f64>,
}

/// The random weights that a run starts from. A device of another machine draws there, from a
/// seed of that machine's: so they are drawn here.
pub fn untrained(seed: u64) -> DualEncoder {
    let here = Device::default().autodiff();
    here.seed(seed);
    DualEncoder::new(&here)
}

/// Trains on the devices. Says on `done` what it has done: the next step, and each checkpoint.
pub fn train(
    task: &Task,
    plan: &Plan,
    devices: &[Device],
    done: &Sender<String>,
) -> Result<Trained, Failure> {
    let Plan { run, .. } = plan;
    let loss_fn = LsePairLossConfig::new().with_temperature(run.temperature);
    let loss_fn = loss_fn.init();
    let mut optimizer = AdamConfig::new().init();
    let mut model = untrained(run.seed);
    let mut start = 0;
    if let (Some((folder, _)), true) = (&plan.checkpoints, plan.resume) {
        (model, optimizer, start) = checkpoint::load(folder, run, model, optimizer)?;
        println!("goes on after step {start}");
    }
    // The moments follow in the first step.
    let mut model = model.fork(&devices[0]);

    let batches = task.batches(run, plan.epochs);
    let mut losses = Vec::new();
    // Of all steps but the first, which moves what the others find in place.
    let mut formula = Formula::default();
    let mut seconds = Vec::new();
    let mut before = None;
    for (index, batch) in batches.iter().enumerate().skip(start) {
        let step = index + 1;
        let start = Instant::now();
        let shards = shards(task, batch, devices.len());
        formula.add(&Formula::new(&shards, BUCKETS * DIMENSIONS * 4));
        let (loss, gradients) = gradients(task, &model, devices, batch, &shards, &loss_fn)?;
        model = optimizer.step(run.lr, model, gradients);
        // The device may still be at it; a device that is lost is found here.
        let loss: f64 = loss.try_into_scalar().map_err(lost)?;
        if !loss.is_finite() {
            let hint = "try a lower --lr or a higher --temperature";
            return Err(Failure::Other(format!("the loss is {loss}: {hint}")));
        }
        losses.push(loss);
        println!("step {step:4} of {}  loss {loss:.6}", batches.len());
        let _ = done.send(format!("step {step}"));
        match before {
            Some(_) => seconds.push(start.elapsed().as_secs_f64()),
            None => {
                formula = Formula::default();
                before = Some(Traffic::now(plan.loopback));
            }
        }
        if let Some((folder, every)) = &plan.checkpoints
            && (step.is_multiple_of(*every) || step == batches.len())
        {
            let place = checkpoint::save(folder, step, run, &model, &optimizer)?;
            println!("saved {}", place.display());
            let _ = done.send(format!("step {step}, saved {}", place.display()));
        }
    }
    for device in devices {
        device.sync().map_err(lost)?;
    }
    report(plan, seconds, before.flatten(), &formula);
    let model = model.fork(&Device::default().autodiff());
    Ok(Trained { model, losses })
}

fn lost(error: impl std::error::Error) -> Failure {
    Failure::Lost(error.to_string())
}

/// Prints what steps took, and what went over the network in the mean, with checkpoints.
fn report(plan: &Plan, mut seconds: Vec<f64>, before: Option<Traffic>, formula: &Formula) {
    if seconds.is_empty() {
        return;
    }
    let steps = seconds.len();
    seconds.sort_unstable_by(f64::total_cmp);
    let each = |bytes: u64| MiB(bytes / steps as u64);
    println!(
        "seconds a step: {:.3} in the mean of {steps}, {:.3} at the median, {:.3} at the least",
        seconds.iter().sum::<f64>() / steps as f64,
        seconds[steps / 2],
        seconds[0],
    );
    println!(
        "MiB a step by the formulas: documents {:.2}, their gradients {:.2}, replicas {:.2}, \
         inputs {:.2}; all {:.2}",
        each(formula.documents),
        each(formula.documents),
        each(formula.replicas),
        each(formula.inputs),
        each(formula.total()),
    );
    let interfaces = match plan.loopback {
        true => "the loopback interface, which servers and client share",
        false => "all interfaces of this machine",
    };
    if let (Some(before), Some(now)) = (before, Traffic::now(plan.loopback)) {
        let Traffic { sent, received } = now - before;
        println!(
            "MiB a step over {interfaces}: sent {:.2}, received {:.2}",
            each(sent),
            each(received)
        );
    }
}

/// The texts of a batch, queries and documents, in equal parts.
fn shards<'a>(
    task: &'a Task,
    (queries, documents): &(Vec<usize>, Vec<usize>),
    parts: usize,
) -> Vec<(Vec<&'a Bag>, Vec<&'a Bag>)> {
    let part = |all: &[usize], index: usize| {
        let end = |index: usize| all.len() * index / parts;
        all[end(index)..end(index + 1)].to_vec()
    };
    let shard = |index| {
        let queries = part(queries, index).into_iter();
        let documents = part(documents, index).into_iter();
        (
            queries.map(|query| &task.queries[query].0).collect(),
            documents.map(|id| &task.documents[id]).collect(),
        )
    };
    (0..parts).map(shard).collect()
}

/// The loss of a batch, and its gradients on the first device.
fn gradients(
    task: &Task,
    model: &DualEncoder,
    devices: &[Device],
    (queries, ids): &(Vec<usize>, Vec<usize>),
    shards: &[(Vec<&Bag>, Vec<&Bag>)],
    loss_fn: &LsePairLoss,
) -> Result<(Tensor<1>, GradientsParams), String> {
    // A replica on each device: `fork` gives it an autodiff graph of its own.
    let replicas = devices.iter().map(|device| model.clone().fork(device));
    let replicas: Vec<DualEncoder> = replicas.collect();
    // A small batch may leave a device without queries, or without anything.
    let (mut query_vectors, mut document_vectors) = (Vec::new(), Vec::new());
    for (replica, (queries, documents)) in replicas.iter().zip(shards) {
        match (queries.is_empty(), documents.is_empty()) {
            (false, false) => {
                let (queries, documents) = replica.forward(queries, documents);
                query_vectors.push(queries);
                document_vectors.push(documents);
            }
            (false, true) => query_vectors.push(replica.encode(queries)),
            (true, false) => document_vectors.push(replica.encode(documents)),
            (true, true) => {}
        }
    }

    // All that is relevant to a query, not only what it drew: a document that another query
    // brought along must not become its negative. Of the whole batch, without offsets.
    let relevant = queries.iter().map(|query| task.queries[*query].1.clone());
    let relevant: Vec<Vec<usize>> = relevant.collect();
    let targets = Targets::from_ids(&relevant, ids, &devices[0]);
    let targets = targets.map_err(|error| error.to_string())?;
    let loss = loss_fn.forward(Shards::new(query_vectors, document_vectors), targets);

    // The loss is that of the whole batch, so the replicas' gradients are added up, and not
    // divided by the number of devices.
    let mut gradients = loss.backward();
    let mut sum = GradientsAccumulator::new();
    for replica in &replicas {
        let part = GradientsParams::from_module(&mut gradients, replica);
        sum.accumulate(model, part.to_device(&devices[0], replica));
    }
    Ok((loss, sum.grads()))
}
