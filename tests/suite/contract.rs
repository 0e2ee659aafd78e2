//! The behaviour contract, row by row: what comes out where the formulas alone do not say.

use crate::{
    batch::{Batch, Criterion, Outcome, bools, float_matrix, gradient_of, matrix, numbers},
    close::{Tolerance, assert_all_close, assert_close},
    device::{autodiff_devices, device, precisions, remainder, supports},
    oracle::{DEFAULTS, Loss, Objective, Query, objectives},
};
use burn::{
    nn::loss::Reduction,
    tensor::{Bool, DType, Tensor},
};
use burn_multi_positive::{LsePairLossConfig, Targets};

const INF: f64 = f64::INFINITY;

/// Three queries with several positives and negatives each.
fn batch() -> Batch {
    Batch::new(&[
        (&[0.5, -1.25, 2.0, 0.25, 1.0], &[0, 2]),
        (&[1.5, 0.75, -0.5, -2.0, 0.125], &[1, 3, 4]),
        (&[-0.25, 3.0, 1.75, 0.625, -1.0], &[4]),
    ])
}

/// Runs every objective on a plain and a checkpointing device, in every precision.
fn each_setting(mut check: impl FnMut(&Objective, &dyn Fn(&Batch) -> Outcome, &str)) {
    for objective in objectives() {
        for device in autodiff_devices() {
            for dtype in precisions() {
                let run = |batch: &Batch| batch.run(&objective, &device, dtype);
                check(&objective, &run, &format!("{objective:?} {dtype:?}"));
            }
        }
    }
}

/// As the oracle says, for scores without NaN and infinities.
#[track_caller]
fn assert_row(what: &str, outcome: &Outcome, q: usize, query: &Query, objective: &Objective) {
    let want = query.loss(objective);
    let tolerance = Tolerance::loss(query, objective, want, DType::F32);
    assert_close(format!("{what}, row {q}"), outcome.rows[q], want, tolerance);
}

#[test]
fn a_query_without_a_positive_is_inactive() {
    let mut batch = batch().ignoring(2, 4);
    batch.0[1].positives.fill(false);
    batch.0[1].scores[..3].copy_from_slice(&[f64::NAN, INF, -INF]);
    each_setting(|objective, run, what| {
        let outcome = run(&batch);
        assert_row(what, &outcome, 0, &batch.0[0], objective);
        assert_eq!(outcome.rows[1..], [0.0; 2], "{what}");
        assert_eq!(outcome.gradient[1..], [[0.0; 5]; 2], "{what}");
        // one active query: the mean is its loss
        let tolerance = Tolerance::units(DType::F32, 4.0);
        assert_close(
            format!("{what}, mean"),
            outcome.mean,
            outcome.rows[0],
            tolerance,
        );
    });
}

#[test]
fn a_batch_without_an_active_query_has_a_zero_loss_that_can_be_differentiated() {
    let mut batch = batch();
    batch
        .0
        .iter_mut()
        .for_each(|query| query.positives.fill(false));
    each_setting(|_, run, what| {
        let outcome = run(&batch);
        assert_eq!(outcome.rows, [0.0; 3], "{what}");
        assert_eq!(outcome.mean, 0.0, "{what}");
        assert_eq!(outcome.gradient, [[0.0; 5]; 3], "{what}");
    });
    for objective in DEFAULTS {
        for reduction in [
            Reduction::Mean,
            Reduction::Auto,
            Reduction::Sum,
            Reduction::BatchMean,
        ] {
            let scores = batch
                .scores(&device().autodiff(), DType::F32)
                .require_grad();
            let targets = batch.targets(&device());
            let loss = Criterion::from(&objective).reduced(scores.clone(), targets, reduction);
            assert_eq!(numbers(loss.clone()), [0.0]);
            assert_eq!(gradient_of(&loss, &scores), [[0.0; 5]; 3]);
        }
    }
}

