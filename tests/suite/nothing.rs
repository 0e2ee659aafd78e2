//! Batches that lack queries, documents or dimensions: losses of 0, gradients of 0, no panic.

use crate::device::{autodiff_devices, device, is_cpu, multiplies_nothing, turn_to_draw};
use burn::{
    nn::loss::Reduction,
    tensor::{Bool, DType, Int, Tensor},
};
use burn_multi_positive::{
    Bidirectional, CircleLossConfig, DclLossConfig, Embeddings, ExpectedRand1LhLossConfig,
    FalseNegatives, FocalInfoNceLossConfig, Forward, JointLhLossConfig, LearnableBiasConfig,
    LearnableTemperatureConfig, LsePairLossConfig, MarginMseLoss, MarginRankingLossConfig,
    Matryoshka, MemoryBank, MultiSimilarityLossConfig, Objective, PositiveThreshold,
    PowerMeanLossConfig, Rand1LhLossConfig, Scores, Shards, SigmoidLossConfig, SpreadOutLossConfig,
    Stored, SumMargLhLossConfig, Targets,
};

/// Every combination of some and none.
const DIMS: [[usize; 3]; 8] = [
    [0, 0, 0],
    [0, 0, 4],
    [0, 3, 0],
    [0, 3, 4],
    [2, 0, 0],
    [2, 0, 4],
    [2, 3, 0],
    [2, 3, 4],
];

fn objectives() -> Vec<Box<dyn Objective>> {
    let rule = FalseNegatives::new(PositiveThreshold::Mean);
    let believed = LsePairLossConfig::new().with_false_negatives(Some(rule));
    vec![
        Box::new(LsePairLossConfig::new().init()),
        Box::new(believed.with_hardness(2.0).init()),
        Box::new(JointLhLossConfig::new().init()),
        Box::new(SumMargLhLossConfig::new().init()),
        Box::new(Rand1LhLossConfig::new().init()),
        Box::new(ExpectedRand1LhLossConfig::new().init()),
        Box::new(PowerMeanLossConfig::new().init()),
        Box::new(DclLossConfig::new().init()),
        Box::new(MarginRankingLossConfig::new().init()),
        Box::new(MultiSimilarityLossConfig::new().init()),
        Box::new(CircleLossConfig::new().init()),
        Box::new(FocalInfoNceLossConfig::new().init()),
        Box::new(SigmoidLossConfig::new().init()),
    ]
}

/// Targets of every form that there is of so many queries and documents.
fn forms([queries, documents]: [usize; 2]) -> Vec<(&'static str, Targets)> {
    let device = &device();
    let mask = || Tensor::<2, Bool>::full([queries, documents], true, device);
    let numbers = |count: usize| Tensor::<1, Int>::zeros([count], device);
    let weights = |dims: [usize; 2]| Tensor::<2>::ones(dims, (device, DType::F32));
    let mut forms = vec![
        ("mask", Targets::new(mask())),
        ("candidates", Targets::new(mask()).with_candidates(mask())),
        (
            "weights",
            Targets::new(mask()).with_weights(weights([queries, documents])),
        ),
        (
            "query weights",
            Targets::new(mask()).with_query_weights(Tensor::ones([queries], (device, DType::F32))),
        ),
        (
            "labels",
            Targets::from_labels(numbers(queries), numbers(documents)),
        ),
        (
            "columns",
            Targets::from_columns(numbers(queries), documents),
        ),
        (
            "teacher",
            Targets::from_teacher(weights([queries, documents]), 1.0),
        ),
    ];
    if queries > 0 && documents > 0 {
        let relevant: Vec<Vec<usize>> = (0..queries).map(|query| vec![query]).collect();
        let ids: Vec<usize> = (0..documents).collect();
        let targets = Targets::from_ids(&relevant, &ids, device).expect("targets");
        forms.push(("ids", targets));
    }
    forms
}

/// A loss of 0 that can be differentiated, if it depends on anything.
fn assert_harmless(what: &str, is_empty: bool, loss: Tensor<1>) {
    if loss.is_tracked() {
        let _ = loss.backward();
    }
    let losses: Vec<f32> = loss.into_data().iter().collect();
    // A sum over nothing is any number on some devices.
    if is_empty && is_cpu() {
        assert!(losses.iter().all(|loss| *loss == 0.0), "{what}: {losses:?}");
    }
}

