//! What a loss makes of single scores before it compares them.

/// What a score becomes before the statistics are taken of it: of a positive by one curve, of a
/// negative by another.
///
/// ```text
/// f(s) = u(s) (s - d),   u(s) = k s + c
/// ```
///
/// A paced curve has `max(u, 0)` in the place of `u`, a constant that no gradient flows
/// through: it weighs how far a score is from where it should be. A score of minus infinity
/// stays what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    pub(crate) positive: Product,
    pub(crate) negative: Product,
    pub(crate) paced: bool,
}

/// The numbers of one curve, `(k s + c) (s - d)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    /// `k`.
    pub rate: f64,
    /// `c`.
    pub offset: f64,
    /// `d`.
    pub center: f64,
}

impl Curve {
    /// The curves of positives and of negatives.
    ///
    /// # Panics
    ///
    /// If one of their numbers is not finite in f32.
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

    /// Whether `u` is the constant `max(u, 0)`.
    #[must_use]
    pub fn with_paced(self, paced: bool) -> Self {
        Self { paced, ..self }
    }

    /// That of the circle loss, with `u` a constant: for negatives
    /// `max(s + margin, 0) (s - margin)`, for positives
    /// `max(1 + margin - s, 0) (s - 1 + margin)`.
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

    /// That of focal InfoNCE: for negatives `s (s + margin)`, for positives `s^2`.
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
