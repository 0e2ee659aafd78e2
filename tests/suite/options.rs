//! Weights, query weights, hardness, false negatives, the power mean and the expected Rand1LH,
//! against their definitions in f64 and against `tests/golden/options.json`, from 50-digit
//! arithmetic.

use crate::{
    batch::{gradient_of, matrix, numbers},
    device::{autodiff_devices, device, precisions, rounding, supports, turn_to_draw},
};
use burn::{
    nn::loss::Reduction,
    tensor::{DType, Device, Tensor, TensorData},
};
use burn_multi_positive::{
    Embeddings, ExpectedRand1LhLossConfig, FalseNegatives, JointLhLossConfig, LsePairLossConfig,
    Objective, PositiveThreshold, PowerMeanLossConfig, Rand1LhLossConfig, Shards,
    SumMargLhLossConfig, Targets, TargetsError,
    statistics::{Request, Statistics},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    temperature: f64,
    normalize_by_positives: bool,
    exponent: f64,
    normalized: bool,
    hardness: f64,
    false_negatives: Option<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
struct Rule {
    threshold: String,
    margin: f64,
    relative: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            normalize_by_positives: false,
            exponent: 1.0,
            normalized: false,
            hardness: 0.0,
            false_negatives: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Case {
    name: String,
    loss: String,
    config: Config,
    scores: Vec<Vec<f64>>,
    positives: Vec<Vec<u8>>,
    candidates: Option<Vec<Vec<u8>>>,
    weights: Option<Vec<Vec<f64>>>,
    query_weights: Option<Vec<f64>>,
    #[serde(default)]
    rows: Vec<f64>,
    #[serde(default)]
    mean: f64,
    #[serde(default)]
    gradient: Vec<Vec<f64>>,
}

fn golden() -> Vec<Case> {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../golden/options.json")).expect("valid cases");
    assert_eq!(cases.len(), 64);
    cases
}

/// Positives and negatives of a query with their weights: (column, score, weight).
type Members = Vec<(usize, f64, f64)>;

impl Case {
    fn loss(&self) -> Box<dyn Objective> {
        let Config {
            temperature,
            normalize_by_positives,
            exponent,
            normalized,
            hardness,
            ..
        } = self.config;
        let rule = self.config.false_negatives.as_ref().map(|rule| {
            let threshold = match rule.threshold.as_str() {
                "weakest" => PositiveThreshold::Weakest,
                "strongest" => PositiveThreshold::Strongest,
                "mean" => PositiveThreshold::Mean,
                threshold => panic!("{}: unknown threshold {threshold}", self.name),
            };
            FalseNegatives::new(threshold)
                .with_margin(rule.margin)
                .with_relative(rule.relative)
        });
        macro_rules! config {
            ($config:ident) => {
                $config::new()
                    .with_temperature(temperature)
                    .with_hardness(hardness)
                    .with_false_negatives(rule)
            };
        }
        match self.loss.as_str() {
            "lse_pair" => Box::new(
                config!(LsePairLossConfig)
                    .with_normalize_by_positives(normalize_by_positives)
                    .init(),
            ),
            "joint_lh" => Box::new(
                config!(JointLhLossConfig)
                    .with_normalize_by_positives(normalize_by_positives)
                    .init(),
            ),
            "sum_marg_lh" => Box::new(config!(SumMargLhLossConfig).init()),
            "family" => Box::new(
                config!(PowerMeanLossConfig)
                    .with_exponent(exponent)
                    .with_normalized(normalized)
                    .init(),
            ),
            "expected_rand1" => Box::new(config!(ExpectedRand1LhLossConfig).init()),
            loss => panic!("{}: unknown loss {loss}", self.name),
        }
    }

    fn targets(&self, device: &Device) -> Targets {
        let [queries, documents] = self.dims();
        let mask = |rows: &[Vec<u8>]| {
            let flags: Vec<bool> = rows.concat().into_iter().map(|flag| flag == 1).collect();
            Tensor::from_data(TensorData::new(flags, [queries, documents]), device)
        };
        let mut targets = Targets::new(mask(&self.positives));
        if let Some(candidates) = &self.candidates {
            targets = targets.with_candidates(mask(candidates));
        }
        if let Some(weights) = &self.weights {
            let data = TensorData::new(weights.concat(), [queries, documents]);
            targets = targets.with_weights(Tensor::from_data(data, (device, self.weight_type())));
        }
        if let Some(weights) = &self.query_weights {
            let data = TensorData::from(weights.as_slice());
            targets = targets.with_query_weights(Tensor::from_data(data, (device, DType::F32)));
        }
        targets
    }

    /// f64 where the device has it.
    fn weight_type(&self) -> DType {
        match precisions().contains(&DType::F64) {
            true => DType::F64,
            false => DType::F32,
        }
    }

    fn dims(&self) -> [usize; 2] {
        [self.scores.len(), self.scores[0].len()]
    }

    fn scores(&self, device: &Device, dtype: DType) -> Tensor<2> {
        let data = TensorData::new(self.scores.concat(), self.dims());
        Tensor::from_data(data, (device, dtype))
    }

    /// Positives and negatives of a query that count.
    fn members(&self, q: usize) -> [Members; 2] {
        let weight = |d: usize| self.weights.as_ref().map_or(1.0, |weights| weights[q][d]);
        let counts = |d: usize| {
            weight(d) != 0.0 && self.candidates.as_ref().is_none_or(|rows| rows[q][d] == 1)
        };
        let of = |relevant: u8| -> Members {
            (0..self.scores[q].len())
                .filter(|&d| counts(d) && self.positives[q][d] == relevant)
                .map(|d| (d, self.scores[q][d], weight(d)))
                .collect()
        };
        let (positives, mut negatives) = (of(1), of(0));
        if let Some(rule) = &self.config.false_negatives
            && !positives.is_empty()
        {
            let scores = positives.iter().map(|(_, score, _)| *score);
            let t = match rule.threshold.as_str() {
                "weakest" => scores.fold(f64::INFINITY, f64::min),
                "strongest" => scores.fold(f64::NEG_INFINITY, f64::max),
                _ => scores.sum::<f64>() / positives.len() as f64,
            };
            let ceiling = match rule.relative {
                true => t - rule.margin * t.abs(),
                false => t + rule.margin,
            };
            negatives.retain(|(_, score, _)| *score <= ceiling);
        }
        for (_, score, weight) in &mut negatives {
            *weight *= (self.config.hardness * *score).exp();
        }
        [positives, negatives]
    }

    /// The loss of a query as it is defined, given the scores in the place of those that
    /// weights and thresholds are made of.
    fn defined(&self, q: usize, scores: &[f64]) -> f64 {
        let [positives, negatives] = self.members(q);
        let t = self.config.temperature;
        let e = |d: usize| (scores[d] / t).exp();
        let total: f64 = positives.iter().map(|(_, _, w)| w).sum();
        if positives.is_empty() {
            return 0.0;
        }
        let n: f64 = negatives.iter().map(|&(d, _, w)| w * e(d)).sum();
        let sum = |b: f64| -> f64 { positives.iter().map(|&(d, _, w)| w * e(d).powf(b)).sum() };
        let loss = match self.loss.as_str() {
            "lse_pair" => (sum(-1.0) * n).ln_1p(),
            "sum_marg_lh" => (n / sum(1.0)).ln_1p(),
            "joint_lh" => {
                let all: f64 = positives.iter().map(|&(d, _, _)| e(d)).sum::<f64>() + n;
                positives
                    .iter()
                    .map(|&(d, _, w)| w * (all / e(d)).ln())
                    .sum()
            }
            "family" => {
                let b = self.config.exponent;
                let share = if self.config.normalized { total } else { 1.0 };
                let level = match b {
                    0.0 => {
                        positives
                            .iter()
                            .map(|&(d, _, w)| w * scores[d] / t)
                            .sum::<f64>()
                            / total
                    }
                    f64::INFINITY => positives
                        .iter()
                        .map(|p| scores[p.0] / t)
                        .fold(-1e300, f64::max),
                    f64::NEG_INFINITY => positives
                        .iter()
                        .map(|p| scores[p.0] / t)
                        .fold(1e300, f64::min),
                    _ => (sum(b) / share).ln() / b,
                };
                (n * (-level).exp()).ln_1p()
            }
            "expected_rand1" => {
                let one = |&(d, _, w): &(usize, f64, f64)| w * (n / e(d)).ln_1p();
                positives.iter().map(one).sum::<f64>() / total
            }
            loss => panic!("unknown loss {loss}"),
        };
        match self.config.normalize_by_positives {
            true => loss / total,
            false => loss,
        }
    }

    /// What must come out, from the definition.
    fn solved(mut self) -> Self {
        let dims @ [queries, _] = self.dims();
        self.rows = (0..queries)
            .map(|q| self.defined(q, &self.scores[q]))
            .collect();
        let weight = |q: usize| {
            self.query_weights
                .as_ref()
                .map_or(1.0, |weights| weights[q])
        };
        let active: Vec<bool> = (0..queries)
            .map(|q| !self.members(q)[0].is_empty())
            .collect();
        let sum: f64 = (0..queries).filter(|&q| active[q]).map(weight).sum();
        let share = |q: usize| if sum == 0.0 { 0.0 } else { weight(q) / sum };
        self.mean = (0..queries).map(|q| share(q) * self.rows[q]).sum();
        let slope = |q: usize, d: usize| {
            let step = 1e-5 * self.config.temperature;
            let moved = |by: f64| {
                let mut scores = self.scores[q].clone();
                scores[d] += by;
                self.defined(q, &scores)
            };
            share(q) * (moved(step) - moved(-step)) / (2.0 * step)
        };
        self.gradient = (0..queries)
            .map(|q| (0..dims[1]).map(|d| slope(q, d)).collect())
            .collect();
        self
    }

    fn tolerance(&self, dtype: DType) -> f64 {
        let largest = self
            .scores
            .concat()
            .into_iter()
            .map(f64::abs)
            .fold(1.0, f64::max);
        (64.0 + 8.0 * largest / self.config.temperature) * rounding(dtype)
    }

    #[track_caller]
    fn assert(&self, what: &str, outcome: &Outcome, tolerance: f64) {
        let name = format!("{} {} {:?}, {what}", self.name, self.loss, self.config);
        let close = |part: String, got: f64, want: f64, scale: f64| {
            assert!(
                (got - want).abs() <= tolerance * (scale + want.abs()),
                "{name}, {part}: {got:e}, expected {want:e}"
            );
        };
        close("mean".into(), outcome.mean, self.mean, 0.01);
        for (q, (&got, &want)) in outcome.rows.iter().zip(&self.rows).enumerate() {
            close(format!("row {q}"), got, want, 0.01);
        }
        let scale = 1.0 / self.config.temperature;
        for (q, (got, want)) in outcome.gradient.iter().zip(&self.gradient).enumerate() {
            for (d, (&got, &want)) in got.iter().zip(want).enumerate() {
                close(format!("gradient {q}, {d}"), got, want, scale);
            }
        }
    }

    /// From a matrix of scores.
    fn dense(&self, device: &Device, dtype: DType) -> Outcome {
        let scores = self.scores(device, dtype).require_grad();
        let (loss, targets) = (self.loss(), self.targets(device));
        let mean = loss.forward(scores.clone(), targets.clone());
        Outcome {
            rows: numbers(loss.forward_no_reduction(scores.clone(), targets)),
            gradient: gradient_of(&mean, &scores),
            mean: numbers(mean)[0],
        }
    }

    /// Losses of the queries and the gradient of their sum, by kernels or composed of Burn
    /// operations.
    fn rows_by(&self, form: Form, device: &Device, dtype: DType) -> (Vec<f64>, Vec<Vec<f64>>) {
        let scores = self.scores(device, dtype).require_grad();
        let loss = self.loss();
        let statistics = form(scores.clone(), &self.targets(device), loss.request());
        let rows = loss.losses(&statistics);
        (numbers(rows.clone()), gradient_of(&rows.sum(), &scores))
    }

    /// From embeddings whose products are the scores: the queries are unit vectors.
    fn embedded(&self, device: &Device, dtype: DType, tile: usize) -> Outcome {
        let [queries, _] = self.dims();
        let unit = Tensor::<2>::eye(queries, device).cast(dtype).require_grad();
        let documents = self.scores(device, dtype).transpose().require_grad();
        let (loss, targets) = (self.loss(), self.targets(device));
        let embeddings = || Embeddings::new(unit.clone(), documents.clone()).with_tile(tile);
        let mean = loss.forward(embeddings(), targets.clone());
        let gradients = mean.backward();
        let of_documents = documents.grad(&gradients).expect("a leaf");
        Outcome {
            rows: numbers(loss.forward_no_reduction(embeddings(), targets)),
            gradient: matrix(of_documents.transpose()),
            mean: numbers(mean)[0],
        }
    }

    /// The same from two shards.
    fn sharded(&self, device: &Device, dtype: DType) -> Outcome {
        let [queries, documents] = self.dims();
        let unit = Tensor::<2>::eye(queries, device).cast(dtype);
        let all = self.scores(device, dtype).transpose().require_grad();
        let cut = |x: &Tensor<2>, at: usize| {
            let rows = x.dims()[0];
            vec![x.clone().slice(0..at), x.clone().slice(at..rows)]
        };
        let (loss, targets) = (self.loss(), self.targets(device));
        let shards = || Shards::new(cut(&unit, queries / 2), cut(&all, documents / 2));
        let mean = loss.forward(shards(), targets.clone());
        let gradients = mean.backward();
        let of_documents = all.grad(&gradients).expect("a leaf");
        Outcome {
            rows: numbers(loss.forward_no_reduction(shards(), targets)),
            gradient: matrix(of_documents.transpose()),
            mean: numbers(mean)[0],
        }
    }
}

type Form = fn(Tensor<2>, &Targets, Request) -> Statistics;

#[derive(Debug)]
struct Outcome {
    rows: Vec<f64>,
    gradient: Vec<Vec<f64>>,
    mean: f64,
}

/// Every loss with every option, alone and together; the first row has no positive, the second
/// no negative.
fn random_cases() -> Vec<Case> {
    let mut random = StdRng::seed_from_u64(15);
    let mut cases = Vec::new();
    let losses = [
        ("lse_pair", 1.0, false),
        ("lse_pair", 1.0, true),
        ("sum_marg_lh", 1.0, false),
        ("joint_lh", 1.0, false),
        ("joint_lh", 1.0, true),
        ("family", -2.0, false),
        ("family", 0.3, true),
        ("family", 0.0, true),
        ("family", f64::INFINITY, false),
        ("family", f64::NEG_INFINITY, true),
        ("expected_rand1", 1.0, false),
    ];
    for (index, (loss, exponent, normalize)) in losses.into_iter().cycle().take(44).enumerate() {
        let dims = [4, 5 + index];
        let size = dims[0] * dims[1];
        let mut rows = |mut entry: Box<dyn FnMut(&mut StdRng) -> f64>| -> Vec<Vec<f64>> {
            let entries: Vec<f64> = (0..size).map(|_| entry(&mut random)).collect();
            entries.chunks(dims[1]).map(<[f64]>::to_vec).collect()
        };
        let scores = rows(Box::new(|random| {
            f64::from(random.random_range(-1.0..1.0f32))
        }));
        let flag = |share: f64| -> Box<dyn FnMut(&mut StdRng) -> f64> {
            Box::new(move |random| f64::from(u8::from(random.random_bool(share))))
        };
        let to_bytes = |rows: Vec<Vec<f64>>| -> Vec<Vec<u8>> {
            let to_bytes = |row: Vec<f64>| row.into_iter().map(|x| x as u8).collect();
            rows.into_iter().map(to_bytes).collect()
        };
        let mut positives = to_bytes(rows(flag(0.3)));
        positives[0].fill(0);
        positives[1].fill(1);
        let candidates = to_bytes(rows(flag(0.8)));
        let weights = rows(Box::new(|random| match random.random_bool(0.2) {
            true => 0.0,
            false => f64::from(random.random_range(0.1..3.0f32)),
        }));
        let bits = index / losses.len() + index;
        let rule = Rule {
            threshold: ["weakest", "strongest", "mean"][index % 3].into(),
            margin: [0.1, 0.0, -0.05][index / 3 % 3],
            relative: index % 2 == 0,
        };
        let case = Case {
            name: format!("random {index}"),
            loss: loss.into(),
            config: Config {
                temperature: [1.0, 0.3][index % 2],
                normalize_by_positives: normalize && loss != "family",
                exponent,
                normalized: normalize,
                hardness: [0.0, 2.0][bits / 4 % 2],
                false_negatives: (bits % 2 == 1).then_some(rule),
            },
            scores,
            positives,
            candidates: (bits / 8 % 2 == 1).then_some(candidates),
            weights: (bits / 2 % 2 == 1).then_some(weights),
            query_weights: (bits % 3 == 0).then(|| vec![0.5, 0.0, 2.0, 1.5]),
            rows: Vec::new(),
            mean: 0.0,
            gradient: Vec::new(),
        };
        cases.push(case.solved());
    }
    cases
}

#[test]
fn the_library_reproduces_the_golden_values_and_gradients() {
    for case in golden() {
        for device in autodiff_devices() {
            for dtype in precisions() {
                let outcome = case.dense(&device, dtype);
                case.assert("dense", &outcome, case.tolerance(dtype));
            }
        }
    }
}

#[test]
fn the_definitions_reproduce_the_golden_values_and_gradients() {
    for case in golden() {
        let solved = case.clone().solved();
        let outcome = Outcome {
            rows: solved.rows,
            gradient: solved.gradient,
            mean: solved.mean,
        };
        case.assert("definition", &outcome, 1e-6);
    }
}

fn all_cases() -> impl Iterator<Item = Case> {
    golden().into_iter().chain(random_cases())
}

#[test]
fn every_path_has_the_same_values_and_gradients() {
    let device = &autodiff_devices()[0];
    for case in all_cases() {
        // Differences of f64 have eight digits.
        let tolerance = case.tolerance(DType::F32).max(1e-6);
        let dense = case.dense(device, DType::F32);
        case.assert("dense", &dense, tolerance);
        for tile in [1, 3, 100] {
            let outcome = case.embedded(device, DType::F32, tile);
            case.assert(&format!("tile of {tile}"), &outcome, tolerance);
        }
        case.assert("shards", &case.sharded(device, DType::F32), tolerance);
    }
}

#[test]
fn the_composed_form_has_the_same_values_and_gradients() {
    let device = &autodiff_devices()[0];
    for case in all_cases() {
        for dtype in precisions() {
            let tolerance = 4.0 * case.tolerance(dtype);
            let (rows, gradient) = case.rows_by(Statistics::new, device, dtype);
            let (composed, of_composed) = case.rows_by(Statistics::composed, device, dtype);
            let scale = 1.0 / case.config.temperature;
            for (got, want) in composed.iter().zip(&rows) {
                let off = (got - want).abs();
                assert!(
                    off <= tolerance * (0.01 + want),
                    "{} {} {:?} {dtype:?}: {got}, {want}",
                    case.name,
                    case.loss,
                    case.config
                );
            }
            for (got, want) in of_composed.concat().iter().zip(gradient.concat()) {
                let off = (got - want).abs();
                assert!(
                    off <= tolerance * (scale + want.abs()),
                    "{} {} {dtype:?}: {got}, {want}",
                    case.name,
                    case.loss
                );
            }
        }
    }
}

#[test]
fn half_precision_computes_in_f32() {
    let device = &autodiff_devices()[0];
    for dtype in [DType::F16, DType::BF16] {
        if !supports(dtype) {
            continue;
        }
        for mut case in random_cases() {
            let rounded = case.scores(device, dtype).cast(DType::F32);
            case.scores = matrix(rounded);
            let case = case.solved();
            let outcome = case.dense(device, dtype);
            let digits = if dtype == DType::F16 { 1e-3 } else { 8e-3 };
            let exact = case.dense(device, DType::F32);
            assert_eq!(outcome.rows, exact.rows, "{}", case.name);
            case.assert("half", &outcome, digits);
        }
    }
}

fn random_case(loss: &str) -> Case {
    let found = random_cases().into_iter().find(|case| case.loss == loss);
    Case {
        weights: None,
        query_weights: None,
        candidates: None,
        ..found.expect("every loss is there")
    }
}

const LOSSES: [&str; 5] = [
    "lse_pair",
    "sum_marg_lh",
    "joint_lh",
    "family",
    "expected_rand1",
];

#[test]
fn weight_0_is_ignoring_whatever_the_score_and_weight_1_is_none() {
    let device = &autodiff_devices()[0];
    for loss in LOSSES {
        for special in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5] {
            let mut case = random_case(loss);
            let [queries, documents] = case.dims();
            case.scores.iter_mut().for_each(|row| row[2] = special);
            let mut ignoring = case.clone();
            let mut candidates = vec![vec![1; documents]; queries];
            candidates.iter_mut().for_each(|row| row[2] = 0);
            ignoring.candidates = Some(candidates);
            let mut weights = vec![vec![1.0; documents]; queries];
            weights.iter_mut().for_each(|row| row[2] = 0.0);
            case.weights = Some(weights);
            let (got, want) = (
                case.dense(device, DType::F32),
                ignoring.dense(device, DType::F32),
            );
            for (got, want) in got.rows.iter().zip(&want.rows) {
                assert!(
                    (got - want).abs() <= 1e-6 * (1.0 + want),
                    "{loss}: {got}, {want}"
                );
            }
            for (got, want) in got.gradient.concat().iter().zip(want.gradient.concat()) {
                assert!((got - want).abs() <= 1e-6, "{loss}: {got}, {want}");
            }
        }
    }
}

#[test]
fn a_weight_of_two_is_a_document_that_stands_there_twice() {
    let device = &autodiff_devices()[0];
    for loss in ["lse_pair", "sum_marg_lh"] {
        let case = random_case(loss);
        let [queries, documents] = case.dims();
        let mut twice = case.clone();
        for q in 0..queries {
            let (score, positive) = (case.scores[q][1], case.positives[q][1]);
            twice.scores[q].push(score);
            twice.positives[q].push(positive);
        }
        let mut weighted = case.clone();
        let mut weights = vec![vec![1.0; documents]; queries];
        weights.iter_mut().for_each(|row| row[1] = 2.0);
        weighted.weights = Some(weights);
        let rows = |case: &Case| case.dense(device, DType::F32).rows;
        for (got, want) in rows(&weighted).into_iter().zip(rows(&twice)) {
            assert!(
                (got - want).abs() <= 1e-5 * (1.0 + want),
                "{loss}: {got}, {want}"
            );
        }
    }
}

#[test]
fn the_family_meets_its_members_and_falls_with_its_exponent() {
    let device = &autodiff_devices()[0];
    let mut case = random_case("family");
    case.config = Config {
        temperature: 0.3,
        ..Config::default()
    };
    let row = |exponent: f64, normalized: bool| {
        let mut case = case.clone();
        case.config.exponent = exponent;
        case.config.normalized = normalized;
        case.dense(device, DType::F32)
    };
    for (exponent, member) in [(-1.0, "lse_pair"), (1.0, "sum_marg_lh")] {
        let mut other = case.clone();
        other.loss = member.into();
        let other = other.dense(device, DType::F32);
        assert_eq!(row(exponent, false).rows, other.rows, "{member}");
        assert_eq!(row(exponent, false).gradient, other.gradient, "{member}");
    }
    let exponents = [
        f64::NEG_INFINITY,
        -1e4,
        -30.0,
        -1.0,
        -0.4,
        -1e-3,
        -1e-9,
        0.0,
        1e-9,
        1e-3,
        0.4,
        1.0,
        30.0,
        1e4,
        f64::INFINITY,
    ];
    for pair in exponents.windows(2) {
        let [low, high] = [pair[0], pair[1]].map(|exponent| row(exponent, true).rows);
        for (q, (low, high)) in low.iter().zip(&high).enumerate() {
            let slack = 2e-6 * (1.0 + low);
            assert!(high - low <= slack, "{pair:?}, query {q}: {low} and {high}");
            let is_close =
                pair.iter().all(|b| b.abs() <= 1e-3) || pair.iter().all(|b| b.abs() >= 1e4);
            assert!(
                !is_close || low - high <= 1e-2,
                "{pair:?}: {low} and {high}"
            );
        }
    }
}

#[test]
fn rand1_draws_in_proportion_to_the_weights() {
    let device = device();
    let queries = 4000;
    let scores = Tensor::<2>::from_data(
        TensorData::new([0.0f32, 1.0, 2.0, 3.0].repeat(queries), [queries, 4]),
        &device,
    );
    let rows = |values: [f32; 4]| {
        let data = TensorData::new(values.repeat(queries), [queries, 4]);
        Tensor::<2>::from_data(data, (&device, DType::F32))
    };
    let positives = rows([1.0, 1.0, 1.0, 0.0]).greater_scalar(0.5);
    let targets = Targets::new(positives).with_weights(rows([1.0, 0.0, 3.0, 1.0]));
    let _turn = turn_to_draw();
    device.seed(7);
    let loss = Rand1LhLossConfig::new().init();
    let losses = numbers(loss.forward_no_reduction(scores, targets));
    // softplus(3 - s), whatever the weight of the drawn one
    let (first, third) = (3f64.exp().ln_1p(), 1f64.exp().ln_1p());
    let of_first = losses
        .iter()
        .filter(|loss| (*loss - first).abs() < 1e-4)
        .count();
    let of_third = losses
        .iter()
        .filter(|loss| (*loss - third).abs() < 1e-4)
        .count();
    assert_eq!(of_first + of_third, queries);
    // Five standard deviations of a binomial.
    let off = (of_first as f64 - 1000.0).abs();
    assert!(off < 5.0 * 750f64.sqrt(), "{of_first} of {queries}");
}

#[test]
fn a_draw_by_weights_that_are_no_weights_is_nan() {
    let device = device();
    let scores = Tensor::<2>::from_floats([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]], &device);
    let positives = Tensor::from_bool([[true, true, false]; 2], &device);
    let _turn = turn_to_draw();
    for wrong in [f32::NAN, -1.0] {
        let weights = Tensor::from_floats([[1.0, 2.0, 1.0], [3.0, wrong, 1.0]], &device);
        let targets = Targets::new(positives.clone()).with_weights(weights);
        let loss = Rand1LhLossConfig::new().init();
        for form in [Statistics::new as Form, Statistics::composed] {
            let targets = loss.choose_positives(targets.clone());
            let rows = numbers(loss.losses(&form(scores.clone(), &targets, loss.request())));
            assert!(rows[0].is_finite() && rows[1].is_nan(), "{wrong}: {rows:?}");
        }
    }
}

