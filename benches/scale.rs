//! Cost as a function of each size: queries, documents, positives, dimensions, the tile,
//! ids.
//!
//! ```text
//! RAYON_NUM_THREADS=1 cargo bench --bench scale -- --save-baseline 1
//! RAYON_NUM_THREADS=2 cargo bench --bench scale -- --save-baseline 2
//! python benches/peers/scale.py docs/figures/scale.svg
//! ```
//!
//! The script draws what criterion has measured, and prints the slopes between neighbours
//! on logarithmic axes: 1 is a cost that grows as its size does.

use std::hint::black_box;

use burn::tensor::{Device, Distribution, Tensor};
use burn_multi_positive::{Embeddings, LsePairLoss, LsePairLossConfig, Targets, Tile};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn loss() -> LsePairLoss {
    LsePairLossConfig::new().with_temperature(0.05).init()
}

/// Each query has so many relevant documents, spread over all.
fn targets([queries, documents]: [usize; 2], positives: usize) -> Targets {
    let ids: Vec<usize> = (0..documents).collect();
    let relevant = |query: usize| {
        let of_query =
            (0..positives).map(|i| (query * 7919 + i * documents / positives) % documents);
        of_query.collect()
    };
    let relevant: Vec<Vec<usize>> = (0..queries).map(relevant).collect();
    Targets::from_ids(&relevant, &ids, &Device::default()).expect("ids of documents")
}

fn random(shape: [usize; 2]) -> Tensor<2> {
    let device = Device::default().autodiff();
    let uniform = Distribution::Uniform(-1.0, 1.0);
    Tensor::random(shape, uniform, &device).require_grad()
}

/// Times `run` at each size of an axis.
fn axis<T>(
    criterion: &mut Criterion,
    name: &str,
    sizes: &[usize],
    prepare: impl Fn(usize) -> T,
    run: impl Fn(&T),
) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    for &size in sizes {
        let prepared = prepare(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| run(&prepared))
        });
    }
}

/// Forward and backward of scores that are given.
fn matrix(criterion: &mut Criterion) {
    let prepare = |[shape @ .., positives]: [usize; 3]| (random(shape), targets(shape, positives));
    let run = |(scores, targets): &(Tensor<2>, Targets)| {
        let gradients = loss().forward(scores.clone(), targets.clone()).backward();
        black_box(scores.grad(&gradients));
    };
    let powers = |range: std::ops::Range<u32>| range.map(|power| 4usize.pow(power));
    let sizes: Vec<_> = powers(3..7).collect();
    axis(criterion, "queries", &sizes, |n| prepare([n, 4096, 4]), run);
    let sizes: Vec<_> = powers(4..10).collect();
    axis(criterion, "documents", &sizes, |n| prepare([64, n, 4]), run);
    let sizes: Vec<_> = powers(0..7).collect();
    axis(
        criterion,
        "positives",
        &sizes,
        |n| prepare([256, 16_384, n]),
        run,
    );
}

/// Forward and backward of embeddings.
fn embeddings(criterion: &mut Criterion) {
    type Batch = ([Tensor<2>; 2], Targets, Option<Tile>);
    let prepare = |[queries, documents, dimensions]: [usize; 3], tile| {
        let embeddings = [queries, documents].map(|count| {
            let scale = (dimensions as f64).powf(-0.5);
            (random([count, dimensions]) * scale)
                .detach()
                .require_grad()
        });
        (embeddings, targets([queries, documents], 4), tile)
    };
    let run = |([queries, documents], targets, tile): &Batch| {
        let mut embeddings = Embeddings::new(queries.clone(), documents.clone());
        if let Some(tile) = tile {
            embeddings = embeddings.with_tile(*tile);
        }
        let gradients = loss().forward(embeddings, targets.clone()).backward();
        black_box([queries, documents].map(|x| x.grad(&gradients)));
    };
    let whole = |shape| prepare(shape, None);
    let sizes = [64, 256, 1024, 4096];
    axis(
        criterion,
        "embedded queries",
        &sizes,
        |n| whole([n, 4096, 128]),
        run,
    );
    let sizes = [1024, 4096, 16_384, 65_536, 262_144];
    axis(
        criterion,
        "embedded documents",
        &sizes,
        |n| whole([64, n, 128]),
        run,
    );
    let sizes = [32, 64, 128, 256, 512, 1024];
    axis(
        criterion,
        "dimensions",
        &sizes,
        |n| whole([512, 4096, n]),
        run,
    );
    let sizes = [256, 512, 1024, 2048, 4096];
    let tiled = |n| prepare([1024, 4096, 128], Some(Tile::from(n)));
    axis(criterion, "side of a tile", &sizes, tiled, run);
}

/// Lists of relevant documents: made of ids, and turned around.
fn lists(criterion: &mut Criterion) {
    let sizes = [1_000, 10_000, 100_000, 1_000_000];
    let relevant = |n: usize| -> (Vec<Vec<usize>>, Vec<usize>) {
        let of_query = |query: usize| (0..4).map(|i| (query * 7919 + i * n / 4) % n).collect();
        ((0..n / 4).map(of_query).collect(), (0..n).collect())
    };
    let device = Device::default();
    axis(criterion, "ids", &sizes, relevant, |(relevant, ids)| {
        black_box(Targets::from_ids(relevant, ids, &device).expect("ids"));
    });
    let prepare = |n: usize| targets([n / 4, n], 4);
    axis(
        criterion,
        "transposed documents",
        &sizes,
        prepare,
        |targets| {
            black_box(targets.clone().transpose());
        },
    );
}

criterion_group!(benches, matrix, embeddings, lists);
criterion_main!(benches);
