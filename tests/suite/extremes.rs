//! Scores, margins and temperatures at the ends of their range: the right number, the
//! limit, or a refusal by name, and never a NaN from infinity times 0.

use crate::{
    batch::{Batch, Criterion, float_matrix, gradient_of, numbers},
    close::{Tolerance, assert_all_close, assert_close},
    composed,
    device::{autodiff_devices, device, is_cpu, supports},
    oracle::{DEFAULTS, Loss, Negatives, Objective, Positives, objectives},
};
use burn::tensor::{DType, Tensor};
use burn_multi_positive::{
    JointLhLossConfig, LsePairLossConfig, Rand1LhLossConfig, SumMargLhLossConfig,
    statistics::{Request, Statistic, Statistics},
};
use std::panic::catch_unwind;

const INF: f64 = f64::INFINITY;

/// What f32 makes of a number.
fn f32s(scores: &[f64]) -> Vec<f64> {
    scores
        .iter()
        .map(|&score| f64::from(score as f32))
        .collect()
}

/// Every LSEPair, SumMargLH and Rand1LH: without a negative they are 0 whatever the
/// positives.
fn contrasts() -> Vec<Objective> {
    use Negatives::Hardest;
    use Positives::*;
    let [lse_pair, _, sum_marg, rand1] = DEFAULTS;
    let mut contrasts = vec![sum_marg, rand1];
    for positives in [All, Weakest, Strongest] {
        for negatives in [Negatives::All, Hardest] {
            let objective = Objective::selecting(positives, negatives);
            contrasts.push(objective);
            contrasts.push(objective.normalized());
            contrasts.push(objective.margin(0.25));
            contrasts.push(objective.margin(-0.25).normalized());
        }
    }
    contrasts.push(lse_pair.margin(1e38));
    contrasts
}

/// Positives whose distance overflows, their temperature and their type.
fn far_apart() -> Vec<(Vec<f64>, f64, DType)> {
    let mut cases = vec![
        (vec![3e38, -3e38], 1.0, DType::F32),
        (vec![-3e38, 3e38], 1.0, DType::F32),
        (vec![3e38, 0.0, -3e38, 1.0], 1.0, DType::F32),
        (vec![1e37, -1e37], 0.05, DType::F32),
        (vec![1e37, -1e37, 0.5], 0.05, DType::F32),
    ];
    if supports(DType::F64) {
        cases.push((vec![1.7e308, -1.7e308], 1.0, DType::F64));
        cases.push((vec![-1.7e308, 1.7e308, 0.0], 1.0, DType::F64));
        cases.push((vec![5e306, -5e306], 0.05, DType::F64));
    }
    cases
}

/// A query without negatives: all are positives, or ignored, or negatives without weight.
/// The second query is an ordinary one, the third inactive.
fn without_negatives(positives: &[f64], dtype: DType) -> Vec<Batch> {
    let columns: Vec<usize> = (0..positives.len()).collect();
    let with = |extra: &[f64]| {
        let scores = [positives, extra].concat();
        let scores = if dtype == DType::F64 {
            scores
        } else {
            f32s(&scores)
        };
        let mut ordinary = vec![0.0; scores.len()];
        ordinary[1] = 0.5;
        let inactive = scores.clone();
        Batch::new(&[(&scores, &columns), (&ordinary, &[0]), (&inactive, &[])])
    };
    let ignored = with(&[2.0]).ignoring(0, positives.len());
    vec![with(&[]), with(&[-INF]), ignored]
}

#[test]
fn a_query_without_negatives_is_0_however_far_its_positives_lie_apart() {
    for (positives, temperature, dtype) in far_apart() {
        for objective in contrasts() {
            let objective = objective.temperature(temperature);
            if !((objective.margin / temperature) as f32).is_finite() {
                continue;
            }
            for batch in without_negatives(&positives, dtype) {
                for device in autodiff_devices() {
                    let what = format!("{objective:?}, {positives:?}, {dtype:?}");
                    let outcome = batch.run(&objective, &device, dtype);
                    assert_eq!(outcome.rows[0], 0.0, "{what}");
                    assert_eq!(outcome.rows[2], 0.0, "{what}");
                    for row in [0, 2] {
                        let zero = vec![0.0; outcome.gradient[row].len()];
                        assert_eq!(outcome.gradient[row], zero, "{what}, row {row}");
                    }
                    // The mean is that of the ordinary query and a 0.
                    let tolerance = Tolerance::units(DType::F32, 8.0);
                    let half = outcome.rows[1] / 2.0;
                    assert_close(&what, outcome.mean, half, tolerance);
                    let query = &batch.0[1];
                    let want = query.loss(&objective);
                    let tolerance = Tolerance::loss(query, &objective, want, DType::F32);
                    assert_close(&what, outcome.rows[1], want, tolerance);
                }
            }
        }
    }
}

