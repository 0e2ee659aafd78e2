//! Both directions of an objective, and negatives of the same side.

use burn::{nn::loss::Reduction, tensor::Tensor};

use super::{
    Forward, Objective,
    forward::{Losses, losses},
    nest::Nest,
};
use crate::{Scores, Targets, statistics::Statistics};

/// A loss in both directions: of the queries over the documents, and of the documents over the
/// queries.
///
/// ```text
/// a loss(queries over documents) + b loss(documents over queries)      weights [a, b]
/// ```
///
/// Each direction is a mean: over the queries that have a positive, or over the documents that
/// are a positive of some query. A direction of weight 0 is left out. On Burn's CPU backends
/// the two directions of a loss from [`Embeddings`](crate::Embeddings) share their products:
/// each tile of scores is computed once for both.
///
/// [With the same side](Self::with_same_side), the other queries are further negatives of a
/// query, and the other documents are further negatives of a document, as in GTE and
/// Qwen3-Embedding. There, too, each product of two embeddings is computed once for both.
///
/// `forward_no_reduction` gives the losses of the queries followed by those of the documents,
/// `[queries + documents]`. Each loss is multiplied by the weight of its direction.
/// [Query weights](Targets::with_query_weights) apply to the queries of the first direction
/// only.
///
/// The methods are those of the trait [`Forward`], which must be imported.
///
/// A loss that selects one document, such as the hardest negative, takes the first of equal
/// scores. With the same side either of two equal scores may be the first, if one belongs to a
/// query and the other to a document.
///
/// # Panics
///
/// `forward` panics in these cases:
///
/// - The objective itself panics.
/// - Positives were [chosen](Targets::with_chosen), which says nothing about documents, and
///   the weight of the documents is not 0.
/// - The same side is used, and the scores are a matrix instead of embeddings.
///
/// # Source
///
/// CLIP (arXiv 2103.00020) has both directions. GTE (arXiv 2308.03281) and Qwen3-Embedding
/// (arXiv 2506.05176) have the same side. These two sum all kinds of negatives of a pair in
/// one denominator. Here each direction has a denominator of its own.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_multi_positive::{Bidirectional, Embeddings, Forward, LsePairLossConfig, Targets};
///
/// let device = Device::default().autodiff();
/// let random = |rows: usize| Tensor::<2>::random([rows, 16], Distribution::Default, &device);
/// let (queries, documents) = (random(3).require_grad(), random(6).require_grad());
/// let targets = Targets::from_groups(&[1, 2, 1], 2, &device)?;
///
/// let objective = LsePairLossConfig::new().with_temperature(0.05).init();
/// let loss_fn = Bidirectional::new(objective).with_same_side(true);
/// let loss = loss_fn.forward(Embeddings::new(queries.clone(), documents.clone()), targets);
/// let gradients = loss.backward();
/// assert_eq!(documents.grad(&gradients).unwrap().dims(), [6, 16]);
/// # Ok::<(), burn_multi_positive::TargetsError>(())
/// ```
#[doc(alias = "symmetric")]
#[doc(alias = "CLIP")]
#[derive(Clone, Debug)]
#[must_use]
pub struct Bidirectional<O> {
    objective: O,
    weights: [f64; 2],
    same_side: bool,
}

impl<O: Objective> Bidirectional<O> {
    /// The mean of both directions of an objective (weight 0.5 each), without the same side.
    pub fn new(objective: O) -> Self {
        Self {
            objective,
            weights: [0.5; 2],
            same_side: false,
        }
    }

    /// Sets the weights of the two directions: first that of the queries over the documents,
    /// then that of the documents over the queries. Default: 0.5 each.
    ///
    /// # Panics
    ///
    /// If a weight is negative or not finite, or if both are 0.
    pub fn with_weights(self, weights: [f64; 2]) -> Self {
        let is_weight = |&weight: &f64| weight >= 0.0 && weight.is_finite();
        assert!(
            weights.iter().all(is_weight) && weights != [0.0; 2],
            "Bidirectional::with_weights: expected finite weights that are not negative, one of them above 0, \
             got {weights:?}"
        );
        Self { weights, ..self }
    }

    /// Sets whether the other queries are negatives of a query, and the other documents
    /// negatives of a document. Default: false. It needs embeddings.
    ///
    /// Two queries that share a positive are not negatives of each other. Nor are two
    /// documents that are positives of the same query. Nor are two queries or two documents
    /// that have the same id ([`with_query_ids`](Targets::with_query_ids),
    /// [`with_document_ids`](Targets::with_document_ids)) or the same label. Targets from ids
    /// know the ids of their documents.
    ///
    /// [`FalseNegatives`](crate::FalseNegatives), the hardness and all other settings of the
    /// objective apply to these negatives too. A [guide](Targets::without_false_negatives)
    /// does not judge them. Weights of pairs do not apply to them: each has weight 1.
    ///
    /// Targets that are lists (from ids or groups) stay lists, unless they have a mask of
    /// candidates or a matrix of weights. From other targets a mask is made, over all pairs of
    /// queries and documents and all pairs of the same side.
    pub fn with_same_side(self, same_side: bool) -> Self {
        Self { same_side, ..self }
    }

