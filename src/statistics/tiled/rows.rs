//! Some queries at a time against all documents, on any backend.

use std::{ops::Range, sync::Arc};

use burn::tensor::Tensor;

use super::{Batch, fused, operations::Gradients, wide};

/// The table, and the way back from its gradient.
pub(super) fn forward(batch: Batch) -> (Tensor<2>, Arc<dyn Gradients>) {
    let table = |rows: Range<usize>| {
        let targets = batch.targets.queries(rows.clone());
        fused::table(batch.scores(rows), &targets, batch.request)
    };
    let table = Tensor::cat(batch.ranges().map(table).collect(), 0);
    let rows = Rows {
        batch,
        table: table.clone(),
    };
    (table, Arc::new(rows))
}

impl Batch {
    /// The queries in portions whose scores are no more than those of a tile.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let [queries, documents] = self.targets.dims();
        let scores = self.tile.queries.saturating_mul(self.tile.documents);
        let step = (scores / documents).clamp(1, queries);
        (0..queries)
            .step_by(step)
            .map(move |start| start..queries.min(start + step))
    }

    fn scores(&self, rows: Range<usize>) -> Tensor<2> {
        narrow(&self.queries, &rows).matmul(self.documents.clone().transpose())
    }
}

fn narrow(tensor: &Tensor<2>, rows: &Range<usize>) -> Tensor<2> {
    tensor.clone().narrow(0, rows.start, rows.len())
}

#[derive(Debug)]
struct Rows {
    batch: Batch,
    table: Tensor<2>,
}

impl Gradients for Rows {
    fn of_embeddings(&self, upstream: Tensor<2>, needed: [bool; 2]) -> [Option<Tensor<2>>; 2] {
        let batch = &self.batch;
        let documents = needed[0].then(|| WeightedSum::new(&batch.documents));
        let mut of_queries = Vec::new();
        let mut of_documents: Option<Tensor<2>> = None;
        for rows in batch.ranges() {
            let weights = fused::gradient(
                batch.scores(rows.clone()),
                &batch.targets.queries(rows.clone()),
                batch.request,
                narrow(&self.table, &rows),
                narrow(&upstream, &rows),
            );
            if let Some(documents) = &documents {
                of_queries.push(documents.sum(weights.clone()));
            }
            if needed[1] {
                let queries = WeightedSum::new(&narrow(&batch.queries, &rows));
                // Many small parts: their sum keeps more digits than half precision has.
                let part = queries
                    .sum(weights.transpose())
                    .cast(wide(batch.documents.dtype()));
                of_documents = Some(match of_documents {
                    Some(sum) => sum.add(part),
                    None => part,
                });
            }
        }
        [
            needed[0].then(|| Tensor::cat(of_queries, 0)),
            of_documents.map(|sum| sum.cast(batch.documents.dtype())),
        ]
    }
}

/// Embeddings to be summed up with weights. In a plain product the NaN of a document that a query
/// ignores, or of a query without positives, would reach everybody: 0 times NaN is NaN.
struct WeightedSum {
    /// The embeddings, 0 in rows with an entry that is not finite.
    finite: Tensor<2>,
    /// 1 for each such row, `[rows, 1]`.
    exceptions: Tensor<2>,
}

impl WeightedSum {
    fn new(embeddings: &Tensor<2>) -> Self {
        let dims = embeddings.dims();
        let finite = embeddings.clone().is_finite();
        let exceptions = finite.all_dim(1).bool_not();
        Self {
            finite: embeddings
                .clone()
                .mask_fill(exceptions.clone().expand(dims), 0.0),
            exceptions: exceptions.float().cast(embeddings.dtype()),
        }
    }

    /// The sums with `weights`, `[sums, rows]`; NaN where an exception has weight.
    fn sum(&self, weights: Tensor<2>) -> Tensor<2> {
        let sum = weights.clone().matmul(self.finite.clone());
        let dims = sum.dims();
        let poisoned = weights
            .matmul(self.exceptions.clone())
            .not_equal_scalar(0.0);
        sum.mask_fill(poisoned.expand(dims), f32::NAN)
    }
}
