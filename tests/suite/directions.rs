//! Both directions and the same side, against matrices that are written out.

use crate::{
    batch::{bool_matrix, bools, float_matrix, gradient_of, matrix, numbers},
    device::{
        autodiff_devices, device, is_cpu, multiplies_nothing, precisions, rounding, turn_to_draw,
    },
};
use burn::{
    nn::loss::Reduction,
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use burn_multi_positive::{
    Bidirectional, Embeddings, ExpectedRand1LhLossConfig, FalseNegatives, Forward,
    JointLhLossConfig, LearnableTemperatureConfig, LsePairLoss, LsePairLossConfig, Matryoshka,
    MemoryBank, Objective, PositiveThreshold, PowerMeanLossConfig, Rand1LhLossConfig, Scores,
    Shards, Stored, SumMargLhLossConfig, Targets,
};

const QUERIES: usize = 7;
const DOCUMENTS: usize = 11;
const DIMENSIONS: usize = 5;

/// Who is relevant to whom: queries 1 and 4 share document 3, query 5 has no positive,
/// documents 9 and 10 are nobody's.
const RELEVANT: [&[usize]; QUERIES] = [&[0, 1], &[2, 3], &[4], &[5, 6, 7], &[3], &[], &[8]];

fn objectives() -> Vec<Box<dyn Objective>> {
    let rule = FalseNegatives::new(PositiveThreshold::Weakest).with_margin(0.2);
    vec![
        Box::new(LsePairLossConfig::new().with_temperature(0.3).init()),
        Box::new(JointLhLossConfig::new().init()),
        Box::new(
            SumMargLhLossConfig::new()
                .with_hardness(2.0)
                .with_false_negatives(Some(rule))
                .init(),
        ),
        Box::new(PowerMeanLossConfig::new().with_exponent(-0.3).init()),
        Box::new(
            ExpectedRand1LhLossConfig::new()
                .with_temperature(0.5)
                .init(),
        ),
    ]
}

fn embeddings(rows: usize, step: f64, device: &Device, dtype: DType) -> Tensor<2> {
    let values: Vec<f64> = (0..rows * DIMENSIONS)
        .map(|i| (i as f64 * step + 0.3).sin())
        .collect();
    let data = TensorData::new(values, [rows, DIMENSIONS]);
    let embeddings = Tensor::from_data(data, (device, dtype));
    match embeddings.is_autodiff() {
        true => embeddings.require_grad(),
        false => embeddings,
    }
}

/// Targets, and what they mean.
struct Case {
    name: &'static str,
    targets: Targets,
    relevant: Vec<Vec<bool>>,
    candidates: Vec<Vec<bool>>,
    weights: Vec<Vec<f64>>,
    /// Queries, and documents, that are the same.
    same: [Vec<Vec<bool>>; 2],
}

fn transposed<T: Clone>(rows: &[Vec<T>]) -> Vec<Vec<T>> {
    let columns = 0..rows[0].len();
    columns
        .map(|column| rows.iter().map(|row| row[column].clone()).collect())
        .collect()
}

/// Rows that have a column in common, are equal in `ids`, or are one.
fn same(relevant: &[Vec<bool>], ids: &[usize]) -> Vec<Vec<bool>> {
    let share = |a: usize, b: usize| relevant[a].iter().zip(&relevant[b]).any(|(a, b)| *a && *b);
    let rows = 0..relevant.len();
    let row = |a| {
        rows.clone()
            .map(move |b| a == b || ids[a] == ids[b] || share(a, b))
    };
    rows.clone().map(|a| row(a).collect()).collect()
}

fn cases(device: &Device) -> Vec<Case> {
    let mut relevant = vec![vec![false; DOCUMENTS]; QUERIES];
    for (row, columns) in relevant.iter_mut().zip(RELEVANT) {
        for &column in columns {
            row[column] = true;
        }
    }
    let no_ids = |count: usize| (0..count).collect::<Vec<usize>>();
    let all = |value: f64| vec![vec![value; DOCUMENTS]; QUERIES];
    let plain = |name, targets| Case {
        name,
        targets,
        candidates: vec![vec![true; DOCUMENTS]; QUERIES],
        weights: all(1.0),
        same: [
            same(&relevant, &no_ids(QUERIES)),
            same(&transposed(&relevant), &no_ids(DOCUMENTS)),
        ],
        relevant: relevant.clone(),
    };
    let mask = || Targets::new(bool_matrix(&relevant, device));
    let lists: Vec<Vec<usize>> = RELEVANT.map(<[usize]>::to_vec).to_vec();
    let ids: Vec<usize> = (0..DOCUMENTS).collect();
    let by_ids = || Targets::from_ids(&lists, &ids, device).unwrap();

    let mut candidates = vec![vec![true; DOCUMENTS]; QUERIES];
    candidates[0][1] = false;
    candidates[2][9] = false;
    candidates[6][0] = false;
    let mut weights = all(1.0);
    for (i, weight) in weights.iter_mut().flatten().enumerate() {
        *weight = [1.0, 0.5, 2.0, 0.0, 1.5][i % 5];
    }
    let with = |name, targets: Targets| {
        let given = targets
            .with_candidates(bool_matrix(&candidates, device))
            .with_weights(float_matrix(&weights, device, DType::F32));
        // What is ignored is nobody's positive.
        let counts =
            |q: usize, d: usize| relevant[q][d] && candidates[q][d] && weights[q][d] != 0.0;
        let row = |q: usize| (0..DOCUMENTS).map(|d| counts(q, d)).collect();
        let positives: Vec<Vec<bool>> = (0..QUERIES).map(row).collect();
        Case {
            candidates: candidates.clone(),
            weights: weights.clone(),
            same: [
                same(&positives, &no_ids(QUERIES)),
                same(&transposed(&positives), &no_ids(DOCUMENTS)),
            ],
            ..plain(name, given)
        }
    };
    let query_ids = [0, 1, 2, 0, 4, 5, 2];
    let document_ids = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9];
    let named = |name, targets: Targets| Case {
        same: [
            same(&relevant, &query_ids),
            same(&transposed(&relevant), &document_ids),
        ],
        ..plain(
            name,
            targets
                .with_query_ids(&query_ids)
                .with_document_ids(&document_ids),
        )
    };
    let labels = [
        [0, 1, 2, 3, 1, 7, 9].as_slice(),
        &[0, 0, 1, 1, 2, 3, 3, 8, 9, 6, 6],
    ];
    let tensors = labels.map(|labels| Tensor::<1, Int>::from_ints(labels, device));
    let [of_queries, of_documents] = tensors;
    let as_ids = labels.map(|labels| labels.iter().map(|&label: &i32| label as usize).collect());
    let [query_labels, document_labels]: [Vec<usize>; 2] = as_ids;
    let relevant_by_label: Vec<Vec<bool>> = query_labels
        .iter()
        .map(|a| document_labels.iter().map(|b| a == b).collect())
        .collect();
    let by_labels = Case {
        same: [
            same(&relevant_by_label, &query_labels),
            same(&transposed(&relevant_by_label), &document_labels),
        ],
        relevant: relevant_by_label,
        ..plain("labels", Targets::from_labels(of_queries, of_documents))
    };
    let twice: Vec<usize> = vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 10];
    let twice = Case {
        same: [
            same(&relevant, &no_ids(QUERIES)),
            same(&transposed(&relevant), &twice),
        ],
        ..plain(
            "a document twice",
            Targets::from_ids(&lists, &twice, device).unwrap(),
        )
    };
    vec![
        plain("mask", mask()),
        plain("ids", by_ids()),
        twice,
        with("mask, candidates, weights", mask()),
        with("ids, candidates, weights", by_ids()),
        named("mask with ids", mask()),
        named("ids with ids", by_ids()),
        by_labels,
    ]
}

