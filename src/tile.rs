use crate::device::Processor;

/// How many scores are held at a time where a loss starts from embeddings: those of at most
/// `queries` queries against at most `documents` documents.
///
/// It is a bound on memory and changes results by rounding only. Burn's CPU backends tile both
/// ways, and hold a block of the tile, at most 256 queries by 512 documents, for each thread
/// besides; other devices need whole rows of scores, and take as many queries against all
/// documents as the tile has scores for, at least one.
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
    /// The tile for so many queries and documents.
    pub(crate) fn of(processor: Processor, [queries, documents]: [usize; 2]) -> Self {
        const SIDE: usize = 1 << 11;
        let scores = processor.scores_of_a_tile();
        let queries = queries.clamp(1, SIDE);
        Self {
            queries,
            documents: documents.clamp(1, scores / queries),
        }
    }

    /// The tile of the other direction.
    pub(crate) fn transpose(self) -> Self {
        Self {
            queries: self.documents,
            documents: self.queries,
        }
    }

    /// The tile itself.
    pub(crate) fn not_empty(self) -> Self {
        assert!(
            self.queries > 0 && self.documents > 0,
            "tile: expected at least one query and one document, got {self:?}"
        );
        self
    }
}
