//! How much a temperature that is not the best costs.

use serde::Serialize;

use super::choice::Choice;

/// Of one objective, one value of each seed.
#[derive(Serialize)]
pub struct Sensitivity {
    /// The mean over the logarithm of the temperature of nDCG@10, relative to the best: the area
    /// under the curve, straight between the temperatures.
    pub area: Vec<f64>,
    /// The worst temperature's nDCG@10, relative to the best.
    pub worst: Vec<f64>,
}

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
        let values = curve.iter().map(|(_, values)| values[seed]);
        let best = values.clone().fold(f64::NEG_INFINITY, f64::max);
        let worst = values.fold(f64::INFINITY, f64::min);
        let area: f64 = curve
            .windows(2)
            .map(|pair| {
                let width = (pair[1].0 / pair[0].0).ln();
                width * (pair[0].1[seed] + pair[1].1[seed]) / 2.0
            })
            .sum();
        (area / (last.0 / first.0).ln() / best, worst / best)
    };
    let (area, worst) = (0..seeds).map(of_seed).unzip();
    Some(Sensitivity { area, worst })
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
}
