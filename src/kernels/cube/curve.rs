//! A curve in the arithmetic of the kernels.

use cubecl::prelude::*;

use super::row::NEG_INFINITY;

/// What becomes of scores by one of the curves, `u (s - d)` with `u = k s + c`.
#[derive(CubeType, CubeLaunch)]
pub struct Bend {
    rate: f32,
    offset: f32,
    center: f32,
    /// The least that `u` is.
    floor: f32,
    /// The slope has `k (s - d)` times this beside `u`.
    share: f32,
}

#[cube]
impl Bend {
    fn factor(&self, score: f32) -> f32 {
        let factor = self.rate * score + self.offset;
        select(factor < self.floor, self.floor, factor)
    }

    fn value(&self, score: f32) -> f32 {
        self.factor(score) * (score - self.center)
    }

    fn slope(&self, score: f32) -> f32 {
        self.factor(score) + self.share * (score - self.center)
    }

    fn copy(&self) -> Bend {
        Bend {
            rate: self.rate,
            offset: self.offset,
            center: self.center,
            floor: self.floor,
            share: self.share,
        }
    }
}

/// What becomes of the scores of positives and of negatives.
#[derive(CubeType, CubeLaunch)]
pub struct Curve {
    positive: Bend,
    negative: Bend,
}

#[cube]
impl Curve {
    pub fn copy(&self) -> Curve {
        Curve {
            positive: self.positive.copy(),
            negative: self.negative.copy(),
        }
    }
}

/// What a curve makes of the score of a negative, which is not infinite.
#[cube]
pub fn of_negative(curve: &ComptimeOption<Curve>, score: f32) -> f32 {
    #[comptime]
    match curve {
        ComptimeOption::Some(curve) => curve.negative.value(score),
        ComptimeOption::None => score,
    }
}

/// How that changes with the score, times a gradient.
#[cube]
pub fn through_negative(curve: &ComptimeOption<Curve>, score: f32, gradient: f32) -> f32 {
    #[comptime]
    match curve {
        ComptimeOption::Some(curve) => {
            // What nobody asked for must not become NaN.
            let through = curve.negative.slope(score) * gradient;
            select(gradient == 0.0, 0.0, through)
        }
        ComptimeOption::None => gradient,
    }
}

/// What a curve makes of the score of a positive. Minus infinity stays what it is.
#[cube]
pub fn of_positive(curve: &ComptimeOption<Curve>, score: f32) -> f32 {
    #[comptime]
    match curve {
        ComptimeOption::Some(curve) => {
            let endless = u32::reinterpret(score) == NEG_INFINITY;
            select(endless, score, curve.positive.value(score))
        }
        ComptimeOption::None => score,
    }
}

/// How that changes with the score, times a gradient.
#[cube]
pub fn through_positive(curve: &ComptimeOption<Curve>, score: f32, gradient: f32) -> f32 {
    #[comptime]
    match curve {
        ComptimeOption::Some(curve) => {
            let endless = u32::reinterpret(score) == NEG_INFINITY;
            let through = curve.positive.slope(score) * gradient;
            select(endless || gradient == 0.0, gradient, through)
        }
        ComptimeOption::None => gradient,
    }
}
