//! The gradient cache: its gradients are those of one pass, and it refuses what would
//! make them others.

use crate::{
    batch::{Criterion, float_matrix, numbers},
    close::{Tolerance, assert_close},
    device::{autodiff_devices, device, precisions, rounding, turn_to_draw},
    oracle::{DEFAULTS, Loss, Objective, objectives},
};
use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    nn::{Dropout, DropoutConfig, Linear, LinearConfig},
    optim::{AdamConfig, GradientsParams},
    tensor::{DType, Device, Distribution, Tensor, activation::tanh},
};
use burn_multi_positive::{
    Bidirectional, CacheError, CachedStep, FalseNegatives, Forward, GradientCache,
    LsePairLossConfig, Matryoshka, MemoryBank, PositiveThreshold, Side, Stored, Targets,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    cell::RefCell,
    error::Error,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const QUERIES: usize = 7;
const DOCUMENTS: usize = 11;
const FEATURES: usize = 5;

#[derive(Module, Debug)]
struct Model {
    query: Linear,
    document: Linear,
    output: Linear,
    log_scale: Param<Tensor<1>>,
    dropout: Dropout,
}

impl Model {
    fn new(device: &Device, dtype: DType) -> Self {
        device.seed(1);
        let hidden = LinearConfig::new(FEATURES, 6);
        Self {
            query: hidden.init(device),
            document: hidden.init(device),
            output: LinearConfig::new(6, 4).init(device),
            log_scale: Param::from_tensor(Tensor::from_floats([0.4], device)),
            dropout: DropoutConfig::new(0.5).init(),
        }
        .map(&mut In(dtype))
    }

    fn embed(&self, side: Side, features: Tensor<2>) -> Tensor<2> {
        let tower = match side {
            Side::Queries => &self.query,
            Side::Documents => &self.document,
        };
        self.output.forward(tanh(tower.forward(features)))
    }

    fn embed_with_dropout(&self, side: Side, features: Tensor<2>) -> Tensor<2> {
        self.dropout.forward(self.embed(side, features))
    }

    /// Embeddings times a scale that is learnt, too.
    fn scaled(&self, queries: Tensor<2>) -> Tensor<2> {
        queries * self.log_scale.val().exp().unsqueeze_dim::<2>(0)
    }
}

/// Parameters of another type.
struct In(DType);

impl ModuleMapper for In {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::from_tensor(param.val().set_require_grad(false).cast(self.0))
    }
}

/// Features of both sides and the ids of the documents. Ids occur twice, in different
/// chunks; the third query has no positive; a document has features of 0.
struct Data {
    queries: Tensor<2>,
    documents: Tensor<2>,
    ids: Vec<usize>,
    relevant: Vec<Vec<usize>>,
}

impl Data {
    fn new(device: &Device, dtype: DType) -> Self {
        let mut rng = StdRng::seed_from_u64(3);
        let mut features = |rows: usize| -> Vec<Vec<f64>> {
            let mut row = || (0..FEATURES).map(|_| rng.random_range(-1.0..1.0)).collect();
            (0..rows).map(|_| row()).collect()
        };
        let (queries, mut documents) = (features(QUERIES), features(DOCUMENTS));
        documents[4].fill(0.0);
        let mut relevant: Vec<Vec<usize>> = (0..QUERIES).map(|q| vec![q, (q + 3) % 8]).collect();
        relevant[2].clear();
        Self {
            queries: float_matrix(&queries, device, dtype),
            documents: float_matrix(&documents, device, dtype),
            ids: (0..DOCUMENTS).map(|d| d % 8).collect(),
            relevant,
        }
    }

    fn targets(&self) -> Targets {
        Targets::from_ids(&self.relevant, &self.ids, &device()).unwrap()
    }

    fn rows(&self, side: Side, rows: Range<usize>) -> Tensor<2> {
        let all = match side {
            Side::Queries => &self.queries,
            Side::Documents => &self.documents,
        };
        all.clone().slice([rows])
    }
}

