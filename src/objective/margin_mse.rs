use burn::{
    module::Module,
    nn::loss::Reduction,
    tensor::{DType, Tensor, assert_shape},
};

use super::where_any;
use crate::{
    Targets,
    reduction::reduce,
    statistics::Moments,
    targets::{assert_device, constant},
};

/// MarginMSE: the mean squared error between the margins of the scores and those of a teacher.
/// A margin is the score of a positive minus the score of a negative.
///
/// For one query with positives `P`, negatives `N`, scores `s`, the teacher's scores `t` and
/// `r = s - t`:
///
/// ```text
/// loss = mean over p, n of ((s_p - s_n) - (t_p - t_n))^2
///      = var_P(r) + var_N(r) + (mean_P(r) - mean_N(r))^2
///
/// gradient   s_p   2 (r_p - mean_N(r)) / |P|
///            s_n   2 (r_n - mean_P(r)) / |N|
/// ```
///
/// The loss is computed by the second line, without a list of the pairs. Teacher and student
/// must have the same scale, since there is no temperature. The teacher's scores are
/// constants: no gradient reaches them. With [weights](Targets::with_weights) the pair of `p`
/// and `n` has the weight `w_p w_n`. A query without a positive or without a negative has
/// loss 0. A query without a positive does not count in the mean. As in every loss of this
/// crate, a negative with the score `-inf` is left out, and a [chosen](Targets::with_chosen)
/// column that is not a positive gives NaN.
///
/// The scores are a matrix, like those of the teacher, and a few matrices of that size are
/// held. If there are many documents, let the teacher score some of them, and
/// [ignore](Targets::with_candidates) the others.
///
/// # Source
///
/// "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation"
/// (arXiv 2010.02666), for one positive and one negative.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::MarginMseLoss;
///
/// let device = Device::default();
/// let positives = Tensor::from_bool([[true, false, false]], &device);
/// let teacher = Tensor::<2>::from_floats([[9.0, 5.0, 2.0]], &device);
/// let scores = Tensor::<2>::from_floats([[3.0, 0.0, -4.0]], &device);
///
/// // The margins are 3 and 7, and should be 4 and 7.
/// let loss = MarginMseLoss::new().forward(scores, teacher, positives);
/// assert_eq!(loss.into_scalar::<f32>(), 0.5);
/// ```
#[doc(alias = "distillation")]
#[derive(Module, Debug, Default)]
pub struct MarginMseLoss;

impl MarginMseLoss {
    /// The loss, which has no settings.
    pub fn new() -> Self {
        Self
    }

    /// The mean loss of the queries that have a positive.
    ///
    /// # Shapes
    ///
    /// - `scores`, `teacher`, `targets`: `[queries, documents]`
    /// - output: `[1]`, in f32, or in f64 for scores in f64
    ///
    /// # Panics
    ///
    /// If `teacher` or `targets` have another shape or device than `scores`.
    pub fn forward(
        &self,
        scores: Tensor<2>,
        teacher: Tensor<2>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        self.forward_with_reduction(scores, teacher, targets, Reduction::Mean)
    }

    /// The losses of the queries, reduced to shape `[1]` as
    /// [`Forward::forward_with_reduction`](crate::Forward::forward_with_reduction) does.
    ///
    /// Shapes and panics are those of [`forward`](Self::forward).
    pub fn forward_with_reduction(
        &self,
        scores: Tensor<2>,
        teacher: Tensor<2>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let targets = targets.into();
        let query_weights = targets.query_weights();
        let (losses, positives) = losses(scores, teacher, &targets);
        reduce(losses, positives, query_weights, &reduction)
    }

    /// The loss of every query, `[queries]`. A query without a positive or without a negative
    /// has loss 0.
    ///
    /// Shapes and panics are those of [`forward`](Self::forward), except for the output.
    pub fn forward_no_reduction(
        &self,
        scores: Tensor<2>,
        teacher: Tensor<2>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        losses(scores, teacher, &targets.into()).0
    }
}

/// The losses of the queries and how many positives each has.
fn losses(scores: Tensor<2>, teacher: Tensor<2>, targets: &Targets) -> (Tensor<1>, Tensor<1>) {
    let dims @ [queries, documents] = scores.dims();
    assert_shape!(teacher, [queries, documents]);
    assert_device("teacher", &teacher.device(), &scores.device());
    targets.assert_fit(dims, &scores.device());
    let dtype = match scores.dtype() {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let distances = scores.cast(dtype) - constant(teacher).cast(dtype);
    if dims.contains(&0) {
        let nothing: Tensor<1> = distances.sum_dim(1).squeeze_dim(1);
        return (nothing.clone(), nothing.detach());
    }
    let Moments {
        positives: [mean_p, variance_p],
        negatives: [mean_n, variance_n],
        positive_counts,
        negative_counts,
    } = Moments::new(distances, targets);
    let losses = variance_p + variance_n + (mean_p - mean_n).square();
    let losses = where_any(losses.squeeze_dim(1), negative_counts.squeeze_dim(1));
    (losses, positive_counts.squeeze_dim(1))
}