#[test]
fn positives_without_negatives_cost_nothing_but_in_joint_lh() {
    let mut batch = batch();
    batch.0[0].positives.fill(true);
    for d in 0..4 {
        batch.0[2].candidates[d] = false;
    }
    each_setting(|objective, run, what| {
        let outcome = run(&batch);
        for q in [0, 2] {
            if objective.loss == Loss::JointLh {
                assert_row(what, &outcome, q, &batch.0[q], objective);
                let want = batch.0[q].gradient(objective);
                let want: Vec<f64> = want.iter().map(|slope| slope / 3.0).collect();
                let tolerance = Tolerance::gradient(&batch.0[q], objective, 1.0, DType::F32);
                let tolerance = tolerance.absolute(tolerance.absolute + remainder());
                assert_all_close(
                    format!("{what}, row {q}"),
                    &outcome.gradient[q],
                    &want,
                    tolerance,
                );
            } else {
                assert_eq!(outcome.rows[q], 0.0, "{what}, row {q}");
                assert_eq!(outcome.gradient[q], [0.0; 5], "{what}, row {q}");
            }
        }
    });
}

#[test]
fn an_ignored_document_is_absent_whatever_its_score() {
    // ignored: a positive of the first query, a negative of the second
    let clean = batch().ignoring(0, 2).ignoring(1, 2);
    each_setting(|_, run, what| {
        let want = run(&clean);
        for garbage in [f64::NAN, INF, -INF, 3e38, -3e38] {
            let mut dirty = clean.clone();
            dirty.0[0].scores[2] = garbage;
            dirty.0[1].scores[2] = garbage;
            let got = run(&dirty);
            assert_eq!(got.rows, want.rows, "{what} with {garbage}");
            assert_eq!(got.mean, want.mean, "{what} with {garbage}");
            assert_eq!(got.gradient, want.gradient, "{what} with {garbage}");
            assert_eq!([got.gradient[0][2], got.gradient[1][2]], [0.0; 2], "{what}");
        }
    });
}

#[test]
fn nan_in_a_candidate_is_nan_in_its_query_only() {
    let clean = batch();
    for objective in objectives() {
        let rand1 = objective.loss == Loss::Rand1Lh;
        for document in 0..5 {
            let mut dirty = clean.clone();
            dirty.0[1].scores[document] = f64::NAN;
            let unread = rand1 && dirty.0[1].positives[document] && document != 1;
            for device in autodiff_devices() {
                let criterion = Criterion::from(&objective);
                let run = |batch: &Batch| {
                    let scores = batch.scores(&device, DType::F32).require_grad();
                    let rows = criterion.chosen_rows(scores.clone(), batch);
                    let gradient = gradient_of(&rows.clone().sum(), &scores);
                    (numbers(rows), gradient)
                };
                let (rows, gradient) = run(&dirty);
                let (clean_rows, clean_gradient) = run(&clean);
                let what = format!("{objective:?} with NaN in document {document}");
                assert_eq!(rows[1].is_nan(), !unread, "{what}: {rows:?}");
                for q in [0, 2] {
                    assert_eq!(rows[q], clean_rows[q], "{what}, row {q}");
                    assert_eq!(gradient[q], clean_gradient[q], "{what}, row {q}");
                }
                if unread {
                    assert_eq!(rows[1], clean_rows[1], "{what}");
                    assert_eq!(gradient[1], clean_gradient[1], "{what}");
                }
            }
        }
    }
}

#[test]
fn nan_beats_no_negatives() {
    let nan = f64::NAN;
    let batch = Batch::new(&[
        (&[1.0, nan], &[0, 1]),
        (&[nan, 0.5], &[0, 1]),
        (&[nan, -INF], &[0]),
    ]);
    each_setting(|objective, run, what| {
        let rows = run(&batch).rows;
        // Rand1LH has drawn the first positive, the other one is no candidate
        let unread = objective.loss == Loss::Rand1Lh;
        assert_eq!(rows[0].is_nan(), !unread, "{what}: {rows:?}");
        assert!(rows[1].is_nan() && rows[2].is_nan(), "{what}: {rows:?}");
    });
}

