//! What is chosen for each objective, and what the chosen reached.

use serde::Serialize;

use super::condition::{Condition, Point};
use crate::{objective::Objective, train::cell::Evaluation};

/// A point, and nDCG@10 of the held-out queries there.
#[derive(Serialize)]
pub struct Tried {
    #[serde(flatten)]
    pub point: Point,
    /// One of each seed.
    pub ndcg_10: Vec<f64>,
    /// One of each held-out query, the mean over the seeds.
    #[serde(skip)]
    pub of_queries: Vec<f64>,
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
    /// Takes the point of the highest mean over the seeds, the first if there are several.
    pub fn new(
        fold: Option<String>,
        condition: Condition,
        objective: Objective,
        tried: Vec<Tried>,
    ) -> Result<Self, String> {
        let mut best: Option<&Tried> = None;
        for one in &tried {
            if best.is_none_or(|best| mean(&one.ndcg_10) > mean(&best.ndcg_10)) {
                best = Some(one);
            }
        }
        let chosen = best.ok_or("there is nothing to choose from")?.point;
        Ok(Self {
            fold,
            condition,
            objective,
            tried,
            chosen,
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

    #[test]
    fn the_highest_mean_is_chosen() {
        let tried = [(0.1, [0.2, 0.4]), (0.2, [0.5, 0.3]), (0.5, [0.6, 0.1])];
        let tried = tried.map(|(temperature, ndcg_10)| Tried {
            point: Point {
                temperature,
                learning_rate: 0.1,
                epochs: 1,
            },
            ndcg_10: ndcg_10.to_vec(),
            of_queries: Vec::new(),
        });
        let condition = Condition::all(None);
        let choice = Choice::new(None, condition, Objective::LsePair, tried.into()).unwrap();
        assert_eq!(choice.chosen.temperature, 0.2);
    }
}