    /// The targets of the directions that have weight, their positives chosen.
    fn sides(&self, scores: &Scores, targets: Targets) -> Sides {
        scores.assert_fit(&targets);
        let [forth, back] = self.weights.map(|weight| weight != 0.0);
        let is_empty = targets.dims().contains(&0);
        if self.same_side && forth && back && scores.have_both_sides() && !is_empty {
            let both = targets.of_both_sides();
            return Sides::Together(self.objective.choose_positives(both));
        }
        let mirrored = back.then(|| targets.clone().without_query_weights().transpose());
        let sides = [forth.then_some(targets), mirrored];
        Sides::Apart(sides.map(|targets| {
            let targets = match self.same_side {
                true => targets?.with_same_side(),
                false => targets?,
            };
            Some(self.objective.choose_positives(targets))
        }))
    }

    /// The losses of the queries, and of the documents, of a direction that has weight, on the
    /// device of the scores.
    fn losses(&self, scores: Scores, sides: &Sides) -> [Option<Losses>; 2] {
        let objective = &self.objective;
        let home = scores.device();
        match sides {
            Sides::Together(targets) => {
                let [queries, _] = scores.dims();
                let both = scores.both_sides().expect("embeddings");
                let (tile, request) = (both.tile, objective.request());
                let statistics =
                    Statistics::symmetric_from_embeddings(both.queries, tile, targets, request);
                let [all, _] = targets.dims();
                let losses = Losses::of(objective, &statistics);
                [0..queries, queries..all].map(|rows| Some(losses.part(rows)))
            }
            Sides::Apart([Some(forth), Some(back)]) if self.shares_products(&scores) => {
                let embeddings = scores.embeddings().expect("embeddings");
                let request = objective.request();
                let both = Statistics::both_from_embeddings(embeddings, forth, back, request);
                both.map(|statistics| Some(Losses::of(objective, &statistics)))
            }
            Sides::Apart(sides) => {
                let direction = |scores: Scores, targets: &Option<Targets>| {
                    let targets = targets.clone()?;
                    let scores = match self.same_side {
                        true => scores.with_same_side(),
                        false => scores,
                    };
                    Some(losses(objective, scores, targets).on(&home))
                };
                let transposed = scores.clone().transpose();
                [
                    direction(scores, &sides[0]),
                    direction(transposed, &sides[1]),
                ]
            }
        }
    }

    fn shares_products(&self, scores: &Scores) -> bool {
        !self.same_side && scores.are_embeddings()
    }

    /// The weighted sum of the directions, or their weighted losses one behind the other.
    fn weigh(
        &self,
        losses: [Option<Losses>; 2],
        counts: [usize; 2],
        query_weights: Option<Tensor<1>>,
        reduction: Option<&Reduction>,
    ) -> Tensor<1> {
        let losses = losses.into_iter().zip(self.weights);
        let Some(reduction) = reduction else {
            let weighted = losses.map(|(losses, weight)| Some(losses?.each.mul_scalar(weight)));
            let weighted: Vec<_> = weighted.collect();
            let some = weighted.iter().flatten().next();
            let some = some.expect("a weight is not 0").clone();
            let nothing = |count| Tensor::zeros([count], (&some.device(), some.dtype()));
            let both = weighted.into_iter().zip(counts);
            let both = both.map(|(losses, count)| losses.unwrap_or_else(|| nothing(count)));
            return Tensor::cat(both.collect(), 0);
        };
        let weighted = losses.zip([query_weights, None]);
        let weighted = weighted.filter_map(|((losses, weight), query_weights)| {
            Some(losses?.reduce(query_weights, reduction).mul_scalar(weight))
        });
        weighted.reduce(Tensor::add).expect("a weight is not 0")
    }

    fn run(&self, scores: Scores, targets: Targets, reduction: Option<&Reduction>) -> Tensor<1> {
        let (counts, query_weights) = (targets.dims(), targets.query_weights());
        let sides = self.sides(&scores, targets);
        let losses = self.losses(scores, &sides);
        self.weigh(losses, counts, query_weights, reduction)
    }
}

/// The targets of the directions.
// There is one for each batch: what its variants differ in size does not matter.
#[allow(clippy::large_enum_variant)]
enum Sides {
    /// Of queries and then documents, over both.
    Together(Targets),
    /// Of the queries over the documents, and of the documents over the queries.
    Apart([Option<Targets>; 2]),
}

impl<O: Objective> Forward for Bidirectional<O> {
    fn forward_with_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        self.run(scores.into(), targets.into(), Some(&reduction))
    }

    fn forward_no_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        self.run(scores.into(), targets.into(), None)
    }

    fn forward_nested(
        &self,
        scores: Scores,
        targets: Targets,
        nest: &Nest,
        reduction: Option<Reduction>,
    ) -> Tensor<1> {
        let (counts, query_weights) = (targets.dims(), targets.query_weights());
        let sides = self.sides(&scores, targets);
        let of_size = |&size: &usize| {
            let leading = scores.clone().leading(size, nest.normalize);
            let losses = self.losses(leading, &sides);
            self.weigh(losses, counts, query_weights.clone(), reduction.as_ref())
        };
        nest.sum(nest.sizes.iter().map(of_size))
    }
}
