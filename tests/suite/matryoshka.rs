//! Nested dimensions, against embeddings that are cut and normalized by hand.

use crate::{
    batch::{matrix, numbers},
    device::{autodiff_devices, device, precisions, rounding, turn_to_draw},
};
use burn::{
    nn::loss::Reduction,
    tensor::{DType, Device, Tensor, TensorData},
};
use burn_multi_positive::{
    Bidirectional, Embeddings, Forward, LsePairLoss, LsePairLossConfig, Matryoshka,
    Rand1LhLossConfig, Scores, Shards, Targets,
};

const COUNTS: [usize; 2] = [4, 8];
const DIMENSIONS: usize = 12;
const SIZES: [usize; 3] = [12, 3, 7];
const WEIGHTS: [f64; 3] = [1.0, 0.25, 0.5];

/// Embeddings of queries and documents; one of these is all zeros in its first dimensions.
fn embeddings(device: &Device, dtype: DType) -> [Tensor<2>; 2] {
    let leaf = |rows: usize, step: f64| {
        let mut values: Vec<f64> = (0..rows * DIMENSIONS)
            .map(|i| (i as f64 * step + 0.3).sin() * 3.0)
            .collect();
        values[DIMENSIONS..][..3].fill(0.0);
        let data = TensorData::new(values, [rows, DIMENSIONS]);
        Tensor::from_data(data, (device, dtype)).require_grad()
    };
    [leaf(COUNTS[0], 0.71), leaf(COUNTS[1], 1.37)]
}

fn targets(device: &Device) -> Targets {
    Targets::from_groups(&[1, 2, 0, 1], 2, device).unwrap()
}

fn loss() -> LsePairLoss {
    LsePairLossConfig::new().with_temperature(0.2).init()
}

fn nested<L: Forward>(loss: L) -> Matryoshka<L> {
    Matryoshka::new(loss, &SIZES).with_weights(&WEIGHTS)
}

/// Cut, and of length 1 but for zeros.
fn cut(x: &Tensor<2>, size: usize) -> Tensor<2> {
    let x = x.clone().narrow(1, 0, size);
    let squares = x.clone().powi_scalar(2).sum_dim(1);
    let zero = squares.clone().equal_scalar(0.0);
    x / squares.mask_fill(zero, 1.0).sqrt()
}

/// The value and the gradients of queries and documents.
fn outcome(loss: Tensor<1>, [queries, documents]: &[Tensor<2>; 2]) -> [Vec<f64>; 3] {
    let value = numbers(loss.clone());
    let gradients = loss.backward();
    let of = |x: &Tensor<2>| matrix(x.grad(&gradients).expect("a leaf")).concat();
    [value, of(queries), of(documents)]
}

#[track_caller]
fn assert_close(what: &str, got: [Vec<f64>; 3], want: &[Vec<f64>; 3], error: f64) {
    for (got, want) in got.iter().zip(want) {
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            assert!(
                (got - want).abs() <= error * (1.0 + want.abs()),
                "{what}: got {got}, expected {want}"
            );
        }
    }
}

/// The sum over the sizes of a loss of what is cut by hand.
fn by_hand(
    [queries, documents]: &[Tensor<2>; 2],
    loss: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<1>,
) -> Tensor<1> {
    let sizes = SIZES.iter().zip(WEIGHTS);
    let sizes = sizes
        .map(|(&size, weight)| loss(cut(queries, size), cut(documents, size)).mul_scalar(weight));
    sizes.reduce(Tensor::add).unwrap()
}

/// Cut by hand, zeros have a gradient: it is left out.
fn without_zeros([value, mut of_queries, mut of_documents]: [Vec<f64>; 3]) -> [Vec<f64>; 3] {
    for of in [&mut of_queries, &mut of_documents] {
        of[DIMENSIONS..][..3].fill(0.0);
    }
    [value, of_queries, of_documents]
}

#[test]
fn it_is_the_sum_over_what_is_cut_and_normalized() {
    for device in autodiff_devices() {
        for dtype in precisions() {
            let leaves = embeddings(&device, dtype);
            let [queries, documents] = &leaves;
            let both = || Embeddings::new(queries.clone(), documents.clone());
            let error = 1000.0 * rounding(dtype);
            let want = by_hand(&leaves, |queries, documents| {
                let scores = queries.matmul(documents.transpose());
                loss().forward(scores, targets(&device))
            });
            let want = without_zeros(outcome(want, &leaves));
            let shards = Shards::new(
                vec![
                    queries.clone().narrow(0, 0, 1),
                    queries.clone().narrow(0, 1, 3),
                ],
                vec![documents.clone()],
            );
            let forms: [(&str, Scores); 3] = [
                ("embeddings", both().into()),
                ("tiles", both().with_tile([3, 2]).into()),
                ("shards", shards.into()),
            ];
            for (name, scores) in forms {
                let got = nested(loss()).forward(scores, targets(&device));
                assert_close(name, without_zeros(outcome(got, &leaves)), &want, error);
            }
            let bidirectional = || Bidirectional::new(loss()).with_same_side(true);
            let want = by_hand(&leaves, |queries, documents| {
                let scores = Embeddings::new(queries, documents);
                bidirectional().forward(scores, targets(&device))
            });
            let want = without_zeros(outcome(want, &leaves));
            let got = nested(bidirectional()).forward(both(), targets(&device));
            let got = without_zeros(outcome(got, &leaves));
            assert_close("bidirectional", got, &want, error);
        }
    }
}

