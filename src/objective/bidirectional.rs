//! Both directions of an objective, and negatives of the same side.

use burn::{nn::loss::Reduction, tensor::Tensor};

use super::{
    Forward, Objective,
    forward::{Losses, losses},
};
use crate::{Scores, Targets, statistics::Statistics};

/// A loss of queries over documents and of documents over queries, in one call.
///
/// ```text
/// a loss(queries over documents) + b loss(documents over queries)      weights [a, b]
/// ```
///
/// Each direction is the mean over those of its queries, or documents, that have a positive.
/// A weight of 0 leaves its direction out. From [`Embeddings`](crate::Embeddings) on Burn's
/// CPU backends the two directions share their products: a tile of scores is computed once and
/// serves both.
///
/// [With the same side](Self::with_same_side), the other queries are negatives of a query
/// besides, and the other documents of a document, as in GTE and Qwen3-Embedding.
///
/// `forward_no_reduction` gives the losses of the queries and then those of the documents,
/// `[queries + documents]`, each times the weight of its direction.
/// [Query weights](Targets::with_query_weights) weigh queries as such, not documents.
///
/// It has the methods of [`Forward`], which is to be imported.
///
/// # Panics
///
/// In `forward`: as the objective itself; and if positives were
/// [chosen](Targets::with_chosen), which says nothing of documents, unless the weight of the
/// documents is 0.
///
/// # Source
///
/// CLIP (arXiv 2103.00020) has both directions, GTE (arXiv 2308.03281) and Qwen3-Embedding
/// (arXiv 2506.05176) the same side. These two sum up all kinds of negatives of a pair in one
/// denominator; here each direction has its own.
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
    /// The mean of both directions, without the same side.
    pub fn new(objective: O) -> Self {
        Self {
            objective,
            weights: [0.5; 2],
            same_side: false,
        }
    }

    /// The weight of the queries over the documents, and that of the documents over the
    /// queries.
    ///
    /// # Panics
    ///
    /// If a weight is negative or not finite, or if both are 0.
    pub fn with_weights(self, weights: [f64; 2]) -> Self {
        let is_weight = |&weight: &f64| weight >= 0.0 && weight.is_finite();
        assert!(
            weights.iter().all(is_weight) && weights != [0.0; 2],
            "with_weights: expected finite weights that are not negative, one of them above 0, \
             got {weights:?}"
        );
        Self { weights, ..self }
    }

    /// Whether the other queries are negatives of a query, and the other documents of a
    /// document. It needs embeddings.
    ///
    /// Two queries that share a positive are not negatives of each other, nor are two
    /// documents that share a query. Nor are those that have the same id
    /// ([`with_query_ids`](Targets::with_query_ids),
    /// [`with_document_ids`](Targets::with_document_ids)); targets from ids and labels know
    /// them. Options of the objective, such as
    /// [`FalseNegatives`](crate::FalseNegatives), apply to these negatives too; weights of
    /// pairs do not, they count 1.
    ///
    /// Targets that are lists (from ids or groups) stay lists; of a mask and of labels masks
    /// `[queries, documents + queries]` and `[documents, queries + documents]` are made.
    pub fn with_same_side(self, same_side: bool) -> Self {
        Self { same_side, ..self }
    }

    /// The losses of the queries, and of the documents, of a direction that has weight.
    fn directions(&self, scores: Scores, targets: Targets) -> [Option<Losses>; 2] {
        scores.assert_fit(&targets);
        let [forth, back] = self.weights.map(|weight| weight != 0.0);
        let mirrored = back.then(|| targets.clone().without_query_weights().transpose());
        let objective = &self.objective;
        if let (true, true, true) = (forth, back, self.same_side)
            && let Some(both) = scores.both_sides()
        {
            let [queries, documents] = targets.dims();
            let targets = objective.choose_positives(targets.of_both_sides());
            let request = objective.request();
            let statistics =
                Statistics::symmetric_from_embeddings(both.queries, both.tile, &targets, request);
            let losses = Losses::of(objective, &statistics);
            return [
                losses.part(0..queries),
                losses.part(queries..queries + documents),
            ]
            .map(Some);
        }
        if let (true, false, Some(mirrored)) = (forth, self.same_side, &mirrored)
            && let Some(embeddings) = scores.embeddings()
        {
            let targets = objective.choose_positives(targets);
            let mirrored = objective.choose_positives(mirrored.clone());
            let request = objective.request();
            let both = Statistics::both_from_embeddings(embeddings, &targets, &mirrored, request);
            return both.map(|statistics| Some(Losses::of(objective, &statistics)));
        }
        let direction = |scores: Scores, targets: Targets| match self.same_side {
            true => {
                let targets = targets.with_same_side();
                losses(&self.objective, scores.with_same_side(), targets)
            }
            false => losses(&self.objective, scores, targets),
        };
        let transposed = mirrored.map(|mirrored| (scores.clone().transpose(), mirrored));
        [
            forth.then(|| direction(scores, targets)),
            transposed.map(|(scores, mirrored)| direction(scores, mirrored)),
        ]
    }
}

impl<O: Objective> Forward for Bidirectional<O> {
    fn forward_with_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let (scores, targets) = (scores.into(), targets.into());
        let query_weights = [targets.query_weights(), None];
        let directions = self.directions(scores, targets);
        let weighted = directions.into_iter().zip(self.weights).zip(query_weights);
        let weighted = weighted.filter_map(|((losses, weight), query_weights)| {
            Some(losses?.reduce(query_weights, &reduction).mul_scalar(weight))
        });
        weighted.reduce(Tensor::add).expect("a weight is not 0")
    }

    fn forward_no_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        let (scores, targets) = (scores.into(), targets.into());
        let counts = targets.dims();
        let directions = self.directions(scores, targets).into_iter();
        let weighted = directions.zip(self.weights);
        let weighted = weighted.map(|(losses, weight)| Some(losses?.each.mul_scalar(weight)));
        let weighted: Vec<_> = weighted.collect();
        let some = weighted.iter().flatten().next();
        let some = some.expect("a weight is not 0").clone();
        let nothing = |count| Tensor::zeros([count], (&some.device(), some.dtype()));
        let both = weighted.into_iter().zip(counts);
        let both = both.map(|(losses, count)| losses.unwrap_or_else(|| nothing(count)));
        Tensor::cat(both.collect(), 0)
    }
}
