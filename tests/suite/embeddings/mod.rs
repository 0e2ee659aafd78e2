//! Losses that start from embeddings: against those of all scores, and both against the
//! oracle.
//!
//! Entries of embeddings are multiples of 1/16 up to 1, so that scores are exact in every
//! precision, ties are ties, and tolerances need not know the product.

mod contract;
mod graph;
mod targets;

use crate::{
    batch::{Batch, Criterion, float_matrix, matrix, numbers},
    close::Tolerance,
    device::{autodiff_devices, device, is_cpu, precisions, product_error, rounding, supports},
    oracle::{DEFAULTS, Loss, Objective, Query, objectives},
    statistics::ALL,
};
use burn::{
    nn::loss::Reduction,
    tensor::{DType, Device, Tensor},
};
use burn_multi_positive::{
    Embeddings, Targets, Tile,
    statistics::{Request, Statistics},
};
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, RngSeed},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::fmt::Display;

type Matrix = Vec<Vec<f64>>;

/// Embeddings, and who is relevant to whom: the scores of the batch are the products.
#[derive(Clone, Debug)]
struct Case {
    queries: Matrix,
    documents: Matrix,
    batch: Batch,
}

impl Case {
    fn new(queries: Matrix, documents: Matrix, query: impl Fn(usize, Query) -> Query) -> Self {
        // + 0: a sum of -0 is no less than 0
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() + 0.0;
        let one = |(q, embedding): (usize, &Vec<f64>)| {
            let scores: Vec<f64> = documents.iter().map(|d| dot(embedding, d)).collect();
            query(q, Query::new(&scores, &[]))
        };
        let batch = Batch(queries.iter().enumerate().map(one).collect());
        Self {
            queries,
            documents,
            batch,
        }
    }

    /// Queries, documents and dimensions. Of seven queries the fourth has no positive,
    /// the fifth no negative, the sixth no candidate.
    fn random([queries, documents, dimensions]: [usize; 3], seed: u64) -> Self {
        let share = (4.0 / documents as f64).min(0.3);
        let query = |q: usize, mut query: Query| {
            let mut rng = StdRng::seed_from_u64(seed + q as u64);
            let first = rng.random_range(0..documents);
            for d in 0..documents {
                query.positives[d] = q % 7 != 3 && (d == first || rng.random_bool(share));
                query.candidates[d] = match q % 7 {
                    4 => query.positives[d],
                    5 => false,
                    _ => d == first || rng.random_bool(0.9),
                };
            }
            query
        };
        let [queries, documents] = [(queries, 1), (documents, 2)]
            .map(|(rows, salt)| grid(rows, dimensions, 2 * seed + salt));
        Self::new(queries, documents, query)
    }

    fn ignoring_nothing(mut self) -> Self {
        for query in &mut self.batch.0 {
            query.candidates.fill(true);
        }
        self
    }

    /// What is left for an objective: Rand1LH draws, so each query keeps one positive.
    fn drawn(&self, objective: &Objective) -> Self {
        let mut case = self.clone();
        if objective.loss == Loss::Rand1Lh {
            for query in &mut case.batch.0 {
                let p = query.p();
                query.chosen = p.last().copied();
                for &other in p.iter().rev().skip(1) {
                    query.candidates[other] = false;
                }
            }
        }
        case
    }

    fn counts(&self) -> [usize; 2] {
        [self.queries.len(), self.documents.len()]
    }

    fn embeddings(&self, device: &Device, dtype: DType) -> [Tensor<2>; 2] {
        [&self.queries, &self.documents].map(|rows| float_matrix(rows, device, dtype))
    }

    /// The losses of all queries, and the gradients of their sum with the `weights`.
    fn run(
        &self,
        device: &Device,
        dtype: DType,
        rows: impl Fn(Tensor<2>, Tensor<2>, Targets) -> Tensor<1>,
    ) -> Run {
        let leaves = self.embeddings(device, dtype).map(Tensor::require_grad);
        let [queries, documents] = leaves.clone();
        let rows = rows(queries, documents, self.batch.targets(device));
        let gradients = weighted(rows.clone()).backward();
        Run {
            rows: numbers(rows),
            gradients: leaves.map(|leaf| matrix(leaf.grad(&gradients).expect("a gradient"))),
        }
    }

