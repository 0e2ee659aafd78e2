//! Gradients against the paper's table and against slopes, from the scores down to the
//! weights of two towers.

use crate::{
    batch::{Batch, Criterion, float_matrix, gradient_of, matrix, numbers},
    close::{Tolerance, assert_all_close, assert_close, assert_rows_close},
    device::{autodiff_devices, device, precisions, product_error, rounding, supports},
    oracle::{DEFAULTS, Loss, Objective, Query, objectives},
};
use burn::tensor::{DType, Tensor};
use rand::{Rng, SeedableRng, rngs::StdRng};

type Matrix = Vec<Vec<f64>>;

/// Twelve queries over nineteen documents, the first without a positive, the second
/// without a negative, the third with nothing but ignored documents; f32 values, so that
/// every precision sees the same numbers.
fn batch() -> Batch {
    let mut rng = StdRng::seed_from_u64(7);
    let query = |q: usize| {
        let scores = (0..19).map(|_| f64::from(rng.random_range(-2.0..2.0f32)));
        let mut query = Query::new(&scores.collect::<Vec<_>>(), &[]);
        for d in 0..19 {
            query.positives[d] = q == 1 || q > 1 && rng.random_bool(0.25);
            query.candidates[d] = q != 2 && rng.random_bool(0.9);
        }
        let p = query.p();
        query.chosen = p.get(rng.random_range(0..p.len().max(1))).copied();
        query
    };
    Batch((0..12).map(query).collect())
}

/// One weight per query, none of them 1.
fn weights(queries: usize) -> Vec<f64> {
    (0..queries).map(|q| 0.75 * q as f64 - 2.5).collect()
}

fn weighted(rows: Tensor<1>, weights: &[f64]) -> Tensor<1> {
    let weights = float_matrix(&[weights.to_vec()], &rows.device(), rows.dtype());
    (rows * weights.squeeze_dim(0)).sum()
}

/// The slope of `f` in every entry.
fn slopes(at: &Matrix, step: f64, f: impl Fn(&Matrix) -> f64) -> Matrix {
    let mut slopes = at.clone();
    for (row, slope) in slopes.iter_mut().enumerate() {
        for (column, slope) in slope.iter_mut().enumerate() {
            let moved = |by: f64| {
                let mut moved = at.clone();
                moved[row][column] += by;
                f(&moved)
            };
            *slope = (moved(step) - moved(-step)) / (2.0 * step);
        }
    }
    slopes
}

fn random(rows: usize, columns: usize, seed: u64) -> Matrix {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut row = || -> Vec<f64> {
        let entries = (0..columns).map(|_| f64::from(rng.random_range(-1.0..1.0f32)));
        entries.collect()
    };
    (0..rows).map(|_| row()).collect()
}

#[test]
fn values_and_weighted_gradients_are_the_oracles_for_every_objective() {
    let batch = batch();
    let weights = weights(batch.0.len());
    for device in autodiff_devices() {
        for dtype in precisions() {
            for objective in objectives() {
                let scores = batch.scores(&device, dtype).require_grad();
                let rows = Criterion::from(&objective).chosen_rows(scores.clone(), &batch);
                let gradient = gradient_of(&weighted(rows.clone(), &weights), &scores);
                let rows = numbers(rows);
                for (q, query) in batch.0.iter().enumerate() {
                    let what = format!("{objective:?} {dtype:?}, row {q}");
                    let want = query.loss(&objective);
                    let tolerance = Tolerance::loss(query, &objective, want, dtype);
                    assert_close(&what, rows[q], want, tolerance);

                    let want = query.gradient(&objective);
                    let want: Vec<f64> = want.into_iter().map(|slope| slope * weights[q]).collect();
                    let tolerance = Tolerance::gradient(query, &objective, weights[q], dtype);
                    assert_all_close(format!("{what}, gradient"), &gradient[q], &want, tolerance);
                }
            }
        }
    }
}

#[test]
fn gradients_are_the_slopes_of_the_librarys_own_values() {
    if !supports(DType::F64) {
        return;
    }
    let mut batch = batch();
    batch.0.truncate(5);
    let weights = weights(5);
    let at: Matrix = batch.0.iter().map(|query| query.scores.clone()).collect();
    for objective in objectives() {
        let criterion = Criterion::from(&objective);
        let loss = |scores| weighted(criterion.chosen_rows(scores, &batch), &weights);
        let slopes = slopes(&at, 1e-5, |at| {
            numbers(loss(float_matrix(at, &device(), DType::F64)))[0]
        });
        for device in autodiff_devices() {
            let scores = float_matrix(&at, &device, DType::F64).require_grad();
            let gradient = gradient_of(&loss(scores.clone()), &scores);
            let tolerance = Tolerance {
                relative: 1e-6,
                absolute: 1e-6,
            };
            assert_rows_close(format!("{objective:?}"), &gradient, &slopes, tolerance);
        }
    }
}

