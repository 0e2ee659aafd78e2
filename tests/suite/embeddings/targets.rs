//! Every form of targets: masks are cut into tiles, labels and lists are judged tile by tile.

use super::{Case, grid, is_due};
use crate::{
    batch::{Criterion, bool_matrix, bools, float_matrix, matrix, numbers},
    close::{Tolerance, assert_all_close},
    device::{autodiff_devices, device, turn_to_draw},
    oracle::{DEFAULTS, Negatives, Objective, Positives},
};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_multi_positive::{Embeddings, Rand1LhLoss, Rand1LhLossConfig, Targets, Tile};

const QUERIES: usize = 14;
const GROUP: usize = 3;
const DOCUMENTS: usize = QUERIES * GROUP;

fn labels(of: impl Fn(usize) -> i64, count: usize) -> Tensor<1, Int> {
    let labels: Vec<i64> = (0..count).map(of).collect();
    Tensor::from_data(TensorData::from(labels.as_slice()), &device())
}

/// Each form, `[QUERIES, DOCUMENTS]`; documents are relevant to several queries, and queries to none.
fn forms() -> Vec<(&'static str, Targets)> {
    let device = device();
    let mask = |[rows, columns]: [usize; 2]| {
        let one = |row: usize| {
            (0..columns)
                .map(|d| (row * 5 + d * 3).is_multiple_of(11))
                .collect()
        };
        bool_matrix(&(0..rows).map(one).collect::<Vec<_>>(), &device)
    };
    // documents occur twice, an id twice, and some ids not at all
    let ids: Vec<usize> = (0..DOCUMENTS).map(|d| d % 30).collect();
    let relevant: Vec<Vec<usize>> = (0..QUERIES)
        .map(|q| vec![2 * q, q, 2 * q, q + 25])
        .collect();
    let counts: Vec<usize> = (0..QUERIES).map(|q| q % (GROUP + 1)).collect();
    vec![
        ("mask", mask([QUERIES, DOCUMENTS]).into()),
        ("view", mask([DOCUMENTS, QUERIES]).transpose().into()),
        (
            "labels",
            Targets::from_labels(
                labels(|q| q as i64 % 6, QUERIES),
                labels(|d| d as i64 % 5, DOCUMENTS),
            ),
        ),
        ("ids", Targets::from_ids(&relevant, &ids, &device).unwrap()),
        (
            "groups",
            Targets::from_groups(&counts, GROUP, &device).unwrap(),
        ),
        (
            "other direction",
            Targets::from_labels(
                labels(|d| d as i64 % 9, DOCUMENTS),
                labels(|q| q as i64 % 7, QUERIES),
            )
            .transpose(),
        ),
    ]
}

fn candidates() -> Vec<Vec<bool>> {
    let one = |q: usize| {
        (0..DOCUMENTS)
            .map(|d| q != 6 && !(q + 2 * d).is_multiple_of(7))
            .collect()
    };
    (0..QUERIES).map(one).collect()
}

/// Embeddings with the masks that are meant.
fn case(relevant: &[Vec<bool>], candidates: &[Vec<bool>]) -> Case {
    let [queries, documents] =
        [(relevant.len(), 31), (relevant[0].len(), 32)].map(|(rows, seed)| grid(rows, 4, seed));
    Case::new(queries, documents, |q, mut query| {
        query.positives = relevant[q].clone();
        query.candidates = candidates[q].clone();
        query
    })
}

fn objectives() -> [Objective; 4] {
    let [lse_pair, joint, sum_marg, _] = DEFAULTS;
    [
        lse_pair.temperature(0.5),
        joint.normalized(),
        sum_marg,
        Objective::selecting(Positives::Strongest, Negatives::Hardest),
    ]
}

#[track_caller]
fn check(what: &str, case: &Case, targets: &Targets) {
    for (index, objective) in objectives().iter().enumerate() {
        let device = &autodiff_devices()[index % 2];
        let want = case.want(objective, DType::F32);
        let tiles = [None, Some([1, 9].into()), Some([5, 8].into())];
        for (turn, tile) in tiles.into_iter().enumerate() {
            if !is_due(index + turn) {
                continue;
            }
            let what = format!("{what}, {objective:?}, {tile:?}");
            let run = case.run(device, DType::F32, |queries, documents, _| {
                Criterion::from(objective).embeddings_rows(
                    queries,
                    documents,
                    targets.clone(),
                    tile,
                )
            });
            want.assert(&what, &run);
            if tile.is_none() {
                let dense = case.dense(objective, device, DType::F32);
                want.clone().around(dense).assert(&what, &run);
            }
        }
    }
}

