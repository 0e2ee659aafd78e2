//! Comparisons that name the case, row and column, and how close is close enough.
//!
//! Tolerances are relative, so that a loss of 1e-14 must be right in its first digits.
//! They grow with the span of the scores: the exponent of e^(s / t) carries a rounding
//! error of |s / t| units, which no implementation can take back.

use crate::{
    device::{is_cpu, rounding},
    oracle::{Loss, Objective, Query},
};
use approx::relative_eq;
use burn::tensor::DType;
use std::fmt::Display;

/// How far a number may be from the expected one.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub relative: f64,
    pub absolute: f64,
}

impl Tolerance {
    /// Within `units` rounding errors of the dtype, relative to the number.
    pub fn units(dtype: DType, units: f64) -> Self {
        Self {
            relative: units * rounding(dtype),
            absolute: underflow(dtype),
        }
    }

    pub fn absolute(self, absolute: f64) -> Self {
        Self { absolute, ..self }
    }

    /// For the loss of one query. Only the part of it that is not saturated feels the
    /// exponents' rounding.
    pub fn loss(query: &Query, objective: &Objective, want: f64, dtype: DType) -> Self {
        let terms = query.p().len().max(1) as f64;
        let exponents = exponent_error(query, objective, dtype) * want.abs().min(terms);
        let base = Self::units(dtype, 64.0);
        base.absolute(base.absolute + exponents)
    }

    /// For a gradient of `upstream` times the loss of one query.
    pub fn gradient(query: &Query, objective: &Objective, upstream: f64, dtype: DType) -> Self {
        let mut tolerance = Self::units(dtype, 64.0);
        tolerance.relative += exponent_error(query, objective, dtype);
        tolerance.absolute *= upstream.abs().max(1.0) / objective.temperature;
        let m = query.p().len() as f64;
        if objective.loss == Loss::JointLh && (m > 1.0 || is_composed(dtype)) {
            // m P_p - 1 is a difference of numbers up to m
            let weight = m * upstream.abs() / objective.temperature;
            tolerance.absolute += tolerance.relative * weight;
        }
        tolerance
    }
}

/// Whether the device composes the losses of this dtype while it has kernels for others:
/// there `1 - 1` is a rounding error.
fn is_composed(dtype: DType) -> bool {
    dtype == DType::F64 && !is_cpu()
}

/// Results below this may be flushed to zero.
fn underflow(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-300,
        _ => 1e-36,
    }
}

/// Relative error of e^(s / t) for the query's largest score. Capped, so that huge scores
/// still have to come out right.
fn exponent_error(query: &Query, objective: &Objective, dtype: DType) -> f64 {
    let candidates = (0..query.scores.len()).filter(|&d| query.candidates[d]);
    let span = candidates
        .map(|d| query.scores[d].abs())
        .filter(|score| score.is_finite())
        .fold(objective.margin.abs(), f64::max);
    (4.0 * rounding(dtype) * span / objective.temperature).min(2e-3)
}

#[track_caller]
pub fn assert_close(what: impl Display, got: f64, want: f64, tolerance: Tolerance) {
    assert!(
        relative_eq!(
            got,
            want,
            epsilon = tolerance.absolute,
            max_relative = tolerance.relative
        ),
        "{what}: got {got:e}, expected {want:e} ({tolerance:?})"
    );
}

#[track_caller]
pub fn assert_all_close(what: impl Display, got: &[f64], want: &[f64], tolerance: Tolerance) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (column, (got, want)) in got.iter().zip(want).enumerate() {
        assert_close(
            format_args!("{what}, column {column}"),
            *got,
            *want,
            tolerance,
        );
    }
}

#[track_caller]
pub fn assert_rows_close(
    what: impl Display,
    got: &[Vec<f64>],
    want: &[Vec<f64>],
    tolerance: Tolerance,
) {
    assert_eq!(got.len(), want.len(), "{what}: rows");
    for (row, (got, want)) in got.iter().zip(want).enumerate() {
        assert_all_close(format_args!("{what}, row {row}"), got, want, tolerance);
    }
}