/// A step with the encoder of the model, or another, and LSEPair.
fn step(
    model: &Model,
    data: &Data,
    cache: &GradientCache<Model>,
    encoder: impl Fn(&Model, Side, Range<usize>) -> Fallible<Tensor<2>>,
) -> Result<CachedStep, CacheError> {
    let loss_fn = LsePairLossConfig::new().init();
    cache.step(
        QUERIES,
        |model, rows| encoder(model, Side::Queries, rows),
        DOCUMENTS,
        |model, rows| encoder(model, Side::Documents, rows),
        |queries, documents| {
            Ok(loss_fn.forward_embeddings(model.scaled(queries), documents, data.targets()))
        },
    )
}

struct Gradients<'a> {
    of: &'a GradientsParams,
    numbers: Vec<Option<Vec<f64>>>,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.of.get::<D>(param.id);
        self.numbers
            .push(gradient.map(|gradient| gradient.try_into_vec_as().unwrap()));
    }
}

/// The gradient of every parameter, `None` where it has none.
fn gradients(model: &Model, of: &GradientsParams) -> Vec<Option<Vec<f64>>> {
    let numbers = Vec::new();
    let mut gradients = Gradients { of, numbers };
    model.visit(&mut gradients);
    gradients.numbers
}

/// Equal up to the rounding of sums that are taken in another order.
#[track_caller]
fn assert_same(what: &str, model: &Model, got: &GradientsParams, want: &GradientsParams) {
    let (got, want) = (gradients(model, got), gradients(model, want));
    let dtype = model.log_scale.val().dtype();
    let largest = |numbers: &[f64]| numbers.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    for (param, (got, want)) in got.iter().zip(&want).enumerate() {
        let (got, want) = match (got, want) {
            (Some(got), Some(want)) => (got, want),
            (None, None) => continue,
            _ => panic!("{what}: parameter {param}: got {got:?}, expected {want:?}"),
        };
        let error = 512.0 * rounding(dtype) * largest(want).max(1e-3);
        for (got, want) in got.iter().zip(want) {
            assert!(
                (got - want).abs() <= error,
                "{what}: parameter {param}: got {got:e}, expected {want:e} within {error:e}"
            );
        }
    }
}

pub fn check(
    objective: &Objective,
    device: &Device,
    dtype: DType,
    chunks: [usize; 2],
    shared: bool,
) {
    let what = format!("{objective:?} {dtype:?} {chunks:?} shared: {shared}");
    let (model, data) = (Model::new(device, dtype), Data::new(device, dtype));
    let criterion = Criterion::from(objective);
    let loss = |queries: Tensor<2>, documents: Tensor<2>| {
        // Rand1LH draws: the same for both.
        device.seed(5);
        criterion.embeddings_in_turn(model.scaled(queries), documents, data.targets())
    };
    check_loss(&what, &model, &data, chunks, shared, loss);
}

/// The cached gradients of a loss are those of one pass.
fn check_loss(
    what: &str,
    model: &Model,
    data: &Data,
    chunks: [usize; 2],
    shared: bool,
    loss: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<1>,
) {
    let dtype = model.log_scale.val().dtype();
    let tower = |side| if shared { Side::Queries } else { side };
    let embed = |side| {
        model.embed(
            tower(side),
            data.rows(side, 0..[QUERIES, DOCUMENTS][side as usize]),
        )
    };
    let want = loss(embed(Side::Queries), embed(Side::Documents));
    let want_gradients = GradientsParams::from_grads(want.backward(), model);
    let embed = |model: &Model, side, rows| Ok(model.embed(tower(side), data.rows(side, rows)));
    let got = GradientCache::new(model, chunks, 0)
        .step(
            QUERIES,
            |model, rows| embed(model, Side::Queries, rows),
            DOCUMENTS,
            |model, rows| embed(model, Side::Documents, rows),
            |queries, documents| Ok(loss(queries, documents)),
        )
        .unwrap();

    let tolerance = Tolerance::units(dtype, 256.0);
    assert_close(what, numbers(got.loss)[0], numbers(want)[0], tolerance);
    assert_same(what, model, &got.gradients, &want_gradients);
}

