//! Whole trainings: what they measure, save and resume, and that shards are one device.

use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use burn::{
    data::{
        dataloader::{DataLoader, DataLoaderIterator, Progress},
        dataset::DatasetError,
    },
    module::{Module, Param, ParamId},
    optim::{AdamConfig, SgdConfig},
    store::ModuleRecord,
    tensor::{DType, Device, Tensor, TensorData},
    train::{
        InferenceStep, Learner, LearnerSummary, LearningResult, SupervisedTraining, TrainOutput,
        TrainStep, TrainingStrategy, metric::LossMetric, renderer::CliMetricsRenderer,
    },
};
use burn_multi_positive::{
    GradientCache, LsePairLossConfig, Shards, Targets,
    evaluation::{Measure, RankedList, Ranker},
    train::{
        Patience, RankingInput, RankingMetric, RetrievalOutput, ShardedStep, ShardedStrategy,
        sum_gradients,
    },
};

use crate::{
    batch::matrix,
    close::{Tolerance, assert_rows_close},
    device::{device, product_error},
    folder::Folder,
};

const QUERIES: usize = 24;
const DOCUMENTS: usize = 60;
const FEATURES: usize = 6;
const BATCH: usize = 8;

#[derive(Module, Debug)]
struct Encoder {
    weights: Param<Tensor<2>>,
    cached: bool,
}

impl Encoder {
    fn new(device: &Device) -> Self {
        let weights = rows(FEATURES, 9, &device.clone().inner()).slice([0..FEATURES, 0..4]);
        Self {
            weights: Param::initialized(ParamId::new(), weights.autodiff().require_grad()),
            cached: false,
        }
    }

    fn embed(&self, rows: Tensor<2>) -> Tensor<2> {
        rows.to_device(&self.weights.device())
            .matmul(self.weights.val())
    }
}

/// Features that look random.
fn rows(count: usize, salt: usize, device: &Device) -> Tensor<2> {
    let entry = |i: usize| ((i * 7919 + salt * 104_729) % 1009) as f32 / 504.5 - 1.0;
    let entries: Vec<f32> = (0..count * FEATURES).map(entry).collect();
    let data = TensorData::new(entries, [count, FEATURES]);
    Tensor::from_data(data, (device, DType::F32))
}

/// What is relevant to a query; every fifth query has nothing.
fn relevant(query: usize) -> Vec<usize> {
    match query % 5 {
        4 => vec![],
        _ => vec![query, (query + 1) % QUERIES, query + QUERIES],
    }
}

struct Batch {
    queries: Vec<usize>,
    documents: Vec<usize>,
}

impl Batch {
    fn features(&self, device: &Device) -> [Tensor<2>; 2] {
        let select = |all: Tensor<2>, places: &[usize]| match places {
            [] => all.slice(0..0),
            places => Tensor::cat(
                places
                    .iter()
                    .map(|&place| all.clone().slice(place..place + 1))
                    .collect(),
                0,
            ),
        };
        let plain = device.clone().inner();
        [
            select(rows(QUERIES, 1, &plain), &self.queries),
            select(rows(DOCUMENTS, 2, &plain), &self.documents),
        ]
        .map(|x| x.to_device(device))
    }

    fn targets(&self, device: &Device) -> Targets {
        let relevant: Vec<_> = self.queries.iter().map(|query| relevant(*query)).collect();
        Targets::from_ids(&relevant, &self.documents, device).unwrap()
    }
}

impl TrainStep for Encoder {
    type Input = Batch;
    type Output = RetrievalOutput;

    fn step(&self, batch: Batch) -> TrainOutput<RetrievalOutput> {
        let device = self.weights.device();
        let targets = batch.targets(&device);
        let [queries, documents] = batch.features(&device);
        let loss_fn = LsePairLossConfig::new().with_temperature(0.5).init();
        if self.cached {
            let step = GradientCache::new(self, [3, 5], 0)
                .step(
                    batch.queries.len(),
                    |model, rows| Ok(model.embed(queries.clone().slice([rows]))),
                    batch.documents.len(),
                    |model, rows| Ok(model.embed(documents.clone().slice([rows]))),
                    |q, d| Ok(loss_fn.forward_embeddings(q, d, targets.clone())),
                )
                .unwrap();
            return TrainOutput {
                grads: step.gradients,
                item: RetrievalOutput::new(step.loss, &targets),
            };
        }
        let (queries, documents) = (self.embed(queries), self.embed(documents));
        let loss = loss_fn.forward_embeddings(queries, documents, targets.clone());
        let output = RetrievalOutput::new(loss.clone(), &targets);
        TrainOutput::new(self, loss.backward(), output)
    }
}

