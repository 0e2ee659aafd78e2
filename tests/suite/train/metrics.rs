//! Rankings measured batch by batch, and at the end of an epoch.

use burn::{
    data::dataloader::Progress,
    tensor::{DType, Tensor, TensorData},
    train::metric::{Metric, MetricMetadata, Numeric, NumericEntry},
};
use burn_multi_positive::{
    Targets,
    evaluation::Measure,
    train::{RankingInput, RankingMetric},
};

use crate::{
    batch::bool_matrix,
    device::{device, supports},
    rankings::{Case, measures},
};

fn metadata() -> MetricMetadata {
    MetricMetadata {
        progress: Progress::new(1, 1, None),
        iteration: Some(1),
        lr: None,
    }
}

fn matrix(rows: &[Vec<f32>], columns: usize) -> Tensor<2> {
    let data = TensorData::new(rows.concat(), [rows.len(), columns]);
    Tensor::from_data(data, (&device(), DType::F32))
}

/// The value of an epoch.
fn epoch(measure: Measure, batches: &[RankingInput]) -> f64 {
    let mut metric = RankingMetric::new(measure);
    epoch_of(&mut metric, batches)
}

fn epoch_of(metric: &mut RankingMetric, batches: &[RankingInput]) -> f64 {
    for batch in batches {
        metric.update(batch, &metadata()).unwrap();
    }
    let entry = metric.compute().unwrap();
    let value = metric.final_value().current();
    assert_eq!(entry.serialized, format!("{value},final"));
    metric.clear();
    value
}

#[track_caller]
fn assert_is_mean(got: f64, values: &[f64], what: &str) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!(
        (got - mean).abs() < 1e-6,
        "{what}: got {got}, pytrec_eval says {mean}"
    );
}

/// Embeddings whose products are the scores: axes, and columns of scores.
fn embeddings(case: &Case) -> [Tensor<2>; 2] {
    let [queries, documents] = [case.scores.len(), case.ids.len()];
    let scores = matrix(&case.scores, documents);
    [
        Tensor::<2>::eye(queries, &device()).cast(DType::F32),
        scores.transpose(),
    ]
}

#[test]
fn scores_rankings_and_embeddings_are_measured_as_trec_eval_does() {
    for case in Case::all() {
        let judged = case.judged();
        let ids = &case.ids;
        // In batches of three queries.
        let batches = case.scores.chunks(3).zip(judged.chunks(3));
        let scores: Vec<RankingInput> = batches
            .map(|(scores, judged)| {
                RankingInput::from_scores(matrix(scores, ids.len()), ids, judged)
            })
            .collect();
        let ranker = burn_multi_positive::evaluation::Ranker::new(ids);
        let ranked = |scores: &Vec<f32>| -> Vec<String> {
            let ranked = ranker.rank(scores, 1000).into_iter();
            ranked.map(|document| ids[document].clone()).collect()
        };
        let rankings: Vec<Vec<String>> = case.scores.iter().map(ranked).collect();
        let rankings = [RankingInput::from_rankings(&rankings, &judged)];
        // A set of documents that grows, and one that is there before the queries.
        let [queries, documents] = embeddings(&case);
        let growing: Vec<RankingInput> = (0..4)
            .map(|part| {
                let of = |all: usize| part * all / 4..(part + 1) * all / 4;
                let [rows, columns] = [of(8), of(ids.len())];
                RankingInput::from_embeddings(
                    queries.clone().slice([rows.clone()]),
                    documents.clone().slice([columns.clone()]),
                    &ids[columns],
                    &judged[rows],
                )
            })
            .collect();
        let fixed = [
            RankingInput::from_embeddings(queries.clone().slice(0..0), documents.clone(), ids, &[]),
            RankingInput::from_embeddings(
                queries.clone(),
                documents.clone().slice(0..0),
                &[],
                &judged,
            ),
        ];
        for measure in measures() {
            let want = case.values(measure);
            let forms: [(&str, &[RankingInput]); 4] = [
                ("scores", &scores),
                ("rankings", &rankings),
                ("growing", &growing),
                ("fixed", &fixed),
            ];
            for (form, batches) in forms {
                let what = format!("{} {form} {measure}", case.name);
                assert_is_mean(epoch(measure, batches), &want, &what);
            }
        }
    }
}