#[test]
fn options_and_what_is_made_of_losses_go_through_it() {
    let _turn = turn_to_draw();
    let rule = FalseNegatives::new(PositiveThreshold::Strongest).with_margin(0.05);
    let objective = LsePairLossConfig::new()
        .with_temperature(0.3)
        .with_hardness(1.0)
        .with_false_negatives(Some(rule))
        .init();
    let loss_fn = Matryoshka::new(Bidirectional::new(objective).with_same_side(true), &[4, 2]);
    for device in autodiff_devices() {
        for dtype in precisions() {
            let (model, data) = (Model::new(&device, dtype), Data::new(&device, dtype));
            let weights: Vec<Vec<f64>> = (0..QUERIES)
                .map(|q| {
                    (0..DOCUMENTS)
                        .map(|d| [1.0, 0.5, 2.0][(q + d) % 3])
                        .collect()
                })
                .collect();
            let weights = float_matrix(&weights, &device, DType::F32);
            let targets = || data.targets().with_weights(weights.clone());
            let loss = |queries: Tensor<2>, documents: Tensor<2>| {
                loss_fn.forward_embeddings(model.scaled(queries), documents, targets())
            };
            check_loss("options", &model, &data, [3, 4], false, loss);
        }
    }
}

#[test]
fn gradients_are_those_of_one_pass_for_every_objective() {
    let _turn = turn_to_draw();
    let devices = autodiff_devices();
    let chunks = [
        [3, 4],
        [1, 1],
        [7, 11],
        [100, 3],
        [2, 1000],
        [usize::MAX, 6],
    ];
    for (index, objective) in objectives().iter().enumerate() {
        for dtype in precisions() {
            let chunks = chunks[index % chunks.len()];
            check(
                objective,
                &devices[index % 2],
                dtype,
                chunks,
                index % 3 == 0,
            );
        }
    }
}

#[test]
fn gradients_do_not_depend_on_the_chunks() {
    let _turn = turn_to_draw();
    let device = &autodiff_devices()[0];
    for dtype in precisions() {
        for queries in [1, 2, 3, 7, 8] {
            for documents in [1, 4, 5, 11, 12] {
                check(&DEFAULTS[0], device, dtype, [queries, documents], false);
            }
        }
    }
}

#[test]
fn every_parameter_gets_its_gradient_and_the_optimizer_takes_it() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    let mut model = Model::new(&device, DType::F32);
    let data = Data::new(&device, DType::F32);
    let mut optimizer = AdamConfig::new().init();
    let mut losses = Vec::new();
    for seed in 0..20 {
        let cache = GradientCache::new(&model, [3, 4], seed);
        let encoder = |model: &Model, side, rows| Ok(model.embed(side, data.rows(side, rows)));
        let result = step(&model, &data, &cache, encoder).unwrap();
        assert!(
            gradients(&model, &result.gradients)
                .iter()
                .all(Option::is_some)
        );
        losses.extend(numbers(result.loss));
        model = optimizer.step(0.05, model, result.gradients);
    }
    assert!(losses[19] < 0.7 * losses[0], "{losses:?}");
}

/// Burn makes parameters when they are first used, and clones share what is yet to be
/// made.
#[test]
fn parameters_that_are_yet_to_be_made_get_gradients() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    let data = Data::new(&device, DType::F32);
    let encoder = LinearConfig::new(FEATURES, 4).init(&device);
    let embed = |encoder: &Linear, side, rows| Ok(encoder.forward(data.rows(side, rows)));
    let got = GradientCache::new(&encoder, [3, 4], 0).step(
        QUERIES,
        |encoder, rows| embed(encoder, Side::Queries, rows),
        DOCUMENTS,
        |encoder, rows| embed(encoder, Side::Documents, rows),
        |queries, documents| {
            let loss_fn = LsePairLossConfig::new().init();
            Ok(loss_fn.forward_embeddings(queries, documents, data.targets()))
        },
    );
    assert_eq!(got.unwrap().gradients.len(), 2);
    assert!(encoder.weight.is_require_grad());
}

#[test]
fn the_first_pass_has_no_graph() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    let (model, data) = (
        Model::new(&device, DType::F32),
        Data::new(&device, DType::F32),
    );
    let tracked = RefCell::new(Vec::new());
    let encoder = |model: &Model, side, rows| {
        let embeddings = model.embed(side, data.rows(side, rows));
        tracked.borrow_mut().push(embeddings.is_tracked());
        Ok(embeddings)
    };
    step(
        &model,
        &data,
        &GradientCache::new(&model, [4, 6], 0),
        encoder,
    )
    .unwrap();
    // Two chunks a side and pass.
    assert_eq!(tracked.into_inner(), [[false; 4], [true; 4]].concat());
}

