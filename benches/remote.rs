//! LSEPair on a remote device, composed and by the kernels of its server: the table of
//! docs/scaling.md.
//!
//! ```text
//! cargo bench --features remote-server --bench remote
//! unshare -n sh -c "ip link set lo up; cargo bench --features remote-server --bench remote"
//! ```
//!
//! The second keeps what others send over the loopback interface out of packets and bytes.

#[allow(dead_code)]
#[path = "../tests/suite/server.rs"]
mod server;

use std::{fmt, fs, thread, time::Instant};

use burn::{
    server::{IrohIdentity, RemoteServer, telemetry::TelemetryProbe},
    tensor::{DType, Device, Tensor, TensorData},
};
use burn_multi_positive::{
    LsePairLossConfig, Targets,
    remote::{serve_kernels, use_kernels},
};

use server::{connect, free_port, transport};

/// Numbers in [-1, 1) without order.
fn matrix(dims: [usize; 2], salt: usize, device: &Device) -> Tensor<2> {
    let entry = |i: usize| ((i * 377 + salt * 1013) % 641) as f32 / 320.5 - 1.0;
    let entries: Vec<f32> = (0..dims[0] * dims[1]).map(entry).collect();
    Tensor::from_data(TensorData::new(entries, dims), (device, DType::F32))
}

/// Packets and bytes over the loopback interface, headers included.
fn loopback() -> [u64; 2] {
    let table = fs::read_to_string("/proc/net/dev").expect("what Linux counts");
    let line = table
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"));
    let line = line.expect("a loopback interface");
    let numbers: Vec<u64> = line
        .split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect();
    [numbers[1], numbers[0]]
}

/// Seconds, packets and bytes of forward and backward, until their results are there.
fn measured_step(device: &Device, targets: &Targets) -> [f64; 3] {
    let loss_fn = LsePairLossConfig::new().with_temperature(0.05).init();
    let scores = matrix([256, 2048], 1, device);
    let scores = scores.detach().require_grad();
    // What is measured begins with scores on the server.
    device.sync().expect("a device");
    let (start, before) = (Instant::now(), loopback());
    let loss = loss_fn.forward(scores.clone(), targets.clone());
    let gradient = scores.grad(&loss.backward()).expect("a gradient");
    let loss = loss.into_scalar::<f32>();
    device.sync().expect("a device");
    let (seconds, after) = (start.elapsed().as_secs_f64(), loopback());
    assert!(loss > 0.0 && gradient.dims() == [256, 2048]);
    let [packets, bytes] = [0, 1].map(|i| (after[i] - before[i]) as f64);
    [seconds, packets, bytes]
}

/// What many steps take: seconds, the median and the least; packets and bytes, the medians.
struct Measured {
    seconds: [f64; 2],
    packets: f64,
    bytes: f64,
}

impl Measured {
    fn new(device: &Device, targets: &Targets) -> Self {
        const STEPS: usize = 51;
        let steps: Vec<_> = (0..STEPS).map(|_| measured_step(device, targets)).collect();
        let [seconds, packets, bytes] = [0, 1, 2].map(|i| {
            let mut numbers: Vec<f64> = steps.iter().map(|step| step[i]).collect();
            numbers.sort_by(f64::total_cmp);
            numbers
        });
        Self {
            seconds: [seconds[STEPS / 2], seconds[0]],
            packets: packets[STEPS / 2],
            bytes: bytes[STEPS / 2],
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, least] = self.seconds.map(|seconds| 1e3 * seconds);
        let Self { packets, bytes, .. } = self;
        write!(
            f,
            "{median:.2} ms, at least {least:.2}, {packets} packets, {bytes} bytes"
        )
    }
}

fn mask_and_ids(device: &Device) -> [(&'static str, Targets); 2] {
    let device = &device.clone().without_autodiff();
    let mask = matrix([256, 2048], 2, device).greater_scalar(0.99);
    let documents: Vec<usize> = (0..2048).collect();
    let relevant: Vec<Vec<usize>> = (0..256).map(|q| (q * 8..q * 8 + 4).collect()).collect();
    let ids = Targets::from_ids(&relevant, &documents, device).unwrap();
    [("mask", mask.into()), ("ids", ids)]
}

fn main() {
    // A server of the benchmark is this program once more.
    server::as_server(|_| {
        let (transport, address) = transport(IrohIdentity::random(), free_port());
        server::say(&address);
        let server = RemoteServer::new([Device::flex(), Device::flex()]);
        serve_kernels(server).serve(transport).unwrap();
    });
    let server = server::start("", "1");
    let composed = connect(&server.said, 1).autodiff();
    let kernels = connect(&server.said, 0).autodiff();
    use_kernels(&kernels).unwrap();

    // Operations are counted by a server in this process.
    let (probe, mut events) = TelemetryProbe::channel(1 << 16);
    let (transport, address) = transport(IrohIdentity::random(), free_port());
    thread::spawn(move || {
        let server = RemoteServer::new([Device::flex(), Device::flex()]);
        let server = serve_kernels(server).with_telemetry(probe);
        server.serve(transport).unwrap();
    });
    let counted = [connect(&address, 1), connect(&address, 0)].map(Device::autodiff);
    use_kernels(&counted[1]).unwrap();

    let local = Device::flex().autodiff();
    for (form, targets) in mask_and_ids(&local) {
        println!("{form}, this process: {}", Measured::new(&local, &targets));
    }
    let ways = [("composed", &composed), ("kernels", &kernels)];
    for ((way, device), counted) in ways.into_iter().zip(&counted) {
        for index in 0..2 {
            let (form, targets) = &mask_and_ids(device)[index];
            let measured = Measured::new(device, targets);

            let (_, targets) = &mask_and_ids(counted)[index];
            let mut seen = Vec::new();
            measured_step(counted, targets);
            counted.sync().unwrap();
            events.drain_into(&mut seen);
            seen.clear();
            measured_step(counted, targets);
            events.drain_into(&mut seen);
            println!("{form}, {way}: {measured}, {} messages", seen.len());
        }
    }
}
