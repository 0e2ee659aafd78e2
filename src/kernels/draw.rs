//! Draws: which of its positives is the only one of a query, by lot.

/// Draws are numbers below this, which f32 holds exactly.
pub const DRAWS: f32 = (1 << 24) as f32;

/// The place of the drawn positive among `count`.
#[cfg(feature = "cpu")]
pub fn place(draw: f32, count: usize) -> usize {
    // Rounding may lift the product to the count itself.
    ((draw.floor() / DRAWS * count as f32) as usize).min(count.saturating_sub(1))
}

/// The place of the drawn positive among those of these weights, each as likely as its weight
/// says; none if a weight is NaN.
#[cfg(feature = "cpu")]
pub fn weighted_place(draw: f32, weights: impl Iterator<Item = f64> + Clone) -> Option<usize> {
    let share = f64::from(draw.floor() / DRAWS) * weights.clone().sum::<f64>();
    let sums = weights.scan(0.0, |sum, weight| {
        *sum += weight;
        Some(*sum)
    });
    // Rounding may lift the share to the sum itself.
    let last = sums.clone().count().saturating_sub(1);
    (!share.is_nan()).then(|| sums.take(last).take_while(|&sum| sum <= share).count())
}
