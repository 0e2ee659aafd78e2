//! JointLH of a query that is sure of its one positive: what pulls is what pushes, to the last digits.

use crate::{
    batch::{Batch, Criterion, float_matrix, gradient_of},
    close::{Tolerance, assert_close},
    composed,
    device::{autodiff_devices, is_cpu, precisions},
    oracle::{DEFAULTS, Objective},
};
use burn::tensor::DType;

/// The positive first, the others `gap` below it and a little apart.
fn sure(gap: f64, temperature: f64) -> Batch {
    let steps = [0.0, 0.125, 0.25, 0.5, 0.0];
    let others = steps.map(|step| (1.0 - gap - step) * temperature);
    let scores = [&[temperature], &others[..]].concat();
    Batch::new(&[(&scores, &[0])])
}

fn settings(mut check: impl FnMut(&Objective, &Batch, DType, f64, &str)) {
    for dtype in precisions() {
        if dtype == DType::F64 && !is_cpu() {
            continue; // composed: 1 - 1 is a rounding error there
        }
        let (gaps, relative) = match dtype {
            DType::F64 => ([2.0, 10.0, 30.0, 60.0], 1e-12),
            _ => ([2.0, 10.0, 30.0, 40.0], 1e-5),
        };
        for gap in gaps {
            for objective in [DEFAULTS[1], DEFAULTS[1].normalized()] {
                for temperature in [1.0, 0.0625] {
                    let objective = objective.temperature(temperature);
                    let batch = sure(gap, temperature);
                    let what = format!("{objective:?}, {dtype:?}, gap {gap}");
                    check(&objective, &batch, dtype, relative, &what);
                }
            }
        }
    }
}

#[track_caller]
fn assert_balanced(what: &str, objective: &Objective, batch: &Batch, got: &[f64], relative: f64) {
    let tolerance = Tolerance {
        relative,
        absolute: 0.0,
    };
    let pushed: f64 = got[1..].iter().sum();
    assert_close(what, got[0], -pushed, tolerance);
    // The exponents of the scores carry rounding errors of their own.
    let tolerance = Tolerance {
        relative: 32.0 * relative,
        ..tolerance
    };
    let want = batch.0[0].gradient(objective);
    assert_close(what, got[0], want[0], tolerance);
}

#[test]
fn the_positive_is_pulled_by_what_the_negatives_are_pushed() {
    settings(|objective, batch, dtype, relative, what| {
        for device in autodiff_devices() {
            let scores = batch.scores(&device, dtype).require_grad();
            let rows = Criterion::from(objective).rows(scores.clone(), batch.targets(&device));
            let gradient = gradient_of(&rows, &scores);
            assert_balanced(what, objective, batch, &gradient[0], relative);
        }
    });
}

#[test]
fn composed_it_is_so_too() {
    settings(|objective, batch, dtype, relative, what| {
        let device = &autodiff_devices()[0];
        let scores = batch.scores(device, dtype).require_grad();
        let criterion = Criterion::from(objective);
        let rows = composed::rows(&criterion, scores.clone(), batch.targets(device));
        let gradient = gradient_of(&rows, &scores);
        assert_balanced(what, objective, batch, &gradient[0], relative);
    });
}

#[test]
fn from_embeddings_it_is_so_too() {
    settings(|objective, batch, dtype, relative, what| {
        for device in autodiff_devices() {
            let query = float_matrix(&[vec![1.0]], &device, dtype);
            let scores = batch.0[0].scores.iter();
            let documents: Vec<Vec<f64>> = scores.map(|&score| vec![score]).collect();
            let documents = float_matrix(&documents, &device, dtype).require_grad();
            let targets = batch.targets(&device);
            let loss = Criterion::from(objective).embeddings(query, documents.clone(), targets);
            let gradient = gradient_of(&loss, &documents).concat();
            assert_balanced(what, objective, batch, &gradient, relative);
        }
    });
}
