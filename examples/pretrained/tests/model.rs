//! What an encoder computes, and its gradients.

mod common;

use std::collections::BTreeMap;

use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::{DType, Device, Tensor},
};
use common::{Folder, as_module, autodiff, difference, rows, tensors, tokens};
use pretrained::{DualEncoder, Pooling, Precision, Pretrained, TextEncoder, Tokens};

const TEXTS: [&str; 6] = [
    "two words",
    "",
    "one",
    "a text that is longer",
    "x1 y2",
    "words two",
];

/// The folder is gone with the first of the two.
fn tiny() -> (Folder, Pretrained) {
    let folder = Folder::tiny();
    let mut model = Pretrained::open(&*folder).unwrap();
    model.options.dropout = Some(0.0);
    (folder, model)
}

fn close(left: &[Vec<f32>], right: &[Vec<f32>]) -> f32 {
    assert_eq!(left.len(), right.len());
    let differences = left.iter().zip(right);
    differences.fold(0.0, |largest, (a, b)| largest.max(difference(a, b)))
}

/// The gradients of a sum of all entries, each with a weight of its own.
fn gradients(encoder: &TextEncoder, texts: &[&Tokens], max_tokens: usize) -> GradientsParams {
    GradientsParams::from_grads(
        weighed(encoder.encode(texts, max_tokens)).backward(),
        encoder,
    )
}

fn weighed(vectors: Tensor<2>) -> Tensor<1> {
    let [texts, hidden] = vectors.dims();
    let weights: Vec<f32> = (0..texts * hidden).map(|i| (i as f32).sin()).collect();
    let weights = Tensor::<1>::from_floats(&weights[..], &vectors.device());
    (vectors * weights.reshape([texts, hidden])).sum()
}

type Named = BTreeMap<String, Vec<f32>>;

fn named(model: &Pretrained, encoder: &TextEncoder, gradients: &GradientsParams) -> Named {
    tensors(model, &as_module(encoder.clone(), gradients))
}

/// The largest difference, of the largest entry of any tensor.
fn share(left: &Named, right: &Named) -> f32 {
    let entries = left.values().flatten();
    let size = entries.fold(0.0f32, |size, value| size.max(value.abs()));
    let all = |named: &Named| named.values().flatten().copied().collect::<Vec<_>>();
    difference(&all(left), &all(right)) / size
}

#[test]
fn a_vector_does_not_depend_on_the_texts_beside_it() {
    let (_folder, mut model) = tiny();
    let texts = tokens(&model, &TEXTS);
    let texts: Vec<&Tokens> = texts.iter().collect();
    for (pooling, normalize) in [
        (Pooling::Mean, false),
        (Pooling::Cls, false),
        (Pooling::Mean, true),
    ] {
        model.options.pooling = pooling;
        model.options.normalize = normalize;
        for device in [Device::default(), autodiff()] {
            let encoder = model.encoder(&device).unwrap();
            let alone = texts
                .iter()
                .flat_map(|text| rows(encoder.encode(&[text], 100)));
            let alone: Vec<Vec<f32>> = alone.collect();
            for max_tokens in [0, 1, 20, 30, usize::MAX] {
                let together = rows(encoder.encode(&texts, max_tokens));
                let largest = close(&alone, &together);
                println!("{pooling:?} {max_tokens}: {largest:e}");
                assert!(largest < 2e-6, "{pooling:?} {max_tokens}: {largest:e}");
            }
        }
    }
    // Or the order of the rows would not show.
    let encoder = model.encoder(&Device::default()).unwrap();
    let vectors = rows(encoder.encode(&texts, 100));
    assert!(difference(&vectors[0], &vectors[5]) > 1e-3);
}

#[test]
fn without_texts_there_are_no_vectors() {
    let (_folder, model) = tiny();
    for device in [Device::default(), autodiff()] {
        let vectors = model.encoder(&device).unwrap().encode(&[], 100);
        assert_eq!(vectors.dims(), [0, model.config.hidden_size]);
    }
}

#[test]
fn with_a_graph_vectors_are_the_same() {
    let (_folder, model) = tiny();
    let texts = tokens(&model, &TEXTS);
    let texts: Vec<&Tokens> = texts.iter().collect();
    let [plain, graph] = [Device::default(), autodiff()].map(|device| {
        let encoder = model.encoder(&device).unwrap();
        rows(encoder.encode(&texts, 30))
    });
    let largest = close(&plain, &graph);
    println!("{largest:e}");
    assert!(largest < 2e-6, "{largest:e}");
}

