//! A batch of queries through the public API, out as f64.

use crate::{
    device::turn_to_draw,
    oracle::{Loss, Negatives, Objective, Positives, Query},
};
use burn::{
    nn::loss::Reduction,
    tensor::{Bool, DType, Device, Int, Tensor, TensorData},
};
use burn_multi_positive::{
    Embeddings, JointLhLoss, JointLhLossConfig, LsePairLoss, LsePairLossConfig, NegativeSelection,
    PositiveSelection, Rand1LhLoss, Rand1LhLossConfig, Scores, SumMargLhLoss, SumMargLhLossConfig,
    Targets, Tile,
};
use std::sync::MutexGuard;

/// Any of the four losses.
#[derive(Clone, Debug)]
pub enum Criterion {
    LsePair(LsePairLoss),
    JointLh(JointLhLoss),
    SumMargLh(SumMargLhLoss),
    Rand1Lh(Rand1LhLoss),
}

impl From<&Objective> for Criterion {
    fn from(objective: &Objective) -> Self {
        let temperature = objective.temperature;
        match objective.loss {
            Loss::LsePair => Self::LsePair(
                LsePairLossConfig::new()
                    .with_temperature(temperature)
                    .with_margin(objective.margin)
                    .with_positives(match objective.positives {
                        Positives::All => PositiveSelection::All,
                        Positives::Weakest => PositiveSelection::Weakest,
                        Positives::Strongest => PositiveSelection::Strongest,
                    })
                    .with_negatives(match objective.negatives {
                        Negatives::All => NegativeSelection::All,
                        Negatives::Hardest => NegativeSelection::Hardest,
                    })
                    .with_normalize_by_positives(objective.normalize_by_positives)
                    .init(),
            ),
            Loss::JointLh => Self::JointLh(
                JointLhLossConfig::new()
                    .with_temperature(temperature)
                    .with_normalize_by_positives(objective.normalize_by_positives)
                    .init(),
            ),
            Loss::SumMargLh => Self::SumMargLh(
                SumMargLhLossConfig::new()
                    .with_temperature(temperature)
                    .init(),
            ),
            Loss::Rand1Lh => Self::Rand1Lh(
                Rand1LhLossConfig::new()
                    .with_temperature(temperature)
                    .init(),
            ),
        }
    }
}

macro_rules! each {
    ($criterion:expr, $loss:ident => $call:expr) => {
        match $criterion {
            Criterion::LsePair($loss) => $call,
            Criterion::JointLh($loss) => $call,
            Criterion::SumMargLh($loss) => $call,
            Criterion::Rand1Lh($loss) => $call,
        }
    };
}

impl Criterion {
    /// Rand1LH draws: those who seed the device and count on what is drawn hold the turn.
    fn turn(&self) -> Option<MutexGuard<'static, ()>> {
        matches!(self, Self::Rand1Lh(_)).then(turn_to_draw)
    }

    pub fn mean(&self, scores: Tensor<2>, targets: impl Into<Targets>) -> Tensor<1> {
        let _turn = self.turn();
        self.mean_in_turn(scores, targets)
    }

    /// As `mean`, for callers who hold the turn to draw.
    pub fn mean_in_turn(&self, scores: Tensor<2>, targets: impl Into<Targets>) -> Tensor<1> {
        each!(self, loss => loss.forward(scores, targets))
    }

    pub fn reduced(
        &self,
        scores: Tensor<2>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let _turn = self.turn();
        each!(self, loss => loss.forward_with_reduction(scores, targets, reduction))
    }

    pub fn rows(&self, scores: Tensor<2>, targets: impl Into<Targets>) -> Tensor<1> {
        let _turn = self.turn();
        each!(self, loss => loss.forward_no_reduction(scores, targets))
    }

    pub fn embeddings(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        let _turn = self.turn();
        self.embeddings_in_turn(queries, documents, targets)
    }

    /// As `embeddings`, for callers who hold the turn to draw.
    pub fn embeddings_in_turn(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        each!(self, loss => loss.forward_embeddings(queries, documents, targets))
    }

    pub fn tiled(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
        tile: impl Into<Tile>,
    ) -> Tensor<1> {
        let _turn = self.turn();
        let embeddings = Embeddings::new(queries, documents).with_tile(tile);
        each!(self, loss => loss.forward(embeddings, targets))
    }

    pub fn reduced_embeddings(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let _turn = self.turn();
        let embeddings = Embeddings::new(queries, documents);
        self.scores_in_turn(embeddings, targets, reduction)
    }

    /// From any scores, for callers who hold the turn to draw.
    pub fn scores_in_turn(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        each!(self, loss => loss.forward_with_reduction(scores, targets, reduction))
    }

    pub fn embeddings_rows(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
        tile: Option<Tile>,
    ) -> Tensor<1> {
        let _turn = self.turn();
        let embeddings = Embeddings::new(queries, documents);
        let embeddings = match tile {
            None => embeddings,
            Some(tile) => embeddings.with_tile(tile),
        };
        each!(self, loss => loss.forward_no_reduction(embeddings, targets))
    }

    /// As `mean`; Rand1LH does not draw, it takes the batch's chosen positives.
    pub fn chosen_mean(&self, scores: Tensor<2>, batch: &Batch) -> Tensor<1> {
        let device = scores.device();
        match self {
            Self::Rand1Lh(loss) => {
                loss.forward_chosen(scores, batch.targets(&device), batch.chosen(&device))
            }
            _ => self.mean(scores, batch.targets(&device)),
        }
    }

    /// As `rows`; Rand1LH takes the chosen positives, query by query because it returns a mean.
    pub fn chosen_rows(&self, scores: Tensor<2>, batch: &Batch) -> Tensor<1> {
        if !matches!(self, Self::Rand1Lh(_)) {
            let targets = batch.targets(&scores.device());
            return self.rows(scores, targets);
        }
        let row = |(q, query): (usize, &Query)| {
            let alone = Batch(vec![query.clone()]);
            self.chosen_mean(scores.clone().narrow(0, q, 1), &alone)
        };
        Tensor::cat(batch.0.iter().enumerate().map(row).collect(), 0)
    }
}

