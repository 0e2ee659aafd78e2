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
/// `Patience` reads the earlier epochs from the logs of the metrics, so a training that was
/// interrupted ends where it would have ended. Before you resume, delete what was logged after
/// the checkpoint. Register the metric for the validation: without values no training is
/// stopped.
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
    /// Stops when `metric` has not been higher than its best value for `epochs` epochs.
    ///
    /// # Panics
    ///
    /// If `epochs` is 0.
    pub fn highest<M: Metric>(metric: &M, epochs: usize) -> Self {
        Self::new(metric, Direction::Highest, epochs)
    }

    /// Stops when `metric` has not been lower than its best value for `epochs` epochs.
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
        let mut best_epoch = None;
        for past in 1..=epoch {
            let value = store.find_metric(&self.metric, past, Aggregate::Mean, &Split::Valid);
            let Some(value) = value else { continue };
            // The first is the best until another is.
            if best_epoch.is_none() || self.improves(value, best) {
                (best, best_epoch) = (value, Some(past));
            }
        }
        best_epoch.is_some_and(|best_epoch| epoch - best_epoch >= self.epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::RankingMetric;

    #[test]
    fn what_is_better_depends_on_the_metric() {
        let metric = RankingMetric::mrr(10);
        let [highest, lowest] = [Patience::highest(&metric, 1), Patience::lowest(&metric, 1)];
        for (patience, better, worse) in [(highest, 2.0, 1.0), (lowest, 1.0, 2.0)] {
            assert!(patience.improves(better, worse));
            assert!(!patience.improves(worse, better));
            assert!(!patience.improves(worse, worse));
            assert!(patience.improves(worse, f64::NAN));
            assert!(!patience.improves(f64::NAN, worse));
            assert!(!patience.improves(f64::NAN, f64::NAN));
        }
    }
}