impl Case {
    /// The scores of a direction written out, and the targets.
    fn explicit(
        &self,
        sides: [&Tensor<2>; 2],
        back: bool,
        same_side: bool,
    ) -> (Tensor<2>, Targets) {
        let [queries, documents] = match back {
            false => sides,
            true => [sides[1], sides[0]],
        };
        let turn = |rows: &[Vec<bool>]| {
            if back {
                transposed(rows)
            } else {
                rows.to_vec()
            }
        };
        let (mut relevant, mut candidates) = (turn(&self.relevant), turn(&self.candidates));
        let mut weights = match back {
            true => transposed(&self.weights),
            false => self.weights.clone(),
        };
        let mut scores = queries.clone().matmul(documents.clone().transpose());
        if same_side {
            let beside = queries.clone().matmul(queries.clone().transpose());
            scores = Tensor::cat(vec![scores, beside], 1);
            let count = relevant.len();
            for (row, same) in self.same[usize::from(back)].iter().enumerate() {
                relevant[row].extend(vec![false; count]);
                candidates[row].extend(same.iter().map(|same| !same));
                weights[row].extend(vec![1.0; count]);
            }
        }
        let device = scores.device();
        let targets = Targets::new(bool_matrix(&relevant, &device))
            .with_candidates(bool_matrix(&candidates, &device))
            .with_weights(float_matrix(&weights, &device, DType::F32));
        (scores, targets)
    }
}

