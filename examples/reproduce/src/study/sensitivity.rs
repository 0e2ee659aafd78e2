//! How much a temperature that is not the best costs.

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;

use super::choice::{Choice, Tried, mean};

/// Of one objective, one value of each seed.
#[derive(Serialize)]
pub struct Sensitivity {
    /// The mean over the logarithm of the temperature of nDCG@10, relative to the best: the area
    /// under the curve, straight between the temperatures.
    pub area: Vec<f64>,
    /// The worst temperature's nDCG@10, relative to the best.
    pub worst: Vec<f64>,
}

/// By how much the area under one curve differs from that under another.
#[derive(Serialize)]
pub struct Difference {
    pub area: f64,
    /// By the bootstrap over queries.
    pub interval: [f64; 2],
}

/// Resamples of a bootstrap.
const RESAMPLES: usize = 4000;

/// nDCG@10 of the held-out queries at each temperature in order, one value of each seed: the mean
/// over the folds of the best learning rate and number of epochs.
pub fn by_temperature(folds: &[&Choice]) -> Vec<(f64, Vec<f64>)> {
    let tried = || folds.iter().flat_map(|choice| &choice.tried);
    let mut temperatures: Vec<f64> = tried().map(|tried| tried.point.temperature).collect();
    temperatures.sort_by(f64::total_cmp);
    temperatures.dedup();
    let seeds = tried().map(|tried| tried.ndcg_10.len()).min().unwrap_or(0);
    let value = |temperature: f64, seed: usize| {
        let best = |choice: &&Choice| {
            let at = choice.tried.iter();
            let at = at.filter(|tried| tried.point.temperature == temperature);
            let values = at.map(|tried| tried.ndcg_10[seed]);
            values.fold(f64::NEG_INFINITY, f64::max)
        };
        folds.iter().map(best).sum::<f64>() / folds.len() as f64
    };
    let values = temperatures.into_iter().map(|temperature| {
        let seeds = (0..seeds).map(|seed| value(temperature, seed));
        (temperature, seeds.collect())
    });
    values.collect()
}

/// `None` with one temperature.
pub fn sensitivity(curve: &[(f64, Vec<f64>)]) -> Option<Sensitivity> {
    let (first, last) = (curve.first()?, curve.last()?);
    if first.0 == last.0 {
        return None;
    }
    let seeds = first.1.len();
    let of_seed = |seed: usize| {
        let points = curve.iter().map(|(x, values)| (*x, values[seed]));
        let points: Vec<(f64, f64)> = points.collect();
        let values = points.iter().map(|point| point.1);
        let worst = values.fold(f64::INFINITY, f64::min);
        (relative_area(&points), worst / best(&points))
    };
    let (area, worst) = (0..seeds).map(of_seed).unzip();
    Some(Sensitivity { area, worst })
}

/// Of temperatures and values.
fn relative_area(points: &[(f64, f64)]) -> f64 {
    let parts = points.windows(2).map(|pair| {
        let width = (pair[1].0 / pair[0].0).ln();
        width * (pair[0].1 + pair[1].1) / 2.0
    });
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    parts.sum::<f64>() / (last / first).ln() / best(points)
}

fn best(points: &[(f64, f64)]) -> f64 {
    let values = points.iter().map(|point| point.1);
    values.fold(f64::NEG_INFINITY, f64::max)
}

/// nDCG@10 of each held-out query at each temperature in order, the queries of all folds: means
/// over seeds, with the best learning rate and number of epochs of each fold.
pub fn queries_by_temperature(folds: &[&Choice]) -> Vec<(f64, Vec<f64>)> {
    let temperatures = by_temperature(folds).into_iter();
    let values = temperatures.map(|(temperature, _)| {
        let best = |choice: &&'_ Choice| {
            let at = choice.tried.iter();
            let at = at.filter(|tried| tried.point.temperature == temperature);
            let value = |tried: &&Tried| mean(&tried.ndcg_10);
            let best = at.max_by(|a, b| value(a).total_cmp(&value(b)));
            best.map(|tried| tried.of_queries.clone())
                .unwrap_or_default()
        };
        (temperature, folds.iter().flat_map(best).collect())
    });
    values.collect()
}

/// The difference of the relative areas under two curves of the same queries, with the interval
/// that holds it with this confidence. `None` with one temperature.
pub fn difference(
    ours: &[(f64, Vec<f64>)],
    theirs: &[(f64, Vec<f64>)],
    confidence: f64,
) -> Option<Difference> {
    let queries = ours.first()?.1.len();
    if ours.len() < 2 || queries == 0 {
        return None;
    }
    let area = |curve: &[(f64, Vec<f64>)], sample: &[usize]| {
        let points = curve.iter().map(|(temperature, values)| {
            let sum: f64 = sample.iter().map(|query| values[*query]).sum();
            (*temperature, sum / sample.len() as f64)
        });
        relative_area(&points.collect::<Vec<_>>())
    };
    let difference = |sample: &[usize]| area(ours, sample) - area(theirs, sample);
    let mut rng = StdRng::seed_from_u64(1);
    let mut resampled = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let sample: Vec<usize> = (0..queries).map(|_| rng.random_range(0..queries)).collect();
        resampled.push(difference(&sample));
    }
    resampled.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0 * RESAMPLES as f64;
    let tail = (tail as usize).min(RESAMPLES / 2 - 1);
    Some(Difference {
        area: difference(&(0..queries).collect::<Vec<_>>()),
        interval: [resampled[tail], resampled[RESAMPLES - 1 - tail]],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_relative_to_the_best_and_weighs_by_logarithms() {
        // Twice as wide on the left: 2/3 of the width at a mean of 0.75, 1/3 at one of 0.75.
        let curve = [(0.01, vec![0.2]), (0.04, vec![0.4]), (0.08, vec![0.2])];
        let Sensitivity { area, worst } = sensitivity(&curve).unwrap();
        assert!((area[0] - 0.75).abs() < 1e-12, "{area:?}");
        assert_eq!(worst, [0.5]);
        let curve = [(0.01, vec![0.4]), (0.04, vec![0.4]), (0.08, vec![0.2])];
        let area = sensitivity(&curve).unwrap().area;
        assert!((area[0] - (2.0 + 0.75) / 3.0).abs() < 1e-12, "{area:?}");
        assert!(sensitivity(&curve[..1]).is_none());
    }

    #[test]
    fn a_difference_of_areas_has_an_interval_over_queries() {
        // Of 200 queries the first curve keeps 0.4 everywhere, the second has 0.4 or 0 at the second
        // temperature, half of them each.
        let flat = [0.1, 0.2].map(|temperature| (temperature, vec![0.4; 200]));
        let mut falls = flat.clone();
        falls[1].1 = (0..200).map(|query| 0.4 * f64::from(query % 2)).collect();
        let found = difference(&falls, &flat, 0.95).unwrap();
        assert!((found.area + 0.25).abs() < 1e-12, "{}", found.area);
        // The mean of 200 draws of 0 and 1, halved: its standard error is 0.5 / sqrt(200) / 2.
        let half = 1.96 * 0.5 / 200f64.sqrt() / 2.0;
        for (bound, expected) in found.interval.iter().zip([-0.25 - half, -0.25 + half]) {
            assert!((bound - expected).abs() < 0.004, "{bound} {expected}");
        }
        let same = difference(&flat, &flat, 0.95).unwrap();
        assert_eq!((same.area, same.interval), (0.0, [0.0; 2]));
        assert!(difference(&flat[..1], &flat[..1], 0.95).is_none());
    }
}
