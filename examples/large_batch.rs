//! The same training step plain, with tiles, and with tiles and a gradient cache: time, peak
//! memory, and whether the gradients agree, up to a batch for which the plain way has no room.
//!
//! ```text
//! cargo run --release --example large_batch
//! cargo run --release --example large_batch -- --queries 32768 --limit 4096
//! ```
//!
//! Each step runs in a process of its own, and on Linux with a limit to its address space
//! (`--limit`, MiB), so that a step that does not fit fails instead of swapping. Memory is read
//! from `/proc/self/status`, which sees what the backend allocates on a CPU; elsewhere, and for
//! GPUs, it is not reported.

use std::{
    error::Error,
    fs,
    ops::Range,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::{Linear, LinearConfig},
    optim::GradientsParams,
    tensor::{Device, Distribution, Tensor, activation::gelu},
};
use burn_multi_positive::{GradientCache, LsePairLoss, LsePairLossConfig, Targets};
use clap::{Parser, ValueEnum};

/// Documents of each query, of which the first is relevant.
const GROUP: usize = 2;
const FEATURES: usize = 128;
/// Rows that a step with the cache embeds at a time.
const CHUNK: usize = 256;

#[derive(Parser, Debug)]
struct Arguments {
    /// The numbers of queries of a batch.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1024,4096,12288",
        value_parser = some
    )]
    queries: Vec<usize>,
    /// The address space that a step may have, in MiB.
    #[arg(long, default_value_t = 1024)]
    limit: usize,
    /// Run one step in this process, and write its gradients to a file.
    #[arg(long, requires = "gradients")]
    way: Option<Way>,
    #[arg(long)]
    gradients: Option<String>,
}

/// So many that their documents can be counted, too.
fn some(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=0xffff_ffff) => Ok(count),
        _ => Err("must be a number from 1 to 4294967295".into()),
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    /// The scores of all queries and documents, and one pass of the encoder.
    Plain,
    /// Losses from embeddings, and one pass of the encoder.
    Tiled,
    /// Losses from embeddings, and a gradient cache.
    Cached,
}

/// An encoder for queries and documents alike, with activations of some size.
#[derive(Module, Debug)]
struct Encoder {
    input: Linear,
    hidden: Linear,
    output: Linear,
}

impl Encoder {
    fn new(device: &Device) -> Self {
        Self {
            input: LinearConfig::new(FEATURES, 512).init(device),
            hidden: LinearConfig::new(512, 512).init(device),
            output: LinearConfig::new(512, 64).init(device),
        }
    }

    fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let hidden = gelu(self.input.forward(features));
        self.output.forward(gelu(self.hidden.forward(hidden)))
    }
}

struct Batch {
    queries: Tensor<2>,
    documents: Tensor<2>,
    targets: Targets,
}

impl Batch {
    fn new(queries: usize, device: &Device) -> Result<Self, Box<dyn Error>> {
        let features = |rows| Tensor::random([rows, FEATURES], Distribution::Default, device);
        let positives = vec![1; queries];
        Ok(Self {
            queries: features(queries),
            documents: features(queries * GROUP),
            targets: Targets::from_groups(&positives, GROUP, device)?,
        })
    }

    /// Loss and gradients; `at_loss` is called when the loss is there and its gradients are not.
    fn step(
        self,
        way: Way,
        encoder: &Encoder,
        loss_fn: &LsePairLoss,
        at_loss: impl FnOnce(),
    ) -> Result<(Tensor<1>, GradientsParams), Box<dyn Error>> {
        let rows = |all: &Tensor<2>, rows: Range<usize>| all.clone().slice([rows]);
        if let Way::Cached = way {
            let step = GradientCache::new(encoder, [CHUNK; 2], 0).step(
                self.queries.dims()[0],
                |encoder, range| Ok(encoder.forward(rows(&self.queries, range))),
                self.documents.dims()[0],
                |encoder, range| Ok(encoder.forward(rows(&self.documents, range))),
                |queries, documents| {
                    let loss = loss_fn.forward_embeddings(queries, documents, self.targets);
                    at_loss();
                    Ok(loss)
                },
            )?;
            return Ok((step.loss, step.gradients));
        }
        let queries = encoder.forward(self.queries);
        let documents = encoder.forward(self.documents);
        let loss = match way {
            Way::Plain => loss_fn.forward(queries.matmul(documents.transpose()), self.targets),
            _ => loss_fn.forward_embeddings(queries, documents, self.targets),
        };
        at_loss();
        let gradients = GradientsParams::from_grads(loss.backward(), encoder);
        Ok((loss, gradients))
    }
}

