//! A learned temperature: its gradient on every path, its bounds, its record.

use crate::{
    batch::numbers,
    device::{autodiff_devices, device, is_cpu, precisions, rounding},
};
use burn::{
    module::Module,
    optim::{GradientsParams, SgdConfig},
    tensor::{DType, Device, Tensor, TensorData},
};
use burn_multi_positive::{
    Embeddings, LearnableTemperature, LearnableTemperatureConfig, LsePairLossConfig, Scores,
    Shards, Targets,
};

fn wave(rows: usize, factor: f64, device: &Device, dtype: DType) -> Tensor<2> {
    let values: Vec<f64> = (0..rows * 4)
        .map(|i| (i as f64 * factor).sin() * 0.5)
        .collect();
    Tensor::from_data(TensorData::new(values, [rows, 4]), (device, dtype))
}

fn targets(device: &Device) -> Targets {
    Targets::from_groups(&[1, 2, 1], 2, device).unwrap()
}

#[test]
fn the_gradient_is_the_slope_from_a_matrix_tiles_and_shards() {
    for device in autodiff_devices() {
        for dtype in precisions() {
            let (queries, documents) = (wave(3, 0.7, &device, dtype), wave(6, 1.3, &device, dtype));
            let forms: [Box<dyn Fn() -> Scores>; 3] = [
                Box::new(|| queries.clone().matmul(documents.clone().transpose()).into()),
                Box::new(|| {
                    Embeddings::new(queries.clone(), documents.clone())
                        .with_tile(2)
                        .into()
                }),
                Box::new(|| {
                    let queries = vec![
                        queries.clone().narrow(0, 0, 1),
                        queries.clone().narrow(0, 1, 2),
                    ];
                    Shards::new(queries, vec![documents.clone()]).into()
                }),
            ];
            let initial = 0.25;
            let temperature = LearnableTemperatureConfig::new()
                .with_initial(initial)
                .init(&device);
            // As a number of the loss.
            let loss_at = |temperature: f64| {
                let loss = LsePairLossConfig::new()
                    .with_temperature(temperature)
                    .init();
                numbers(loss.forward(forms[0](), targets(&device)))[0]
            };
            let step = if dtype == DType::F64 { 1e-5 } else { 1e-2 };
            // d / d log scale = -T d / dT
            let slope =
                -(loss_at(initial * (1.0 + step)) - loss_at(initial * (1.0 - step))) / (2.0 * step);
            for form in &forms {
                let loss = LsePairLossConfig::new().init();
                let loss = loss.forward(temperature.apply(form()), targets(&device));
                let value = numbers(loss.clone())[0];
                assert!((value - loss_at(initial)).abs() <= 200.0 * rounding(dtype));
                let gradients = loss.backward();
                let gradient = temperature.log_scale().grad(&gradients).expect("a leaf");
                let gradient = numbers(gradient)[0];
                let tolerance = if dtype == DType::F64 { 1e-7 } else { 1e-3 };
                assert!(
                    (gradient - slope).abs() <= tolerance * slope.abs(),
                    "{gradient}, {slope}"
                );
            }
        }
    }
}

