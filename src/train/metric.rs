//! Measures of rankings as metrics of Burn.

use std::sync::Arc;

use burn::{
    tensor::TensorReadError,
    train::metric::{
        Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
        NumericEntry, SerializedEntry, format_float,
        state::{FormatOptions, NumericMetricState},
    },
};

use super::RankingInput;
use crate::evaluation::Measure;

/// Decimals that are shown.
const PRECISION: usize = 4;

/// The mean of a [`Measure`] over the queries of an epoch, as `trec_eval` computes it.
///
/// With rankings, scores and targets, every batch has a value, and the value of the epoch is
/// the mean over the queries of all batches. With embeddings there is a value only when the
/// epoch ends, and *N/A* before. The value of an epoch without judged queries is NaN.
///
/// Burn's `Evaluator` never ends an epoch, so it would keep embeddings and show nothing: give
/// it rankings or scores. A validation that is stopped has the value of the batches that it
/// has seen.
///
/// # Example
///
/// ```
/// use burn::train::{
///     checkpoint::MetricCheckpointingStrategy,
///     metric::{
///         Metric,
///         store::{Aggregate, Direction, Split},
///     },
/// };
/// use burn_multi_positive::train::RankingMetric;
///
/// // For `SupervisedTraining::metric_valid_numeric` ..
/// let ndcg = RankingMetric::ndcg(10);
/// assert_eq!(*ndcg.name(), "nDCG@10");
/// // .. and `with_checkpointing_strategy`.
/// let best = MetricCheckpointingStrategy::new(
///     &ndcg,
///     Aggregate::Mean,
///     Direction::Highest,
///     Split::Valid,
/// );
/// # let _ = best;
/// ```
#[derive(Clone)]
pub struct RankingMetric {
    measure: Measure,
    name: MetricName,
    state: NumericMetricState,
    /// Whether the last batch had a value of its own.
    valued: bool,
    /// Whether what waited for the end of the epoch is in its value.
    ranked: bool,
    /// What waits for the end of the epoch.
    waiting: Vec<RankingInput>,
}

impl RankingMetric {
    /// The metric that is the mean of `measure`.
    pub fn new(measure: Measure) -> Self {
        Self {
            measure,
            name: Arc::new(measure.to_string()),
            state: NumericMetricState::new(),
            valued: false,
            ranked: false,
            waiting: Vec::new(),
        }
    }

    /// The mean reciprocal rank of the first relevant document among the first `k` documents.
    pub fn mrr(k: usize) -> Self {
        Self::new(Measure::Mrr(k))
    }

    /// The normalised discounted cumulative gain of the first `k` documents, by grades.
    pub fn ndcg(k: usize) -> Self {
        Self::new(Measure::Ndcg(k))
    }

    /// The share of the relevant documents that are among the first `k` documents.
    pub fn recall(k: usize) -> Self {
        Self::new(Measure::Recall(k))
    }

    /// The share of the first `k` documents that is relevant.
    pub fn precision(k: usize) -> Self {
        Self::new(Measure::Precision(k))
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name()).precision(PRECISION)
    }
}

impl Metric for RankingMetric {
    type Input = RankingInput;

    fn update(
        &mut self,
        input: &RankingInput,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let lists = input.lists(self.measure.depth())?;
        if lists.is_none() {
            self.waiting.push(input.clone());
        }
        let lists = lists.unwrap_or_default();
        self.valued = !lists.is_empty();
        if !self.valued {
            return Ok(SerializedEntry::not_available(None));
        }
        self.state.update(self.measure.mean(&*lists), lists.len());
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        let waiting = std::mem::take(&mut self.waiting);
        let lists = RankingInput::lists_of_all(&waiting, self.measure.depth())?;
        if lists.is_empty() {
            return Ok(self.state.compute_final(self.format()));
        }
        self.state.update(self.measure.mean(&*lists), lists.len());
        self.ranked = true;
        let value = self.state.final_value();
        let shown = format_float(value.current(), PRECISION);
        let shown = format!("epoch {shown} - batch N/A");
        Ok(SerializedEntry::new(shown, value.serialize()))
    }

    fn clear(&mut self) {
        *self = Self::new(self.measure);
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn description(&self) -> Option<String> {
        let k = self.measure.depth();
        Some(match self.measure {
            Measure::Mrr(_) => format!("mean reciprocal rank, 0 after rank {k}"),
            Measure::Ndcg(_) => format!("normalised discounted cumulative gain of {k} ranks"),
            Measure::Recall(_) => format!("share of the relevant documents in {k} ranks"),
            Measure::Precision(_) => format!("share of {k} ranks that is relevant"),
        })
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: true,
        }
        .into()
    }
}

impl Numeric for RankingMetric {
    fn value(&self) -> Option<NumericEntry> {
        self.valued.then(|| self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.valued.then(|| self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        match self.state.final_value() {
            // The dashboard draws a `Final` only where a curve has no point yet, and a `Value` always.
            NumericEntry::Final(value) if self.ranked => NumericEntry::Value(value),
            value => value,
        }
    }
}