#[test]
fn a_negative_of_minus_infinity_is_as_good_as_ignored() {
    let mut batch = batch();
    // some of the negatives of the first query, all of the last
    batch.0[0].scores[3] = -INF;
    batch.0[2].scores[..4].fill(-INF);
    let mut ignoring = batch.clone().ignoring(0, 3);
    ignoring.0[2].candidates[..4].fill(false);
    each_setting(|objective, run, what| {
        let (got, want) = (run(&batch), run(&ignoring));
        for q in 0..3 {
            assert_row(what, &want, q, &ignoring.0[q], objective);
            let tolerance = Tolerance::units(DType::F32, 4.0);
            assert_close(
                format!("{what}, row {q}"),
                got.rows[q],
                want.rows[q],
                tolerance,
            );
            let (got, want) = (&got.gradient[q], &want.gradient[q]);
            assert_all_close(format!("{what}, gradient {q}"), got, want, tolerance);
        }
        assert_eq!(got.gradient[0][3], 0.0, "{what}");
        for slope in &got.gradient[2] {
            assert!(slope.abs() <= remainder(), "{what}: {slope:e}");
        }
    });
}

/// The limit where the formula has one, infinite or not; NaN is allowed too, any other number is not.
#[test]
fn other_infinities_give_the_limit_or_nan() {
    let batch = Batch::new(&[
        (&[0.5, -1.25, 2.0, 0.25, 1.0], &[0, 2]),
        (&[1.5, 0.75, -0.5, -2.0, 0.125], &[1]),
        (&[1.5, 0.75, -0.5, -2.0, 0.125], &[0, 1, 2, 3, 4]),
        (&[1.5], &[0]),
    ]);
    for query in &batch.0 {
        for document in 0..query.scores.len() {
            for infinity in [INF, -INF] {
                if infinity == -INF && !query.positives[document] {
                    continue; // the row above
                }
                let with = |score| {
                    let mut query = query.clone();
                    query.scores[document] = score;
                    query
                };
                each_setting(|objective, run, what| {
                    let loss = |score| with(score).loss(objective);
                    let sign = infinity.signum();
                    let (far, further) = (loss(sign * 1e6), loss(sign * 1e9));
                    let limit = if further > 2.0 * far + 1.0 {
                        INF
                    } else {
                        further
                    };
                    let row = run(&Batch(vec![with(infinity)])).rows[0];
                    let what = format!("{what}, {infinity} at {document} of {query:?}");
                    if row.is_nan() {
                        return;
                    }
                    let tolerance = Tolerance::units(DType::F32, 64.0).absolute(1e-5);
                    assert_close(what, row, limit, tolerance);
                });
            }
        }
    }
}

#[test]
fn infinities_that_have_no_limit_give_no_number() {
    // a positive and a negative grow together
    let batch = Batch::new(&[(&[INF, INF, 0.5], &[0]), (&[-INF, 1.0, INF], &[0])]);
    each_setting(|_, run, what| {
        for row in run(&batch).rows {
            assert!(!row.is_finite(), "{what}: {row}");
        }
    });
}

#[test]
fn scores_up_to_the_largest_have_finite_losses_and_gradients() {
    let batch = Batch::new(&[
        (&[1e38, -1e38, 3e37, 0.0], &[0]),
        (&[1e38, -1e38, 3e37, 0.0], &[0, 2]),
        (&[-1e37, 1e37, 1e37, -1e37], &[0, 3]),
        (&[3.4e38, 3.4e38, 3.4e38, 3.4e38], &[1]),
        (&[-3.4e38, -3.4e38, -3.4e38, -3.4e38], &[1, 2]),
    ]);
    // exactly what f32 holds
    let batch = Batch(
        batch
            .0
            .into_iter()
            .map(|mut query| {
                query
                    .scores
                    .iter_mut()
                    .for_each(|score| *score = f64::from(*score as f32));
                query
            })
            .collect(),
    );
    for objective in DEFAULTS.into_iter().chain(objectives()) {
        if objective.temperature < 1.0 {
            continue; // the scores are as large as they are after the division
        }
        for device in autodiff_devices() {
            let outcome = batch.run(&objective, &device, DType::F32);
            for (q, query) in batch.0.iter().enumerate() {
                assert_row(&format!("{objective:?}"), &outcome, q, query, &objective);
                let tolerance = Tolerance::gradient(query, &objective, 0.2, DType::F32);
                let want = query.gradient(&objective);
                let want: Vec<f64> = want.iter().map(|slope| slope / 5.0).collect();
                let what = format!("{objective:?}, gradient {q}");
                assert_all_close(what, &outcome.gradient[q], &want, tolerance);
            }
        }
    }
}

