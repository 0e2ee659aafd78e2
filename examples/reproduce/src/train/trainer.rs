//! The training loop.

use std::time::Instant;

use burn::tensor::{Device, Tensor};
use burn_multi_positive::Targets;
use pretrained::Schedule;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    batch::{Batch, GroupSize, Groups},
    cell::{Cell, Epoch, StepEvaluation},
    checkpoint::{Checkpoints, History},
    failure::Failure,
    labels::Phase,
    pulls::Pulls,
    source::Example,
};
use crate::encoder::{Encoder, Reads};

#[derive(Clone, Copy)]
pub struct Hyperparameters {
    pub batch_size: usize,
    pub group_size: GroupSize,
    /// Batches a step.
    pub accumulate: usize,
    pub learning_rate: f64,
    /// The share of the steps in which the learning rate rises; after them it falls to 0. `None` if
    /// it stays.
    pub warmup: Option<f64>,
}

/// When a training is looked at, and when it stops, counted in steps.
#[derive(Clone, Copy)]
pub struct Events {
    pub evaluate_epochs: bool,
    pub evaluate_every: Option<usize>,
    pub checkpoint_every: Option<usize>,
    /// Of this run.
    pub stop_after: Option<usize>,
    /// Whether the [pulls](Pulls) of each epoch are summed up.
    pub pulls: bool,
}

/// One training.
pub struct Training<'a, T> {
    pub cell: &'a Cell,
    pub phases: &'a [Phase<T>],
    pub hyper: Hyperparameters,
    pub events: Events,
    pub checkpoints: Checkpoints,
    pub device: &'a Device,
}

/// Who looks on.
pub trait Observer<E> {
    /// So many more queries were trained on.
    fn queries(&self, count: usize);

    /// nDCG@10 of an encoder.
    fn evaluate(&self, encoder: &E) -> Result<f64, Failure>;

    fn epoch(&self, number: usize, epoch: &Epoch);

    fn evaluation(&self, evaluation: &StepEvaluation);
}

pub struct Trained<E> {
    pub encoder: E,
    pub history: History,
    /// Whether it was stopped, and has a checkpoint.
    pub stopped: bool,
    /// Of this run.
    pub seconds_per_step: Option<f64>,
}