/// One row alone, because Rand1LH draws: either draw is 0.
#[test]
fn composed_and_from_embeddings_a_query_without_negatives_is_0_too() {
    for (positives, temperature, dtype) in far_apart() {
        for objective in contrasts() {
            let objective = objective.temperature(temperature);
            if !((objective.margin / temperature) as f32).is_finite() {
                continue;
            }
            let criterion = Criterion::from(&objective);
            let what = format!("{objective:?}, {positives:?}, {dtype:?}");
            let device = device().autodiff();
            let columns: Vec<usize> = (0..positives.len()).collect();
            let batch = Batch::new(&[(&positives, &columns)]);
            let zero = vec![vec![0.0; positives.len()]];

            let scores = batch.scores(&device, dtype).require_grad();
            let rows = {
                let _turn = crate::device::turn_to_draw();
                composed::rows(&criterion, scores.clone(), batch.targets(&device))
            };
            assert_eq!(gradient_of(&rows, &scores), zero, "{what}, composed");
            assert_eq!(numbers(rows), [0.0], "{what}, composed");

            let query = float_matrix(&[vec![1.0]], &device, dtype);
            let documents: Vec<Vec<f64>> = positives.iter().map(|&score| vec![score]).collect();
            let documents = float_matrix(&documents, &device, dtype).require_grad();
            let loss = criterion.embeddings(query, documents.clone(), batch.targets(&device));
            let gradient = gradient_of(&loss, &documents).concat();
            assert_eq!(gradient, zero[0], "{what}, embeddings");
            assert_eq!(numbers(loss), [0.0], "{what}, embeddings");
        }
    }
}

/// JointLH has a loss without negatives. Where it is beyond the type it may be infinite,
/// and is no other number.
#[test]
fn joint_likelihood_of_positives_far_apart_is_right_or_infinite() {
    for (positives, temperature, dtype) in far_apart() {
        for objective in [DEFAULTS[1], DEFAULTS[1].normalized()] {
            let objective = objective.temperature(temperature);
            let criterion = Criterion::from(&objective);
            for batch in without_negatives(&positives, dtype) {
                let targets = batch.targets(&device());
                let scores = batch.scores(&device(), dtype);
                let composed = composed::rows(&criterion, scores.clone(), targets.clone());
                let rows = criterion.rows(scores, targets);
                for (form, rows) in [("rows", rows), ("composed", composed)] {
                    let rows = numbers(rows);
                    let what = format!("{objective:?}, {positives:?}, {dtype:?}, {form}: {rows:?}");
                    let want = batch.0[0].loss(&objective);
                    let right = ((rows[0] - want) / want).abs() < 1e-5;
                    assert!(rows[0] == INF || right, "{what}, expected {want:e}");
                    let want = batch.0[1].loss(&objective);
                    let tolerance = Tolerance::loss(&batch.0[1], &objective, want, DType::F32);
                    assert_close(&what, rows[1], want, tolerance);
                    assert_eq!(rows[2], 0.0, "{what}");
                }
            }
        }
    }
}

/// The message with which `init` refuses.
fn refusal<T: 'static>(init: impl FnOnce() -> T + std::panic::UnwindSafe) -> Option<String> {
    let panic = catch_unwind(init).err()?;
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    panic.downcast_ref::<String>().cloned().or(text)
}

#[test]
fn a_margin_beyond_f32_is_refused_by_name() {
    for (margin, temperature) in [
        (1e30, 1e-30),
        (-1e30, 1e-30),
        (1e39, 1.0),
        (-1e39, 1.0),
        (3e37, 0.05),
        (f64::MAX, 2.0),
    ] {
        let config = LsePairLossConfig::new()
            .with_margin(margin)
            .with_temperature(temperature);
        let refusal = refusal(move || config.init());
        let refusal = refusal.unwrap_or_else(|| panic!("{margin} / {temperature} is accepted"));
        let expected = format!(
            "LsePairLossConfig: margin must be finite in f32 when divided by the temperature \
             {temperature}, got {margin}"
        );
        assert_eq!(refusal, expected);
    }
}