#[test]
fn dropout_is_repeated() {
    let _turn = turn_to_draw();
    let [plain, checkpointed] = autodiff_devices();
    for device in [plain, checkpointed] {
        let (model, data) = (
            Model::new(&device, DType::F32),
            Data::new(&device, DType::F32),
        );
        let cache = |seed| GradientCache::new(&model, [3, 4], seed).with_check();
        let encoder =
            |model: &Model, side, rows| Ok(model.embed_with_dropout(side, data.rows(side, rows)));
        let loss = |seed| {
            let result = step(&model, &data, &cache(seed), encoder).expect("both passes agree");
            numbers(result.loss)[0]
        };
        assert_eq!(loss(1), loss(1));
        assert_ne!(loss(1), loss(2), "dropout is on");
    }
}

/// The masks that the first pass drew, put into one pass, give the gradients of the
/// cache.
#[test]
fn gradients_with_dropout_are_those_of_one_pass_with_its_masks() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    let (model, data) = (
        Model::new(&device, DType::F32),
        Data::new(&device, DType::F32),
    );
    let masks = RefCell::new([Vec::new(), Vec::new()]);
    let encoder = |model: &Model, side, rows: Range<usize>| {
        let embeddings = model.embed(side, data.rows(side, rows));
        let mask = embeddings
            .random_like(Distribution::Bernoulli(0.5))
            .without_autodiff();
        masks.borrow_mut()[side as usize].push(mask.clone());
        Ok(embeddings * mask)
    };
    let got = step(
        &model,
        &data,
        &GradientCache::new(&model, [3, 4], 9),
        encoder,
    )
    .unwrap();

    let [of_queries, of_documents] = masks.into_inner().map(|drawn| {
        let (first, second) = drawn.split_at(drawn.len() / 2);
        let [first, second] = [first, second].map(|masks| Tensor::cat(masks.to_vec(), 0));
        first
            .clone()
            .into_data()
            .assert_eq(&second.into_data(), true);
        first
    });
    let queries = model.embed(Side::Queries, data.queries.clone()) * of_queries;
    let documents = model.embed(Side::Documents, data.documents.clone()) * of_documents;
    let want = LsePairLossConfig::new().init().forward_embeddings(
        model.scaled(queries),
        documents,
        data.targets(),
    );
    let want = GradientsParams::from_grads(want.backward(), &model);
    assert_same("dropout", &model, &got.gradients, &want);
}

#[test]
fn an_encoder_that_cannot_be_repeated_is_refused_when_asked() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    let (model, data) = (
        Model::new(&device, DType::F32),
        Data::new(&device, DType::F32),
    );
    let rng = RefCell::new(StdRng::seed_from_u64(1));
    let encoder = |model: &Model, side, rows| {
        let noise = rng.borrow_mut().random_range(0.5..1.5);
        Ok(model.embed(side, data.rows(side, rows)) * noise)
    };
    let cache = GradientCache::new(&model, [3, 4], 0).with_check();
    let error = step(&model, &data, &cache, encoder).unwrap_err();
    assert_eq!(
        error.to_string(),
        "queries 0..3: expected the embeddings of the first pass again, got others: the encoder keeps a state or \
         draws random numbers that Device::seed does not repeat"
    );
}

