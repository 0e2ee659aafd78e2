//! Rows of a table of axes in which each pair of levels occurs.

use crate::batch::Random;

/// A level of each axis.
pub type Row = Vec<usize>;

/// An axis and one of its levels.
pub type At = (usize, usize);

/// A yes or no for each pair of levels of two axes.
struct Pairs {
    /// The number of levels before those of an axis.
    starts: Vec<usize>,
    count: usize,
    entries: Vec<bool>,
}

impl Pairs {
    fn new(levels: &[usize], entry: impl Fn(At, At) -> bool) -> Self {
        let starts = (0..levels.len()).map(|axis| levels[..axis].iter().sum());
        let count = levels.iter().sum();
        let mut pairs = Self {
            starts: starts.collect(),
            count,
            entries: vec![false; count * count],
        };
        let all = || (0..levels.len()).flat_map(|a| (0..levels[a]).map(move |x| (a, x)));
        for a in all() {
            for b in all().filter(|b| a.0 < b.0) {
                pairs.set(a, b, entry(a, b));
            }
        }
        pairs
    }

    fn places(&self, a: At, b: At) -> [usize; 2] {
        let [a, b] = [a, b].map(|(axis, level)| self.starts[axis] + level);
        [a * self.count + b, b * self.count + a]
    }

    fn get(&self, a: At, b: At) -> bool {
        self.entries[self.places(a, b)[0]]
    }

    fn set(&mut self, a: At, b: At, to: bool) {
        for place in self.places(a, b) {
            self.entries[place] = to;
        }
    }
}

/// Rows that hold every pair of levels of two axes but those that clash. `levels` are the
/// numbers of levels. What clashes does so in pairs.
pub fn pairs(levels: &[usize], clash: impl Fn(At, At) -> bool) -> Vec<Row> {
    let fits = Pairs::new(levels, |a, b| !clash(a, b));
    let mut left = Pairs::new(levels, |a, b| !clash(a, b));
    let mut random = Random::new(7);
    let mut rows: Vec<Row> = Vec::new();
    for a in (0..levels.len()).flat_map(|axis| (0..levels[axis]).map(move |x| (axis, x))) {
        for b in (a.0 + 1..levels.len()).flat_map(|b| (0..levels[b]).map(move |x| (b, x))) {
            if !left.get(a, b) {
                continue;
            }
            // The best of some rows that begin with a pair which is left.
            let grown = (0..40).filter_map(|_| grow(levels, &fits, &left, [a, b], &mut random));
            let (_, row) = grown
                .max_by_key(|(gain, _)| *gain)
                .unwrap_or_else(|| panic!("no row holds {a:?} and {b:?}"));
            for (axis, &x) in row.iter().enumerate() {
                for (other, &y) in row.iter().enumerate().skip(axis + 1) {
                    left.set((axis, x), (other, y), false);
                }
            }
            rows.push(row);
        }
    }
    rows
}

/// A row around a pair, and how many pairs that are left it holds: the axes in any order,
/// each at a level that brings most. `None` where an axis has no level that fits.
fn grow(
    levels: &[usize],
    fits: &Pairs,
    left: &Pairs,
    first: [At; 2],
    random: &mut Random,
) -> Option<(usize, Row)> {
    let mut row = first.to_vec();
    let mut total = 1;
    let mut axes: Vec<usize> = (0..levels.len()).collect();
    axes.retain(|axis| first.iter().all(|(taken, _)| taken != axis));
    while !axes.is_empty() {
        let axis = axes.swap_remove(random.below(axes.len()));
        let mut best: Vec<usize> = Vec::new();
        let mut most = 0;
        for level in 0..levels[axis] {
            if !row.iter().all(|&at| fits.get(at, (axis, level))) {
                continue;
            }
            let gain = row.iter().filter(|&&at| left.get(at, (axis, level)));
            let gain = gain.count();
            if gain > most {
                most = gain;
                best.clear();
            }
            if gain == most {
                best.push(level);
            }
        }
        if best.is_empty() {
            return None;
        }
        total += most;
        row.push((axis, best[random.below(best.len())]));
    }
    row.sort_unstable();
    Some((total, row.into_iter().map(|(_, level)| level).collect()))
}

#[test]
fn every_pair_that_fits_is_in_a_row_and_no_other() {
    let levels = [3, 5, 2, 4];
    // The last level of the first axis fits no odd one of the second.
    let clash = |a: At, b: At| a == (0, 2) && b.0 == 1 && b.1 % 2 == 1;
    let rows = pairs(&levels, clash);
    let holds = |row: &Row, (axis, level): At| row[axis] == level;
    for (a, b) in (0..4).flat_map(|a| (a + 1..4).map(move |b| (a, b))) {
        for (x, y) in (0..levels[a]).flat_map(|x| (0..levels[b]).map(move |y| (x, y))) {
            let [first, second] = [(a, x), (b, y)];
            let is_there = |row: &Row| holds(row, first) && holds(row, second);
            let want = !clash(first, second);
            assert_eq!(rows.iter().any(is_there), want, "{first:?}, {second:?}");
        }
    }
    // Far fewer than all 120.
    assert!(rows.len() < 40, "{} rows", rows.len());
}
