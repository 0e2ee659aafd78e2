//! The adapter, and how it is trained.

use std::collections::HashSet;

use burn::{
    module::{Module, Param, ParamId},
    optim::{AdamWConfig, GradientsParams},
    tensor::{Device, Int, Tensor, TensorData},
};
use burn_multi_positive::{
    DclLossConfig, Embeddings, ExpectedRand1LhLossConfig, Forward, JointLhLossConfig,
    LsePairLossConfig, Objective, Rand1LhLossConfig, SumMargLhLossConfig, Targets,
};
use clap::{Args, ValueEnum};
use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use retrieval::{Metrics, normalize, search};

use crate::{
    collection::{Collection, Judgements},
    matrix::Matrix,
};

#[derive(Args)]
pub struct Training {
    /// Whose vectors go through the map
    #[arg(long, value_enum, default_value_t = Side::Queries)]
    pub adapt: Side,
    #[arg(long, value_enum, default_value_t = Loss::LsePair)]
    loss: Loss,
    /// What scores are divided by
    #[arg(long, default_value_t = 0.05)]
    temperature: f64,
    /// Scores are dot products of the vectors as they are, not cosines
    #[arg(long)]
    dot: bool,
    #[arg(long, default_value_t = 10)]
    pub epochs: usize,
    /// Queries a batch
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Relevant documents drawn for a query each time it is trained on
    #[arg(long, default_value_t = 4)]
    max_positives: usize,
    /// Documents drawn from all, for each query of a batch
    #[arg(long, value_name = "DOCUMENTS", default_value_t = 8)]
    drawn: usize,
    /// Learning rate of AdamW; it falls to 0
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    /// Draws the map back to the vectors as they are
    #[arg(long, default_value_t = 0.01)]
    weight_decay: f32,
    /// Of the order of the queries, and of what is drawn
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// Queries; documents and their index stay as they are
    Queries,
    /// Queries and documents, through the same map; the index is made anew, by one product
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Loss {
    LsePair,
    SumMargLh,
    JointLh,
    Rand1Lh,
    ExpectedRand1Lh,
    Dcl,
}

impl Loss {
    fn init(self, temperature: f64) -> Box<dyn Objective> {
        let t = temperature;
        match self {
            Self::LsePair => Box::new(LsePairLossConfig::new().with_temperature(t).init()),
            Self::SumMargLh => Box::new(SumMargLhLossConfig::new().with_temperature(t).init()),
            Self::JointLh => Box::new(JointLhLossConfig::new().with_temperature(t).init()),
            Self::Rand1Lh => Box::new(Rand1LhLossConfig::new().with_temperature(t).init()),
            Self::ExpectedRand1Lh => {
                Box::new(ExpectedRand1LhLossConfig::new().with_temperature(t).init())
            }
            Self::Dcl => Box::new(DclLossConfig::new().with_temperature(t).init()),
        }
    }
}

/// The map `x + x D`.
#[derive(Module, Debug)]
pub struct Adapter {
    /// `D`, which is 0 at the start: an adapter that has learned nothing changes nothing.
    difference: Param<Tensor<2>>,
}

impl Adapter {
    pub fn new(dimensions: usize, device: &Device) -> Self {
        let zeros = Tensor::zeros([dimensions; 2], device).require_grad();
        Self {
            difference: Param::initialized(ParamId::new(), zeros),
        }
    }

    /// From `[vectors, dimensions]` to the same.
    pub fn forward(&self, vectors: Tensor<2>) -> Tensor<2> {
        vectors.clone() + vectors.matmul(self.difference.val())
    }

    /// `I + D`: vectors as rows are multiplied by it from the right.
    pub fn matrix(&self) -> Matrix {
        let difference = self.difference.val();
        let [dimensions, _] = difference.dims();
        let map = Tensor::eye(dimensions, &difference.device()) + difference;
        Matrix {
            values: map.into_data().iter().collect(),
            rows: dimensions,
            columns: dimensions,
        }
    }
}

impl Training {
    pub fn check(&self) -> Result<(), String> {
        if self.batch_size == 0 || self.max_positives == 0 {
            return Err("--batch-size and --max-positives must be at least 1".into());
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
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            let value = self.weight_decay;
            return Err(format!("--weight-decay must be 0 or positive, got {value}"));
        }
        Ok(())
    }

