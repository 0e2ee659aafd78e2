//! The composed statistics against the form that the device takes, where it is another
//! one.

use crate::{
    batch::{Batch, float_matrix, gradient_of, numbers},
    close::{Tolerance, assert_all_close, assert_close},
    device::{autodiff_devices, precisions, rounding},
    oracle::{Loss, Objective, Query},
};
use burn::tensor::{DType, Device, Tensor};
use burn_multi_positive::{
    Targets,
    statistics::{Curve, Product, Request, Statistic, Statistics},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

pub const ALL: [Statistic; 9] = [
    Statistic::Negatives,
    Statistic::PositiveMean,
    Statistic::UnweightedPositives,
    Statistic::PositiveExcess,
    Statistic::PositiveLosses,
    Statistic::WeakestPositive,
    Statistic::StrongestPositive,
    Statistic::HardestNegative,
    Statistic::BinaryLosses,
];

type Form = fn(Tensor<2>, &Targets, Request) -> Statistics;

/// Statistics and counts of every query, and the gradient of their sum with the weights
/// 1, 2, ..
fn run(
    form: Form,
    batch: &Batch,
    request: Request,
    device: &Device,
    dtype: DType,
) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let scores = batch.scores(device, dtype).require_grad();
    let statistics = form(scores.clone(), &batch.targets(device), request);
    let columns = ALL.map(|statistic| statistics.get(statistic));
    let mut values = vec![
        numbers(statistics.positive_counts()),
        numbers(statistics.negative_counts()),
    ];
    values.extend(columns.iter().cloned().map(numbers));
    let weighted = columns
        .into_iter()
        .zip(1..)
        .map(|(column, weight)| column * weight);
    let sum = weighted.reduce(|sum, column| sum + column).expect("nine");
    (values, gradient_of(&sum.sum(), &scores))
}

/// Sixteen queries over 1 to 70 documents at one scale, some of them without positives or
/// negatives.
fn batch(documents: usize, scale: f64, seed: u64) -> Batch {
    let mut rng = StdRng::seed_from_u64(seed);
    let query = |q: usize| {
        let mut score = || scale * f64::from(rng.random_range(-1.0..1.0f32));
        let scores: Vec<f64> = (0..documents).map(|_| score()).collect();
        let mut query = Query::new(&scores, &[]);
        for d in 0..documents {
            query.scores[d] = f64::from(query.scores[d] as f32);
            query.positives[d] = rng.random_bool([0.0, 0.1, 0.5, 1.0][q % 4]);
            query.candidates[d] = rng.random_bool([1.0, 0.8][q / 4 % 2]);
        }
        query
    };
    Batch((0..16).map(query).collect())
}

#[test]
fn both_forms_have_the_same_values_and_gradients() {
    let objective = Objective::new(Loss::JointLh);
    for (documents, seed) in [1, 2, 7, 8, 9, 16, 31, 64, 70].into_iter().zip(0..) {
        for (scale, temperature) in [
            (1e-3, 1.0),
            (1.0, 0.05),
            (30.0, 1.0),
            (1e4, 2.0),
            (1e37, 1.0),
        ] {
            let batch = batch(documents, scale, seed);
            for device in autodiff_devices() {
                for dtype in precisions() {
                    let request = Request::new(temperature, &ALL);
                    let form = |form: Form| run(form, &batch, request, &device, dtype);
                    let (values, gradient) = form(Statistics::new);
                    let (composed, composed_gradient) = form(Statistics::composed);
                    let what = format!("{documents} documents, scale {scale:e}, {dtype:?}");
                    for (column, (got, want)) in values.iter().zip(&composed).enumerate() {
                        let tolerance = Tolerance::units(dtype, 64.0);
                        // a logarithm of a sum near 1 has the absolute error of the sum
                        let tolerance = tolerance.absolute(8.0 * rounding(dtype));
                        let what = format!("{what}, statistic {column}");
                        assert_all_close(what, got, want, tolerance);
                    }
                    for (q, query) in batch.0.iter().enumerate() {
                        let objective = objective.temperature(temperature);
                        // the weights sum to 45
                        let tolerance = Tolerance::gradient(query, &objective, 45.0, dtype);
                        let what = format!("{what}, gradient {q}");
                        assert_all_close(what, &gradient[q], &composed_gradient[q], tolerance);
                    }
                }
            }
        }
    }
}

/// A NaN reaches the statistics of its set; a document without weight, or of an inactive
/// query, reaches nothing. What infinities do otherwise is the contract's matter: limit
/// or NaN.
#[test]
fn both_forms_treat_nan_and_infinities_alike() {
    for special in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for document in 0..9 {
            let mut batch = batch(9, 1.0, 3);
            batch
                .0
                .iter_mut()
                .for_each(|query| query.scores[document] = special);
            let device = &autodiff_devices()[0];
            let request = Request::new(1.0, &ALL);
            let form = |form: Form| run(form, &batch, request, device, DType::F32).0;
            let (values, composed) = (form(Statistics::new), form(Statistics::composed));
            for (q, query) in batch.0.iter().enumerate() {
                let positive = query.positives[document];
                let read = query.active() && query.candidates[document];
                let weightless = special == f64::NEG_INFINITY && !positive;
                for (column, statistic) in ALL.into_iter().enumerate() {
                    let (got, want) = (values[column + 2][q], composed[column + 2][q]);
                    let what = format!("{special} at {document}, {statistic:?} of query {q}");
                    let of_negatives =
                        matches!(statistic, Statistic::Negatives | Statistic::HardestNegative);
                    let of_both = statistic == Statistic::BinaryLosses;
                    if !read || weightless {
                        let tolerance = Tolerance::units(DType::F32, 64.0).absolute(1e-6);
                        assert!(want.is_finite(), "{what}: composed {want}");
                        assert_close(what, got, want, tolerance);
                    } else if special.is_nan() && (of_both || of_negatives != positive) {
                        assert!(
                            got.is_nan() && want.is_nan(),
                            "{what}: {got}, composed {want}"
                        );
                    } else if !got.is_nan() && !want.is_nan() {
                        let tolerance = Tolerance::units(DType::F32, 64.0).absolute(1e-6);
                        assert_close(what, got, want, tolerance);
                    }
                }
            }
        }
    }
}

