//! Embeddings on several devices: losses and gradients are those of one.

use crate::{
    batch::{Criterion, bool_matrix, gradient_of, matrix, numbers},
    close::{Tolerance, assert_close, assert_rows_close},
    device::{device, product_error, turn_to_draw},
    oracle::objectives,
};
use burn::{
    nn::loss::Reduction,
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use burn_multi_positive::{
    Embeddings, LsePairLossConfig, MemoryBank, Scores, Shards, Stored, Targets,
};

pub const QUERIES: usize = 9;
pub const DOCUMENTS: usize = 14;

/// The device under test and, where another backend is compiled in, one of that.
fn devices() -> Vec<Device> {
    let mut devices = vec![device()];
    #[cfg(feature = "flex")]
    devices.push(Device::flex());
    #[cfg(feature = "wgpu")]
    devices.push(Device::wgpu(Default::default()));
    devices.into_iter().map(Device::autodiff).collect()
}

fn embeddings(rows: usize, salt: usize) -> Tensor<2> {
    let entry = |i: usize| ((i * 37 + salt * 101) % 64) as f32 / 32.0 - 1.0;
    let entries: Vec<f32> = (0..rows * 4).map(entry).collect();
    Tensor::from_data(TensorData::new(entries, [rows, 4]), &device())
}

/// Rows cut into shards that lie on the devices in turn: leaves.
fn shards(rows: &Tensor<2>, sizes: &[usize]) -> Vec<Tensor<2>> {
    shards_on(&devices(), rows, sizes)
}

fn shards_on(devices: &[Device], rows: &Tensor<2>, sizes: &[usize]) -> Vec<Tensor<2>> {
    let mut start = 0;
    let shard = |(index, &size): (usize, &usize)| {
        // A slice, because a shard may be empty.
        let part = start..start + size;
        let rows = rows.clone().slice([part]);
        start += size;
        let rows = rows.to_device(&devices[index % devices.len()]);
        rows.autodiff().detach().require_grad()
    };
    sizes.iter().enumerate().map(shard).collect()
}

/// Every form; ids occur twice, on different shards, and a query has no positive.
pub fn forms() -> Vec<(&'static str, Targets)> {
    let device = device();
    let ids: Vec<usize> = (0..DOCUMENTS).map(|d| d % 10).collect();
    let relevant = |q: usize| {
        if q == 4 {
            vec![]
        } else {
            vec![q, (q + 5) % 10]
        }
    };
    let relevant: Vec<Vec<usize>> = (0..QUERIES).map(relevant).collect();
    let row = |q: usize| (0..DOCUMENTS).map(|d| (q + d).is_multiple_of(4)).collect();
    let mask = bool_matrix(&(0..QUERIES).map(row).collect::<Vec<_>>(), &device);
    let row = |q: usize| {
        (0..DOCUMENTS)
            .map(|d| !(2 * q + d).is_multiple_of(5))
            .collect()
    };
    let candidates = bool_matrix(&(0..QUERIES).map(row).collect::<Vec<_>>(), &device);
    let labels = |rows: usize| -> Tensor<1, Int> {
        let labels: Vec<i64> = (0..rows as i64).map(|row| row % 6).collect();
        Tensor::from_data(TensorData::from(labels.as_slice()), &device)
    };
    let ids = Targets::from_ids(&relevant, &ids, &device).unwrap();
    vec![
        ("ids", ids.clone()),
        ("ids with candidates", ids.with_candidates(candidates)),
        ("mask", mask.into()),
        (
            "labels",
            Targets::from_labels(labels(QUERIES), labels(DOCUMENTS)),
        ),
    ]
}

#[test]
fn losses_and_gradients_are_those_of_one_device() {
    let _turn = turn_to_draw();
    let cuts: [(&[usize], &[usize]); 7] = [
        (&[9], &[14]),
        (&[5, 4], &[7, 7]),
        (&[1, 8], &[3, 2, 9]),
        (&[2, 3, 4], &[14]),
        (&[1; 9], &[2; 7]),
        (&[5, 0, 4], &[14, 0]),
        (&[0, 9], &[0, 7, 0, 7]),
    ];
    let reductions = [Reduction::Mean, Reduction::Sum, Reduction::BatchMean];
    for (index, objective) in objectives().iter().enumerate() {
        let reduction = &reductions[index % reductions.len()];
        for (place, (form, targets)) in forms().into_iter().enumerate() {
            let cuts = cuts[(index + place) % cuts.len()];
            let what = format!("{objective:?} {form} {cuts:?}");
            let criterion = Criterion::from(objective);
            assert_those_of_one_device(&what, &devices(), cuts, |scores| {
                // Rand1LH draws: the same for both.
                devices()[0].seed(6);
                criterion.scores_in_turn(scores, targets.clone(), reduction.clone())
            });
        }
    }
}

/// Loss and gradients of shards that lie on `devices` in turn are those of one device.
pub fn assert_those_of_one_device(
    what: &str,
    devices: &[Device],
    (query_cuts, document_cuts): (&[usize], &[usize]),
    loss: impl Fn(Scores) -> Tensor<1>,
) {
    let (queries, documents) = (embeddings(QUERIES, 1), embeddings(DOCUMENTS, 2));
    let leaves = [&queries, &documents].map(|x| x.clone().autodiff().detach().require_grad());
    let [of_queries, of_documents] = leaves.clone();
    let want = loss(Embeddings::new(of_queries, of_documents).into());
    let gradients = want.backward();
    let want_gradients = leaves.map(|leaf| matrix(leaf.grad(&gradients).unwrap()));

    let sides = [
        shards_on(devices, &queries, query_cuts),
        shards_on(devices, &documents, document_cuts),
    ];
    let [of_queries, of_documents] = sides.clone();
    let got = loss(Shards::new(of_queries, of_documents).into());
    let mut tolerance = Tolerance::units(DType::F32, 256.0);
    tolerance.relative += 2.0 * product_error(DType::F32);
    assert_close(what, numbers(got.clone())[0], numbers(want)[0], tolerance);
    let gradients = got.backward();
    for (leaves, want) in sides.iter().zip(&want_gradients) {
        let got: Vec<Vec<f64>> = leaves
            .iter()
            .filter(|leaf| leaf.dims()[0] > 0)
            .flat_map(|leaf| matrix(leaf.grad(&gradients).unwrap()))
            .collect();
        assert_rows_close(
            what,
            &got,
            want,
            tolerance.absolute(1e-5 + 16.0 * product_error(DType::F32)),
        );
    }
}

/// Candidates of a bank are one more shard of documents.
#[test]
fn a_memory_bank_is_one_more_shard() {
    let ids: Vec<usize> = (0..DOCUMENTS).map(|d| d % 10).collect();
    let relevant: Vec<Vec<usize>> = (0..QUERIES).map(|q| vec![q, q + 3]).collect();
    let mut bank = MemoryBank::new(5).unwrap();
    bank.push(embeddings(6, 3), &[3, 11, 5, 12, 7, 7]).unwrap();
    let documents = embeddings(DOCUMENTS, 2);
    for stored in [Stored::Positive, Stored::Ignored] {
        let (candidates, targets) = bank
            .candidates(documents.clone(), &ids, &relevant, stored)
            .unwrap();
        let loss_fn = LsePairLossConfig::new().init();
        let queries = embeddings(QUERIES, 1);
        let want = loss_fn.forward_embeddings(queries.clone(), candidates.clone(), targets.clone());
        let [queries, candidates] = [shards(&queries, &[4, 5]), shards(&candidates, &[6, 8, 5])];
        let got = loss_fn.forward(Shards::new(queries, candidates), targets);
        let tolerance = Tolerance::units(DType::F32, 128.0);
        assert_close(
            format!("{stored:?}"),
            numbers(got)[0],
            numbers(want)[0],
            tolerance,
        );
    }
}

/// A device whose queries have no positive, or hardly any, weighs as much as its active queries.
#[test]
fn the_mean_is_over_the_active_queries_of_all_devices() {
    let queries = embeddings(4, 1);
    let documents = embeddings(4, 2);
    let relevant = [vec![], vec![], vec![0], vec![1, 2]];
    let targets = Targets::from_ids(&relevant, &[0, 1, 2, 3], &device()).unwrap();
    let loss_fn = LsePairLossConfig::new().init();
    let embeddings = Embeddings::new(queries.clone(), documents.clone());
    let rows = loss_fn.forward_no_reduction(embeddings, targets.clone());
    let rows = numbers(rows);
    let queries = shards(&queries, &[2, 1, 1]);
    let documents = shards(&documents, &[1, 3]);
    let got = loss_fn.forward(Shards::new(queries.clone(), documents), targets);
    let tolerance = Tolerance::units(DType::F32, 64.0);
    assert_close(
        "mean",
        numbers(got.clone())[0],
        (rows[2] + rows[3]) / 2.0,
        tolerance,
    );
    assert_eq!(gradient_of(&got, &queries[0]), [[0.0; 4]; 2]);
}

#[test]
fn targets_move_between_devices() {
    for other in devices() {
        for (form, targets) in forms() {
            let there = targets.clone().to_device(&other);
            assert_eq!(there.device(), other, "{form}");
            let [there, here] = [there, targets].map(|x| x.positives().into_data());
            there.convert::<u8>().assert_eq(&here.convert::<u8>(), true);
        }
    }
}

#[test]
#[should_panic(
    expected = "targets: expected [queries, documents] = [9, 13] as the shards have, got [9, 14]"
)]
fn targets_of_another_shape_than_the_shards_panic() {
    let (_, targets) = forms().remove(0);
    let [queries, documents] = [embeddings(QUERIES, 1), embeddings(13, 2)];
    let loss_fn = LsePairLossConfig::new().init();
    let [queries, documents] = [shards(&queries, &[4, 5]), shards(&documents, &[13])];
    loss_fn.forward(Shards::new(queries, documents), targets);
}

#[test]
#[should_panic(expected = "documents: expected shards, got none")]
fn a_side_without_shards_panics() {
    let (_, targets) = forms().remove(0);
    let loss_fn = LsePairLossConfig::new().init();
    let queries = shards(&embeddings(QUERIES, 1), &[4, 5]);
    loss_fn.forward(Shards::new(queries, Vec::new()), targets);
}