    fn tiled(&self, of: &Objective, device: &Device, dtype: DType, tile: Option<Tile>) -> Run {
        self.run(device, dtype, |queries, documents, targets| {
            Criterion::from(of).embeddings_rows(queries, documents, targets, tile)
        })
    }

    fn dense(&self, of: &Objective, device: &Device, dtype: DType) -> Run {
        self.run(device, dtype, |queries, documents, targets| {
            Criterion::from(of).rows(queries.matmul(documents.transpose()), targets)
        })
    }

    /// How far off products may make the exponents of a query, unless they are exact.
    fn exponent_error(&self, query: usize, objective: &Objective, dtype: DType) -> f64 {
        let is_short = |x: &f64| (*x as f32).to_bits().trailing_zeros() >= 13;
        let query = &self.queries[query];
        if query
            .iter()
            .chain(self.documents.iter().flatten())
            .all(is_short)
        {
            return 0.0;
        }
        let products = |row: &Vec<f64>| row.iter().zip(query).map(|(x, y)| (x * y).abs()).sum();
        let largest = self.documents.iter().map(products).fold(0.0, f64::max);
        4.0 * product_error(dtype) * largest / objective.temperature
    }

    /// What the oracle says.
    fn want(&self, objective: &Objective, dtype: DType) -> Want {
        let mut want = Want {
            rows: Vec::new(),
            gradients: [&self.queries, &self.documents]
                .map(|rows| rows.iter().map(|row| vec![(0.0, 0.0); row.len()]).collect()),
        };
        let [of_queries, of_documents] = &mut want.gradients;
        for (q, query) in self.batch.0.iter().enumerate() {
            let loss = query.loss(objective);
            let tolerance = Tolerance::loss(query, objective, loss, dtype);
            let exponents = self.exponent_error(q, objective, dtype).exp_m1();
            let terms = match objective.loss {
                Loss::JointLh => query.p().len() as f64,
                _ => 0.0,
            };
            let error = tolerance.absolute
                + tolerance.relative * loss.abs()
                + exponents * loss.abs().max(terms);
            want.rows
                .push((loss, if query.active() { error } else { 0.0 }));
            if !query.active() {
                continue;
            }
            let tolerance = Tolerance::gradient(query, objective, weight(q), dtype);
            for (d, slope) in query.gradient(objective).into_iter().enumerate() {
                if !query.candidates[d] {
                    continue;
                }
                let slope = slope * weight(q);
                let error = tolerance.absolute
                    + tolerance.relative * slope.abs()
                    + exponents * (slope.abs() + terms * weight(q).abs() / objective.temperature)
                    + product_error(dtype) * slope.abs();
                for (k, (on_query, on_document)) in of_queries[q]
                    .iter_mut()
                    .zip(&mut of_documents[d])
                    .enumerate()
                {
                    let (x, y) = (self.queries[q][k], self.documents[d][k]);
                    on_query.0 += slope * y;
                    on_query.1 += error * y.abs();
                    on_document.0 += slope * x;
                    on_document.1 += error * x.abs();
                }
            }
        }
        want
    }

    /// The tiled form is the oracle's and the dense one's.
    #[track_caller]
    fn check(&self, objective: &Objective, device: &Device, dtype: DType, tile: Option<Tile>) {
        let case = self.drawn(objective);
        let what = format!(
            "{:?}, {objective:?} {dtype:?}, tile {tile:?}",
            case.counts()
        );
        let tiled = case.tiled(objective, device, dtype, tile);
        let want = case.want(objective, dtype);
        want.assert(&what, &tiled);
        let dense = case.dense(objective, device, dtype);
        want.around(dense).assert(format!("{what}, dense"), &tiled);
    }
}

/// Embeddings of which all products are exact.
fn grid(rows: usize, dimensions: usize, seed: u64) -> Matrix {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut entry = || f64::from(rng.random_range(-16..=16)) / 16.0;
    (0..rows)
        .map(|_| (0..dimensions).map(|_| entry()).collect())
        .collect()
}

/// One for each query, none of them 1.
fn weight(query: usize) -> f64 {
    0.75 * (query % 9) as f64 - 2.5
}

fn weighted(rows: Tensor<1>) -> Tensor<1> {
    let weights: Vec<f64> = (0..rows.dims()[0]).map(weight).collect();
    let weights = float_matrix(&[weights], &rows.device(), rows.dtype());
    (rows * weights.squeeze_dim(0)).sum()
}

