//! Losses that people compare with, against their definitions in f64 and the slopes of these.

use crate::{
    batch::{gradient_of, matrix, numbers},
    device::{autodiff_devices, device, precisions, rounding},
};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_multi_positive::{
    CircleLossConfig, DclLossConfig, Embeddings, FocalInfoNceLossConfig, JointLhLossConfig,
    LsePairLossConfig, MarginMseLoss, MarginRankingLossConfig, MultiSimilarityLossConfig,
    Objective, SigmoidLossConfig, Targets,
};

/// A loss of the positives and the negatives of a query, (score, weight) each.
type Definition = fn(&[(f64, f64)], &[(f64, f64)]) -> f64;

fn sum_exp(pairs: &[(f64, f64)], factor: f64, base: f64) -> f64 {
    let terms = pairs.iter().map(|(s, w)| w * (factor * (s - base)).exp());
    terms.sum()
}

fn cases() -> Vec<(&'static str, Box<dyn Objective>, Definition)> {
    vec![
        (
            "dcl",
            Box::new(DclLossConfig::new().with_temperature(0.25).init()),
            |positives, negatives| {
                let weight: f64 = positives.iter().map(|(_, w)| w).sum();
                let mean = positives.iter().map(|(s, w)| s * w).sum::<f64>() / weight;
                match negatives.is_empty() {
                    true => 0.0,
                    false => sum_exp(negatives, 4.0, 0.0).ln() - mean * 4.0,
                }
            },
        ),
        (
            "hard dcl",
            Box::new(DclLossConfig::new().with_hardness(2.0).init()),
            |positives, negatives| {
                let weight: f64 = positives.iter().map(|(_, w)| w).sum();
                let mean = positives.iter().map(|(s, w)| s * w).sum::<f64>() / weight;
                match negatives.is_empty() {
                    true => 0.0,
                    // Values only: the weight is a constant.
                    false => sum_exp(negatives, 3.0, 0.0).ln() - mean,
                }
            },
        ),
        (
            "margin ranking",
            Box::new(MarginRankingLossConfig::new().with_margin(0.3).init()),
            |positives, negatives| {
                let weakest = positives.iter().map(|(s, _)| *s).fold(f64::MAX, f64::min);
                let hardest = negatives.iter().map(|(s, _)| *s).fold(f64::MIN, f64::max);
                (hardest - weakest + 0.3).max(0.0)
            },
        ),
        (
            "multi-similarity",
            Box::new(MultiSimilarityLossConfig::new().init()),
            |positives, negatives| {
                (1.0 + sum_exp(positives, -2.0, 1.0)).ln() / 2.0
                    + (1.0 + sum_exp(negatives, 50.0, 1.0)).ln() / 50.0
            },
        ),
        (
            "multi-similarity of others",
            Box::new(
                MultiSimilarityLossConfig::new()
                    .with_alpha(3.0)
                    .with_beta(5.0)
                    .with_base(0.2)
                    .init(),
            ),
            |positives, negatives| {
                (1.0 + sum_exp(positives, -3.0, 0.2)).ln() / 3.0
                    + (1.0 + sum_exp(negatives, 5.0, 0.2)).ln() / 5.0
            },
        ),
        (
            "circle",
            Box::new(CircleLossConfig::new().with_gamma(8.0).init()),
            |positives, negatives| {
                let of = |pairs: &[(f64, f64)], sign: f64, center: f64, away: f64| -> f64 {
                    let term = |(s, w): &(f64, f64)| {
                        let pace = (away + sign * s).max(0.0);
                        w * (8.0 * sign * pace * (s - center)).exp()
                    };
                    pairs.iter().map(term).sum()
                };
                (1.0 + of(positives, -1.0, 0.6, 1.4) * of(negatives, 1.0, 0.4, 0.4)).ln()
            },
        ),
        (
            "focal",
            Box::new(FocalInfoNceLossConfig::new().init()),
            |positives, negatives| {
                let weight: f64 = positives.iter().map(|(_, w)| w).sum();
                let terms = negatives
                    .iter()
                    .map(|(s, w)| w * (20.0 * s * (s + 0.3)).exp());
                let sum: f64 = terms.sum();
                let losses = positives
                    .iter()
                    .map(|(s, w)| w * (1.0 + sum / (20.0 * s * s).exp()).ln());
                losses.sum::<f64>() / weight
            },
        ),
        (
            "sigmoid",
            Box::new(
                SigmoidLossConfig::new()
                    .with_temperature(0.5)
                    .with_bias(-1.0)
                    .init(),
            ),
            |positives, negatives| {
                let of = |pairs: &[(f64, f64)], sign: f64| -> f64 {
                    let losses = pairs
                        .iter()
                        .map(|(s, w)| w * (sign * (2.0 * s - 1.0)).exp().ln_1p());
                    losses.sum()
                };
                of(positives, -1.0) + of(negatives, 1.0)
            },
        ),
    ]
}