#[test]
fn graded_ids_and_groups_are_their_matrix() {
    let device = &autodiff_devices()[0];
    let relevant = [
        vec![("a", 3.0f32), ("b", 1.0), ("a", 0.5), ("z", 9.0)],
        vec![("c", 0.0), ("a", 2.0)],
        vec![],
    ];
    let documents = ["a", "c", "b", "a"];
    let ids = Targets::from_weighted_ids(&relevant, &documents, device).unwrap();
    let positives = Tensor::from_bool(
        [
            [true, false, true, true],
            [true, true, false, true],
            [false; 4],
        ],
        device,
    );
    let weights = [[3.0, 1.0, 1.0, 3.0], [2.0, 0.0, 1.0, 2.0], [1.0; 4]];
    let mask = Targets::new(positives).with_weights(Tensor::from_floats(weights, device));
    let groups = Targets::from_weighted_groups(&[vec![2.0], vec![0.5, 0.25]], 2, device).unwrap();
    let of_groups = Tensor::from_bool(
        [[true, false, false, false], [false, false, true, true]],
        device,
    );
    let weights = [[2.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.5, 0.25]];
    let of_groups = Targets::new(of_groups).with_weights(Tensor::from_floats(weights, device));
    for (lists, matrix) in [(ids, mask), (groups, of_groups)] {
        let [queries, _] = lists.dims();
        for turned in [false, true] {
            let (lists, matrix) = match turned {
                true => (lists.clone().transpose(), matrix.clone().transpose()),
                false => (lists.clone(), matrix.clone()),
            };
            let [rows, columns] = lists.dims();
            let wave = |count: usize| {
                let values: Vec<f32> = (0..count * 3).map(|i| (i as f32 * 0.7).sin()).collect();
                Tensor::<2>::from_data(TensorData::new(values, [count, 3]), (device, DType::F32))
            };
            for loss in LOSSES {
                let loss = random_case(loss).loss();
                let run = |targets: &Targets| {
                    let embeddings = Embeddings::new(wave(rows), wave(columns)).with_tile(2);
                    let dense = wave(rows).matmul(wave(columns).transpose());
                    [
                        numbers(loss.forward_no_reduction(embeddings, targets.clone())),
                        numbers(loss.forward_no_reduction(dense, targets.clone())),
                    ]
                };
                let (got, want) = (run(&lists).concat(), run(&matrix).concat());
                for (got, want) in got.into_iter().zip(want) {
                    assert!(
                        (got - want).abs() < 1e-5,
                        "{queries} queries: {got}, {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn bad_weights_are_errors_that_name_the_entry() {
    let device = device();
    for weight in [-1.0, f32::NAN, f32::INFINITY] {
        let relevant = [vec![("a", 1.0)], vec![("b", 1.0), ("c", weight)]];
        let error = Targets::from_weighted_ids(&relevant, &["a"], &device).unwrap_err();
        assert!(
            matches!(
                error,
                TargetsError::Weight {
                    query: 1,
                    entry: 1,
                    ..
                }
            ),
            "{error:?}"
        );
        let message = error.to_string();
        assert_eq!(
            message,
            format!(
                "weight of entry 1 of query 1: expected a finite number that is not negative, got {weight}"
            )
        );
        let groups = [vec![weight], vec![1.0]];
        let error = Targets::from_weighted_groups(&groups, 2, &device).unwrap_err();
        assert!(matches!(
            error,
            TargetsError::Weight {
                query: 0,
                entry: 0,
                ..
            }
        ));
    }
}

#[test]
fn weights_that_are_no_weights_make_their_query_nan_and_no_other() {
    let device = &autodiff_devices()[0];
    for loss in LOSSES {
        for wrong in [f64::NAN, -1.0] {
            for column in 0..5 {
                let mut case = random_case(loss);
                case.config.false_negatives = None;
                let [queries, documents] = case.dims();
                let mut weights = vec![vec![1.0; documents]; queries];
                weights[3][column] = wrong;
                case.positives[3][0] = 1;
                case.positives[3][1] = 0;
                case.weights = Some(weights);
                let rows = case.dense(device, DType::F32).rows;
                // The mean of an infinite exponent is that of no sum.
                assert!(rows[3].is_nan(), "{loss}, {wrong} at {column}: {}", rows[3]);
                assert!(
                    rows[..3].iter().all(|row| row.is_finite()),
                    "{loss}: {rows:?}"
                );
            }
        }
    }
}

#[test]
fn query_weights_weigh_every_reduction() {
    let device = &autodiff_devices()[0];
    let scores = Tensor::<2>::from_floats(
        [[1.0, 0.0], [3.0, 1.0], [f32::NAN, 1.0], [2.0, 1.0]],
        device,
    );
    let positives = Tensor::from_bool([[true, false]; 4], device);
    let weights = Tensor::<1>::from_floats([2.0, 0.5, 0.0, 0.0], device);
    let targets = Targets::new(positives).with_query_weights(weights);
    let loss = LsePairLossConfig::new().init();
    let rows = [-1.0f64, -2.0].map(|gap| gap.exp().ln_1p());
    let sum = 2.0 * rows[0] + 0.5 * rows[1];
    for (reduction, want) in [
        (Reduction::Mean, sum / 2.5),
        (Reduction::Auto, sum / 2.5),
        (Reduction::Sum, sum),
        (Reduction::BatchMean, sum / 4.0),
    ] {
        let leaf = scores.clone().require_grad();
        let got = loss.forward_with_reduction(leaf.clone(), targets.clone(), reduction);
        let gradient = gradient_of(&got, &leaf);
        assert!((numbers(got)[0] - want).abs() < 1e-6);
        assert_eq!(gradient[3], [0.0, 0.0]);
        assert!(gradient[0][0] < 0.0);
    }
    let alone = targets.with_query_weights(Tensor::from_floats([0.0, 0.0, 1.0, 1.0], device));
    assert_eq!(numbers(loss.forward(scores, alone))[0], 0.0);
}

#[test]
#[should_panic(
    expected = "assert_shape!(weights, [queries, documents]): axis 0 expected 1, got 2 (dims [2, 1])"
)]
fn weights_of_another_shape_panic() {
    let device = device();
    let targets = Targets::new(Tensor::from_bool([[true, false]], &device));
    let _ = targets.with_weights(Tensor::ones([2, 1], &device));
}

#[test]
#[should_panic(
    expected = "assert_shape!(query_weights, [queries]): axis 0 expected 1, got 2 (dims [2])"
)]
fn query_weights_of_another_number_panic() {
    let device = device();
    let targets = Targets::new(Tensor::from_bool([[true, false]], &device));
    let _ = targets.with_query_weights(Tensor::ones([2], &device));
}

#[test]
#[should_panic(
    expected = "transpose: expected targets without query weights, got a weight a query"
)]
fn transposing_weighed_queries_panics() {
    let device = device();
    let targets = Targets::new(Tensor::from_bool([[true, false]], &device));
    let _ = targets
        .with_query_weights(Tensor::ones([1], &device))
        .transpose();
}

