use std::{error::Error, fmt, ops::Range};

/// The error of a step with a [`GradientCache`](crate::GradientCache).
#[derive(Debug)]
#[non_exhaustive]
pub enum CacheError {
    /// The chunks of a side have no rows.
    EmptyChunk {
        /// The side.
        side: Side,
    },
    /// A side has no rows to embed.
    NoRows {
        /// The side.
        side: Side,
    },
    /// An encoder returned an error.
    Encoder {
        /// The side that it embeds.
        side: Side,
        /// The rows it was given.
        rows: Range<usize>,
        /// What it returned.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An encoder returned another number of embeddings than it was given rows.
    Rows {
        /// The side that it embeds.
        side: Side,
        /// The rows it was given.
        rows: Range<usize>,
        /// The number of embeddings.
        got: usize,
    },
    /// An encoder returned embeddings of other dimensions than for the first rows.
    Dimensions {
        /// The side that it embeds.
        side: Side,
        /// The rows it was given.
        rows: Range<usize>,
        /// The dimensions of the first embeddings.
        expected: usize,
        /// The dimensions of these.
        got: usize,
    },
    /// The loss returned an error.
    Loss {
        /// What it returned.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An encoder returned other embeddings in the second pass than in the first: it draws random
    /// numbers that `Device::seed` does not repeat, or it keeps a state.
    NotRepeatable {
        /// The side that it embeds.
        side: Side,
        /// The rows it was given.
        rows: Range<usize>,
    },
}

/// Queries or documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The queries.
    Queries,
    /// The documents.
    Documents,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queries => "queries",
            Self::Documents => "documents",
        })
    }
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyChunk { side } => {
                write!(f, "{side}: expected chunks of at least one row, got 0")
            }
            Self::NoRows { side } => write!(f, "{side}: expected at least one row, got 0"),
            Self::Encoder { side, rows, source } => {
                write!(f, "{side} {rows:?}: the encoder failed: {source}")
            }
            Self::Rows { side, rows, got } => write!(
                f,
                "{side} {rows:?}: expected {} embeddings from the encoder, got {got}",
                rows.len()
            ),
            Self::Dimensions {
                side,
                rows,
                expected,
                got,
            } => write!(
                f,
                "{side} {rows:?}: expected embeddings of {expected} dimensions as the first have, got {got}"
            ),
            Self::Loss { source } => write!(f, "the loss failed: {source}"),
            Self::NotRepeatable { side, rows } => write!(
                f,
                "{side} {rows:?}: expected the embeddings of the first pass again, got others: the encoder keeps a \
                 state or draws random numbers that Device::seed does not repeat"
            ),
        }
    }
}

impl Error for CacheError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encoder { source, .. } | Self::Loss { source } => Some(source.as_ref()),
            _ => None,
        }
    }
}
