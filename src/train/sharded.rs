//! Training on several devices whose queries see the documents of all.

use std::sync::Arc;

use burn::{
    data::dataloader::{DataLoader, Progress},
    module::Module,
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{Device, Gradients},
    train::{
        EventProcessorError, EventProcessorTraining, InferenceStep, Interrupter, Learner,
        LearnerEvent, LearnerModel, SupervisedLearningStrategy, SupervisedTrainingEventProcessor,
        TrainLoader, TrainOutput, TrainStep, TrainingComponents, TrainingItem, ValidLoader,
    },
};

/// A model that trains on several devices at once: see [`ShardedStrategy`].
pub trait ShardedStep: LearnerModel {
    /// One step on the batch of all devices, forward and backward.
    ///
    /// There is a replica of the model on each device, each with a graph of its own. Let each
    /// replica embed its part of the batch. Compute the loss from [`Shards`](crate::Shards),
    /// which scores every query against the documents of all devices. [`sum_gradients`] then
    /// gives the gradients for the optimizer.
    fn sharded_step(
        replicas: &[Self],
        batch: <Self as TrainStep>::Input,
    ) -> TrainOutput<<Self as TrainStep>::Output>;
}

/// The sum of the gradients of the replicas of a model, on the device of the first replica.
///
/// The gradients are summed and not averaged, because the loss from [`Shards`](crate::Shards)
/// is that of the whole batch already.
///
/// # Panics
///
/// If there is no replica.
pub fn sum_gradients<M: Module>(mut gradients: Gradients, replicas: &[M]) -> GradientsParams {
    let first = replicas
        .first()
        .expect("sum_gradients: expected replicas, got none");
    let devices = first.devices();
    let mut sum = GradientsAccumulator::new();
    for replica in replicas {
        let mut part = GradientsParams::from_module(&mut gradients, replica);
        if let [device, ..] = &devices[..] {
            part = part.to_device(device, replica);
        }
        sum.accumulate(first, part);
    }
    sum.grads()
}

/// A strategy for Burn's training loop on several devices: they share one batch, and every
/// query is scored against the documents of all devices.
///
/// Each device has all parameters. If the encoder draws no random numbers, and its rows do not
/// depend on each other, the gradients are those of the whole batch on one device, up to
/// rounding.
///
/// Burn's own strategies for several devices, `MultiDevice` and `DistributedDataParallel`,
/// train another objective. With them each device has a batch of its own, whose queries see
/// only the documents of that device. So there are fewer negatives, and losses are lower.
///
/// `SupervisedTraining::gradient_checkpointing` does not reach a custom strategy. Pass devices
/// made by `device.autodiff().gradient_checkpointing()` instead.
///
/// The first device has the optimizer and does the validation. In each step the model is
/// copied to the other devices, and their gradients are copied back. With `w` bytes of
/// parameters and `P` devices, `2 w (P - 1)` bytes pass through the first device. The
/// documents that [`Shards`](crate::Shards) copies come on top.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
///
/// use burn::{
///     module::Module,
///     nn::Linear,
///     tensor::{Device, Tensor},
///     train::{InferenceStep, TrainOutput, TrainStep, TrainingStrategy},
/// };
/// use burn_multi_positive::{
///     LsePairLossConfig, Shards, Targets,
///     train::{RetrievalOutput, ShardedStep, ShardedStrategy, sum_gradients},
/// };
///
/// #[derive(Module, Debug)]
/// struct Retriever {
///     encoder: Linear,
/// }
///
/// struct Batch {
///     queries: Tensor<2>,
///     documents: Tensor<2>,
///     targets: Targets,
/// }
///
/// impl ShardedStep for Retriever {
///     fn sharded_step(replicas: &[Self], batch: Batch) -> TrainOutput<RetrievalOutput> {
///         let embed = |features: Tensor<2>| {
///             let parts = features.chunk(replicas.len(), 0).into_iter();
///             let parts = parts.zip(replicas);
///             let embed = |(part, replica): (Tensor<2>, &Self)| {
///                 let device = &replica.devices()[0];
///                 replica.encoder.forward(part.to_device(device))
///             };
///             parts.map(embed).collect::<Vec<_>>()
///         };
///         let shards = Shards::new(embed(batch.queries), embed(batch.documents));
///         let loss_fn = LsePairLossConfig::new().with_temperature(0.05).init();
///         let loss = loss_fn.forward(shards, batch.targets.clone());
///         let output = RetrievalOutput::new(loss.clone(), &batch.targets);
///         TrainOutput {
///             grads: sum_gradients(loss.backward(), replicas),
///             item: output,
///         }
///     }
/// }
///
/// // On one device the step is the same.
/// impl TrainStep for Retriever {
///     type Input = Batch;
///     type Output = RetrievalOutput;
///
///     fn step(&self, batch: Batch) -> TrainOutput<RetrievalOutput> {
///         Self::sharded_step(std::slice::from_ref(self), batch)
///     }
/// }
/// # impl InferenceStep for Retriever {
/// #     type Input = Batch;
/// #     type Output = RetrievalOutput;
/// #     fn step(&self, batch: Batch) -> RetrievalOutput {
/// #         let (queries, documents) = (batch.queries, batch.documents);
/// #         let (q, d) = (self.encoder.forward(queries), self.encoder.forward(documents));
/// #         let loss_fn = LsePairLossConfig::new().init();
/// #         let loss = loss_fn.forward_embeddings(q, d, batch.targets.clone());
/// #         RetrievalOutput::new(loss, &batch.targets)
/// #     }
/// # }
///
/// // In your program: `Device::cuda(0)`, `Device::cuda(1)`.
/// let devices = [Device::default(), Device::default()];
/// let strategy = TrainingStrategy::<Retriever>::Custom(Arc::new(ShardedStrategy::new(devices)));
/// // For `SupervisedTraining::with_training_strategy`.
/// # let _ = strategy;
/// ```
#[doc(alias = "cross-device negatives")]
#[derive(Clone, Debug)]
pub struct ShardedStrategy {
    devices: Vec<Device>,
}