/// What was not asked for is not computed, and asking for less changes nothing else.
#[test]
fn one_statistic_alone_is_what_it_is_among_all() {
    let batch = batch(20, 1.0, 5);
    let device = &autodiff_devices()[0];
    for form in [Statistics::new as Form, Statistics::composed] {
        let all = run(form, &batch, Request::new(0.5, &ALL), device, DType::F32).0;
        for (column, statistic) in ALL.into_iter().enumerate() {
            let scores = batch.scores(device, DType::F32);
            let request = Request::new(0.5, &[statistic]);
            let alone = form(scores, &batch.targets(device), request);
            assert_eq!(
                numbers(alone.get(statistic)),
                all[column + 2],
                "{statistic:?}"
            );
            assert_eq!(numbers(alone.positive_counts()), all[0], "{statistic:?}");
        }
    }
}

/// Of what is ignored, and of a query without positives, a curve sees nothing.
#[test]
fn curves_have_the_same_values_and_gradients_in_both_forms() {
    let objective = Objective::new(Loss::JointLh);
    let own = Product {
        rate: -0.5,
        offset: 0.25,
        center: 3.0,
    };
    let curves = [
        Curve::circle(0.25),
        Curve::focal(0.5),
        Curve::new(own, Product { rate: 0.0, ..own }),
    ];
    for (documents, seed) in [1, 8, 31, 70].into_iter().zip(0..) {
        for special in [0.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut batch = batch(documents, 1.0, seed);
            for query in &mut batch.0 {
                let active = query.active();
                let scores = query.scores.iter_mut().zip(&query.candidates);
                for (score, _) in scores.filter(|(_, candidate)| !active || !**candidate) {
                    *score = special;
                }
            }
            for device in autodiff_devices() {
                for dtype in precisions() {
                    for curve in curves {
                        let request = Request::new(0.25, &ALL).with_bias(-1.5);
                        let request = request.with_curve(curve);
                        let form = |form: Form| run(form, &batch, request, &device, dtype);
                        let (values, gradient) = form(Statistics::new);
                        let (composed, composed_gradient) = form(Statistics::composed);
                        let what =
                            format!("{documents} documents, {special}, {curve:?}, {dtype:?}");
                        for (got, want) in values.iter().zip(&composed) {
                            let tolerance = Tolerance::units(dtype, 256.0);
                            let tolerance = tolerance.absolute(32.0 * rounding(dtype));
                            assert_all_close(&what, got, want, tolerance);
                        }
                        for (q, query) in batch.0.iter().enumerate() {
                            let objective = objective.temperature(0.25);
                            // slopes are at most 5
                            let tolerance = Tolerance::gradient(query, &objective, 225.0, dtype);
                            let what = format!("{what}, gradient {q}");
                            assert_all_close(&what, &gradient[q], &composed_gradient[q], tolerance);
                        }
                    }
                }
            }
        }
    }
}

/// By hand: P = {2, 0}, N = {1, -1}, reference 1.
#[test]
fn statistics_are_measured_from_the_hardest_negative() {
    let device = &autodiff_devices()[0];
    let scores = float_matrix(&[vec![2.0, 1.0, 0.0, -1.0]], device, DType::F32);
    let targets = Batch::new(&[(&[0.0; 4], &[0, 2])]).targets(device);
    let e = 1f64.exp();
    let positives = (e + 1.0 / e).ln();
    for form in [Statistics::new as Form, Statistics::composed] {
        let statistics = form(scores.clone(), &targets, Request::new(1.0, &ALL));
        let got: Vec<f64> = ALL
            .into_iter()
            .flat_map(|statistic| numbers(statistics.get(statistic)))
            .collect();
        let negatives = (1.0 + (-2f64).exp()).ln();
        let want = [
            negatives,
            positives - 2f64.ln(),
            positives,
            2.0 * positives,
            // softplus(negatives - 1) + softplus(negatives + 1)
            (negatives - 1.0).exp().ln_1p() + (negatives + 1.0).exp().ln_1p(),
            -1.0,
            1.0,
            0.0,
            // softplus(-2) + softplus(0) + softplus(1) + softplus(-1)
            [-2f64, 0.0, 1.0, -1.0]
                .map(|z| z.exp().ln_1p())
                .iter()
                .sum(),
        ];
        let tolerance = Tolerance::units(DType::F32, 16.0).absolute(1e-7);
        assert_all_close("statistics", &got, &want, tolerance);
        assert_eq!(numbers(statistics.positive_counts()), [2.0]);
        assert_eq!(numbers(statistics.negative_counts()), [2.0]);
    }
}
