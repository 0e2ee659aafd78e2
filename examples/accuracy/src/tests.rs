//! A small part of the grid, held to its bounds.

use crate::{grid::plans, measure::Measured};

#[test]
fn errors_are_within_their_bounds() {
    let mut measured = Measured::default();
    for plan in plans(true) {
        measured.add(&plan.cell(), None).unwrap();
    }
    assert!(measured.records.len() > 10_000);
    measured.assert_bounds().unwrap();
}
