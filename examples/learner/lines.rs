//! Metrics as plain lines, one for each epoch, where there is no terminal.

use burn::train::{
    logger::{EvaluationProgressLogger, TrainingProgressLogger},
    metric::{MetricDefinition, NumericEntry},
    renderer::{
        EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
        MetricsRendererTraining,
    },
};

/// Prints the values that the metrics have when an epoch ends.
#[derive(Default)]
pub struct Lines {
    /// Those of the epoch.
    values: Vec<String>,
    definitions: Vec<MetricDefinition>,
}

impl Lines {
    fn add(&mut self, split: &str, state: MetricState) {
        // The values of a batch are aggregated.
        if let MetricState::Numeric(entry, Some(value)) = state
            && let NumericEntry::Final(value) | NumericEntry::Value(value) = value
        {
            let mut definitions = self.definitions.iter();
            let definition = definitions.find(|known| known.metric_id == entry.metric_id);
            let name = definition.map_or("", |definition| definition.name.as_str());
            self.values.push(format!("{split} {name} {value:.4}"));
        }
    }
}

impl MetricsRendererTraining for Lines {
    fn update_train(&mut self, state: MetricState) {
        self.add("train", state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.add("valid", state);
    }
}

impl TrainingProgressLogger for Lines {
    fn start(&mut self, epochs: usize, first: usize, _: Option<usize>, _: Option<&str>) {
        println!("epochs {first} to {epochs}");
    }

    fn update_epoch(&mut self, epoch: usize) {
        println!("epoch {epoch:2}  {}", self.values.join("  "));
        self.values.clear();
    }

    fn start_split(&mut self, _: &str, _: usize) {}

    fn update_split(&mut self, _: usize) {}

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _: String) {}
}

impl MetricsRenderer for Lines {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.definitions.push(definition);
    }
}

// There is no evaluation: the test queries are measured as trec_eval would.

impl MetricsRendererEvaluation for Lines {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl EvaluationProgressLogger for Lines {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: usize) {}

    fn update_test_progress(&mut self, _: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}
