use std::fmt;

use burn::tensor::DType;

use crate::TargetsError;

/// The error of a [`MemoryBank`](crate::MemoryBank) that refuses what it is given.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BankError {
    /// The bank has no room for a single document.
    NoCapacity,
    /// The memory has no room for so many documents.
    Capacity {
        /// The number of documents that the bank should have room for.
        capacity: usize,
        /// The dimensions of their embeddings.
        dimensions: usize,
    },
    /// There is not one id for each embedding.
    Ids {
        /// The number of embeddings.
        embeddings: usize,
        /// The number of ids.
        ids: usize,
    },
    /// The embeddings have other dimensions than the stored ones.
    Dimensions {
        /// The dimensions of the stored embeddings.
        stored: usize,
        /// The dimensions of the given embeddings.
        got: usize,
    },
    /// The embeddings of a record are not a matrix of floats.
    Record {
        /// The shape of its embeddings.
        shape: Vec<usize>,
        /// The type of its embeddings.
        dtype: DType,
    },
    /// The oldest document of a record has no place in the bank.
    Oldest {
        /// The column of the oldest document.
        oldest: usize,
        /// The number of documents that the bank has room for.
        capacity: usize,
    },
    /// The targets cannot be built, for the reason that the [`TargetsError`] gives.
    Targets(TargetsError),
}

impl From<TargetsError> for BankError {
    fn from(error: TargetsError) -> Self {
        Self::Targets(error)
    }
}

impl fmt::Display for BankError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCapacity => write!(
                f,
                "capacity: expected room for at least one document, got 0"
            ),
            Self::Capacity {
                capacity,
                dimensions,
            } => write!(
                f,
                "capacity: expected as many documents of {dimensions} dimensions as memory has room for, got {capacity}"
            ),
            Self::Ids { embeddings, ids } => write!(
                f,
                "ids: expected one for each of the {embeddings} embeddings, got {ids}"
            ),
            Self::Dimensions { stored, got } => write!(
                f,
                "embeddings: expected {stored} dimensions as the bank stores, got {got}"
            ),
            Self::Record { shape, dtype } => write!(
                f,
                "record: expected embeddings of a float type and shape [documents, dimensions], got {dtype:?} {shape:?}"
            ),
            Self::Oldest { oldest, capacity } => write!(
                f,
                "record: expected the oldest document at a place below the capacity of {capacity}, got {oldest}"
            ),
            Self::Targets(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BankError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Targets(error) => Some(error),
            _ => None,
        }
    }
}
