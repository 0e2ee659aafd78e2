//! From losses per query to one number: the only place that knows which queries count.

use burn::{nn::loss::Reduction, tensor::Tensor};

/// Reduces the losses of the queries, `[queries]`, to shape `[1]`.
///
/// ```text
/// Mean = Auto    sum / active queries, 0 if there is none
/// Sum            sum
/// BatchMean      sum / all queries, 0 if there is none
/// ```
///
/// A query is active if it has a positive; the loss of an inactive one is 0 already.
pub(crate) fn reduce(
    losses: Tensor<1>,
    positive_counts: Tensor<1>,
    reduction: &Reduction,
) -> Tensor<1> {
    let [queries] = losses.dims();
    let dtype = losses.dtype();
    let sum = losses.sum();
    match reduction {
        Reduction::Mean | Reduction::Auto => {
            let active = positive_counts.greater_scalar(0.0).float().cast(dtype);
            sum.div(active.sum().clamp_min(1.0))
        }
        Reduction::Sum => sum,
        Reduction::BatchMean => sum.div_scalar(queries.max(1) as f64),
    }
}
