//! Queries over themselves: a product of two of them is a score of both.

use super::{Embeddings, Known, Plan, Sums};
use crate::kernels::cpu::{matrix::Matrix, real::Real, summary::Summary};

/// The summaries of all queries over all of them. `scratch` has [`Plan::scratch_len`]
/// entries.
///
/// The plan is a [symmetric](Plan::symmetric) one: of the tiles those on and above the
/// diagonal are computed.
pub fn forward_symmetric<R: Real>(
    queries: Matrix<R>,
    plan: Plan<R>,
    scratch: &mut [R],
) -> Vec<Summary<R>> {
    let embeddings = over_themselves(queries);
    let mut summaries = vec![Summary::default(); queries.shape()[0]];
    plan.for_each_tile(
        embeddings.counts(),
        plan.area(),
        scratch,
        |mut tile, ranges| {
            let [rows, columns] = ranges;
            tile.compute(embeddings, |_: &mut (), _, _| ());
            if tile.is_on_diagonal() {
                return tile.gather_queries(plan, &mut summaries[rows]);
            }
            let (before, after) = summaries.split_at_mut(columns.start);
            rayon::join(
                || tile.gather_queries(plan, &mut before[rows]),
                || tile.gather_documents(plan, &mut after[..columns.len()]),
            );
        },
    );
    summaries
}

/// Writes the gradient of the queries, as [`backward`](super::backward) does.
pub fn backward_symmetric<R: Real>(
    queries: Matrix<R>,
    plan: Plan<R>,
    known: Known<R>,
    scratch: &mut [R],
    of_queries: &mut [R],
) {
    let embeddings = over_themselves(queries);
    of_queries.fill(R::default());
    let mut sums = Sums::new(queries, of_queries);
    // The same rows come from both sides of a tile.
    sums.begun = true;
    plan.for_each_tile(embeddings.counts(), plan.area(), scratch, |mut tile, _| {
        tile.differentiate(embeddings, plan, known);
        tile.add_to_queries(0, &mut sums);
        tile.add_to_documents(0, &mut sums);
    });
}

fn over_themselves<R: Copy>(queries: Matrix<R>) -> Embeddings<R> {
    Embeddings {
        queries,
        documents: queries,
    }
}
