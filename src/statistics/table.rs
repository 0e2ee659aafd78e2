//! The table in which the statistics travel: a row per query, a column per statistic.

/// A statistic of a query's scores, a column of [`Statistics`](super::Statistics); see the
/// [module](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Log-sum-exp over the negatives.
    Negatives = 3,
    /// Log-sum-exp over the positives.
    Positives = 4,
    /// Log-sum-exp of the negated values over the positives.
    WeakPositives = 5,
    /// How far the positives lie below their log-sum-exp, summed; 0 for one positive.
    PositiveExcess = 6,
    /// The smallest value over the positives.
    WeakestPositive = 7,
    /// The largest value over the positives.
    StrongestPositive = 8,
    /// The largest value over the negatives.
    HardestNegative = 9,
}

impl Statistic {
    pub(crate) const ALL: [Self; WIDTH - 3] = [
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
pub(crate) const NEGATIVE_COUNT: usize = 1;

/// The column of the score from which the others are measured.
pub(crate) const REFERENCE: usize = 2;

/// The number of columns.
pub(crate) const WIDTH: usize = 10;

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
