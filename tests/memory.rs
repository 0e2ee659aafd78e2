//! What losses allocate, counted by an allocator of this binary's own, and that long runs
//! do not grow.
//!
//! `STEPS=100000 BURN_DEVICE=flex|ndarray|wgpu cargo test --release --features ..
//! --test memory` takes the long run.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env, fs,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use burn_multi_positive::{
    Bidirectional, Embeddings, Forward, JointLhLossConfig, LsePairLoss, LsePairLossConfig,
    Matryoshka, Targets,
};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn add(size: usize) {
        let live = LIVE.fetch_add(size, Relaxed) + size;
        PEAK.fetch_max(live, Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::add(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;
/// Outputs from here on are mapped and not allocated, on Linux.
const HUGE_PAGE: usize = 2 * MIB;
/// The graph, tables of short batches, and lists of tasks.
const FIXED: usize = MIB / 4;

/// Two tests would count each other's memory.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the device has the kernels for CPUs, whose memory this counts.
fn counts_all() -> bool {
    let name = format!("{:?}", Device::default());
    let counts = name.contains("Flex") || name.contains("NdArray");
    if !counts {
        eprintln!("skipped: the memory of {name} is not that of the process");
    }
    counts
}

/// What a step allocates beyond what was there, at its highest: the least of three steps,
/// since a thread that takes part for the first time allocates what it keeps.
fn peak<T>(given: impl Fn() -> T, step: impl Fn(T)) -> usize {
    let peak = || {
        let given = given();
        let before = LIVE.load(Relaxed);
        PEAK.store(before, Relaxed);
        step(given);
        PEAK.load(Relaxed) - before
    };
    (0..3).map(|_| peak()).min().unwrap_or(0)
}

/// Bytes that the process has mapped, or resides in.
fn process_bytes(key: &str) -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(
        shape,
        Distribution::Uniform(-1.0, 1.0),
        (device, DType::F32),
    )
}

/// Every query has one positive, as ids say it.
fn targets([queries, documents]: [usize; 2], device: &Device) -> Targets {
    let relevant: Vec<Vec<usize>> = (0..queries).map(|query| vec![query % documents]).collect();
    let ids: Vec<usize> = (0..documents).collect();
    Targets::from_ids(&relevant, &ids, device).expect("queries and documents")
}

fn loss() -> LsePairLoss {
    LsePairLossConfig::new().with_temperature(0.1).init()
}

/// From 1 score to 10 million.
const SHAPES: [[usize; 2]; 9] = [
    [1, 1],
    [1, 100],
    [100, 1],
    [30, 30],
    [1, 100_000],
    [1000, 100],
    [10, 100_000],
    [5000, 200],
    [100, 100_000],
];

#[test]
fn the_loss_of_a_matrix_allocates_its_gradient_and_a_table() {
    let _turn = alone();
    if !counts_all() {
        return;
    }
    let device = Device::default().autodiff();
    for shape @ [queries, documents] in SHAPES {
        let targets = targets(shape, &device);
        let mask = Targets::new(targets.positives());
        let scores = random(shape, &device).require_grad();
        for (form, targets) in [("lists", targets), ("a mask", mask)] {
            let step = |()| {
                let gradients = loss().forward(scores.clone(), targets.clone()).backward();
                let gradient = scores.grad(&gradients).expect("a leaf");
                assert_eq!(gradient.dims(), shape);
            };
            step(());
            let mapped = process_bytes("VmSize");
            let peak = peak(|| (), step);
            let gradient = 4 * queries * documents;
            let is_mapped = cfg!(target_os = "linux") && gradient >= HUGE_PAGE;
            let allocated = if is_mapped { 0 } else { gradient };
            // A row of the table is 40 bytes; its gradient, the columns that the formula
            // takes of it, and their gradients are beside it.
            let bound = allocated + 600 * queries + FIXED;
            assert!(
                peak <= bound,
                "{shape:?}, {form}: {peak} bytes, expected at most {bound}"
            );
            // The mapping of the first step serves the second.
            if let (Some(before), Some(after)) = (mapped, process_bytes("VmSize")) {
                assert!(after <= before + 64 * MIB, "{shape:?}: {before} to {after}");
            }
        }
    }
}

#[test]
fn scores_that_nobody_holds_become_their_gradient() {
    let _turn = alone();
    if !counts_all() {
        return;
    }
    let device = Device::default().autodiff();
    for shape @ [queries, documents] in [[100, 100], [300, 3000], [1000, 10_000]] {
        let [q, d] = shape.map(|count| random([count, 8], &device).require_grad());
        let targets = targets(shape, &device);
        let scores = || q.clone().matmul(d.clone().transpose());
        let step = |scores| drop(loss().forward(scores, targets.clone()).backward());
        step(scores());
        // What the product takes is Burn's.
        let peak = peak(scores, step);
        // The gradients of the embeddings, and operands of their products in another order.
        let bound = 3 * 8 * 4 * (queries + documents) + 600 * queries + FIXED;
        assert!(
            peak <= bound,
            "{shape:?}: {peak} bytes, expected at most {bound}"
        );
    }
}

/// A loss of embeddings.
type Run<'a> = &'a dyn Fn(Embeddings) -> Tensor<1>;

#[test]
fn a_loss_from_embeddings_never_holds_the_scores() {
    let _turn = alone();
    if !counts_all() {
        return;
    }
    const DIMENSIONS: usize = 8;
    let device = Device::default().autodiff();
    let threads = rayon::current_num_threads();
    for shape @ [queries, documents] in [
        [10, 10],
        [100, 100],
        [1000, 1000],
        [10_000, 10_000],
        [10, 100_000],
        [100_000, 10],
    ] {
        let [q, d] = shape.map(|count| random([count, DIMENSIONS], &device).require_grad());
        let targets = targets(shape, &device);
        let both = Bidirectional::new(loss());
        let nested = Matryoshka::new(loss(), &[4, 8]);
        // What is held between the passes; docs/scaling.md has it.
        let forms: [(&str, Run, usize); 3] = [
            (
                "one direction",
                &|e| loss().forward(e, targets.clone()),
                700 * queries,
            ),
            (
                "both directions",
                &|e| both.forward(e, targets.clone()),
                750 * (queries + documents),
            ),
            // Of two sizes, and the gradients of the embeddings once more.
            (
                "nested",
                &|e| nested.forward(e, targets.clone()),
                2 * 900 * queries + 4 * DIMENSIONS * (queries + documents),
            ),
        ];
        for (form, forward, held) in forms {
            let step = |()| {
                let loss = forward(Embeddings::new(q.clone(), d.clone()));
                let gradients = loss.backward();
                assert!(q.grad(&gradients).is_some() && d.grad(&gradients).is_some());
            };
            step(());
            let peak = peak(|| (), step);
            let gradients = 4 * DIMENSIONS * (queries + documents);
            let tiles = (16 * MIB).min(4 * queries * documents) + threads * MIB / 2;
            // On the way back, the gradients of the table and of what formulas make of it.
            let bound = held + 2 * gradients + 350 * queries.max(documents) + tiles + FIXED;
            assert!(
                peak <= bound,
                "{shape:?}, {form}: {peak} bytes, expected at most {bound}"
            );
        }
    }
}

#[test]
fn long_runs_do_not_grow() {
    let _turn = alone();
    let number = env::var("STEPS").map(|steps| steps.parse().expect("STEPS is a number"));
    let steps: usize = number.unwrap_or(1000);
    let device = Device::default().autodiff();
    let shape = [4, 16];
    let [q, d] = shape.map(|count| random([count, 8], &device).require_grad());
    let joint = JointLhLossConfig::new().init();
    let step = |index: usize| {
        let [queries, documents] = shape;
        let labels = |count: usize| {
            let labels = (0..count as i64).map(|i| (i + index as i64) % 5).collect();
            let labels = TensorData::new::<i64, _>(labels, [count]);
            Tensor::from_data(labels, (&device, DType::I32))
        };
        let targets = Targets::from_labels(labels(queries), labels(documents));
        let scores = q.clone().matmul(d.clone().transpose());
        let dense = joint.forward(scores, targets.clone());
        let tiled = loss().forward_embeddings(q.clone(), d.clone(), targets);
        let gradients = (dense + tiled).backward();
        let gradient = q.grad(&gradients).expect("a leaf").sum();
        // Read back: a device that works in the background falls behind otherwise.
        assert!(gradient.into_scalar::<f32>().is_finite());
    };
    // Kernels are compiled, pools and caches fill up.
    let warm = (steps / 10).clamp(100, 5000);
    (0..warm).for_each(step);
    let [live, resident] = [LIVE.load(Relaxed), process_bytes("VmRSS").unwrap_or(0)];
    (warm..warm + steps).for_each(step);
    let [live, resident] = [
        LIVE.load(Relaxed) as i64 - live as i64,
        process_bytes("VmRSS").unwrap_or(0) as i64 - resident as i64,
    ];
    println!(
        "{steps} steps on {:?}: {live} bytes allocated more, {resident} resident",
        Device::default()
    );
    assert!(live < MIB as i64, "{live} bytes more after {steps} steps");
    assert!(
        resident < 64 * MIB as i64,
        "{resident} bytes more after {steps} steps"
    );
}
