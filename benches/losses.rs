//! Time of every objective, forward and forward plus backward, beside the same formula
//! composed from Burn operations and beside the floor: allocate an output of the scores'
//! size and fill it while reading scores and mask.
//!
//! `cargo bench --bench losses`; `BURN_DEVICE` picks the device, `SHAPES=4096x32768,..`
//! other shapes, `DTYPE=bf16` or `f16` scores of half precision. Every timed form is
//! checked against the composed one before it is timed, by hand in f32 only: what it does
//! in half precision is not right. On a GPU the throughput is that of the bytes that must
//! be read and written at least.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use burn::tensor::{Bool, Device, Distribution, FloatDType, Tensor, TensorData};
use burn_multi_positive::{
    CircleLossConfig, DclLossConfig, ExpectedRand1LhLossConfig, FalseNegatives,
    FocalInfoNceLossConfig, Forward, JointLhLossConfig, LsePairLossConfig,
    MultiSimilarityLossConfig, Objective, PositiveThreshold, PowerMeanLossConfig,
    Rand1LhLossConfig, SigmoidLossConfig, SumMargLhLossConfig, Targets,
    statistics::{Statistic, Statistics},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rayon::prelude::*;

const POSITIVES: usize = 4;
const TEMPERATURE: f64 = 0.05;

/// Queries and documents of the batches to time.
fn shapes() -> Vec<[usize; 2]> {
    let shapes = std::env::var("SHAPES").unwrap_or("256x2048,1024x8192,2048x16384".into());
    let shape = |shape: &str| {
        let (queries, documents) = shape.split_once('x')?;
        Some([queries.parse().ok()?, documents.parse().ok()?])
    };
    let shapes = shapes.split(',').map(shape).collect::<Option<_>>();
    shapes.expect("SHAPES is a list like 256x2048,1024x8192")
}

/// The type of the scores, and the relative accuracy of its gradients.
fn dtype() -> (FloatDType, f32) {
    match std::env::var("DTYPE").as_deref() {
        Ok("bf16") => (FloatDType::BF16, 2e-2),
        Ok("f16") => (FloatDType::F16, 2e-3),
        Ok("f32") | Err(_) => (FloatDType::F32, 1e-4),
        Ok(other) => panic!("DTYPE is f32, f16 or bf16, got {other}"),
    }
}

struct Batch {
    scores: Tensor<2>,
    positives: Tensor<2, Bool>,
}

impl Batch {
    fn new([queries, documents]: [usize; 2], device: &Device) -> Self {
        device.seed(0);
        let distribution = Distribution::Uniform(-1.0, 1.0);
        let scores = Tensor::<2>::random([queries, documents], distribution, device);
        let scores = scores.cast(dtype().0).detach();
        let mut mask = vec![false; queries * documents];
        for query in 0..queries {
            for positive in 0..POSITIVES {
                let document = (query * 7919 + positive * documents / POSITIVES) % documents;
                mask[query * documents + document] = true;
            }
        }
        let mask = TensorData::new(mask, [queries, documents]);
        Self {
            scores: match device.is_autodiff() {
                true => scores.require_grad(),
                false => scores,
            },
            positives: Tensor::from_data(mask, &device.clone().without_autodiff()),
        }
    }

    /// The first queries, enough to check a form by.
    fn few(&self) -> Self {
        let queries = self.scores.dims()[0].min(256);
        let scores = self.scores.clone().narrow(0, 0, queries).detach();
        Self {
            scores: match self.scores.device().is_autodiff() {
                true => scores.require_grad(),
                false => scores,
            },
            positives: self.positives.clone().narrow(0, 0, queries),
        }
    }

    /// Scores and mask are read once in each pass, and the gradient is written.
    fn throughput(&self, backward: bool) -> Throughput {
        let entries = self.scores.shape().num_elements() as u64;
        let score = self.scores.dtype().size() as u64;
        let read = score + self.positives.dtype().size() as u64;
        match (is_cpu(&self.scores.device()), backward) {
            (true, _) => Throughput::Elements(entries),
            (false, false) => Throughput::Bytes(entries * read),
            (false, true) => Throughput::Bytes(entries * (2 * read + score)),
        }
    }
}

fn is_cpu(device: &Device) -> bool {
    let name = format!("{device:?}");
    ["Flex", "NdArray"].iter().any(|cpu| name.contains(cpu))
}

/// The loss as the library computes it on this device.
fn library(objective: &impl Objective, batch: &Batch) -> Tensor<1> {
    objective.forward(batch.scores.clone(), batch.positives.clone())
}

/// The same formula on statistics that are composed of Burn operations.
fn composed(objective: &impl Objective, batch: &Batch) -> Tensor<1> {
    let targets = objective.choose_positives(Targets::new(batch.positives.clone()));
    let statistics = Statistics::composed(batch.scores.clone(), &targets, objective.request());
    objective.losses(&statistics).mean()
}

/// LSEPair as a user writes it by hand, with fill values for the masks and no care for
/// rows without positives or negatives.
fn lse_pair_by_hand(batch: &Batch) -> Tensor<1> {
    let scores = batch.scores.clone() / TEMPERATURE;
    let lse = |x: Tensor<2>| {
        let max = x.clone().detach().max_dim(1);
        (x - max.clone()).exp().sum_dim(1).log() + max
    };
    let negatives = lse(scores.clone().mask_fill(batch.positives.clone(), -1e4));
    let positives = lse((-scores).mask_fill(batch.positives.clone().bool_not(), -1e4));
    ((negatives + positives).exp() + 1.0).log().mean()
}

fn finish(loss: Tensor<1>, batch: &Batch, backward: bool) {
    if backward {
        let gradients = loss.backward();
        black_box(batch.scores.grad(&gradients));
    } else {
        black_box(loss);
    }
    batch.scores.device().sync().unwrap();
}

/// What LSEPair asks of a row, without what it makes of it: the fused operation itself.
fn statistics(criterion: &mut Criterion) {
    let objective = LsePairLossConfig::new()
        .with_temperature(TEMPERATURE)
        .init();
    for (name, backward) in [("forward", false), ("forward+backward", true)] {
        let device = Device::default();
        let device = if backward { device.autodiff() } else { device };
        for shape in shapes() {
            let batch = Batch::new(shape, &device);
            let targets = objective.choose_positives(Targets::new(batch.positives.clone()));
            let wanted = [Statistic::Negatives, Statistic::PositiveMean];
            let request = objective.request();
            let mut group = criterion.benchmark_group(format!("statistics/{name}"));
            group.throughput(batch.throughput(backward));
            group.sample_size(10);
            let [queries, documents] = shape;
            group.bench_function(
                BenchmarkId::new("library", format!("{queries}x{documents}")),
                |bencher| {
                    bencher.iter(|| {
                        let scores = batch.scores.clone();
                        let of_rows = Statistics::new(scores, &targets, request);
                        let mut sum = of_rows.get(wanted[0]);
                        for &statistic in &wanted[1..] {
                            sum = sum + of_rows.get(statistic);
                        }
                        finish(sum.sum(), &batch, backward)
                    })
                },
            );
        }
    }
}

/// The value and the gradient are those of the composed form, to the accuracy of f32.
fn assert_close(name: &str, batch: &Batch, one: Tensor<1>, other: Tensor<1>) {
    let gradient = |loss: &Tensor<1>| batch.scores.grad(&loss.backward()).unwrap();
    let (one_gradient, other_gradient) = (gradient(&one), gradient(&other));
    let scale = other_gradient.clone().abs().max().into_scalar::<f32>();
    let off = (one_gradient - other_gradient)
        .abs()
        .max()
        .into_scalar::<f32>();
    assert!(off < dtype().1 * scale, "{name}: gradients are {off} off");
    let (one, other) = (one.into_scalar::<f32>(), other.into_scalar::<f32>());
    assert!(
        (one - other).abs() < 1e-4 * other,
        "{name}: expected {other}, got {one}"
    );
}

fn objective<O: Objective>(criterion: &mut Criterion, name: &str, objective: O, by_hand: bool) {
    for shape @ [queries, documents] in shapes() {
        for backward in [false, true] {
            let device = Device::default();
            let device = if backward { device.autodiff() } else { device };
            let batch = Batch::new(shape, &device);
            if backward {
                let few = batch.few();
                let seeded = |form: fn(&O, &Batch) -> Tensor<1>| {
                    device.seed(1);
                    form(&objective, &few)
                };
                assert_close(name, &few, seeded(library), seeded(composed));
                if by_hand && dtype().0 == FloatDType::F32 {
                    assert_close(name, &few, lse_pair_by_hand(&few), seeded(composed));
                }
            }

            let pass = if backward {
                "forward+backward"
            } else {
                "forward"
            };
            let mut group = criterion.benchmark_group(format!("{name}/{pass}"));
            group.throughput(batch.throughput(backward));
            group.sample_size(10);
            let id = |form: &str| BenchmarkId::new(form, format!("{queries}x{documents}"));
            group.bench_function(id("library"), |bencher| {
                bencher.iter(|| finish(library(&objective, &batch), &batch, backward))
            });
            group.bench_function(id("composed"), |bencher| {
                bencher.iter(|| finish(composed(&objective, &batch), &batch, backward))
            });
            if by_hand {
                group.bench_function(id("by hand"), |bencher| {
                    bencher.iter(|| finish(lse_pair_by_hand(&batch), &batch, backward))
                });
            }
        }
    }
}

/// LSEPair with each option beside LSEPair without, and other losses, forward and
/// backward.
fn options(criterion: &mut Criterion) {
    let device = Device::default().autodiff();
    let plain = || LsePairLossConfig::new().with_temperature(TEMPERATURE);
    let rule = FalseNegatives::new(PositiveThreshold::Weakest).with_margin(0.1);
    let family = PowerMeanLossConfig::new().with_temperature(TEMPERATURE);
    let expected = ExpectedRand1LhLossConfig::new().with_temperature(TEMPERATURE);
    let focal = FocalInfoNceLossConfig::new().with_temperature(TEMPERATURE);
    let sigmoid = SigmoidLossConfig::new().with_temperature(TEMPERATURE);
    let losses: [(&str, Box<dyn Objective>); 11] = [
        ("none", Box::new(plain().init())),
        ("hardness", Box::new(plain().with_hardness(5.0).init())),
        (
            "false negatives",
            Box::new(plain().with_false_negatives(Some(rule)).init()),
        ),
        ("exponent", Box::new(family.with_exponent(-3.0).init())),
        ("expected rand1", Box::new(expected.init())),
        ("weights", Box::new(plain().init())),
        ("dcl", Box::new(DclLossConfig::new().init())),
        (
            "multi-similarity",
            Box::new(MultiSimilarityLossConfig::new().init()),
        ),
        ("circle", Box::new(CircleLossConfig::new().init())),
        ("focal", Box::new(focal.init())),
        ("sigmoid", Box::new(sigmoid.init())),
    ];
    for shape @ [queries, documents] in shapes() {
        let batch = Batch::new(shape, &device);
        let mut group = criterion.benchmark_group("options/forward+backward");
        group.throughput(batch.throughput(true));
        group.sample_size(10);
        for (name, loss) in &losses {
            let mut targets = Targets::new(batch.positives.clone());
            if *name == "weights" {
                let on = device.clone().without_autodiff();
                let uniform = Distribution::Uniform(0.5, 2.0);
                targets = targets.with_weights(Tensor::random([queries, documents], uniform, &on));
            }
            let id = BenchmarkId::new(*name, format!("{queries}x{documents}"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let loss = loss.forward(batch.scores.clone(), targets.clone());
                    finish(loss, &batch, true)
                })
            });
        }
    }
}

