//! A learned bias: its gradient on every path, and with what else goes around a loss.

use crate::{
    batch::{matrix, numbers},
    device::{
        autodiff_devices, device, is_cpu, multiplies_nothing, precisions, rounding, supports,
    },
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_multi_positive::{
    Bidirectional, Embeddings, Forward, LearnableBias, LearnableBiasConfig,
    LearnableTemperatureConfig, Matryoshka, Scores, Shards, SigmoidLoss, SigmoidLossConfig,
    Targets,
};

fn wave(rows: usize, factor: f64, device: &Device, dtype: DType) -> Tensor<2> {
    let values: Vec<f64> = (0..rows * 4)
        .map(|i| (i as f64 * factor).sin() * 0.5)
        .collect();
    Tensor::from_data(TensorData::new(values, [rows, 4]), (device, dtype)).require_grad()
}

fn targets(device: &Device) -> Targets {
    Targets::from_groups(&[1, 2, 1], 2, device).unwrap()
}

fn sigmoid(bias: f64) -> SigmoidLoss {
    SigmoidLossConfig::new()
        .with_temperature(0.5)
        .with_bias(bias)
        .init()
}

/// Learned, and of the loss: the same values and gradients, which `forms` compute.
fn compare<const N: usize>(
    device: &Device,
    dtype: DType,
    forms: [fn(&Tensor<2>, &Tensor<2>) -> Scores; N],
    loss: impl Fn(f64, Scores) -> Tensor<1>,
) {
    let (queries, documents) = (wave(3, 0.7, device, dtype), wave(6, 1.3, device, dtype));
    let run = |loss: Tensor<1>| {
        let value = numbers(loss.clone())[0];
        let gradients = loss.backward();
        let of = |x: &Tensor<2>| matrix(x.grad(&gradients).expect("a leaf")).concat();
        (value, [of(&queries), of(&documents)].concat(), gradients)
    };
    for form in forms {
        let bias = LearnableBiasConfig::new().with_initial(-1.25).init(device);
        let scores = bias.apply(form(&queries, &documents));
        let (value, gradient, gradients) = run(loss(0.0, scores));
        // 0.5 of the score is what the temperature makes of it.
        let (want, want_gradient, _) = run(loss(-2.5, form(&queries, &documents)));
        let error = 200.0 * rounding(dtype);
        assert!(
            (value - want).abs() <= error * (1.0 + want),
            "{value}, {want}"
        );
        for (got, want) in gradient.iter().zip(&want_gradient) {
            assert!(
                (got - want).abs() <= error * (1.0 + want.abs()),
                "{got}, {want}"
            );
        }
        let at = |bias: f64| numbers(loss(2.0 * bias, form(&queries, &documents)))[0];
        let step = if dtype == DType::F64 { 1e-5 } else { 1e-2 };
        let slope = (at(-1.25 + step) - at(-1.25 - step)) / (2.0 * step);
        let got = numbers(bias.bias().grad(&gradients).expect("a leaf"))[0];
        let tolerance = if dtype == DType::F64 { 1e-7 } else { 2e-3 };
        assert!(
            (got - slope).abs() <= tolerance * slope.abs(),
            "{got}, {slope}"
        );
    }
}

fn product(queries: &Tensor<2>, documents: &Tensor<2>) -> Scores {
    queries.clone().matmul(documents.clone().transpose()).into()
}

fn tiles(queries: &Tensor<2>, documents: &Tensor<2>) -> Scores {
    Embeddings::new(queries.clone(), documents.clone())
        .with_tile(2)
        .into()
}

fn shards(queries: &Tensor<2>, documents: &Tensor<2>) -> Scores {
    let queries = [0..1, 1..1, 1..3].map(|rows| queries.clone().slice([rows]));
    Shards::new(queries.to_vec(), vec![documents.clone()]).into()
}

#[test]
fn it_is_the_bias_of_the_loss_from_a_matrix_tiles_and_shards() {
    for device in autodiff_devices() {
        for dtype in precisions() {
            compare(&device, dtype, [product, tiles, shards], |bias, scores| {
                sigmoid(bias).forward(scores, targets(&device))
            });
            compare(&device, dtype, [product, tiles, shards], |bias, scores| {
                Bidirectional::new(sigmoid(bias)).forward(scores, targets(&device))
            });
            compare(&device, dtype, [tiles, shards], |bias, scores| {
                let loss = Bidirectional::new(sigmoid(bias)).with_same_side(true);
                loss.forward(scores, targets(&device))
            });
            compare(&device, dtype, [tiles, shards], |bias, scores| {
                let loss = Matryoshka::new(sigmoid(bias), &[4, 2]);
                loss.forward(scores, targets(&device))
            });
        }
    }
}

/// In half precision -9.87 would be -9.875 or -9.88, and its gradient as coarse.
#[test]
fn half_precision_does_not_round_it() {
    for device in autodiff_devices() {
        for dtype in [DType::F16, DType::BF16, DType::F32] {
            if !supports(dtype) {
                continue;
            }
            let [queries, documents] = [
                wave(3, 0.7, &device, DType::F32),
                wave(6, 1.3, &device, DType::F32),
            ]
            .map(|x| x.cast(dtype).detach());
            let run = |queries: Tensor<2>, documents: Tensor<2>, bias: f64, of_loss: f64| {
                let bias = LearnableBiasConfig::new().with_initial(bias).init(&device);
                let scores = bias.apply(Embeddings::new(queries, documents));
                let loss = sigmoid(of_loss).forward(scores, targets(&device));
                let value = numbers(loss.clone())[0];
                let gradient = bias.bias().grad(&loss.backward()).expect("a leaf");
                [value, numbers(gradient)[0]]
            };
            let got = run(queries.clone(), documents.clone(), -9.87, 0.0);
            let [queries, documents] = [queries, documents].map(|x| x.cast(DType::F32));
            let want = run(queries, documents, 0.0, -2.0 * 9.87);
            for (got, want) in got.into_iter().zip(want) {
                assert!(
                    (got - want).abs() < 2e-5 * want.abs(),
                    "{dtype:?}: {got}, {want}"
                );
            }
        }
    }
}

#[test]
fn a_temperature_after_it_divides_it_too() {
    let device = &autodiff_devices()[0];
    let temperature = LearnableTemperatureConfig::new()
        .with_initial(0.5)
        .init(device);
    let bias: LearnableBias = LearnableBiasConfig::new().with_initial(-1.0).init(device);
    let (queries, documents) = (
        wave(3, 0.7, device, DType::F32),
        wave(6, 1.3, device, DType::F32),
    );
    let loss = SigmoidLossConfig::new()
        .with_temperature(1.0)
        .with_bias(0.0)
        .init();
    let loss = |scores: Scores| numbers(loss.forward(scores, targets(device)))[0];
    let before = loss(temperature.apply(bias.apply(tiles(&queries, &documents))));
    let after = loss(bias.apply(bias.apply(temperature.apply(tiles(&queries, &documents)))));
    assert!((before - after).abs() < 1e-5, "{before}, {after}");
}

#[test]
fn nothing_to_add_to_is_no_harm() {
    let device = &autodiff_devices()[0];
    let bias = LearnableBiasConfig::new().init(device);
    let nothing = |rows: usize| Tensor::<2>::zeros([rows, 3], device).require_grad();
    for counts in [[0, 2], [2, 0], [0, 0]] {
        let targets = || Targets::new(Tensor::full(counts, true, device));
        let (queries, documents) = (nothing(counts[0]), nothing(counts[1]));
        let product: Scores = Tensor::<2>::zeros(counts, device).into();
        let embeddings = multiplies_nothing().then(|| Embeddings::new(queries, documents).into());
        for scores in embeddings.into_iter().chain([product]) {
            let loss = sigmoid(0.0).forward(bias.apply(scores), targets());
            assert_eq!(numbers(loss.clone()), [0.0]);
            let gradient = bias.bias().grad(&loss.backward()).expect("a leaf");
            // A sum over nothing is any number elsewhere.
            assert!(!is_cpu() || numbers(gradient) == [0.0]);
        }
    }
}

#[test]
#[should_panic(expected = "LearnableBiasConfig: initial must be finite and below 1e30, got NaN")]
fn the_bias_is_finite() {
    let _ = LearnableBiasConfig::new()
        .with_initial(f64::NAN)
        .init(&device());
}
