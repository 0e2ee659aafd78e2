//! One side of a batch, embedded chunk by chunk.

use std::{error::Error, ops::Range};

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::{CacheError, Side};

/// An encoder: the embeddings of some rows, by a model.
pub type Encoder<'a, M> =
    dyn FnMut(&M, Range<usize>) -> Result<Tensor<2>, Box<dyn Error + Send + Sync>> + 'a;

pub struct Chunks<'a, M> {
    pub side: Side,
    pub rows: usize,
    pub chunk: usize,
    pub seed: u64,
    pub encoder: &'a mut Encoder<'a, M>,
}

impl<M: Module> Chunks<'_, M> {
    pub fn assert_not_empty(&self) -> Result<(), CacheError> {
        let side = self.side;
        match (self.chunk, self.rows) {
            (0, _) => Err(CacheError::EmptyChunk { side }),
            (_, 0) => Err(CacheError::NoRows { side }),
            _ => Ok(()),
        }
    }

    pub fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<M> {
        let (rows, chunk) = (self.rows, self.chunk);
        (0..rows)
            .step_by(chunk)
            .map(move |start| start..rows.min(start.saturating_add(chunk)))
    }

    /// The embeddings of one chunk. The random numbers of the devices depend on seed, side and
    /// chunk only, so that they are the same whenever the chunk is embedded.
    pub fn embed(
        &mut self,
        model: &M,
        devices: &[Device],
        rows: Range<usize>,
    ) -> Result<Tensor<2>, CacheError> {
        let side = self.side;
        let seed = seed_of_chunk(self.seed, side, rows.start);
        devices.iter().for_each(|device| device.seed(seed));
        let embeddings = (self.encoder)(model, rows.clone()).map_err(|source| {
            let rows = rows.clone();
            CacheError::Encoder { side, rows, source }
        })?;
        match embeddings.dims()[0] {
            got if got != rows.len() => Err(CacheError::Rows { side, rows, got }),
            _ => Ok(embeddings),
        }
    }

    /// The embeddings of all rows, on the device of the first, without a graph.
    pub fn embed_all(&mut self, model: &M, devices: &[Device]) -> Result<Tensor<2>, CacheError> {
        let mut all: Vec<Tensor<2>> = Vec::new();
        for rows in self.chunks() {
            // An encoder may be a table of parameters: no chunk may require gradients by itself.
            let chunk = self
                .embed(model, devices, rows.clone())?
                .set_require_grad(false);
            let Some(first) = all.first() else {
                all.push(chunk);
                continue;
            };
            let [expected, got] = [first, &chunk].map(|chunk| chunk.dims()[1]);
            if got != expected {
                return Err(CacheError::Dimensions {
                    side: self.side,
                    rows,
                    expected,
                    got,
                });
            }
            all.push(chunk.to_device(&first.device()));
        }
        Ok(Tensor::cat(all, 0))
    }
}

fn seed_of_chunk(seed: u64, side: Side, start: usize) -> u64 {
    let parts = [side as u64, start as u64].into_iter();
    parts.fold(mix(seed), |seed, part| mix(seed.wrapping_add(part)))
}

/// A step of the generator SplitMix64: seeds that differ by little become unlike ones.
fn mix(seed: u64) -> u64 {
    let x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn neighbouring_steps_sides_and_chunks_have_seeds_of_their_own() {
        let mut seeds = HashSet::new();
        for step in 0..20 {
            for side in [Side::Queries, Side::Documents] {
                for start in 0..20 {
                    assert!(seeds.insert(seed_of_chunk(step, side, start)));
                }
            }
        }
    }
}
