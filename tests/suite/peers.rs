//! What other libraries compute, from `tests/golden/peers.json`: the same, or differing as the
//! test of the name says.

use crate::{
    batch::{matrix, numbers},
    device::{autodiff_devices, device, precisions, product_error, rounding},
};
use burn::{
    nn::loss::Reduction,
    tensor::{Bool, DType, Device, Int, Tensor, TensorData},
};
use burn_multi_positive::{
    Bidirectional, Embeddings, ExpectedRand1LhLossConfig, Forward, JointLhLossConfig,
    LsePairLossConfig, MultiSimilarityLossConfig, Scores, Targets,
};
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    versions: HashMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    library: String,
    name: String,
    options: HashMap<String, f64>,
    queries: Vec<Vec<f64>>,
    documents: Vec<Vec<f64>>,
    labels: [Vec<i32>; 2],
    value: f64,
    /// Of queries and documents, where the library gives them.
    gradients: Option<[Vec<Vec<f64>>; 2]>,
}

impl Case {
    fn option(&self, name: &str) -> f64 {
        self.options[name]
    }

    /// The pairs of a query and a relevant document.
    fn positives(&self) -> f64 {
        let [queries, documents] = &self.labels;
        let count = |label: &i32| documents.iter().filter(|other| *other == label).count();
        queries.iter().map(count).sum::<usize>() as f64
    }

    fn targets(&self, device: &Device) -> Targets {
        let labels = |labels: &Vec<i32>| Tensor::<1, Int>::from_ints(labels.as_slice(), device);
        let [queries, documents] = self.labels.each_ref().map(labels);
        Targets::from_labels(queries, documents)
    }

    fn leaf(&self, rows: &[Vec<f64>], device: &Device, dtype: DType) -> Tensor<2> {
        let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
        Tensor::from_data(data, (device, dtype)).require_grad()
    }
}

/// The cases of a loss of a library.
fn golden(library: &str, name: &str) -> Vec<Case> {
    let golden = include_str!("../golden/peers.json");
    let golden: Golden = serde_json::from_str(golden).expect("valid cases");
    assert!(golden.versions.contains_key(library), "{library}");
    let cases = golden.cases.into_iter();
    let cases: Vec<_> = cases
        .filter(|case| case.library == library && case.name == name)
        .collect();
    assert_eq!(cases.len(), 10, "{library} {name}");
    cases
}

/// `loss` gives the values and gradients of all cases of a name.
fn check(library: &str, name: &str, loss: impl Fn(&Case, Scores, Targets) -> Tensor<1>) {
    let cases = golden(library, name);
    for device in &autodiff_devices() {
        for dtype in precisions() {
            for (index, case) in cases.iter().enumerate() {
                let queries = case.leaf(&case.queries, device, dtype);
                let documents = case.leaf(&case.documents, device, dtype);
                // Some normalize what they are given.
                let of_length_1 = |x: &Tensor<2>| match library {
                    "pytorch-metric-learning" | "sentence-transformers" => {
                        x.clone() / x.clone().square().sum_dim(1).sqrt()
                    }
                    _ => x.clone(),
                };
                let both = || [&queries, &documents].map(of_length_1);
                // From tiles, and from a matrix.
                let tiles: Scores = {
                    let [queries, documents] = both();
                    Embeddings::new(queries, documents).with_tile([2, 3]).into()
                };
                let product: Scores = {
                    let [queries, documents] = both();
                    queries.matmul(documents.transpose()).into()
                };
                // Other queries are no part of a matrix.
                let forms = match name {
                    "query_to_query" => vec![tiles],
                    _ => vec![tiles, product],
                };
                for scores in forms {
                    let got = loss(case, scores, case.targets(device));
                    let error = 3000.0 * (rounding(dtype) + product_error(dtype));
                    let close = |what: &str, got: f64, want: f64| {
                        assert!(
                            (got - want).abs() <= error * (1.0 + want.abs()),
                            "{library} {name} {index}, {what}: got {got}, expected {want}"
                        );
                    };
                    close("value", numbers(got.clone())[0], case.value);
                    let gradients = got.backward();
                    let Some(expected) = &case.gradients else {
                        continue;
                    };
                    for (leaf, want) in [&queries, &documents].into_iter().zip(expected) {
                        let got = matrix(leaf.grad(&gradients).expect("a leaf"));
                        for (got, want) in got.concat().into_iter().zip(want.concat()) {
                            close("gradient", got, want);
                        }
                    }
                }
            }
        }
    }
}

/// The mean over all pairs of a query and a positive, not over queries.
#[test]
fn nt_xent_of_pytorch_metric_learning_is_the_sum_of_expected_rand1_over_pairs() {
    check(
        "pytorch-metric-learning",
        "NTXentLoss",
        |case, scores, targets| {
            let loss = ExpectedRand1LhLossConfig::new()
                .with_temperature(case.option("temperature"))
                .with_normalize_by_positives(false)
                .init();
            let sum = loss.forward_with_reduction(scores, targets, Reduction::Sum);
            sum.mul_scalar(1.0 / case.positives())
        },
    );
}

