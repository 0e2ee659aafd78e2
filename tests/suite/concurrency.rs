//! Losses that are computed at the same time: from many threads, within pools of threads and
//! outside, on several devices. Nobody waits for ever, and on CPUs every result is bit for
//! bit the one of a thread that was alone.
//!
//! Each case has a process of its own, whose pool is the case's, and which ends where
//! threads wait for each other.

use crate::{
    child,
    close::{Tolerance, assert_close},
    device::{device, is_cpu},
};
use burn::{
    nn::{Linear, LinearConfig},
    tensor::{Bool, Device, Gradients, Tensor, TensorData},
};
use burn_multi_positive::{
    BankError, Bidirectional, CacheError, CircleLoss, DclLoss, Embeddings, ExpectedRand1LhLoss,
    FalseNegatives, FocalInfoNceLoss, Forward, GradientCache, JointLhLoss, JointLhLossConfig,
    LearnableBias, LearnableTemperature, LearnableTemperatureConfig, LsePairLoss,
    LsePairLossConfig, MarginMseLoss, MarginRankingLoss, Matryoshka, MemoryBank, MemoryBankRecord,
    MultiSimilarityLoss, NegativeSelection, Objective, PositiveSelection, PositiveThreshold,
    PowerMeanLoss, Rand1LhLoss, Scores, Shards, Side, SigmoidLoss, SpreadOutLoss, Stored,
    SumMargLhLoss, SumMargLhLossConfig, Targets, TargetsError, Tile, evaluation, statistics,
};
use rayon::prelude::*;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// A case takes some seconds, or minutes beside compilers; one that has not ended by then
/// never will.
const PATIENCE: Duration = Duration::from_secs(600);

/// The numbers of losses and gradients.
type Numbers = Vec<f64>;

/// A training step: how many threads share it out depends on its size.
type Step = fn(&Device) -> Numbers;

const STEPS: [(&str, Step); 7] = [
    ("scores", of_scores),
    ("embeddings", of_embeddings),
    ("rows a page apart", of_rows_a_page_apart),
    ("directions", of_directions),
    ("nested", of_nested),
    ("bank", with_bank),
    ("cache", with_cache),
];

/// Large enough for several threads on a CPU, and for a mapping of its own. (On a GPU that is
/// a CPU in truth, a step of that size takes long.)
fn documents() -> usize {
    match is_cpu() {
        true => 16_384,
        false => 512,
    }
}