/// A loss and its gradients are those of another.
#[track_caller]
fn assert_same(what: &str, got: &Tensor<1>, want: &Tensor<1>, leaves: [&Tensor<2>; 2], error: f64) {
    let close = |kind: &str, got: &[f64], want: &[f64]| {
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            assert!(
                (got - want).abs() <= error * (1.0 + want.abs()),
                "{what}, {kind}: got {got}, expected {want}"
            );
        }
    };
    close("value", &numbers(got.clone()), &numbers(want.clone()));
    let [got, want] = [got, want].map(|loss| gradients_of(loss, leaves));
    for (kind, (got, want)) in ["queries", "documents"].iter().zip(got.iter().zip(&want)) {
        close(kind, got, want);
    }
}

/// The gradients of queries and documents.
fn gradients_of(loss: &Tensor<1>, leaves: [&Tensor<2>; 2]) -> [Vec<f64>; 2] {
    let gradients = loss.backward();
    leaves.map(|leaf| matrix(leaf.grad(&gradients).expect("a leaf")).concat())
}

#[test]
fn every_direction_is_the_one_that_is_written_out() {
    // Where each run takes a tenth of a second, some of them.
    let step = if is_cpu() { 1 } else { 7 };
    let mut run = 0;
    for device in autodiff_devices() {
        for dtype in precisions() {
            let error = 300.0 * rounding(dtype);
            let queries = embeddings(QUERIES, 0.71, &device, dtype);
            let documents = embeddings(DOCUMENTS, 1.37, &device, dtype);
            let leaves = [&queries, &documents];
            for case in cases(&device) {
                for (index, objective) in objectives().iter().enumerate() {
                    for (same_side, weights) in [
                        (false, [0.5, 0.5]),
                        (true, [0.7, 0.2]),
                        (false, [0.0, 3.0]),
                        (true, [1.0, 0.0]),
                    ] {
                        run += 1;
                        if run % step != 0 {
                            continue;
                        }
                        let what = format!("{}, {index}, {same_side}, {weights:?}", case.name);
                        let of = |back: bool| {
                            let (scores, targets) = case.explicit(leaves, back, same_side);
                            objective.forward(scores, targets)
                        };
                        let want =
                            of(false).mul_scalar(weights[0]) + of(true).mul_scalar(weights[1]);
                        let loss = Bidirectional::new(&**objective)
                            .with_weights(weights)
                            .with_same_side(same_side);
                        let both = || Embeddings::new(queries.clone(), documents.clone());
                        let got = loss.forward(both().with_tile([3, 4]), case.targets.clone());
                        assert_same(&what, &got, &want, leaves, error);
                    }
                }
            }
        }
    }
}