impl ShardedStrategy {
    /// A strategy for these devices, the first of which has the optimizer. A device may be
    /// named twice. Devices without autodiff get it.
    ///
    /// # Panics
    ///
    /// If there is no device.
    pub fn new(devices: impl IntoIterator<Item = Device>) -> Self {
        let autodiff = |device: Device| match device.is_autodiff() {
            true => device,
            false => device.autodiff(),
        };
        let devices: Vec<Device> = devices.into_iter().map(autodiff).collect();
        assert!(!devices.is_empty(), "devices: expected some, got none");
        Self { devices }
    }

    /// A replica on each device, with a graph of its own.
    fn replicas<M: Module>(&self, model: &M) -> Vec<M> {
        let replica = |device| model.clone().fork(device);
        self.devices.iter().map(replica).collect()
    }
}

impl<M: ShardedStep> SupervisedLearningStrategy<M> for ShardedStrategy {
    fn fit(
        &self,
        components: TrainingComponents<M>,
        mut learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        let [home, ..] = &self.devices[..] else {
            unreachable!("there is a device");
        };
        learner.fork(home);
        let mut run = Run {
            strategy: self,
            train: train.to_device(home),
            valid: valid.to_device(&home.clone().inner()),
            accumulation: components.grad_accumulation,
            interrupter: components.interrupter,
            events: components.event_processor,
        };
        let mut checkpointer = components.checkpointer;
        let mut early_stopping = components.early_stopping;
        let store = components.event_store;
        for epoch in starting_epoch..=components.num_epochs {
            run.train(&mut learner, epoch);
            if run.interrupter.should_stop() {
                break;
            }
            run.validate(&learner.model().valid(), epoch);
            if run.interrupter.should_stop() {
                break;
            }
            if let Some(checkpointer) = &mut checkpointer {
                checkpointer.checkpoint(&learner, epoch, &store);
            }
            if let Some(early_stopping) = &mut early_stopping
                && early_stopping.should_stop(epoch, &store)
            {
                break;
            }
        }
        (learner.model(), run.events)
    }
}

/// What the epochs of a training share.
struct Run<'a, M: LearnerModel> {
    strategy: &'a ShardedStrategy,
    train: TrainLoader<M>,
    valid: ValidLoader<M>,
    accumulation: Option<usize>,
    interrupter: Interrupter,
    events: SupervisedTrainingEventProcessor<M>,
}

impl<M: ShardedStep> Run<'_, M> {
    fn train(&mut self, learner: &mut Learner<M>, epoch: usize) {
        let start = LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: self.train.num_items(),
        };
        self.check(|events| events.process_train(start));
        let mut sum = GradientsAccumulator::new();
        let mut summed = 0;
        self.each_batch(self.train.clone(), |run, batch, step, progress| {
            let replicas = run.strategy.replicas(&learner.model());
            let output = M::sharded_step(&replicas, batch);
            sum.accumulate(&learner.model(), output.grads);
            summed += 1;
            if summed >= run.accumulation.unwrap_or(1) || progress.is_completed() {
                learner.lr_step();
                learner.optimizer_step(sum.grads());
                summed = 0;
            }
            let rate = Some(learner.lr_current());
            let item = TrainingItem::new(output.item, progress, Some(step), rate);
            run.check(|events| events.process_train(LearnerEvent::ProcessedItem(item)));
        });
        self.check(|events| events.process_train(LearnerEvent::EndSplit(epoch)));
    }

    fn validate(&mut self, model: &M, epoch: usize) {
        let start = LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: self.valid.num_items(),
        };
        self.check(|events| events.process_valid(start));
        self.each_batch(self.valid.clone(), |run, batch, step, progress| {
            let output = InferenceStep::step(model, batch);
            let item = TrainingItem::new(output, progress, Some(step), None);
            run.check(|events| events.process_valid(LearnerEvent::ProcessedItem(item)));
        });
        self.check(|events| events.process_valid(LearnerEvent::EndSplit(epoch)));
        self.check(|events| events.process_train(LearnerEvent::EndEpoch(epoch)));
        // Checkpoints and early stopping read what the metrics wrote.
        self.check(|events| events.flush());
    }

    /// The batches of an epoch, with their numbers, until one cannot be read or the training is
    /// to stop.
    fn each_batch<B>(
        &mut self,
        loader: Arc<dyn DataLoader<B>>,
        mut step: impl FnMut(&mut Self, B, usize, Progress),
    ) {
        let mut batches = loader.iter();
        for number in 1.. {
            match batches.next() {
                Some(Ok(batch)) => step(self, batch, number, batches.progress()),
                Some(Err(error)) => self.interrupter.fail(error),
                None => break,
            }
            if self.interrupter.should_stop() {
                break;
            }
        }
    }

    /// Ends the training if an event cannot be processed.
    fn check(
        &mut self,
        process: impl FnOnce(
            &mut SupervisedTrainingEventProcessor<M>,
        ) -> Result<(), EventProcessorError>,
    ) {
        let processed = process(&mut self.events);
        self.interrupter.fail_on_error(processed);
    }
}