impl ShardedStep for Encoder {
    fn sharded_step(replicas: &[Self], batch: Batch) -> TrainOutput<RetrievalOutput> {
        let device = replicas[0].weights.device();
        let targets = batch.targets(&device);
        let embed = |features: Tensor<2>| {
            let parts = features.chunk(replicas.len(), 0).into_iter().zip(replicas);
            parts
                .map(|(part, replica)| replica.embed(part))
                .collect::<Vec<_>>()
        };
        let [queries, documents] = batch.features(&device).map(embed);
        let loss_fn = LsePairLossConfig::new().with_temperature(0.5).init();
        let loss = loss_fn.forward(Shards::new(queries, documents), targets.clone());
        let output = RetrievalOutput::new(loss.clone(), &targets);
        TrainOutput {
            grads: sum_gradients(loss.backward(), replicas),
            item: output,
        }
    }
}

impl InferenceStep for Encoder {
    type Input = Batch;
    type Output = RetrievalOutput;

    fn step(&self, batch: Batch) -> RetrievalOutput {
        let [queries, documents] = batch.features(&self.weights.device());
        let judged = batch
            .queries
            .iter()
            .map(|query| relevant(*query).into_iter());
        let judged: Vec<Vec<_>> = judged.map(|ids| ids.map(|id| (id, 1)).collect()).collect();
        let (queries, documents) = (self.embed(queries), self.embed(documents));
        RankingInput::from_embeddings(queries, documents, &batch.documents, &judged).into()
    }
}

/// Batches that are another for each epoch of training, and the same for each validation.
struct Loader {
    train: bool,
    epoch: AtomicUsize,
    breaks: bool,
    /// Places in the order of an epoch.
    places: Range<usize>,
}

impl Loader {
    fn over(train: bool, epochs: usize, breaks: bool) -> Arc<dyn DataLoader<Batch>> {
        let epoch = AtomicUsize::new(epochs);
        Arc::new(Self {
            train,
            epoch,
            breaks,
            places: 0..QUERIES,
        })
    }
}

struct Batches {
    places: Range<usize>,
    next: usize,
    epoch: usize,
    train: bool,
    breaks: bool,
}

impl DataLoader<Batch> for Loader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(Batches {
            places: self.places.clone(),
            next: self.places.start,
            epoch: self.epoch.fetch_add(1, Ordering::SeqCst),
            train: self.train,
            breaks: self.breaks,
        })
    }

    fn num_items(&self) -> usize {
        self.places.len()
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Batch>> {
        self.slice(0, self.places.len())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        let first = self.places.start;
        Arc::new(Self {
            train: self.train,
            epoch: AtomicUsize::new(self.epoch.load(Ordering::SeqCst)),
            breaks: self.breaks,
            places: first + start..self.places.end.min(first + end),
        })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.next;
        if first >= self.places.end {
            return None;
        }
        self.next = self.places.end.min(first + BATCH);
        let places = first..self.next;
        if self.breaks && first > 0 {
            let error = std::io::Error::other("the file ends here");
            return Some(Err(DatasetError::new(error)));
        }
        let queries: Vec<usize> = match self.train {
            true => places.map(|i| (i * 5 + self.epoch) % QUERIES).collect(),
            false => places.collect(),
        };
        let documents = match self.train {
            true => {
                let mut ids: Vec<usize> = queries.iter().flat_map(|q| [*q, q + QUERIES]).collect();
                ids.push(DOCUMENTS - 1);
                ids
            }
            false => (first * DOCUMENTS / QUERIES..self.next * DOCUMENTS / QUERIES).collect(),
        };
        Some(Ok(Batch { queries, documents }))
    }
}

impl DataLoaderIterator<Batch> for Batches {
    fn progress(&self) -> Progress {
        let done = self.next - self.places.start;
        Progress::new(done, self.places.len(), Some("items".into()))
    }
}

type Options = fn(SupervisedTraining<Encoder>) -> SupervisedTraining<Encoder>;

/// Trains from the epochs that are done to the last.
fn train(
    folder: &Path,
    [done, epochs]: [usize; 2],
    model: Encoder,
    learning_rate: f64,
    options: Options,
) -> LearningResult<Encoder> {
    let training = SupervisedTraining::new(
        folder,
        Loader::over(true, done, false),
        Loader::over(false, 0, false),
    );
    let mut training = options(
        training
            .metric_train_numeric(LossMetric::new())
            .metric_valid_numeric(RankingMetric::ndcg(10))
            .metric_valid_numeric(RankingMetric::recall(3))
            .num_epochs(epochs)
            .with_default_checkpointers()
            .with_application_logger(None)
            .renderer(Box::new(CliMetricsRenderer::new())),
    );
    if done > 0 {
        training = training.checkpoint(done);
    }
    training.launch(Learner::new(model, AdamConfig::new().init(), learning_rate))
}

