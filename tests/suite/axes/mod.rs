//! Everything that a loss can be told, in every pair of combinations.
//!
//! `setup` is the table: an axis for each option, input, target, type and mode, with a line
//! for each of its levels. `cover` makes rows of it in which every pair of levels occurs
//! that do not exclude each other, `batch` and `call` make a call of a row, and
//! `definition` says in naive sums what must come of it.

mod batch;
mod call;
mod cover;
mod definition;
mod dual;
mod expected;
pub mod setup;

use crate::{
    batch::Random,
    child,
    device::{device, is_cpu},
};
use batch::Batch;
use burn::tensor::{DType, Device, FloatDType, IntDType};
use call::{Gradients, call};
use expected::{Expected, Learnt, Sum};
use setup::{Axis, DEFAULT_TYPES, Relevance, Setup};

#[test]
fn every_pair_of_levels_gives_what_the_definition_gives() {
    let test = "axes::every_pair_of_levels_gives_what_the_definition_gives";
    let cases: Vec<&str> = setup::default_types().iter().map(|level| level.0).collect();
    // The default types are set once for a process.
    child::in_processes(test, &cases, None, |case| {
        let levels = setup::default_types();
        let place = levels.iter().position(|level| level.0 == case);
        let place = place.expect("a case is a level");
        if let Some(defaults) = setup::usual().with(&levels[place]).defaults {
            configure(device(), defaults);
        }
        let axes = setup::axes();
        let counts: Vec<usize> = axes.iter().map(|axis| axis.1.len()).collect();
        let at = |(axis, level): cover::At| (axes[axis].0, &axes[axis].1[level]);
        let rows = cover::pairs(&counts, |a, b| setup::clash(at(a), at(b)));
        let of_process = axes.iter().position(|axis| axis.0 == DEFAULT_TYPES);
        let of_process = of_process.expect("an axis of default types");
        // A GPU compiles kernels for nearly every call.
        let step = if is_cpu() { 1 } else { 20 };
        let mut failures = Vec::new();
        let mut run = 0;
        for (index, row) in rows.iter().enumerate().step_by(step) {
            if row[of_process] == place {
                run += 1;
                failures.extend(failure(&axes, row, index as u64));
            }
        }
        assert!(
            failures.is_empty(),
            "{} of {run} rows:\n{}",
            failures.len(),
            failures.join("\n")
        );
        println!("{run} of {} rows", rows.len());
        assert!(run > 20 / step, "{run} rows");
    });
}

fn configure(mut device: Device, defaults: (FloatDType, IntDType)) {
    device.configure(defaults).expect("no tensor yet");
    // A device with autodiff may have settings of its own.
    let _ = device.autodiff().configure(defaults);
}

/// What is wrong in a row with a batch of this number, with the levels that are not the
/// usual ones.
pub fn failure(axes: &[Axis], row: &[usize], index: u64) -> Option<String> {
    let levels = || {
        axes.iter()
            .zip(row)
            .map(|(axis, &level)| (axis.0, &axis.1[level]))
    };
    let setup = levels().fold(setup::usual(), |setup, (_, level)| setup.with(level));
    let batch = Batch::new(&setup, &mut Random::new(index + 1));
    let wrong = std::panic::catch_unwind(|| check(&setup, &batch));
    let wrong = match wrong {
        Ok(Ok(())) => return None,
        Ok(Err(wrong)) => wrong,
        Err(_) => "panics".into(),
    };
    let names = levels().zip(row).filter(|(_, place)| **place > 0);
    let names = names.map(|((axis, level), _)| format!("{axis}: {}", level.0));
    let names: Vec<String> = names.collect();
    Some(format!("row {index}: {wrong}\n    {}", names.join("; ")))
}

fn check(setup: &Setup, batch: &Batch) -> Result<(), String> {
    let got = call(setup, batch);
    let expected = Expected::new(setup, batch, got.learnt);
    if expected.is_close_call || expected.overflows() {
        return Ok(());
    }
    let is_wide = setup.dtype == DType::F64;
    let want = if is_wide { DType::F64 } else { DType::F32 };
    if got.dtype != want {
        return Err(format!("a loss in {:?}", got.dtype));
    }
    let error = error(setup, got.learnt);
    if got.losses.len() != expected.losses.len() {
        return Err(format!(
            "{} losses, expected {}",
            got.losses.len(),
            expected.losses.len()
        ));
    }
    for (row, (got, want)) in got.losses.iter().zip(&expected.losses).enumerate() {
        if (got - want).abs() > error * (1.0 + want.abs()) || got.is_nan() {
            return Err(format!("loss {row}: got {got}, expected {want}"));
        }
    }
    match got.gradients {
        Some(gradients) => compare(setup, &gradients, &expected, error),
        None => Ok(()),
    }
}

/// The relative error that sums of exponentials may have.
fn error(setup: &Setup, learnt: Learnt) -> f64 {
    // A teacher's likelihoods are weights in f32.
    let is_graded = matches!(
        setup.relevance,
        Relevance::Teacher | Relevance::TeacherGroups
    );
    let unit = match setup.dtype {
        DType::F64 if !is_graded => f64::from(f32::EPSILON).powi(2),
        _ => f64::from(f32::EPSILON),
    };
    let steepest = (learnt.scale / setup.spec.temperature).max(9.0);
    // A GPU rounds its exponentials by some units, and sums in any order.
    unit * if is_cpu() { 8.0 } else { 64.0 } * (16.0 + 4.0 * steepest)
}

fn compare(setup: &Setup, got: &Gradients, expected: &Expected, error: f64) -> Result<(), String> {
    // Of the type that a gradient is rounded to, once for each part it is summed from.
    let rounding = match setup.dtype {
        DType::F16 => 2f64.powi(-9),
        DType::BF16 => 2f64.powi(-6),
        _ => 0.0,
    };
    let underflow = if setup.dtype == DType::F16 { 1e-6 } else { 0.0 };
    let steepness = 1.0 / setup.spec.temperature;
    let is_near = |got: f64, want: Sum, rounding: f64| {
        let allowed = (error + rounding) * want.size + error * steepness + underflow;
        (got - want.value).abs() <= allowed
    };
    for (side, (got, want)) in got.leaves.iter().zip(&expected.leaves).enumerate() {
        for (row, (got, want)) in got.iter().zip(want).enumerate() {
            for (column, (got, want)) in got.iter().zip(want).enumerate() {
                if !is_near(*got, *want, rounding) {
                    return Err(format!(
                        "gradient {side}, [{row}, {column}]: got {got}, expected {want:?}"
                    ));
                }
            }
        }
    }
    // Parameters may be in half precision.
    let rounding = 2f64.powi(-6);
    for (name, is_learned, got, want) in [
        (
            "log_scale",
            setup.learns_temperature(),
            got.log_scale,
            expected.log_scale,
        ),
        ("bias", setup.learns_bias(), got.bias, expected.bias),
    ] {
        if is_learned && !is_near(got, want, rounding) {
            return Err(format!("gradient of {name}: got {got}, expected {want:?}"));
        }
    }
    Ok(())
}