/// Numbers from -1 to 1 that look random.
fn matrix([rows, columns]: [usize; 2], salt: usize, device: &Device) -> Tensor<2> {
    let number = |index: usize| {
        let x = (index as u64 + 977 * salt as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (x >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let numbers: Vec<f32> = (0..rows * columns).map(number).collect();
    Tensor::from_data(TensorData::new(numbers, [rows, columns]), device)
}

/// Every document is relevant to one query, and every seventh to the next one as well.
fn mask([queries, documents]: [usize; 2], device: &Device) -> Tensor<2, Bool> {
    let is_relevant = |index: usize| {
        let (query, document) = (index / documents, index % documents);
        document % queries == query || document % 7 == 0 && (document + 1) % queries == query
    };
    let entries: Vec<bool> = (0..queries * documents).map(is_relevant).collect();
    Tensor::from_data(TensorData::new(entries, [queries, documents]), device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Numbers {
    tensor.into_data().iter::<f64>().collect()
}

/// A loss, and the gradients of the leaves.
fn outcome(loss: Tensor<1>, leaves: &[&Tensor<2>]) -> Numbers {
    let gradients = loss.backward();
    let of = |leaf: &&Tensor<2>| gradient(leaf, &gradients);
    let gradients = leaves.iter().flat_map(of);
    numbers(loss.clone()).into_iter().chain(gradients).collect()
}

fn gradient(leaf: &Tensor<2>, gradients: &Gradients) -> Numbers {
    numbers(leaf.grad(gradients).expect("the leaf has a gradient"))
}

fn of_scores(device: &Device) -> Numbers {
    let dims = [48, documents()];
    let positives = mask(dims, device);
    let rule = FalseNegatives::new(PositiveThreshold::Strongest).with_margin(-0.25);
    let losses: [Box<dyn Objective>; 3] = [
        Box::new(LsePairLossConfig::new().with_temperature(0.05).init()),
        Box::new(JointLhLossConfig::new().with_hardness(2.0).init()),
        Box::new(
            SumMargLhLossConfig::new()
                .with_false_negatives(Some(rule))
                .init(),
        ),
    ];
    let run = |(salt, loss): (usize, Box<dyn Objective>)| {
        // Held here, so that its gradient is an output of its own.
        let scores = matrix(dims, salt, device).require_grad();
        outcome(loss.forward(scores.clone(), positives.clone()), &[&scores])
    };
    losses.into_iter().enumerate().flat_map(run).collect()
}

/// Queries and documents that require gradients, and targets of groups.
fn batch(
    [queries, group, dimensions]: [usize; 3],
    device: &Device,
) -> (Tensor<2>, Tensor<2>, Targets) {
    let leaf = |rows: usize, salt: usize| matrix([rows, dimensions], salt, device).require_grad();
    let counts: Vec<usize> = (0..queries).map(|query| query % group).collect();
    let targets = Targets::from_groups(&counts, group, device).expect("targets");
    (leaf(queries, 1), leaf(queries * group, 2), targets)
}

fn of_embeddings(device: &Device) -> Numbers {
    let (queries, documents, targets) = batch([300, 4, 24], device);
    let loss = LsePairLossConfig::new().with_temperature(0.1).init();
    let run = |tile: Option<[usize; 2]>| {
        let embeddings = Embeddings::new(queries.clone(), documents.clone());
        let embeddings = match tile {
            Some(tile) => embeddings.with_tile(tile),
            None => embeddings,
        };
        let loss = loss.forward(embeddings, targets.clone());
        outcome(loss, &[&queries, &documents])
    };
    [None, Some([100, 300])].into_iter().flat_map(run).collect()
}

fn of_rows_a_page_apart(device: &Device) -> Numbers {
    let (queries, documents, targets) = batch([40, 8, 1024], device);
    let loss = SumMargLhLossConfig::new().init();
    let loss = loss.forward_embeddings(queries.clone(), documents.clone(), targets);
    outcome(loss, &[&queries, &documents])
}

fn of_directions(device: &Device) -> Numbers {
    let (queries, documents, targets) = batch([150, 4, 16], device);
    let run = |same_side: bool| {
        let objective = JointLhLossConfig::new().with_temperature(0.1).init();
        let loss = Bidirectional::new(objective).with_same_side(same_side);
        let embeddings = Embeddings::new(queries.clone(), documents.clone());
        let loss = loss.forward(embeddings, targets.clone());
        outcome(loss, &[&queries, &documents])
    };
    [false, true].into_iter().flat_map(run).collect()
}

fn of_nested(device: &Device) -> Numbers {
    let (queries, documents, targets) = batch([200, 4, 32], device);
    let objective = LsePairLossConfig::new().with_temperature(0.1).init();
    let loss = Matryoshka::new(objective, &[32, 16, 8]);
    let embeddings = Embeddings::new(queries.clone(), documents.clone());
    outcome(loss.forward(embeddings, targets), &[&queries, &documents])
}

fn with_bank(device: &Device) -> Numbers {
    let loss = LsePairLossConfig::new().with_temperature(0.1).init();
    let mut bank = MemoryBank::new(700).expect("a bank");
    let step = |step: usize| {
        let queries = matrix([64, 16], 10 + step, device).require_grad();
        let documents = matrix([256, 16], 20 + step, device).require_grad();
        let ids: Vec<usize> = (0..256).map(|document| 100 * step + document).collect();
        let relevant: Vec<Vec<usize>> = (0..64).map(|query| vec![100 * step + query]).collect();
        let (candidates, targets) = bank
            .candidates(documents.clone(), &ids, &relevant, Stored::Positive)
            .expect("candidates");
        let loss = loss.forward_embeddings(queries.clone(), candidates, targets);
        let outcome = outcome(loss, &[&queries, &documents]);
        bank.push(documents, &ids).expect("room");
        outcome
    };
    (0..4).flat_map(step).collect()
}

/// An encoder that the cache runs in chunks.
fn encoder(device: &Device) -> Linear {
    let encoder = LinearConfig::new(24, 16).with_bias(false).init(device);
    let weight = encoder.weight.clone();
    Linear {
        weight: weight.map(|_| matrix([24, 16], 3, device).require_grad()),
        ..encoder
    }
}

fn with_cache(device: &Device) -> Numbers {
    let model = encoder(device);
    let (queries, documents, targets) = batch([64, 4, 24], device);
    let [queries, documents] = [queries, documents].map(Tensor::detach);
    let loss = JointLhLossConfig::new().with_temperature(0.1).init();
    let step = GradientCache::new(&model, [20, 100], 7)
        .step(
            64,
            |model, rows| Ok(model.forward(queries.clone().slice([rows]))),
            256,
            |model, rows| Ok(model.forward(documents.clone().slice([rows]))),
            |queries, documents| Ok(loss.forward_embeddings(queries, documents, targets)),
        )
        .expect("a step");
    let of_weight = step.gradients.get::<2>(model.weight.id);
    let of_weight = numbers(of_weight.expect("the encoder has a gradient"));
    numbers(step.loss).into_iter().chain(of_weight).collect()
}

/// What all steps give, each by a thread that is alone.
struct Alone {
    device: Device,
    steps: Vec<Numbers>,
}

impl Alone {
    fn new() -> Self {
        let device = device().autodiff();
        let steps = STEPS.iter().map(|(_, step)| step(&device)).collect();
        Self { device, steps }
    }

    /// All steps give the same again, one after the other from any of them on.
    fn check(&self, first: usize) {
        for index in (0..STEPS.len()).map(|step| (first + step) % STEPS.len()) {
            let (name, step) = STEPS[index];
            assert_same(name, &step(&self.device), &self.steps[index]);
        }
    }
}

/// The same bits on CPUs; on other devices what is fused together depends on the thread.
fn assert_same(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (entry, (&got, &want)) in got.iter().zip(want).enumerate() {
        if is_cpu() {
            let bits = [got, want].map(f64::to_bits);
            assert!(
                bits[0] == bits[1],
                "{what}, entry {entry}: got {got:e}, alone {want:e}"
            );
            continue;
        }
        let tolerance = Tolerance {
            relative: 1e-3,
            absolute: 1e-6,
        };
        assert_close(format!("{what}, entry {entry}"), got, want, tolerance);
    }
}

fn pool(threads: usize) -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().expect("a pool")
}

/// Runs a case in a process that fails if it does not end.
fn in_time(test: &str, cases: &[&str], check: impl Fn(&str)) {
    child::in_processes(test, cases, None, |case| {
        child::end_after(PATIENCE);
        check(case);
    });
}

#[test]
fn eight_threads_at_once_give_what_one_gives() {
    if !is_cpu() {
        return; // minutes, for what is promised of CPUs
    }
    let test = "concurrency::eight_threads_at_once_give_what_one_gives";
    in_time(test, &["threads"], |_| {
        let alone = Alone::new();
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for thread in 0..8 {
                let (alone, start) = (&alone, &start);
                scope.spawn(move || {
                    start.wait();
                    alone.check(thread);
                });
            }
        });
    });
}

#[test]
fn losses_within_rayon_end_and_are_the_same() {
    if !is_cpu() {
        return; // others have no threads of their own
    }
    let test = "concurrency::losses_within_rayon_end_and_are_the_same";
    let cases = ["iterator", "scope", "join", "pools", "nested", "busy"];
    in_time(test, &cases, |case| {
        let alone = Alone::new();
        match case {
            "iterator" => (0..8).into_par_iter().for_each(|task| alone.check(task)),
            "scope" => rayon::scope(|scope| {
                for task in 0..8 {
                    let alone = &alone;
                    scope.spawn(move |_| alone.check(task));
                }
                alone.check(0);
            }),
            "join" => {
                rayon::join(
                    || rayon::join(|| alone.check(0), || alone.check(1)),
                    || rayon::join(|| alone.check(2), || alone.check(3)),
                );
            }
            "pools" => {
                for threads in [1, 2, 3, 16] {
                    let pool = pool(threads);
                    pool.install(|| alone.check(threads));
                    pool.install(|| (0..2).into_par_iter().for_each(|task| alone.check(task)));
                }
            }
            "nested" => {
                let [inner, outer] = [1, 3].map(pool);
                inner.install(|| outer.install(|| alone.check(0)));
                outer.install(|| {
                    (0..6)
                        .into_par_iter()
                        .for_each(|task| inner.install(|| alone.check(task)));
                });
            }
            "busy" => {
                // All threads of the pool have something else to do, for a while.
                let busy = rayon::current_num_threads() * 2;
                (0..busy).for_each(|_| rayon::spawn(|| thread::sleep(Duration::from_millis(500))));
                alone.check(0);
            }
            case => panic!("no case {case}"),
        }
    });
}

/// What is promised of the number of threads, from process to process.
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    if !is_cpu() {
        return; // others have no threads of their own
    }
    let test = "concurrency::results_do_not_depend_on_the_number_of_threads";
    // The first of a process builds its pool.
    let digest = || -> u64 {
        let bits = Alone::new().steps.into_iter().flatten().map(f64::to_bits);
        bits.fold(0xcbf2_9ce4_8422_2325, |sum, bits| {
            (sum ^ bits).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let of_one_thread = pool(1).install(digest);
    let cases = [1, 2, 3, 7, 16].map(|threads| format!("{threads} {of_one_thread}"));
    in_time(test, &cases.each_ref().map(String::as_str), |case| {
        let (threads, want) = case.split_once(' ').expect("two numbers");
        let threads = threads.parse().expect("a number of threads");
        let global = rayon::ThreadPoolBuilder::new().num_threads(threads);
        global.build_global().expect("the first pool");
        assert_eq!(rayon::current_num_threads(), threads);
        assert_eq!(digest().to_string(), want);
    });
}

#[test]
fn outputs_that_come_and_go_on_other_threads_change_nothing() {
    if !is_cpu() {
        return; // minutes, for what is promised of CPUs
    }
    let test = "concurrency::outputs_that_come_and_go_on_other_threads_change_nothing";
    in_time(test, &["outputs"], |_| {
        let alone = Alone::new();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for thread in 0..3 {
                let (alone, done) = (&alone, &done);
                // Gradients of all sizes, which take each other's memory.
                scope.spawn(move || {
                    let loss = SumMargLhLossConfig::new().init();
                    for round in 0.. {
                        let dims = [8 + 8 * ((round + thread) % 5), documents()];
                        let scores = Tensor::<2>::zeros(dims, &alone.device).require_grad();
                        let loss = loss.forward(scores.clone(), mask(dims, &device()));
                        let gradient = scores.grad(&loss.backward()).expect("a gradient");
                        assert!(numbers(gradient.sum())[0].abs() < 1e-3);
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                });
            }
            let checked = catch_unwind(AssertUnwindSafe(|| (0..3).for_each(|_| alone.check(0))));
            done.store(true, Ordering::Relaxed);
            checked.expect("the same as alone");
        });
    });
}

#[test]
fn a_backward_pass_may_run_on_another_thread_than_its_forward_pass() {
    let test = "concurrency::a_backward_pass_may_run_on_another_thread_than_its_forward_pass";
    in_time(test, &["channel"], |_| {
        let device = device().autodiff();
        let make = || {
            let (queries, documents, targets) = batch([150, 4, 24], &device);
            let loss = LsePairLossConfig::new().with_temperature(0.1).init();
            let loss = loss.forward_embeddings(queries.clone(), documents.clone(), targets);
            (loss, queries, documents)
        };
        let (loss, queries, documents) = make();
        let want = outcome(loss, &[&queries, &documents]);
        thread::scope(|scope| {
            for _ in 0..4 {
                let (sender, receiver) = mpsc::channel();
                scope.spawn(move || {
                    for _ in 0..3 {
                        sender.send(make()).expect("who waits for it");
                    }
                });
                let want = &want;
                scope.spawn(move || {
                    for (loss, queries, documents) in receiver {
                        assert_same("sent", &outcome(loss, &[&queries, &documents]), want);
                    }
                });
            }
        });
    });
}

#[test]
fn threads_may_share_losses_targets_and_scores() {
    let test = "concurrency::threads_may_share_losses_targets_and_scores";
    in_time(test, &["shared"], |_| {
        let device = device().autodiff();
        let (queries, documents, targets) = batch([150, 4, 24], &device);
        let loss = Arc::new(LsePairLossConfig::new().init());
        let temperature = Arc::new(LearnableTemperatureConfig::new().init(&device));
        let scores = Arc::new(Scores::from(Embeddings::new(queries, documents)));
        let targets = Arc::new(targets);
        let run = move || {
            let scores = temperature.apply(Scores::clone(&scores));
            numbers(loss.forward(scores, Targets::clone(&targets)))
        };
        let want = run();
        let threads: Vec<_> = (0..8).map(|_| thread::spawn(run.clone())).collect();
        for thread in threads {
            assert_same("shared", &thread.join().expect("a loss"), &want);
        }
    });
}

/// Who ranks may take up another metric meanwhile, which wants the same ranking.
#[cfg(feature = "train")]
#[test]
fn metrics_that_share_a_ranking_may_be_computed_within_rayon() {
    use burn::{
        data::dataloader::Progress,
        train::metric::{Metric, MetricMetadata, Numeric},
    };
    use burn_multi_positive::train::{RankingInput, RankingMetric};

    let test = "concurrency::metrics_that_share_a_ranking_may_be_computed_within_rayon";
    in_time(test, &["metrics"], |_| {
        let device = device();
        let ids: Vec<usize> = (0..1500).collect();
        let judged: Vec<_> = (0..700).map(|query| vec![(2 * query, 1)]).collect();
        let [queries, documents] =
            [(700, 1), (1500, 2)].map(|(rows, salt)| matrix([rows, 64], salt, &device));
        let input = || {
            let (queries, documents) = (queries.clone(), documents.clone());
            RankingInput::from_embeddings(queries, documents, &ids, &judged)
        };
        let value = |input: &RankingInput, depth: usize| {
            let metadata = MetricMetadata {
                progress: Progress::new(1, 1, None),
                iteration: Some(1),
                lr: None,
            };
            let mut metric = RankingMetric::ndcg(depth);
            metric.update(input, &metadata).expect("a batch");
            metric.compute().expect("an epoch");
            metric.final_value().current()
        };
        let depths = [10, 100, 1000, 1200];
        let want = depths.map(|depth| value(&input(), depth));
        for threads in [1, 2, 3] {
            for _ in 0..5 {
                let shared = input();
                let got: Vec<f64> = pool(threads).install(|| {
                    let metrics = depths.par_iter().chain(&depths);
                    metrics.map(|depth| value(&shared, *depth)).collect()
                });
                assert_eq!(got, [want, want].concat());
            }
        }
    });
}

/// A thread that is told its mistake leaves the others alone.
#[test]
fn a_panic_on_one_thread_is_that_threads_alone() {
    if !is_cpu() {
        return; // minutes, for what is promised of CPUs
    }
    let test = "concurrency::a_panic_on_one_thread_is_that_threads_alone";
    in_time(test, &["panics"], |_| {
        let alone = Alone::new();
        thread::scope(|scope| {
            scope.spawn(|| alone.check(0));
            scope.spawn(|| {
                for _ in 0..20 {
                    let loss = LsePairLossConfig::new().init();
                    let scores = matrix([4, 3], 0, &alone.device);
                    let bad = AssertUnwindSafe(|| loss.forward(scores, mask([4, 2], &device())));
                    assert!(catch_unwind(bad).is_err());
                }
            });
        });
        alone.check(0);
    });
}

/// Each thread on a device of its own, and all of them on both.
#[cfg(all(feature = "flex", feature = "ndarray"))]
#[test]
fn devices_work_side_by_side() {
    let test = "concurrency::devices_work_side_by_side";
    in_time(test, &["devices"], |_| {
        #[allow(deprecated)]
        let devices = [Device::flex(), Device::ndarray()].map(Device::autodiff);
        let all = |device: &Device| STEPS.map(|(_, step)| step(device));
        let shards = || {
            let leaves = |rows: usize, salt: usize| {
                let leaf = |device: &Device| matrix([rows, 24], salt, device).require_grad();
                devices.each_ref().map(leaf)
            };
            let (queries, documents) = (leaves(40, 4), leaves(160, 5));
            let targets = Targets::from_groups(&[3; 80], 4, &devices[0]).expect("targets");
            let shards = Shards::new(queries.to_vec(), documents.to_vec());
            let loss = LsePairLossConfig::new().init().forward(shards, targets);
            outcome(
                loss,
                &[&queries[0], &queries[1], &documents[0], &documents[1]],
            )
        };
        let (want, want_of_shards) = (devices.each_ref().map(all), shards());
        thread::scope(|scope| {
            for thread in 0..6 {
                let (devices, want, want_of_shards) = (&devices, &want, &want_of_shards);
                let shards = &shards;
                scope.spawn(move || match thread % 3 {
                    2 => (0..8).for_each(|_| assert_same("shards", &shards(), want_of_shards)),
                    at => {
                        for (got, want) in all(&devices[at]).iter().zip(&want[at]) {
                            assert_same("a device of two", got, want);
                        }
                    }
                });
            }
        });
    });
}

/// The watch that the other tests rely on.
#[test]
fn a_process_whose_threads_wait_for_ever_fails() {
    let test = "concurrency::a_process_whose_threads_wait_for_ever_fails";
    let waits = || {
        child::in_processes(test, &["waits"], None, |_| {
            child::end_after(Duration::from_millis(200));
            loop {
                thread::park();
            }
        });
    };
    let Err(panic) = catch_unwind(waits) else {
        panic!("it ended well");
    };
    let said = panic.downcast_ref::<String>().expect("a message");
    assert!(said.contains("not done after 200ms"), "{said}");
}

/// The compiler runs this test.
#[test]
fn everything_public_may_be_sent_to_threads_and_shared() {
    fn is_shared<T: Send + Sync + 'static>() {}
    fn is_sent<T: Send + 'static>() {}

    is_shared::<(Scores, Embeddings, Shards, Tile, Targets, TargetsError)>();
    is_shared::<(LsePairLoss, JointLhLoss, SumMargLhLoss, Rand1LhLoss)>();
    is_shared::<(
        ExpectedRand1LhLoss,
        PowerMeanLoss,
        DclLoss,
        MarginRankingLoss,
    )>();
    is_shared::<(
        MultiSimilarityLoss,
        CircleLoss,
        FocalInfoNceLoss,
        SigmoidLoss,
    )>();
    is_shared::<(MarginMseLoss, SpreadOutLoss)>();
    is_shared::<(LearnableTemperature, LearnableBias)>();
    is_shared::<Box<dyn Objective + Send + Sync>>();
    is_shared::<(Bidirectional<LsePairLoss>, Matryoshka<LsePairLoss>)>();
    is_shared::<(FalseNegatives, PositiveThreshold)>();
    is_shared::<(PositiveSelection, NegativeSelection)>();
    is_shared::<(MemoryBank<String>, MemoryBankRecord<String>)>();
    is_shared::<(Stored, Side, BankError, CacheError)>();
    is_shared::<GradientCache<'static, LearnableTemperature>>();
    is_sent::<burn_multi_positive::CachedStep>();
    is_shared::<(statistics::Statistics, statistics::Request)>();
    is_shared::<(
        statistics::Statistic,
        statistics::Curve,
        statistics::Product,
    )>();
    is_shared::<(
        evaluation::Ranker,
        evaluation::RankedList,
        evaluation::Measure,
    )>();
    #[cfg(feature = "train")]
    {
        use burn_multi_positive::train;
        is_shared::<(train::RankingInput, train::RetrievalOutput)>();
        is_shared::<(
            train::RankingMetric,
            train::ShardedStrategy,
            train::Patience,
        )>();
    }
    #[cfg(feature = "remote")]
    is_shared::<burn_multi_positive::remote::KernelsError>();
}
