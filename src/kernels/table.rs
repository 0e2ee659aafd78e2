//! The table in which the statistics travel: a row per query, a column per statistic.

use super::{ceiling::FalseNegatives, curve::Curve};

/// A statistic of the scores of a query, a column of
/// [`Statistics`](crate::statistics::Statistics). The [module](crate::statistics) has the
/// formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statistic {
    /// Log-sum-exp over the negatives.
    Negatives = FIRST as isize,
    /// The exponential mean of the positives, with the [exponent](Request::with_exponent) of
    /// the request.
    PositiveMean,
    /// Log-sum-exp over the positives without weights and exponent.
    UnweightedPositives,
    /// How far the positives lie below their unweighted log-sum-exp, summed with their
    /// weights; 0 for one positive.
    PositiveExcess,
    /// The loss of each positive alone against all negatives, summed with the weights.
    PositiveLosses,
    /// The smallest value over the positives.
    WeakestPositive,
    /// The largest value over the positives.
    StrongestPositive,
    /// The largest value over the negatives.
    HardestNegative,
    /// The binary cross-entropy of each document, relevant or not, summed with the weights.
    BinaryLosses,
}

impl Statistic {
    pub(crate) const ALL: [Self; WIDTH - FIRST] = [
        Self::Negatives,
        Self::PositiveMean,
        Self::UnweightedPositives,
        Self::PositiveExcess,
        Self::PositiveLosses,
        Self::WeakestPositive,
        Self::StrongestPositive,
        Self::HardestNegative,
        Self::BinaryLosses,
    ];
}

/// The column of the number of positives, 0 for an inactive query.
pub(crate) const POSITIVE_COUNT: usize = 0;

/// The column of the number of negatives that have weight, 0 for an inactive query.
pub(crate) const NEGATIVE_COUNT: usize = POSITIVE_COUNT + 1;

/// The column of the summed weights of the positives.
pub(crate) const POSITIVE_WEIGHT: usize = NEGATIVE_COUNT + 1;

/// The column of the score from which the others are measured.
pub(crate) const REFERENCE: usize = POSITIVE_WEIGHT + 1;

/// The column of the first statistic.
const FIRST: usize = REFERENCE + 1;

/// The number of columns.
pub(crate) const WIDTH: usize = Statistic::BinaryLosses as usize + 1;

/// Which statistics to compute, and how.
///
/// # Example
///
/// ```
/// use burn_multi_positive::statistics::{Request, Statistic};
///
/// let wanted = [Statistic::Negatives, Statistic::PositiveMean];
/// let request = Request::new(0.05, &wanted).with_exponent(-1.0).with_hardness(5.0);
/// assert_eq!(request.temperature(), 0.05);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    pub(crate) temperature: f64,
    pub(crate) exponent: f64,
    pub(crate) hardness: f64,
    pub(crate) bias: f64,
    pub(crate) curve: Option<Curve>,
    pub(crate) false_negatives: Option<FalseNegatives>,
    /// A bit for each statistic.
    pub(crate) wanted: u32,
}

impl Request {
    /// A request for the `wanted` statistics of scores that are divided by `temperature`. The
    /// exponent is 1, the hardness and the bias are 0. There is no curve and no rule for false
    /// negatives.
    ///
    /// # Panics
    ///
    /// If the temperature is not positive and finite.
    pub fn new(temperature: f64, wanted: &[Statistic]) -> Self {
        assert!(
            temperature > 0.0 && temperature.is_finite(),
            "Request::new: expected a positive, finite temperature, got {temperature}"
        );
        let bits = wanted
            .iter()
            .fold(0, |bits, &wanted| bits | 1 << wanted as u32);
        Self {
            temperature,
            exponent: 1.0,
            hardness: 0.0,
            bias: 0.0,
            curve: None,
            false_negatives: None,
            wanted: bits,
        }
    }

    /// Sets the exponent of [`Statistic::PositiveMean`]: the larger it is, the more the
    /// strongest positives count. At 0 all positives count equally. Below 0 the weakest count
    /// most.
    ///
    /// # Panics
    ///
    /// If the exponent is not finite.
    #[must_use]
    pub fn with_exponent(self, exponent: f64) -> Self {
        assert!(
            exponent.is_finite(),
            "with_exponent: expected a finite exponent, got {exponent}"
        );
        Self { exponent, ..self }
    }

    /// Weights the negatives by `exp(hardness * score)`, with the score before the division by
    /// the temperature. No gradient flows through this weight.
    ///
    /// # Panics
    ///
    /// If the hardness is negative or not finite in f32.
    #[must_use]
    pub fn with_hardness(self, hardness: f64) -> Self {
        assert!(
            hardness >= 0.0 && (hardness as f32).is_finite(),
            "with_hardness: expected a number that is finite in f32 and not negative, got {hardness}"
        );
        Self { hardness, ..self }
    }

    /// Sets the bias that [`Statistic::BinaryLosses`] adds to a score after the division by
    /// the temperature. The sum is the logit of the document being relevant.
    ///
    /// # Panics
    ///
    /// If the bias is not finite in f32.
    #[must_use]
    pub fn with_bias(self, bias: f64) -> Self {
        assert!(
            (bias as f32).is_finite(),
            "with_bias: expected a bias that is finite in f32, got {bias}"
        );
        Self { bias, ..self }
    }

    /// Applies a curve to the scores before the statistics are computed. The rule for
    /// [false negatives](Request::with_false_negatives) reads the scores before the curve.
    #[must_use]
    pub fn with_curve(self, curve: Curve) -> Self {
        Self {
            curve: Some(curve),
            ..self
        }
    }

    /// Ignores suspected false negatives by a rule, if there is one.
    ///
    /// # Panics
    ///
    /// If the margin of the rule is not finite.
    #[must_use]
    pub fn with_false_negatives(self, false_negatives: Option<FalseNegatives>) -> Self {
        if let Some(rule) = false_negatives {
            rule.assert_finite("with_false_negatives");
        }
        Self {
            false_negatives,
            ..self
        }
    }

    /// The temperature, by which the scores are divided.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The exponent of [`Statistic::PositiveMean`].
    pub fn exponent(&self) -> f64 {
        self.exponent
    }

    /// The hardness of the negatives.
    pub fn hardness(&self) -> f64 {
        self.hardness
    }

    /// The bias of [`Statistic::BinaryLosses`].
    pub fn bias(&self) -> f64 {
        self.bias
    }

    /// The curve that is applied to the scores, if there is one.
    pub fn curve(&self) -> Option<Curve> {
        self.curve
    }

    /// The rule by which suspected false negatives are ignored, if there is one.
    pub fn false_negatives(&self) -> Option<FalseNegatives> {
        self.false_negatives
    }

    /// Whether a statistic is wanted.
    pub fn wants(&self, statistic: Statistic) -> bool {
        self.wanted & 1 << statistic as u32 != 0
    }

    /// Whether a statistic is wanted, or another one that is computed from it.
    pub(crate) fn computes(&self, statistic: Statistic) -> bool {
        let for_losses = statistic == Statistic::Negatives && self.wants(Statistic::PositiveLosses);
        for_losses || self.wants(statistic)
    }

    /// What the scores of negatives are divided by where weights and exponentials are one.
    #[cfg(any(feature = "cpu", feature = "cubecl"))]
    pub(crate) fn negative_temperature(&self) -> f64 {
        match self.hardness {
            0.0 => self.temperature,
            hardness => 1.0 / (1.0 / self.temperature + hardness),
        }
    }
}