    /// Learns from the train queries.
    ///
    /// # Errors
    ///
    /// No train query has a relevant document, or the loss ceases to be finite.
    pub fn train(&self, collection: &Collection, device: &Device) -> Result<Adapter, String> {
        let queries = tensor(&collection.queries, device);
        let documents = tensor(&collection.documents, device);
        let loss_fn = self.loss.init(self.temperature);
        let mut adapter = Adapter::new(collection.queries.columns, device);
        let mut optimizer = AdamWConfig::new()
            .with_weight_decay(self.weight_decay)
            .init();
        let mut rng = StdRng::seed_from_u64(self.seed);

        let Judgements {
            queries: train,
            rows,
        } = &collection.train;
        let relevant = train.iter().map(|query| query.relevant());
        let mut examples: Vec<(usize, Vec<usize>)> = rows.iter().copied().zip(relevant).collect();
        examples.retain(|(_, relevant)| !relevant.is_empty());
        if examples.is_empty() {
            return Err("no query to train on has a relevant document".into());
        }
        let steps = self.epochs * examples.len().div_ceil(self.batch_size);
        let mut step = 0;
        for epoch in 1..=self.epochs {
            let mut total = 0.0;
            examples.shuffle(&mut rng);
            for batch in examples.chunks(self.batch_size) {
                // What one query drew is there for all, once.
                let columns = self.draw(batch, collection.documents.rows, &mut rng);
                // All that is relevant, not only what was drawn for the query itself: what
                // another query brought along must not become a negative.
                let relevant: Vec<Vec<usize>> = batch.iter().map(|(_, all)| all.clone()).collect();
                let targets = Targets::from_ids(&relevant, &columns, device);
                let targets = targets.map_err(|error| error.to_string())?;
                let rows: Vec<usize> = batch.iter().map(|(row, _)| *row).collect();

                let q = self.queries(&adapter, select(&queries, &rows));
                let d = self.documents(&adapter, select(&documents, &columns));
                let loss = loss_fn.forward(Embeddings::new(q, d), targets);
                let gradients = GradientsParams::from_grads(loss.backward(), &adapter);
                let rate = self.lr * (steps - step) as f64 / steps as f64;
                adapter = optimizer.step(rate, adapter, gradients);
                step += 1;

                let loss: f64 = loss.into_scalar();
                if !loss.is_finite() {
                    return Err(format!(
                        "the loss is {loss} in epoch {epoch}: \
                         try a lower --lr or a higher --temperature"
                    ));
                }
                total += loss * batch.len() as f64;
            }
            let mean = total / examples.len() as f64;
            println!("epoch {epoch:2}  loss {mean:.4}");
        }
        Ok(adapter)
    }

    /// The documents of a batch: relevant ones of every query, and some of all.
    fn draw(
        &self,
        batch: &[(usize, Vec<usize>)],
        documents: usize,
        rng: &mut StdRng,
    ) -> Vec<usize> {
        let mut columns = Vec::new();
        for (_, relevant) in batch {
            columns.extend(relevant.choose_multiple(rng, self.max_positives));
            columns.extend((0..self.drawn).map(|_| rng.random_range(0..documents)));
        }
        let mut seen = HashSet::new();
        columns.retain(|document| seen.insert(*document));
        columns
    }

    /// The metrics of every held-out query.
    ///
    /// # Errors
    ///
    /// A score is not finite.
    pub fn measure(
        &self,
        adapter: &Adapter,
        collection: &Collection,
        device: &Device,
    ) -> Result<Vec<Metrics>, String> {
        let adapter = adapter.valid();
        let device = device.clone().without_autodiff();
        let held_out = &collection.held_out;
        let queries = select(&tensor(&collection.queries, &device), &held_out.rows);
        let rankings = search(
            self.queries(&adapter, queries),
            self.documents(&adapter, tensor(&collection.documents, &device)),
            &collection.names,
        )?;
        let queries = held_out.queries.iter().zip(&rankings);
        Ok(queries
            .map(|(q, ranking)| Metrics::of_query(q, ranking))
            .collect())
    }

    fn queries(&self, adapter: &Adapter, vectors: Tensor<2>) -> Tensor<2> {
        self.compared(adapter.forward(vectors))
    }

    fn documents(&self, adapter: &Adapter, vectors: Tensor<2>) -> Tensor<2> {
        self.compared(match self.adapt {
            Side::Queries => vectors,
            Side::Both => adapter.forward(vectors),
        })
    }

    /// Vectors whose dot products are the scores.
    fn compared(&self, vectors: Tensor<2>) -> Tensor<2> {
        match self.dot {
            true => vectors,
            false => normalize(vectors),
        }
    }
}

fn tensor(matrix: &Matrix, device: &Device) -> Tensor<2> {
    let values = TensorData::new(matrix.values.clone(), [matrix.rows, matrix.columns]);
    Tensor::from_data(values, device)
}

fn select(vectors: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    let rows: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
    let count = rows.len();
    let rows = TensorData::new(rows, [count]);
    let rows = Tensor::<1, Int>::from_data(rows, &vectors.device());
    vectors.clone().select(0, rows)
}

#[cfg(test)]
mod tests {
    use clap::{Parser, ValueEnum};

    use super::*;
    use crate::{
        Arguments,
        generated::{self, ANGLE},
    };

    fn training(arguments: &[&str]) -> Training {
        let arguments = [&["adapt_embeddings"], arguments].concat();
        Arguments::parse_from(arguments).training
    }

    fn ndcg(metrics: &[Metrics]) -> f64 {
        Metrics::mean(metrics).ndcg_10
    }

