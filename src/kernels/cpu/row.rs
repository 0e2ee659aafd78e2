//! One query: its targets, and the buffers that its kernels share.

use std::ops::Range;

use super::{
    chunk::{self, CHUNK, ExcludeAbove, Find},
    curve::Bend,
    element::Element,
    isa::Isa,
    positives::Positive,
    real::Real,
};
use crate::kernels::{curve::Curve, draw};

/// The targets of one query; a mask entry is true unless it is 0.
#[derive(Clone, Copy)]
pub struct Row<'a, R> {
    pub relevance: RowRelevance<'a>,
    pub candidates: Option<&'a [u8]>,
    /// The weight of each document.
    pub weights: Option<&'a [R]>,
    /// The largest score of a negative that is believed.
    pub ceiling: Option<R>,
    /// The column of the only positive.
    pub chosen: Option<i64>,
}

/// Which documents are relevant to a query.
#[derive(Clone, Copy)]
pub enum RowRelevance<'a> {
    /// Those whose entry is true.
    Mask(&'a [u8]),
    /// Those that have the label of the query.
    Labels { query: i64, documents: &'a [i64] },
    /// Those that are listed, ascending; some are neither positives nor negatives.
    Columns {
        positives: &'a [usize],
        /// The weights of the positives.
        weights: Option<&'a [f32]>,
        ignored: &'a [usize],
    },
}

impl RowRelevance<'_> {
    /// For at most [`CHUNK`] columns, 0 where the document is neither relevant nor
    /// ignored.
    fn mask<'a>(
        &'a self,
        isa: Isa,
        columns: Range<usize>,
        buffer: &'a mut [u8; CHUNK],
    ) -> &'a [u8] {
        let buffer = &mut buffer[..columns.len()];
        match *self {
            Self::Mask(mask) => return &mask[columns],
            Self::Labels { query, documents } => isa.vectorize(
                #[inline(always)]
                || {
                    for (relevant, &label) in buffer.iter_mut().zip(&documents[columns]) {
                        *relevant = u8::from(label == query);
                    }
                },
            ),
            Self::Columns {
                positives, ignored, ..
            } => {
                buffer.fill(0);
                for listed in [positives, ignored] {
                    for &column in within(listed, &columns) {
                        buffer[column - columns.start] = 1;
                    }
                }
            }
        }
        buffer
    }
}

/// Those of the ascending `columns` that lie in `range`.
pub fn within<'a>(columns: &'a [usize], range: &Range<usize>) -> &'a [usize] {
    let before = |bound: usize| columns.partition_point(|&column| column < bound);
    &columns[before(range.start)..before(range.end)]
}