#[test]
fn one_positive_is_cross_entropy_on_the_candidates() {
    let batch = Batch::new(&[(&[2.0, 1.0, 9.0, 0.0], &[0])]).ignoring(0, 2);
    let want = (1.0 + (-1f64).exp() + (-2f64).exp()).ln();
    for objective in DEFAULTS {
        let scores = batch.scores(&device(), DType::F32);
        let loss = Criterion::from(&objective).mean(scores, batch.targets(&device()));
        let tolerance = Tolerance::units(DType::F32, 16.0);
        assert_close(format!("{objective:?}"), numbers(loss)[0], want, tolerance);
    }
}

#[test]
fn half_precision_scores_give_an_f32_loss_and_gradients_of_their_own_dtype() {
    // 60000 / 0.05 is beyond f16
    let mut batch = batch();
    batch
        .0
        .push(Query::new(&[60000.0, 59968.0, -60000.0, 0.0, 1.0], &[1, 0]));
    let unit = 2f64.powi(-11);
    for (dtype, rounding) in [(DType::F16, unit), (DType::BF16, 8.0 * unit)] {
        if !supports(dtype) {
            continue;
        }
        for objective in objectives() {
            for device in autodiff_devices() {
                let scores = batch.scores(&device, dtype).require_grad();
                let mut rounded = batch.clone();
                for (query, scores) in rounded.0.iter_mut().zip(matrix(scores.clone())) {
                    query.scores = scores;
                }
                let rows = Criterion::from(&objective).chosen_rows(scores.clone(), &rounded);
                assert_eq!(rows.dtype(), DType::F32, "{objective:?} {dtype:?}");
                let gradients = rows.clone().sum().backward();
                let gradient = scores.grad(&gradients).expect("a gradient");
                assert_eq!(gradient.dtype(), dtype, "{objective:?}");

                let (rows, gradient) = (numbers(rows), matrix(gradient));
                for (q, query) in rounded.0.iter().enumerate() {
                    let what = format!("{objective:?} {dtype:?}, row {q}");
                    let want = query.loss(&objective);
                    let tolerance = Tolerance::loss(query, &objective, want, DType::F32);
                    assert_close(&what, rows[q], want, tolerance);
                    let mut tolerance = Tolerance::gradient(query, &objective, 1.0, DType::F32);
                    tolerance.relative += rounding;
                    tolerance.absolute += 1e-7; // the least f16 above 0 is 6e-8
                    let want = query.gradient(&objective);
                    assert_all_close(format!("{what}, gradient"), &gradient[q], &want, tolerance);
                }
            }
        }
    }
}

#[test]
fn every_method_keeps_to_the_dtype_rule() {
    let batch = Batch::new(&[(&[1.0, 0.5], &[0]), (&[0.25, 2.0], &[1])]);
    for (dtype, expected) in [
        (DType::F16, DType::F32),
        (DType::BF16, DType::F32),
        (DType::F32, DType::F32),
        (DType::F64, DType::F64),
    ] {
        if !supports(dtype) {
            continue;
        }
        for objective in DEFAULTS {
            let criterion = Criterion::from(&objective);
            let scores = batch.scores(&device(), dtype);
            let targets = || batch.targets(&device());
            assert_eq!(criterion.mean(scores.clone(), targets()).dtype(), expected);
            assert_eq!(criterion.rows(scores.clone(), targets()).dtype(), expected);
            let sum = criterion.reduced(scores.clone(), targets(), Reduction::Sum);
            assert_eq!(sum.dtype(), expected);
            let of_embeddings = criterion.embeddings(scores.clone(), scores, targets());
            assert_eq!(of_embeddings.dtype(), expected, "{objective:?} {dtype:?}");
        }
    }
}

#[test]
fn no_documents_and_no_queries() {
    for objective in DEFAULTS {
        let criterion = Criterion::from(&objective);
        for dims in [[3, 0], [0, 4], [0, 0]] {
            for device in autodiff_devices() {
                let scores = Tensor::<2>::zeros(dims, &device).require_grad();
                let targets = Targets::new(Tensor::<2, Bool>::full(dims, true, &device));
                let what = format!("{objective:?} {dims:?}");
                let rows = criterion.rows(scores.clone(), targets.clone());
                assert_eq!(numbers(rows), vec![0.0; dims[0]], "{what}");
                for reduction in [Reduction::Mean, Reduction::Sum, Reduction::Auto] {
                    let loss = criterion.reduced(scores.clone(), targets.clone(), reduction);
                    assert_eq!(numbers(loss), [0.0], "{what}");
                }
                let loss = criterion.mean(scores.clone(), targets.clone());
                let gradient = scores.grad(&loss.backward()).expect("a gradient");
                assert_eq!(gradient.dims(), dims, "{what}");
            }
        }
    }
}

