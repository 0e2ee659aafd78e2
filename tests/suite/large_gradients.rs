//! Gradients of some MiB are tensors like any other: they can be copied, kept, written to and passed on.

use crate::{
    batch::Criterion,
    device::{autodiff_devices, device},
    oracle::DEFAULTS,
};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use burn_multi_positive::Targets;

/// 4 MiB of scores in f32, and as many of their gradients.
const SIZE: usize = 1024;

fn matrix(shape: [usize; 2], device: &Device) -> Tensor<2> {
    let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 51.0;
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(value).collect();
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

/// Every query has two positives.
fn targets([queries, documents]: [usize; 2], device: &Device) -> Targets {
    let pair = |i: usize| [i / documents, i / documents + 1].contains(&(i % documents));
    let mask: Vec<bool> = (0..queries * documents).map(pair).collect();
    let mask = TensorData::new(mask, [queries, documents]);
    Targets::new(Tensor::<2, Bool>::from_data(mask, device))
}

/// The gradient of scores for each of the losses.
fn gradients() -> Vec<Tensor<2>> {
    let device = device().autodiff();
    let gradient = |objective| {
        let scores = matrix([SIZE, SIZE], &device).require_grad();
        let loss = Criterion::from(objective).mean(scores.clone(), targets([SIZE; 2], &device));
        scores.grad(&loss.backward()).expect("a gradient")
    };
    DEFAULTS.iter().map(gradient).collect()
}

fn values(data: &TensorData) -> Vec<f32> {
    data.iter().collect()
}

#[test]
fn the_data_of_a_gradient_can_be_copied() {
    for gradient in gradients() {
        let data = gradient.into_data();
        let copy = data.clone();
        assert_eq!(values(&copy), values(&data));
        assert!(values(&copy).iter().any(|&slope| slope != 0.0));
    }
}

#[test]
fn a_gradient_can_be_read_in_another_type() {
    for gradient in gradients() {
        let of_tensor: Vec<f64> = gradient.try_to_vec_as().expect("readable");
        let data = gradient.into_data();
        let of_data: Vec<f64> = data.try_to_vec_as().expect("readable");
        let same: Vec<f32> = data.try_to_vec_as().expect("readable");
        assert_eq!(of_tensor, of_data);
        assert_eq!(same.len(), SIZE * SIZE);
        let pairs = same.iter().zip(&of_data);
        assert!(pairs.into_iter().all(|(&x, &y)| f64::from(x) == y));
    }
}

#[test]
fn writing_to_a_gradient_leaves_one_that_is_held_alone() {
    for gradient in gradients() {
        let held = gradient.clone();
        let before: Vec<f32> = held.clone().try_into_vec_as().expect("readable");
        let ones = Tensor::<2>::ones([2, 3], (&gradient.device(), DType::F32));
        let written = gradient.slice_assign([1..3, 4..7], ones);
        let after: Vec<f32> = written.try_into_vec_as().expect("readable");
        for (index, (after, before)) in after.iter().zip(&before).enumerate() {
            let (row, column) = (index / SIZE, index % SIZE);
            let inside = (1..3).contains(&row) && (4..7).contains(&column);
            let want = if inside { 1.0 } else { *before };
            assert_eq!(*after, want, "at {row}, {column}");
        }
        let held: Vec<f32> = held.try_into_vec_as().expect("readable");
        assert_eq!(held, before);
    }
}

/// Embeddings that were put together: their gradient goes on through what did so.
#[test]
fn gradients_pass_through_embeddings_that_were_put_together() {
    const COUNTS: [usize; 2] = [6, 2048];
    const DIMENSIONS: usize = 512;
    for device in autodiff_devices() {
        for objective in &DEFAULTS[..3] {
            let run = |assigned: bool| {
                let queries = matrix([COUNTS[0], DIMENSIONS], &device) * 0.05;
                let leaf = matrix([COUNTS[1], DIMENSIONS], &device).require_grad();
                let documents = match assigned {
                    true => {
                        let room = Tensor::<2>::zeros(leaf.dims(), (&device, DType::F32));
                        let rows = 0..COUNTS[1] / 2;
                        let half = leaf.clone().slice([rows.clone()]);
                        let room = room.slice_assign([rows, 0..DIMENSIONS], half);
                        let rows = COUNTS[1] / 2..COUNTS[1];
                        let half = leaf.clone().slice([rows.clone()]);
                        room.slice_assign([rows, 0..DIMENSIONS], half)
                    }
                    false => leaf.clone(),
                };
                let targets = targets(COUNTS, &device);
                let loss = Criterion::from(objective).embeddings(queries, documents, targets);
                let gradient = leaf.grad(&loss.backward()).expect("a gradient");
                gradient.try_into_vec_as::<f32>().expect("readable")
            };
            let (got, want) = (run(true), run(false));
            assert!(want.iter().any(|&slope| slope != 0.0));
            let off = got
                .iter()
                .zip(&want)
                .filter(|(x, y)| (*x - *y).abs() > 1e-7);
            assert_eq!(off.count(), 0, "{objective:?}");
        }
    }
}

/// The same for scores.
#[test]
fn gradients_pass_through_scores_that_were_put_together() {
    let device = device().autodiff();
    for objective in &DEFAULTS[..3] {
        let leaf = matrix([SIZE, SIZE], &device).require_grad();
        let room = Tensor::<2>::zeros([SIZE, SIZE], (&device, DType::F32));
        let scores = [0..SIZE / 2, SIZE / 2..SIZE].into_iter();
        let scores = scores.fold(room, |room, rows| {
            let half = leaf.clone().slice([rows.clone()]);
            room.slice_assign([rows, 0..SIZE], half)
        });
        let loss = Criterion::from(objective).mean(scores, targets([SIZE; 2], &device));
        let got = leaf.grad(&loss.backward()).expect("a gradient");

        let leaf = matrix([SIZE, SIZE], &device).require_grad();
        let loss = Criterion::from(objective).mean(leaf.clone(), targets([SIZE; 2], &device));
        let want = leaf.grad(&loss.backward()).expect("a gradient");
        let [got, want] = [got, want].map(|x| x.try_into_vec_as::<f32>().expect("readable"));
        assert_eq!(got, want, "{objective:?}");
    }
}