#[test]
fn sup_con_of_pytorch_metric_learning_is_joint_lh_by_positives() {
    check(
        "pytorch-metric-learning",
        "SupConLoss",
        |case, scores, targets| {
            JointLhLossConfig::new()
                .with_temperature(case.option("temperature"))
                .with_normalize_by_positives(true)
                .init()
                .forward(scores, targets)
        },
    );
}

#[test]
fn multi_similarity_of_pytorch_metric_learning_is_multi_similarity() {
    check(
        "pytorch-metric-learning",
        "MultiSimilarityLoss",
        |case, scores, targets| {
            MultiSimilarityLossConfig::new()
                .with_alpha(case.option("alpha"))
                .with_beta(case.option("beta"))
                .with_base(case.option("base"))
                .init()
                .forward(scores, targets)
        },
    );
}

/// `logit_scale` is the inverse of the temperature.
#[test]
fn the_clip_loss_of_open_clip_is_bidirectional() {
    check("open_clip_torch", "ClipLoss", |case, scores, targets| {
        let loss = LsePairLossConfig::new().with_temperature(1.0 / case.option("scale"));
        Bidirectional::new(loss.init()).forward(scores, targets)
    });
}

fn info_nce(case: &Case) -> LsePairLossConfig {
    LsePairLossConfig::new().with_temperature(1.0 / case.option("scale"))
}

#[test]
fn multiple_negatives_ranking_of_sentence_transformers_is_lse_pair_on_one_positive() {
    let name = "MultipleNegativesRankingLoss";
    check("sentence-transformers", name, |case, scores, targets| {
        info_nce(case).init().forward(scores, targets)
    });
}

#[test]
fn all_negatives_of_its_hardness_mode_is_hardness() {
    check(
        "sentence-transformers",
        "hardness_mode",
        |case, scores, targets| {
            let loss = info_nce(case).with_hardness(case.option("hardness"));
            loss.init().forward(scores, targets)
        },
    );
}

#[test]
fn multiple_negatives_symmetric_ranking_is_bidirectional() {
    let name = "MultipleNegativesSymmetricRankingLoss";
    check("sentence-transformers", name, |case, scores, targets| {
        Bidirectional::new(info_nce(case).init()).forward(scores, targets)
    });
}

/// Other queries in the denominator of a query, in one softmax with the documents.
#[test]
fn query_to_query_of_its_directions_is_the_same_side_of_queries() {
    check(
        "sentence-transformers",
        "query_to_query",
        |case, scores, targets| {
            let loss = Bidirectional::new(info_nce(case).init());
            let loss = loss.with_weights([1.0, 0.0]).with_same_side(true);
            loss.forward(scores, targets)
        },
    );
}

/// The sum over the relevant documents, not their mean: the paper's JointLH.
#[test]
fn the_softmax_loss_of_rax_is_joint_lh() {
    check("rax", "softmax_loss", |case, scores, targets| {
        let loss = JointLhLossConfig::new().with_temperature(case.option("temperature"));
        loss.init().forward(scores, targets)
    });
}

#[test]
fn the_unique_softmax_loss_of_rax_is_the_sum_of_expected_rand1() {
    check("rax", "unique_softmax_loss", |case, scores, targets| {
        ExpectedRand1LhLossConfig::new()
            .with_temperature(case.option("temperature"))
            .with_normalize_by_positives(false)
            .init()
            .forward(scores, targets)
    });
}

/// Of all texts over all others, whichever side they are of; the mean over pairs.
#[test]
fn the_ntxent_of_optax_is_the_sum_of_expected_rand1_over_pairs() {
    let device = &device();
    for dtype in precisions() {
        for case in golden("optax", "ntxent") {
            let rows = [case.queries.clone(), case.documents.clone()].concat();
            let labels = case.labels.concat();
            let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
            let texts = Tensor::<2>::from_data(data, (device, dtype));
            let texts = texts.clone() / texts.square().sum_dim(1).sqrt();
            let others = Tensor::<2, Bool>::diag_mask([rows.len(); 2], 0, device);
            let pairs = labels
                .iter()
                .map(|a| labels.iter().filter(|b| a == *b).count() - 1);
            let pairs = pairs.sum::<usize>() as f64;
            let labels = Tensor::<1, Int>::from_ints(labels.as_slice(), device);
            let targets = Targets::from_labels(labels.clone(), labels).with_candidates(others);
            let loss = ExpectedRand1LhLossConfig::new()
                .with_temperature(case.option("temperature"))
                .with_normalize_by_positives(false)
                .init();
            let both = Embeddings::new(texts.clone(), texts);
            let sum = loss.forward_with_reduction(both, targets, Reduction::Sum);
            let got = numbers(sum)[0] / pairs;
            let error = 3000.0 * (rounding(dtype) + product_error(dtype));
            assert!(
                (got - case.value).abs() <= error * (1.0 + case.value),
                "got {got}, expected {}",
                case.value
            );
        }
    }
}
