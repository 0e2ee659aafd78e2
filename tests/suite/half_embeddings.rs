//! Embeddings in half precision: many documents with tiny weights add up to a gradient
//! that the type holds.

use crate::{
    batch::{Batch, Criterion, float_matrix, matrix},
    device::{autodiff_devices, supports},
    oracle::{DEFAULTS, Objective, Positives, Query},
};
use burn::tensor::{DType, Device, Tensor};

const QUERIES: usize = 64;
const NEGATIVES: usize = 4096;

/// Every query is sure of its positive, the last document: the weight of a negative is
/// about e^-18.5, or 1e-8 before the mean over the queries, and the smallest number of
/// f16 is 6e-8.
fn embeddings(dtype: DType, device: &Device) -> [Tensor<2>; 2] {
    let query = |q: usize| vec![18.5 + (q % 4) as f64 * 0.125, 0.0];
    let queries: Vec<Vec<f64>> = (0..QUERIES).map(query).collect();
    let mut documents: Vec<Vec<f64>> = (0..NEGATIVES)
        .map(|d| vec![0.0, 64.0 + (d % 8) as f64])
        .collect();
    documents.push(vec![1.0, 0.0]);
    [queries, documents].map(|rows| float_matrix(&rows, device, dtype).require_grad())
}

/// The gradients of the embeddings, of the sum of the losses, in f64.
fn gradients(objective: &Objective, dtype: DType, device: &Device) -> [Vec<Vec<f64>>; 2] {
    let query = Query::new(&vec![0.0; NEGATIVES + 1], &[NEGATIVES]);
    let targets = Batch(vec![query; QUERIES]).targets(device);
    let leaves = embeddings(dtype, device);
    let [queries, documents] = leaves.clone();
    let criterion = Criterion::from(objective);
    let loss = criterion.embeddings(queries, documents, targets) * QUERIES as f32;
    let gradients = loss.backward();
    leaves.map(|leaf| {
        let gradient = leaf.grad(&gradients).expect("a gradient");
        assert_eq!(gradient.dtype(), dtype);
        matrix(gradient)
    })
}

#[test]
fn tiny_weights_add_up_to_the_gradients_of_f32() {
    for dtype in [DType::F16, DType::BF16] {
        if !supports(dtype) {
            continue;
        }
        let weakest = Objective::selecting(Positives::Weakest, crate::oracle::Negatives::All);
        for objective in DEFAULTS.into_iter().chain([weakest]) {
            for device in autodiff_devices() {
                let got = gradients(&objective, dtype, &device);
                let want = gradients(&objective, DType::F32, &device);
                for (side, (got, want)) in ["queries", "documents"]
                    .into_iter()
                    .zip(got.into_iter().zip(want))
                {
                    for (row, (got, want)) in got.iter().zip(&want).enumerate() {
                        for (got, want) in got.iter().zip(want) {
                            // A step of the type where it is subnormal.
                            let bound = 0.01 * want.abs() + 6e-8;
                            assert!(
                                (got - want).abs() <= bound,
                                "{objective:?}, {dtype:?}, row {row} of the {side}: {got:e} for {want:e}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_weights_are_as_small_as_they_are_meant_to_be() {
    let device = &autodiff_devices()[0];
    let [of_queries, of_documents] = gradients(&DEFAULTS[2], DType::F32, device);
    // The sum over the documents, which f16 holds in full, and that over the queries.
    assert!(
        (1e-3..1e-2).contains(&of_queries[0][1]),
        "{:?}",
        of_queries[0]
    );
    let document = of_documents[0][0];
    assert!((5e-6..5e-5).contains(&document), "{document:e}");
    assert!(document / 18.5 / (QUERIES as f64) < 2e-8, "{document:e}");
}