#[test]
fn every_form_with_and_without_candidates_in_both_directions() {
    let transposed = |rows: &[Vec<bool>]| -> Vec<Vec<bool>> {
        let column = |d: usize| rows.iter().map(|row| row[d]).collect();
        (0..rows[0].len()).map(column).collect()
    };
    for (what, targets) in forms() {
        let relevant = bools(targets.positives());
        assert!(relevant.concat().contains(&true), "{what}");
        for candidates in [vec![vec![true; DOCUMENTS]; QUERIES], candidates()] {
            let targets = match candidates.concat().contains(&false) {
                true => targets
                    .clone()
                    .with_candidates(bool_matrix(&candidates, &device())),
                false => targets.clone(),
            };
            check(what, &case(&relevant, &candidates), &targets);
            let other = case(&transposed(&relevant), &transposed(&candidates));
            check(&format!("{what} transposed"), &other, &targets.transpose());
        }
    }
}

/// More columns than a block of the kernels.
#[test]
fn labels_and_lists_are_judged_beyond_the_first_block() {
    let device = device();
    let (queries, documents) = (9, 1300);
    let ids: Vec<usize> = (0..documents).map(|d| d % 400).collect();
    let relevant: Vec<Vec<usize>> = (0..queries).map(|q| vec![40 * q, 399 - q]).collect();
    for (what, targets) in [
        (
            "labels",
            Targets::from_labels(
                labels(|q| 3 * q as i64, queries),
                labels(|d| d as i64 % 300, documents),
            ),
        ),
        ("ids", Targets::from_ids(&relevant, &ids, &device).unwrap()),
    ] {
        let relevant = bools(targets.positives());
        let all = vec![vec![true; documents]; queries];
        let case = case(&relevant, &all);
        for objective in objectives() {
            let want = case.want(&objective, DType::F32);
            for tile in [None, Some([4, 700].into())] {
                let device = &autodiff_devices()[0];
                let run = case.run(device, DType::F32, |queries, documents, _| {
                    Criterion::from(&objective).embeddings_rows(
                        queries,
                        documents,
                        targets.clone(),
                        tile,
                    )
                });
                want.assert(format!("{what}, {objective:?}, {tile:?}"), &run);
            }
        }
    }
}

fn rand1() -> Rand1LhLoss {
    Rand1LhLossConfig::new().with_temperature(0.5).init()
}

#[test]
fn draws_repeat_with_the_seed_whatever_the_tile() {
    let _turn = turn_to_draw();
    for (what, targets) in forms() {
        let targets = targets.with_candidates(bool_matrix(&candidates(), &device()));
        let relevant = bools(targets.positives());
        let case = case(&relevant, &candidates());
        for device in autodiff_devices() {
            let run = |rows: &dyn Fn(Tensor<2>, Tensor<2>) -> Tensor<1>| {
                device.seed(21);
                case.run(&device, DType::F32, |queries, documents, _| {
                    rows(queries, documents)
                })
            };
            let dense = run(&|queries, documents| {
                let scores = queries.matmul(documents.transpose());
                rand1().forward_no_reduction(scores, targets.clone())
            });
            let near = |x: f64| (x, 1e-5 * (1.0 + x.abs()));
            let want = super::Want {
                rows: dense.rows.iter().copied().map(near).collect(),
                gradients: dense.gradients.each_ref().map(|rows| {
                    let row = |row: &Vec<f64>| row.iter().copied().map(near).collect();
                    rows.iter().map(row).collect()
                }),
            };
            let tiles: [Option<Tile>; 3] = [None, Some(1.into()), Some([4, 9].into())];
            for tile in tiles {
                let tiled = run(&|queries, documents| {
                    let embeddings = Embeddings::new(queries, documents);
                    let embeddings = match tile {
                        None => embeddings,
                        Some(tile) => embeddings.with_tile(tile),
                    };
                    rand1().forward_no_reduction(embeddings, targets.clone())
                });
                want.assert(format!("{what}, {tile:?}"), &tiled);
            }
        }
    }
}

