#[cfg(any(feature = "flex", feature = "cubecl"))]
use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// How many scores are held at a time where a loss starts from embeddings: those of at most
/// `queries` queries against at most `documents` documents.
///
/// It is a bound on memory and changes results by rounding only. Burn's CPU backend tiles both ways,
/// and holds a block of the tile, at most 256 queries by 512 documents, for each thread besides; other
/// devices need whole rows of scores, and take as many queries against all documents as
/// the tile has scores for, at least one.
///
/// A number converts to a square tile, a pair to one of queries and documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Queries of a tile.
    pub queries: usize,
    /// Documents of a tile.
    pub documents: usize,
}

impl From<usize> for Tile {
    fn from(side: usize) -> Self {
        [side, side].into()
    }
}

impl From<[usize; 2]> for Tile {
    fn from([queries, documents]: [usize; 2]) -> Self {
        Self { queries, documents }
    }
}

impl Tile {
    /// The tile for so many queries and documents on this device.
    pub(super) fn of(device: &Device, [queries, documents]: [usize; 2]) -> Self {
        const SIDE: usize = 1 << 11;
        let scores = match device.clone().without_autodiff().as_dispatch() {
            // 16 MiB in f32, which the last cache of a CPU holds.
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => 1 << 22,
            // 128 MiB in f32: each tile adds to the gradient of all documents.
            #[cfg(feature = "cubecl")]
            DispatchDevice::Cube(_) => 1 << 25,
            // The composed form holds a dozen matrices of this size.
            _ => 1 << 20,
        };
        let queries = queries.clamp(1, SIDE);
        Self {
            queries,
            documents: documents.clamp(1, scores / queries),
        }
    }

    pub(crate) fn assert_not_empty(self) {
        assert!(
            self.queries > 0 && self.documents > 0,
            "tile: expected at least one query and one document, got {self:?}"
        );
    }
}