#[test]
fn a_large_margin_leaves_queries_without_negatives_and_inactive_ones_at_0() {
    for (margin, temperature) in [
        (1e38, 1.0),
        (-1e38, 1.0),
        (3e38, 1.0),
        (-3e38, 1.0),
        (1e30, 1e-7),
        (-1e8, 1e-30),
    ] {
        // Positives that are as far apart as the margin add up with it.
        for apart in [0.0, 1.0, 2e38 * temperature] {
            for objective in contrasts() {
                if !matches!(objective.loss, Loss::LsePair) {
                    continue;
                }
                let objective = objective.margin(margin).temperature(temperature);
                for batch in without_negatives(&[apart, -apart], DType::F32) {
                    let device = device().autodiff();
                    let outcome = batch.run(&objective, &device, DType::F32);
                    let what = format!("{objective:?}, {apart}");
                    for row in [0, 2] {
                        assert_eq!(outcome.rows[row], 0.0, "{what}, row {row}");
                        let zero = vec![0.0; outcome.gradient[row].len()];
                        assert_eq!(outcome.gradient[row], zero, "{what}, row {row}");
                    }
                    let scores = batch.scores(&device, DType::F32);
                    let criterion = Criterion::from(&objective);
                    let composed = composed::rows(&criterion, scores, batch.targets(&device));
                    let composed = numbers(composed);
                    assert_eq!([composed[0], composed[2]], [0.0; 2], "{what}, composed");
                }
            }
        }
    }
}

#[test]
fn temperatures_that_f32_cannot_invert_are_refused_by_name() {
    for temperature in [5e-39, 8e-39, 1e-45, 1e-46, 1e-300, 1e39, 1e46, f64::MAX] {
        let refusals = [
            refusal(move || {
                LsePairLossConfig::new()
                    .with_temperature(temperature)
                    .init()
            }),
            refusal(move || {
                JointLhLossConfig::new()
                    .with_temperature(temperature)
                    .init()
            }),
            refusal(move || {
                SumMargLhLossConfig::new()
                    .with_temperature(temperature)
                    .init()
            }),
            refusal(move || {
                Rand1LhLossConfig::new()
                    .with_temperature(temperature)
                    .init()
            }),
        ];
        for refusal in refusals {
            let refusal = refusal.unwrap_or_else(|| panic!("{temperature:e} is accepted"));
            let expected = format!(
                ": temperature must have an inverse in f32, between 9e-39 and 8e37, got {temperature}"
            );
            assert!(refusal.ends_with(&expected), "{refusal}");
        }
    }
}

#[test]
fn temperatures_near_the_ends_are_as_good_as_any() {
    // Differences that are right in f32, over the smallest temperature and over the
    // largest.
    let batch = Batch::new(&[
        (&[0.5, -1.25, 0.25, 1.0], &[0, 2]),
        (&[1.5, 0.75, -0.5, 0.125], &[1]),
    ]);
    for temperature in [1e-37, 1e37] {
        for objective in objectives() {
            let objective = objective.temperature(temperature);
            let criterion = Criterion::from(&objective);
            for device in autodiff_devices() {
                let outcome = batch.run(&objective, &device, DType::F32);
                for (q, query) in batch.0.iter().enumerate() {
                    let what = format!("{objective:?}, row {q}");
                    let want = query.loss(&objective);
                    let tolerance = Tolerance::units(DType::F32, 64.0);
                    assert_close(&what, outcome.rows[q], want, tolerance);
                    let want = query.gradient(&objective);
                    let want: Vec<f64> = want.iter().map(|slope| slope / 2.0).collect();
                    // Below the smallest normal number digits are lost, or flushed to 0.
                    let digits = 64.0 * f64::from(f32::EPSILON) / temperature;
                    let tolerance = tolerance.absolute(digits.max(2.4e-38));
                    assert_all_close(what, &outcome.gradient[q], &want, tolerance);
                }
            }
            if objective.loss == Loss::Rand1Lh {
                continue;
            }
            let scores = batch.scores(&device(), DType::F32);
            let rows = composed::rows(&criterion, scores, batch.targets(&device()));
            for (q, loss) in numbers(rows).into_iter().enumerate() {
                let what = format!("{objective:?}, row {q}, composed");
                let want = batch.0[q].loss(&objective);
                assert_close(what, loss, want, Tolerance::units(DType::F32, 64.0));
            }
        }
    }
}

/// Finite, infinite or no number.
fn kind(x: f64) -> &'static str {
    match x {
        _ if x.is_nan() => "NaN",
        INF => "infinity",
        f64::NEG_INFINITY => "minus infinity",
        _ => "finite",
    }
}