fn weights(model: &Encoder) -> Vec<Vec<f64>> {
    matrix(model.weights.val().without_autodiff())
}

fn values(folder: &Path, metric: &str) -> Vec<f64> {
    let summary = LearnerSummary::new(folder, &[metric]).unwrap();
    let of = summary.metrics.train.iter().chain(&summary.metrics.valid);
    of.flat_map(|metric| metric.entries.iter().map(|entry| entry.value))
        .collect()
}

#[test]
fn metrics_are_those_of_the_whole_epoch() {
    let folder = Folder::new("metrics");
    let model = Encoder::new(&device().autodiff());
    let before = weights(&model);
    let result = train(&folder.0, [0, 3], model.clone(), 0.05, |training| training);
    assert!(result.error.is_none(), "{:?}", result.error);
    assert_ne!(weights(&result.model), before);

    // The last epoch once more, from the model that came out.
    let plain = device();
    let all = Batch {
        queries: (0..QUERIES).collect(),
        documents: (0..DOCUMENTS).collect(),
    };
    let [queries, documents] = all.features(&plain).map(|x| result.model.embed(x));
    let scores = matrix(queries.matmul(documents.transpose()));
    let ids: Vec<String> = all.documents.iter().map(usize::to_string).collect();
    let ranker = Ranker::new(&ids);
    let judged = (0..QUERIES).filter(|query| !relevant(*query).is_empty());
    let lists: Vec<RankedList> = judged
        .map(|query| {
            let grades = relevant(query).into_iter().map(|id| (id, 1));
            RankedList::new(ranker.rank(&scores[query], 1000), grades)
        })
        .collect();
    assert_eq!(lists.len(), 20);
    for (name, measure) in [
        ("nDCG@10", Measure::Ndcg(10)),
        ("Recall@3", Measure::Recall(3)),
    ] {
        let values = values(&folder.0, name);
        assert_eq!(values.len(), 3, "{name}");
        let want = measure.mean(&lists);
        assert!((values[2] - want).abs() < 1e-6, "{name}: {values:?} {want}");
    }
}

#[test]
fn losses_are_averaged_over_queries() {
    let folder = Folder::new("losses");
    let model = Encoder::new(&device().autodiff());
    // Nothing is learned, so each batch can be asked again.
    train(&folder.0, [0, 1], model.clone(), 0.0, |training| training);
    let (mut sum, mut active) = (0.0, 0);
    for batch in Loader::over(true, 0, false).iter() {
        let batch = batch.unwrap();
        let home = model.weights.device();
        let [queries, documents] = batch.features(&home).map(|x| model.embed(x));
        let loss_fn = LsePairLossConfig::new().with_temperature(0.5).init();
        let targets = batch.targets(&home);
        let losses = loss_fn.forward_no_reduction(
            burn_multi_positive::Embeddings::new(queries, documents),
            targets,
        );
        sum += losses.sum().into_scalar::<f64>();
        active += batch
            .queries
            .iter()
            .filter(|query| !relevant(**query).is_empty())
            .count();
    }
    let got = values(&folder.0, "Loss")[0];
    assert!(
        (got - sum / active as f64).abs() < 1e-5,
        "{got} {}",
        sum / active as f64
    );
}

#[test]
fn a_training_that_is_resumed_ends_where_it_would_have_ended() {
    let [whole, broken] = ["whole", "broken"].map(Folder::new);
    let home = device().autodiff();
    let model = Encoder::new(&home);
    let unbroken = train(&whole.0, [0, 4], model.clone(), 0.05, |training| training);
    let half = train(&broken.0, [0, 2], model, 0.05, |training| training);
    assert_ne!(weights(&half.model), weights(&unbroken.model));
    // Whatever the model is made of, the checkpoint has the weights.
    let mut other = Encoder::new(&home);
    other.weights = other.weights.map(|weights| weights.zeros_like());
    let resumed = train(&broken.0, [2, 4], other, 0.05, |training| training);
    assert_eq!(weights(&resumed.model), weights(&unbroken.model));
    for metric in ["nDCG@10", "Loss"] {
        let [whole, broken] = [&whole, &broken].map(|folder| values(&folder.0, metric));
        assert_eq!((whole.len(), &whole), (4, &broken), "{metric}");
    }
    let saved = whole.0.join("checkpoint/model-4.bpk");
    let loaded = Encoder::new(&home).load_record(ModuleRecord::load(saved).unwrap());
    assert_eq!(weights(&loaded), weights(&unbroken.model));
}

