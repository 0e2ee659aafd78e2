use crate::device::Processor;

/// The block of scores that is held at a time when a loss is computed from embeddings: at most
/// `queries` queries against at most `documents` documents.
///
/// A tile is a bound on memory, and changes results by rounding only. Burn's CPU backends tile
/// both queries and documents. Each of their threads also holds a block of the tile, of at
/// most 256 queries by 512 documents. Other devices need whole rows of scores. They take as
/// many queries against all documents as the tile has scores for, but at least one.
///
/// A number converts to a square tile, and a pair to a tile of queries and documents.
///
/// # Example
///
/// ```
/// use burn_multi_positive::Tile;
///
/// let square = Tile { queries: 64, documents: 64 };
/// assert_eq!(Tile::from(64_usize), square);
/// let wide = Tile { queries: 64, documents: 512 };
/// assert_eq!(Tile::from([64, 512]), wide);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The number of queries of a tile, at least 1.
    pub queries: usize,
    /// The number of documents of a tile, at least 1.
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
