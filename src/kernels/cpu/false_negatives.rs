//! Which negatives score too high to be believed, as lists.

use rayon::prelude::*;

use super::{
    chunk::{CHUNK, FindExtremes},
    element::Element,
    judgements::Judgements,
    matrix::Matrix,
    real::Real,
    row::{Row, Scratch},
    rows::ceilings,
    tiles::{self, Embeddings, cut},
};
use crate::kernels::ceiling::FalseNegatives;

/// Queries and documents whose products are computed at a time.
const BLOCK: [usize; 2] = [64, CHUNK];

/// For each query the columns of the negatives above its ceiling, ascending.
pub fn false_negatives<E: Element>(
    scores: Matrix<E>,
    judgements: Judgements<E::Real>,
    rule: FalseNegatives,
) -> Vec<Vec<usize>> {
    let ceilings = ceilings(scores, judgements, rule);
    let find = |scratch: &mut Scratch<E>, query: usize| {
        let mut found = Vec::new();
        Find {
            first: 0,
            scores: scores.row(query),
            row: judgements.row(query),
            ceiling: ceilings[query],
            scratch,
            found: &mut found,
        }
        .run();
        found.shrink_to_fit();
        found
    };
    let queries = (0..ceilings.len()).into_par_iter();
    queries.map_init(Scratch::default, find).collect()
}

/// The same of the products of embeddings, of which a block is held for each thread.
pub fn false_negatives_of_embeddings<R: Real>(
    embeddings: Embeddings<R>,
    judgements: Judgements<R>,
    rule: FalseNegatives,
) -> Vec<Vec<usize>> {
    let ceilings = tiles::ceilings(embeddings, judgements, None, rule);
    let [queries, documents] = embeddings.counts();
    let find = |(scratch, scores): &mut (Scratch<R>, Vec<R>), strip: std::ops::Range<usize>| {
        let mut found = vec![Vec::new(); strip.len()];
        for columns in cut(0..documents, BLOCK[1]) {
            let width = columns.len();
            scores.resize(strip.len() * width, R::default());
            embeddings.scores([strip.clone(), columns.clone()], scores, false);
            let rows = scores.chunks_exact(width).zip(&mut found).enumerate();
            for (index, (scores, found)) in rows {
                let query = strip.start + index;
                Find {
                    first: columns.start,
                    scores,
                    row: judgements.row(query),
                    ceiling: ceilings[query],
                    scratch,
                    found,
                }
                .run();
            }
        }
        found.iter_mut().for_each(Vec::shrink_to_fit);
        found
    };
    let strips: Vec<_> = cut(0..queries, BLOCK[0]).collect();
    let strips = strips.into_par_iter().with_max_len(1);
    strips.map_init(Default::default, find).flatten().collect()
}

/// Finds those among the documents of a query from `first` on.
struct Find<'a, E: Element> {
    first: usize,
    scores: &'a [E],
    row: Row<'a, E::Real>,
    ceiling: E::Real,
    scratch: &'a mut Scratch<E>,
    found: &'a mut Vec<usize>,
}

impl<E: Element> Find<'_, E> {
    fn run(self) {
        let Scratch { isa, excluded, .. } = self.scratch;
        for (index, scores) in self.scores.chunks(CHUNK).enumerate() {
            let start = self.first + index * CHUNK;
            let columns = start..start + scores.len();
            let excluded = self.row.excluded(*isa, columns, scores, excluded);
            let extremes = isa.run(FindExtremes { scores, excluded });
            let is_high = |score: E::Real| score > self.ceiling;
            // Few are that high: most chunks are passed over at once.
            if is_high(extremes.max) {
                let pairs = scores.iter().zip(excluded).enumerate();
                let suspects = pairs
                    .filter(|(_, (score, excluded))| **excluded == 0 && is_high(score.widen()));
                self.found
                    .extend(suspects.map(|(column, _)| start + column));
            }
        }
    }
}
