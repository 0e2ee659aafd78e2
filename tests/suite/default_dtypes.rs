//! The device's default types are for tensors of the user's: they change no draw, no loss
//! and no target.
//!
//! They are set once for a process, before its first tensor: each configuration has a
//! process.

use crate::{
    batch::{Batch, Criterion, bools, float_matrix, gradient_of, matrix, numbers},
    cache, child,
    close::{Tolerance, assert_all_close, assert_close},
    composed,
    device::{autodiff_devices, device, turn_to_draw},
    oracle::{DEFAULTS, Loss, Objective, Query, objectives},
    spread_out,
};
use burn::tensor::{Bool, DType, FloatDType, Int, IntDType, Tensor, TensorData};
use burn_multi_positive::{
    self as multi_positive, Bidirectional, CircleLossConfig, Embeddings, FalseNegatives,
    FocalInfoNceLossConfig, Forward, JointLhLossConfig, LearnableBiasConfig, LsePairLossConfig,
    MemoryBank, Objective as _, PositiveThreshold, Rand1LhLossConfig, SigmoidLossConfig, Stored,
    Targets, statistics::Statistics,
};

const CONFIGURATIONS: [&str; 9] = [
    "f16", "bf16", "f64", "i8", "i16", "i64", "u8", "f16 i8", "bf16 i16",
];

/// Runs `check` in every configuration that the device has.
fn each_configuration(test: &str, check: fn()) {
    let test = format!("default_dtypes::{test}");
    child::in_processes(&test, &CONFIGURATIONS, None, |case| {
        let mut device = device();
        let defaults = device.settings();
        let (mut float, mut int) = (defaults.float_dtype, defaults.int_dtype);
        for name in case.split(' ') {
            match name {
                "f16" => float = FloatDType::F16,
                "bf16" => float = FloatDType::BF16,
                "f64" => float = FloatDType::F64,
                "i8" => int = IntDType::I8,
                "i16" => int = IntDType::I16,
                "i64" => int = IntDType::I64,
                "u8" => int = IntDType::U8,
                name => panic!("no configuration {name}"),
            }
        }
        let dtypes: [DType; 2] = [float.into(), int.into()];
        if !dtypes.iter().all(|dtype| device.supports_dtype(*dtype)) {
            eprintln!("skipped: {device:?} does not compute in {case}");
            return;
        }
        device.configure((float, int)).expect("no tensor yet");
        // A device with autodiff may have settings of its own.
        let mut autodiff = device.clone().autodiff();
        let _ = autodiff.configure((float, int));
        for device in [device, autodiff] {
            let settings = device.settings();
            assert_eq!((settings.float_dtype, settings.int_dtype), (float, int));
        }
        check();
    });
}

/// Every query has the positives 0, 1, .. with the scores -1, -2, .. and one negative of
/// score 0 behind them.
fn steps(queries: usize, positives: usize) -> (Tensor<2>, Targets) {
    let row: Vec<f32> = (1..=positives).map(|step| -(step as f32)).collect();
    let row = [row, vec![0.0]].concat();
    let shape = [queries, row.len()];
    let relevant: Vec<bool> = row.iter().map(|&score| score < 0.0).collect();
    let scores = TensorData::new(row.repeat(queries), shape);
    let relevant = TensorData::new(relevant.repeat(queries), shape);
    (
        Tensor::from_data(scores, (&device(), DType::F32)),
        Targets::new(Tensor::<2, Bool>::from_data(relevant, &device())),
    )
}

/// How often each positive was drawn: the loss of a draw is log(1 + e^step), which rounds
/// to the step.
fn counts(losses: Vec<f64>, positives: usize) -> Vec<usize> {
    let mut counts = vec![0; positives];
    for loss in losses {
        assert!(
            loss.round() >= 1.0 && loss.round() <= positives as f64,
            "{loss} is the loss of no positive"
        );
        counts[loss.round() as usize - 1] += 1;
    }
    counts
}

#[test]
fn each_of_few_positives_is_drawn_as_often() {
    each_configuration("each_of_few_positives_is_drawn_as_often", || {
        // 6 degrees of freedom
        assert_uniform(2000, 7, 40.0);
    });
}

#[test]
fn each_of_many_positives_is_drawn_as_often() {
    each_configuration("each_of_many_positives_is_drawn_as_often", || {
        // 299 degrees of freedom, a standard deviation of 24.5
        assert_uniform(6000, 300, 299.0 + 7.0 * 24.5);
    });
}

