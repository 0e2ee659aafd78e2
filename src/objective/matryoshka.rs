//! A loss over nested dimensions of embeddings.

use burn::{nn::loss::Reduction, tensor::Tensor};

use super::{Forward, nest::Nest};
use crate::{Scores, Targets};

/// Matryoshka representation learning: the sum of a loss over embeddings that are truncated to
/// several sizes. Embeddings that are trained with it can be truncated to each of these sizes.
///
/// ```text
/// sum over sizes d of weight_d loss(queries[.., ..d], documents[.., ..d])
/// ```
///
/// Truncated embeddings are normalized to length 1 again, so that scores are cosines at every
/// size. An embedding of zeros stays zeros and gets no gradient. The full embedding enters the
/// sum only if its size is among the sizes.
///
/// The loss may be an objective or [`Bidirectional`](super::Bidirectional). `forward` takes
/// [`Embeddings`](crate::Embeddings), whose tile is used, or [`Shards`](crate::Shards). The
/// methods are those of the trait [`Forward`], which must be imported. With a
/// [`GradientCache`](crate::GradientCache), call them in the closure of the loss.
///
/// For an objective on [`Embeddings`](crate::Embeddings), Burn's CPU backends compute no
/// product twice: the products of a size are part of those of the next size. In all other
/// cases, such as around `Bidirectional` or with a
/// [learned temperature](crate::LearnableTemperature), the cost is the sum of the costs of the
/// losses. An objective that draws a positive draws it once for all sizes. A size of weight 0
/// is left out.
///
/// In f32, embeddings with a length from 1e-12 to 1e12 keep their accuracy.
///
/// # Panics
///
/// `forward` panics where the loss itself does, if it is given a matrix of scores instead of
/// embeddings, or if the embeddings have fewer dimensions than a size.
///
/// # Source
///
/// "Matryoshka Representation Learning" (arXiv 2205.13147).
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_multi_positive::{Embeddings, Forward, LsePairLossConfig, Matryoshka, Targets};
///
/// let device = Device::default().autodiff();
/// let random = |rows: usize| Tensor::<2>::random([rows, 64], Distribution::Default, &device);
/// let (queries, documents) = (random(3).require_grad(), random(6).require_grad());
/// let targets = Targets::from_groups(&[1, 2, 1], 2, &device)?;
///
/// let objective = LsePairLossConfig::new().with_temperature(0.05).init();
/// let loss_fn = Matryoshka::new(objective, &[64, 32, 16]).with_weights(&[1.0, 0.5, 0.25]);
/// let loss = loss_fn.forward(Embeddings::new(queries.clone(), documents), targets);
/// assert_eq!(queries.grad(&loss.backward()).unwrap().dims(), [3, 64]);
/// # Ok::<(), burn_multi_positive::TargetsError>(())
/// ```
#[doc(alias = "MRL")]
#[derive(Clone, Debug)]
#[must_use]
pub struct Matryoshka<L> {
    loss: L,
    sizes: Vec<usize>,
    weights: Vec<f64>,
    normalize: bool,
}

impl<L: Forward> Matryoshka<L> {
    /// The sum of `loss` over embeddings truncated to their first dimensions. Each of the
    /// `sizes` is a number of dimensions, and has weight 1.
    ///
    /// # Panics
    ///
    /// If there is no size, or if one is 0.
    pub fn new(loss: L, sizes: &[usize]) -> Self {
        assert!(
            !sizes.is_empty() && !sizes.contains(&0),
            "Matryoshka::new: expected sizes above 0, at least one, got {sizes:?}"
        );
        Self {
            loss,
            weights: vec![1.0; sizes.len()],
            sizes: sizes.to_vec(),
            normalize: true,
        }
    }

    /// Sets the weights, by which the losses of the sizes are multiplied. Default: 1 for each
    /// size.
    ///
    /// # Panics
    ///
    /// If there are not as many weights as sizes, or if one is not finite.
    pub fn with_weights(self, weights: &[f64]) -> Self {
        let sizes = self.sizes.len();
        assert!(
            weights.len() == sizes && weights.iter().all(|weight| weight.is_finite()),
            "Matryoshka::with_weights: expected a finite weight for each of {sizes} sizes, got {weights:?}"
        );
        Self {
            weights: weights.to_vec(),
            ..self
        }
    }

    /// Sets whether truncated embeddings are normalized again. Default: true. Pass `false` if
    /// your scores are dot products of embeddings that are not normalized.
    pub fn with_normalization(self, normalize: bool) -> Self {
        Self { normalize, ..self }
    }

    fn nest(&self) -> Nest {
        Nest::new(&self.sizes, &self.weights, self.normalize)
    }
}

impl<L: Forward> Forward for Matryoshka<L> {
    fn forward_with_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let (scores, targets) = (scores.into(), targets.into());
        self.loss
            .forward_nested(scores, targets, &self.nest(), Some(reduction))
    }

    fn forward_no_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        let (scores, targets) = (scores.into(), targets.into());
        self.loss
            .forward_nested(scores, targets, &self.nest(), None)
    }
}
