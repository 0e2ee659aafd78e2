//! What other libraries compute, from `tests/golden/peers.json`: the same, or differing as the
//! test of the name says.

use crate::{
    batch::{matrix, numbers},
    device::{autodiff_devices, precisions, product_error, rounding},
};
use burn::{
    nn::loss::Reduction,
    tensor::{Bool, DType, Device, Int, Tensor, TensorData},
};
use burn_multi_positive::{
    Bidirectional, CircleLossConfig, DclLossConfig, Embeddings, ExpectedRand1LhLossConfig,
    FocalInfoNceLossConfig, Forward, JointLhLossConfig, LearnableBiasConfig,
    LearnableTemperatureConfig, LsePairLossConfig, MarginMseLoss, MarginRankingLossConfig,
    MultiSimilarityLossConfig, Scores, SigmoidLossConfig, SumMargLhLossConfig, Targets,
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
    /// A teacher's scores or grades of the documents.
    teacher: Option<Vec<Vec<f64>>>,
    value: f64,
    /// Of queries and documents, where the library gives them.
    gradients: Option<[Vec<Vec<f64>>; 2]>,
    /// Of those options that are learned.
    #[serde(default)]
    option_gradients: HashMap<String, f64>,
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

    fn teacher(&self, device: &Device, dtype: DType) -> Tensor<2> {
        let rows = self.teacher.as_ref().expect("a teacher");
        let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
        Tensor::from_data(data, (device, dtype))
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

/// Some libraries normalize what they are given.
fn as_library(library: &str, name: &str, x: &Tensor<2>) -> Tensor<2> {
    let normalizes = match library {
        "sentence-transformers" => !["MarginMSELoss", "DistillKLDivLoss"].contains(&name),
        "open_clip_torch" | "rax" => false,
        _ => true,
    };
    match normalizes {
        true => x.clone() / x.clone().square().sum_dim(1).sqrt(),
        false => x.clone(),
    }
}

/// As near as rounding allows.
fn near(what: &str, got: f64, want: f64, error: f64) {
    assert!(
        (got - want).abs() <= error * (1.0 + want.abs()),
        "{what}: got {got}, expected {want}"
    );
}

impl Case {
    /// The gradients of queries and documents are the library's.
    fn assert_gradients(
        &self,
        what: &str,
        leaves: [&Tensor<2>; 2],
        gradient: impl Fn(&Tensor<2>) -> Tensor<2>,
        error: f64,
    ) {
        let expected = self.gradients.as_ref().expect("gradients of the library");
        for (leaf, want) in leaves.into_iter().zip(expected) {
            let got = matrix(gradient(leaf)).concat();
            for (got, want) in got.into_iter().zip(want.concat()) {
                near(&format!("{what}, gradient"), got, want, error);
            }
        }
    }
}

/// `loss` gives the values and gradients of all cases of a name.
fn check(library: &str, name: &str, loss: impl Fn(&Case, Scores, Targets) -> Tensor<1>) {
    let cases = golden(library, name);
    for device in &autodiff_devices() {
        for dtype in precisions() {
            for (index, case) in cases.iter().enumerate() {
                let queries = case.leaf(&case.queries, device, dtype);
                let documents = case.leaf(&case.documents, device, dtype);
                let as_library = |x: &Tensor<2>| as_library(library, name, x);
                let both = || [&queries, &documents].map(as_library);
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
                    "query_to_query" | "DCLLoss" => vec![tiles],
                    _ => vec![tiles, product],
                };
                for scores in forms {
                    let got = loss(case, scores, case.targets(device));
                    let error = 3000.0 * (rounding(dtype) + product_error(dtype));
                    let what = format!("{library} {name} {index}");
                    near(&what, numbers(got.clone())[0], case.value, error);
                    let gradients = got.backward();
                    let of = |leaf: &Tensor<2>| leaf.grad(&gradients).expect("a leaf");
                    if case.gradients.is_some() {
                        case.assert_gradients(&what, [&queries, &documents], of, error);
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

#[test]
fn the_circle_loss_of_pytorch_metric_learning_is_circle() {
    check(
        "pytorch-metric-learning",
        "CircleLoss",
        |case, scores, targets| {
            CircleLossConfig::new()
                .with_gamma(case.option("gamma"))
                .with_margin(case.option("m"))
                .init()
                .forward(scores, targets)
        },
    );
}

/// With its `BatchHardMiner`, on cosines, and the mean over all queries.
#[test]
fn the_triplet_margin_loss_on_the_hardest_triplets_is_margin_ranking() {
    check(
        "pytorch-metric-learning",
        "TripletMarginLoss",
        |case, scores, targets| {
            let loss = MarginRankingLossConfig::new().with_margin(case.option("margin"));
            loss.init().forward(scores, targets)
        },
    );
}

#[test]
fn the_siglip_loss_of_open_clip_is_sigmoid() {
    check("open_clip_torch", "SigLipLoss", |case, scores, targets| {
        SigmoidLossConfig::new()
            .with_temperature(1.0 / case.option("scale"))
            .with_bias(case.option("bias"))
            .init()
            .forward(scores, targets)
    });
}

/// And the gradients of scale and bias.
#[test]
fn the_siglip_loss_of_open_clip_is_sigmoid_with_what_is_learned() {
    let (library, name) = ("open_clip_torch", "SigLipLoss");
    let loss = SigmoidLossConfig::new()
        .with_temperature(1.0)
        .with_bias(0.0)
        .init();
    for device in &autodiff_devices() {
        for dtype in precisions() {
            for (index, case) in golden(library, name).iter().enumerate() {
                let [queries, documents] =
                    [&case.queries, &case.documents].map(|rows| case.leaf(rows, device, dtype));
                let product = queries.clone().matmul(documents.clone().transpose());
                let both = Embeddings::new(queries.clone(), documents.clone()).with_tile([2, 3]);
                for scores in [Scores::from(product), both.into()] {
                    let scale = case.option("scale");
                    let temperature = LearnableTemperatureConfig::new()
                        .with_initial(1.0 / scale)
                        .init(device);
                    let bias = LearnableBiasConfig::new()
                        .with_initial(case.option("bias"))
                        .init(device);
                    let scores = bias.apply(temperature.apply(scores));
                    let got = loss.forward(scores, case.targets(device));
                    let error = 3000.0 * (rounding(DType::F32) + product_error(dtype));
                    let what = format!("{library} {name} {index}");
                    near(&what, numbers(got.clone())[0], case.value, error);
                    let gradients = got.backward();
                    let of = |x: Tensor<1>| numbers(x.grad(&gradients).expect("a leaf"))[0];
                    // d / d log scale = scale d / d scale
                    let of_scale = of(temperature.log_scale()) / scale;
                    near("scale", of_scale, case.option_gradients["scale"], error);
                    let of_bias = of(bias.bias());
                    near("bias", of_bias, case.option_gradients["bias"], error);
                    let of = |leaf: &Tensor<2>| leaf.grad(&gradients).expect("a leaf");
                    case.assert_gradients(&what, [&queries, &documents], of, error);
                }
            }
        }
    }
}

/// Both directions, and in each the other texts of both sides.
#[test]
fn the_dcl_loss_of_lightly_is_dcl_in_both_directions_with_the_same_side() {
    check("lightly", "DCLLoss", |case, scores, targets| {
        let loss = DclLossConfig::new().with_temperature(case.option("temperature"));
        let loss = Bidirectional::new(loss.init()).with_same_side(true);
        loss.forward(scores, targets)
    });
}

/// By its authors' code, for one positive.
#[test]
fn focal_info_nce_of_its_authors_is_focal_info_nce() {
    check(
        "Focal-InfoNCE",
        "focal_info_nce",
        |case, scores, targets| {
            FocalInfoNceLossConfig::new()
                .with_temperature(case.option("temperature"))
                .with_margin(case.option("m"))
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

/// The teacher's grades are the weights of the positives.
#[test]
fn the_softmax_loss_of_rax_with_grades_is_joint_lh_with_weights() {
    check("rax", "softmax_loss_of_grades", |case, scores, targets| {
        // A weight of 0 would ignore the others.
        let grades = case.teacher(&targets.device(), DType::F32);
        let ungraded = grades.clone().equal_scalar(0.0);
        let targets = targets.with_weights(grades.mask_fill(ungraded, 1.0));
        list_net(case.option("temperature"))
            .init()
            .forward(scores, targets)
    });
}

#[test]
fn the_softmax_loss_of_rax_with_a_softmax_of_labels_is_a_teacher() {
    check("rax", "softmax_loss_of_teacher", |case, scores, targets| {
        let dtype = *precisions().last().expect("f32 at least");
        let teacher = case.teacher(&targets.device(), dtype);
        let targets = Targets::from_teacher(teacher, case.option("teacher_temperature"));
        list_net(case.option("temperature"))
            .init()
            .forward(scores, targets)
    });
}

fn list_net(temperature: f64) -> JointLhLossConfig {
    JointLhLossConfig::new()
        .with_temperature(temperature)
        .with_normalize_by_positives(true)
}

/// `loss` of the scores of the documents of each query alone, and of a teacher's, gives the
/// values and gradients of all cases of a name of sentence-transformers.
fn check_groups(name: &str, loss: impl Fn(&Case, Tensor<2>, Tensor<2>) -> Tensor<1>) {
    for device in &autodiff_devices() {
        for dtype in precisions() {
            for (index, case) in golden("sentence-transformers", name).iter().enumerate() {
                let queries = case.leaf(&case.queries, device, dtype);
                let documents = case.leaf(&case.documents, device, dtype);
                let count = case.queries.len();
                // The first documents of all queries, then the second ones.
                let blocks = documents.clone().split(count, 0).into_iter();
                let column = |block: Tensor<2>| (queries.clone() * block).sum_dim(1);
                let scores = Tensor::cat(blocks.map(column).collect(), 1);
                let got = loss(case, scores, case.teacher(device, dtype));
                let error = 3000.0 * rounding(dtype);
                let what = format!("{name} {index}");
                near(&what, numbers(got.clone())[0], case.value, error);
                let gradients = got.backward();
                let of = |leaf: &Tensor<2>| leaf.grad(&gradients).expect("a leaf");
                case.assert_gradients(&what, [&queries, &documents], of, error);
            }
        }
    }
}

#[test]
fn margin_mse_of_sentence_transformers_is_margin_mse() {
    check_groups("MarginMSELoss", |_, scores, teacher| {
        let dims @ [_, columns] = scores.dims();
        let first = (0..dims[0] * columns).map(|i| i % columns == 0);
        let first = TensorData::new(first.collect::<Vec<_>>(), dims);
        let first: Tensor<2, Bool> = Tensor::from_data(first, &scores.device());
        MarginMseLoss::new().forward(scores, teacher, first)
    });
}

/// It has the square of the student's temperature, and the teacher's entropy less.
#[test]
fn the_distillation_by_kl_of_sentence_transformers_is_a_teacher() {
    check_groups("DistillKLDivLoss", |case, scores, teacher| {
        let [student, of_teacher] =
            ["student_temperature", "teacher_temperature"].map(|name| case.option(name));
        let rows = case.teacher.as_ref().expect("a teacher");
        let entropy = rows.iter().map(|row| {
            let sum: f64 = row.iter().map(|t| (t / of_teacher).exp()).sum();
            let shares = row.iter().map(|t| (t / of_teacher).exp() / sum);
            -shares.map(|share| share * share.ln()).sum::<f64>()
        });
        let entropy = entropy.sum::<f64>() / rows.len() as f64;
        let targets = Targets::from_teacher(teacher, of_teacher);
        let loss = list_net(student).init().forward(scores, targets);
        (loss - entropy) * (student * student)
    });
}

/// All texts over all others, whichever side they are of.
struct Others {
    queries: Tensor<2>,
    documents: Tensor<2>,
    both: Embeddings,
    targets: Targets,
    /// The number of others with the same label, for each text.
    relevant: Vec<f64>,
}

impl Others {
    fn new(case: &Case, device: &Device, dtype: DType) -> Self {
        let queries = case.leaf(&case.queries, device, dtype);
        let documents = case.leaf(&case.documents, device, dtype);
        let texts = Tensor::cat(vec![queries.clone(), documents.clone()], 0);
        let texts = texts.clone() / texts.square().sum_dim(1).sqrt();
        let labels = case.labels.concat();
        let relevant = labels
            .iter()
            .map(|a| labels.iter().filter(|b| a == *b).count() - 1);
        let relevant = relevant.map(|count| count as f64).collect();
        let others = Tensor::<2, Bool>::diag_mask([labels.len(); 2], 0, device);
        let labels = Tensor::<1, Int>::from_ints(labels.as_slice(), device);
        Self {
            queries,
            documents,
            both: Embeddings::new(texts.clone(), texts),
            targets: Targets::from_labels(labels.clone(), labels).with_candidates(others),
            relevant,
        }
    }
}

/// Its mean is over pairs.
#[test]
fn the_ntxent_of_optax_is_the_sum_of_expected_rand1_over_pairs() {
    let device = &autodiff_devices()[0];
    for dtype in precisions() {
        for case in golden("optax", "ntxent") {
            let others = Others::new(&case, device, dtype);
            let loss = ExpectedRand1LhLossConfig::new()
                .with_temperature(case.option("temperature"))
                .with_normalize_by_positives(false)
                .init();
            let sum = loss.forward_with_reduction(others.both, others.targets, Reduction::Sum);
            let got = numbers(sum)[0] / others.relevant.iter().sum::<f64>();
            let error = 3000.0 * (rounding(dtype) + product_error(dtype));
            near("ntxent", got, case.value, error);
        }
    }
}

/// It divides the sum over the positives by their number, inside of the logarithm.
#[test]
fn sup_con_in_of_catalyst_is_sum_marg_lh_and_a_constant() {
    for device in &autodiff_devices() {
        for dtype in precisions() {
            for case in golden("catalyst", "SupervisedContrastiveLoss") {
                let others = Others::new(&case, device, dtype);
                let logs = others.relevant.iter().map(|count| count.ln());
                let constant = logs.sum::<f64>() / others.relevant.len() as f64;
                let loss = SumMargLhLossConfig::new().with_temperature(case.option("temperature"));
                let got = loss.init().forward(others.both, others.targets) + constant;
                let error = 3000.0 * (rounding(dtype) + product_error(dtype));
                let what = "SupCon, in";
                near(what, numbers(got.clone())[0], case.value, error);
                let gradients = got.backward();
                let of = |leaf: &Tensor<2>| leaf.grad(&gradients).expect("a leaf");
                case.assert_gradients(what, [&others.queries, &others.documents], of, error);
            }
        }
    }
}