#[test]
fn reductions_are_those_of_the_loss() {
    let device = device().autodiff();
    let [queries, documents] = embeddings(&device, DType::F32);
    let both = || Embeddings::new(queries.clone(), documents.clone());
    let weights = Tensor::from_floats([1.0, 0.5, 1.0, 0.0], &device);
    let targets = || targets(&device).with_query_weights(weights.clone());
    let rows = numbers(nested(loss()).forward_no_reduction(both(), targets()));
    assert_eq!(rows.len(), COUNTS[0]);
    assert_eq!(rows[2], 0.0);
    let want = (rows[0] + 0.5 * rows[1]) / 1.5;
    let mean = numbers(nested(loss()).forward(both(), targets()))[0];
    assert!((mean - want).abs() < 1e-5, "{mean}, {want}");
    let sum = nested(loss()).forward_with_reduction(both(), targets(), Reduction::Sum);
    assert!((numbers(sum)[0] - 1.5 * want).abs() < 1e-5);
}

#[test]
fn raw_dot_products_stay_raw() {
    let device = device().autodiff();
    let [queries, documents] = embeddings(&device, DType::F32);
    let got = nested(loss()).with_normalization(false);
    let got = got.forward_embeddings(queries.clone(), documents.clone(), targets(&device));
    let cut = |x: &Tensor<2>, size| x.clone().narrow(1, 0, size);
    let want: f64 = SIZES
        .iter()
        .zip(WEIGHTS)
        .map(|(&size, weight)| {
            let scores = cut(&queries, size).matmul(cut(&documents, size).transpose());
            weight * numbers(loss().forward(scores, targets(&device)))[0]
        })
        .sum();
    let got = numbers(got)[0];
    assert!((got - want).abs() < 1e-4 * want, "{got}, {want}");
}

#[test]
fn zeros_and_ignored_rows_without_a_length_do_no_harm() {
    let device = device().autodiff();
    let rows = [
        [0.0, 0.0, 0.0],
        [1.0, 2.0, 3.0],
        [f32::NAN, 0.0, f32::INFINITY],
    ];
    let documents = Tensor::<2>::from_floats(rows, &device).require_grad();
    let queries = Tensor::<2>::from_floats([[1.0, 0.5, 0.0]], &device).require_grad();
    let candidates = Tensor::from_bool([[true, true, false]], &device);
    let targets = Targets::new(Tensor::from_bool([[true, false, true]], &device));
    let loss = Matryoshka::new(loss(), &[1, 3]).forward_embeddings(
        queries.clone(),
        documents.clone(),
        targets.with_candidates(candidates),
    );
    let [value, of_queries, of_documents] = outcome(loss, &[queries, documents]);
    assert!(value[0].is_finite() && value[0] > 0.0);
    assert!(
        [of_queries, of_documents.clone()]
            .concat()
            .iter()
            .all(|x| x.is_finite())
    );
    assert_eq!(of_documents[6..], [0.0; 3]);
}

#[test]
fn half_precision_is_normalized_in_f32() {
    for dtype in [DType::BF16, DType::F16] {
        if !crate::device::supports(dtype) {
            continue;
        }
        let device = device().autodiff();
        let half = embeddings(&device, dtype);
        // Squares of 300 overflow f16.
        let half = half.map(|x| {
            let data = x.mul_scalar(100.0).into_data();
            Tensor::<2>::from_data(data, (&device, dtype)).require_grad()
        });
        let wide = half.each_ref().map(|x| {
            let data = x.clone().into_data();
            Tensor::<2>::from_data(data, (&device, DType::F32)).require_grad()
        });
        let run = |leaves: &[Tensor<2>; 2]| {
            let [queries, documents] = leaves.clone();
            let loss = nested(loss()).forward_embeddings(queries, documents, targets(&device));
            assert_eq!(loss.dtype(), DType::F32);
            outcome(loss, leaves)
        };
        assert_close(&format!("{dtype:?}"), run(&half), &run(&wide), 0.02);
    }
}

