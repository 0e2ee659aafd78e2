//! Scores and masks that are views of other tensors: transposed, sliced, broadcast.

use crate::{
    close::{Tolerance, assert_all_close},
    device::device,
};
use burn::tensor::{Bool, DType, Distribution, Tensor};
use burn_multi_positive::{LsePairLossConfig, Targets};

const SHAPE: [usize; 2] = [5, 70];

type View<K> = (&'static str, [usize; 2], fn(Tensor<2, K>) -> Tensor<2, K>);

fn views<K: burn::tensor::kind::Basic>() -> [View<K>; 5] {
    let [queries, documents] = SHAPE;
    [
        ("transposed", [documents, queries], |x| x.transpose()),
        ("rows of a larger one", [queries + 4, documents], |x| {
            x.narrow(0, 3, SHAPE[0])
        }),
        ("columns of a larger one", [queries, documents + 9], |x| {
            x.narrow(1, 5, SHAPE[1])
        }),
        ("a row for all", [1, documents], |x| x.expand(SHAPE)),
        ("a column for all", [queries, 1], |x| x.expand(SHAPE)),
    ]
}

fn random(shape: [usize; 2]) -> Tensor<2> {
    let _turn = crate::device::turn_to_draw();
    Tensor::random(shape, Distribution::Uniform(-3.0, 3.0), &device())
}

/// The same values in a tensor of their own.
fn copy<K: burn::tensor::kind::Basic>(tensor: &Tensor<2, K>) -> Tensor<2, K> {
    Tensor::from_data(tensor.to_data(), &tensor.device())
}

/// The losses of all queries and the gradient of the scores.
fn run(scores: Tensor<2>, targets: Targets) -> (Vec<f64>, Vec<f64>) {
    let scores = scores.autodiff().require_grad();
    let loss = LsePairLossConfig::new().init();
    let rows = loss.forward_no_reduction(scores.clone(), targets);
    let gradient = scores.grad(&rows.clone().sum().backward()).unwrap();
    let numbers = |data: burn::tensor::TensorData| data.iter::<f64>().collect();
    (numbers(rows.into_data()), numbers(gradient.into_data()))
}

fn assert_same(what: &str, got: (Vec<f64>, Vec<f64>), want: (Vec<f64>, Vec<f64>)) {
    let tolerance = Tolerance::units(DType::F32, 8.0).absolute(1e-7);
    assert_all_close(format!("{what}: losses"), &got.0, &want.0, tolerance);
    assert_all_close(format!("{what}: gradient"), &got.1, &want.1, tolerance);
}

fn mask(shape: [usize; 2], threshold: f64) -> Tensor<2, Bool> {
    random(shape).greater_scalar(threshold)
}

#[test]
fn scores_may_be_a_view() {
    for (what, shape, view) in views() {
        let scores = view(random(shape));
        let targets = Targets::new(mask(SHAPE, 2.0)).with_candidates(mask(SHAPE, -2.0));
        let want = run(copy(&scores), targets.clone());
        assert_same(what, run(scores, targets), want);
    }
}

#[test]
fn masks_may_be_views() {
    for (what, shape, view) in views() {
        let scores = random(SHAPE);
        let (positives, candidates) = (view(mask(shape, 2.0)), view(mask(shape, -2.0)));
        let copies = Targets::new(copy(&positives)).with_candidates(copy(&candidates));
        let views = Targets::new(positives).with_candidates(candidates);
        assert_same(what, run(scores.clone(), views), run(scores, copies));
    }
}

#[test]
fn gradients_pass_a_view_back_to_its_base() {
    let base = random([SHAPE[0], SHAPE[1] + 9]).autodiff().require_grad();
    let part = base.clone().narrow(1, 5, SHAPE[1]);
    let targets = Targets::new(mask(SHAPE, 2.0));
    let (_, want) = run(copy(&part.clone().inner()), targets.clone());
    let rows = LsePairLossConfig::new()
        .init()
        .forward_no_reduction(part, targets);
    let gradient = base.grad(&rows.sum().backward()).unwrap();
    let inside = gradient.clone().narrow(1, 5, SHAPE[1]).into_data();
    let inside: Vec<f64> = inside.iter().collect();
    assert_all_close(
        "inside",
        &inside,
        &want,
        Tolerance::units(DType::F32, 8.0).absolute(1e-7),
    );
    let outside = gradient
        .clone()
        .narrow(1, 0, 5)
        .abs()
        .sum()
        .into_scalar::<f32>();
    assert_eq!(outside, 0.0);
}

/// LSEPair and its gradient in f64, one query after the other.
fn lse_pair(scores: &[f64], positives: &[bool], temperature: f64) -> (f64, Vec<f64>) {
    let exp = |(score, positive): (&f64, &bool)| match positive {
        true => (-score / temperature).exp(),
        false => (score / temperature).exp(),
    };
    let sum = |of: bool| -> f64 {
        let pairs = scores.iter().zip(positives);
        pairs
            .filter(|(_, positive)| **positive == of)
            .map(exp)
            .sum()
    };
    let (positive_sum, negative_sum) = (sum(true), sum(false));
    let pairs = positive_sum * negative_sum;
    let pull = pairs / (1.0 + pairs) / temperature;
    let gradient = scores.iter().zip(positives).map(|pair| match pair.1 {
        _ if pairs == 0.0 => 0.0,
        true => -pull * exp(pair) / positive_sum,
        false => pull * exp(pair) / negative_sum,
    });
    (pairs.ln_1p(), gradient.collect())
}

#[test]
fn awkward_shapes_give_what_the_definition_gives() {
    const TEMPERATURE: f64 = 0.5;
    let loss = LsePairLossConfig::new()
        .with_temperature(TEMPERATURE)
        .init();
    for shape in [[1, 1], [1, 7], [7, 1], [41, 1271], [3, 100_003], [300, 3]] {
        let scores = random(shape).autodiff().require_grad();
        let positives = mask(shape, 2.9);
        let rows = loss.forward_no_reduction(scores.clone(), positives.clone());
        let gradient = scores.grad(&rows.clone().sum().backward()).unwrap();
        let rows: Vec<f64> = rows.into_data().iter().collect();
        let gradient: Vec<f64> = gradient.into_data().iter().collect();
        let scores: Vec<f64> = scores.into_data().iter().collect();
        let positives: Vec<bool> = positives.into_data().iter().collect();
        let tolerance = Tolerance::units(DType::F32, 64.0).absolute(1e-7);
        for query in 0..shape[0] {
            let row = query * shape[1]..(query + 1) * shape[1];
            let (want, slopes) =
                lse_pair(&scores[row.clone()], &positives[row.clone()], TEMPERATURE);
            let what = format!("{shape:?}, query {query}");
            assert_all_close(
                format!("{what}: loss"),
                &rows[query..=query],
                &[want],
                tolerance,
            );
            assert_all_close(
                format!("{what}: gradient"),
                &gradient[row],
                &slopes,
                tolerance,
            );
        }
    }
}
