//! The scores of the positives alone.

use rayon::prelude::*;

use super::Embeddings;
use crate::kernels::{
    ceiling::FalseNegatives,
    cpu::{
        element::Element,
        isa::{Isa, Kernel},
        judgements::Judgements,
        matrix::Matrix,
        real::Real,
    },
};

/// The ceilings of the negatives of each query, from the products of its positives alone, which
/// are multiplied by the `scales` of query and document; any number where it has no positive.
pub fn ceilings<R: Element<Real = R> + Real>(
    embeddings: Embeddings<R>,
    judgements: Judgements<R>,
    scales: Option<[&[R]; 2]>,
    rule: FalseNegatives,
) -> Vec<R> {
    let isa = Isa::best();
    let [queries, documents] = embeddings.counts();
    let ceiling = |columns: &mut Vec<usize>, query: usize| {
        let row = judgements.row(query);
        row.chosen_positives(documents, columns);
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
    fn run<const FMA: bool>(self) -> Vec<f64> {
        const LANES: usize = 16;
        let mut scores = Vec::with_capacity(self.columns.len());
        for &column in self.columns {
            let document = self.documents.row(column);
            let mut sums = [R::default(); LANES];
            let (query, last_query) = self.query.as_chunks::<LANES>();
            let (document, last_document) = document.as_chunks::<LANES>();
            for (x, y) in query.iter().zip(document) {
                for lane in 0..LANES {
                    sums[lane] = x[lane].mul_add::<FMA>(y[lane], sums[lane]);
                }
            }
            for ((sum, x), y) in sums.iter_mut().zip(last_query).zip(last_document) {
                *sum = x.mul_add::<FMA>(*y, *sum);
            }
            scores.push(sums.into_iter().map(R::to_f64).sum());
        }
        scores
    }
}
