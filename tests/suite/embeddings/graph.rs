//! The place of the loss in a larger graph: who needs a gradient, what else the
//! embeddings are used for, where they come from.

use super::{Case, Want, assert_near, grid, weighted};
use crate::{
    batch::{Criterion, float_matrix, matrix, numbers},
    device::{autodiff_devices, device, turn_to_draw},
    oracle::{DEFAULTS, Negatives, Objective, Positives},
};
use burn::{
    nn::LinearConfig,
    tensor::{DType, Device, Tensor},
};
use burn_multi_positive::{Embeddings, LsePairLossConfig, Targets, Tile};

fn tiles() -> [Option<Tile>; 2] {
    [None, Some([4, 5].into())]
}

fn case() -> Case {
    Case::random([9, 14, 3], 70)
}

#[test]
fn only_one_side_needs_a_gradient() {
    let case = case();
    for device in autodiff_devices() {
        for objective in DEFAULTS {
            let case = case.drawn(&objective);
            let want = case.want(&objective, DType::F32);
            for tile in tiles() {
                for (side, other_is_plain) in [(0, true), (0, false), (1, true), (1, false)] {
                    let what = format!("{objective:?} {tile:?} {side} {other_is_plain}");
                    let mut leaves = case.embeddings(&device, DType::F32);
                    leaves[side] = leaves[side].clone().require_grad();
                    if other_is_plain {
                        leaves[1 - side] = leaves[1 - side].clone().without_autodiff();
                    }
                    let [queries, documents] = leaves.clone();
                    let targets = case.batch.targets(&device);
                    let criterion = Criterion::from(&objective);
                    let rows = criterion.embeddings_rows(queries, documents, targets, tile);
                    assert!(rows.is_tracked(), "{what}");
                    let gradients = weighted(rows.clone()).backward();
                    assert_near(&what, &numbers(rows), &want.rows);
                    let gradient = matrix(leaves[side].grad(&gradients).expect("a gradient"));
                    for (got, want) in gradient.iter().zip(&want.gradients[side]) {
                        assert_near(&what, got, want);
                    }
                    if !other_is_plain {
                        assert!(leaves[1 - side].grad(&gradients).is_none(), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn embeddings_that_need_no_gradient_give_a_loss_that_has_none() {
    let case = case();
    for objective in DEFAULTS {
        let case = case.drawn(&objective);
        let want = case.want(&objective, DType::F32);
        for device in autodiff_devices().into_iter().chain([device()]) {
            for tile in tiles() {
                let [queries, documents] = case.embeddings(&device, DType::F32);
                let targets = case.batch.targets(&device);
                let criterion = Criterion::from(&objective);
                let rows = criterion.embeddings_rows(queries, documents, targets, tile);
                assert!(!rows.is_tracked(), "{objective:?} on {device:?}");
                assert_near(format!("{objective:?}"), &numbers(rows), &want.rows);
            }
        }
    }
}

/// Gradients of both embeddings.
type Gradients = [Vec<Vec<f64>>; 2];

fn gradients_of(
    case: &Case,
    device: &Device,
    loss: impl FnOnce(Tensor<2>, Tensor<2>, Targets) -> Tensor<1>,
) -> Gradients {
    let leaves = case
        .embeddings(device, DType::F32)
        .map(Tensor::require_grad);
    let [queries, documents] = leaves.clone();
    let gradients = loss(queries, documents, case.batch.targets(device)).backward();
    leaves.map(|leaf| matrix(leaf.grad(&gradients).expect("a gradient")))
}

#[track_caller]
fn assert_same(what: &str, got: &Gradients, want: &Gradients) {
    for (got, want) in got.iter().zip(want) {
        let (got, want) = (got.concat(), want.concat());
        let largest = want.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        assert!(largest > 0.0, "{what}: nothing to compare");
        let near = want.iter().map(|x| (*x, 2e-5 * largest)).collect();
        assert_near(what, got.as_slice(), &near);
    }
}

/// Of scores and of embeddings.
type Rows<'a> = &'a dyn Fn(&Objective, Tensor<2>, Tensor<2>, Targets) -> Tensor<1>;

/// The same loss from scores and from embeddings.
fn both(
    case: &Case,
    device: &Device,
    loss: impl Fn(Rows, Tensor<2>, Tensor<2>, Targets) -> Tensor<1>,
) {
    let dense: Rows = &|objective, queries, documents, targets| {
        Criterion::from(objective).rows(queries.matmul(documents.transpose()), targets)
    };
    let want = gradients_of(case, device, |q, d, t| loss(dense, q, d, t));
    for tile in tiles() {
        let tiled: Rows = &|objective, queries, documents, targets| {
            Criterion::from(objective).embeddings_rows(queries, documents, targets, tile)
        };
        let got = gradients_of(case, device, |q, d, t| loss(tiled, q, d, t));
        assert_same(&format!("{tile:?}"), &got, &want);
    }
}

#[test]
fn the_loss_is_a_part_of_a_larger_one() {
    for device in autodiff_devices() {
        for objective in &DEFAULTS[..3] {
            both(&case(), &device, |rows, queries, documents, targets| {
                let penalty = queries.clone().square().sum() * 0.1 + documents.clone().sum();
                let loss = rows(objective, queries, documents, targets);
                loss.clone().mean() * 3.0 + loss.square().sum() + penalty
            });
        }
    }
}

#[test]
fn two_losses_on_the_same_embeddings_before_one_backward_add_up() {
    let second = Objective::selecting(Positives::Weakest, Negatives::All);
    for device in autodiff_devices() {
        both(&case(), &device, |rows, queries, documents, targets| {
            let (q, d, t) = (queries.clone(), documents.clone(), targets.clone());
            let first = rows(&DEFAULTS[1], q, d, t);
            (first * rows(&second, queries, documents, targets)).sum()
        });
        // both directions, the second on the transposed targets
        both(&case(), &device, |rows, queries, documents, targets| {
            let (q, d, t) = (queries.clone(), documents.clone(), targets.clone());
            let forth = rows(&DEFAULTS[0], q, d, t);
            let back = rows(&DEFAULTS[2], documents, queries, targets.transpose());
            forth.sum() + back.sum() * 0.5
        });
    }
}

#[test]
fn each_of_two_losses_has_its_own_backward() {
    let case = case();
    for device in autodiff_devices() {
        let leaves = case
            .embeddings(&device, DType::F32)
            .map(Tensor::require_grad);
        let targets = case.batch.targets(&device);
        let losses = [DEFAULTS[0], DEFAULTS[1]].map(|objective| {
            let [queries, documents] = leaves.clone();
            let criterion = Criterion::from(&objective);
            weighted(criterion.embeddings_rows(queries, documents, targets.clone(), None))
        });
        for (loss, objective) in losses.into_iter().zip(DEFAULTS) {
            let gradients = loss.backward();
            let want = case.want(&objective, DType::F32);
            for (leaf, want) in leaves.iter().zip(want.gradients) {
                let gradient = matrix(leaf.grad(&gradients).expect("a gradient"));
                for (got, want) in gradient.iter().zip(&want) {
                    assert_near(format!("{objective:?}"), got, want);
                }
            }
        }
    }
}

/// The documents of each query are the other queries: one tensor on both sides.
#[test]
fn queries_may_be_the_documents() {
    let embeddings = grid(12, 3, 71);
    let case = Case::new(embeddings.clone(), embeddings, |q, mut query| {
        for d in 0..12 {
            query.positives[d] = d % 4 == q % 4;
            query.candidates[d] = d != q;
        }
        query
    });
    for device in autodiff_devices() {
        for objective in &DEFAULTS[..3] {
            let [of_queries, of_documents] = case.want(objective, DType::F32).gradients;
            for tile in tiles() {
                let leaf = float_matrix(&case.queries, &device, DType::F32).require_grad();
                let targets = case.batch.targets(&device);
                let criterion = Criterion::from(objective);
                let rows = criterion.embeddings_rows(leaf.clone(), leaf.clone(), targets, tile);
                let gradients = weighted(rows).backward();
                let gradient = matrix(leaf.grad(&gradients).expect("a gradient"));
                for (row, got) in gradient.iter().enumerate() {
                    let pairs = of_queries[row].iter().zip(&of_documents[row]);
                    let want = pairs.map(|(a, b)| (a.0 + b.0, 2.0 * (a.1 + b.1))).collect();
                    assert_near(format!("{objective:?} {tile:?}, row {row}"), got, &want);
                }
            }
        }
    }
}

#[test]
fn gradients_reach_the_weights_of_two_towers() {
    let batch = case().batch;
    for device in autodiff_devices() {
        let towers = [(5, 9), (6, 14)].map(|(inputs, rows)| {
            let _turn = turn_to_draw();
            let layer = LinearConfig::new(inputs, 3).init(&device);
            let features = float_matrix(&grid(rows, inputs, 72), &device, DType::F32);
            (layer, features)
        });
        for objective in &DEFAULTS[..3] {
            let run = |tile: Option<Option<Tile>>| {
                let [queries, documents] =
                    towers.each_ref().map(|(layer, x)| layer.forward(x.clone()));
                let (criterion, targets) = (Criterion::from(objective), batch.targets(&device));
                let rows = match tile {
                    Some(tile) => criterion.embeddings_rows(queries, documents, targets, tile),
                    None => criterion.rows(queries.matmul(documents.transpose()), targets),
                };
                let gradients = rows.mean().backward();
                towers.each_ref().map(|(layer, _)| {
                    let weight = layer.weight.val().grad(&gradients).expect("a gradient");
                    let bias = layer.bias.as_ref().expect("a bias").val();
                    let bias = bias.grad(&gradients).expect("a gradient");
                    vec![matrix(weight).concat(), numbers(bias)]
                })
            };
            let want = run(None);
            for tile in tiles() {
                assert_same(&format!("{objective:?} {tile:?}"), &run(Some(tile)), &want);
            }
        }
    }
}

type View = (&'static str, [usize; 2], fn(Tensor<2>) -> Tensor<2>);

const SHAPE: [usize; 2] = [9, 3];

fn views() -> [View; 6] {
    let [rows, columns] = SHAPE;
    [
        ("transposed", [columns, rows], |x| x.transpose()),
        ("rows of a larger one", [rows + 4, columns], |x| {
            x.narrow(0, 3, SHAPE[0])
        }),
        ("columns of a larger one", [rows, columns + 5], |x| {
            x.narrow(1, 2, SHAPE[1])
        }),
        ("a row for all", [1, columns], |x| x.expand(SHAPE)),
        ("a column for all", [rows, 1], |x| x.expand(SHAPE)),
        ("flipped", [rows, columns], |x| x.flip([0, 1])),
    ]
}

/// Views on each side, of a leaf with autodiff: values, and gradients of the base.
#[test]
fn embeddings_may_be_views() {
    for (what, shape, view) in views() {
        let base = grid(shape[0], shape[1], 73);
        let plain = float_matrix(&base, &device(), DType::F32);
        let rows = matrix(view(plain.clone()));
        for side in [0, 1] {
            let other = grid(14, SHAPE[1], 74);
            let [queries, documents] = match side {
                0 => [rows.clone(), other.clone()],
                _ => [other.clone(), rows.clone()],
            };
            let case = Case::new(queries, documents, |q, mut query| {
                let len = query.scores.len();
                (0..len).for_each(|d| query.positives[d] = (q + d) % 4 == 0);
                query
            });
            for (objective, device) in DEFAULTS.iter().zip(autodiff_devices()) {
                let want: Want = case.want(objective, DType::F32);
                for tile in tiles() {
                    let what = format!("{what}, side {side}, {tile:?}");
                    let leaf = float_matrix(&base, &device, DType::F32).require_grad();
                    let rows = float_matrix(&rows, &device, DType::F32).require_grad();
                    let other = float_matrix(&other, &device, DType::F32);
                    let run = |x: Tensor<2>| {
                        let [queries, documents] = match side {
                            0 => [x, other.clone()],
                            _ => [other.clone(), x],
                        };
                        let targets = case.batch.targets(&device);
                        let criterion = Criterion::from(objective);
                        criterion.embeddings_rows(queries, documents, targets, tile)
                    };
                    let losses = run(view(leaf.clone()));
                    assert_near(&what, &numbers(losses.clone()), &want.rows);
                    let got = leaf.grad(&weighted(losses).backward()).unwrap();
                    // the gradient of a copy, taken back through the view
                    let copy = rows.grad(&weighted(run(rows.clone())).backward()).unwrap();
                    let again = leaf.clone().detach().require_grad();
                    let pulled =
                        (view(again.clone()) * Tensor::from_data(copy.into_data(), &device)).sum();
                    let want = again.grad(&pulled.backward()).unwrap();
                    let [got, want] = [got, want].map(|gradient| matrix(gradient).concat());
                    let near = want.iter().map(|x| (*x, 1e-5 + 1e-5 * x.abs())).collect();
                    assert_near(&what, &got, &near);
                    // and on a plain device
                    let [queries, documents] = match side {
                        0 => [view(plain.clone()), other.clone().without_autodiff()],
                        _ => [other.clone().without_autodiff(), view(plain.clone())],
                    };
                    let targets = case.batch.targets(&device);
                    let criterion = Criterion::from(objective);
                    let rows = criterion.embeddings_rows(queries, documents, targets, tile);
                    assert!(!rows.is_autodiff());
                    let want = case.want(objective, DType::F32);
                    assert_near(&what, &numbers(rows), &want.rows);
                }
            }
        }
    }
}

/// What users write: a training step moves the loss down.
#[test]
fn a_step_along_the_gradient_lowers_the_loss() {
    let case = case();
    let device = &autodiff_devices()[0];
    let loss_fn = LsePairLossConfig::new().with_temperature(0.5).init();
    let leaves = case
        .embeddings(device, DType::F32)
        .map(Tensor::require_grad);
    let loss = |leaves: [Tensor<2>; 2]| {
        let [queries, documents] = leaves;
        let embeddings = Embeddings::new(queries, documents).with_tile([2, 3]);
        loss_fn.forward(embeddings, case.batch.targets(device))
    };
    let before = loss(leaves.clone());
    let gradients = before.clone().backward();
    let moved = leaves.map(|leaf| {
        let gradient = leaf.grad(&gradients).expect("a gradient");
        leaf.inner() - gradient * 0.05
    });
    let [before, after] = [before, loss(moved)].map(|loss| numbers(loss)[0]);
    assert!(after < before, "{before} before, {after} after");
}
