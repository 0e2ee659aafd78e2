//! What a step gives to Burn's training loop.

use burn::{
    backend::ExecutionError,
    tensor::{Bool, Tensor},
    train::metric::{Adaptor, ItemLazy, LossInput},
};

use super::RankingInput;
use crate::Targets;

/// The loss of a batch, and what its metrics need: the output of a `TrainStep` or an
/// `InferenceStep`.
///
/// Burn's `LossMetric` averages the loss over the queries that have a positive, as the losses
/// of this crate do: a batch weighs as much as it has of them, and one that has none weighs
/// nothing. [`RankingMetric`](super::RankingMetric) reads the [`RankingInput`].
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
/// // How well the batch itself is ranked: cheap, for the train split.
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
    /// Those of a mask, `[queries, 1]`, which is read when a metric wants their number.
    Marked(Tensor<2, Bool>),
}

impl RetrievalOutput {
    /// The loss of a batch, and the targets that it was computed with.
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
            None if targets.dims().contains(&0) => Active::Counted(0),
            None => Active::Marked(targets.positives().any_dim(1)),
        };
        Self {
            loss: Some((loss.without_autodiff(), active)),
            ranking: RankingInput::nothing(),
        }
    }

    /// With what is ranked.
    pub fn with_ranking(self, ranking: RankingInput) -> Self {
        Self { ranking, ..self }
    }
}

/// Without a loss, such as that of a batch of documents only.
impl From<RankingInput> for RetrievalOutput {
    fn from(ranking: RankingInput) -> Self {
        Self {
            loss: None,
            ranking,
        }
    }
}

impl ItemLazy for RetrievalOutput {
    /// Sends what the device still keeps back. Nothing is read: metrics do that in their own
    /// thread.
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
        // Burn weighs a loss by its entries, and does not expand to none.
        let loss = self.loss.as_ref();
        let weighed = loss.map(|(loss, active)| (loss.clone(), active.count()));
        LossInput::new(match weighed {
            Some((loss, active @ 1..)) => loss.expand([active]),
            Some((loss, _)) => loss.slice([0..0]),
            None => Tensor::zeros([0], &Default::default()),
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
            Self::Marked(mask) => {
                let data = mask.clone().try_into_data();
                data.map_or(1, |data| {
                    data.iter::<bool>().filter(|active| *active).count()
                })
            }
        }
    }
}
