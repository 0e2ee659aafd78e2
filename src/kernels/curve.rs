//! What a loss makes of single scores before it compares them.

/// A function that is applied to every score before the statistics are computed: one for
/// positives, another for negatives.
///
/// ```text
/// f(s) = u(s) (s - d),   u(s) = k s + c
/// ```
///
/// A paced curve uses `max(u, 0)` instead of `u`, as a constant: no gradient flows through it.
/// So it weights a score by its distance from an optimum. A score of minus infinity stays
/// minus infinity.
///
/// # Example
///
/// ```
/// use burn_multi_positive::statistics::{Curve, Product, Request, Statistic};
///
/// // s^2 for positives, s (s + 0.3) for negatives.
/// let square = |offset| Product {
///     rate: 1.0,
///     offset,
///     center: 0.0,
/// };
/// let curve = Curve::new(square(0.0), square(0.3));
/// assert_eq!(curve, Curve::focal(0.3));
///
/// let request = Request::new(0.05, &[Statistic::PositiveLosses]).with_curve(curve);
/// assert_eq!(request.curve(), Some(curve));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    pub(crate) positive: Product,
    pub(crate) negative: Product,
    pub(crate) paced: bool,
}

/// The coefficients of one curve, `(k s + c) (s - d)`. They must be finite in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    /// The coefficient `k`.
    pub rate: f64,
    /// The coefficient `c`.
    pub offset: f64,
    /// The coefficient `d`.
    pub center: f64,
}

impl Curve {
    /// The curve of positives and that of negatives, not paced.
    ///
    /// # Panics
    ///
    /// If a coefficient is not finite in f32.
    pub fn new(positive: Product, negative: Product) -> Self {
        for Product {
            rate,
            offset,
            center,
        } in [positive, negative]
        {
            assert!(
                [rate, offset, center]
                    .iter()
                    .all(|x| (*x as f32).is_finite()),
                "Curve: expected numbers that are finite in f32, got rate {rate}, offset {offset} and center {center}"
            );
        }
        Self {
            positive,
            negative,
            paced: false,
        }
    }

    /// Sets whether the curve is paced: whether `u` is the constant `max(u, 0)`. Default:
    /// false.
    #[must_use]
    pub fn with_paced(self, paced: bool) -> Self {
        Self { paced, ..self }
    }

    /// The paced curve of [`CircleLoss`](crate::CircleLoss): `max(s + margin, 0) (s - margin)`
    /// for negatives, and `max(1 + margin - s, 0) (s - 1 + margin)` for positives.
    ///
    /// # Panics
    ///
    /// If the margin is not finite in f32.
    pub fn circle(margin: f64) -> Self {
        let positive = Product {
            rate: -1.0,
            offset: 1.0 + margin,
            center: 1.0 - margin,
        };
        let negative = Product {
            rate: 1.0,
            offset: margin,
            center: margin,
        };
        Self::new(positive, negative).with_paced(true)
    }

    /// The curve of [`FocalInfoNceLoss`](crate::FocalInfoNceLoss): `s (s + margin)` for
    /// negatives, and `s^2` for positives.
    ///
    /// # Panics
    ///
    /// If the margin is not finite in f32.
    pub fn focal(margin: f64) -> Self {
        let square = |offset: f64| Product {
            rate: 1.0,
            offset,
            center: 0.0,
        };
        Self::new(square(0.0), square(margin))
    }
}
