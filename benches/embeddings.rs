//! Time and memory of a loss from embeddings, beside the three matrix products that any
//! step with all scores needs: the scores, the gradient of the queries, the gradient of
//! the documents.
//!
//! `cargo bench --bench embeddings` takes the times; `BURN_DEVICE` picks the device,
//! `SHAPES=65536x65536,..` the queries and documents, `DIMENSIONS=384` and `POSITIVES=4`
//! their length and the positives of a query, `FORMS=tiled,..` what of floor, tiled,
//! dense is run. `MEMORY=tiled` or `dense` takes one step of the first shape instead and
//! prints its memory (Linux).

use std::{hint::black_box, time::Instant};

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_multi_positive::{
    Bidirectional, Embeddings, FalseNegatives, Forward, JointLhLossConfig, LsePairLossConfig,
    Matryoshka, Objective, PositiveThreshold, Rand1LhLossConfig, SumMargLhLossConfig, Targets,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const TEMPERATURE: f64 = 0.05;

/// A number from the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().expect(name))
}

/// The length of the embeddings.
fn dimensions() -> usize {
    number("DIMENSIONS", 384)
}

/// The positives of a query.
fn positives() -> usize {
    number("POSITIVES", 4)
}

/// Queries and documents of the batches.
fn shapes() -> Vec<[usize; 2]> {
    let shapes = std::env::var("SHAPES").unwrap_or("2048x8192,8192x8192".into());
    let shape = |shape: &str| {
        let (queries, documents) = shape.split_once('x')?;
        Some([queries.parse().ok()?, documents.parse().ok()?])
    };
    let shapes = shapes.split(',').map(shape).collect::<Option<_>>();
    shapes.expect("SHAPES is a list like 2048x8192,8192x8192")
}

fn is_asked_for(form: &str) -> bool {
    std::env::var("FORMS").map_or(true, |forms| forms.split(',').any(|other| other == form))
}

/// Unit vectors, nearly, whose label says what is relevant.
struct Batch {
    queries: Tensor<2>,
    documents: Tensor<2>,
    targets: Targets,
}

impl Batch {
    fn new([queries, documents]: [usize; 2], device: &Device) -> Self {
        device.seed(0);
        let spread = Distribution::Normal(0.0, (dimensions() as f64).powf(-0.5));
        let embeddings =
            |count| Tensor::random([count, dimensions()], spread, device).require_grad();
        let plain = device.clone().without_autodiff();
        let labels = |count: usize| Tensor::<1, Int>::arange(0..count as i64, &plain);
        let of_queries = labels(queries).remainder_scalar((documents / positives()) as i64);
        let of_documents = labels(documents).div_scalar(positives() as i64);
        Self {
            queries: embeddings(queries),
            documents: embeddings(documents),
            targets: Targets::from_labels(of_queries, of_documents),
        }
    }

    fn tiled(&self, loss: &impl Forward) -> Tensor<1> {
        let (queries, documents) = (self.queries.clone(), self.documents.clone());
        loss.forward_embeddings(queries, documents, self.targets.clone())
    }

    fn dense(&self, objective: &impl Objective) -> Tensor<1> {
        let documents = self.documents.clone().transpose();
        objective.forward(self.queries.clone().matmul(documents), self.targets.clone())
    }

    /// The same relevance as ids in lists, and a weight for each id if wanted.
    fn with_listed_weights(&self, weighted: bool) -> Self {
        let [queries, documents] = self.targets.dims();
        let device = self.targets.device();
        let label = |query: usize| query % (documents / positives());
        let ids: Vec<usize> = (0..documents)
            .map(|document| document / positives())
            .collect();
        let targets = match weighted {
            true => {
                let relevant = |query| vec![(label(query), 0.5 + (query % 4) as f32)];
                let relevant: Vec<_> = (0..queries).map(relevant).collect();
                Targets::from_weighted_ids(&relevant, &ids, &device)
            }
            false => {
                let relevant: Vec<_> = (0..queries).map(|query| vec![label(query)]).collect();
                Targets::from_ids(&relevant, &ids, &device)
            }
        };
        Self {
            queries: self.queries.clone(),
            documents: self.documents.clone(),
            targets: targets.expect("queries and documents"),
        }
    }

