//! A guide that decides about false negatives: where it is the model itself, it does what the
//! filter of a loss does.

use crate::{
    batch::{bool_matrix, bools, float_matrix, numbers},
    device::{device, precisions, supports},
};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_multi_positive::{
    Embeddings, FalseNegatives, LsePairLossConfig, PositiveThreshold, Scores, Shards, Targets,
};

const QUERIES: usize = 6;
const DOCUMENTS: usize = 10;
const DIMENSIONS: usize = 4;

/// The third query has no positive, the last no negative that is a candidate.
const RELEVANT: [&[usize]; QUERIES] = [&[0, 1], &[2], &[], &[3, 4, 5], &[6, 9], &[7, 8]];

fn embeddings(rows: usize, step: f64, device: &Device, dtype: DType) -> Tensor<2> {
    let values: Vec<f64> = (0..rows * DIMENSIONS)
        .map(|i| (i as f64 * step + 0.9).sin())
        .collect();
    Tensor::from_data(TensorData::new(values, [rows, DIMENSIONS]), (device, dtype))
}

fn relevant() -> Vec<Vec<bool>> {
    let row = |columns: &[usize]| (0..DOCUMENTS).map(|d| columns.contains(&d)).collect();
    RELEVANT.iter().map(|columns| row(columns)).collect()
}

fn forms(device: &Device) -> Vec<(&'static str, Targets)> {
    let ids: Vec<usize> = (0..DOCUMENTS).collect();
    let lists: Vec<Vec<usize>> = RELEVANT.map(<[usize]>::to_vec).to_vec();
    let graded = lists
        .iter()
        .map(|ids| ids.iter().map(|&id| (id, (id % 3) as f32)));
    let graded: Vec<Vec<_>> = graded.map(Iterator::collect).collect();
    let mask = || Targets::new(bool_matrix(&relevant(), device));
    let candidates: Vec<Vec<bool>> = (0..QUERIES)
        .map(|q| {
            (0..DOCUMENTS)
                .map(|d| q < 5 && d != q || RELEVANT[q].contains(&d))
                .collect()
        })
        .collect();
    let candidates = || bool_matrix(&candidates, device);
    let weights: Vec<Vec<f64>> = (0..QUERIES)
        .map(|q| {
            (0..DOCUMENTS)
                .map(|d| [1.0, 0.5, 0.0][(q + d) % 3])
                .collect()
        })
        .collect();
    let weights = || float_matrix(&weights, device, DType::F32);
    let by_ids = || Targets::from_ids(&lists, &ids, device).unwrap();
    let labels = |labels: &[i32]| Tensor::<1, Int>::from_ints(labels, device);
    let chosen = labels(&[1, 2, 0, 4, 9, 7]);
    vec![
        ("mask", mask()),
        ("mask, candidates", mask().with_candidates(candidates())),
        ("mask, weights", mask().with_weights(weights())),
        ("mask, chosen", mask().with_chosen(chosen.clone())),
        ("ids", by_ids()),
        ("ids, candidates", by_ids().with_candidates(candidates())),
        ("ids, weights", by_ids().with_weights(weights())),
        ("ids, chosen", by_ids().with_chosen(chosen)),
        (
            "graded ids",
            Targets::from_weighted_ids(&graded, &ids, device).unwrap(),
        ),
        (
            "groups",
            Targets::from_groups(&[1, 2, 0, 2, 1], 2, device).unwrap(),
        ),
        (
            "labels",
            Targets::from_labels(
                labels(&[0, 1, 2, 3, 4, 5]),
                labels(&[0, 0, 1, 3, 3, 3, 4, 5, 5, 4]),
            ),
        ),
    ]
}

fn rules() -> Vec<FalseNegatives> {
    use PositiveThreshold::{Mean, Strongest, Weakest};
    [Weakest, Mean, Strongest]
        .into_iter()
        .flat_map(|threshold| {
            let rule = FalseNegatives::new(threshold);
            [
                rule,
                rule.with_margin(0.2),
                rule.with_margin(-0.3),
                rule.with_margin(0.3).with_relative(true),
            ]
        })
        .collect()
}

