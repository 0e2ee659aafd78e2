//! The table in which the statistics travel: a row per query, a column per statistic.

/// A statistic of a query's scores, a column of [`Statistics`](crate::statistics::Statistics); see
/// the [module](crate::statistics).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statistic {
    /// Log-sum-exp over the negatives.
    Negatives = FIRST as isize,
    /// Log-sum-exp over the positives.
    Positives,
    /// Log-sum-exp of the negated values over the positives.
    WeakPositives,
    /// How far the positives lie below their log-sum-exp, summed; 0 for one positive.
    PositiveExcess,
    /// The smallest value over the positives.
    WeakestPositive,
    /// The largest value over the positives.
    StrongestPositive,
    /// The largest value over the negatives.
    HardestNegative,
}

impl Statistic {
    pub(crate) const ALL: [Self; WIDTH - FIRST] = [
        Self::Negatives,
        Self::Positives,
        Self::WeakPositives,
        Self::PositiveExcess,
        Self::WeakestPositive,
        Self::StrongestPositive,
        Self::HardestNegative,
    ];
}

/// The column of the number of positives, 0 for an inactive query.
pub(crate) const POSITIVE_COUNT: usize = 0;

/// The column of the number of negatives that have weight, 0 for an inactive query.
pub(crate) const NEGATIVE_COUNT: usize = POSITIVE_COUNT + 1;

/// The column of the score from which the others are measured.
pub(crate) const REFERENCE: usize = NEGATIVE_COUNT + 1;

/// The column of the first statistic.
const FIRST: usize = REFERENCE + 1;

/// The number of columns.
pub(crate) const WIDTH: usize = Statistic::HardestNegative as usize + 1;

/// What to compute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Request {
    pub temperature: f64,
    /// A bit for each statistic.
    wanted: u32,
}

impl Request {
    pub fn new(temperature: f64, wanted: &[Statistic]) -> Self {
        Self {
            temperature,
            wanted: wanted
                .iter()
                .fold(0, |bits, &wanted| bits | 1 << wanted as u32),
        }
    }

    pub fn wants(self, statistic: Statistic) -> bool {
        self.wanted & 1 << statistic as u32 != 0
    }
}
