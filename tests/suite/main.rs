//! One suite for every device:
//! `BURN_DEVICE=flex|ndarray|wgpu|cuda cargo test --features .. --test suite`.
//!
//! `oracle` is the reference, `golden` values that share no code with it, `gradients` and
//! `laws` what follows from the definitions, `embeddings` the same for losses that start
//! from embeddings, `cache`, `bank` and `devices` what goes beyond one pass and one
//! device, `remote` and `remote_kernels` the devices of other processes, `contract`,
//! `panics` and `targets` what the crate promises, `default_dtypes` that it does so
//! whatever the device's default types, `extremes`, `confident`, `robustness`,
//! `half_embeddings` and `large_gradients` that it does so at the ends of what it takes,
//! `options` weights and what else the losses can be told, `axes` all of it in every pair of
//! combinations. `rankings` and `train` are about metrics, and about Burn's training loop.

mod axes;
mod bank;
mod batch;
mod bias;
mod cache;
mod child;
mod close;
mod composed;
mod concurrency;
mod confident;
mod contract;
mod default_dtypes;
mod device;
mod devices;
mod directions;
mod embeddings;
mod extremes;
#[cfg(any(feature = "train", feature = "remote-server"))]
mod folder;
mod golden;
mod gradients;
mod guide;
mod half_embeddings;
mod large_gradients;
mod laws;
mod matryoshka;
mod messages;
mod neighbours;
mod nothing;
mod options;
mod oracle;
mod panics;
mod peers;
mod rand1;
mod rankings;
#[cfg(feature = "remote-server")]
mod remote;
#[cfg(feature = "remote-server")]
mod remote_kernels;
mod robustness;
#[cfg(feature = "remote-server")]
mod server;
mod spread_out;
mod statistics;
mod targets;
mod temperature;
#[cfg(feature = "train")]
mod train;
mod views;