#[test]
fn the_model_as_its_own_guide_is_the_filter_of_the_loss() {
    let device = device();
    for dtype in precisions() {
        for (name, targets) in forms(&device) {
            let [rows, columns] = targets.dims();
            let queries = embeddings(rows, 0.71, &device, dtype);
            let documents = embeddings(columns, 1.37, &device, dtype);
            let matrix = queries.clone().matmul(documents.clone().transpose());
            let both = || Embeddings::new(queries.clone(), documents.clone());
            let shards = Shards::new(
                vec![
                    queries.clone().narrow(0, 0, 2),
                    queries.clone().narrow(0, 2, rows - 2),
                ],
                vec![documents.clone()],
            );
            for (index, rule) in rules().into_iter().enumerate() {
                let guides: [(&str, Scores); 4] = [
                    ("matrix", matrix.clone().into()),
                    ("embeddings", both().into()),
                    ("tiles", both().with_tile([2, columns]).into()),
                    ("shards", shards.clone().into()),
                ];
                let config = LsePairLossConfig::new().with_temperature(0.5);
                let filtered = config.clone().with_false_negatives(Some(rule)).init();
                let want = filtered.forward_no_reduction(matrix.clone(), targets.clone());
                let want = numbers(want);
                for (guide, scores) in guides {
                    let targets = targets.clone().without_false_negatives(scores, rule);
                    for scores in [Scores::from(matrix.clone()), both().into()] {
                        let got = config.init().forward_no_reduction(scores, targets.clone());
                        for (got, want) in numbers(got).iter().zip(&want) {
                            assert!(
                                (got - want).abs() < 1e-5,
                                "{name}, {guide}, rule {index}: got {got}, expected {want}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn positives_stay_and_both_directions_know_it() {
    let device = device();
    let rule = FalseNegatives::new(PositiveThreshold::Weakest);
    for (name, targets) in forms(&device) {
        let [rows, columns] = targets.dims();
        let guide = Embeddings::new(
            embeddings(rows, 0.71, &device, DType::F32),
            embeddings(columns, 1.37, &device, DType::F32),
        );
        let filtered = targets.clone().without_false_negatives(guide, rule);
        assert_eq!(
            bools(filtered.positives()),
            bools(targets.positives()),
            "{name}"
        );
        if name.contains("chosen") {
            continue;
        }
        let back = bools(filtered.clone().transpose().positives().transpose());
        assert_eq!(back, bools(filtered.positives()), "{name}");
    }
}

/// The decision is the guide's alone, and stays when the model's own is added.
#[test]
fn the_guide_and_the_loss_ignore_what_either_suspects() {
    let device = device();
    let scores = || Tensor::<2>::from_floats([[1.0, 5.0, 0.5, 0.0, 1.2]], &device);
    let guide = Tensor::<2>::from_floats([[0.2, 0.1, 0.9, 0.0, f32::NAN]], &device);
    let positives = || Tensor::from_bool([[true, false, false, false, false]], &device);
    let rule = FalseNegatives::new(PositiveThreshold::Strongest);
    let targets = Targets::new(positives()).without_false_negatives(guide, rule);
    let plain = LsePairLossConfig::new();
    let got = numbers(plain.init().forward(scores(), targets.clone()))[0];
    let want = (1.0 + (5f64 - 1.0).exp() + (0f64 - 1.0).exp() + 0.2f64.exp()).ln();
    assert!((got - want).abs() < 1e-5, "{got}, {want}");
    let filtered = plain.with_false_negatives(Some(rule)).init();
    let got = numbers(filtered.forward(scores(), targets))[0];
    let want = (1.0 + (0f64 - 1.0).exp()).ln();
    assert!((got - want).abs() < 1e-5, "{got}, {want}");
}

#[test]
fn a_positive_that_is_nan_filters_nothing() {
    let device = device();
    let guide = Tensor::<2>::from_floats([[f32::NAN, 0.1, 0.9]], &device);
    let positives = Tensor::from_bool([[true, false, false]], &device);
    let rule = FalseNegatives::new(PositiveThreshold::Weakest);
    let targets = Targets::new(positives).without_false_negatives(guide, rule);
    let scores = Tensor::<2>::from_floats([[0.0, 0.0, 0.0]], &device);
    let loss = LsePairLossConfig::new().init().forward(scores, targets);
    assert!((numbers(loss)[0] - 3f64.ln()).abs() < 1e-6);
}

#[test]
fn nothing_lies_above_infinity_and_everything_above_minus_infinity() {
    use PositiveThreshold::{Mean, Strongest, Weakest};
    let device = device();
    let infinity = f32::INFINITY;
    for (guide, threshold, ignored) in [
        ([infinity, infinity, 0.0], Weakest, [false, false]),
        ([infinity, infinity, 0.0], Strongest, [false, false]),
        ([infinity, infinity, 0.0], Mean, [false, false]),
        ([-infinity, -infinity, f32::MIN], Weakest, [false, true]),
        ([-infinity, -infinity, f32::MIN], Strongest, [false, true]),
        ([-infinity, -infinity, f32::MIN], Mean, [false, true]),
        ([0.0, infinity, -infinity], Weakest, [true, false]),
    ] {
        let rule = FalseNegatives::new(threshold);
        let positives = Tensor::from_bool([[true, false, false]], &device);
        let matrix = Tensor::<2>::from_floats([guide], &device);
        let targets = Targets::new(positives).without_false_negatives(matrix, rule);
        let scores = Tensor::<2>::from_floats([[0.0, 1.0, 2.0]], &device);
        let got = numbers(LsePairLossConfig::new().init().forward(scores, targets))[0];
        let negatives = [1f64, 2.0].into_iter().zip(ignored);
        let believed = negatives.filter(|(_, ignored)| !ignored);
        let want = (1.0 + believed.map(|(score, _)| score.exp()).sum::<f64>()).ln();
        assert!(
            (got - want).abs() < 1e-5,
            "{guide:?} {threshold:?}: {got}, {want}"
        );
    }
}

#[test]
#[should_panic(expected = "without_false_negatives: expected a finite margin, got NaN")]
fn the_margin_is_finite() {
    let device = device();
    let rule = FalseNegatives::new(PositiveThreshold::Weakest).with_margin(f64::NAN);
    let targets = Targets::new(Tensor::full([2, 3], true, &device));
    let _ = targets.without_false_negatives(Tensor::<2>::zeros([2, 3], &device), rule);
}

#[test]
#[should_panic(
    expected = "without_false_negatives: expected a guide of [queries, documents] = [2, 3] as the \
                targets have, got [2, 4]"
)]
fn the_guide_has_the_shape_of_the_targets() {
    let device = device();
    let rule = FalseNegatives::new(PositiveThreshold::Weakest);
    let targets = Targets::new(Tensor::full([2, 3], true, &device));
    let _ = targets.without_false_negatives(Tensor::<2>::zeros([2, 4], &device), rule);
}

/// Burn's fusion does not count in types without a sign.
#[test]
fn a_chosen_positive_may_be_given_in_any_type_of_integers() {
    let device = device();
    let rule = FalseNegatives::new(PositiveThreshold::Weakest);
    let loss_of = |dtype: DType| {
        let positives = Tensor::from_bool([[true, true, false, false]], &device);
        let chosen = Tensor::<1, Int>::from_data(TensorData::from([1i64]), (&device, dtype));
        // The third document scores more than the chosen positive, not more than the other.
        let guide = Tensor::<2>::from_floats([[0.9, 0.5, 0.7, 0.1]], &device);
        let targets = Targets::new(positives)
            .with_chosen(chosen)
            .without_false_negatives(guide, rule);
        let scores = Tensor::<2>::from_floats([[1.0, 2.0, 3.0, 2.0]], &device);
        LsePairLossConfig::new().init().forward(scores, targets)
    };
    for dtype in [
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
    ] {
        if supports(dtype) {
            let loss = numbers(loss_of(dtype))[0];
            assert!((loss - 2f64.ln()).abs() < 1e-6, "{dtype:?}: {loss}");
        }
    }
}