#[derive(Debug)]
struct Run {
    rows: Vec<f64>,
    /// Of queries and documents.
    gradients: [Matrix; 2],
}

/// Numbers, and how far off they may be.
type Near = Vec<(f64, f64)>;

/// What should come out of a run.
#[derive(Clone, Debug)]
struct Want {
    rows: Near,
    gradients: [Vec<Near>; 2],
}

impl Want {
    /// Another run within the same bounds.
    fn around(mut self, run: Run) -> Self {
        let centre = |near: &mut Near, numbers: Vec<f64>| {
            for (near, number) in near.iter_mut().zip(numbers) {
                *near = (number, 2.0 * near.1);
            }
        };
        centre(&mut self.rows, run.rows);
        for (near, numbers) in self.gradients.iter_mut().zip(run.gradients) {
            for (near, numbers) in near.iter_mut().zip(numbers) {
                centre(near, numbers);
            }
        }
        self
    }

    #[track_caller]
    fn assert(&self, what: impl Display, run: &Run) {
        assert_near(format!("{what}: losses"), &run.rows, &self.rows);
        for (side, name) in ["queries", "documents"].iter().enumerate() {
            let (got, want) = (&run.gradients[side], &self.gradients[side]);
            assert_eq!(got.len(), want.len(), "{what}: {name}");
            for (row, (got, want)) in got.iter().zip(want).enumerate() {
                assert_near(format_args!("{what}: gradient of {name} {row}"), got, want);
            }
        }
    }
}

#[track_caller]
fn assert_near(what: impl Display, got: &[f64], want: &Near) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (column, (got, (want, error))) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() <= *error,
            "{what}, {column}: got {got:e}, expected {want:e} within {error:e}"
        );
    }
}

/// One score, a row, a column, uneven ones, all, more than there is.
fn tiles() -> Vec<Option<Tile>> {
    let pair = |queries: usize, documents: usize| Some([queries, documents].into());
    vec![
        None,
        Some(1.into()),
        pair(1, 29),
        pair(13, 1),
        pair(3, 5),
        pair(8, 7),
        pair(13, 29),
        Some(64.into()),
        Some(usize::MAX.into()),
    ]
}

/// Whether to run one of many combinations: all of them on a CPU, a third where a run
/// takes long.
fn is_due(combination: usize) -> bool {
    is_cpu() || combination.is_multiple_of(3)
}

#[test]
fn every_objective_and_tile_gives_the_oracles_values_and_gradients() {
    let case = Case::random([13, 29, 3], 1);
    let devices = autodiff_devices();
    for (index, objective) in objectives().iter().enumerate() {
        for dtype in precisions() {
            for (turn, tile) in tiles().into_iter().enumerate() {
                if is_due(index + turn) {
                    case.check(objective, &devices[(index + turn) % 2], dtype, tile);
                }
            }
        }
    }
}

#[test]
fn mean_losses_with_a_tile_are_those_without() {
    let case = Case::random([13, 29, 3], 2);
    let device = device();
    for (index, objective) in objectives().into_iter().enumerate() {
        let case = case.drawn(&objective);
        let want = case.want(&objective, DType::F32);
        let sum = |part: fn(&(f64, f64)) -> f64| want.rows.iter().map(part).sum::<f64>();
        let active = case.batch.active();
        let near = vec![(sum(|near| near.0) / active, sum(|near| near.1) / active)];
        for (turn, tile) in tiles().into_iter().enumerate() {
            if !is_due(index + turn) {
                continue;
            }
            let [queries, documents] = case.embeddings(&device, DType::F32);
            let (criterion, targets) = (Criterion::from(&objective), case.batch.targets(&device));
            let loss = match tile {
                Some(tile) => criterion.tiled(queries, documents, targets, tile),
                None => criterion.embeddings(queries, documents, targets),
            };
            assert_eq!(loss.dims(), [1]);
            assert_near(format!("{objective:?} {tile:?}"), &numbers(loss), &near);
        }
    }
}