impl<T: Send + Sync> Training<'_, T> {
    /// Trains an encoder, from its checkpoint if there is one.
    pub fn run<S: Reads<T>>(
        &self,
        source: &S,
        observer: &impl Observer<S::Encoder>,
    ) -> Result<Trained<S::Encoder>, Failure> {
        let start = Instant::now();
        let hyper = &self.hyper;
        // Every objective starts from the same weights and meets the queries in the same order.
        let encoder = source.create(self.cell.seed, self.device)?;
        let (mut encoder, mut history) = self.checkpoints.load(encoder)?;
        let before = history.clone();
        let mut order = StdRng::seed_from_u64(self.cell.seed);
        let mut draws = StdRng::seed_from_u64(self.cell.seed.wrapping_add(1 << 32));
        let rates = self.rates();
        // Counted from the first, those before the checkpoint included.
        let (mut steps, mut batches, mut epochs) = (0, 0, 0);
        let mut learning = 0.0;
        for phase in self.phases {
            let groups = Groups {
                objective: self.cell.objective,
                size: hyper.group_size,
                max_positives: self.cell.setting.max_positives,
                redrawn: phase.redrawn,
            };
            for _ in 0..phase.epochs {
                let mut examples = phase.source.epoch(source, &mut order)?;
                loop {
                    let mut step = Vec::new();
                    for _ in 0..hyper.accumulate {
                        let batch = examples.by_ref().take(hyper.batch_size);
                        let batch: Vec<Example<T>> = batch.collect::<Result<_, _>>()?;
                        if batch.is_empty() {
                            break;
                        }
                        observer.queries(batch.len());
                        let seed = seed(self.cell.seed, batches);
                        step.push((Batch::new(&batch, groups, &mut draws), seed));
                        batches += 1;
                    }
                    if step.is_empty() {
                        break;
                    }
                    steps += 1;
                    if steps <= before.steps {
                        continue;
                    }
                    let from = Instant::now();
                    history.loss_sum += self.learn(&mut encoder, &step, &mut history.pulls)?;
                    encoder = encoder.update(rates(steps - 1));
                    learning += from.elapsed().as_secs_f64();
                    history.steps = steps;
                    let queries = step.iter().map(|(batch, _)| batch.queries.len());
                    history.queries += queries.sum::<usize>();

                    if is_due(self.events.evaluate_every, steps) {
                        let ndcg_10 = observer.evaluate(&encoder)?;
                        let evaluation = StepEvaluation {
                            step: steps,
                            ndcg_10,
                        };
                        observer.evaluation(&evaluation);
                        history.evaluations.push(evaluation);
                    }
                    let stopped = self.events.stop_after == Some(steps - before.steps);
                    if stopped || is_due(self.events.checkpoint_every, steps) {
                        let seconds = before.seconds + start.elapsed().as_secs_f64();
                        let history = History {
                            seconds,
                            ..history.clone()
                        };
                        self.checkpoints.save(&encoder, &history)?;
                    }
                    if stopped {
                        return Ok(Trained {
                            seconds_per_step: mean(learning, steps - before.steps),
                            encoder,
                            history,
                            stopped,
                        });
                    }
                }
                epochs += 1;
                if epochs > history.epochs.len() {
                    let epoch = self.finish_epoch(&encoder, &mut history, observer)?;
                    observer.epoch(epochs, &epoch);
                    history.epochs.push(epoch);
                }
            }
        }
        Ok(Trained {
            seconds_per_step: mean(learning, steps - before.steps),
            encoder,
            history,
            stopped: false,
        })
    }

    /// Adds up the gradients of a step's batches, and gives the sum of the queries' losses.
    fn learn<E: Encoder<Text = T>>(
        &self,
        encoder: &mut E,
        step: &[(Batch<T>, u64)],
        pulls: &mut Pulls,
    ) -> Result<f64, Failure> {
        let Cell {
            objective, setting, ..
        } = self.cell;
        // The mean of the batches is the sum of their shares.
        let share = 1.0 / step.len() as f64;
        let mut sum = 0.0;
        for (batch, seed) in step {
            let targets = batch.targets(self.device);
            let targets = targets.map_err(|error| error.to_string())?;
            let queries: Vec<&T> = batch.queries.iter().map(AsRef::as_ref).collect();
            let documents: Vec<&T> = batch.documents.iter().map(AsRef::as_ref).collect();
            let loss = |queries: Tensor<2>, documents: Tensor<2>| {
                let scores = queries.matmul(documents.transpose());
                let of_scores = |scores: Tensor<2>, targets: Targets| {
                    objective.losses(scores, targets, &batch.chosen, setting.temperature)
                };
                if self.events.pulls {
                    let targets = targets.clone();
                    let losses = |scores| of_scores(scores, targets);
                    pulls.add(scores.clone(), &batch.roles(), losses);
                }
                // Every query has a positive, so this is the mean that the losses' `forward` takes.
                of_scores(scores, targets).mean() * share
            };
            let loss = encoder.learn(&queries, &documents, *seed, loss)? / share;
            if !loss.is_finite() {
                return Err(Failure::Diverged(format!("the loss is {loss}")));
            }
            sum += loss * batch.queries.len() as f64;
        }
        Ok(sum)
    }

    fn finish_epoch<E>(
        &self,
        encoder: &E,
        history: &mut History,
        observer: &impl Observer<E>,
    ) -> Result<Epoch, Failure> {
        let measured = history.evaluations.last();
        let measured = measured.filter(|last| last.step == history.steps);
        let ndcg_10 = match (self.events.evaluate_epochs, measured) {
            (false, _) => None,
            (true, Some(measured)) => Some(measured.ndcg_10),
            (true, None) => Some(observer.evaluate(encoder)?),
        };
        let loss = history.loss_sum / history.queries as f64;
        history.loss_sum = 0.0;
        history.queries = 0;
        let pulls = std::mem::take(&mut history.pulls);
        Ok(Epoch {
            loss,
            ndcg_10,
            pulls: self.events.pulls.then_some(pulls),
        })
    }

    /// The learning rate of a step, the first being 0.
    fn rates(&self) -> impl Fn(usize) -> f64 {
        let peak = self.hyper.learning_rate;
        let schedule = self.hyper.warmup.map(|share| {
            let total = self.steps();
            let warmup = (share * total as f64).round() as usize;
            Schedule {
                peak,
                warmup,
                total,
            }
        });
        move |step| schedule.map_or(peak, |schedule| schedule.rate(step))
    }

    /// Of the whole training.
    pub fn steps(&self) -> usize {
        let steps = self.phases.iter().map(|phase| {
            let batches = phase.source.queries().div_ceil(self.hyper.batch_size);
            phase.epochs * batches.div_ceil(self.hyper.accumulate)
        });
        steps.sum()
    }
}

