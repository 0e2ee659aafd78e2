use std::fmt;

/// Why targets could not be built from the data given.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TargetsError {
    /// The batch has no query.
    NoQueries,
    /// The batch has no document.
    NoDocuments,
    /// The group size is 0.
    EmptyGroup,
    /// The groups together have more than `i32::MAX` documents, the largest number of columns.
    TooManyDocuments {
        /// The number of queries.
        queries: usize,
        /// The number of documents of a group.
        group_size: usize,
    },
    /// A query names more positives than its group has documents.
    TooManyPositives {
        /// The row of the query.
        query: usize,
        /// The number of positives given for it.
        positives: usize,
        /// The number of documents of a group.
        group_size: usize,
    },
    /// A weight is negative or not finite.
    Weight {
        /// The row of the query.
        query: usize,
        /// The place in the list of the query.
        entry: usize,
        /// The weight given there.
        weight: f32,
    },
    /// A teacher's score is NaN or plus infinity.
    TeacherScore {
        /// The row of the query.
        query: usize,
        /// The place in the list of the query.
        entry: usize,
        /// The score given there.
        score: f32,
    },
}

impl fmt::Display for TargetsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoQueries => write!(f, "no queries: expected at least one, got 0"),
            Self::NoDocuments => write!(f, "no documents: expected at least one, got 0"),
            Self::EmptyGroup => write!(
                f,
                "group_size: expected at least one document a group, got 0"
            ),
            Self::TooManyDocuments {
                queries,
                group_size,
            } => write!(
                f,
                "group_size: expected at most {} documents in {queries} groups, got {group_size} in each",
                i32::MAX
            ),
            Self::TooManyPositives {
                query,
                positives,
                group_size,
            } => write!(
                f,
                "positives of query {query}: expected at most the group size {group_size}, got {positives}"
            ),
            Self::Weight {
                query,
                entry,
                weight,
            } => write!(
                f,
                "weight of entry {entry} of query {query}: expected a finite number that is not negative, \
                 got {weight}"
            ),
            Self::TeacherScore {
                query,
                entry,
                score,
            } => write!(
                f,
                "teacher's score of entry {entry} of query {query}: expected a finite number, or \
                 -inf for a document to ignore, got {score}"
            ),
        }
    }
}

impl std::error::Error for TargetsError {}