fn lse_pair() -> LsePairLoss {
    LsePairLossConfig::new().with_temperature(0.3).init()
}

#[test]
fn a_matrix_and_shards_are_what_embeddings_are() {
    let device = &autodiff_devices()[0];
    let queries = embeddings(QUERIES, 0.71, device, DType::F32);
    let documents = embeddings(DOCUMENTS, 1.37, device, DType::F32);
    let leaves = [&queries, &documents];
    let error = 300.0 * rounding(DType::F32);
    let parts = |x: &Tensor<2>, first: usize| {
        let rest = x.dims()[0] - first;
        vec![
            x.clone().narrow(0, 0, first),
            x.clone().narrow(0, first, rest),
        ]
    };
    for case in cases(device) {
        for same_side in [false, true] {
            let loss = Bidirectional::new(lse_pair()).with_same_side(same_side);
            let run = |scores: Scores| loss.forward(scores, case.targets.clone());
            let want = || run(Embeddings::new(queries.clone(), documents.clone()).into());
            let shards = Shards::new(parts(&queries, 3), parts(&documents, 5));
            assert_same(case.name, &run(shards.into()), &want(), leaves, error);
            if !same_side {
                let scores = queries.clone().matmul(documents.clone().transpose());
                assert_same(case.name, &run(scores.into()), &want(), leaves, error);
            }
        }
    }
}

#[test]
fn losses_of_queries_and_documents_stand_one_behind_the_other() {
    let device = &autodiff_devices()[0];
    let queries = embeddings(QUERIES, 0.71, device, DType::F32);
    let documents = embeddings(DOCUMENTS, 1.37, device, DType::F32);
    let case = &cases(device)[0];
    for same_side in [false, true] {
        let rows = |back| {
            let (scores, targets) = case.explicit([&queries, &documents], back, same_side);
            numbers(lse_pair().forward_no_reduction(scores, targets))
        };
        let (forth, back) = (rows(false), rows(true));
        for weights in [[0.25, 2.0], [1.0, 0.0], [0.0, 1.0]] {
            let loss = Bidirectional::new(lse_pair())
                .with_weights(weights)
                .with_same_side(same_side);
            let both = || Embeddings::new(queries.clone(), documents.clone());
            let got = numbers(loss.forward_no_reduction(both(), case.targets.clone()));
            let [a, b] = weights;
            let want = forth
                .iter()
                .map(|x| a * x)
                .chain(back.iter().map(|x| b * x));
            let want: Vec<f64> = want.collect();
            assert_eq!(got.len(), QUERIES + DOCUMENTS);
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() < 1e-5 * (1.0 + want), "{got}, {want}");
            }
            let sum = |reduction| {
                let targets = case.targets.clone();
                numbers(loss.forward_with_reduction(both(), targets, reduction))[0]
            };
            let all = sum(Reduction::Sum);
            assert!((all - want.iter().sum::<f64>()).abs() < 1e-4);
            let [forth, back] = [&want[..QUERIES], &want[QUERIES..]].map(|x| x.iter().sum::<f64>());
            let per_query = forth / QUERIES as f64 + back / DOCUMENTS as f64;
            assert!((sum(Reduction::BatchMean) - per_query).abs() < 1e-5);
        }
    }
}

