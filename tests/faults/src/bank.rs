//! A training with a memory bank whose record is saved as its documentation advises: beside
//! model and optimizer, in a folder that gets its name when all are in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor, TensorData},
};
use burn_multi_positive::{LsePairLossConfig, MemoryBank, MemoryBankRecord, Stored};
use files::{Lock, PartialFolder};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

const STEPS: usize = 400;
/// Steps between two checkpoints.
const EVERY: usize = 10;
const BATCH: usize = 8;
const INPUTS: usize = 16;
const OUTPUTS: usize = 8;
/// No multiple of the batch: its columns do not stay in the order of age.
const CAPACITY: usize = 50;

/// What is not the model's or the optimizer's.
#[derive(Serialize, Deserialize)]
struct State {
    bank: MemoryBankRecord<u64>,
    losses: Vec<f32>,
}

struct Training {
    model: Linear,
    optimizer: ModuleOptimizer,
    bank: MemoryBank<u64>,
    /// Of each step.
    losses: Vec<f32>,
}

/// Trains, or goes on, and writes the losses and the weights.
pub fn train(out: &Path) -> Result<(), String> {
    let _lock = Lock::take(out)?;
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut training = load(out, &device)?;
    for step in training.losses.len()..STEPS {
        training = training.step(step, &device)?;
        println!("step {}  loss {}", step + 1, training.losses[step]);
        if (step + 1).is_multiple_of(EVERY) {
            training.save(out)?;
        }
    }
    let weights: Vec<f32> = training.model.weight.val().into_data().iter().collect();
    let figures = serde_json::json!({"losses": training.losses, "weights": weights});
    let path = out.join("figures.json");
    files::write(&path, figures.to_string()).map_err(|error| named(&path, error))?;
    let checkpoints = checkpoints(out);
    fs::remove_dir_all(&checkpoints).map_err(|error| named(&checkpoints, error))
}

fn checkpoints(out: &Path) -> PathBuf {
    out.join("checkpoints")
}

fn named(path: &Path, error: impl ToString) -> String {
    format!("{}: {}", path.display(), error.to_string())
}

/// The last checkpoint, or the start.
fn load(out: &Path, device: &Device) -> Result<Training, String> {
    let mut training = Training {
        model: LinearConfig::new(INPUTS, OUTPUTS).init(device),
        optimizer: AdamConfig::new().init(),
        bank: MemoryBank::new(CAPACITY).map_err(|error| error.to_string())?,
        losses: Vec::new(),
    };
    let Some(place) = saved(out).pop().map(|(_, place)| place) else {
        return Ok(training);
    };
    let file = |name| place.join(name);
    let read = |name| fs::read_to_string(file(name)).map_err(|error| named(&place, error));
    let state: State =
        serde_json::from_str(&read("state.json")?).map_err(|error| named(&place, error))?;
    training.losses = state.losses;
    training.bank =
        MemoryBank::from_record(state.bank, device).map_err(|error| named(&place, error))?;
    let model = training.model.try_load_file(file("model.bpk"));
    training.model = model.map_err(|error| named(&place, error))?;
    let optimizer = training.optimizer.load(file("optimizer.bpk"));
    training.optimizer = optimizer.map_err(|error| named(&place, error))?;
    Ok(training)
}

/// The checkpoints, by their steps.
fn saved(out: &Path) -> Vec<(usize, PathBuf)> {
    let entries = fs::read_dir(checkpoints(out))
        .into_iter()
        .flatten()
        .flatten();
    let numbered = |entry: fs::DirEntry| {
        let step = entry.file_name().to_str()?.parse().ok()?;
        Some((step, entry.path()))
    };
    let mut saved: Vec<_> = entries.filter_map(numbered).collect();
    saved.sort();
    saved
}

impl Training {
    fn step(mut self, step: usize, device: &Device) -> Result<Self, String> {
        // A step's numbers follow from its place alone.
        let mut rng = StdRng::seed_from_u64(step as u64);
        let mut texts = || -> Tensor<2> {
            let numbers = (0..BATCH * INPUTS).map(|_| rng.random_range(-1f32..1.0));
            Tensor::from_data(TensorData::new(numbers.collect(), [BATCH, INPUTS]), device)
        };
        let queries = self.model.forward(texts());
        let documents = self.model.forward(texts());
        let ids: Vec<u64> = (0..BATCH).map(|row| (step * BATCH + row) as u64).collect();
        // Each its own document, and one of an earlier batch.
        let relevant: Vec<Vec<u64>> = ids.iter().map(|&id| vec![id, id / 2]).collect();
        let error = |error: burn_multi_positive::BankError| error.to_string();
        let (candidates, targets) = self
            .bank
            .candidates(documents.clone(), &ids, &relevant, Stored::Positive)
            .map_err(error)?;
        let loss_fn = LsePairLossConfig::new().init();
        let loss = loss_fn.forward_embeddings(queries, candidates, targets);
        self.losses.push(loss.clone().into_scalar());
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        self.model = self.optimizer.step(1e-2, self.model, gradients);
        self.bank.push(documents, &ids).map_err(error)?;
        Ok(self)
    }

    /// Model, optimizer and bank of one step, all or none, in place of the last ones.
    fn save(&self, out: &Path) -> Result<(), String> {
        let before = saved(out);
        let place = checkpoints(out).join(self.losses.len().to_string());
        let error = |error: std::io::Error| named(&place, error);
        let folder = PartialFolder::new(&place).map_err(error)?;
        let file = |name| folder.path().join(name);
        let model = self.model.clone().save_file(file("model.bpk"));
        model.map_err(|error| named(&place, error))?;
        let optimizer = self.optimizer.save(file("optimizer.bpk"));
        optimizer.map_err(|error| named(&place, error))?;
        let state = State {
            bank: self.bank.to_record(),
            losses: self.losses.clone(),
        };
        let state = serde_json::to_string(&state).map_err(|error| named(&place, error))?;
        files::write(&file("state.json"), state).map_err(error)?;
        folder.commit().map_err(error)?;
        for (_, old) in before {
            fs::remove_dir_all(&old).map_err(|error| named(&old, error))?;
        }
        Ok(())
    }
}