/// In either pass, on either side: an error, and the step that follows is as if there had
/// been none.
#[test]
fn a_failing_encoder_leaves_nothing_behind() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    let (model, data) = (
        Model::new(&device, DType::F32),
        Data::new(&device, DType::F32),
    );
    let cache = GradientCache::new(&model, [3, 4], 0);
    let calls = RefCell::new(0);
    let failing_at = |call: usize| {
        calls.replace(0);
        step(&model, &data, &cache, |model, side, rows| {
            *calls.borrow_mut() += 1;
            match *calls.borrow() == call {
                true => Err("no such text".into()),
                false => Ok(model.embed(side, data.rows(side, rows))),
            }
        })
    };
    let want = failing_at(usize::MAX).unwrap();
    let messages = [
        (1, "queries 0..3"),
        (3, "queries 6..7"),
        (4, "documents 0..4"),
        (8, "queries 3..6"),
        (12, "documents 8..11"),
    ];
    for (call, rows) in messages {
        let error = failing_at(call).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{rows}: the encoder failed: no such text")
        );
        assert_eq!(error.source().unwrap().to_string(), "no such text");
        let again = failing_at(usize::MAX).unwrap();
        assert_same(rows, &model, &again.gradients, &want.gradients);
    }
}

#[test]
fn what_does_not_fit_is_an_error_that_says_which_and_why() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    let (model, data) = (
        Model::new(&device, DType::F32),
        Data::new(&device, DType::F32),
    );
    let embed = |model: &Model, side, rows| model.embed(side, data.rows(side, rows));
    let message = |chunks, encoder: &dyn Fn(&Model, Side, Range<usize>) -> Tensor<2>| {
        let cache = GradientCache::new(&model, chunks, 0);
        let encoder = |model: &Model, side, rows| Ok(encoder(model, side, rows));
        step(&model, &data, &cache, encoder)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message([0, 4], &embed),
        "queries: expected chunks of at least one row, got 0"
    );
    assert_eq!(
        message([3, 0], &embed),
        "documents: expected chunks of at least one row, got 0"
    );
    assert_eq!(
        message([3, 4], &|model, side, rows| {
            let rows = rows.start..rows.end - usize::from(rows.start == 8);
            embed(model, side, rows)
        }),
        "documents 8..11: expected 3 embeddings from the encoder, got 2"
    );
    assert_eq!(
        message([3, 4], &|model, side, rows| {
            let dimensions = if rows.start == 3 { 2 } else { 4 };
            embed(model, side, rows).slice([0..100, 0..dimensions])
        }),
        "queries 3..6: expected embeddings of 4 dimensions as the first have, got 2"
    );
    let nothing = GradientCache::new(&model, [3, 4], 0).step(
        0,
        |model, rows| Ok(embed(model, Side::Queries, rows)),
        DOCUMENTS,
        |model, rows| Ok(embed(model, Side::Documents, rows)),
        |_, _| unreachable!("there is nothing to take a loss of"),
    );
    assert_eq!(
        nothing.unwrap_err().to_string(),
        "queries: expected at least one row, got 0"
    );
    let failing = GradientCache::new(&model, [3, 4], 0).step(
        QUERIES,
        |model, rows| Ok(embed(model, Side::Queries, rows)),
        DOCUMENTS,
        |model, rows| Ok(embed(model, Side::Documents, rows)),
        |_, _| Err("no targets".into()),
    );
    assert_eq!(
        failing.unwrap_err().to_string(),
        "the loss failed: no targets"
    );
}

#[test]
fn a_loss_that_is_no_loss_panics_by_name() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    let (model, data) = (
        Model::new(&device, DType::F32),
        Data::new(&device, DType::F32),
    );
    let step = |loss: fn(Tensor<2>) -> Tensor<1>| {
        let embed = |model: &Model, side, rows| Ok(model.embed(side, data.rows(side, rows)));
        let step = AssertUnwindSafe(|| {
            GradientCache::new(&model, [3, 4], 0).step(
                QUERIES,
                |model, rows| embed(model, Side::Queries, rows),
                DOCUMENTS,
                |model, rows| embed(model, Side::Documents, rows),
                |queries, _| Ok(loss(queries)),
            )
        });
        let panic = catch_unwind(step).expect_err("a panic");
        match panic.downcast_ref::<String>() {
            Some(message) => message.clone(),
            None => panic.downcast_ref::<&str>().expect("a message").to_string(),
        }
    };
    assert_eq!(
        step(|queries| queries.sum_dim(1).squeeze_dim(1)),
        format!("loss: expected shape [1], got [{QUERIES}]")
    );
    assert_eq!(
        step(|queries| Tensor::ones([1], &queries.device())),
        "loss: expected one that depends on the embeddings or on parameters of the model, got one \
         without a gradient"
    );
}