/// Of the draws of the form that the device takes and of the composed one.
fn assert_uniform(queries: usize, positives: usize, bound: f64) {
    let criterion = Criterion::Rand1Lh(Rand1LhLossConfig::new().init());
    let (scores, targets) = steps(queries, positives);
    device().seed(21);
    for (form, losses) in [
        ("forward", criterion.rows(scores.clone(), targets.clone())),
        ("composed", composed::rows(&criterion, scores, targets)),
    ] {
        let counts = counts(numbers(losses), positives);
        let expected = queries as f64 / positives as f64;
        let chi_square: f64 = counts
            .iter()
            .map(|&count| (count as f64 - expected).powi(2) / expected)
            .sum();
        assert!(
            chi_square < bound,
            "{form}: chi-square {chi_square}, {counts:?}"
        );
    }
}

/// Scores below 1 in a fixed disorder.
fn disorder(count: usize) -> Vec<f64> {
    let score = |d: usize| f64::from(((d * 37 % 101) as f32 - 50.0) / 51.0);
    (0..count).map(score).collect()
}

/// 600 documents, of which every other one is a positive: more than I8 counts, or BF16
/// without gaps.
fn wide() -> Batch {
    let scores = disorder(600);
    let positives: Vec<usize> = (1..600).step_by(2).collect();
    let mut query = Query::new(&scores, &positives);
    query.candidates[5] = false;
    query.candidates[8] = false;
    Batch(vec![query])
}

fn small() -> Batch {
    let mut batch = Batch::new(&[
        (&[0.5, -1.25, 2.0, 0.25, 1.0], &[0, 2]),
        (&[1.5, 0.75, -0.5, -2.0, 0.125], &[1, 3, 4]),
        (&[-0.25, 3.0, 1.75, 0.625, -1.0], &[4]),
        (&[-0.25, 3.0, 1.75, 0.625, -1.0], &[]),
        (&[1.0, -0.5, 0.25, 2.0, 0.0], &[0, 1, 2, 3, 4]),
    ])
    .ignoring(0, 1)
    .ignoring(1, 3);
    // Not read, and a column that every type holds.
    batch.0[3].chosen = Some(0);
    batch
}

#[test]
fn losses_and_gradients_are_those_of_the_formulas() {
    each_configuration("losses_and_gradients_are_those_of_the_formulas", || {
        for objective in objectives() {
            for batch in [small(), wide()] {
                for device in autodiff_devices() {
                    let outcome = batch.run(&objective, &device, DType::F32);
                    for (q, query) in batch.0.iter().enumerate() {
                        let what = format!("{objective:?}, {} documents", query.scores.len());
                        assert_query(&what, &objective, query, outcome.rows[q]);
                        let upstream = 1.0 / batch.active();
                        let want = query.gradient(&objective);
                        let want: Vec<f64> = want.iter().map(|slope| slope * upstream).collect();
                        let tolerance =
                            Tolerance::gradient(query, &objective, upstream, DType::F32);
                        let tolerance = tolerance.absolute(tolerance.absolute.max(1e-7));
                        assert_all_close(what, &outcome.gradient[q], &want, tolerance);
                    }
                }
            }
        }
    });
}

#[track_caller]
fn assert_query(what: &str, objective: &Objective, query: &Query, loss: f64) {
    let want = query.loss(objective);
    let mut tolerance = Tolerance::loss(query, objective, want, DType::F32);
    // Sums over hundreds of documents.
    tolerance.relative *= 4.0;
    assert_close(what, loss, want, tolerance);
}

#[test]
fn composed_losses_and_gradients_are_those_of_the_formulas() {
    each_configuration(
        "composed_losses_and_gradients_are_those_of_the_formulas",
        || {
            let deterministic = |objective: &Objective| objective.loss != Loss::Rand1Lh;
            for objective in objectives().into_iter().filter(deterministic) {
                for batch in [small(), wide()] {
                    let device = device().autodiff();
                    let scores = batch.scores(&device, DType::F32).require_grad();
                    let criterion = Criterion::from(&objective);
                    let rows = composed::rows(&criterion, scores.clone(), batch.targets(&device));
                    let gradient = gradient_of(&rows.clone().sum(), &scores);
                    let rows = numbers(rows);
                    for (q, query) in batch.0.iter().enumerate() {
                        let what = format!("{objective:?}, {} documents", query.scores.len());
                        assert_query(&what, &objective, query, rows[q]);
                        let tolerance = Tolerance::units(DType::F32, 256.0).absolute(1e-4);
                        let want = query.gradient(&objective);
                        assert_all_close(what, &gradient[q], &want, tolerance);
                    }
                }
            }
        },
    );
}

