//! `tests/golden/rankings.json`: rankings as trec_eval orders and measures them.

use std::collections::BTreeMap;

use approx::assert_abs_diff_eq;
use burn_multi_positive::evaluation::{Measure, RankedList, Ranker};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    pub ids: Vec<String>,
    pub scores: Vec<Vec<f32>>,
    judged: Vec<BTreeMap<String, i32>>,
    values: Vec<Option<BTreeMap<usize, Values>>>,
}

#[derive(Deserialize)]
struct Values {
    mrr: f64,
    ndcg: f64,
    recall: f64,
    precision: f64,
}

impl Case {
    pub fn all() -> Vec<Self> {
        #[derive(Deserialize)]
        struct File {
            cases: Vec<Case>,
        }
        let file = include_str!("../golden/rankings.json");
        serde_json::from_str::<File>(file).unwrap().cases
    }

    /// The grades of each query.
    pub fn judged(&self) -> Vec<Vec<(String, i32)>> {
        let judged = self.judged.iter();
        judged
            .map(|grades| grades.clone().into_iter().collect())
            .collect()
    }

    /// What pytrec_eval says of the queries that were judged.
    pub fn values(&self, measure: Measure) -> Vec<f64> {
        let value = |values: &BTreeMap<usize, Values>| {
            let values = &values[&measure.depth()];
            match measure {
                Measure::Mrr(_) => values.mrr,
                Measure::Ndcg(_) => values.ndcg,
                Measure::Recall(_) => values.recall,
                Measure::Precision(_) => values.precision,
                other => panic!("no value of {other}"),
            }
        };
        self.values.iter().flatten().map(value).collect()
    }
}

pub fn measures() -> Vec<Measure> {
    let of = |k| {
        [
            Measure::Mrr(k),
            Measure::Ndcg(k),
            Measure::Recall(k),
            Measure::Precision(k),
        ]
    };
    [1, 3, 10, 100].into_iter().flat_map(of).collect()
}

#[test]
fn every_query_is_measured_as_trec_eval_does() {
    for case in Case::all() {
        let ranker = Ranker::new(&case.ids);
        let judged = case.judged();
        let queries = case
            .scores
            .iter()
            .zip(&judged)
            .filter(|(_, judged)| !judged.is_empty());
        let lists = queries.map(|(scores, judged)| {
            let ranked = ranker.rank(scores, 1000).into_iter();
            let ranked = ranked.map(|document| case.ids[document].clone());
            RankedList::new(ranked, judged.iter().cloned())
        });
        let lists: Vec<RankedList> = lists.collect();
        for measure in measures() {
            let want = case.values(measure);
            assert_eq!(lists.len(), want.len(), "{}", case.name);
            for (list, want) in lists.iter().zip(want) {
                let got = measure.of(list);
                assert!(
                    (got - want).abs() < 1e-12,
                    "{} {measure}: {got} {want}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn equal_scores_are_ordered_by_ids_as_text() {
    let ranker = Ranker::new(&["9", "10", "11", "a"]);
    assert_eq!(ranker.rank(&[0.5_f32; 4], 4), [3, 0, 2, 1]);
    // Minus zero is zero.
    assert_eq!(ranker.rank(&[0.0_f32, -0.0, 0.0, -0.0], 2), [3, 0]);
}

#[test]
fn of_documents_with_one_id_the_first_counts() {
    let ranker = Ranker::new(&["a", "b", "a", "b"]);
    assert_eq!(ranker.rank(&[0.1_f64, 0.2, 0.9, 0.8], 10), [1, 0]);
    let list = RankedList::new(["a", "b", "a"], [("a", 1), ("a", 2)]);
    assert_eq!(Measure::Precision(3).of(&list), 1.0 / 3.0);
    assert_eq!(Measure::Ndcg(3).of(&list), 1.0);
}

#[test]
fn nan_is_below_everything() {
    let ranker = Ranker::new(&["a", "b", "c", "d"]);
    let scores = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -f32::NAN];
    assert_eq!(ranker.rank(&scores, 4), [2, 1, 3, 0]);
}

#[test]
fn nothing_is_ranked() {
    assert_eq!(Ranker::new::<&str>(&[]).rank::<f32>(&[], 10), [0_usize; 0]);
    assert_eq!(Ranker::new(&["a"]).rank(&[1.0_f32], 0), [0_usize; 0]);
    let list = RankedList::new(["a"], []);
    for measure in measures() {
        assert_eq!(measure.of(&list), 0.0, "{measure}");
    }
    // Of no rank.
    let list = RankedList::new(["a"], [("a", 1)]);
    assert_eq!(Measure::Precision(0).of(&list), 0.0);
    assert_eq!(Measure::Ndcg(0).of(&list), 0.0);
}

#[test]
fn a_mean_is_over_lists() {
    let lists = [["a", "b"], ["b", "a"]].map(|ids| RankedList::new(ids, [("a", 1)]));
    assert_abs_diff_eq!(Measure::Mrr(10).mean(&lists), 0.75);
    assert!(Measure::Mrr(10).mean([]).is_nan());
}

#[test]
#[should_panic(expected = "rank: expected a score of each of 2 documents, got 1")]
fn a_missing_score_panics() {
    Ranker::new(&["a", "b"]).rank(&[1.0_f32], 10);
}
