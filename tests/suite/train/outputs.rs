//! What a step gives: a loss that weighs as much as its queries.

use burn::{
    data::dataloader::Progress,
    tensor::{Tensor, TensorData},
    train::{
        ItemLazy,
        metric::{Adaptor, LossInput, LossMetric, Metric, MetricMetadata, Numeric, NumericEntry},
    },
};
use burn_multi_positive::{
    Targets,
    train::{RankingInput, RetrievalOutput},
};

use crate::{batch::bool_matrix, device::device};

/// The mean that Burn's metric finds over batches, and the weight of the last one.
fn mean_loss(outputs: Vec<RetrievalOutput>) -> (f64, usize) {
    let mut metric = LossMetric::new();
    let metadata = MetricMetadata {
        progress: Progress::new(1, 1, None),
        iteration: None,
        lr: None,
    };
    for output in outputs {
        let input: LossInput = output.sync().unwrap().adapt();
        metric.update(&input, &metadata).unwrap();
    }
    let Some(NumericEntry::Aggregated { count, .. }) = metric.value() else {
        panic!("a batch has a loss");
    };
    metric.compute().unwrap();
    (metric.final_value().current(), count)
}

fn loss(value: f32) -> Tensor<1> {
    Tensor::from_data(TensorData::from([value]), &device().autodiff())
}

/// Four queries, three of which have a positive that counts.
fn forms() -> Vec<(&'static str, Targets)> {
    let device = device();
    let relevant = [vec![0], vec![1, 2], vec![], vec![2]];
    let documents = [0, 1, 2];
    let ids = Targets::from_ids(&relevant, &documents, &device).unwrap();
    let weighted = [
        vec![(0, 1.0)],
        vec![(1, 0.0), (2, 2.0)],
        vec![(1, 0.0)],
        vec![(2, 1.0)],
    ];
    let weighted = Targets::from_weighted_ids(&weighted, &documents, &device).unwrap();
    let mask = ids.positives();
    let all = bool_matrix(
        &[
            vec![true, true, true],
            vec![true, true, true],
            vec![true, true, false],
            vec![true, true, true],
        ],
        &device,
    );
    let four = Targets::from_ids(&[vec![0], vec![1], vec![2], vec![2]], &documents, &device);
    vec![
        ("ids", ids.clone()),
        ("ids with weights", weighted),
        ("mask", mask.into()),
        ("candidates", four.unwrap().with_candidates(all)),
        ("weights", ids.with_weights(Tensor::ones([4, 3], &device))),
    ]
}

#[test]
fn a_loss_weighs_as_much_as_its_active_queries() {
    for (form, targets) in forms() {
        let one = Targets::from_groups(&[1], 1, &device()).unwrap();
        let outputs = vec![
            RetrievalOutput::new(loss(5.0), &one),
            RetrievalOutput::new(loss(1.0), &targets),
        ];
        let (mean, count) = mean_loss(outputs);
        assert_eq!(count, 3, "{form}");
        assert!((mean - 2.0).abs() < 1e-6, "{form}: {mean}");
    }
}

/// `BatchMean` is over all queries.
#[test]
fn a_loss_may_be_the_mean_over_other_queries() {
    let one = Targets::from_groups(&[1], 1, &device()).unwrap();
    let some = Targets::from_groups(&[1, 0, 1, 0], 2, &device()).unwrap();
    let outputs = vec![
        RetrievalOutput::new(loss(6.0), &one),
        RetrievalOutput::new(loss(1.0), &some).with_queries(4),
    ];
    assert_eq!(mean_loss(outputs), (2.0, 4));
}

/// More pairs than are looked at together.
#[test]
fn the_active_queries_of_many_pairs_are_counted() {
    let queries = 5000;
    let labels = |count: i64, step: i64| {
        let labels: Vec<i64> = (0..count).map(|i| i * step).collect();
        Tensor::<1, burn::tensor::Int>::from_data(TensorData::from(&labels[..]), &device())
    };
    // Every second query has a document, the first 3,500 of them.
    let targets = Targets::from_labels(labels(queries, 1), labels(3500, 2));
    let (_, count) = mean_loss(vec![RetrievalOutput::new(loss(1.0), &targets)]);
    assert_eq!(count, 2500);
}

#[test]
fn a_batch_without_a_positive_weighs_nothing() {
    let none = Targets::from_groups(&[0, 0], 2, &device()).unwrap();
    let some = Targets::from_groups(&[1, 0], 2, &device()).unwrap();
    let mask = Targets::new(none.positives());
    for none in [none, mask] {
        let outputs = vec![
            RetrievalOutput::new(loss(2.0), &some),
            RetrievalOutput::new(loss(0.0), &none),
        ];
        assert_eq!(mean_loss(outputs), (2.0, 0));
    }
}

#[test]
fn an_output_without_a_loss_weighs_nothing() {
    let some = Targets::from_groups(&[1, 0], 2, &device()).unwrap();
    let ranking = RankingInput::from_rankings(&[vec!["a"]], &[vec![("a", 1)]]);
    let outputs = vec![RetrievalOutput::new(loss(2.0), &some), ranking.into()];
    assert_eq!(mean_loss(outputs), (2.0, 0));
}

#[test]
#[should_panic(expected = "loss: expected shape [1], got [2]")]
fn a_loss_of_each_query_panics() {
    let targets = Targets::from_groups(&[1, 1], 2, &device()).unwrap();
    let _ = RetrievalOutput::new(Tensor::ones([2], &device()), &targets);
}