#[test]
fn query_weights_weigh_queries_alone() {
    let device = &device();
    let queries = embeddings(QUERIES, 0.71, device, DType::F32);
    let documents = embeddings(DOCUMENTS, 1.37, device, DType::F32);
    let both = || Embeddings::new(queries.clone(), documents.clone());
    let weights = Tensor::<1>::from_floats([1.0, 0.0, 2.0, 1.0, 0.5, 1.0, 3.0], device);
    for case in cases(device) {
        let plain = case.targets.clone();
        let weighted = plain.clone().with_query_weights(weights.clone());
        let forth = numbers(lse_pair().forward(both(), weighted.clone()))[0];
        let back = Bidirectional::new(lse_pair()).with_weights([0.0, 1.0]);
        let back = numbers(back.forward(both(), plain))[0];
        let got = numbers(Bidirectional::new(lse_pair()).forward(both(), weighted))[0];
        assert!((got - (forth + back) / 2.0).abs() < 1e-5, "{}", case.name);
    }
}

/// Every loss is that of one of the query's, or document's, own positives.
#[test]
fn each_direction_draws_for_itself() {
    let _turn = turn_to_draw();
    let device = &device();
    let queries = embeddings(QUERIES, 0.71, device, DType::F32);
    let documents = embeddings(DOCUMENTS, 1.37, device, DType::F32);
    let case = &cases(device)[0];
    let rand1 = Rand1LhLossConfig::new().init();
    for same_side in [false, true] {
        // The losses of each choice, row by row.
        let mut possible = Vec::new();
        for back in [false, true] {
            let (scores, targets) = case.explicit([&queries, &documents], back, same_side);
            let positives = bools(targets.positives());
            let mut of_rows = vec![Vec::new(); positives.len()];
            for column in 0..positives[0].len() {
                let chosen = vec![column as i32; positives.len()];
                let chosen = Tensor::<1, Int>::from_ints(chosen.as_slice(), device);
                let targets = targets.clone().with_chosen(chosen);
                let losses = numbers(rand1.forward_no_reduction(scores.clone(), targets));
                for (row, loss) in losses.into_iter().enumerate() {
                    if positives[row][column] {
                        of_rows[row].push(loss);
                    }
                }
            }
            possible.extend(of_rows);
        }
        let loss = Bidirectional::new(rand1.clone())
            .with_weights([1.0, 1.0])
            .with_same_side(same_side);
        for _ in 0..3 {
            let both = Embeddings::new(queries.clone(), documents.clone());
            let losses = numbers(loss.forward_no_reduction(both, case.targets.clone()));
            for (loss, possible) in losses.into_iter().zip(&possible) {
                let close = |other: &f64| (loss - other).abs() < 1e-5;
                let is_one = match possible.is_empty() {
                    true => loss == 0.0,
                    false => possible.iter().any(close),
                };
                assert!(is_one, "{same_side}: {loss} is none of {possible:?}");
            }
        }
    }
}

#[test]
fn a_learned_temperature_divides_each_score_once() {
    let device = &autodiff_devices()[0];
    let queries = embeddings(QUERIES, 0.71, device, DType::F32);
    let documents = embeddings(DOCUMENTS, 1.37, device, DType::F32);
    let leaves = [&queries, &documents];
    let case = &cases(device)[1];
    let temperature = LearnableTemperatureConfig::new()
        .with_initial(0.3)
        .init(device);
    for same_side in [false, true] {
        let run = |loss: LsePairLoss, scores: Scores| {
            Bidirectional::new(loss)
                .with_same_side(same_side)
                .forward(scores, case.targets.clone())
        };
        let both = || Embeddings::new(queries.clone(), documents.clone());
        let want = run(lse_pair(), both().into());
        let got = run(LsePairLossConfig::new().init(), temperature.apply(both()));
        assert_same("temperature", &got, &want, leaves, 1e-5);
    }
}