/// Several tiles, and several of the blocks that the CPU's kernels cut them into; the
/// last ones are uneven.
#[test]
fn tiles_of_many_blocks_give_the_oracles_values_and_gradients() {
    let case = Case::random([300, 1100, 3], 3);
    let pair = |queries: usize, documents: usize| Some([queries, documents].into());
    let mut tiles = [
        None,
        pair(300, 600),
        pair(97, 1100),
        pair(256, 512),
        pair(299, 1099),
        pair(500, 331),
        Some(4096.into()),
    ]
    .into_iter()
    .cycle();
    let devices = autodiff_devices();
    for (index, objective) in objectives().iter().enumerate() {
        let dtype = precisions()[index / 2 % precisions().len()];
        let tile = tiles.next().expect("a cycle");
        case.check(objective, &devices[index % 2], dtype, tile);
    }
}

/// The blocks of the kernels against the bounds of tile and input, where one is a
/// multiple of another and where not.
#[test]
fn tiles_beyond_the_input_leave_nothing_out() {
    let objective = DEFAULTS[0];
    for counts in [[600, 300], [600, 100], [257, 1030], [520, 40], [3, 1600]] {
        let case = Case::random([counts[0], counts[1], 1], 4);
        for tile in [512, 700, 1024, 5000] {
            let device = &autodiff_devices()[0];
            case.check(&objective, device, DType::F32, Some(tile.into()));
        }
    }
}

#[test]
fn every_shape_gives_the_oracles_values_and_gradients() {
    let shapes = [
        [1, 1, 1],
        [1, 1, 5],
        [1, 40, 3],
        [40, 1, 3],
        [9, 2, 1],
        [2, 9, 1],
        [7, 33, 7],
        [8, 64, 16],
        [1, 1500, 2],
        [600, 1, 2],
        [2, 513, 2],
        [257, 2, 2],
    ];
    let device = &autodiff_devices()[0];
    let step = if is_cpu() { 3 } else { 9 };
    for (seed, shape) in shapes.into_iter().enumerate() {
        let case = Case::random(shape, 5 + seed as u64);
        for case in [case.clone().ignoring_nothing(), case] {
            for (index, objective) in objectives().iter().enumerate().step_by(step) {
                let tile = [None, Some(3.into()), Some(2000.into())][index % 2];
                case.check(objective, device, DType::F32, tile);
            }
        }
        for tile in [1, 7] {
            if shape[0] * shape[1] < 2000 {
                let case = Case::random(shape, 6);
                case.check(&DEFAULTS[1], device, DType::F32, Some(tile.into()));
            }
        }
    }
}

/// Scores that are not exact: what the tile changes is rounding.
#[test]
fn tiles_change_unit_embeddings_by_rounding_only() {
    let unit = |rows: usize, seed: u64| -> Matrix {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut row = || {
            let row: Vec<f64> = (0..48).map(|_| rng.random_range(-1.0..1.0)).collect();
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.into_iter()
                .map(|x| f64::from((x / length) as f32))
                .collect()
        };
        (0..rows).map(|_| row()).collect()
    };
    let documents = unit(70, 2);
    let near = |q: usize| documents[(5 * q) % 70].iter().map(|x| x + 0.01).collect();
    let case = Case::new(
        (0..30).map(near).collect(),
        documents.clone(),
        |q, mut query| {
            let width = query.scores.len();
            query.positives[(5 * q) % width] = true;
            query.positives[(7 * q) % width] = true;
            query
        },
    );
    for objective in DEFAULTS.map(|objective| objective.temperature(0.05)) {
        for tile in [
            None,
            Some([7, 69].into()),
            Some([29, 23].into()),
            Some(1.into()),
        ] {
            case.check(&objective, &autodiff_devices()[0], DType::F32, tile);
        }
    }
}

#[test]
fn f64_stays_f64() {
    if !supports(DType::F64) {
        return;
    }
    let case = Case::random([20, 31, 4], 7);
    let device = &autodiff_devices()[0];
    for objective in objectives() {
        let case = case.drawn(&objective);
        let tiled = case.tiled(&objective, device, DType::F64, Some(6.into()));
        let dense = case.dense(&objective, device, DType::F64);
        let same = |got: &[f64], want: &[f64]| {
            let largest = want.iter().fold(1.0f64, |largest, x| largest.max(x.abs()));
            let near = want.iter().map(|x| (*x, 1e-12 * largest)).collect();
            assert_near(format!("{objective:?}"), got, &near);
        };
        same(&tiled.rows, &dense.rows);
        for (tiled, dense) in tiled.gradients.iter().zip(&dense.gradients) {
            same(&tiled.concat(), &dense.concat());
        }
    }
}