#[test]
fn two_forwards_before_one_backward_add_up() {
    let batch = batch();
    let [first, second] = [Objective::new(Loss::LsePair).temperature(0.5), DEFAULTS[1]];
    for device in autodiff_devices() {
        let scores = batch.scores(&device, DType::F32).require_grad();
        let rows = |objective| Criterion::from(objective).chosen_rows(scores.clone(), &batch);
        let loss = (rows(&first) * rows(&second)).sum();
        let gradient = gradient_of(&loss, &scores);
        for (q, query) in batch.0.iter().enumerate() {
            let (a, b) = (query.loss(&first), query.loss(&second));
            let (da, db) = (query.gradient(&first), query.gradient(&second));
            let want: Vec<f64> = da.iter().zip(db).map(|(da, db)| da * b + a * db).collect();
            let tolerance = Tolerance::units(DType::F32, 200.0).absolute(2e-5 * (a + b));
            assert_all_close(format!("row {q}"), &gradient[q], &want, tolerance);
        }
    }
}

#[test]
fn scores_that_need_no_gradient_give_a_loss_that_has_none() {
    let batch = batch();
    for objective in DEFAULTS {
        let criterion = Criterion::from(&objective);
        for device in autodiff_devices().into_iter().chain([device()]) {
            let rows = criterion.chosen_rows(batch.scores(&device, DType::F32), &batch);
            assert!(!rows.is_tracked(), "{objective:?} on {device:?}");
            for (q, row) in numbers(rows).into_iter().enumerate() {
                let query = &batch.0[q];
                let want = query.loss(&objective);
                let tolerance = Tolerance::loss(query, &objective, want, DType::F32);
                assert_close(format!("{objective:?}, row {q}"), row, want, tolerance);
            }
        }
    }
}

#[test]
fn gradients_pass_through_scores_that_are_not_a_leaf() {
    let batch = batch();
    for device in autodiff_devices() {
        for objective in DEFAULTS {
            let leaf = batch.scores(&device, DType::F32).require_grad();
            let scores = leaf.clone().mul_scalar(-0.5).transpose().transpose();
            let rows = Criterion::from(&objective).chosen_rows(scores, &batch);
            let gradient = gradient_of(&rows.sum(), &leaf);
            for (q, query) in batch.0.iter().enumerate() {
                let mut halved = query.clone();
                halved.scores.iter_mut().for_each(|score| *score *= -0.5);
                let want = halved
                    .gradient(&objective)
                    .into_iter()
                    .map(|slope| -0.5 * slope);
                let want: Vec<f64> = want.collect();
                let tolerance = Tolerance::gradient(&halved, &objective, 0.5, DType::F32);
                assert_all_close(
                    format!("{objective:?}, row {q}"),
                    &gradient[q],
                    &want,
                    tolerance,
                );
            }
        }
    }
}

/// Features and weights of two towers: scores = (x W) (y V)^T, the embeddings of unit
/// length if asked.
struct Towers {
    leaves: [Matrix; 4],
    unit: bool,
}

impl Towers {
    fn new(unit: bool) -> Self {
        let leaves = [
            random(4, 6, 1),
            random(6, 3, 2),
            random(7, 5, 3),
            random(5, 3, 4),
        ];
        Self { leaves, unit }
    }

    fn tensors(&self, leaves: &[Tensor<2>; 4]) -> Tensor<2> {
        let [x, w, y, v] = leaves.clone();
        let embed = |features: Tensor<2>, weights: Tensor<2>| {
            let embedding = features.matmul(weights);
            if !self.unit {
                return embedding;
            }
            let length = embedding.clone().square().sum_dim(1).sqrt();
            embedding / length
        };
        embed(x, w).matmul(embed(y, v).transpose())
    }

    /// The same in plain f64.
    fn scores(&self, leaves: &[Matrix; 4]) -> Matrix {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let embed = |features: &Matrix, weights: &Matrix| -> Matrix {
            let column = |c: usize| weights.iter().map(|row| row[c]).collect::<Vec<_>>();
            let one = |row: &Vec<f64>| {
                let embedding: Vec<f64> = (0..3).map(|c| dot(row, &column(c))).collect();
                let length = match self.unit {
                    true => dot(&embedding, &embedding).sqrt(),
                    false => 1.0,
                };
                embedding.iter().map(|value| value / length).collect()
            };
            features.iter().map(one).collect()
        };
        let [x, w, y, v] = leaves;
        let (queries, documents) = (embed(x, w), embed(y, v));
        let row = |query: &Vec<f64>| documents.iter().map(|d| dot(query, d)).collect();
        queries.iter().map(row).collect()
    }
}