#[test]
fn infinities_in_different_blocks_are_as_in_one_pass() {
    let (top, bottom) = (3e38, -3e38);
    // A block has up to 512 documents, a part up to 1024 of 40000.
    for (documents, places) in [
        (2000, [10, 1900]),
        (2000, [600, 1200]),
        (40_000, [10, 700]),
        (40_000, [10, 39_000]),
    ] {
        for values in [
            [top, top],
            [top, bottom],
            [bottom, top],
            [bottom, bottom],
            [top, 0.0],
        ] {
            if documents > 2000 && values[0] != values[1] {
                continue; // in the interest of time
            }
            for positives in [
                vec![5],
                vec![5, documents - 5],
                vec![5, places[0]],
                vec![5, places[1]],
                places.to_vec(),
                vec![5, places[0], places[1]],
            ] {
                // The product of 2 and 3e38 overflows.
                let mut rows = vec![vec![0.125]; documents];
                rows[places[0]] = vec![values[0]];
                rows[places[1]] = vec![values[1]];
                let scores: Vec<f64> = vec![0.0; documents];
                let batch = Batch::new(&[(&scores, &positives)]);
                let queries = float_matrix(&[vec![2.0]], &device(), DType::F32);
                let rows = float_matrix(&rows, &device(), DType::F32);
                for objective in objectives() {
                    if objective.temperature != 1.0 {
                        continue; // infinite all the same
                    }
                    if objective.loss == Loss::Rand1Lh && positives.len() > 1 {
                        continue; // it draws
                    }
                    let criterion = Criterion::from(&objective);
                    let targets = || batch.targets(&device());
                    let product = queries.clone().matmul(rows.clone().transpose());
                    let want = numbers(criterion.mean(product, targets()))[0];
                    let got = criterion.embeddings(queries.clone(), rows.clone(), targets());
                    let got = numbers(got)[0];
                    let what =
                        format!("{objective:?}, {values:?} at {places:?}, positives {positives:?}");
                    let alike = kind(got) == kind(want) || want.is_nan() && !got.is_finite();
                    assert!(alike, "{what}: {got} for {want}");
                }
            }
        }
    }
}

/// The column that gets the gradient of a statistic.
fn selected(form: Form, scores: &[f64], positives: &[usize], which: Statistic) -> Vec<usize> {
    let dtype = match scores.iter().all(|&score| f64::from(score as f32) == score) {
        true => DType::F32,
        false => DType::F64,
    };
    let device = device().autodiff();
    let batch = Batch::new(&[(scores, positives)]);
    let scores = batch.scores(&device, dtype).require_grad();
    let statistics = form(
        scores.clone(),
        &batch.targets(&device),
        Request::new(1.0, &[which]),
    );
    let gradient = &gradient_of(&statistics.get(which), &scores)[0];
    let pulled = (0..gradient.len()).filter(|&d| gradient[d] != 0.0);
    pulled.collect()
}

type Form = fn(Tensor<2>, &burn_multi_positive::Targets, Request) -> Statistics;

#[test]
fn the_smallest_difference_is_no_tie() {
    if !is_cpu() {
        eprintln!("skipped: GPUs take the smallest numbers for 0");
        return;
    }
    let unit = f64::from(f32::from_bits(1));
    let mut pairs = vec![
        (0.0, unit),
        (3.0 * unit, 4.0 * unit),
        (-unit, 0.0),
        (-4.0 * unit, -3.0 * unit),
    ];
    if supports(DType::F64) {
        let unit = f64::from_bits(1);
        pairs.extend([(0.0, unit), (-unit, 0.0), (3.0 * unit, 4.0 * unit)]);
    }
    let forms: [(&str, Form); 2] = [("new", Statistics::new), ("composed", Statistics::composed)];
    for (form, statistics) in forms {
        for &(low, high) in &pairs {
            let what = format!("{form}, {low:e} and {high:e}");
            // The others neither positives nor negatives that could be selected.
            let both = [low, high];
            let flipped = [high, low];
            for (scores, lowest, highest) in [(both, 0, 1), (flipped, 1, 0)] {
                let of =
                    |which, positives: &[usize]| selected(statistics, &scores, positives, which);
                assert_eq!(of(Statistic::WeakestPositive, &[0, 1]), [lowest], "{what}");
                assert_eq!(
                    of(Statistic::StrongestPositive, &[0, 1]),
                    [highest],
                    "{what}"
                );
                let scores = [scores[0], scores[1], -1.0];
                let hardest = selected(statistics, &scores, &[2], Statistic::HardestNegative);
                assert_eq!(hardest, [highest], "{what}");
            }
        }
    }
}
