//! The targets of a batch of queries.

use super::{
    matrix::Matrix,
    row::{Row, RowRelevance},
};

/// The targets of a batch; a mask entry is true unless it is 0.
#[derive(Clone, Copy)]
pub struct Judgements<'a> {
    pub relevance: Relevance<'a>,
    pub candidates: Option<Matrix<'a, u8>>,
    /// For each query the column of its only positive.
    pub chosen: Option<&'a [i64]>,
}

/// Which documents are relevant to which query.
#[derive(Clone, Copy)]
pub enum Relevance<'a> {
    /// A mask, `[queries, documents]`.
    Mask(Matrix<'a, u8>),
    /// Labels of both, relevant where they are equal.
    Labels {
        queries: &'a [i64],
        documents: &'a [i64],
    },
    /// For each query the columns of its positives and those that it ignores, ascending.
    Columns {
        positives: &'a [Vec<usize>],
        ignored: Option<&'a [Vec<usize>]>,
    },
}

impl<'a> Judgements<'a> {
    pub fn row(&self, row: usize) -> Row<'a> {
        Row {
            relevance: match self.relevance {
                Relevance::Mask(mask) => RowRelevance::Mask(mask.row(row)),
                Relevance::Labels { queries, documents } => RowRelevance::Labels {
                    query: queries[row],
                    documents,
                },
                Relevance::Columns { positives, ignored } => RowRelevance::Columns {
                    positives: &positives[row],
                    ignored: ignored.map_or(&[], |ignored| &ignored[row]),
                },
            },
            candidates: self.candidates.map(|candidates| candidates.row(row)),
            chosen: self.chosen.map(|chosen| chosen[row]),
        }
    }
}
