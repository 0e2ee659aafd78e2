//! The targets of a batch of queries.

use super::{
    matrix::Matrix,
    row::{Row, RowRelevance},
};

/// The targets of a batch; a mask entry is true unless it is 0.
#[derive(Clone, Copy)]
pub struct Judgements<'a, R> {
    pub relevance: Relevance<'a>,
    pub candidates: Option<Matrix<'a, u8>>,
    /// The weight of every pair.
    pub weights: Option<Matrix<'a, R>>,
    /// For each query the largest score of a negative that is believed.
    pub ceilings: Option<&'a [R]>,
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
    /// For each query the columns of its positives and those that it ignores, ascending, and
    /// the weights of its positives.
    Columns {
        positives: &'a [Vec<usize>],
        weights: Option<&'a [Vec<f32>]>,
        ignored: Option<&'a [Vec<usize>]>,
    },
}

impl<'a, R: Copy> Judgements<'a, R> {
    /// Without candidates, weights and choices.
    #[cfg(test)]
    pub fn of(relevance: Relevance<'a>) -> Self {
        Self {
            relevance,
            candidates: None,
            weights: None,
            ceilings: None,
            chosen: None,
        }
    }

    pub fn row(&self, row: usize) -> Row<'a, R> {
        Row {
            relevance: match self.relevance {
                Relevance::Mask(mask) => RowRelevance::Mask(mask.row(row)),
                Relevance::Labels { queries, documents } => RowRelevance::Labels {
                    query: queries[row],
                    documents,
                },
                Relevance::Columns {
                    positives,
                    weights,
                    ignored,
                } => RowRelevance::Columns {
                    positives: &positives[row],
                    weights: weights.map(|weights| weights[row].as_slice()),
                    ignored: ignored.map_or(&[], |ignored| &ignored[row]),
                },
            },
            candidates: self.candidates.as_ref().map(|mask| mask.row(row)),
            weights: self.weights.as_ref().map(|weights| weights.row(row)),
            ceiling: self.ceilings.map(|ceilings| ceilings[row]),
            chosen: self.chosen.map(|chosen| chosen[row]),
        }
    }
}