/// One choice of a positive holds for all sizes.
#[test]
fn a_draw_is_one_for_all_sizes() {
    let _turn = turn_to_draw();
    let device = device();
    // At each size the loss of the first positive is small, and that of the second is large.
    let queries = Tensor::<2>::from_floats([[1.0, 1.0]], &device);
    let rows = [[1.0, 1.0], [-1.0, -1.0], [0.1, 0.1]];
    let documents = Tensor::<2>::from_floats(rows, &device);
    let positives = Tensor::from_bool([[true, true, false]], &device);
    let draw = || Rand1LhLossConfig::new().init();
    let one = |loss: &dyn Fn(Embeddings, Targets) -> Tensor<1>| {
        let both = Embeddings::new(queries.clone(), documents.clone());
        numbers(loss(both, Targets::new(positives.clone())))[0]
    };
    let direct = Matryoshka::new(draw(), &[1, 2]);
    let around = Matryoshka::new(Bidirectional::new(draw()).with_weights([1.0, 0.0]), &[1, 2]);
    // The negative has the cosine 1.
    let of = |cosine: f64| (1.0 + (1.0 - cosine).exp()).ln();
    let possible = [2.0 * of(1.0), 2.0 * of(-1.0)];
    for _ in 0..20 {
        for got in [
            one(&|scores, targets| direct.forward(scores, targets)),
            one(&|scores, targets| around.forward(scores, targets)),
        ] {
            let is_one = possible.iter().any(|want| (got - want).abs() < 1e-5);
            assert!(is_one, "{got} is none of {possible:?}");
        }
    }
}

#[test]
fn a_size_without_weight_is_left_out() {
    let device = device();
    let queries = Tensor::<2>::from_floats([[1.0, f32::NAN]], &device);
    let documents = Tensor::<2>::from_floats([[1.0, 1.0], [0.5, 1.0]], &device);
    let positives = || Tensor::from_bool([[true, false]], &device);
    let run = |weights: &[f64]| {
        let loss = Matryoshka::new(loss(), &[1, 2]).with_weights(weights);
        numbers(loss.forward_embeddings(queries.clone(), documents.clone(), positives()))[0]
    };
    assert!((run(&[2.0, 0.0]) - 2.0 * 2f64.ln()).abs() < 1e-5);
    assert!(run(&[2.0, 1.0]).is_nan());
    assert_eq!(run(&[0.0, 0.0]), 0.0);
}

#[test]
fn embeddings_of_any_length_are_normalized() {
    let device = device().autodiff();
    let run = |factor: f64| {
        let leaves = embeddings(&device, DType::F32).map(|x| {
            let x = x.mul_scalar(factor).into_data();
            Tensor::<2>::from_data(x, (&device, DType::F32)).require_grad()
        });
        let [queries, documents] = leaves.clone();
        let loss = nested(loss()).forward_embeddings(queries, documents, targets(&device));
        let [value, of_queries, of_documents] = outcome(loss, &leaves);
        let scaled = |of: Vec<f64>| of.into_iter().map(|x| x * factor).collect();
        [value, scaled(of_queries), scaled(of_documents)]
    };
    let want = run(1.0);
    for factor in [1e-12, 1e-6, 1e6, 1e12] {
        assert_close(&format!("{factor:e}"), run(factor), &want, 1e-4);
    }
}

#[test]
#[should_panic(expected = "Matryoshka::new: expected sizes above 0, at least one, got [4, 0]")]
fn a_size_is_not_zero() {
    let _ = Matryoshka::new(loss(), &[4, 0]);
}

#[test]
#[should_panic(
    expected = "Matryoshka::with_weights: expected a finite weight for each of 2 sizes, got [1.0]"
)]
fn each_size_has_a_weight() {
    let _ = Matryoshka::new(loss(), &[4, 2]).with_weights(&[1.0]);
}

#[test]
#[should_panic(expected = "Matryoshka: expected embeddings of at least 13 dimensions, got 12")]
fn a_size_is_within_the_dimensions() {
    let device = device().autodiff();
    let [queries, documents] = embeddings(&device, DType::F32);
    let loss = Matryoshka::new(loss(), &[13]);
    let _ = loss.forward_embeddings(queries, documents, targets(&device));
}

#[test]
#[should_panic(expected = "Matryoshka: expected embeddings, got a matrix of scores")]
fn scores_have_no_dimensions() {
    let device = device();
    let scores = Tensor::<2>::zeros([2, 3], &device);
    let positives = Tensor::<2, burn::tensor::Bool>::full([2, 3], true, &device);
    let _ = Matryoshka::new(loss(), &[1]).forward(scores, positives);
}