#[test]
fn every_loss_takes_batches_of_nothing() {
    if !is_cpu() || !multiplies_nothing() {
        return;
    }
    // One of the losses draws.
    let _turn = turn_to_draw();
    for device in autodiff_devices() {
        let temperature = LearnableTemperatureConfig::new().init(&device);
        let bias = LearnableBiasConfig::new().init(&device);
        for [queries, documents, dimensions] in DIMS {
            let is_empty = queries == 0 || documents == 0;
            let leaf = |rows: usize, columns: usize| {
                Tensor::<2>::ones([rows, columns], (&device, DType::F32)).require_grad()
            };
            let embeddings =
                || Embeddings::new(leaf(queries, dimensions), leaf(documents, dimensions));
            let shards = || {
                let split = |rows: usize| vec![leaf(0, dimensions), leaf(rows, dimensions)];
                Shards::new(split(queries), split(documents))
            };
            let scores = || -> Vec<(&str, Scores)> {
                vec![
                    ("matrix", leaf(queries, documents).into()),
                    ("embeddings", embeddings().into()),
                    ("tile", embeddings().with_tile(1).into()),
                    ("shards", shards().into()),
                    ("temperature", temperature.apply(embeddings())),
                    ("bias", bias.apply(temperature.apply(embeddings()))),
                ]
            };
            for (form, targets) in forms([queries, documents]) {
                for (index, objective) in objectives().iter().enumerate() {
                    for (place, (from, _)) in scores().into_iter().enumerate() {
                        let what = format!(
                            "objective {index}, {form}, {from}, {queries} x {documents} x {dimensions}"
                        );
                        // A graph has one backward pass.
                        let scores = || scores().swap_remove(place).1;
                        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::BatchMean] {
                            let loss = objective.forward_with_reduction(
                                scores(),
                                targets.clone(),
                                reduction,
                            );
                            assert_harmless(&what, is_empty, loss);
                        }
                        let rows = objective.forward_no_reduction(scores(), targets.clone());
                        assert_eq!(rows.dims(), [queries], "{what}");
                        assert_harmless(&what, is_empty, rows.sum());
                    }
                }
                let what = format!("{form}, {queries} x {documents} x {dimensions}");
                let objective = || LsePairLossConfig::new().init();
                let both = |same_side| Bidirectional::new(objective()).with_same_side(same_side);
                let can_transpose = form != "query weights";
                if can_transpose {
                    let loss = both(false).forward(leaf(queries, documents), targets.clone());
                    assert_harmless(&what, is_empty, loss);
                }
                for same_side in [false, true] {
                    let loss = both(same_side).forward(embeddings(), targets.clone());
                    assert_harmless(&what, is_empty, loss);
                    // Burn's CPU backend does not add slices of nothing that begin at an offset.
                    if !is_empty && dimensions > 0 {
                        let loss = both(same_side).forward(shards(), targets.clone());
                        assert_harmless(&what, is_empty, loss);
                    }
                }
                if dimensions > 0 {
                    let sizes = [dimensions, 1];
                    let nested = Matryoshka::new(objective(), &sizes);
                    let loss = nested.forward(embeddings(), targets.clone());
                    assert_harmless(&what, is_empty, loss);
                    let nested = Matryoshka::new(both(true), &sizes);
                    let loss = nested.forward(embeddings(), targets.clone());
                    assert_harmless(&what, is_empty, loss);
                }
                let teacher = Tensor::ones([queries, documents], &device);
                let loss = MarginMseLoss::new().forward(
                    leaf(queries, documents),
                    teacher,
                    targets.clone(),
                );
                assert_harmless(&what, is_empty, loss);
                let rule = FalseNegatives::new(PositiveThreshold::Weakest);
                let guide = || embeddings();
                let guided = targets.clone().without_false_negatives(guide(), rule);
                assert_eq!(guided.dims(), [queries, documents], "{what}");
                assert_eq!(guided.positives().dims(), [queries, documents], "{what}");
            }
            for first_moment in [false, true] {
                let config = SpreadOutLossConfig::new().with_first_moment(first_moment);
                let loss = config.init().forward(leaf(documents, dimensions));
                assert_harmless("spread out", documents == 0, loss);
            }
        }
    }
}

#[test]
fn a_bank_takes_documents_of_no_dimensions_and_no_documents() {
    let device = device();
    for dimensions in [0, 3] {
        let rows = |count: usize| Tensor::<2>::ones([count, dimensions], (&device, DType::F32));
        let mut bank = MemoryBank::new(3).expect("a bank");
        for count in [0, 2, 0, 2, 4] {
            let ids: Vec<usize> = (0..count).collect();
            bank.push(rows(count), &ids).expect("room");
            let relevant = [vec![0usize], vec![]];
            let candidates = bank.candidates(rows(0), &[], &relevant, Stored::Ignored);
            match bank.is_empty() {
                true => assert!(candidates.is_err()),
                false => {
                    let (candidates, targets) = candidates.expect("candidates");
                    assert_eq!(candidates.dims(), [bank.len(), dimensions]);
                    assert_eq!(targets.dims(), [2, bank.len()]);
                }
            }
            let restored = MemoryBank::from_record(bank.to_record(), &device).expect("a bank");
            assert_eq!(restored.ids().len(), bank.ids().len());
        }
    }
}