#[test]
fn half_precision_is_as_good_as_its_rounded_embeddings() {
    let device = &autodiff_devices()[0];
    for dtype in [DType::BF16, DType::F16] {
        if !crate::device::supports(dtype) {
            continue;
        }
        let half = [
            embeddings(QUERIES, 0.71, device, dtype),
            embeddings(DOCUMENTS, 1.37, device, dtype),
        ];
        let wide = half.each_ref().map(|x| {
            let data = x.clone().into_data();
            Tensor::<2>::from_data(data, (device, DType::F32)).require_grad()
        });
        let run = |[queries, documents]: &[Tensor<2>; 2], same_side: bool| {
            Bidirectional::new(lse_pair())
                .with_same_side(same_side)
                .forward(
                    Embeddings::new(queries.clone(), documents.clone()),
                    cases(device)[1].targets.clone(),
                )
        };
        for same_side in [false, true] {
            let (got, want) = (run(&half, same_side), run(&wide, same_side));
            assert_eq!(got.dtype(), DType::F32);
            let [value, exact] = [&got, &want].map(|loss| numbers(loss.clone())[0]);
            assert!((value - exact).abs() < 0.02 * exact, "{value}, {exact}");
            let (got, want) = (
                gradients_of(&got, half.each_ref()),
                gradients_of(&want, wide.each_ref()),
            );
            for (got, want) in got.concat().iter().zip(want.concat()) {
                assert!((got - want).abs() < 0.01, "{got}, {want}");
            }
        }
    }
}

#[test]
fn what_has_no_positive_and_what_is_ignored_is_not_read() {
    let device = &autodiff_devices()[0];
    // The second document is nobody's candidate, and NaN.
    let rows = [[0.5, -0.25], [f32::NAN, f32::INFINITY], [0.75, 0.5]];
    let documents = Tensor::<2>::from_floats(rows, device).require_grad();
    let queries = Tensor::<2>::from_floats([[1.0, 0.5], [-0.5, 0.25]], device).require_grad();
    let targets = Targets::new(bool_matrix(
        &[vec![true, true, false], vec![false, false, true]],
        device,
    ));
    let targets = targets.with_candidates(bool_matrix(
        &[vec![true, false, true], vec![true, false, true]],
        device,
    ));
    let loss = Bidirectional::new(lse_pair());
    let loss = loss.forward(Embeddings::new(queries.clone(), documents.clone()), targets);
    assert!(numbers(loss.clone())[0] > 0.0);
    let gradients = gradients_of(&loss, [&queries, &documents]);
    assert_eq!(gradients[1][2..4], [0.0, 0.0]);
    assert!(gradients.concat().iter().all(|x| x.is_finite()));
    // Nobody has a positive: a zero that can be differentiated.
    let none = Targets::new(bool_matrix(&vec![vec![false; 3]; 2], device));
    for same_side in [false, true] {
        let loss = Bidirectional::new(lse_pair()).with_same_side(same_side);
        let both = Embeddings::new(queries.clone(), documents.clone());
        let loss = loss.forward(both, none.clone());
        assert_eq!(numbers(loss.clone()), [0.0]);
        assert!(
            gradient_of(&loss, &queries)
                .concat()
                .iter()
                .all(|&x| x == 0.0)
        );
    }
}

#[test]
fn stored_documents_of_a_bank_are_documents_like_others() {
    let device = &device();
    let queries = embeddings(3, 0.71, device, DType::F32);
    let documents = embeddings(4, 1.37, device, DType::F32);
    let mut bank = MemoryBank::new(2).unwrap();
    bank.push(embeddings(2, 0.9, device, DType::F32), &["d2", "d9"])
        .unwrap();
    let relevant = [vec!["d0"], vec!["d1", "d2"], vec!["d3"]];
    let ids = ["d0", "d1", "d2", "d3"];
    let (all, targets) = bank
        .candidates(documents, &ids, &relevant, Stored::Positive)
        .unwrap();
    let loss = Bidirectional::new(lse_pair()).with_same_side(true);
    let got = numbers(loss.forward(Embeddings::new(queries.clone(), all.clone()), targets))[0];
    let all_ids = ["d0", "d1", "d2", "d3", "d2", "d9"];
    let targets = Targets::from_ids(&relevant, &all_ids, device).unwrap();
    let want = numbers(loss.forward(Embeddings::new(queries, all), targets))[0];
    assert!((got - want).abs() < 1e-6);
}

