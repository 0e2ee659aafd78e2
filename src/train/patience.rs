//! Early stopping that a resumed training continues.

use burn::train::{
    EarlyStoppingStrategy,
    metric::{
        Metric, MetricName,
        store::{Aggregate, Direction, EventStoreClient, Split},
    },
};

/// Stops a training when a metric of the validation set has not improved for some epochs.
///
/// Burn's `MetricEarlyStoppingStrategy` forgets the best epoch when a training is resumed.
/// This one reads the epochs before from the logs of metrics, so that a training that was
/// broken off ends where it would have ended.
///
/// # Example
///
/// ```
/// use burn_multi_positive::train::{Patience, RankingMetric};
///
/// // For `SupervisedTraining::early_stopping`.
/// let patience = Patience::highest(&RankingMetric::ndcg(10), 3);
/// # let _ = patience;
/// ```
#[derive(Clone)]
pub struct Patience {
    metric: MetricName,
    direction: Direction,
    epochs: usize,
}

impl Patience {
    /// Stops when `metric` has not been higher for `epochs` epochs.
    ///
    /// # Panics
    ///
    /// If `epochs` is 0.
    pub fn highest<M: Metric>(metric: &M, epochs: usize) -> Self {
        Self::new(metric, Direction::Highest, epochs)
    }

    /// Stops when `metric` has not been lower for `epochs` epochs.
    ///
    /// # Panics
    ///
    /// If `epochs` is 0.
    pub fn lowest<M: Metric>(metric: &M, epochs: usize) -> Self {
        Self::new(metric, Direction::Lowest, epochs)
    }

    fn new<M: Metric>(metric: &M, direction: Direction, epochs: usize) -> Self {
        assert!(epochs > 0, "epochs: expected at least 1, got 0");
        Self {
            metric: metric.name(),
            direction,
            epochs,
        }
    }

    /// Whether `new` is better; anything is better than NaN.
    fn improves(&self, new: f64, best: f64) -> bool {
        best.is_nan() && !new.is_nan()
            || match self.direction {
                Direction::Highest => new > best,
                Direction::Lowest => new < best,
            }
    }
}

impl EarlyStoppingStrategy for Patience {
    fn should_stop(&mut self, epoch: usize, store: &EventStoreClient) -> bool {
        let mut best = f64::NAN;
        let mut best_epoch = 0;
        for past in 1..=epoch {
            let value = store.find_metric(&self.metric, past, Aggregate::Mean, &Split::Valid);
            if let Some(value) = value
                && self.improves(value, best)
            {
                (best, best_epoch) = (value, past);
            }
        }
        epoch - best_epoch >= self.epochs
    }
}