impl<R: Real> Row<'_, R> {
    /// How far behind an entry of [`excluded`](Self::excluded) that of the next query is
    /// expected: nowhere else if it is made for each chunk.
    pub fn ahead(self) -> usize {
        match self.relevance {
            RowRelevance::Mask(mask) if self.excludes_the_relevant_alone() => mask.len(),
            _ => 0,
        }
    }

    fn excludes_the_relevant_alone(self) -> bool {
        self.candidates.is_none() && self.weights.is_none() && self.ceiling.is_none()
    }

    /// Collects those of `columns` that are positives.
    fn positives(
        self,
        isa: Isa,
        columns: Range<usize>,
        buffer: &mut [u8; CHUNK],
        found: &mut Vec<usize>,
    ) {
        found.clear();
        if let RowRelevance::Columns { positives, .. } = self.relevance {
            found.extend(within(positives, &columns));
        } else {
            for start in columns.clone().step_by(CHUNK) {
                let end = columns.end.min(start + CHUNK);
                let relevant = self.relevance.mask(isa, start..end, buffer);
                isa.run(Find {
                    bytes: relevant,
                    first: start,
                    found,
                });
            }
        }
        if let Some(candidates) = self.candidates {
            found.retain(|&column| candidates[column] != 0);
        }
        if self.has_weights() {
            found.retain(|&column| self.positive_weight(column) != 0.0);
        }
    }

    fn has_weights(self) -> bool {
        let listed = matches!(
            self.relevance,
            RowRelevance::Columns {
                weights: Some(_),
                ..
            }
        );
        listed || self.weights.is_some()
    }

    /// The weight of a positive; NaN if it is negative.
    fn positive_weight(self, column: usize) -> f64 {
        let listed = match self.relevance {
            RowRelevance::Columns {
                positives,
                weights: Some(weights),
                ..
            } => positives
                .binary_search(&column)
                .map_or(1.0, |place| f64::from(weights[place])),
            _ => 1.0,
        };
        let weight = match self.weights {
            Some(weights) => listed * weights[column].to_f64(),
            None => listed,
        };
        if weight < 0.0 { f64::NAN } else { weight }
    }

    /// Collects the columns of the positives that stay.
    pub fn chosen_positives(self, isa: Isa, documents: usize, found: &mut Vec<usize>) {
        self.positives(isa, 0..documents, &mut [0; CHUNK], found);
        if let Some(chosen) = self.chosen {
            found.retain(|&column| column as i64 == chosen);
        }
    }

    /// The column that a draw means; none if there is no positive.
    pub fn drawn(self, documents: usize, draw: f32) -> Option<usize> {
        let mut columns = Vec::new();
        self.positives(Isa::best(), 0..documents, &mut [0; CHUNK], &mut columns);
        let place = match self.has_weights() {
            true => {
                let weights = columns.iter().map(|&column| self.positive_weight(column));
                draw::weighted_place(draw, weights)?
            }
            false => draw::place(draw, columns.len()),
        };
        columns.get(place).copied()
    }

    pub fn is_negative(self, column: usize) -> bool {
        let relevant = match self.relevance {
            RowRelevance::Mask(mask) => mask[column] != 0,
            RowRelevance::Labels { query, documents } => documents[column] == query,
            RowRelevance::Columns {
                positives, ignored, ..
            } => [positives, ignored]
                .iter()
                .any(|listed| listed.binary_search(&column).is_ok()),
        };
        !relevant
            && self.candidates.is_none_or(|mask| mask[column] != 0)
            && self
                .weights
                .is_none_or(|weights| weights[column] != R::default())
    }

    /// The first of `columns` whose document is a negative whose score `is_it`.
    pub fn first_negative<E: Element<Real = R>>(
        self,
        columns: Range<usize>,
        scores: &[E],
        is_it: impl Fn(R) -> bool,
    ) -> Option<usize> {
        columns
            .zip(scores)
            .find(|&(column, scored)| {
                let score = scored.widen();
                // Of the scores that a curve makes alike, some lie above the ceiling.
                let believed = !self.ceiling.is_some_and(|ceiling| score > ceiling);
                is_it(score) && believed && self.is_negative(column)
            })
            .map(|(column, _)| column)
    }

    /// For at most [`CHUNK`] columns and their scores, 0 where the document is a
    /// negative.
    pub fn excluded<'a, E: Element<Real = R>>(
        &'a self,
        isa: Isa,
        columns: Range<usize>,
        scores: &[E],
        buffers: &'a mut Excluded,
    ) -> &'a [u8] {
        let relevant = self
            .relevance
            .mask(isa, columns.clone(), &mut buffers.relevant);
        if self.excludes_the_relevant_alone() {
            return relevant;
        }
        let excluded = &mut buffers.excluded[..columns.len()];
        match self.candidates {
            Some(candidates) => {
                let candidates = &candidates[columns.clone()];
                isa.vectorize(
                    #[inline(always)]
                    || {
                        let pairs = relevant.iter().zip(candidates);
                        for (excluded, (relevant, candidate)) in excluded.iter_mut().zip(pairs) {
                            *excluded = u8::from(*relevant != 0) | u8::from(*candidate == 0);
                        }
                    },
                );
            }
            None => excluded.copy_from_slice(relevant),
        }
        if let Some(weights) = self.weights {
            let weights = &weights[columns];
            chunk::exclude_weightless(isa, excluded, weights);
        }
        if let Some(ceiling) = self.ceiling {
            isa.run(ExcludeAbove {
                excluded,
                scores,
                ceiling,
            });
        }
        excluded
    }
}

/// Buffers for the mask of the columns that are no negatives.
pub struct Excluded {
    relevant: [u8; CHUNK],
    excluded: [u8; CHUNK],
}

/// Buffers that are reused from row to row.
pub struct Scratch<E: Element> {
    pub isa: Isa,
    /// Whether gradients are too large for the caches.
    pub stream: bool,
    /// The columns of the positives.
    columns: Vec<usize>,
    pub positives: Vec<Positive>,
    pub excluded: Excluded,
    pub wide: [E::Real; CHUNK],
    /// What a curve makes of them.
    pub bent: [E::Real; CHUNK],
    pub gradient: [E::Real; CHUNK],
}

impl<E: Element> Default for Scratch<E> {
    fn default() -> Self {
        Self::on(Isa::best())
    }
}

impl<E: Element> Scratch<E> {
    /// For kernels in an instruction set.
    pub fn on(isa: Isa) -> Self {
        let zero = E::Real::default();
        Self {
            isa,
            stream: false,
            columns: Vec::new(),
            positives: Vec::new(),
            excluded: Excluded {
                relevant: [0; CHUNK],
                excluded: [0; CHUNK],
            },
            wide: [zero; CHUNK],
            bent: [zero; CHUNK],
            gradient: [zero; CHUNK],
        }
    }

    /// Collects the positives among the documents from `first` on, with what the curve
    /// makes of their scores; whether there are any, chosen or not.
    pub fn collect(
        &mut self,
        row: Row<E::Real>,
        first: usize,
        scores: &[E],
        curve: Option<Curve>,
    ) -> bool {
        let columns = &mut self.columns;
        let range = first..first + scores.len();
        row.positives(self.isa, range, &mut self.excluded.relevant, columns);
        let any = !columns.is_empty();
        if let Some(chosen) = row.chosen {
            columns.retain(|&column| column as i64 == chosen);
        }
        self.positives.clear();
        let has_weights = row.has_weights();
        let bend = curve.map(|curve| Bend::new(curve, curve.positive));
        let positive = |&column: &usize| {
            let score = scores[column - first].widen().to_f64();
            let [score, slope] = match bend {
                Some(bend) => [bend.value(score), bend.slope(score)],
                None => [score, 1.0],
            };
            Positive {
                column,
                score,
                slope,
                weight: match has_weights {
                    true => row.positive_weight(column),
                    false => 1.0,
                },
            }
        };
        self.positives.extend(self.columns.iter().map(positive));
        any
    }
}
