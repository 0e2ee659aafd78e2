//! The targets on bytes of a generator, for compilers without libFuzzer.
//!
//! `FUZZ_SECONDS=60 cargo test --release -p fuzz` runs each for a minute.

use std::{
    env,
    panic::catch_unwind,
    time::{Duration, Instant},
};

use fuzz::{TARGETS, Target};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

/// A target for a while: seeds as they are, then bytes with changes.
fn disturb(name: &str) {
    let named = TARGETS.iter().find(|target| target.name == name);
    let target = named.expect("a target of this name");
    let seconds = env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(4, |text| text.parse().expect("a number of seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let seeds = (target.seeds)();
    for seed in &seeds {
        run(target, seed);
    }
    let mut rng = StdRng::seed_from_u64(0);
    let mut runs = seeds.len();
    // At least some, however slow the machine is.
    while runs < seeds.len() + 100 || Instant::now() < end {
        run(target, &changed(&seeds, &mut rng));
        runs += 1;
    }
    println!("{name}: {runs} runs");
}

fn run(target: &Target, data: &[u8]) {
    if catch_unwind(|| (target.run)(data)).is_err() {
        let bytes: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!(
            "{}: the bytes {} show a defect",
            target.name,
            bytes.concat()
        );
    }
}

/// Bytes, or a seed of which some are written over, left out or repeated.
fn changed(seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    if seeds.is_empty() {
        let mut bytes = vec![0; rng.random_range(0..600)];
        rng.fill_bytes(&mut bytes);
        return bytes;
    }
    let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(1..6) {
        let start = rng.random_range(0..=bytes.len());
        let end = (start + rng.random_range(0..12)).min(bytes.len());
        match rng.random_range(0..4) {
            0 => drop(bytes.drain(start..end)),
            1 => {
                let again = bytes[start..end].to_vec();
                bytes.splice(start..start, again);
            }
            2 => bytes[start..end]
                .iter_mut()
                .for_each(|byte| *byte ^= 1 << rng.random_range(0..8)),
            _ => {
                // What readers look at.
                const LOOKED_AT: &[u8] = b"\0\t\n\"\\,:[]{}-0179e.tn\xff";
                let byte = LOOKED_AT[rng.random_range(0..LOOKED_AT.len())];
                bytes[start..end.min(start + 1)].fill(byte);
            }
        }
    }
    bytes
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { disturb(stringify!($name)); })*

        #[test]
        fn every_target_has_a_test_and_a_file() {
            let names = TARGETS.map(|target| target.name);
            assert_eq!(names, [$(stringify!($name)),*]);
            for name in names {
                let file = format!("{}/fuzz_targets/{name}.rs", env!("CARGO_MANIFEST_DIR"));
                assert!(std::path::Path::new(&file).is_file(), "{file}");
            }
        }
    };
}

targets!(losses scores builders rankings records collections tevatron models checkpoints);
