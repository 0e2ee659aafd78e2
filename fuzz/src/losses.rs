//! Every loss with every option, by its definition.
//!
//! The bytes choose a level of each axis of `tests/suite/axes`, and the number of the
//! batch. The tests cover every pair of levels; here any number of them meet.

use std::cell::LazyCell;

use arbitrary::Unstructured;

use crate::axes::{
    failure,
    setup::{self, Axis, DEFAULT_TYPES},
};

thread_local! {
    static AXES: LazyCell<Vec<Axis>> = const { LazyCell::new(setup::axes) };
}

/// The levels of "counts" of a few documents.
const SMALL: usize = 3;

/// Runs the loss that the bytes choose, forward and backward.
pub fn run(data: &[u8]) {
    AXES.with(|axes| {
        let mut bytes = Unstructured::new(data);
        let Ok((row, batch)) = choose(axes, &mut bytes) else {
            return;
        };
        if let Some(failure) = failure_of(axes, &row, batch) {
            panic!("{}", reduced(axes, row, batch, failure));
        }
    });
}

fn failure_of(axes: &[Axis], row: &[usize], batch: u32) -> Option<String> {
    match clashes(axes, row) {
        true => None,
        false => failure(axes, row, u64::from(batch)),
    }
}

/// The failure with as many usual levels as it has with.
fn reduced(axes: &[Axis], mut row: Vec<usize>, batch: u32, mut found: String) -> String {
    for axis in 0..row.len() {
        let level = std::mem::take(&mut row[axis]);
        match failure_of(axes, &row, batch) {
            Some(failure) => found = failure,
            None => row[axis] = level,
        }
    }
    found
}

fn choose(axes: &[Axis], bytes: &mut Unstructured) -> arbitrary::Result<(Vec<usize>, u32)> {
    let mut row = Vec::with_capacity(axes.len());
    for axis in axes {
        let levels = match axis.0 {
            // One for a process.
            DEFAULT_TYPES => 1,
            _ => axis.1.len(),
        };
        let first = match axis.0 {
            // The definition takes long over many documents, so they are rare.
            "counts" => match bytes.choose_index(40)? {
                any if any < levels => any,
                small => small % SMALL,
            },
            _ => bytes.choose_index(levels)?,
        };
        // The next one that goes with those before it.
        let level = (0..levels).map(|step| (first + step) % levels);
        let fits = |level: &usize| {
            let so_far = row.iter().enumerate();
            so_far.clone().all(|(other, chosen): (usize, &usize)| {
                let one = (axes[other].0, &axes[other].1[*chosen]);
                !setup::clash(one, (axis.0, &axis.1[*level]))
            })
        };
        let level = level.clone().find(fits).unwrap_or(first);
        row.push(level);
    }
    Ok((row, bytes.arbitrary()?))
}

fn clashes(axes: &[Axis], row: &[usize]) -> bool {
    let at = |axis: usize| (axes[axis].0, &axes[axis].1[row[axis]]);
    (0..row.len()).any(|a| (0..a).any(|b| setup::clash(at(a), at(b))))
}