    fn step(&self, loss: Tensor<1>) {
        let gradients = loss.backward();
        black_box(self.queries.grad(&gradients));
        black_box(self.documents.grad(&gradients));
        self.sync();
    }

    /// The three products, with scores in the place of their gradient.
    fn products(&self) {
        let queries = self.queries.clone().without_autodiff();
        let documents = self.documents.clone().without_autodiff();
        let scores = queries.clone().matmul(documents.clone().transpose());
        black_box(scores.clone().matmul(documents));
        black_box(scores.transpose().matmul(queries));
        self.sync();
    }

    fn sync(&self) {
        self.queries.device().sync().unwrap();
    }

    /// Both forms have the same value and gradients, to the accuracy of f32.
    fn assert_alike(&self, name: &str, objective: &impl Objective) {
        let device = self.queries.device();
        let gradients = |form: &dyn Fn() -> Tensor<1>| {
            device.seed(1);
            let loss = form();
            let gradients = loss.backward();
            [
                self.queries.grad(&gradients).unwrap(),
                self.documents.grad(&gradients).unwrap(),
                loss.without_autodiff().unsqueeze(),
            ]
        };
        let tiled = gradients(&|| self.tiled(objective));
        let dense = gradients(&|| self.dense(objective));
        for (tiled, dense) in tiled.into_iter().zip(dense) {
            let scale = dense.clone().abs().max().into_scalar::<f32>();
            let off = (tiled - dense).abs().max().into_scalar::<f32>();
            assert!(off < 1e-4 * scale, "{name}: off by {off} of {scale}");
        }
    }
}

fn objective<O: Objective>(criterion: &mut Criterion, name: &str, objective: O) {
    for shape @ [queries, documents] in shapes() {
        let batch = Batch::new(shape, &Device::default().autodiff());
        if is_asked_for("dense") {
            batch.assert_alike(name, &objective);
        }
        let mut group = criterion.benchmark_group(format!("embeddings/{name}"));
        group.throughput(Throughput::Elements((queries * documents) as u64));
        group.sample_size(10);
        let id = |form: &str| BenchmarkId::new(form, format!("{queries}x{documents}"));
        if is_asked_for("floor") {
            group.bench_function(id("floor: three products"), |bencher| {
                bencher.iter(|| batch.products())
            });
        }
        if is_asked_for("tiled") {
            group.bench_function(id("tiled"), |bencher| {
                bencher.iter(|| batch.step(batch.tiled(&objective)))
            });
            group.bench_function(id("tiled, forward"), |bencher| {
                bencher.iter(|| {
                    black_box(batch.tiled(&objective));
                    batch.sync();
                })
            });
        }
        if is_asked_for("dense") {
            group.bench_function(id("dense"), |bencher| {
                bencher.iter(|| batch.step(batch.dense(&objective)))
            });
        }
    }
}