#[test]
fn gradients_do_not_depend_on_the_passes_and_the_texts_beside() {
    let (_folder, model) = tiny();
    let encoder = model.encoder(&autodiff()).unwrap();
    let texts = tokens(&model, &TEXTS);
    let texts: Vec<&Tokens> = texts.iter().collect();
    let one = named(&model, &encoder, &gradients(&encoder, &texts, 1000));
    for max_tokens in [1, 30] {
        let several = named(&model, &encoder, &gradients(&encoder, &texts, max_tokens));
        let share = share(&one, &several);
        assert!(share < 1e-6, "{share:e}");
    }
}

fn of_dual(model: &DualEncoder, queries: &[&Tokens], passages: &[&Tokens]) -> GradientsParams {
    let loss = weighed(model.queries().encode(queries, 100))
        + weighed(model.passages().encode(passages, 100)).mul_scalar(0.5);
    GradientsParams::from_grads(loss.backward(), model)
}

#[test]
fn towers_have_gradients_of_their_own_and_a_shared_one_their_sum() {
    let (_folder, model) = tiny();
    let device = autodiff();
    let make = || model.encoder(&device).unwrap();
    let texts = tokens(&model, &TEXTS);
    let texts: Vec<&Tokens> = texts.iter().collect();
    let (queries, passages) = texts.split_at(2);

    let shared = DualEncoder::shared(make());
    let sum = of_dual(&shared, queries, passages);
    let sum = named(&model, shared.queries(), &sum);
    let apart = DualEncoder::separate(make(), make());
    assert!(shared.is_shared() && !apart.is_shared());
    let parts = of_dual(&apart, queries, passages);
    let parts = [apart.queries(), apart.passages()].map(|tower| named(&model, tower, &parts));

    assert!(share(&parts[0], &parts[1]) > 0.1);
    let added = parts[0].iter().map(|(name, left)| {
        let both = left.iter().zip(&parts[1][name]);
        (
            name.clone(),
            both.map(|(left, right)| left + right).collect(),
        )
    });
    let share = share(&sum, &added.collect());
    assert!(share < 1e-6, "{share:e}");
}

#[test]
fn dropout_drops_in_training_only() {
    let (_folder, mut model) = tiny();
    let texts = tokens(&model, &TEXTS);
    let texts: Vec<&Tokens> = texts.iter().collect();
    let without = rows(
        model
            .encoder(&Device::default())
            .unwrap()
            .encode(&texts, 100),
    );
    for dropout in [None, Some(0.5)] {
        model.options.dropout = dropout;
        let encoder = model.encoder(&autodiff()).unwrap();
        let [first, second] = [(); 2].map(|()| rows(encoder.encode(&texts, 100)));
        assert!(close(&first, &second) > 1e-3);
        assert!(close(&first, &without) > 1e-3);
        assert_eq!(rows(encoder.valid().encode(&texts, 100)), without);
    }
}

#[test]
fn bfloat16_is_close_and_its_gradients_are_f32() {
    let (_folder, mut model) = tiny();
    model.options.normalize = true;
    let texts = tokens(&model, &TEXTS);
    let texts: Vec<&Tokens> = texts.iter().collect();
    for device in [Device::default(), autodiff()] {
        let [exact, rounded] = [Precision::F32, Precision::Bf16].map(|precision| {
            model.options.precision = precision;
            let vectors = model.encoder(&device).unwrap().encode(&texts, 100);
            assert_eq!(vectors.dtype(), DType::F32);
            rows(vectors)
        });
        let largest = close(&exact, &rounded);
        println!("{largest:e}");
        // Eight bits: 0.019 at most.
        assert!(1e-5 < largest && largest < 0.05, "{largest}");
    }
    let [exact, rounded] = [Precision::F32, Precision::Bf16].map(|precision| {
        model.options.precision = precision;
        let encoder = model.encoder(&autodiff()).unwrap();
        // `tensors` takes gradients in f32 only.
        named(&model, &encoder, &gradients(&encoder, &texts, 100))
    });
    let share = share(&exact, &rounded);
    println!("gradients {share:e}");
    assert!(1e-5 < share && share < 0.05, "{share}");
}