/// The documents of the whole epoch count, also those that come after a query.
#[test]
fn a_growing_set_is_ranked_when_the_epoch_ends() {
    let queries = matrix(&[vec![1.0]], 1);
    let [near, far] = [2.0, 1.0].map(|score| matrix(&[vec![score]], 1));
    let judged = [vec![("far", 1)]];
    let first = RankingInput::from_embeddings(queries.clone(), far, &["far"], &judged);
    let second = RankingInput::from_embeddings(queries.slice(0..0), near.clone(), &["near"], &[]);
    let mut metric = RankingMetric::mrr(10);
    let entry = metric.update(&first, &metadata()).unwrap();
    assert!(entry.is_not_available());
    assert!(metric.value().is_none() && metric.running_value().is_none());
    let mut alone = metric.clone();
    assert_eq!(
        alone.compute().unwrap().formatted,
        "epoch 1.0000 - batch N/A"
    );
    // A point of the dashboard's curve.
    assert!(matches!(alone.final_value(), NumericEntry::Value(1.0)));
    assert_eq!(epoch_of(&mut metric, std::slice::from_ref(&second)), 0.5);
    // The next epoch begins with nothing, and another one ranks anew.
    assert_eq!(epoch_of(&mut metric, std::slice::from_ref(&first)), 1.0);
    assert_eq!(epoch_of(&mut metric, &[first.clone(), second]), 0.5);
    // Again, with the same embeddings of another id.
    let again = RankingInput::from_embeddings(near.clone().slice(0..0), near, &["far"], &[]);
    assert_eq!(epoch_of(&mut metric, &[first, again]), 1.0);
}

#[test]
fn a_batch_of_scores_has_a_value_of_its_own() {
    let scores = matrix(&[vec![0.9, 0.1], vec![0.2, 0.8], vec![0.3, 0.7]], 2);
    let judged = [vec![("a", 1)], vec![("a", 1)], vec![]];
    let input = RankingInput::from_scores(scores, &["a", "b"], &judged);
    let mut metric = RankingMetric::mrr(10);
    let entry = metric.update(&input, &metadata()).unwrap();
    // Nobody judged the third.
    assert_eq!(entry.serialized, "0.75,2");
    assert!(matches!(
        metric.value(),
        Some(NumericEntry::Aggregated { count: 2, .. })
    ));
    let nothing = RankingInput::from_rankings::<&str>(&[], &[]);
    assert!(
        metric
            .update(&nothing, &metadata())
            .unwrap()
            .is_not_available()
    );
    assert!(metric.value().is_none());
    assert_eq!(epoch_of(&mut metric, &[]), 0.75);
}

#[test]
fn an_epoch_without_judgements_is_not_a_number() {
    for measure in measures() {
        assert!(epoch(measure, &[]).is_nan(), "{measure}");
        let [queries, documents] = [matrix(&[vec![1.0]], 1), matrix(&[vec![1.0]], 1)];
        let input = RankingInput::from_embeddings(queries, documents, &["a"], &[vec![]]);
        assert!(epoch(measure, &[input]).is_nan(), "{measure}");
    }
}

/// A query that finds nothing at all counts.
#[test]
fn queries_without_documents_count_as_zero() {
    let queries = matrix(&[vec![1.0, 2.0]], 2);
    let documents = queries.clone().slice(0..0);
    let judged = [vec![("a".to_string(), 1)]];
    let input = RankingInput::from_embeddings(queries, documents, &[], &judged);
    assert_eq!(epoch(Measure::Ndcg(10), &[input]), 0.0);
    let input = RankingInput::from_scores(matrix(&[vec![]], 0), &[], &judged);
    assert_eq!(epoch(Measure::Ndcg(10), &[input]), 0.0);
}

/// Numbers are text: 9 is behind 10 in their order, and so before it in a tie.
#[test]
fn ids_may_be_numbers() {
    let scores = matrix(&[vec![0.5, 0.5]], 2);
    let input = RankingInput::from_scores(scores, &[10, 9], &[vec![(10, 1)]]);
    assert_eq!(epoch(Measure::Mrr(10), &[input]), 0.5);
}

#[test]
fn a_metric_that_looks_deeper_than_others_ranks_again() {
    let documents: Vec<usize> = (0..2500).collect();
    let scores: Vec<f32> = documents.iter().map(|id| -(*id as f32)).collect();
    let scores = matrix(&[scores], documents.len());
    let judged = [vec![(2, 1), (1999, 1)]];
    let input = [RankingInput::from_scores(scores, &documents, &judged)];
    assert_eq!(epoch(Measure::Recall(10), &input), 0.5);
    assert_eq!(epoch(Measure::Recall(1999), &input), 0.5);
    assert_eq!(epoch(Measure::Recall(2000), &input), 1.0);
    assert_eq!(epoch(Measure::Recall(10), &input), 0.5);
}

#[test]
fn half_precision_embeddings_are_multiplied_in_single() {
    if !supports(DType::F16) {
        return;
    }
    // In f16 both products are 2048.
    let queries = matrix(&[vec![1.0, 1.0]], 2).cast(DType::F16);
    let documents = matrix(&[vec![2048.0, 0.0], vec![2048.0, 0.75]], 2).cast(DType::F16);
    let judged = [vec![("a", 1)]];
    let input = RankingInput::from_embeddings(queries, documents, &["b", "a"], &judged);
    assert_eq!(epoch(Measure::Mrr(10), &[input]), 1.0);
}

