//! What the fuzzers run: a function of bytes for each target.
//!
//! A function panics if the bytes show a defect. `fuzz_targets` runs them under
//! libFuzzer, `tests` with bytes of a generator, by any compiler. What makes sense to a
//! reader of files starts from [`seeds`](Target::seeds), files that are in order.

#![warn(missing_docs)]

pub mod builders;
pub mod checkpoints;
pub mod collections;
mod folder;
pub mod losses;
pub mod models;
pub mod rankings;
pub mod records;
pub mod scores;
pub mod tevatron;

/// The tests of the library that say what a loss is by its definition.
#[allow(dead_code, unused_imports)]
#[path = "../../tests/suite/axes/mod.rs"]
mod axes;
#[allow(dead_code)]
#[path = "../../tests/suite/batch.rs"]
mod batch;
#[allow(dead_code)]
#[path = "../../tests/suite/child.rs"]
mod child;
#[allow(dead_code)]
#[path = "../../tests/suite/close.rs"]
mod close;
#[allow(dead_code)]
#[path = "../../tests/suite/device.rs"]
mod device;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/suite/oracle.rs"]
mod oracle;

/// A name, what runs, and bytes to start from.
pub struct Target {
    /// That of the file in `fuzz_targets`.
    pub name: &'static str,
    /// Panics if the bytes show a defect.
    pub run: fn(&[u8]),
    /// Bytes that are in order; none where all bytes are.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All there are.
pub const TARGETS: [Target; 9] = [
    target("losses", losses::run, Vec::new),
    target("scores", scores::run, Vec::new),
    target("builders", builders::run, Vec::new),
    target("rankings", rankings::run, Vec::new),
    target("records", records::run, records::seeds),
    target("collections", collections::run, collections::seeds),
    target("tevatron", tevatron::run, tevatron::seeds),
    target("models", models::run, models::seeds),
    target("checkpoints", checkpoints::run, checkpoints::seeds),
];

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}