#[test]
#[should_panic(
    expected = "PowerMeanLossConfig: exponent must not be 0 and must have an inverse in f32 unless the \
                loss is normalized, got 0"
)]
fn an_exponent_of_0_panics() {
    let _ = PowerMeanLossConfig::new().with_exponent(0.0).init();
}

#[test]
#[should_panic(expected = "PowerMeanLossConfig: exponent must be a number, got NaN")]
fn an_exponent_is_a_number() {
    let config = PowerMeanLossConfig::new().with_exponent(f64::NAN);
    let _ = config.with_normalized(true).init();
}

#[test]
#[should_panic(
    expected = "LsePairLossConfig: hardness and the inverse of temperature must be below 1e38 \
                together, got 200000000000000000000000000000000000000 and 1 / 1"
)]
fn a_hardness_that_f32_cannot_hold_panics() {
    LsePairLossConfig::new().with_hardness(2e38).init();
}

#[test]
#[should_panic(
    expected = "LsePairLossConfig: hardness must be finite in f32 and not negative, got -1"
)]
fn a_negative_hardness_panics() {
    let _ = LsePairLossConfig::new().with_hardness(-1.0).init();
}

#[test]
#[should_panic(expected = "JointLhLossConfig: false_negatives.margin must be finite, got inf")]
fn an_infinite_margin_of_false_negatives_panics() {
    let rule = FalseNegatives::new(PositiveThreshold::Mean).with_margin(f64::INFINITY);
    let _ = JointLhLossConfig::new()
        .with_false_negatives(Some(rule))
        .init();
}