/// Targets are judgements: weights are gains, and what is ignored is not ranked.
#[test]
fn targets_of_a_loss_are_judgements() {
    let scores = matrix(
        &[
            vec![0.9, 0.8, 0.7, 0.6],
            vec![0.1, 0.2, 0.3, 0.4],
            vec![0.5, 0.6, 0.7, 0.8],
        ],
        4,
    );
    let [no, yes] = [false, true];
    let positives = [vec![no, yes, no, yes], vec![no, yes, no, no], vec![no; 4]];
    let candidates = [
        vec![no, yes, yes, yes],
        vec![yes, yes, no, yes],
        vec![yes; 4],
    ];
    let weights = matrix(&[vec![1.0, 1.0, 1.0, 2.0], vec![1.0; 4], vec![1.0; 4]], 4);
    let mask = || bool_matrix(&positives, &device());
    let targets = Targets::new(mask());
    let input = RankingInput::from_targets(scores.clone(), targets.clone());
    assert_eq!(
        epoch(Measure::Mrr(10), &[input]),
        (1.0 / 2.0 + 1.0 / 3.0) / 2.0
    );

    let targets = targets.with_candidates(bool_matrix(&candidates, &device()));
    let input = RankingInput::from_targets(scores.clone(), targets.clone());
    assert_eq!(epoch(Measure::Mrr(10), &[input]), (1.0 + 1.0 / 2.0) / 2.0);

    let targets = targets.with_weights(weights);
    let input = [RankingInput::from_targets(scores.clone(), targets)];
    let [second, third] = [2, 3].map(|rank: i32| f64::from(rank + 1).log2());
    let ideal = 2.0 + 1.0 / second;
    // By the first query: 1 at the first rank, 2 at the third.
    let [one, two] = [(1.0 + 2.0 / third) / ideal, 1.0 / second];
    let got = epoch(Measure::Ndcg(10), &input);
    assert!((got - (one + two) / 2.0).abs() < 1e-6, "{got}");

    // Lists say the same.
    let ids = Targets::from_ids(&[vec![1, 3], vec![1], vec![]], &[0, 1, 2, 3], &device());
    let input = RankingInput::from_targets(scores, ids.unwrap());
    assert_eq!(
        epoch(Measure::Mrr(10), &[input]),
        (1.0 / 2.0 + 1.0 / 3.0) / 2.0
    );
}

#[test]
fn names_are_those_of_the_field() {
    let metrics = [
        RankingMetric::mrr(10),
        RankingMetric::ndcg(5),
        RankingMetric::recall(100),
        RankingMetric::precision(1),
    ];
    let names = metrics.map(|metric| metric.name().to_string());
    assert_eq!(names, ["MRR@10", "nDCG@5", "Recall@100", "Precision@1"]);
}

#[test]
#[should_panic(expected = "ids: expected one for each of 2 documents, got 1")]
fn a_missing_id_panics() {
    let scores = matrix(&[vec![1.0, 2.0]], 2);
    RankingInput::from_scores(scores, &["a"], &[vec![]]);
}

#[test]
#[should_panic(expected = "judged: expected judgements of each of 1 queries, got 2")]
fn judgements_of_another_query_panic() {
    let scores = matrix(&[vec![1.0, 2.0]], 2);
    RankingInput::from_scores(scores, &["a", "b"], &[vec![], vec![]]);
}

#[test]
#[should_panic(expected = "assert_shape!(documents, [_, dimensions]): axis 1 expected 1, got 2")]
fn embeddings_of_other_dimensions_panic() {
    let [queries, documents] = [matrix(&[vec![1.0]], 1), matrix(&[vec![1.0, 2.0]], 2)];
    RankingInput::from_embeddings(queries, documents, &["a"], &[vec![]]);
}

#[test]
#[should_panic(
    expected = "targets: expected [queries, documents] = [1, 2] as the scores have, got [1, 3]"
)]
fn targets_of_another_shape_panic() {
    let scores = matrix(&[vec![1.0, 2.0]], 2);
    let targets = Targets::from_groups(&[1], 3, &device()).unwrap();
    RankingInput::from_targets(scores, targets);
}

#[test]
#[should_panic(
    expected = "from_embeddings: expected 1 dimensions in F32 as the first batch of the epoch has, got 2 \
                in F32"
)]
fn batches_of_other_dimensions_panic_when_the_epoch_ends() {
    let part = |dimensions: usize| {
        let embedding = || matrix(&[vec![1.0; dimensions]], dimensions);
        RankingInput::from_embeddings(embedding(), embedding(), &["a"], &[vec![("a", 1)]])
    };
    epoch(Measure::Mrr(10), &[part(1), part(2)]);
}