#[test]
fn chosen_positives_are_those_of_the_scores() {
    let (_, targets) = forms().remove(0);
    let relevant = bools(targets.positives());
    let mut case = case(&relevant, &candidates());
    for query in &mut case.batch.0 {
        query.chosen = query.p().last().copied();
    }
    let objective = DEFAULTS[3].temperature(0.5);
    for device in autodiff_devices() {
        let chosen = case.batch.chosen(&device);
        let mean = |queries: Tensor<2>, documents: Tensor<2>, targets| {
            let embeddings = Embeddings::new(queries, documents);
            rand1().forward_chosen(embeddings, targets, chosen.clone())
        };
        let leaves = case
            .embeddings(&device, DType::F32)
            .map(Tensor::require_grad);
        let [queries, documents] = leaves.clone();
        let loss = mean(queries, documents, case.batch.targets(&device));
        let gradients = loss.clone().backward();
        let [queries, documents] = leaves.clone();
        let scores = queries.matmul(documents.transpose());
        let dense = rand1().forward_chosen(scores, case.batch.targets(&device), chosen.clone());
        let dense_gradients = dense.clone().backward();
        let [queries, documents] = leaves.clone();
        let targets = case.batch.targets(&device);
        let scores = queries.clone().matmul(documents.clone().transpose());
        let targets = targets.with_chosen(chosen.clone());
        let dense_rows = rand1().forward_no_reduction(scores, targets.clone());
        let embeddings = Embeddings::new(queries, documents);
        let rows = rand1().forward_no_reduction(embeddings, targets);

        let tolerance = Tolerance::units(DType::F32, 200.0).absolute(1e-6);
        let want = case.batch.0.iter().map(|query| query.loss(&objective));
        let want = want.sum::<f64>() / case.batch.active();
        let [loss, dense] = [loss, dense].map(numbers);
        assert_all_close("oracle", &loss, &[want], tolerance);
        assert_all_close("dense", &loss, &dense, tolerance);
        let [rows, dense_rows] = [rows, dense_rows].map(numbers);
        assert_all_close("rows", &rows, &dense_rows, tolerance);
        for leaf in leaves {
            let [got, want] = [&gradients, &dense_gradients]
                .map(|gradients| matrix(leaf.grad(gradients).unwrap()).concat());
            assert_all_close("gradient", &got, &want, tolerance);
        }
    }
}

#[test]
fn a_chosen_column_that_is_no_positive_is_nan_in_its_row_only() {
    let device = autodiff_devices()[0].clone();
    let documents = float_matrix(&grid(600, 2, 41), &device, DType::F32);
    // positives 0, 1 and 590, but 1 is ignored
    let relevant: Vec<bool> = (0..600).map(|d| d < 2 || d == 590).collect();
    let keep: Vec<bool> = (0..600).map(|d| d != 1).collect();
    // positive, negative, ignored, last + 1, -1, far out, positive
    let columns = [590, 300, 1, 600, -1, i64::from(i32::MAX), 0];
    let rows = columns.len();
    let queries = float_matrix(&grid(rows, 2, 42), &device, DType::F32);
    let targets = Targets::new(bool_matrix(&vec![relevant; rows], &device))
        .with_candidates(bool_matrix(&vec![keep; rows], &device));
    let one = |row: usize| {
        let queries = queries.clone().narrow(0, row, 1).require_grad();
        let documents = documents.clone().require_grad();
        let alone = Targets::new(targets.positives().narrow(0, row, 1));
        let chosen = Tensor::<1, Int>::from_ints([columns[row]], &device);
        let loss = rand1().forward_chosen(Embeddings::new(queries, documents), alone, chosen);
        numbers(loss)[0]
    };
    for row in 0..rows {
        assert_eq!(one(row).is_nan(), ![0, 6].contains(&row), "row {row}");
    }
    // all rows at once: the mean is NaN, and the rows are told apart by the queries' gradients
    let queries = queries.require_grad();
    let chosen = labels(|row| columns[row], rows);
    let embeddings = Embeddings::new(queries.clone(), documents.clone());
    let loss = rand1().forward_chosen(embeddings, targets, chosen);
    let gradient = matrix(queries.grad(&loss.clone().backward()).unwrap());
    assert!(numbers(loss)[0].is_nan());
    for row in [0, 6] {
        assert!(
            gradient[row].iter().all(|x| x.is_finite()),
            "row {row}: {gradient:?}"
        );
    }
}