#[test]
fn losses_from_embeddings_are_those_of_the_formulas() {
    each_configuration("losses_from_embeddings_are_those_of_the_formulas", || {
        let deterministic = |objective: &Objective| objective.loss != Loss::Rand1Lh;
        for objective in objectives().into_iter().filter(deterministic) {
            let batch = wide();
            let query = &batch.0[0];
            let queries = float_matrix(&[vec![1.0]], &device(), DType::F32);
            let documents: Vec<Vec<f64>> = query.scores.iter().map(|&score| vec![score]).collect();
            let documents = float_matrix(&documents, &device(), DType::F32);
            let criterion = Criterion::from(&objective);
            let loss = criterion.embeddings(queries, documents, batch.targets(&device()));
            assert_eq!(loss.dtype(), DType::F32);
            assert_query(
                &format!("{objective:?}"),
                &objective,
                query,
                numbers(loss)[0],
            );
        }
    });
}

#[test]
fn a_chosen_column_may_lie_beyond_the_default_type() {
    each_configuration("a_chosen_column_may_lie_beyond_the_default_type", || {
        let batch = wide();
        let objective = Objective::new(Loss::Rand1Lh);
        let loss = Rand1LhLossConfig::new().init();
        for column in [1, 127, 255, 301, 599] {
            let chosen = TensorData::from([column]);
            let chosen = Tensor::<1, Int>::from_data(chosen, (&device(), DType::I32));
            let scores = batch.scores(&device(), DType::F32);
            let got = loss.forward_chosen(scores, batch.targets(&device()), chosen);
            let query = Query {
                chosen: Some(column as usize),
                ..batch.0[0].clone()
            };
            assert_query(
                &format!("column {column}"),
                &objective,
                &query,
                numbers(got)[0],
            );
        }
    });
}

#[test]
fn ids_labels_and_groups_have_the_same_positives() {
    each_configuration("ids_labels_and_groups_have_the_same_positives", || {
        let (queries, documents) = (3usize, 600usize);
        let label = |d: usize| (d % queries) as i32 * 50_000;
        let of_queries: Vec<i32> = (0..queries).map(label).collect();
        let of_documents: Vec<i32> = (0..documents).map(label).collect();
        let want: Vec<Vec<bool>> = of_queries
            .iter()
            .map(|query| of_documents.iter().map(|label| label == query).collect())
            .collect();
        let transposed: Vec<Vec<bool>> = (0..documents)
            .map(|d| want.iter().map(|row| row[d]).collect())
            .collect();

        let relevant: Vec<Vec<i32>> = of_queries.iter().map(|&label| vec![label]).collect();
        let ids = Targets::from_ids(&relevant, &of_documents, &device()).unwrap();
        let labels = |labels: &[i32]| {
            Tensor::<1, Int>::from_data(TensorData::from(labels), (&device(), DType::I32))
        };
        let labels = Targets::from_labels(labels(&of_queries), labels(&of_documents));
        for (what, targets) in [("ids", ids), ("labels", labels)] {
            assert_eq!(bools(targets.positives()), want, "{what}");
            let targets = targets.transpose();
            assert_eq!(bools(targets.positives()), transposed, "{what}, transposed");
        }

        let groups = Targets::from_groups(&[150, 0, 200], 200, &device()).unwrap();
        let in_group = |q: usize, d: usize| d / 200 == q && d % 200 < [150, 0, 200][q];
        let want: Vec<Vec<bool>> = (0..3)
            .map(|q| (0..600).map(|d| in_group(q, d)).collect())
            .collect();
        assert_eq!(bools(groups.positives()), want, "groups");
    });
}

#[test]
fn a_bank_keeps_what_it_was_given() {
    each_configuration("a_bank_keeps_what_it_was_given", || {
        let rows: Vec<Vec<f64>> = disorder(300).into_iter().map(|x| vec![x, 1.0]).collect();
        let documents = |range: std::ops::Range<usize>| {
            float_matrix(&rows[range.clone()], &device(), DType::F32)
        };
        let ids: Vec<usize> = (0..300).collect();
        let mut bank = MemoryBank::new(290).unwrap();
        bank.push(documents(10..300), &ids[10..]).unwrap();
        let relevant = [vec![3, 290], vec![10]];
        let (candidates, targets) = bank
            .candidates(documents(0..10), &ids[..10], &relevant, Stored::Positive)
            .unwrap();
        assert_eq!(candidates.dtype(), DType::F32);
        assert_eq!(matrix(candidates), matrix(documents(0..300)));
        for (q, row) in bools(targets.positives()).into_iter().enumerate() {
            let positives: Vec<usize> = (0..300).filter(|&d| row[d]).collect();
            assert_eq!(positives, relevant[q]);
        }
    });
}

