//! One training step on two devices: each embeds half of the batch, and every query is scored against
//! the documents of both. The gradients are compared with those of one device.
//!
//! ```text
//! cargo run --release --example two_devices
//! cargo run --release --example two_devices --features ndarray,wgpu
//! ```
//!
//! With wgpu compiled in, the devices are Burn's CPU backend and a GPU, or Mesa's llvmpipe where there
//! is none. Otherwise the same device is taken twice.

use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::{Linear, LinearConfig},
    optim::{AdamConfig, GradientsAccumulator, GradientsParams},
    tensor::{Device, Distribution, Tensor, activation::tanh},
};
use burn_multi_positive::{LsePairLossConfig, Shards, Targets, TargetsError};

const QUERIES: usize = 64;
const GROUP: usize = 4;
const FEATURES: usize = 48;

/// An encoder for queries and documents alike.
#[derive(Module, Debug)]
struct Encoder {
    input: Linear,
    output: Linear,
}

impl Encoder {
    fn new(device: &Device) -> Self {
        Self {
            input: LinearConfig::new(FEATURES, 96).init(device),
            output: LinearConfig::new(96, 32).init(device),
        }
    }

    fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.output.forward(tanh(self.input.forward(features)))
    }
}

#[cfg(all(feature = "flex", feature = "wgpu"))]
fn devices() -> [Device; 2] {
    [Device::flex(), Device::wgpu(Default::default())]
}

#[cfg(not(all(feature = "flex", feature = "wgpu")))]
fn devices() -> [Device; 2] {
    println!("one backend is compiled in: its device is taken twice");
    [Device::default(), Device::default()]
}

/// Loss and gradients with the batch in equal parts on `devices`; the gradients are on the first.
fn step(
    encoder: &Encoder,
    devices: &[Device],
    [queries, documents]: [&Tensor<2>; 2],
) -> Result<(Tensor<1>, GradientsParams), TargetsError> {
    // A replica on each device: `fork` gives it an autodiff graph of its own.
    let replicas: Vec<Encoder> = devices.iter().map(|x| encoder.clone().fork(x)).collect();
    let embed = |features: &Tensor<2>| {
        let shards = features.clone().chunk(devices.len(), 0).into_iter();
        let shards = shards.zip(devices).zip(&replicas);
        let embed =
            shards.map(|((shard, device), replica)| replica.forward(shard.to_device(device)));
        embed.collect::<Vec<_>>()
    };
    // Of the whole batch, so that there are no offsets to get right.
    let targets = Targets::from_groups(&[2; QUERIES], GROUP, &devices[0])?;
    let loss_fn = LsePairLossConfig::new().with_temperature(0.5).init();
    let loss = loss_fn.forward(Shards::new(embed(queries), embed(documents)), targets);

    // One backward pass through all devices. The loss is that of the whole batch, so the replicas'
    // gradients are added up, and not divided by the number of devices.
    let mut gradients = loss.backward();
    let mut sum = GradientsAccumulator::new();
    for replica in &replicas {
        let part = GradientsParams::from_module(&mut gradients, replica);
        sum.accumulate(encoder, part.to_device(&devices[0], replica));
    }
    Ok((loss, sum.grads()))
}

/// The largest entry of all gradients, and the largest difference between two sets of them.
struct Comparison<'a> {
    one: &'a GradientsParams,
    other: &'a GradientsParams,
    largest: f32,
    difference: f32,
}

impl ModuleVisitor for Comparison<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let of = |gradients: &GradientsParams| gradients.get::<D>(param.id).expect("a gradient");
        let (one, other) = (of(self.one), of(self.other));
        let largest = |tensor: Tensor<D>| tensor.abs().max().into_scalar::<f32>();
        self.largest = self.largest.max(largest(one.clone()));
        self.difference = self.difference.max(largest(one - other));
    }
}

fn main() -> Result<(), TargetsError> {
    let devices = devices();
    println!("devices: {devices:?}");
    let devices = devices.map(Device::autodiff);
    devices[0].seed(1);
    let mut encoder = Encoder::new(&devices[0]);
    let mut optimizer = AdamConfig::new().init();
    let features = |rows| Tensor::random([rows, FEATURES], Distribution::Default, &devices[0]);
    let (queries, documents) = (features(QUERIES), features(QUERIES * GROUP));
    for round in 0..5 {
        let batch = [&queries, &documents];
        let (one_loss, one) = step(&encoder, &devices[..1], batch)?;
        let (loss, two) = step(&encoder, &devices, batch)?;
        let mut comparison = Comparison {
            one: &one,
            other: &two,
            largest: 0.0,
            difference: 0.0,
        };
        encoder.visit(&mut comparison);
        let relative = comparison.difference / comparison.largest;
        println!(
            "step {round}  loss {:.6}  on one device {:.6}  largest difference of gradients, relative {relative:.1e}",
            loss.into_scalar::<f32>(),
            one_loss.into_scalar::<f32>(),
        );
        assert!(relative < 1e-4, "the devices disagree");
        encoder = optimizer.step(1e-2, encoder, two);
    }
    Ok(())
}
