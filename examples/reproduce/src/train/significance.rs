//! Intervals over seeds, and paired tests over queries.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The mean and the half width of its 95% interval (Student's t); no width with fewer than two values.
pub fn interval(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let t = (values.len() > 1).then(|| students_t(count - 1.0).inverse_cdf(0.975));
    (mean, t.map(|t| t * standard_error(values, mean)))
}

/// The mean difference, and the two-sided p-value of the paired t-test.
pub fn paired(ours: &[f64], theirs: &[f64]) -> (f64, f64) {
    let differences: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let error = standard_error(&differences, mean);
    if error == 0.0 || differences.len() < 2 {
        return (
            mean,
            if mean == 0.0 || differences.len() < 2 {
                1.0
            } else {
                0.0
            },
        );
    }
    let t = (mean / error).abs();
    (mean, (2.0 * students_t(count - 1.0).sf(t)).min(1.0))
}

/// Cohen's d of paired differences: their mean in standard deviations. 0 if they are all 0.
pub fn effect_size(ours: &[f64], theirs: &[f64]) -> f64 {
    let differences: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    match standard_deviation(&differences) {
        Some(deviation) if mean != 0.0 => mean / deviation,
        _ => 0.0,
    }
}

/// Of a sample; `None` with fewer than two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let count = values.len() as f64;
    (values.len() > 1).then(|| standard_error(values, mean) * count.sqrt())
}

/// Holm's correction: p-values that may be compared with a level as if only one test had been made.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut least = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        let tests = (p_values.len() - rank) as f64;
        least = least.max((tests * p_values[index]).min(1.0));
        corrected[index] = least;
    }
    corrected
}

fn standard_error(values: &[f64], mean: f64) -> f64 {
    let count = values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0) / count).sqrt()
}

fn students_t(freedom: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom).expect("at least one degree of freedom")
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    // The expected values are those of SciPy: stats.t.interval, stats.ttest_rel.

    #[test]
    fn an_interval_of_five() {
        let (mean, half) = interval(&[0.31, 0.33, 0.32, 0.35, 0.29]);
        assert_relative_eq!(mean, 0.32, max_relative = 1e-12);
        assert_relative_eq!(half.unwrap(), 0.027764451051977935, max_relative = 1e-6);
        assert_eq!(interval(&[0.5]), (0.5, None));
    }

    #[test]
    fn a_paired_test() {
        let (mean, p) = paired(&[0.5, 0.2, 0.9, 0.4], &[0.4, 0.25, 0.5, 0.3]);
        assert_relative_eq!(mean, 0.1375, max_relative = 1e-12);
        assert_relative_eq!(p, 0.24116641435267064, max_relative = 1e-6);
        assert_eq!(paired(&[0.5, 0.2], &[0.5, 0.2]), (0.0, 1.0));
    }

    #[test]
    fn an_effect_size() {
        // The differences 0.1, -0.05, 0.4, 0.1: mean 0.1375, deviation 0.1887459.
        let d = effect_size(&[0.5, 0.2, 0.9, 0.4], &[0.4, 0.25, 0.5, 0.3]);
        assert_relative_eq!(d, 0.7284929, max_relative = 1e-6);
        assert_eq!(effect_size(&[0.5, 0.2], &[0.5, 0.2]), 0.0);
        assert_eq!(standard_deviation(&[0.5]), None);
    }

    #[test]
    fn holm_multiplies_the_smallest_most_and_keeps_the_order() {
        let corrected = holm(&[0.04, 0.01, 0.03, 0.5]);
        for (got, want) in corrected.iter().zip([0.09, 0.04, 0.09, 0.5]) {
            assert_relative_eq!(*got, want, max_relative = 1e-12);
        }
    }
}
