//! The targets of a batch of queries.

use super::{
    matrix::Matrix,
    row::{Choice, Relevance, Row},
};

/// The targets of a batch; a mask entry is true unless it is 0.
#[derive(Clone, Copy)]
pub struct Judgements<'a> {
    pub relevant: Relevant<'a>,
    pub candidates: Option<Matrix<'a, u8>>,
    /// For each query its only positive.
    pub choices: Option<Choices<'a>>,
}

/// Which documents are relevant to which query.
#[derive(Clone, Copy)]
pub enum Relevant<'a> {
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

/// The only positive of each query.
#[derive(Clone, Copy)]
pub enum Choices<'a> {
    /// By its column.
    Columns(&'a [i64]),
    /// By lot, see [`drawn`](crate::targets::drawn).
    Draws(&'a [i64]),
}

impl<'a> Judgements<'a> {
    pub fn row(&self, row: usize) -> Row<'a> {
        Row {
            relevance: match self.relevant {
                Relevant::Mask(mask) => Relevance::Mask(mask.row(row)),
                Relevant::Labels { queries, documents } => Relevance::Labels {
                    query: queries[row],
                    documents,
                },
                Relevant::Columns { positives, ignored } => Relevance::Columns {
                    positives: &positives[row],
                    ignored: ignored.map_or(&[], |ignored| &ignored[row]),
                },
            },
            candidates: self.candidates.map(|candidates| candidates.row(row)),
            choice: self.choices.map(|choices| match choices {
                Choices::Columns(columns) => Choice::Column(columns[row]),
                Choices::Draws(draws) => Choice::Draw(draws[row]),
            }),
        }
    }
}