/// LSEPair as a program calls it that has other things to do: the threads sleep, the
/// caches hold something else.
fn between_other_work(criterion: &mut Criterion) {
    let device = Device::default().autodiff();
    let loss = LsePairLossConfig::new()
        .with_temperature(TEMPERATURE)
        .init();
    let mut memory = vec![0u8; 96 << 20];
    for shape @ [queries, documents] in shapes() {
        let batch = Batch::new(shape, &device);
        let mut group = criterion.benchmark_group("between other work");
        group.throughput(batch.throughput(true));
        group.sample_size(10);
        let id = BenchmarkId::new("lse_pair", format!("{queries}x{documents}"));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|calls| {
                let mut total = Duration::ZERO;
                for _ in 0..calls {
                    memory
                        .iter_mut()
                        .step_by(64)
                        .for_each(|byte| *byte = byte.wrapping_add(1));
                    std::thread::sleep(Duration::from_millis(5));
                    let start = Instant::now();
                    finish(library(&loss, &batch), &batch, true);
                    total += start.elapsed();
                }
                total
            })
        });
    }
}

/// What any backward must do at least: allocate an output of the scores' size and fill it
/// while reading scores and mask; and a copy into memory that is there already.
fn floor(criterion: &mut Criterion) {
    let device = Device::default();
    if !is_cpu(&device) {
        return device_floor(criterion, &device);
    }
    for [queries, documents] in shapes() {
        let size = queries * documents;
        let scores: Vec<f32> = (0..size).map(|i| i as f32).collect();
        let mask: Vec<u8> = (0..size).map(|i| u8::from(i % 2048 == 0)).collect();
        let fill = |out: &mut [f32]| {
            let rows = scores.par_chunks(documents).zip(mask.par_chunks(documents));
            let rows = rows.zip(out.par_chunks_mut(documents));
            rows.for_each(|((scores, mask), out)| {
                for ((score, mask), out) in scores.iter().zip(mask).zip(out) {
                    *out = score + f32::from(*mask);
                }
            });
        };
        let mut group = criterion.benchmark_group("floor");
        group.throughput(Throughput::Elements(size as u64));
        group.sample_size(10);
        let id = |form: &str| BenchmarkId::new(form, format!("{queries}x{documents}"));
        group.bench_function(id("fresh output"), |bencher| {
            bencher.iter(|| {
                let mut out = vec![0.0; size];
                fill(&mut out);
                out
            })
        });
        let mut out = vec![0.0; size];
        group.bench_function(id("warm output"), |bencher| bencher.iter(|| fill(&mut out)));
    }
}

