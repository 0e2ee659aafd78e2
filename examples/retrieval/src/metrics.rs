//! MRR@10, nDCG@10, Recall@100 and Recall@1000, as trec_eval computes them.
//!
//! For the run that [`write_run`](crate::write_run) writes, trec_eval and pytrec_eval
//! print the same numbers: `ndcg_cut.10`, `recall.100`, `recall.1000`, and `recip_rank`
//! of the run's first ten ranks.

use std::collections::HashMap;

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
        let grades: HashMap<usize, i32> = query.judgements.iter().copied().collect();
        let ranked = ranking.iter().map(|(document, _)| document);
        let ranked: Vec<i32> = ranked
            .map(|document| grades.get(document).copied().unwrap_or(0))
            .collect();
        let judged: Vec<i32> = grades.into_values().collect();
        Self {
            mrr_10: reciprocal_rank(&ranked, 10),
            ndcg_10: ndcg(&ranked, &judged, 10),
            recall_100: recall(&ranked, &judged, 100),
            recall_1000: recall(&ranked, &judged, 1000),
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

// Each takes the grades in ranked order, 0 where nobody judged, and all grades of the
// query.

fn reciprocal_rank(ranked: &[i32], cut: usize) -> f64 {
    let first = ranked.iter().take(cut).position(|grade| *grade > 0);
    first.map_or(0.0, |index| 1.0 / (index + 1) as f64)
}

fn ndcg(ranked: &[i32], judged: &[i32], cut: usize) -> f64 {
    let dcg = |grades: &[i32]| -> f64 {
        let gains = grades.iter().take(cut).enumerate();
        gains
            .map(|(index, grade)| f64::from((*grade).max(0)) / ((index + 2) as f64).log2())
            .sum()
    };
    let mut ideal = judged.to_vec();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    match dcg(&ideal) {
        0.0 => 0.0,
        ideal => dcg(ranked) / ideal,
    }
}

fn recall(ranked: &[i32], judged: &[i32], cut: usize) -> f64 {
    let relevant = |grades: &[i32]| grades.iter().filter(|grade| **grade > 0).count();
    match relevant(judged) {
        0 => 0.0,
        all => relevant(&ranked[..cut.min(ranked.len())]) as f64 / all as f64,
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::{collection::Document, ranking::rank};

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
        Metrics::new(&[query], &[rank(&scores, &documents)])
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