#[test]
#[should_panic(
    expected = "with_same_side: expected embeddings, which queries are scored against queries from, \
                got a matrix of scores"
)]
fn the_same_side_needs_embeddings() {
    let scores = Tensor::<2>::zeros([2, 3], &device());
    let targets = Targets::new(Tensor::full([2, 3], true, &device()));
    let loss = Bidirectional::new(lse_pair()).with_same_side(true);
    let _ = loss.forward(scores, targets);
}

#[test]
#[should_panic(
    expected = "Bidirectional::with_weights: expected finite weights that are not negative, one of \
                them above 0, got [0.0, 0.0]"
)]
fn one_direction_has_weight() {
    let _ = Bidirectional::new(lse_pair()).with_weights([0.0, 0.0]);
}

#[test]
#[should_panic(expected = "with_query_ids: expected an id for each of 2 queries, got 3")]
fn there_is_an_id_for_each_query() {
    let targets = Targets::new(Tensor::full([2, 3], true, &device()));
    let _ = targets.with_query_ids(&[1, 2, 3]);
}

#[test]
#[should_panic(expected = "with_document_ids: expected an id for each of 3 documents, got 2")]
fn there_is_an_id_for_each_document() {
    let targets = Targets::new(Tensor::full([2, 3], true, &device()));
    let _ = targets.with_document_ids(&["a", "b"]);
}

#[test]
#[should_panic(
    expected = "transpose: expected targets without chosen positives, got one chosen positive a query"
)]
fn a_choice_of_the_queries_says_nothing_of_documents() {
    let targets = Targets::new(Tensor::full([2, 3], true, &device()));
    let targets = targets.with_chosen(Tensor::from_ints([0, 1], &device()));
    let scores = Tensor::<2>::zeros([2, 3], &device());
    let _ = Bidirectional::new(lse_pair()).forward(scores, targets);
}

/// What was judged irrelevant, and what is padding, is nobody's positive: two queries that have
/// it in common are negatives of each other.
#[test]
fn only_positives_that_count_are_shared() {
    let device = device();
    let queries = Tensor::<2>::from_floats([[1.0, 0.0], [0.5, 0.5]], &device);
    let documents = Tensor::<2>::from_floats([[0.3, 0.0], [0.1, 0.5], [0.2, -0.1]], &device);
    let relevant = [vec![("a", 1.0), ("z", 0.0)], vec![("b", 1.0), ("z", 0.0)]];
    let graded = Targets::from_weighted_ids(&relevant, &["a", "b", "z"], &device).unwrap();
    let mask = || bool_matrix(&[vec![true, false, true], vec![false, true, true]], &device);
    let candidates = bool_matrix(&[vec![true, true, false], vec![true, true, false]], &device);
    let weights = float_matrix(
        &[vec![1.0, 1.0, 0.0], vec![1.0, 1.0, 0.0]],
        &device,
        DType::F32,
    );
    let loss = Bidirectional::new(LsePairLossConfig::new().init());
    let loss = loss.with_weights([1.0, 0.0]).with_same_side(true);
    for targets in [
        graded,
        Targets::new(mask()).with_candidates(candidates),
        Targets::new(mask()).with_weights(weights),
    ] {
        let both = Embeddings::new(queries.clone(), documents.clone());
        let got = numbers(loss.forward_no_reduction(both, targets))[0];
        let want = (1.0 + (0.1f64 - 0.3).exp() + (0.5f64 - 0.3).exp()).ln();
        assert!((got - want).abs() < 1e-5, "{got}, {want}");
    }
}

