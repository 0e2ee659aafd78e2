//! The spread-out regularizer against the sum over all pairs.

use crate::{
    batch::{gradient_of, numbers},
    device::{autodiff_devices, device, precisions, rounding},
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_multi_positive::SpreadOutLossConfig;

fn tensor(rows: &[Vec<f64>], device: &Device, dtype: DType) -> Tensor<2> {
    let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
    Tensor::from_data(data, (device, dtype))
}

fn by_pairs(rows: &[Vec<f64>], first_moment: bool) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = |a: &Vec<f64>, b: &Vec<f64>| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let count = rows.len();
    let pairs = (0..count).flat_map(|i| (0..count).map(move |j| (i, j)));
    let cosines = pairs
        .filter(|(i, j)| i != j)
        .map(|(i, j)| cosine(&rows[i], &rows[j]));
    let cosines: Vec<f64> = cosines.collect();
    let mean =
        |of: fn(f64) -> f64| cosines.iter().map(|c| of(*c)).sum::<f64>() / cosines.len() as f64;
    let first = mean(|c| c).powi(2);
    let second = mean(|c| c * c) - 1.0 / rows[0].len() as f64;
    second.max(0.0) + if first_moment { first } else { 0.0 }
}

/// A cone, and vectors that lie farther apart than by chance.
fn batches() -> [Vec<Vec<f64>>; 2] {
    let cone = (0..6).map(|i| {
        let wave = |k: usize| (f64::from(i) * 1.7 + k as f64).sin() * 0.4;
        vec![1.0 + wave(0), 0.5 + wave(1), wave(2)]
    });
    [
        cone.collect(),
        vec![
            vec![2.0, 0.1, 0.0],
            vec![0.0, 1.0, 0.1],
            vec![0.1, 0.0, 3.0],
        ],
    ]
}

#[test]
fn the_loss_and_its_slopes_are_those_of_all_pairs() {
    for device in &autodiff_devices() {
        for dtype in precisions() {
            check(device, dtype);
        }
    }
}

pub fn check(device: &Device, dtype: DType) {
    for rows in batches() {
        for first_moment in [false, true] {
            let loss = SpreadOutLossConfig::new()
                .with_first_moment(first_moment)
                .init();
            let embeddings = tensor(&rows, device, dtype).require_grad();
            let got = loss.forward(embeddings.clone());
            let error = 200.0 * rounding(dtype);
            let want = by_pairs(&rows, first_moment);
            let value = numbers(got.clone())[0];
            assert!((value - want).abs() <= error, "{value}, {want}");
            let gradient = gradient_of(&got, &embeddings);
            for i in 0..rows.len() {
                for j in 0..3 {
                    let moved = |by: f64| {
                        let mut rows = rows.clone();
                        rows[i][j] += by;
                        by_pairs(&rows, first_moment)
                    };
                    let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    let got = gradient[i][j];
                    assert!((got - slope).abs() <= error + 1e-8, "{got}, {slope}");
                }
            }
        }
    }
}

#[test]
fn few_rows_zeros_and_half_precision() {
    let device = device().autodiff();
    let loss = SpreadOutLossConfig::new().with_first_moment(true).init();
    for rows in [0, 1] {
        let embeddings = Tensor::<2>::ones([rows, 3], (&device, DType::F32)).require_grad();
        let value = loss.forward(embeddings);
        assert_eq!(numbers(value.clone()), [0.0]);
        let _ = value.backward();
    }
    let rows = [vec![0.0, 0.0], vec![1.0, 0.0], vec![2.0, 0.0]];
    let embeddings = tensor(&rows, &device, DType::F32).require_grad();
    let value = loss.forward(embeddings.clone());
    // Of the three pairs one has the cosine 1, the others 0.
    assert!((numbers(value.clone())[0] - 1.0 / 9.0).abs() < 1e-6);
    assert_eq!(gradient_of(&value, &embeddings)[0], [0.0, 0.0]);
    for dtype in [DType::BF16, DType::F16] {
        if !crate::device::supports(dtype) {
            continue;
        }
        let [cone, _] = batches();
        let half = tensor(&cone, &device, dtype).require_grad();
        let value = loss.forward(half.clone());
        assert_eq!(value.dtype(), DType::F32);
        assert!((numbers(value.clone())[0] - by_pairs(&cone, true)).abs() < 0.01);
        assert_eq!(half.grad(&value.backward()).unwrap().dtype(), dtype);
    }
}