/// On two devices.
fn sharded(training: SupervisedTraining<Encoder>) -> SupervisedTraining<Encoder> {
    let strategy = ShardedStrategy::new([device(), device()]);
    training.with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
}

#[test]
fn shards_are_resumed_and_lose_patience() {
    let [whole, broken] = ["whole-shards", "broken-shards"].map(Folder::new);
    let model = Encoder::new(&device().autodiff());
    let unbroken = train(&whole.0, [0, 3], model.clone(), 0.05, sharded);
    train(&broken.0, [0, 1], model.clone(), 0.05, sharded);
    let resumed = train(&broken.0, [1, 3], model.clone(), 0.05, sharded);
    assert_eq!(weights(&resumed.model), weights(&unbroken.model));

    let folder = Folder::new("patience-shards");
    let patient: Options =
        |training| sharded(training).early_stopping(Patience::highest(&RankingMetric::ndcg(10), 2));
    train(&folder.0, [0, 9], model, 0.0, patient);
    assert_eq!(values(&folder.0, "nDCG@10").len(), 3);
}

/// A stop between batches: no checkpoint, and no further batch.
#[test]
fn shards_stop_when_they_are_told() {
    let folder = Folder::new("stopped-shards");
    let model = Encoder::new(&device().autodiff());
    let stopped: Options = |training| {
        let training = sharded(training);
        training.interrupter().stop(Some("enough"));
        training
    };
    let result = train(&folder.0, [0, 3], model, 0.05, stopped);
    let reason = result.interrupted.expect("a stop").reason;
    assert_eq!(reason.as_deref(), Some("enough"));
    assert!(!folder.0.join("checkpoint/model-1.bpk").exists());
    // One batch was trained on.
    let losses = folder.0.join("train/epoch-1/Loss.log");
    let losses = std::fs::read_to_string(losses).unwrap();
    assert_eq!(
        losses
            .lines()
            .filter(|line| !line.ends_with("final"))
            .count(),
        1
    );
}

/// Nothing is learned, so the first epoch stays the best.
#[test]
fn patience_ends_also_when_a_training_is_resumed() {
    let patient: Options =
        |training| training.early_stopping(Patience::highest(&RankingMetric::ndcg(10), 3));
    for done in [0, 2] {
        let folder = Folder::new(&format!("patience-{done}"));
        let model = Encoder::new(&device().autodiff());
        if done > 0 {
            train(&folder.0, [0, done], model.clone(), 0.0, patient);
        }
        train(&folder.0, [done, 9], model, 0.0, patient);
        assert_eq!(
            values(&folder.0, "nDCG@10").len(),
            4,
            "{done} epochs before"
        );
    }
    // A metric that nobody registered stops nothing.
    let folder = Folder::new("patience-nothing");
    let model = Encoder::new(&device().autodiff());
    let blind: Options =
        |training| training.early_stopping(Patience::highest(&RankingMetric::mrr(7), 1));
    train(&folder.0, [0, 3], model, 0.05, blind);
    assert_eq!(values(&folder.0, "nDCG@10").len(), 3);
}

#[test]
#[should_panic(expected = "epochs: expected at least 1, got 0")]
fn no_patience_panics() {
    Patience::highest(&RankingMetric::ndcg(10), 0);
}

/// The device under test twice, with Burn's CPU backend, and two GPUs.
fn devices() -> Vec<Vec<Device>> {
    let mut devices = vec![vec![device()], vec![device(), device()]];
    #[cfg(feature = "flex")]
    devices.push(vec![device(), Device::flex(), device()]);
    #[cfg(feature = "wgpu")]
    {
        let gpu = Device::wgpu(Default::default());
        devices.push(vec![Device::flex(), gpu.clone()]);
        // The same adapter, where it is the only one; another device all the same.
        let cpu = Device::wgpu(burn::tensor::DeviceKind::Cpu);
        let works = || Tensor::<1>::zeros([1], &cpu).into_data();
        match std::panic::catch_unwind(works) {
            Ok(_) => devices.push(vec![gpu, cpu]),
            Err(_) => eprintln!("skipped: wgpu has no device for the CPU"),
        }
    }
    devices
}

