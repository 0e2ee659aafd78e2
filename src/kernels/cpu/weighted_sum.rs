//! Sums of embeddings in which a weight of 0 means: not there.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    matrix::Matrix,
    product::{Factor, product},
    real::Real,
    row::within,
};

/// Embeddings to be summed up with weights. In a plain product the NaN of a document that a query
/// ignores, or of a query without positives, would reach everybody: 0 times NaN is NaN.
pub struct WeightedSum<'a, R> {
    embeddings: Matrix<'a, R>,
    /// The rows with an entry that is not finite, ascending.
    exceptions: Vec<usize>,
}

impl<'a, R: Real> WeightedSum<'a, R> {
    pub fn new(embeddings: Matrix<'a, R>) -> Self {
        let is_exception = |row: &usize| {
            let zero = R::default();
            let entries = embeddings.row(*row).iter();
            let unordered = entries.fold(0u32, |any, x| any | u32::from(x.mul(zero) != zero));
            unordered != 0
        };
        Self {
            embeddings,
            exceptions: (0..embeddings.shape()[0])
                .into_par_iter()
                .with_min_len(256)
                .filter(is_exception)
                .collect(),
        }
    }

    pub fn dimensions(&self) -> usize {
        self.embeddings.shape()[1]
    }

    /// Writes the sums over `rows`, with a row of `weights` for each, to `out`, or adds them.
    pub fn sum(&self, rows: Range<usize>, weights: Factor<R>, out: &mut [R], add: bool) {
        let exceptions = within(&self.exceptions, &rows);
        let some = self.embeddings.rows(rows.clone());
        if add && out.len() == self.dimensions() {
            // A single sum is added up term after term: in portions it keeps more digits.
            let mut part = vec![R::default(); out.len()];
            self.sum(rows, weights, &mut part, false);
            for (out, part) in out.iter_mut().zip(part) {
                *out = out.add(part);
            }
            return;
        }
        if exceptions.is_empty() {
            return product(weights, some.into(), out, add);
        }
        let dimensions = self.dimensions();
        let mut cleared = Vec::with_capacity(rows.len() * dimensions);
        for row in rows.clone() {
            match exceptions.binary_search(&row) {
                Ok(_) => cleared.resize(cleared.len() + dimensions, R::default()),
                Err(_) => cleared.extend_from_slice(self.embeddings.row(row)),
            }
        }
        let cleared = Matrix::new(&cleared, dimensions, some.shape());
        product(weights, cleared.into(), out, add);
        for (index, out) in out.chunks_exact_mut(dimensions).enumerate() {
            for &row in exceptions {
                let weight = weights.get(index, row - rows.start);
                if weight != R::default() {
                    for (out, &x) in out.iter_mut().zip(self.embeddings.row(row)) {
                        *out = out.add(weight.mul(x));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_weight_is_summed_up() {
        let embeddings = [1.0f32, 2.0, f32::NAN, 3.0, 4.0, f32::INFINITY];
        let embeddings = WeightedSum::new(Matrix::new(&embeddings, 2, [3, 2]));
        let weights = [2.0, 0.0, 0.0, 1.0, 0.5, 0.0, 1.0, 0.0, -1.0];
        let weights = Factor::from(Matrix::new(&weights, 3, [3, 3]));
        let mut out = [10.0; 6];
        embeddings.sum(0..3, weights, &mut out, true);
        assert_eq!(out[..2], [12.0, 14.0]);
        assert!(out[2].is_nan());
        assert_eq!(out[3], 10.0 + 2.0 + 1.5);
        assert_eq!(out[4..], [7.0, f32::NEG_INFINITY]);
        // Without the exceptions among the rows it is the plain product.
        let weights = [3.0];
        let weights = Factor::from(Matrix::new(&weights, 1, [1, 1]));
        embeddings.sum(0..1, weights, &mut out[..2], false);
        assert_eq!(out[..2], [3.0, 6.0]);
    }
}