#[test]
fn reductions_are_those_of_the_scores() {
    let case = Case::random([15, 22, 3], 8);
    let device = device();
    for objective in DEFAULTS {
        let case = case.drawn(&objective);
        let criterion = Criterion::from(&objective);
        let embeddings = || case.embeddings(&device, DType::F32);
        let targets = || case.batch.targets(&device);
        let want = case.want(&objective, DType::F32).rows;
        let [sum, error] = [0, 1].map(|part| {
            let parts = want.iter().map(|near| [near.0, near.1][part]);
            parts.sum::<f64>()
        });
        let active = case.batch.active();
        for (reduction, count) in [
            (Reduction::Mean, active),
            (Reduction::Auto, active),
            (Reduction::Sum, 1.0),
            (Reduction::BatchMean, 15.0),
        ] {
            let what = format!("{objective:?} {reduction:?}");
            let [queries, documents] = embeddings();
            let product = queries.clone().matmul(documents.clone().transpose());
            let scores = numbers(criterion.reduced(product, targets(), reduction.clone()));
            let loss = criterion.reduced_embeddings(queries, documents, targets(), reduction);
            assert_eq!(loss.dims(), [1], "{what}");
            let loss = numbers(loss);
            assert_near(&what, &loss, &vec![(sum / count, error / count)]);
            assert_near(&what, &loss, &vec![(scores[0], 2.0 * error / count)]);
        }
        let [queries, documents] = embeddings();
        let rows = criterion.embeddings_rows(queries, documents, targets(), None);
        assert_eq!(rows.dims(), [15]);
        assert_near(format!("{objective:?}"), &numbers(rows), &want);
    }
}

/// The statistics themselves, and the gradient of each.
#[test]
fn statistics_of_embeddings_are_those_of_their_products() {
    for shape in [[13, 29, 3], [40, 1100, 2]] {
        let case = Case::random(shape, 9);
        for (dtype, device) in precisions().into_iter().zip(autodiff_devices()) {
            for (index, statistic) in ALL.into_iter().enumerate() {
                let run = |tiled: bool| {
                    case.run(&device, dtype, |queries, documents, targets| {
                        let statistics = if tiled {
                            let mut embeddings = Embeddings::new(queries, documents);
                            if index % 2 == 1 {
                                embeddings = embeddings.with_tile([11, 17]);
                            }
                            Statistics::from_embeddings(
                                embeddings,
                                &targets,
                                Request::new(0.5, &ALL),
                            )
                        } else {
                            let scores = queries.matmul(documents.transpose());
                            Statistics::new(scores, &targets, Request::new(0.5, &ALL))
                        };
                        assert!(!statistics.positive_counts().is_tracked());
                        Tensor::cat(
                            vec![
                                statistics.get(statistic),
                                statistics.positive_counts(),
                                statistics.negative_counts(),
                            ],
                            0,
                        )
                    })
                };
                let (tiled, dense) = (run(true), run(false));
                let what = format!("{shape:?} {statistic:?} {dtype:?}");
                let error = 400.0 * rounding(dtype);
                let near = |want: &[f64], scale: f64| {
                    let one = |x: &f64| (*x, error * (x.abs() + scale));
                    want.iter().map(one).collect::<Near>()
                };
                assert_near(&what, &tiled.rows, &near(&dense.rows, 1.0));
                for (tiled, dense) in tiled.gradients.iter().zip(&dense.gradients) {
                    // PositiveExcess cancels numbers up to the count of positives
                    let near = near(&dense.concat(), 8.0);
                    assert_near(&what, &tiled.concat(), &near);
                }
            }
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    (
        1..=20usize,
        1..=60usize,
        1..=6usize,
        any::<bool>(),
        any::<u32>(),
    )
        .prop_map(|(queries, documents, dimensions, all, seed)| {
            let case = Case::random([queries, documents, dimensions], u64::from(seed));
            if all { case.ignoring_nothing() } else { case }
        })
}

proptest! {
    #![proptest_config(Config {
        cases: 64,
        rng_seed: RngSeed::Fixed(0xbed),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn embeddings_give_the_oracles_values_and_gradients(
        case in cases(),
        tile in (1..=24usize, 1..=70usize),
        objective in select(objectives()),
        device in select(autodiff_devices().to_vec()),
        dtype in select(precisions()),
    ) {
        case.check(&objective, &device, dtype, Some([tile.0, tile.1].into()));
    }
}