#[test]
fn a_table_made_beforehand_is_asked_once_and_gets_no_gradient() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    let (model, data) = (
        Model::new(&device, DType::F32),
        Data::new(&device, DType::F32),
    );
    let table = model
        .embed(Side::Documents, data.documents.clone())
        .without_autodiff();
    let asked = RefCell::new(0);
    let encoder = |model: &Model, side, rows: Range<usize>| match side {
        Side::Queries => Ok(model.embed(side, data.rows(side, rows))),
        Side::Documents => {
            *asked.borrow_mut() += rows.len();
            Ok(table.clone().slice([rows]))
        }
    };
    let cache = GradientCache::new(&model, [3, 4], 0);
    let got = step(&model, &data, &cache, encoder).unwrap();
    assert_eq!(asked.into_inner(), DOCUMENTS);

    let queries = model.embed(Side::Queries, data.queries.clone());
    let loss_fn = LsePairLossConfig::new().init();
    let want = loss_fn.forward_embeddings(model.scaled(queries), table, data.targets());
    let want = GradientsParams::from_grads(want.backward(), &model);
    assert!(gradients(&model, &want).contains(&None));
    assert_same("table", &model, &got.gradients, &want);
}

#[test]
fn a_batch_without_a_positive_has_gradients_of_zero() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    for objective in &DEFAULTS {
        let model = Model::new(&device, DType::F32);
        let mut data = Data::new(&device, DType::F32);
        data.relevant.iter_mut().for_each(Vec::clear);
        let criterion = Criterion::from(objective);
        let embed = |model: &Model, side, rows| Ok(model.embed(side, data.rows(side, rows)));
        let got = GradientCache::new(&model, [3, 4], 0)
            .step(
                QUERIES,
                |model, rows| embed(model, Side::Queries, rows),
                DOCUMENTS,
                |model, rows| embed(model, Side::Documents, rows),
                |queries, documents| {
                    Ok(criterion.embeddings_in_turn(queries, documents, data.targets()))
                },
            )
            .unwrap();
        assert_eq!(numbers(got.loss), [0.0]);
        let all = gradients(&model, &got.gradients);
        assert!(
            all.iter()
                .flatten()
                .flatten()
                .all(|&gradient| gradient == 0.0)
        );
        assert!(all.iter().flatten().count() >= 4);
    }
}

/// A memory bank in the loss: documents of the bank are no rows of a chunk.
#[test]
fn a_memory_bank_extends_the_candidates_of_a_cached_step() {
    let _turn = turn_to_draw();
    let device = device().autodiff();
    for objective in objectives()
        .iter()
        .filter(|objective| objective.loss != Loss::Rand1Lh)
    {
        let (model, data) = (
            Model::new(&device, DType::F32),
            Data::new(&device, DType::F32),
        );
        let mut bank = MemoryBank::new(20).unwrap();
        let earlier = model.embed(Side::Documents, data.documents.clone() * 0.9 + 0.1);
        let earlier_ids: Vec<usize> = (4..4 + DOCUMENTS).collect();
        bank.push(earlier, &earlier_ids).unwrap();
        let criterion = Criterion::from(objective);
        let loss = |queries: Tensor<2>, documents: Tensor<2>| -> Fallible<Tensor<1>> {
            let (candidates, targets) =
                bank.candidates(documents, &data.ids, &data.relevant, Stored::Ignored)?;
            Ok(criterion.embeddings_in_turn(model.scaled(queries), candidates, targets))
        };
        let want = loss(
            model.embed(Side::Queries, data.queries.clone()),
            model.embed(Side::Documents, data.documents.clone()),
        );
        let want = GradientsParams::from_grads(want.unwrap().backward(), &model);
        let got = GradientCache::new(&model, [3, 4], 0).step(
            QUERIES,
            |model, rows| Ok(model.embed(Side::Queries, data.rows(Side::Queries, rows))),
            DOCUMENTS,
            |model, rows| Ok(model.embed(Side::Documents, data.rows(Side::Documents, rows))),
            loss,
        );
        let what = format!("{objective:?}");
        assert_same(&what, &model, &got.unwrap().gradients, &want);
    }
}