/// One positive: every objective is cross-entropy. Ends of the range, NaN and infinities as
/// the contract has them.
#[test]
fn power_mean_and_expected_rand1_keep_the_contract() {
    let losses: Vec<(&str, Box<dyn Objective>)> = vec![
        (
            "mean of -2",
            Box::new(PowerMeanLossConfig::new().with_exponent(-2.0).init()),
        ),
        (
            "mean of 3",
            Box::new(PowerMeanLossConfig::new().with_exponent(3.0).init()),
        ),
        (
            "mean of 0",
            Box::new(
                PowerMeanLossConfig::new()
                    .with_exponent(0.0)
                    .with_normalized(true)
                    .init(),
            ),
        ),
        (
            "expected",
            Box::new(ExpectedRand1LhLossConfig::new().init()),
        ),
        (
            "sum",
            Box::new(
                ExpectedRand1LhLossConfig::new()
                    .with_normalize_by_positives(false)
                    .init(),
            ),
        ),
    ];
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    for device in &autodiff_devices() {
        for (name, loss) in &losses {
            let run = |scores: [f32; 4], positives: [bool; 4]| {
                // Another query beside it, which nothing may reach.
                let scores = Tensor::<2>::from_floats([scores, [1.0, 2.0, 0.5, 0.0]], device);
                let scores = scores.require_grad();
                let other = [true, false, false, false];
                let targets = Targets::new(Tensor::from_bool([positives, other], device));
                let rows = loss.forward_no_reduction(scores.clone(), targets);
                let gradient = gradient_of(&rows.clone().sum(), &scores);
                let rows = numbers(rows);
                let calm = (1.0 + (-0.5f64).exp() + (-1.0f64).exp() + 1f64.exp()).ln();
                assert!((rows[1] - calm).abs() < 1e-5, "{name}: {rows:?}");
                assert!(
                    gradient[1].iter().all(|slope| slope.is_finite()),
                    "{name}: {gradient:?}"
                );
                (rows[0], gradient[0].clone())
            };
            let (two, one) = ([true, true, false, false], [true, false, false, false]);

            let (loss, _) = run([2.0, 1.0, 0.0, -1.0], one);
            let cross_entropy = (1.0 + (-1f64).exp() + (-2f64).exp() + (-3f64).exp()).ln();
            assert!((loss - cross_entropy).abs() < 1e-6, "{name}: {loss}");

            // A confident query keeps its digits.
            let (loss, gradient) = run([40.0, 40.0, 0.0, -infinity], two);
            let m = if matches!(*name, "mean of -2" | "mean of 3") {
                2f64
            } else {
                1.0
            };
            let exponent = if *name == "mean of -2" { -2.0 } else { 3.0 };
            let share = m.powf(-1.0 / exponent);
            let terms = if *name == "sum" { 2.0 } else { 1.0 };
            let want = terms * share * (-40f64).exp();
            assert!(
                (loss / want - 1.0).abs() < 1e-4,
                "{name}: {loss:e}, {want:e}"
            );
            assert!(
                gradient[2] > 0.0 && gradient[3] == 0.0,
                "{name}: {gradient:?}"
            );

            for at in 0..4 {
                let mut scores = [1.0, 2.0, 0.0, -1.0];
                scores[at] = nan;
                let (loss, _) = run(scores, two);
                assert!(loss.is_nan(), "{name}: NaN at {at} gives {loss}");
            }
            let (loss, gradient) = run([3e38, -3e38, 1.0, 2.0], [true; 4]);
            assert_eq!((loss, gradient), (0.0, vec![0.0; 4]), "{name}: no negative");
            let (loss, _) = run([nan, 1.0, 1.0, 1.0], [true; 4]);
            assert!(loss.is_nan(), "{name}: NaN without a negative gives {loss}");
            let (loss, gradient) = run([nan, infinity, 1.0, 2.0], [false; 4]);
            assert_eq!((loss, gradient), (0.0, vec![0.0; 4]), "{name}: no positive");
            let (loss, gradient) = run([1e37, 3e37, -1e37, 2e37], two);
            assert!(loss.is_finite(), "{name}: {loss}");
            assert!(
                gradient.iter().all(|slope| slope.is_finite()),
                "{name}: {gradient:?}"
            );
        }
    }
}