/// One step in this process; what it says goes to the parent.
fn run(way: Way, queries: usize, file: &str) -> Result<(), Box<dyn Error>> {
    let device = Device::default().autodiff();
    device.seed(1);
    let encoder = Encoder::new(&device);
    let loss_fn = LsePairLossConfig::new().with_temperature(0.1).init();
    // The first step pays for threads and allocations of once.
    let warm_up = Batch::new(2, &device)?.step(way, &encoder, &loss_fn, || ())?;
    drop(warm_up);
    device.seed(2);
    let batch = Batch::new(queries, &device)?;
    device.sync()?;

    forget_peak();
    let before = memory("VmRSS");
    let mut held = None;
    let start = Instant::now();
    let (loss, gradients) = batch.step(way, &encoder, &loss_fn, || held = memory("VmRSS"))?;
    let loss = loss.into_scalar::<f32>();
    device.sync()?;
    let time = start.elapsed();
    let peak = memory("VmHWM");

    let mut flat = Flat {
        gradients: &gradients,
        bytes: Vec::new(),
    };
    encoder.visit(&mut flat);
    fs::write(file, flat.bytes)?;
    print!("{:>8.2} s", time.as_secs_f64());
    let memories = before.zip(held).zip(peak);
    let Some(((before, held), peak)) = memories else {
        println!("  loss {loss:.5}  memory is not reported on this system");
        return Ok(());
    };
    println!(
        "  held {:>5} MiB  spike {:>5} MiB  total {:>5} MiB  loss {loss:.5}",
        held.saturating_sub(before),
        peak.saturating_sub(held.max(before)),
        peak.saturating_sub(before),
    );
    Ok(())
}

/// The gradients of all parameters, as bytes of f32.
struct Flat<'a> {
    gradients: &'a GradientsParams,
    bytes: Vec<u8>,
}

impl ModuleVisitor for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.get::<D>(param.id).expect("a gradient");
        let numbers: Vec<f32> = gradient.try_into_vec_as().expect("readable");
        self.bytes
            .extend(numbers.into_iter().flat_map(f32::to_le_bytes));
    }
}

/// A line of `/proc/self/status`, in MiB.
fn memory(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

/// Lets the peak (VmHWM) begin anew. Where this is not possible it is that of the process so far.
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// What a step in a process of its own said, and its gradients if it came to an end.
struct Outcome {
    report: String,
    gradients: Option<Vec<f32>>,
}

/// A step in a process of its own, with `limit` MiB to use.
fn spawn(way: Way, queries: usize, limit: usize) -> Result<Outcome, Box<dyn Error>> {
    let file = std::env::temp_dir().join(format!("large_batch_{}", std::process::id()));
    let program = std::env::current_exe()?;
    let mut command = match cfg!(target_os = "linux") {
        true => {
            let mut shell = Command::new("sh");
            let script = format!("ulimit -v {} && exec \"$@\"", limit.saturating_mul(1024));
            shell.args(["-c", &script, "sh"]).arg(program);
            shell
        }
        false => Command::new(program),
    };
    let name = way
        .to_possible_value()
        .expect("a value")
        .get_name()
        .to_string();
    command.args([
        "--way",
        &name,
        "--queries",
        &queries.to_string(),
        "--gradients",
    ]);
    let output = command.arg(&file).stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let out_of_memory =
            errors.contains("memory allocation") || errors.contains("Cannot allocate");
        return match out_of_memory {
            true => Ok(Outcome {
                report: format!("  does not fit into {limit} MiB"),
                gradients: None,
            }),
            false => Err(format!("{name} with {queries} queries failed: {errors}").into()),
        };
    }
    let bytes = fs::read(&file)?;
    fs::remove_file(&file)?;
    let gradients = bytes
        .chunks_exact(4)
        .map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]]));
    let report = String::from_utf8(output.stdout)?.trim_end().to_string();
    Ok(Outcome {
        report,
        gradients: Some(gradients.collect()),
    })
}

/// The distance of two gradients, relative to the length of the first.
fn distance(one: &[f32], other: &[f32]) -> f64 {
    let length =
        |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>().sqrt();
    let mut differences = one.iter().zip(other).map(|(a, b)| f64::from(a - b));
    length(&mut differences) / length(&mut one.iter().map(|&x| f64::from(x)))
}

fn main() -> ExitCode {
    match compare(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    if let (Some(way), Some(file)) = (arguments.way, &arguments.gradients) {
        return run(way, arguments.queries[0], file);
    }
    for queries in arguments.queries {
        println!("{queries} queries, {} documents", queries * GROUP);
        let mut first: Option<Vec<f32>> = None;
        for way in [Way::Plain, Way::Tiled, Way::Cached] {
            let outcome = spawn(way, queries, arguments.limit)?;
            print!("  {:<7}{}", format!("{way:?}"), outcome.report);
            match (&first, outcome.gradients) {
                (Some(first), Some(gradients)) => {
                    let distance = distance(first, &gradients);
                    println!("  gradients differ by {distance:.1e}");
                    assert!(distance < 1e-3, "the gradients disagree");
                }
                (None, gradients) => {
                    println!();
                    first = gradients;
                }
                (Some(_), None) => println!(),
            }
        }
    }
    Ok(())
}