/// Queries over one set of documents.
#[derive(Clone, Debug)]
pub struct Batch(pub Vec<Query>);

/// What came out of the library.
#[derive(Debug)]
pub struct Outcome {
    pub rows: Vec<f64>,
    pub mean: f64,
    /// Of the mean with respect to the scores.
    pub gradient: Vec<Vec<f64>>,
}

impl Batch {
    /// Scores and columns of the positives, one query a line.
    pub fn new(queries: &[(&[f64], &[usize])]) -> Self {
        let query = |(scores, positives): &(&[f64], &[usize])| Query::new(scores, positives);
        Self(queries.iter().map(query).collect())
    }

    /// Ignores one document of one query.
    pub fn ignoring(mut self, query: usize, document: usize) -> Self {
        self.0[query].candidates[document] = false;
        self
    }

    pub fn active(&self) -> f64 {
        self.0.iter().filter(|query| query.active()).count() as f64
    }

    pub fn scores(&self, device: &Device, dtype: DType) -> Tensor<2> {
        float_matrix(&self.each(|query| query.scores.clone()), device, dtype)
    }

    pub fn positives(&self, device: &Device) -> Tensor<2, Bool> {
        bool_matrix(&self.each(|query| query.positives.clone()), device)
    }

    pub fn candidates(&self, device: &Device) -> Tensor<2, Bool> {
        bool_matrix(&self.each(|query| query.candidates.clone()), device)
    }

    pub fn targets(&self, device: &Device) -> Targets {
        let targets = Targets::new(self.positives(device));
        if self
            .0
            .iter()
            .all(|query| query.candidates.iter().all(|&keep| keep))
        {
            return targets;
        }
        targets.with_candidates(self.candidates(device))
    }

    /// The drawn column of each query, -1 where there is none.
    pub fn chosen(&self, device: &Device) -> Tensor<1, Int> {
        let column = |query: &Query| query.chosen.map_or(-1, |column| column as i64);
        let columns: Vec<i64> = self.0.iter().map(column).collect();
        Tensor::from_data(TensorData::from(columns.as_slice()), device)
    }

    pub fn run(&self, objective: &Objective, device: &Device, dtype: DType) -> Outcome {
        let criterion = Criterion::from(objective);
        let scores = self.scores(device, dtype).require_grad();
        let rows = criterion.chosen_rows(scores.clone(), self);
        let mean = criterion.chosen_mean(scores.clone(), self);
        Outcome {
            rows: numbers(rows),
            gradient: gradient_of(&mean, &scores),
            mean: numbers(mean)[0],
        }
    }

    fn each<T>(&self, part: impl Fn(&Query) -> T) -> Vec<T> {
        self.0.iter().map(part).collect()
    }
}

/// The gradient of a one-number loss with respect to a leaf.
pub fn gradient_of(loss: &Tensor<1>, leaf: &Tensor<2>) -> Vec<Vec<f64>> {
    matrix(
        leaf.grad(&loss.backward())
            .expect("the leaf has a gradient"),
    )
}

pub fn numbers(tensor: Tensor<1>) -> Vec<f64> {
    tensor.try_into_vec_as().expect("readable")
}

pub fn matrix(tensor: Tensor<2>) -> Vec<Vec<f64>> {
    let [rows, columns] = tensor.dims();
    let flat: Vec<f64> = tensor.try_into_vec_as().expect("readable");
    let row = |row: usize| flat[row * columns..(row + 1) * columns].to_vec();
    (0..rows).map(row).collect()
}

pub fn bools(tensor: Tensor<2, Bool>) -> Vec<Vec<bool>> {
    let is_one = |row: Vec<f64>| row.into_iter().map(|value| value == 1.0).collect();
    matrix(tensor.float()).into_iter().map(is_one).collect()
}

pub fn float_matrix(rows: &[Vec<f64>], device: &Device, dtype: DType) -> Tensor<2> {
    let columns = rows.first().map_or(0, Vec::len);
    let data = TensorData::new(rows.concat(), [rows.len(), columns]);
    Tensor::from_data(data, (device, dtype))
}

pub fn bool_matrix(rows: &[Vec<bool>], device: &Device) -> Tensor<2, Bool> {
    let columns = rows.first().map_or(0, Vec::len);
    Tensor::from_data(
        TensorData::new(rows.concat(), [rows.len(), columns]),
        device,
    )
}

/// Numbers that are the same in each run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    pub fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() * bound as f64) as usize
    }

    pub fn mask(&mut self, rows: usize, columns: usize, share: f64) -> Vec<Vec<bool>> {
        (0..rows)
            .map(|_| (0..columns).map(|_| self.next() < share).collect())
            .collect()
    }
}