/// What is absent is absent from the gradient of the temperature, too.
#[test]
fn scores_that_nobody_reads_leave_the_gradient_alone() {
    const NAN: f32 = f32::NAN;
    const INF: f32 = f32::INFINITY;
    for device in autodiff_devices() {
        let temperature = LearnableTemperatureConfig::new()
            .with_initial(0.5)
            .init(&device);
        let gradient = |scores: Scores, targets: Targets| {
            let loss = LsePairLossConfig::new().init();
            let loss = loss.forward(temperature.apply(scores), targets);
            let gradients = loss.backward();
            let gradient = temperature.log_scale().grad(&gradients).expect("a leaf");
            numbers(gradient)[0]
        };
        // The second query has no positive; the third document is a negative that is ignored,
        // or has no weight.
        let of_matrix = |[ignored, unread]: [f32; 2], candidates: [bool; 3]| {
            let rows = [[0.5, 0.25, ignored], [0.125, unread, 0.75]];
            let scores = Tensor::<2>::from_floats(rows, &device);
            let positives = Tensor::from_bool([[true, false, false], [false; 3]], &device);
            let candidates = Tensor::from_bool([candidates, [true; 3]], &device);
            let targets = Targets::new(positives).with_candidates(candidates);
            gradient(scores.into(), targets)
        };
        let want = of_matrix([0.0, 0.0], [true, true, false]);
        assert!(want != 0.0);
        for absent in [NAN, INF, -INF] {
            let got = of_matrix([absent, 0.0], [true, true, false]);
            assert_eq!(got, want, "an ignored {absent}");
            let got = of_matrix([0.0, absent], [true, true, false]);
            assert_eq!(got, want, "{absent} of a query without a positive");
        }
        let got = of_matrix([-INF, 0.0], [true; 3]);
        assert_eq!(got, want, "a negative of minus infinity");
        // WGSL lets a compiler assume that no number is NaN.
        assert!(of_matrix([NAN, 0.0], [true; 3]).is_nan() || !is_cpu());

        let of_embeddings = |[unread, ignored]: [f32; 2]| {
            let queries = [[0.5, 0.25], [unread, 0.5]];
            let documents = [[0.75, 0.5], [0.25, 1.0], [0.5, ignored]];
            let queries = Tensor::<2>::from_floats(queries, &device);
            let documents = Tensor::<2>::from_floats(documents, &device);
            let positives = Tensor::from_bool([[true, false, false], [false; 3]], &device);
            let candidates = Tensor::from_bool([[true, true, false]; 2], &device);
            let targets = Targets::new(positives).with_candidates(candidates);
            gradient(Embeddings::new(queries, documents).into(), targets)
        };
        let want = of_embeddings([0.0, 0.0]);
        for absent in [NAN, INF, -INF] {
            for pair in [[absent, 0.0], [0.0, absent]] {
                assert_eq!(of_embeddings(pair), want, "{pair:?} among embeddings");
            }
        }
    }
}

#[test]
fn it_is_learned_within_its_bounds_and_goes_on_learning() {
    let device = &autodiff_devices()[0];
    let config = LearnableTemperatureConfig::new();
    let mut temperature = config.with_initial(0.05).with_min(0.02).init(device);
    let mut optimizer = SgdConfig::new().init();
    let loss = LsePairLossConfig::new().init();
    let mut step = |temperature: LearnableTemperature, scores: [f32; 2]| {
        let scores = Tensor::<2>::from_floats([scores], device);
        let positives = Tensor::from_bool([[true, false]], device);
        let loss = loss.forward(temperature.apply(scores), positives);
        let gradients = GradientsParams::from_grads(loss.backward(), &temperature);
        optimizer.step(1e9, temperature, gradients).clamp()
    };
    // A right order asks for a lower temperature, without end.
    temperature = step(temperature, [0.9, 0.1]);
    assert!((numbers(temperature.temperature())[0] - 0.02).abs() < 1e-7);
    // A wrong one asks for a higher, and from the bound there is a way back.
    temperature = step(temperature, [0.1, 0.9]);
    assert!((numbers(temperature.temperature())[0] - 1.0).abs() < 1e-6);
}

#[test]
fn it_is_in_the_record_of_its_model() {
    let device = device();
    let one = LearnableTemperatureConfig::new()
        .with_initial(0.3)
        .init(&device);
    let other = LearnableTemperatureConfig::new().init(&device);
    let restored = other.load_record(one.into_record());
    assert!((numbers(restored.temperature())[0] - 0.3).abs() < 1e-6);
}

#[test]
fn half_precision_scores_are_divided_in_f32() {
    let device = device();
    let scores = || Tensor::<2>::from_floats([[0.5, 0.25, 0.125]], &device);
    let positives = || Tensor::from_bool([[true, false, false]], &device);
    let temperature = LearnableTemperatureConfig::new()
        .with_initial(0.03)
        .init(&device);
    let loss = LsePairLossConfig::new().init();
    let of = |scores: Tensor<2>| numbers(loss.forward(temperature.apply(scores), positives()))[0];
    for dtype in [DType::F16, DType::BF16] {
        if crate::device::supports(dtype) {
            assert_eq!(of(scores().cast(dtype)), of(scores()));
        }
    }
}

#[test]
#[should_panic(
    expected = "LearnableTemperatureConfig: expected 0 < min <= initial <= max, got min 0.01, initial 0.001 \
                and max 1"
)]
fn an_initial_temperature_out_of_its_bounds_panics() {
    let _ = LearnableTemperatureConfig::new()
        .with_initial(0.001)
        .init(&device());
}
