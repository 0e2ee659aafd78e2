//! From losses per query to one number: the only place that knows which queries count, and how
//! much.

use burn::{nn::loss::Reduction, tensor::Tensor};

/// Reduces the losses of the queries, `[queries]`, to shape `[1]`.
///
/// ```text
///                with weights v
/// Mean = Auto    sum l / active queries     sum v l / sum of v over the active queries; 0 over 0 is 0
/// Sum            sum l                      sum v l
/// BatchMean      sum l / all queries        sum v l / all queries
/// ```
///
/// A query is active if it has a positive; the loss of an inactive one is 0 already.
pub(crate) fn reduce(
    losses: Tensor<1>,
    positive_counts: Tensor<1>,
    weights: Option<Tensor<1>>,
    reduction: &Reduction,
) -> Tensor<1> {
    let [queries] = losses.dims();
    let dtype = losses.dtype();
    let weights = weights.map(|weights| weights.to_device(&losses.device()).cast(dtype));
    let losses = match &weights {
        Some(weights) => {
            // Left out, even if it is NaN.
            let none = weights.clone().equal_scalar(0.0);
            losses.mul(weights.clone()).mask_fill(none, 0.0)
        }
        None => losses,
    };
    let sum = losses.sum();
    match reduction {
        Reduction::Mean | Reduction::Auto => {
            let active = positive_counts.greater_scalar(0.0).float().cast(dtype);
            match weights {
                Some(weights) => {
                    let weight = active.mul(weights).sum();
                    let none = weight.clone().equal_scalar(0.0);
                    sum.div(weight.mask_fill(none, 1.0))
                }
                None => sum.div(active.sum().clamp_min(1.0)),
            }
        }
        Reduction::Sum => sum,
        // Not `div_scalar`, whose gradient is rounded to f32.
        Reduction::BatchMean => sum.mul_scalar(1.0 / queries.max(1) as f64),
    }
}
