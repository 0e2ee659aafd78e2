//! MRR@10, nDCG@10, Recall@100 and Recall@1000, as trec_eval computes them.
//!
//! For the run that [`write_run`](crate::write_run) writes, trec_eval and pytrec_eval
//! print the same numbers: `ndcg_cut.10`, `recall.100`, `recall.1000`, and `recip_rank`
//! of the run's first ten ranks.

use burn_multi_positive::evaluation::{Measure, RankedList};
use serde::{Deserialize, Serialize};

use crate::{collection::Query, ranking::Ranking};

/// The metrics of one query, or their means.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Metrics {
    /// The reciprocal rank of the first relevant document, 0 after the tenth rank.
    pub mrr_10: f64,
    /// The normalised discounted cumulative gain of the first 10 ranks.
    pub ndcg_10: f64,
    /// The share of the relevant documents that the first 100 ranks hold.
    pub recall_100: f64,
    /// The share of the relevant documents that the first 1000 ranks hold.
    pub recall_1000: f64,
}

impl Metrics {
    /// Those of one query; all are 0 if it has no relevant document.
    pub fn of_query(query: &Query, ranking: &Ranking) -> Self {
        let ranked = ranking.iter().map(|(document, _)| *document);
        let list = RankedList::new(ranked, query.judgements.iter().copied());
        Self {
            mrr_10: Measure::Mrr(10).of(&list),
            ndcg_10: Measure::Ndcg(10).of(&list),
            recall_100: Measure::Recall(100).of(&list),
            recall_1000: Measure::Recall(1000).of(&list),
        }
    }

    /// The mean of every metric.
    pub fn mean(of_queries: &[Self]) -> Self {
        let mean = |metric: fn(&Self) -> f64| {
            of_queries.iter().map(metric).sum::<f64>() / of_queries.len() as f64
        };
        Self {
            mrr_10: mean(|metrics| metrics.mrr_10),
            ndcg_10: mean(|metrics| metrics.ndcg_10),
            recall_100: mean(|metrics| metrics.recall_100),
            recall_1000: mean(|metrics| metrics.recall_1000),
        }
    }

    /// The means over all queries of a split, those without a relevant document included.
    pub fn new(queries: &[Query], rankings: &[Ranking]) -> Self {
        let of_queries = queries.iter().zip(rankings);
        let of_queries = of_queries.map(|(query, ranking)| Self::of_query(query, ranking));
        Self::mean(&of_queries.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::{collection::Document, ranking::search};

    /// Document `d` of 120 scores `d * factor % modulus`: ties within the ranking and at
    /// its end.
    fn measure(factor: usize, modulus: usize, judgements: &[(usize, i32)]) -> Metrics {
        let documents: Vec<Document> = (0..120)
            .map(|d| Document {
                id: format!("d{d}"),
                text: String::new(),
            })
            .collect();
        let scores: Vec<f32> = (0..120).map(|d| (d * factor % modulus) as f32).collect();
        let query = Query {
            id: "q".into(),
            text: String::new(),
            judgements: judgements.to_vec(),
        };
        let device = Device::default();
        let vectors = Tensor::from_data(TensorData::new(scores, [120, 1]), &device);
        let rankings = search(Tensor::ones([1, 1], &device), vectors, &documents);
        Metrics::new(&[query], &rankings.unwrap())
    }

    // The expected values are what pytrec_eval gives for the same scores.

    #[track_caller]
    fn assert_metrics(metrics: Metrics, mrr_10: f64, ndcg_10: f64, recall_100: f64) {
        assert_relative_eq!(metrics.mrr_10, mrr_10, max_relative = 1e-12);
        assert_relative_eq!(metrics.ndcg_10, ndcg_10, max_relative = 1e-12);
        assert_relative_eq!(metrics.recall_100, recall_100, max_relative = 1e-12);
    }

    #[test]
    fn graded_judgements_with_ties_in_the_first_ranks() {
        let judgements = [(113, 2), (62, 1), (52, 3), (99, 1), (40, 1), (72, 0)];
        let metrics = measure(37, 41, &judgements);
        assert_metrics(metrics, 1.0 / 3.0, 0.426045081777282, 0.8);
    }

    #[test]
    fn the_hundredth_rank_is_tied_with_the_next() {
        let judgements = [(92, 1), (57, 2), (52, 1), (10, 1), (3, 2)];
        let metrics = measure(7, 5, &judgements);
        assert_metrics(metrics, 0.5, 0.2640219994158642, 0.8);
    }

    #[test]
    fn no_relevant_document_counts_as_zero() {
        assert_metrics(measure(53, 113, &[(81, 0), (49, 0)]), 0.0, 0.0, 0.0);
    }

    #[test]
    fn more_relevant_documents_than_ranks() {
        let judgements: Vec<(usize, i32)> = (0..120).step_by(2).map(|d| (d, 1)).collect();
        let metrics = measure(29, 127, &judgements);
        assert_metrics(metrics, 0.5, 0.43042149375026456, 49.0 / 60.0);
    }

    #[test]
    fn the_eleventh_rank_is_beyond_the_cut() {
        let metrics = measure(61, 97, &[(73, 1), (97, 2), (0, 1)]);
        assert_metrics(metrics, 0.0, 0.0, 1.0 / 3.0);
    }

    #[test]
    fn negative_grades_are_not_relevant() {
        let judgements = [(14, 3), (76, -1), (45, -2), (107, 1), (59, 2), (87, 1)];
        let metrics = measure(11, 31, &judgements);
        assert_metrics(metrics, 1.0 / 3.0, 0.509017347032973, 1.0);
    }
}
