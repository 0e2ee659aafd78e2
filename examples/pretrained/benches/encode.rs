//! Tokens a second of an encoder of MiniLM's size with random weights: embedding
//! passages, and training steps.
//!
//! `cargo bench -p pretrained --bench encode`; `benches/peers/encode.py` takes the same
//! in PyTorch. `MEMORY=32` takes one training step in chunks of so many texts instead,
//! and prints its peak memory (Linux).

use std::{fs, hint::black_box};

use burn::tensor::Device;
use burn_multi_positive::{GradientCache, LsePairLossConfig, Targets};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pretrained::{Bert, BertConfig, EncoderOptions, TextEncoder, Tokens};

/// Tokens with padding of a pass when passages are embedded.
const PASS: usize = 1024;

fn encoder(device: &Device) -> TextEncoder {
    let config = BertConfig {
        hidden_size: 384,
        num_hidden_layers: 6,
        intermediate_size: 1536,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..Default::default()
    };
    let options = EncoderOptions {
        normalize: true,
        ..Default::default()
    };
    device.seed(0);
    TextEncoder::new(Bert::new(&config, device), &options)
}

/// Texts of 32 to 255 tokens.
fn texts(count: usize) -> Vec<Tokens> {
    let text = |index: usize| {
        let length = 32 + index * 97 % 224;
        let ids = (0..length).map(|place| ((index * 7919 + place * 104_729) % 30_000) as u32);
        Tokens::from(ids.collect::<Vec<_>>())
    };
    (0..count).map(text).collect()
}

fn benches(criterion: &mut Criterion) {
    if let Ok(chunk) = std::env::var("MEMORY") {
        return memory(chunk.parse().expect("MEMORY is a number of texts"));
    }
    let mut group = criterion.benchmark_group("encode");
    group.sample_size(10);
    for (name, device, count) in [
        ("embed", Device::default(), 128),
        ("train", Device::default().autodiff(), 32),
    ] {
        let (encoder, texts) = (encoder(&device), texts(count));
        let texts: Vec<&Tokens> = texts.iter().collect();
        let tokens: usize = texts.iter().map(|text| text.len()).sum();
        group.throughput(Throughput::Elements(tokens as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let vectors = encoder.encode(&texts, PASS);
                match device.is_autodiff() {
                    true => drop(black_box(vectors.square().sum().backward())),
                    false => drop(black_box(vectors.into_data())),
                }
            });
        });
    }
    group.finish();
}

/// A step of 32 queries and 128 passages.
fn memory(chunk: usize) {
    let encoder = encoder(&Device::default().autodiff());
    let texts = texts(160);
    let texts: Vec<&Tokens> = texts.iter().collect();
    let (queries, passages) = texts.split_at(32);
    let loss = LsePairLossConfig::new().init();
    let targets = Targets::from_groups(&[1; 32], 4, &encoder.device()).expect("groups of four");
    let step = GradientCache::new(&encoder, [chunk; 2], 0).step(
        queries.len(),
        |encoder, rows| Ok(encoder.encode(&queries[rows], usize::MAX)),
        passages.len(),
        |encoder, rows| Ok(encoder.encode(&passages[rows], usize::MAX)),
        |queries, passages| Ok(loss.forward_embeddings(queries, passages, targets)),
    );
    black_box(step.expect("a step"));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("chunks of {chunk} texts: {}", peak.unwrap_or("no /proc"));
}

criterion_group!(groups, benches);
criterion_main!(groups);