/// Weights have no gradient; in the scores their logarithm has, and is the same loss.
#[test]
fn weights_are_learned_as_part_of_the_scores() {
    let temperature = 0.5;
    for device in &autodiff_devices() {
        let scores = || Tensor::<2>::from_floats([[1.0, 0.5, 0.25, -0.5, 0.75]], device);
        let positives = || Tensor::from_bool([[true, true, false, false, false]], device);
        let negatives = || Tensor::<2>::from_floats([[0.0, 0.0, 1.0, 1.0, 1.0]], device);
        let weights = [[1.0, 1.0, 2.0, 0.25, 1.5]];
        let objectives: [Box<dyn Objective>; 3] = [
            Box::new(
                LsePairLossConfig::new()
                    .with_temperature(temperature)
                    .init(),
            ),
            Box::new(
                JointLhLossConfig::new()
                    .with_temperature(temperature)
                    .init(),
            ),
            Box::new(
                SumMargLhLossConfig::new()
                    .with_temperature(temperature)
                    .init(),
            ),
        ];
        for loss in &objectives {
            let at = |weights: [[f32; 5]; 1]| {
                let weights = Tensor::<2>::from_floats(weights, device);
                let targets = Targets::new(positives()).with_weights(weights);
                numbers(loss.forward(scores(), targets))[0]
            };
            let learned = Tensor::<2>::from_floats(weights, device).require_grad();
            let shift = learned
                .clone()
                .log()
                .mul(negatives())
                .mul_scalar(temperature);
            let got = loss.forward(scores() + shift, positives());
            assert!((numbers(got.clone())[0] - at(weights)).abs() < 1e-5);
            let gradient = gradient_of(&got, &learned);
            for column in 2..5 {
                let step = 1e-2;
                let moved = |by: f32| {
                    let mut weights = weights;
                    weights[0][column] += by;
                    at(weights)
                };
                let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                let got = gradient[0][column];
                assert!((got - slope).abs() < 2e-4, "{column}: {got}, {slope}");
            }
        }
    }
}