#[test]
fn curves_a_bias_and_teachers_of_groups() {
    each_configuration("curves_a_bias_and_teachers_of_groups", || {
        let device = device();
        let rows = |count: usize, step: f64| {
            let values: Vec<f64> = (0..count * 2).map(|i| (i as f64 * step).sin()).collect();
            Tensor::<2>::from_data(TensorData::new(values, [count, 2]), (&device, DType::F32))
        };
        let both = || Embeddings::new(rows(3, 0.71), rows(300, 1.37)).with_tile([2, 64]);
        let teacher = vec![vec![0.5, 2.0, -1.0]; 3];
        let targets = Targets::from_teacher_groups(&teacher, 100, 0.5, &device).unwrap();
        let losses: [Box<dyn multi_positive::Objective>; 4] = [
            Box::new(CircleLossConfig::new().with_gamma(4.0).init()),
            Box::new(FocalInfoNceLossConfig::new().with_temperature(0.5).init()),
            Box::new(SigmoidLossConfig::new().with_bias(-1.5).init()),
            Box::new(JointLhLossConfig::new().init()),
        ];
        for loss in losses {
            let tiled = numbers(loss.forward_no_reduction(both(), targets.clone()));
            let product = rows(3, 0.71).matmul(rows(300, 1.37).transpose());
            let request = loss.request();
            let composed = Statistics::composed(product.clone(), &targets, request);
            let dense = numbers(loss.forward_no_reduction(product, targets.clone()));
            let composed = numbers(loss.losses(&composed));
            for (query, want) in composed.into_iter().enumerate() {
                for got in [tiled[query], dense[query]] {
                    assert!((got - want).abs() < 1e-4 * want.abs(), "{got}, {want}");
                }
            }
        }
        // -1.5 of the temperature 0.5.
        let bias = LearnableBiasConfig::new().with_initial(-0.75).init(&device);
        let sigmoid = |bias: f64| {
            let loss = SigmoidLossConfig::new().with_temperature(0.5);
            loss.with_bias(bias).init()
        };
        let learned = sigmoid(0.0).forward_no_reduction(bias.apply(both()), targets.clone());
        let given = sigmoid(-1.5).forward_no_reduction(both(), targets);
        for (got, want) in numbers(learned).into_iter().zip(numbers(given)) {
            assert!((got - want).abs() < 1e-4 * want, "{got}, {want}");
        }
    });
}

#[test]
fn the_same_side_of_a_mask_is_that_of_ids() {
    each_configuration("the_same_side_of_a_mask_is_that_of_ids", || {
        // More than a short integer counts.
        let count = 300;
        let device = device();
        let rows = |step: f64| {
            let values: Vec<f64> = (0..count).map(|i| (i as f64 * step).sin()).collect();
            Tensor::<2>::from_data(TensorData::new(values, [count, 1]), (&device, DType::F32))
        };
        let relevant: Vec<Vec<usize>> = (0..count).map(|query| vec![query]).collect();
        let ids: Vec<usize> = (0..count).collect();
        let by_ids = Targets::from_ids(&relevant, &ids, &device).unwrap();
        let by_mask = Targets::new(by_ids.positives());
        let loss = Bidirectional::new(LsePairLossConfig::new().init()).with_same_side(true);
        let run = |targets: Targets| {
            let both = Embeddings::new(rows(0.71), rows(1.37));
            let rule = FalseNegatives::new(PositiveThreshold::Weakest).with_margin(0.9);
            let targets = targets.without_false_negatives(both.clone(), rule);
            numbers(loss.forward_no_reduction(both, targets))
        };
        for (mask, ids) in run(by_mask).iter().zip(run(by_ids)) {
            assert!((mask - ids).abs() < 1e-4 * ids, "mask {mask}, ids {ids}");
        }
    });
}

#[test]
fn a_gradient_cache_and_the_regularizer() {
    each_configuration("a_gradient_cache_and_the_regularizer", || {
        let _turn = turn_to_draw();
        for device in autodiff_devices() {
            for objective in DEFAULTS {
                cache::check(&objective, &device, DType::F32, [3, 4], false);
            }
            spread_out::check(&device, DType::F32);
        }
    });
}