fn is_due(every: Option<usize>, steps: usize) -> bool {
    every.is_some_and(|every| steps.is_multiple_of(every))
}

fn mean(sum: f64, count: usize) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

/// Of the random numbers of a batch, so that they do not depend on what came before it.
fn seed(cell: u64, batch: u64) -> u64 {
    StdRng::seed_from_u64(cell.rotate_left(32) ^ batch).random()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{
        encoder::{EncoderSource, Role},
        objective::Objective,
        train::{
            cell::Setting,
            labels::{Phase, Regime},
            source::{Passage, Source},
        },
    };

    /// What a training asks of an encoder.
    enum Call {
        Learn(f64),
        Update,
    }

    /// Gives all texts the same vector, so that every batch of two has the loss `ln 2`.
    struct Recorder(Arc<Mutex<Vec<Call>>>);

    impl EncoderSource for Recorder {
        type Encoder = Self;

        fn name(&self) -> String {
            "recorder".into()
        }

        fn read(&self, _: &str, _: Role) -> Result<(), String> {
            Ok(())
        }

        fn create(&self, _: u64, _: &Device) -> Result<Self, String> {
            Ok(Self(self.0.clone()))
        }
    }

    impl Encoder for Recorder {
        type Text = ();

        fn learn(
            &mut self,
            queries: &[&()],
            documents: &[&()],
            _: u64,
            loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
        ) -> Result<f64, String> {
            let vectors = |texts: &[&()]| Tensor::ones([texts.len(), 1], &Device::default());
            let loss = loss(vectors(queries), vectors(documents)).into_scalar();
            self.0.lock().unwrap().push(Call::Learn(loss));
            Ok(loss)
        }

        fn update(self, _: f64) -> Self {
            self.0.lock().unwrap().push(Call::Update);
            self
        }

        fn encode(&self, _: &[&()], _: Role) -> Tensor<2> {
            unreachable!("nothing is evaluated")
        }
    }

    struct Nobody;

    impl<E> Observer<E> for Nobody {
        fn queries(&self, _: usize) {}

        fn evaluate(&self, _: &E) -> Result<f64, Failure> {
            unreachable!("nothing is evaluated")
        }

        fn epoch(&self, _: usize, _: &Epoch) {}

        fn evaluation(&self, _: &StepEvaluation) {}
    }

    #[test]
    fn a_step_has_the_mean_gradient_of_its_batches() {
        let example = |id: usize| Example {
            query: Arc::new(()),
            positives: vec![Passage {
                id: id.to_string().into(),
                text: Arc::new(()),
            }],
            wrong: Vec::new(),
            left_out: Vec::new(),
            negatives: Vec::new(),
        };
        let phase = Phase {
            source: Source::Memory((0..6).map(example).collect()),
            epochs: 1,
            redrawn: false,
        };
        let cell = Cell {
            regime: Regime::Human,
            objective: Objective::LsePair,
            setting: Setting {
                annotator: None,
                relevant_share: None,
                clustering: None,
                mistakes: None,
                max_positives: None,
                temperature: 1.0,
                learning_rate: None,
                epochs: None,
            },
            seed: 1,
        };
        let recorder = Recorder(Arc::default());
        let training = Training {
            cell: &cell,
            phases: &[phase],
            hyper: Hyperparameters {
                batch_size: 2,
                group_size: GroupSize::Passages(1),
                accumulate: 2,
                learning_rate: 1.0,
                warmup: None,
            },
            events: Events {
                evaluate_epochs: false,
                evaluate_every: None,
                checkpoint_every: None,
                stop_after: None,
                pulls: false,
            },
            checkpoints: Checkpoints::of(&std::env::temp_dir().join("no such cell")),
            device: &Device::default(),
        };
        assert_eq!(training.steps(), 2);
        let trained = training.run(&recorder, &Nobody).unwrap();

        // Three batches: a step of two halves, and one of the batch that is left.
        let calls = recorder.0.lock().unwrap();
        let losses = calls.iter().map(|call| match call {
            Call::Learn(loss) => (loss / 2f64.ln() * 1e4).round() / 1e4,
            Call::Update => 0.0,
        });
        assert_eq!(losses.collect::<Vec<_>>(), [0.5, 0.5, 0.0, 1.0, 0.0]);
        let loss = trained.history.epochs[0].loss;
        assert!((loss - 2f64.ln()).abs() < 1e-6, "{loss}");
    }
}