/// Scores, who is positive, and weights. The third query has no positive, the fourth no negative.
const SCORES: [[f64; 4]; 5] = [
    [0.75, 0.5, -0.25, 0.625],
    [0.125, 0.25, 0.875, -0.5],
    [0.5, 0.25, 0.125, 0.0],
    [0.5, 0.75, 0.25, 0.375],
    [-0.5, 0.25, 0.5, -0.125],
];
const POSITIVES: [[bool; 4]; 5] = [
    [true, true, false, false],
    [false, false, true, false],
    [false; 4],
    [true; 4],
    [true, false, true, true],
];

fn weights(weighted: bool) -> Vec<f64> {
    let weight = |i: usize| match weighted {
        true => [1.0, 0.5, 2.0, 0.0, 1.5][i % 5],
        false => 1.0,
    };
    (0..20).map(weight).collect()
}

fn targets(device: &Device, weighted: bool) -> Targets {
    let positives = TensorData::new(POSITIVES.concat(), [5, 4]);
    let targets = Targets::new(Tensor::from_data(positives, device));
    match weighted {
        true => {
            let weights = TensorData::new(weights(true), [5, 4]);
            targets.with_weights(Tensor::from_data(weights, (device, DType::F32)))
        }
        false => targets,
    }
}

fn expected(definition: Definition, scores: &[f64], weights: &[f64], query: usize) -> f64 {
    let members = |positive: bool| -> Vec<(f64, f64)> {
        let columns = (0..4).filter(|&d| POSITIVES[query][d] == positive);
        let pairs = columns.map(|d| (scores[4 * query + d], weights[4 * query + d]));
        pairs.filter(|(_, weight)| *weight > 0.0).collect()
    };
    match members(true) {
        positives if positives.is_empty() => 0.0,
        positives => definition(&positives, &members(false)),
    }
}