#[test]
fn shards_of_devices_train_as_one_device_does() {
    let one = Folder::new("one");
    let model = Encoder::new(&device().autodiff());
    let want = train(&one.0, [0, 2], model.clone(), 0.05, |training| training);
    let cached = Folder::new("cached");
    let mut with_cache = model.clone();
    with_cache.cached = true;
    let got = train(&cached.0, [0, 2], with_cache, 0.05, |training| training);
    let tolerance =
        Tolerance::units(DType::F32, 4096.0).absolute(1e-4 + 64.0 * product_error(DType::F32));
    assert_rows_close(
        "cached",
        &weights(&got.model),
        &weights(&want.model),
        tolerance,
    );
    for (index, devices) in devices().into_iter().enumerate() {
        let folder = Folder::new(&format!("sharded-{index}"));
        let training = SupervisedTraining::new(
            &folder.0,
            Loader::over(true, 0, false),
            Loader::over(false, 0, false),
        );
        let what = format!("{devices:?}");
        let strategy = ShardedStrategy::new(devices);
        let got = training
            .metric_train_numeric(LossMetric::new())
            .metric_valid_numeric(RankingMetric::ndcg(10))
            .num_epochs(2)
            .with_application_logger(None)
            .renderer(Box::new(CliMetricsRenderer::new()))
            .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
            .launch(Learner::new(model.clone(), AdamConfig::new().init(), 0.05));
        assert!(got.error.is_none(), "{what} {:?}", got.error);
        assert_rows_close(
            &what,
            &weights(&got.model),
            &weights(&want.model),
            tolerance,
        );
        for metric in ["Loss", "nDCG@10"] {
            let [want, got] = [&one, &folder].map(|folder| values(&folder.0, metric));
            assert_rows_close(&what, &[got], &[want], tolerance);
        }
    }
}

/// Weights move by the sum of the gradients of two steps.
#[test]
fn shards_accumulate_the_gradients_of_one_device() {
    let accumulating = |name: &str, strategy: Option<ShardedStrategy>| {
        let folder = Folder::new(&format!("accumulate-{name}"));
        let mut training = SupervisedTraining::new(
            &folder.0,
            Loader::over(true, 0, false),
            Loader::over(false, 0, false),
        )
        .metric_valid_numeric(RankingMetric::ndcg(10))
        .grads_accumulation(2)
        .with_application_logger(None)
        .renderer(Box::new(CliMetricsRenderer::new()));
        if let Some(strategy) = strategy {
            training =
                training.with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)));
        }
        let model = Encoder::new(&device().autodiff());
        let learner = Learner::new(model, SgdConfig::new().init(), 0.1);
        weights(&training.launch(learner).model)
    };
    let want = accumulating("one", None);
    let before = weights(&Encoder::new(&device().autodiff()));
    let moved = want.concat().into_iter().zip(before.concat());
    assert!(moved.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) > 1e-2);
    for (index, devices) in devices().into_iter().enumerate() {
        let what = format!("{devices:?}");
        let got = accumulating(&index.to_string(), Some(ShardedStrategy::new(devices)));
        let tolerance = Tolerance::units(DType::F32, 512.0);
        let tolerance = tolerance.absolute(1e-5 + 64.0 * product_error(DType::F32));
        assert_rows_close(&what, &got, &want, tolerance);
    }
}

#[test]
fn a_batch_that_cannot_be_read_ends_the_training() {
    for breaks in [[true, false], [false, true]] {
        let folder = Folder::new(&format!("breaks-{}", breaks[0]));
        let [train, valid] = breaks;
        let training = SupervisedTraining::new(
            &folder.0,
            Loader::over(true, 0, train),
            Loader::over(false, 0, valid),
        );
        let strategy = ShardedStrategy::new([device()]);
        let result = training
            .metric_valid_numeric(RankingMetric::ndcg(10))
            .num_epochs(3)
            .with_default_checkpointers()
            .with_application_logger(None)
            .renderer(Box::new(CliMetricsRenderer::new()))
            .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
            .launch(Learner::new(
                Encoder::new(&device().autodiff()),
                AdamConfig::new().init(),
                0.05,
            ));
        let error = result.error.expect("an error").to_string();
        assert!(error.contains("the file ends here"), "{error}");
        assert!(!folder.0.join("checkpoint/model-1.bpk").exists());
    }
}

#[test]
#[should_panic(expected = "sum_gradients: expected replicas, got none")]
fn gradients_of_no_replica_panic() {
    let device = Device::flex().autodiff();
    let gradients = Tensor::<1>::ones([1], &device).require_grad().backward();
    let _ = sum_gradients::<burn::nn::Linear>(gradients, &[]);
}

#[test]
#[should_panic(expected = "devices: expected some, got none")]
fn a_strategy_without_devices_panics() {
    ShardedStrategy::new([]);
}
