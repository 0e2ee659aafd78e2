//! The scores of the positives alone.

use rayon::prelude::*;

use super::Embeddings;
use crate::kernels::{
    ceiling::FalseNegatives,
    cpu::{
        chunk::padded,
        isa::{Isa, Kernel},
        judgements::Judgements,
        matrix::Matrix,
        real::{Lanes, Real},
        simd::{MAX_LANES, Simd, Vector},
    },
};

/// The ceilings of the negatives of each query, from the products of its positives alone,
/// which are multiplied by the `scales` of query and document; any number where it has no
/// positive.
pub fn ceilings<R: Real>(
    embeddings: Embeddings<R>,
    judgements: Judgements<R>,
    scales: Option<[&[R]; 2]>,
    rule: FalseNegatives,
) -> Vec<R> {
    let isa = Isa::best();
    let [queries, documents] = embeddings.counts();
    let ceiling = |columns: &mut Vec<usize>, query: usize| {
        let row = judgements.row(query);
        row.chosen_positives(isa, documents, columns);
        let scores = isa.run(Pairs {
            query: embeddings.queries.row(query),
            documents: embeddings.documents,
            columns,
        });
        let columns = columns.iter();
        let scores = scores
            .into_iter()
            .zip(columns)
            .map(|(score, &column)| match scales {
                Some([of_queries, of_documents]) => {
                    let score = R::from_f64(score).mul(of_queries[query]);
                    score.mul(of_documents[column]).to_f64()
                }
                None => score,
            });
        R::from_f64(rule.ceiling(scores))
    };
    (0..queries)
        .into_par_iter()
        .map_init(Vec::new, ceiling)
        .collect()
}

/// The products of a query with some documents.
struct Pairs<'a, R> {
    query: &'a [R],
    documents: Matrix<'a, R>,
    columns: &'a [usize],
}

impl<R: Real> Kernel for Pairs<'_, R> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<S: Simd>(self) -> Vec<f64> {
        let lanes = Lanes::<S, R>::LANES;
        let mut scores = Vec::with_capacity(self.columns.len());
        for &column in self.columns {
            let document = self.documents.row(column);
            let mut sums = Lanes::<S, R>::splat(R::default());
            let (query, document) = (self.query.chunks(lanes), document.chunks(lanes));
            for (x, y) in query.zip(document) {
                let (x, y) = match x.len() == lanes {
                    true => (Vector::load(x), Vector::load(y)),
                    false => {
                        let zero = R::default();
                        let (x, y) = (padded(x, zero), padded(y, zero));
                        (Lanes::<S, R>::load(&x), Lanes::<S, R>::load(&y))
                    }
                };
                sums = x.mul_add(y, sums);
            }
            let mut terms = [R::default(); MAX_LANES];
            sums.store(&mut terms);
            scores.push(terms.into_iter().map(R::to_f64).sum());
        }
        scores
    }
}
