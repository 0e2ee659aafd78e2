//! What a step gives to Burn's training loop.

use burn::{
    backend::ExecutionError,
    tensor::{Device, Tensor},
    train::metric::{Adaptor, ItemLazy, LossInput},
};

use super::RankingInput;
use crate::Targets;

/// The output of a `TrainStep` or an `InferenceStep`: the loss of a batch, and the input of
/// its metrics.
///
/// Burn's `LossMetric` averages the loss over the queries that have a positive, as the losses
/// of this crate do. The weight of a batch is the number of these queries, which may be 0.
/// [`RankingMetric`](super::RankingMetric) reads the [`RankingInput`].
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::{
///     LsePairLossConfig, Targets,
///     train::{RankingInput, RetrievalOutput},
/// };
///
/// let device = Device::default();
/// let scores = Tensor::<2>::from_floats([[0.9, 0.1], [0.4, 0.3]], &device);
/// let targets = Targets::from_groups(&[1, 1], 1, &device)?;
/// let loss = LsePairLossConfig::new().init().forward(scores.clone(), targets.clone());
/// // How well the batch itself is ranked, for the train split.
/// let output = RetrievalOutput::new(loss, &targets)
///     .with_ranking(RankingInput::from_targets(scores, targets));
/// # let _ = output;
/// # Ok::<(), burn_multi_positive::TargetsError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RetrievalOutput {
    loss: Option<(Tensor<1>, Active)>,
    ranking: RankingInput,
}

/// The queries that have a positive.
#[derive(Clone, Debug)]
enum Active {
    Counted(usize),
    /// Counted when a metric wants their number.
    Of(Box<Targets>),
}

impl RetrievalOutput {
    /// An output from the loss of a batch and the targets that it was computed with.
    ///
    /// If queries have weights, the loss of an epoch is the mean of the weighted means of its
    /// batches, in which every batch counts by its number of queries that have a positive. If
    /// the loss is another reduction than the mean over these queries, set their number by
    /// [`with_queries`](Self::with_queries).
    ///
    /// # Shapes
    ///
    /// - `loss`: `[1]`, the mean over the queries that have a positive
    ///
    /// # Panics
    ///
    /// If the loss is not of shape `[1]`.
    pub fn new(loss: Tensor<1>, targets: &Targets) -> Self {
        assert!(
            loss.dims() == [1],
            "loss: expected shape [1], got {:?}",
            loss.dims()
        );
        let active = match targets.listed_active() {
            Some(active) => Active::Counted(active),
            None => Active::Of(Box::new(targets.clone())),
        };
        Self {
            loss: Some((loss.without_autodiff(), active)),
            ranking: RankingInput::nothing(),
        }
    }

    /// Sets the number of queries that the loss is the mean over. For `Reduction::BatchMean`
    /// it is the number of all queries.
    pub fn with_queries(self, queries: usize) -> Self {
        let loss = self.loss;
        Self {
            loss: loss.map(|(loss, _)| (loss, Active::Counted(queries))),
            ..self
        }
    }

    /// Sets the input of the ranking metrics.
    pub fn with_ranking(self, ranking: RankingInput) -> Self {
        Self { ranking, ..self }
    }
}

/// An output without a loss, such as that of a batch that has only documents.
impl From<RankingInput> for RetrievalOutput {
    fn from(ranking: RankingInput) -> Self {
        Self {
            loss: None,
            ranking,
        }
    }
}

impl ItemLazy for RetrievalOutput {
    /// Dispatches the buffered operations. Nothing is read back: the metrics do that.
    fn sync(self) -> Result<Self, ExecutionError> {
        if let Some((loss, _)) = &self.loss {
            loss.device().flush()?;
        }
        self.ranking.flush()?;
        Ok(self)
    }
}

impl Adaptor<LossInput> for RetrievalOutput {
    fn adapt(&self) -> LossInput {
        // `LossMetric` weighs a loss by its length. No tensor expands to length 0.
        let loss = self.loss.as_ref();
        let weighed = loss.map(|(loss, active)| (loss.clone(), active.count()));
        LossInput::new(match weighed {
            Some((loss, active @ 1..)) => loss.expand([active]),
            // Burn's training loop has Flex always.
            _ => Tensor::zeros([0], &Device::flex()),
        })
    }
}

impl Adaptor<RankingInput> for RetrievalOutput {
    fn adapt(&self) -> RankingInput {
        self.ranking.clone()
    }
}

impl Active {
    /// If the device cannot be read any more, the metric that reads the loss says so.
    fn count(&self) -> usize {
        match self {
            Self::Counted(active) => *active,
            Self::Of(targets) => targets.active().unwrap_or(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The graph of a step is not kept by what the metrics hold.
    #[test]
    fn outputs_leave_the_graph() {
        let device = Device::flex().autodiff();
        let targets = Targets::from_groups(&[1], 3, &device).unwrap();
        let scores = Tensor::<2>::ones([1, 3], &device).require_grad();
        let loss = scores.clone().mean();
        assert!(loss.is_autodiff() && scores.is_autodiff());
        let output = RetrievalOutput::new(loss, &targets)
            .with_ranking(RankingInput::from_targets(scores, targets));
        let (loss, _) = output.loss.as_ref().unwrap();
        assert!(!loss.is_autodiff());
        let tensors = output.ranking.tensors();
        assert!(!tensors.is_empty() && tensors.iter().all(|x| !x.is_autodiff()));
    }
}
