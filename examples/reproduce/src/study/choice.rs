//! What is chosen for each objective, and what the chosen reached.

use serde::Serialize;

use super::condition::{Condition, Point};
use crate::{objective::Objective, train::cell::Evaluation};

/// A point, and nDCG@10 of the held-out queries there.
#[derive(Serialize)]
pub struct Tried {
    #[serde(flatten)]
    pub point: Point,
    /// One of each seed, 0 where the training diverged.
    pub ndcg_10: Vec<f64>,
    /// One of each held-out query, the mean over the seeds.
    #[serde(skip)]
    pub of_queries: Vec<f64>,
    /// The seeds whose training diverged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diverged: Vec<u64>,
}

impl Tried {
    /// From the seeds and what each held-out query got, `None` where the training diverged.
    pub fn new(point: Point, queries: usize, seeds: &[(u64, Option<Vec<f64>>)]) -> Self {
        let diverged = seeds.iter().filter(|(_, values)| values.is_none());
        let of_seeds = seeds.iter().map(|(_, values)| values.as_deref());
        let of_query = |query: usize| {
            let values = of_seeds.clone().flatten().map(|values| values[query]);
            values.sum::<f64>() / seeds.len() as f64
        };
        Self {
            point,
            ndcg_10: of_seeds
                .clone()
                .map(|values| values.map_or(0.0, mean))
                .collect(),
            of_queries: (0..queries).map(of_query).collect(),
            diverged: diverged.map(|(seed, _)| *seed).collect(),
        }
    }
}

#[derive(Serialize)]
pub struct Choice {
    pub fold: Option<String>,
    #[serde(flatten)]
    pub condition: Condition,
    pub objective: Objective,
    pub tried: Vec<Tried>,
    pub chosen: Point,
}

impl Choice {
    /// Takes the point of the highest mean over the seeds, the first if there are several. One
    /// where a training diverged is not taken: what is chosen is trained with more seeds.
    pub fn new(
        fold: Option<String>,
        condition: Condition,
        objective: Objective,
        tried: Vec<Tried>,
    ) -> Result<Self, String> {
        let mut best: Option<&Tried> = None;
        for one in tried.iter().filter(|one| one.diverged.is_empty()) {
            if best.is_none_or(|best| mean(&one.ndcg_10) > mean(&best.ndcg_10)) {
                best = Some(one);
            }
        }
        let Some(Tried { point: chosen, .. }) = best else {
            let fold = fold.map(|fold| format!(", {fold}")).unwrap_or_default();
            return Err(format!(
                "{} ({condition}{fold}): every point of the choice diverged: try lower learning \
                 rates or higher --temperatures",
                objective.name()
            ));
        };
        Ok(Self {
            fold,
            condition,
            objective,
            chosen: *chosen,
            tried,
        })
    }
}

/// What the chosen reached on the test queries.
pub struct Last {
    pub condition: Condition,
    pub objective: Objective,
    /// One of each fold.
    pub chosen: Vec<Point>,
    /// One of each seed, over the queries of all folds.
    pub seeds: Vec<Evaluation>,
    /// The share of the simulated labels that are relevant, the mean over the trainings.
    pub right: Option<f64>,
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(tried: &[(f64, [Option<f64>; 2])]) -> Result<Choice, String> {
        let tried = tried.iter().map(|(temperature, [first, second])| {
            let point = Point {
                temperature: *temperature,
                learning_rate: 0.1,
                epochs: 1,
            };
            let [first, second] = [first, second].map(|value| value.map(|value| vec![value]));
            Tried::new(point, 1, &[(1, first), (2, second)])
        });
        let condition = Condition::all(None);
        let fold = Some("fold2".into());
        Choice::new(fold, condition, Objective::LsePair, tried.collect())
    }

    #[test]
    fn the_highest_mean_is_chosen() {
        let tried = [(0.1, [0.2, 0.4]), (0.2, [0.5, 0.3]), (0.5, [0.6, 0.1])];
        let choice = choice(&tried.map(|(point, values)| (point, values.map(Some)))).unwrap();
        assert_eq!(choice.chosen.temperature, 0.2);
    }

    #[test]
    fn a_point_where_a_training_diverged_is_not_chosen() {
        let one = (0.1, [Some(0.9), None]);
        let both = (0.2, [None, None]);
        let fine = (0.5, [Some(0.0), Some(0.0)]);
        let chosen = choice(&[one, both, fine]).unwrap();
        assert_eq!(chosen.chosen.temperature, 0.5);
        assert_eq!(chosen.tried[0].ndcg_10, [0.9, 0.0]);
        assert_eq!(chosen.tried[0].of_queries, [0.45]);
        assert_eq!(chosen.tried[0].diverged, [2]);
        assert_eq!(chosen.tried[1].diverged, [1, 2]);
        let error = choice(&[one, both]).err().unwrap();
        let expected =
            "LSEPair (labels: all judgements, fold2): every point of the choice diverged";
        assert!(error.starts_with(expected), "{error}");
    }
}
