//! Against PyTorch and transformers: the files in `data` are written by `reference.py`.

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use burn::{
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use burn_multi_positive::{GradientCache, LsePairLossConfig, Targets};
use common::{Folder, as_module, autodiff, difference, rows, tensors, tokens};
use pretrained::{
    DualEncoder, Pooling, Pretrained, TextEncoder, Tokenizer, Tokens, adam_w, clip_gradients,
};
use serde::Deserialize;

type Named = BTreeMap<String, Vec<f32>>;

#[derive(Deserialize)]
struct Reference {
    texts: Vec<Vec<u32>>,
    pooled: Vec<Pooled>,
    training: Training,
}

#[derive(Deserialize)]
struct Pooled {
    pooling: String,
    normalize: bool,
    vectors: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Training {
    queries: Vec<Vec<u32>>,
    passages: Vec<Vec<u32>>,
    positives: Vec<Vec<usize>>,
    temperature: f64,
    max_norm: f64,
    learning_rate: f64,
    weight_decay: f32,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    loss: f32,
    norm: f32,
    gradients: Named,
    clipped: Named,
    parameters: Named,
}

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn reference() -> Reference {
    serde_json::from_str(&fs::read_to_string(data("tiny.json")).unwrap()).unwrap()
}

/// The texts whose tokens these are: letters and digits, and `[CLS]` and `[SEP]` around them.
fn texts(ids: &[Vec<u32>], tokenizer: &Tokenizer) -> Vec<Tokens> {
    let tokens = ids.iter().map(|ids| {
        let tokens = tokenizer
            .tokenize(&spelled(&ids[1..ids.len() - 1]))
            .unwrap();
        assert_eq!(tokens.ids(), ids);
        tokens
    });
    tokens.collect()
}

fn spelled(ids: &[u32]) -> String {
    let letters: Vec<char> = ('a'..='z').chain('0'..='9').collect();
    let mut text = String::new();
    for id in ids {
        // The beginning of a word, or what follows.
        if id % 2 == 0 {
            text.push(' ');
        }
        text.push(letters[(*id as usize - 4) / 2]);
    }
    text
}

fn options(pooling: &str, normalize: bool, mut model: Pretrained) -> Pretrained {
    model.options.pooling = match pooling {
        "mean" => Pooling::Mean,
        _ => Pooling::Cls,
    };
    model.options.normalize = normalize;
    model.options.dropout = Some(0.0);
    model
}

#[test]
fn vectors_are_those_of_transformers() {
    let reference = reference();
    let folder = Folder::tiny();
    for pooled in reference.pooled {
        for device in [Device::default(), autodiff()] {
            let model = Pretrained::open(&*folder).unwrap();
            let model = options(&pooled.pooling, pooled.normalize, model);
            let texts = texts(&reference.texts, &model.tokenizer().unwrap());
            let texts: Vec<&Tokens> = texts.iter().collect();
            let encoder = model.encoder(&device).unwrap();
            // In one batch, in several, and each alone.
            for max_tokens in [1000, 40, 1] {
                let vectors = rows(encoder.encode(&texts, max_tokens));
                let differences = vectors.iter().zip(&pooled.vectors);
                let largest = differences.map(|(left, right)| difference(left, right));
                let largest = largest.fold(0.0, f32::max);
                println!("{} {}: {largest:e}", pooled.pooling, pooled.normalize);
                // 1.1e-6 at most with AVX-512, 3.4e-6 with AVX2, which sums up in another order.
                assert!(largest < 6e-6, "{largest:e}");
            }
        }
    }
}

struct Batch {
    queries: Vec<Tokens>,
    passages: Vec<Tokens>,
    targets: Targets,
}

impl Batch {
    fn new(training: &Training, tokenizer: &Tokenizer) -> Self {
        let device = Device::default();
        let count = training.passages.len();
        let relevant = |query: usize| {
            let own = &training.positives[query];
            (0..count)
                .map(|passage| own.contains(&passage))
                .collect::<Vec<_>>()
        };
        let mask: Vec<bool> = (0..training.queries.len()).flat_map(relevant).collect();
        let mask = burn::tensor::TensorData::new(mask, [training.queries.len(), count]);
        Self {
            queries: texts(&training.queries, tokenizer),
            passages: texts(&training.passages, tokenizer),
            targets: Tensor::from_data(mask, &device).into(),
        }
    }
}

/// The loss of a batch, and its gradients.
type Gradients = dyn Fn(&DualEncoder, &Batch, f64) -> (f32, GradientsParams);

fn of_one_graph(model: &DualEncoder, batch: &Batch, temperature: f64) -> (f32, GradientsParams) {
    let loss = LsePairLossConfig::new()
        .with_temperature(temperature)
        .init();
    let queries: Vec<&Tokens> = batch.queries.iter().collect();
    let passages: Vec<&Tokens> = batch.passages.iter().collect();
    let loss = loss.forward_embeddings(
        model.queries().encode(&queries, 1000),
        model.passages().encode(&passages, 1000),
        batch.targets.clone(),
    );
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    (loss.into_scalar(), gradients)
}

fn of_chunks(model: &DualEncoder, batch: &Batch, temperature: f64) -> (f32, GradientsParams) {
    let loss = LsePairLossConfig::new()
        .with_temperature(temperature)
        .init();
    let part = |texts: &[Tokens], encoder: &TextEncoder| {
        let texts: Vec<&Tokens> = texts.iter().collect();
        Ok(encoder.encode(&texts, 20))
    };
    let step = GradientCache::new(model, [3, 4], 0).with_check().step(
        batch.queries.len(),
        |model, range| part(&batch.queries[range], model.queries()),
        batch.passages.len(),
        |model, range| part(&batch.passages[range], model.passages()),
        |queries, passages| Ok(loss.forward_embeddings(queries, passages, batch.targets.clone())),
    );
    let step = step.unwrap();
    (step.loss.into_scalar(), step.gradients)
}

/// Of the largest entry of a tensor, what an entry may be off by; and `absolute`.
fn compare(what: &str, got: &Named, expected: &Named, absolute: f32, relative: f32) {
    let names = |named: &Named| named.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(got), names(expected), "{what}");
    let (mut largest, mut share) = (0.0f32, 0.0f32);
    for (name, expected) in expected {
        let difference = difference(&got[name], expected);
        let size = expected
            .iter()
            .fold(0.0f32, |size, value| size.max(value.abs()));
        assert!(
            difference <= absolute + relative * size,
            "{what} {name}: {difference:e}, with entries up to {size}"
        );
        largest = largest.max(difference);
        if size > absolute {
            share = share.max(difference / size);
        }
    }
    println!("{what}: off by {largest:e}, and {share:e} of a tensor's largest entry");
}

fn gradients_of(folder: &Pretrained, model: &DualEncoder, gradients: &GradientsParams) -> Named {
    let module = as_module(model.clone(), gradients);
    tensors(folder, module.queries())
}

fn two_steps(gradients: &Gradients) {
    let reference = reference().training;
    let folder = Folder::tiny();
    let files = options("mean", true, Pretrained::open(&*folder).unwrap());
    let batch = Batch::new(&reference, &files.tokenizer().unwrap());
    let mut model = DualEncoder::shared(files.encoder(&autodiff()).unwrap());
    let mut optimizer = adam_w(&model, reference.weight_decay);
    for (number, step) in reference.steps.iter().enumerate() {
        let what = |what: &str| format!("step {number}, {what}");
        let (loss, of_step) = gradients(&model, &batch, reference.temperature);
        println!("loss {loss} - {}", step.loss);
        assert!((loss - step.loss).abs() < 1e-5 * step.loss);

        // Off by 4.6e-6 of a tensor's largest entry at most; PyTorch in f32 is off by 3.0e-6.
        let named = gradients_of(&files, &model, &of_step);
        compare(&what("gradients"), &named, &step.gradients, 1e-6, 1e-5);

        assert!(step.norm > reference.max_norm as f32);
        let clipped = clip_gradients(&model, of_step, reference.max_norm);
        let named = gradients_of(&files, &model, &clipped);
        compare(&what("clipped"), &named, &step.clipped, 1e-8, 1e-5);

        model = optimizer.step(reference.learning_rate, model, clipped);
        let [mut named, mut expected] = [tensors(&files, model.queries()), step.parameters.clone()];
        // No loss depends on the bias of the keys. Its gradient is 0, but for rounding, which
        // Adam makes a step of any size up to the learning rate.
        let biases = |named: &mut Named| -> Named {
            named
                .extract_if(.., |name, _| name.ends_with("key.bias"))
                .collect()
        };
        let steps = (number + 1) as f32 * reference.learning_rate as f32;
        for (name, bias) in biases(&mut named) {
            assert!(difference(&bias, &tiny_bert::weights()[&name].1) <= 1.001 * steps);
        }
        biases(&mut expected);
        // Off by 3.9e-6 at most, 1.2e-5 of a tensor's largest entry.
        compare(&what("parameters"), &named, &expected, 0.0, 2e-5);
    }
}

#[test]
fn a_step_of_one_graph_is_that_of_pytorch() {
    two_steps(&of_one_graph);
}

#[test]
fn a_step_of_a_gradient_cache_is_that_of_pytorch() {
    two_steps(&of_chunks);
}

#[derive(Deserialize)]
struct Sentences {
    model: String,
    max_length: usize,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    tokens: usize,
    /// Of the vector.
    millionths: Vec<i32>,
}

/// Needs the folder of the model in `PRETRAINED_MODEL`.
#[test]
fn vectors_of_a_real_model_are_those_of_transformers() {
    let sentences: Sentences =
        serde_json::from_str(&fs::read_to_string(data("sentences.json")).unwrap()).unwrap();
    let folder = std::env::var("PRETRAINED_MODEL").unwrap_or_default();
    if !Path::new(&folder).is_dir() {
        println!(
            "skipped: PRETRAINED_MODEL is no folder with {}",
            sentences.model
        );
        return;
    }
    let mut model = Pretrained::open(folder).unwrap();
    assert_eq!(model.options.pooling, Pooling::Mean);
    assert!(model.options.normalize);
    assert_eq!(model.options.max_length, sentences.max_length);
    model.options.dropout = Some(0.0);
    let expected = sentences.sentences.iter().map(|sentence| {
        let millionths = sentence.millionths.iter();
        millionths.map(|entry| *entry as f32 / 1e6).collect()
    });
    let expected: Vec<Vec<f32>> = expected.collect();
    let texts: Vec<&str> = sentences
        .sentences
        .iter()
        .map(|s| s.text.as_str())
        .collect();
    let texts = tokens(&model, &texts);
    for (text, sentence) in texts.iter().zip(&sentences.sentences) {
        assert_eq!(text.len(), sentence.tokens, "{:?}", sentence.text);
    }
    let texts: Vec<&Tokens> = texts.iter().collect();
    for device in [Device::default(), autodiff()] {
        let vectors = rows(model.encoder(&device).unwrap().encode(&texts, 4096));
        assert_eq!(vectors.len(), expected.len());
        let pairs = vectors.iter().zip(&expected).zip(&sentences.sentences);
        let mut largest = 0.0f32;
        for ((vector, expected), sentence) in pairs {
            let difference = difference(vector, expected);
            // 8e-7 at most, with the rounding of what is compared with.
            assert!(difference < 1e-4, "{difference:e}: {:?}", sentence.text);
            largest = largest.max(difference);
        }
        println!("{device:?}: {largest:e}");
    }
}