/// A copy of the scores on the device.
fn device_floor(criterion: &mut Criterion, device: &Device) {
    for shape @ [queries, documents] in shapes() {
        let scores = Batch::new(shape, device).scores;
        let bytes = 2 * scores.dtype().size() * scores.shape().num_elements();
        let mut group = criterion.benchmark_group("floor");
        group.throughput(Throughput::Bytes(bytes as u64));
        group.sample_size(10);
        let id = BenchmarkId::new("copy on the device", format!("{queries}x{documents}"));
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                let copy = scores.clone() + 1.0;
                device.sync().unwrap();
                copy
            })
        });
    }
}

fn losses(criterion: &mut Criterion) {
    floor(criterion);
    between_other_work(criterion);
    statistics(criterion);
    options(criterion);
    let lse_pair = LsePairLossConfig::new().with_temperature(TEMPERATURE);
    objective(criterion, "lse_pair", lse_pair.init(), true);
    let sum_marg = SumMargLhLossConfig::new().with_temperature(TEMPERATURE);
    objective(criterion, "sum_marg_lh", sum_marg.init(), false);
    let joint = JointLhLossConfig::new().with_temperature(TEMPERATURE);
    objective(criterion, "joint_lh", joint.init(), false);
    let rand1 = Rand1LhLossConfig::new().with_temperature(TEMPERATURE);
    objective(criterion, "rand1_lh", rand1.init(), false);
}

criterion_group!(benches, losses);
criterion_main!(benches);