#[test]
fn reductions_count_active_queries_or_all() {
    // rows: log 2, 0 (inactive), log 4
    let batch = Batch::new(&[
        (&[0.0, 0.0, -INF, -INF], &[0]),
        (&[1.0, 2.0, 3.0, 4.0], &[]),
        (&[0.0, 0.0, 0.0, 0.0], &[3]),
    ]);
    let sum = 8f64.ln();
    for objective in DEFAULTS {
        for (reduction, want) in [
            (Reduction::Mean, sum / 2.0),
            (Reduction::Auto, sum / 2.0),
            (Reduction::Sum, sum),
            (Reduction::BatchMean, sum / 3.0),
        ] {
            let what = format!("{objective:?} {reduction:?}");
            let scores = batch.scores(&device(), DType::F32);
            let targets = batch.targets(&device());
            let loss = Criterion::from(&objective).reduced(scores, targets, reduction);
            assert_eq!(loss.dims(), [1], "{what}");
            assert_close(
                what,
                numbers(loss)[0],
                want,
                Tolerance::units(DType::F32, 16.0),
            );
        }
    }
}

/// Of equal scores a selector takes the first, so that every path gives the same gradient.
#[test]
fn selectors_break_ties_by_the_first_column() {
    use crate::oracle::{Negatives::Hardest, Positives::*};
    let batch = Batch::new(&[(&[1.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.5], &[1, 4, 6])]);
    for (objective, p, n) in [
        (Objective::selecting(Weakest, Hardest), 1, 0),
        (Objective::selecting(Strongest, Hardest), 1, 0),
    ] {
        for batch in [batch.clone(), batch.clone().ignoring(0, 1).ignoring(0, 0)] {
            let [p, n] = if batch.0[0].candidates[0] {
                [p, n]
            } else {
                [4, 2]
            };
            for device in autodiff_devices() {
                let gradient = &batch.run(&objective, &device, DType::F32).gradient[0];
                let at: Vec<usize> = (0..7).filter(|&d| gradient[d] != 0.0).collect();
                let mut expected = vec![p, n];
                expected.sort();
                assert_eq!(at, expected, "{objective:?}: {gradient:?}");
            }
        }
    }
}

#[test]
fn a_bare_mask_is_all_a_loss_needs() {
    let device = device();
    let scores = Tensor::<2>::from_floats([[2.0, 1.0, 0.0]], &device);
    let positives = Tensor::<2, Bool>::from_bool([[true, false, true]], &device);
    assert_eq!(bools(positives.clone()), [[true, false, true]]);
    let loss = LsePairLossConfig::new().init().forward(scores, positives);
    // pairs: 1 - 2 and 1 - 0
    let want = (1.0 + (-1f64).exp() + 1f64.exp()).ln();
    assert_close(
        "loss",
        numbers(loss)[0],
        want,
        Tolerance::units(DType::F32, 16.0),
    );
}

#[test]
fn embeddings_of_half_precision_get_gradients_of_their_own_dtype() {
    for dtype in [DType::F16, DType::BF16] {
        if !supports(dtype) {
            continue;
        }
        let device = device().autodiff();
        let embeddings = || float_matrix(&[vec![0.5, 1.0], vec![-1.0, 0.25]], &device, dtype);
        let (queries, documents) = (embeddings().require_grad(), embeddings().require_grad());
        let targets = Batch::new(&[(&[0.0; 2], &[0]), (&[0.0; 2], &[1])]).targets(&device);
        let loss =
            Criterion::from(&DEFAULTS[0]).embeddings(queries.clone(), documents.clone(), targets);
        let gradients = loss.backward();
        for leaf in [queries, documents] {
            assert_eq!(leaf.grad(&gradients).expect("a gradient").dtype(), dtype);
        }
    }
}
