//! What goes over the network in a step: counted by the kernel, and by the formulas of
//! docs/scaling.md.

use std::{fmt, fs, ops::Sub};

use retrieval::{Bag, DIMENSIONS};

/// Bytes that this machine sent and received, headers included.
#[derive(Clone, Copy)]
pub struct Traffic {
    pub sent: u64,
    pub received: u64,
}

impl Traffic {
    /// Up to now, over the loopback interface or over all others. `None` where the system does
    /// not say, as only Linux does.
    pub fn now(loopback: bool) -> Option<Self> {
        let table = fs::read_to_string("/proc/net/dev").ok()?;
        let mut sum = Self {
            sent: 0,
            received: 0,
        };
        // An interface, a colon, 8 numbers of what was received and 8 of what was sent.
        for line in table.lines() {
            let Some((name, numbers)) = line.split_once(':') else {
                continue;
            };
            if (name.trim() == "lo") == loopback {
                let numbers: Vec<u64> = numbers
                    .split_whitespace()
                    .map(|number| number.parse().unwrap_or(0))
                    .collect();
                sum.received += numbers.first()?;
                sum.sent += numbers.get(8)?;
            }
        }
        Some(sum)
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            received: self.received - before.received,
        }
    }
}

/// Bytes of a step, by what is to be moved: without headers, and without the operations that the
/// servers are told.
#[derive(Clone, Copy, Default)]
pub struct Formula {
    /// Documents to the devices that did not embed them: `D d b (P - 1)`, all devices together.
    pub documents: u64,
    /// Weights to all devices but the first, and their gradients back: `2 w (P - 1)`.
    pub replicas: u64,
    /// What the encoder reads, from this process to the devices.
    pub inputs: u64,
}

impl Formula {
    /// For shards of texts, queries and documents, on one device each.
    pub fn new(shards: &[(Vec<&Bag>, Vec<&Bag>)], weights: usize) -> Self {
        let others = shards.len() as u64 - 1;
        let documents: usize = shards.iter().map(|(_, documents)| documents.len()).sum();
        let inputs = shards.iter().map(|(queries, documents)| {
            let texts = queries.iter().chain(documents);
            let mut words: Vec<usize> = texts
                .flat_map(|bag| &bag.0)
                .map(|(word, _)| *word)
                .collect();
            words.sort_unstable();
            words.dedup();
            // A share of every word for every text, and the place of the word in the table.
            4 * (words.len() * (queries.len() + documents.len() + 1)) as u64
        });
        Self {
            documents: (documents * DIMENSIONS * 4) as u64 * others,
            replicas: 2 * weights as u64 * others,
            inputs: inputs.sum(),
        }
    }

    /// Their gradients are as many bytes as the documents, and go back.
    pub fn total(&self) -> u64 {
        2 * self.documents + self.replicas + self.inputs
    }

    pub fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.replicas += other.replicas;
        self.inputs += other.inputs;
    }
}

/// Bytes in MiB.
pub struct MiB(pub u64);

impl fmt::Display for MiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.0 as f64 / f64::from(1 << 20);
        mib.fmt(f)
    }
}