#[test]
fn losses_and_slopes_are_those_of_the_definitions() {
    for device in &autodiff_devices() {
        for dtype in precisions() {
            for weighted in [false, true] {
                let weights = weights(weighted);
                for (name, loss, definition) in cases() {
                    let what = format!("{name}, {dtype:?}, {weighted}");
                    let data = TensorData::new(SCORES.concat(), [5, 4]);
                    let scores = Tensor::<2>::from_data(data, (device, dtype)).require_grad();
                    let rows = loss.forward_no_reduction(scores.clone(), targets(device, weighted));
                    let gradient = gradient_of(&rows.clone().sum(), &scores);
                    let error = 500.0 * rounding(dtype);
                    for (query, got) in numbers(rows).into_iter().enumerate() {
                        let at = |scores: &[f64]| expected(definition, scores, &weights, query);
                        let want = at(&SCORES.concat());
                        assert!(
                            (got - want).abs() <= error * (1.0 + want.abs()),
                            "{what}, query {query}: got {got}, expected {want}"
                        );
                        // Slopes of constants are none of theirs.
                        let has_constants = ["hard dcl", "circle"].contains(&name);
                        for document in (0..4).filter(|_| !has_constants) {
                            let moved = |by: f64| {
                                let mut scores = SCORES.concat();
                                scores[4 * query + document] += by;
                                at(&scores)
                            };
                            let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                            let got = gradient[query][document];
                            assert!(
                                (got - slope).abs() <= (error + 1e-7) * (1.0 + slope.abs()),
                                "{what}, {query}, {document}: got {got}, expected {slope}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn embeddings_give_what_their_products_give() {
    let device = &autodiff_devices()[0];
    let rows = |rows: usize, step: f64| {
        let values: Vec<f64> = (0..rows * 3)
            .map(|i| (i as f64 * step).sin() * 0.5)
            .collect();
        let data = TensorData::new(values, [rows, 3]);
        Tensor::<2>::from_data(data, (device, DType::F32)).require_grad()
    };
    let (queries, documents) = (rows(5, 0.7), rows(4, 1.3));
    for (name, loss, _) in cases() {
        for weighted in [false, true] {
            let both = Embeddings::new(queries.clone(), documents.clone()).with_tile([2, 3]);
            let tiled = loss.forward(both, targets(device, weighted));
            let product = queries.clone().matmul(documents.clone().transpose());
            let dense = loss.forward(product, targets(device, weighted));
            let [tiled, dense] = [tiled, dense].map(|loss| {
                let value = numbers(loss.clone());
                let gradients = loss.backward();
                let of = |x: &Tensor<2>| matrix(x.grad(&gradients).unwrap()).concat();
                [value, of(&queries), of(&documents)].concat()
            });
            for (tiled, dense) in tiled.iter().zip(&dense) {
                assert!((tiled - dense).abs() < 1e-4 * (1.0 + dense.abs()), "{name}");
            }
        }
    }
}

#[test]
fn what_is_not_a_number_is_seen_and_what_is_ignored_is_not() {
    let device = device();
    let nan = f32::NAN;
    for (name, loss, _) in cases() {
        let run = |scores: [f32; 3], positives: [bool; 3], candidates: [bool; 3]| {
            let scores = Tensor::<2>::from_floats([scores], &device);
            let targets = Targets::new(Tensor::from_bool([positives], &device));
            let targets = targets.with_candidates(Tensor::from_bool([candidates], &device));
            numbers(loss.forward_no_reduction(scores, targets))[0]
        };
        let (one, all) = ([true, false, false], [true; 3]);
        assert!(run([nan, 0.0, 0.5], one, all).is_nan(), "{name}");
        assert!(run([0.5, nan, 0.5], one, all).is_nan(), "{name}");
        assert_eq!(run([nan; 3], [false; 3], all), 0.0, "{name}");
        let ignored = run([0.5, nan, 0.25], one, [true, false, true]);
        assert!(ignored.is_finite(), "{name}");
        let absent = run([0.5, -f32::INFINITY, 0.25], one, all);
        assert!(
            (ignored - absent).abs() < 1e-6,
            "{name}: {ignored}, {absent}"
        );
    }
}

#[test]
fn columns_are_one_positive_a_query() {
    let device = device();
    let scores = || Tensor::<2>::from_floats([[2.0, 1.0, 0.5], [0.0, 1.0, 3.0]], &device);
    let loss = LsePairLossConfig::new().init();
    let columns = |columns: [i32; 2]| Tensor::<1, Int>::from_ints(columns, &device);
    let got = loss.forward_no_reduction(scores(), Targets::from_columns(columns([0, 2]), 3));
    let mask = Tensor::from_bool([[true, false, false], [false, false, true]], &device);
    let want = loss.forward_no_reduction(scores(), mask);
    assert_eq!(numbers(got), numbers(want));
    let none = loss.forward_no_reduction(scores(), Targets::from_columns(columns([-1, 3]), 3));
    assert_eq!(numbers(none), [0.0, 0.0]);
}

/// Cross-entropy with the teacher's likelihoods, and `softmax(s) - softmax(t)` as its gradient.
#[test]
fn a_teacher_is_listwise_distillation() {
    let (student, of_teacher) = (0.5, 2.0);
    let infinity = f64::INFINITY;
    let teacher = [
        [4.0, 1.0, -3.0, 0.5],
        // The third document was not scored; the second is hopeless, and a candidate all the same.
        [2.0, -900.0, -infinity, 1.0],
        [0.0; 4],
        [-infinity; 4],
        [3e38, -3e38, 1.0, 2.0],
    ];
    let loss = JointLhLossConfig::new()
        .with_temperature(student)
        .with_normalize_by_positives(true)
        .init();
    for device in &autodiff_devices() {
        for dtype in precisions() {
            let matrix = |rows: [[f64; 4]; 5]| {
                Tensor::<2>::from_data(TensorData::new(rows.concat(), [5, 4]), (device, dtype))
            };
            let scores = matrix(SCORES).require_grad();
            let targets = Targets::from_teacher(matrix(teacher), of_teacher);
            let rows = loss.forward_no_reduction(scores.clone(), targets);
            let gradient = gradient_of(&rows.clone().sum(), &scores);
            for (query, got) in numbers(rows).into_iter().enumerate() {
                let scored: Vec<usize> =
                    (0..4).filter(|&d| teacher[query][d] > -infinity).collect();
                let softmax = |scores: [f64; 4], temperature: f64| {
                    let max = scores.iter().fold(f64::MIN, |max, &s| f64::max(max, s));
                    let exp = |d: usize| ((scores[d] - max) / temperature).exp();
                    let sum: f64 = scored.iter().map(|&d| exp(d)).sum();
                    [0, 1, 2, 3].map(|d| match scored.contains(&d) {
                        true => exp(d) / sum,
                        false => 0.0,
                    })
                };
                let (p, t) = (
                    softmax(SCORES[query], student),
                    softmax(teacher[query], of_teacher),
                );
                let want: f64 = scored.iter().map(|&d| -t[d] * p[d].ln()).sum();
                let error = 100.0 * rounding(dtype);
                assert!(
                    (got - want).abs() <= error * (1.0 + want),
                    "{query}: {got}, {want}"
                );
                for d in 0..4 {
                    let (got, want) = (gradient[query][d], (p[d] - t[d]) / student);
                    assert!(
                        (got - want).abs() <= error * 10.0,
                        "{query}, {d}: {got}, {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_teacher_that_does_not_know_is_seen_and_candidates_are_among_themselves() {
    let device = device();
    let scores = || Tensor::<2>::from_floats([[0.5, 0.25, 0.0], [0.5, 0.25, 0.0]], &device);
    let loss = JointLhLossConfig::new()
        .with_normalize_by_positives(true)
        .init();
    let teacher = Tensor::<2>::from_floats([[1.0, f32::NAN, 0.0], [1.0, 0.0, 0.0]], &device);
    let rows = numbers(loss.forward_no_reduction(scores(), Targets::from_teacher(teacher, 1.0)));
    assert!(rows[0].is_nan() && rows[1].is_finite());
    // As if the ignored document had not been there.
    let teacher = Tensor::<2>::from_floats([[1.0, 0.0, 5.0], [1.0, 0.0, 5.0]], &device);
    let candidates = Tensor::from_bool([[true, true, false]; 2], &device);
    let some = Targets::from_teacher(teacher.clone(), 1.0).with_candidates(candidates);
    let got = numbers(loss.forward_no_reduction(scores(), some))[0];
    let two = Targets::from_teacher(teacher.narrow(1, 0, 2), 1.0);
    let want = numbers(loss.forward_no_reduction(scores().narrow(1, 0, 2), two))[0];
    assert!((got - want).abs() < 1e-6, "{got}, {want}");
}

/// What is in no group, and what was not scored, has likelihood 0 and competes.
#[test]
fn a_teacher_of_groups_is_a_teacher_with_negatives() {
    let infinity = f32::INFINITY;
    let groups = [vec![4.0, 1.0, -infinity], vec![2.0, 900.0], vec![]];
    for device in &autodiff_devices() {
        let scores = Tensor::<2>::from_floats(
            [
                [0.5, -0.25, 0.75, 0.0, 0.25, 1.0, -0.5, 0.125, 0.875],
                [0.25, 0.75, 0.5, 1.0, -1.0, 0.0, 0.625, 0.5, -0.5],
                [0.5; 9],
            ],
            device,
        );
        let targets = Targets::from_teacher_groups(&groups, 3, 2.0, device).unwrap();
        let loss = JointLhLossConfig::new()
            .with_temperature(0.5)
            .with_normalize_by_positives(true)
            .init();
        let got = numbers(loss.forward_no_reduction(scores.clone(), targets.clone()));
        let scores = matrix(scores);
        let cross_entropy = |query: usize, teacher: &[f32]| -> f64 {
            let of = |score: f32| f64::from(score / 2.0).exp();
            let all: f64 = teacher.iter().map(|score| of(*score)).sum();
            let scored = |d: usize| teacher.get(d - 3 * query) != Some(&-infinity);
            let columns = (0..9).filter(|&d| d / 3 != query || scored(d));
            let sum: f64 = columns.map(|d| (2.0 * scores[query][d]).exp()).sum();
            let terms = teacher.iter().enumerate().filter(|(_, t)| **t > -infinity);
            let terms =
                terms.map(|(i, t)| of(*t) / all * (sum.ln() - 2.0 * scores[query][3 * query + i]));
            terms.sum()
        };
        let want = [
            cross_entropy(0, &groups[0]),
            // The other is hopeless; in f64 its likelihood is all but 1.
            {
                let sum: f64 = scores[1].iter().map(|s| (2.0 * s).exp()).sum();
                sum.ln() - 2.0 * scores[1][4]
            },
            0.0,
        ];
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 1e-5, "{got}, {want}");
        }
    }
}

#[test]
fn scores_of_a_teacher_are_numbers() {
    let groups = [vec![1.0], vec![0.0, f32::NAN]];
    let error = Targets::from_teacher_groups(&groups, 2, 1.0, &device()).unwrap_err();
    let want = "teacher's score of entry 1 of query 1: expected a finite number, or -inf for a \
                document to ignore, got NaN";
    assert_eq!(error.to_string(), want);
    let groups = [vec![f32::INFINITY]];
    assert!(Targets::from_teacher_groups(&groups, 2, 1.0, &device()).is_err());
    let groups = [vec![-f32::INFINITY, 1.0]];
    assert!(Targets::from_teacher_groups(&groups, 2, 1.0, &device()).is_ok());
}

/// M3's self-distillation: each passage against those behind it, weighed by the teacher.
#[test]
fn distillation_of_m3_is_a_column_after_the_other_with_weights() {
    let device = &autodiff_devices()[0];
    let scores = [[0.5, 0.25, -0.25, 0.75], [0.0, 1.0, 0.5, -0.5]];
    let likelihoods = [[0.5, 0.25, 0.125, 0.125], [0.25, 0.5, 0.0, 0.25]];
    let loss = LsePairLossConfig::new().with_temperature(0.25).init();
    let losses = (0..4).map(|first| {
        let behind = Tensor::<1, Int>::arange(0..4, device).greater_equal_elem(first);
        let columns = Tensor::<1, Int>::from_ints([first, first], device);
        let targets = Targets::from_columns(columns, 4);
        let targets = targets.with_candidates(behind.unsqueeze::<2>().expand([2, 4]));
        let scores = Tensor::<2>::from_floats(scores, device);
        let weights = Tensor::<2>::from_floats(likelihoods, device);
        let weights: Tensor<1> = weights.narrow(1, first as usize, 1).squeeze_dim(1);
        loss.forward_no_reduction(scores, targets) * weights
    });
    let got = numbers(losses.reduce(Tensor::add).expect("some").mean())[0];
    let want = (0..2)
        .flat_map(|q| (0..4).map(move |i| (q, i)))
        .map(|(q, i)| {
            let sum: f64 = (i..4).map(|j| (4.0f64 * scores[q][j]).exp()).sum();
            likelihoods[q][i] * (sum.ln() - 4.0 * scores[q][i])
        });
    let want = want.sum::<f64>() / 2.0;
    assert!((got - want).abs() < 1e-5, "{got}, {want}");
}

/// The mean of squares over all pairs of a query, and its slopes.
#[test]
fn margin_mse_is_the_mean_over_all_pairs() {
    let teacher = [
        [1.5, 0.5, -1.0, 0.25],
        [0.0, 2.0, 1.0, -2.0],
        [1.0; 4],
        [0.5; 4],
        [-1.0, 0.5, 1.5, 3.0],
    ];
    for device in &autodiff_devices() {
        for dtype in precisions() {
            for weighted in [false, true] {
                let weights = weights(weighted);
                let pairs = |scores: &[f64], query: usize| {
                    let at = |d: usize| 4 * query + d;
                    let members =
                        |positive: bool| (0..4).filter(move |&d| POSITIVES[query][d] == positive);
                    let (mut sum, mut weight) = (0.0, 0.0);
                    for p in members(true) {
                        for n in members(false) {
                            let margin = scores[at(p)] - scores[at(n)];
                            let of_teacher = teacher[query][p] - teacher[query][n];
                            let w = weights[at(p)] * weights[at(n)];
                            sum += w * (margin - of_teacher).powi(2);
                            weight += w;
                        }
                    }
                    if weight == 0.0 { 0.0 } else { sum / weight }
                };
                let matrix = |rows: [[f64; 4]; 5]| {
                    Tensor::<2>::from_data(TensorData::new(rows.concat(), [5, 4]), (device, dtype))
                };
                let scores = matrix(SCORES).require_grad();
                let loss = MarginMseLoss::new();
                let run = || {
                    let targets = targets(device, weighted);
                    loss.forward_no_reduction(scores.clone(), matrix(teacher), targets)
                };
                let rows = numbers(run());
                let gradient = gradient_of(&run().sum(), &scores);
                let error = 200.0 * rounding(dtype);
                for query in 0..5 {
                    let want = pairs(&SCORES.concat(), query);
                    assert!(
                        (rows[query] - want).abs() <= error * (1.0 + want),
                        "{query}"
                    );
                    for d in 0..4 {
                        let moved = |by: f64| {
                            let mut scores = SCORES.concat();
                            scores[4 * query + d] += by;
                            pairs(&scores, query)
                        };
                        let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                        let got = gradient[query][d];
                        assert!((got - slope).abs() <= error * 10.0 + 1e-8, "{got}, {slope}");
                    }
                }
                // The third query has no positive, the fourth counts.
                let targets = targets(device, weighted);
                let mean = numbers(loss.forward(scores.clone(), matrix(teacher), targets))[0];
                let want = rows.iter().sum::<f64>() / 4.0;
                assert!(
                    (mean - want).abs() <= error * (1.0 + want),
                    "{mean}, {want}"
                );
            }
        }
    }
}

#[test]
fn margins_of_nobody_are_not_read_and_nan_is_seen() {
    let device = device();
    let nan = f32::NAN;
    let run = |scores: [f32; 3], teacher: [f32; 3], candidates: [bool; 3]| {
        let [scores, teacher] =
            [scores, teacher].map(|row| Tensor::<2>::from_floats([row], &device));
        let targets = Targets::new(Tensor::from_bool([[true, false, false]], &device));
        let targets = targets.with_candidates(Tensor::from_bool([candidates], &device));
        numbers(MarginMseLoss::new().forward_no_reduction(scores, teacher, targets))[0]
    };
    assert_eq!(
        run([2.0, 1.0, nan], [2.0, 0.0, nan], [true, true, false]),
        1.0
    );
    assert!(run([2.0, nan, 0.0], [2.0, 0.0, 0.0], [true; 3]).is_nan());
    assert!(run([2.0, 1.0, 0.0], [nan, 0.0, 0.0], [true; 3]).is_nan());
    assert_eq!(run([nan; 3], [nan; 3], [false, true, true]), 0.0);
    // A negative of minus infinity has no weight, as everywhere.
    let infinity = f32::INFINITY;
    assert_eq!(run([2.0, 1.0, -infinity], [2.0, 0.0, 0.0], [true; 3]), 1.0);
    // Without a negative: 0, unless it is NaN.
    assert_eq!(run([2.0, 1.0, 0.0], [0.0; 3], [true, false, false]), 0.0);
    assert!(run([nan, 1.0, 0.0], [0.0; 3], [true, false, false]).is_nan());
    // One positive of two.
    let scores = Tensor::<2>::from_floats([[1.0, 5.0, 0.0]], &device);
    let positives = Tensor::from_bool([[true, true, false]], &device);
    let chosen = Targets::new(positives).with_chosen(Tensor::from_ints([0], &device));
    let teacher = Tensor::<2>::zeros([1, 3], &device);
    let loss = MarginMseLoss::new().forward(scores, teacher, chosen);
    assert_eq!(numbers(loss), [1.0]);
}

/// As for every loss: scores of a query without a positive get the gradient 0, whatever they are,
/// a choice that is no positive and a weight that is none are NaN, and no query is no harm.
#[test]
fn margin_mse_keeps_the_contract_of_all_losses() {
    let device = &autodiff_devices()[0];
    let loss = MarginMseLoss::new();
    let teacher = || Tensor::<2>::zeros([2, 3], device);
    let rows = [[f32::NAN, f32::INFINITY, 1.0], [2.0, 1.0, 0.5]];
    let scores = Tensor::<2>::from_floats(rows, device).require_grad();
    let positives = || Tensor::from_bool([[false, false, false], [true, false, false]], device);
    let mean = loss.forward(scores.clone(), teacher(), positives());
    assert!((numbers(mean.clone())[0] - (1.0 + 2.25) / 2.0).abs() < 1e-6);
    let gradient = gradient_of(&mean, &scores);
    assert_eq!(gradient[0], [0.0; 3]);
    assert!(gradient[1].iter().all(|slope| slope.is_finite()));

    let rows = |targets: Targets| {
        let scores = Tensor::<2>::from_floats([[2.0, 1.0, 0.5]; 2], device);
        numbers(loss.forward_no_reduction(scores, teacher(), targets))
    };
    let chosen = Tensor::<1, Int>::from_ints([0, 2], device);
    let rows_of_choice = rows(Targets::new(positives()).with_chosen(chosen));
    assert_eq!(rows_of_choice[0], 0.0);
    assert!(rows_of_choice[1].is_nan());
    for weight in [-1.0, f32::NAN] {
        for column in [0, 1] {
            let mut weights = [[1.0; 3]; 2];
            weights[1][column] = weight;
            let weights = Tensor::<2>::from_floats(weights, device);
            let rows = rows(Targets::new(positives()).with_weights(weights));
            assert_eq!(rows[0], 0.0);
            assert!(rows[1].is_nan(), "{weight} at {column}");
        }
    }

    let nothing = Tensor::<2>::zeros([2, 0], device).require_grad();
    let targets = Targets::new(Tensor::full([2, 0], true, device));
    let none = loss.forward(nothing.clone(), Tensor::zeros([2, 0], device), targets);
    assert_eq!(numbers(none.clone()), [0.0]);
    let _ = none.backward();
}

#[test]
#[should_panic(expected = "assert_shape!(teacher, [queries, documents])")]
fn a_teacher_of_another_shape_panics() {
    let zeros = |columns| Tensor::<2>::zeros([2, columns], &device());
    let targets = Targets::new(Tensor::full([2, 3], true, &device()));
    let _ = MarginMseLoss::new().forward(zeros(3), zeros(2), targets);
}

#[test]
#[should_panic(expected = "from_teacher: expected a positive, finite temperature, got 0")]
fn the_temperature_of_a_teacher_is_positive() {
    let _ = Targets::from_teacher(Tensor::<2>::zeros([1, 2], &device()), 0.0);
}

#[test]
#[should_panic(
    expected = "MultiSimilarityLossConfig: alpha must be positive and finite, between 1.2e-38 and 3.4e38, got 0"
)]
fn alpha_is_positive() {
    let _ = MultiSimilarityLossConfig::new().with_alpha(0.0).init();
}

#[test]
#[should_panic(expected = "MultiSimilarityLossConfig: base must be finite in f32, got NaN")]
fn the_base_is_finite() {
    let _ = MultiSimilarityLossConfig::new().with_base(f64::NAN).init();
}

#[test]
#[should_panic(
    expected = "CircleLossConfig: gamma must be positive and finite, between 1e-37 and 1e38, got 0"
)]
fn gamma_is_positive() {
    let _ = CircleLossConfig::new().with_gamma(0.0).init();
}

#[test]
#[should_panic(expected = "CircleLossConfig: margin must be finite in f32, got NaN")]
fn the_margin_of_the_circle_is_finite() {
    let _ = CircleLossConfig::new().with_margin(f64::NAN).init();
}

#[test]
#[should_panic(expected = "FocalInfoNceLossConfig: margin must be finite in f32, got inf")]
fn the_margin_of_focal_info_nce_is_finite() {
    let _ = FocalInfoNceLossConfig::new()
        .with_margin(f64::INFINITY)
        .init();
}

#[test]
#[should_panic(expected = "SigmoidLossConfig: bias must be finite in f32, got NaN")]
fn the_bias_is_finite() {
    let _ = SigmoidLossConfig::new().with_bias(f64::NAN).init();
}

#[test]
#[should_panic(expected = "DclLossConfig: temperature must be positive and finite, got 0")]
fn the_temperature_of_dcl_is_positive() {
    let _ = DclLossConfig::new().with_temperature(0.0).init();
}

#[test]
#[should_panic(expected = "MarginRankingLossConfig: margin must be finite in f32, got inf")]
fn the_margin_is_finite() {
    let config = MarginRankingLossConfig::new().with_margin(f64::INFINITY);
    let _ = config.init();
}