    /// nDCG@10 of held-out queries, before and after.
    fn learn(training: &Training, collection: &Collection) -> (f64, f64, Adapter) {
        let device = Device::default().autodiff();
        let measure = |adapter: &Adapter| {
            let metrics = training.measure(adapter, collection, &device);
            ndcg(&metrics.unwrap())
        };
        let before = measure(&Adapter::new(collection.queries.columns, &device));
        let adapter = training.train(collection, &device).unwrap();
        (before, measure(&adapter), adapter)
    }

    #[test]
    fn a_rotation_of_the_queries_is_found() {
        let (collection, rotation) = generated::collection(ANGLE);
        let training = training(&["--lr", "1e-2", "--epochs", "20"]);
        let (before, after, adapter) = learn(&training, &collection);
        assert!(before < 0.5 && after > 0.95, "{before} {after}");

        // Rotated and mapped, a vector points to where it pointed before.
        let device = Device::default();
        let size = rotation.rows;
        let there_and_back = tensor(&rotation, &device).matmul(tensor(&adapter.matrix(), &device));
        let cosines = normalize(there_and_back) * Tensor::eye(size, &device);
        let cosines: Vec<f32> = cosines.sum_dim(1).into_data().iter().collect();
        let mean = cosines.iter().sum::<f32>() / size as f32;
        assert!(mean > 0.9, "{mean}: {cosines:?}");
    }

    #[test]
    fn every_objective_learns() {
        let (collection, _) = generated::collection(ANGLE);
        for loss in Loss::value_variants() {
            let name = loss.to_possible_value().unwrap();
            let training = ["--lr", "1e-2", "--epochs", "3", "--loss", name.get_name()];
            let (before, after, _) = learn(&self::training(&training), &collection);
            assert!(after > before + 0.1, "{loss:?}: {before} {after}");
        }
    }

    #[test]
    fn dot_products_are_learned_as_cosines_are() {
        let (collection, _) = generated::collection(ANGLE);
        let training = training(&["--lr", "1e-2", "--dot", "--temperature", "0.1"]);
        let (before, after, _) = learn(&training, &collection);
        assert!(after > before + 0.1, "{before} {after}");
    }

    /// What is added to queries and documents alike, no map of the queries alone takes away from
    /// the documents.
    #[test]
    fn a_map_of_both_learns_what_disturbs_both() {
        let (mut collection, _) = generated::collection(0.0);
        let mut rng = StdRng::seed_from_u64(1);
        for vectors in [&mut collection.queries, &mut collection.documents] {
            for first in vectors.values.iter_mut().step_by(vectors.columns) {
                *first = rng.random_range(-3.0..3.0);
            }
        }
        let both = training(&["--lr", "1e-2", "--adapt", "both"]);
        let (before, after, _) = learn(&both, &collection);
        assert!(after > before + 0.1, "{before} {after}");
        let queries = training(&["--lr", "1e-2"]);
        let (_, less, _) = learn(&queries, &collection);
        assert!(after > less, "{less} {after}");
    }

    #[test]
    fn an_adapter_that_has_learned_nothing_changes_nothing() {
        let device = Device::default().autodiff();
        let adapter = Adapter::new(2, &device);
        assert_eq!(adapter.matrix().values, [1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn what_is_written_is_what_forward_does() {
        let device = Device::default();
        let difference = Tensor::from_floats([[0.0, 1.0], [-2.0, 0.5]], &device);
        let adapter = Adapter {
            difference: Param::initialized(ParamId::new(), difference),
        };
        let vectors = Tensor::<2>::from_floats([[3.0, -1.0], [0.5, 2.0]], &device);
        let product = vectors.clone().matmul(tensor(&adapter.matrix(), &device));
        product
            .into_data()
            .assert_approx_eq::<f32>(&adapter.forward(vectors).into_data(), Default::default());
    }

    #[test]
    fn a_batch_has_every_document_once() {
        let training = training(&["--max-positives", "2", "--drawn", "3"]);
        let batch = [(0, vec![1, 2, 3]), (1, vec![2])];
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..20 {
            let columns = training.draw(&batch, 6, &mut rng);
            let different: HashSet<&usize> = columns.iter().collect();
            assert_eq!(different.len(), columns.len());
            assert!(columns.contains(&2) && columns.iter().all(|column| *column < 6));
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_errors() {
        for (arguments, expected) in [
            (["--batch-size", "0"], "--batch-size and"),
            (["--temperature", "0"], "--temperature must"),
            (["--temperature", "1e-40"], "--temperature must"),
            (["--lr", "inf"], "--lr must"),
            (["--weight-decay", "NaN"], "--weight-decay must"),
        ] {
            let error = training(&arguments).check().unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn nothing_to_learn_from_is_an_error() {
        let (mut collection, _) = generated::collection(ANGLE);
        collection.train = Judgements::default();
        let device = Device::default().autodiff();
        let error = training(&[]).train(&collection, &device).err();
        let expected = "no query to train on has a relevant document";
        assert_eq!(error.as_deref(), Some(expected));
    }
}