#[test]
fn a_side_may_be_empty() {
    let device = &autodiff_devices()[0];
    if !is_cpu() {
        eprintln!("skipped: a sum over nothing is any number on {device:?}");
        return;
    }
    if !multiplies_nothing() {
        return;
    }
    for counts @ [rows, columns] in [[0, 3], [3, 0], [0, 0]] {
        let leaf = |rows: usize| Tensor::<2>::ones([rows, 4], (device, DType::F32)).require_grad();
        let targets = || Targets::new(Tensor::full(counts, false, device));
        for same_side in [false, true] {
            let both = Bidirectional::new(lse_pair()).with_same_side(same_side);
            let nested = Matryoshka::new(both.clone(), &[4, 2]);
            let embeddings = || Embeddings::new(leaf(rows), leaf(columns));
            let shards = || Shards::new(vec![leaf(rows)], vec![leaf(columns)]);
            for loss in [
                both.forward(embeddings(), targets()),
                both.forward(shards(), targets()),
                nested.forward(embeddings(), targets()),
                nested.forward(shards(), targets()),
            ] {
                assert_eq!(numbers(loss.clone()), [0.0], "{counts:?}");
                let _ = loss.backward();
            }
        }
    }
}

/// Lists of what queries ignore are no longer than what they ignore.
#[test]
fn many_positives_in_common_take_the_time_of_one() {
    let device = &device();
    let count = if is_cpu() { 4000 } else { 200 };
    let relevant: Vec<Vec<usize>> = (0..count).map(|query| vec![query % 10]).collect();
    let ids: Vec<usize> = (0..count).map(|document| document % 10).collect();
    let targets = Targets::from_ids(&relevant, &ids, device).unwrap();
    let rows = |rows: usize| Tensor::<2>::ones([rows, 1], (device, DType::F32));
    let loss = Bidirectional::new(lse_pair()).with_weights([1.0, 1.0]);
    let loss = loss.with_same_side(true);
    let both = Embeddings::new(rows(count), rows(count));
    let losses = numbers(loss.forward_no_reduction(both, targets));
    // A tenth is positive, and a tenth of the own side ignored.
    let negatives = 2.0 * 0.9 * count as f64;
    let want = (1.0 + 0.1 * count as f64 * negatives).ln();
    assert!(
        losses.iter().all(|loss| (loss - want).abs() < 1e-3),
        "{want}, {:?}",
        losses[0]
    );
}

#[cfg(all(feature = "flex", feature = "ndarray"))]
#[test]
#[allow(deprecated)]
fn losses_of_shards_come_together_on_the_device_of_the_first_queries() {
    let (here, there) = (Device::flex().autodiff(), Device::ndarray().autodiff());
    let queries = embeddings(QUERIES, 0.71, &here, DType::F32);
    let documents = embeddings(DOCUMENTS, 1.37, &here, DType::F32);
    let far = embeddings(DOCUMENTS, 1.37, &there, DType::F32);
    let case = &cases(&here)[1];
    for same_side in [false, true] {
        for weights in [[0.5, 0.5], [0.0, 1.0]] {
            let loss = Bidirectional::new(lse_pair());
            let loss = loss.with_weights(weights).with_same_side(same_side);
            let shards = Shards::new(vec![queries.clone()], vec![far.clone()]);
            let got = loss.forward(shards, case.targets.clone());
            assert!(got.device() == here);
            let rows = Shards::new(vec![queries.clone()], vec![far.clone()]);
            let rows = loss.forward_no_reduction(rows, case.targets.clone());
            assert_eq!(rows.dims(), [QUERIES + DOCUMENTS]);
            let both = Embeddings::new(queries.clone(), documents.clone());
            let want = loss.forward(both, case.targets.clone());
            let [got, want] = [got, want].map(|loss| numbers(loss)[0]);
            assert!((got - want).abs() < 1e-5, "{got}, {want}");
        }
    }
}