/// What options, directions and nested dimensions cost, tiled, beside the plain loss.
fn options(criterion: &mut Criterion) {
    let config = LsePairLossConfig::new().with_temperature(TEMPERATURE);
    let plain = config.clone().init();
    let rule = FalseNegatives::new(PositiveThreshold::Weakest).with_margin(0.1);
    for shape @ [queries, documents] in shapes() {
        let batch = Batch::new(shape, &Device::default().autodiff());
        let mut group = criterion.benchmark_group("embeddings/options");
        group.throughput(Throughput::Elements((queries * documents) as u64));
        group.sample_size(10);
        let mut run = |form: &str, batch: &Batch, loss: &dyn Fn(&Batch) -> Tensor<1>| {
            let id = BenchmarkId::new(form, format!("{queries}x{documents}"));
            group.bench_function(id, |bencher| bencher.iter(|| batch.step(loss(batch))));
        };
        run("none", &batch, &|batch| batch.tiled(&plain));
        let hard = config.clone().with_hardness(5.0).init();
        run("hardness", &batch, &|batch| batch.tiled(&hard));
        let filtered = config.clone().with_false_negatives(Some(rule)).init();
        run("false negatives", &batch, &|batch| batch.tiled(&filtered));

        let (weighted, listed) = (
            batch.with_listed_weights(true),
            batch.with_listed_weights(false),
        );
        run("none, lists", &listed, &|batch| batch.tiled(&plain));
        run("weights in lists", &weighted, &|batch| batch.tiled(&plain));
        // The model itself, standing in for another one.
        run("a guide", &listed, &|batch| {
            let guide = [&batch.queries, &batch.documents].map(|x| x.clone().without_autodiff());
            let [queries, documents] = guide;
            let targets = batch.targets.clone();
            let guide = Embeddings::new(queries, documents);
            let targets = targets.without_false_negatives(guide, rule);
            plain.forward_embeddings(batch.queries.clone(), batch.documents.clone(), targets)
        });

        let both = Bidirectional::new(plain.clone());
        run("both directions", &batch, &|batch| batch.tiled(&both));
        let [forth, back] =
            [[0.5, 0.0], [0.0, 0.5]].map(|weights| both.clone().with_weights(weights));
        run("both directions, two calls", &batch, &|batch| {
            batch.tiled(&forth) + batch.tiled(&back)
        });
        let same_side = both.clone().with_same_side(true);
        run("both directions, same side", &listed, &|batch| {
            batch.tiled(&same_side)
        });

        let sizes = [1, 2, 4, 8].map(|part| dimensions() / part);
        for sizes in [&sizes[..1], &sizes] {
            let nested = Matryoshka::new(plain.clone(), sizes);
            run(&format!("dimensions {sizes:?}"), &batch, &|batch| {
                batch.tiled(&nested)
            });
        }
    }
}

/// A line of `/proc/self/status`, in MiB.
fn process_mib(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("MEMORY needs Linux");
    let line = status.lines().find(|line| line.starts_with(key));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.expect("Linux names the memory of a process") / 1024.0
}

/// Prints what one step holds between its passes, and the peak, beyond the embeddings.
fn memory(form: &str) {
    let [queries, documents] = shapes()[0];
    let batch = Batch::new([queries, documents], &Device::default().autodiff());
    let loss_fn = LsePairLossConfig::new()
        .with_temperature(TEMPERATURE)
        .init();
    // Threads and their buffers come with the first step.
    let warm_up = Batch::new([512, 1024], &Device::default().autodiff());
    warm_up.step(warm_up.tiled(&loss_fn));
    warm_up.products();

    let before = process_mib("VmRSS");
    let start = Instant::now();
    let loss = match form {
        "tiled" => batch.tiled(&loss_fn),
        "dense" => batch.dense(&loss_fn),
        other => panic!("MEMORY is tiled or dense, got {other}"),
    };
    let held = process_mib("VmRSS") - before;
    batch.step(loss);
    let seconds = start.elapsed().as_secs_f64();
    let total = process_mib("VmHWM") - before;
    let gradients = ((queries + documents) * dimensions() * 4) as f64 / f64::from(1 << 20);
    println!(
        "{form} {queries}x{documents}: held {held:.1} MiB, backward spike {:.1} MiB, \
         total {total:.1} MiB beyond the embeddings, of which gradients {gradients:.1} MiB; \
         {seconds:.2} s",
        total - held
    );
}

fn embeddings(criterion: &mut Criterion) {
    if let Ok(form) = std::env::var("MEMORY") {
        return memory(&form);
    }
    let lse_pair = LsePairLossConfig::new().with_temperature(TEMPERATURE);
    objective(criterion, "lse_pair", lse_pair.init());
    let joint = JointLhLossConfig::new().with_temperature(TEMPERATURE);
    objective(criterion, "joint_lh", joint.init());
    let sum_marg = SumMargLhLossConfig::new().with_temperature(TEMPERATURE);
    objective(criterion, "sum_marg_lh", sum_marg.init());
    let rand1 = Rand1LhLossConfig::new().with_temperature(TEMPERATURE);
    objective(criterion, "rand1_lh", rand1.init());
    options(criterion);
}

criterion_group!(benches, embeddings);
criterion_main!(benches);