#[test]
fn gradients_reach_the_weights_of_two_towers() {
    let batch = Batch::new(&[
        (&[0.0; 7], &[0, 3]),
        (&[0.0; 7], &[1]),
        (&[0.0; 7], &[]),
        (&[0.0; 7], &[2, 4, 6]),
    ]);
    for unit in [true, false] {
        let towers = Towers::new(unit);
        for objective in DEFAULTS.map(|objective| objective.temperature(0.05)) {
            let loss = |leaves: &[Matrix; 4]| {
                let scores = towers.scores(leaves);
                let loss = |(query, scores): (&Query, &Vec<f64>)| {
                    let scores = scores.clone();
                    Query {
                        scores,
                        ..query.clone()
                    }
                    .loss(&objective)
                };
                batch.0.iter().zip(&scores).map(loss).sum::<f64>() / batch.active()
            };
            let wanted: Vec<Matrix> = (0..4)
                .map(|leaf| {
                    slopes(&towers.leaves[leaf], 1e-6, |at| {
                        let mut leaves = towers.leaves.clone();
                        leaves[leaf] = at.clone();
                        loss(&leaves)
                    })
                })
                .collect();
            for device in autodiff_devices() {
                for dtype in precisions() {
                    let leaf = |m: &Matrix| float_matrix(m, &device, dtype).require_grad();
                    let leaves = towers.leaves.each_ref().map(leaf);
                    let rows =
                        Criterion::from(&objective).chosen_rows(towers.tensors(&leaves), &batch);
                    let gradients = (rows.sum() / batch.active()).backward();
                    for (leaf, want) in wanted.iter().enumerate() {
                        let got = matrix(leaves[leaf].grad(&gradients).expect("a gradient"));
                        let largest = want.concat().into_iter().map(f64::abs).fold(0.0, f64::max);
                        let relative = 500.0 * rounding(dtype) + 16.0 * product_error(dtype);
                        let relative = relative.max(1e-7);
                        let tolerance = Tolerance {
                            relative,
                            absolute: relative * largest,
                        };
                        let what = format!("{objective:?} {dtype:?} unit {unit}, leaf {leaf}");
                        assert_rows_close(what, &got, want, tolerance);
                    }
                }
            }
        }
    }
}

/// Rand1LH draws here, so its queries have one positive.
#[test]
fn embeddings_give_what_their_product_gives() {
    let positives: [&[usize]; 5] = [&[0, 3], &[1], &[], &[2, 4, 6, 9], &[8, 10]];
    for objective in objectives() {
        let of_rand1 = |positives: &[usize]| positives[..positives.len().min(1)].to_vec();
        let batch = Batch(
            positives
                .iter()
                .map(|positives| match objective.loss {
                    Loss::Rand1Lh => Query::new(&[0.0; 11], &of_rand1(positives)),
                    _ => Query::new(&[0.0; 11], positives),
                })
                .collect(),
        )
        .ignoring(0, 3)
        .ignoring(1, 7);
        let criterion = Criterion::from(&objective);
        for device in autodiff_devices() {
            for dtype in precisions() {
                let queries = float_matrix(&random(5, 4, 5), &device, dtype).require_grad();
                let documents = float_matrix(&random(11, 4, 6), &device, dtype).require_grad();
                let targets = batch.targets(&device);
                let product = queries.clone().matmul(documents.clone().transpose());
                let through_scores = criterion.mean(product, targets.clone());
                let tiled =
                    criterion.embeddings(queries.clone(), documents.clone(), targets.clone());
                assert_eq!(tiled.dims(), [1]);

                let what = format!("{objective:?} {dtype:?}");
                let tolerance = Tolerance::units(dtype, 500.0);
                let [a, b] = [&tiled, &through_scores].map(|loss| numbers(loss.clone())[0]);
                assert_close(&what, a, b, tolerance);
                let [a, b] = [tiled, through_scores].map(|loss| loss.backward());
                for leaf in [queries, documents] {
                    let [a, b] =
                        [&a, &b].map(|grads| matrix(leaf.grad(grads).expect("a gradient")));
                    let largest = b.concat().into_iter().map(f64::abs).fold(0.0, f64::max);
                    let tolerance = tolerance.absolute(tolerance.relative * largest);
                    assert_rows_close(format!("{what}, gradient"), &a, &b, tolerance);
                }
            }
        }
    }
}
