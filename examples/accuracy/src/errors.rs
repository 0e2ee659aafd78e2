//! How far a result lies from the exact one, and how far it may.

use serde::{Deserialize, Serialize};

use crate::{
    objectives::{Loss, Setting},
    oracle::Exact,
    paths::{Path, first_bits},
    precision::Precision,
    real::Real,
    rows::Row,
};

/// The errors of one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Errors {
    /// Relative, of the loss; none where the type of the loss has not all its digits.
    pub value: Option<f64>,
    /// Of the loss, in units of its last place.
    pub value_ulps: f64,
    /// The largest of the gradient, in units of the last place of its largest entry.
    pub gradient_ulps: f64,
    /// Relative, of the entries that their type has with all digits.
    pub gradient: Option<Quantiles>,
    /// How far the sum of a gradient that is 0 is from that, relative to the sum of its
    /// absolute entries.
    pub imbalance: Option<f64>,
    /// From embeddings: of the gradient of the query, relative to the absolute terms of its
    /// sum.
    pub query: Option<f64>,
    /// Errors divided by their bounds: of the loss, the gradient, and that of the query.
    pub shares: [f64; 3],
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Quantiles {
    pub median: f64,
    pub most: f64,
    pub worst: f64,
}

impl Quantiles {
    pub fn of(values: Vec<f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().map(finite).collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
        (!values.is_empty()).then(|| Self {
            median: at(0.5),
            most: at(0.99),
            worst: at(1.0),
        })
    }
}

/// What came out for one row.
pub struct Got<'a> {
    pub loss: f64,
    pub gradient: &'a [f64],
    pub of_query: Option<f64>,
}

/// How often one rounding error occurs in a path.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// In functions and products, whatever the scores are.
    pub each: f64,
    /// In the longest chain of a sum.
    pub sum: f64,
    /// In an exponent, relative to its size.
    pub size: f64,
    /// In what is added to exponents, relative to that.
    pub level: f64,
    /// In the longest chain of the product that the gradient of a query is.
    pub product: f64,
}

impl Counts {
    pub fn of(path: Path, precision: Precision, documents: usize) -> Self {
        let n = documents as f64;
        let is_double = precision == Precision::F64;
        match path {
            Path::Kernels | Path::Tiled => {
                // Four vectors of a chunk's sum, on AVX2; chunks are added in f64.
                let lanes = if is_double { 4.0 } else { 8.0 };
                let chunks = if is_double { n / 2048.0 } else { 0.0 };
                Self {
                    each: 24.0,
                    sum: n.min(2048.0) / (4.0 * lanes) + chunks + 4.0,
                    size: 4.0,
                    level: 4.0,
                    // Blocks of 512 documents, one after the other.
                    product: n.min(512.0) + n / 512.0 + 2.0,
                }
            }
            Path::Composed => Self {
                each: 40.0,
                sum: if is_double { n } else { n / 64.0 + 16.0 },
                size: 6.0,
                level: 6.0,
                product: 0.0,
            },
            Path::CubeCl => Self {
                each: 64.0,
                sum: n / 64.0 + 16.0,
                size: 8.0,
                level: 8.0,
                product: 0.0,
            },
        }
    }
}

/// The errors of a row; without counts of rounding errors nothing is bounded.
pub fn errors(
    counts: Option<Counts>,
    setting: &Setting,
    precision: Precision,
    row: &Row,
    exact: &Exact,
    got: Got,
) -> Errors {
    let bounds = counts.map(|counts| Bounds::new(counts, precision, exact));
    let of_losses = precision.of_losses();
    let off = exact.value.distance(got.loss);
    let size = exact.value.high.abs();
    // What is too large for the type of the scores is infinite in it.
    let is_held = |exact: f64| exact.abs() < precision.most();
    let gradients = exact.gradient.iter().zip(got.gradient);
    let off_gradients = gradients.map(|(exact, &got)| match is_held(exact.high) {
        true => exact.distance(got),
        false => 0.0,
    });
    let off_gradients: Vec<f64> = off_gradients.collect();
    let largest = exact.gradient.iter().map(|entry| entry.high.abs());
    let largest = largest.fold(0.0, f64::max);
    let worst = off_gradients.iter().copied().fold(0.0, larger);
    let relative = off_gradients.iter().zip(&exact.gradient);
    let floor = precision.least().max(4.0 * least(precision, exact));
    let relative = relative.filter(|(_, exact)| exact.high.abs() >= floor);
    let relative = relative.map(|(off, exact)| off / exact.high.abs());
    let share = |off: f64, bound: f64| match off == 0.0 {
        true => 0.0,
        false => finite(off / bound),
    };
    let shares = bounds.as_ref().map_or([0.0; 2], |bounds| {
        let of_gradient = off_gradients
            .iter()
            .enumerate()
            .map(|(column, &off)| share(off, bounds.entry(column, exact.gradient[column].high)));
        [share(off, bounds.value()), of_gradient.fold(0.0, larger)]
    });

    let mut query = None;
    let mut of_query = 0.0;
    if let (Some(got), Some(bounds)) = (got.of_query, bounds) {
        let mut sum = Real::zero();
        let [mut terms, mut bound] = [0.0; 2];
        for (column, entry) in exact.gradient.iter().enumerate() {
            let factor = first_bits(row.scores[column], precision);
            let whole = Real::from(entry.high) + Real::from(entry.low);
            sum = sum + whole * Real::from(factor);
            terms += (entry.high * factor).abs();
            bound += bounds.entry_in_losses(column, entry.high) * factor.abs();
        }
        let off = match is_held(sum.to_f64()) {
            true => sum.split().distance(got),
            false => 0.0,
        };
        let product = bounds.counts.product * of_losses.rounding() * terms;
        let rounded = precision.rounding() * sum.to_f64().abs() + precision.least();
        query = (terms > precision.least() * 1e6).then_some(finite(off / terms));
        of_query = share(off, bound + product + rounded);
    }

    let balance = !matches!(
        setting.loss,
        Loss::Circle { .. }
            | Loss::FocalInfoNce { .. }
            | Loss::Sigmoid { .. }
            | Loss::MultiSimilarity { .. }
    );
    let sizes: f64 = got.gradient.iter().map(|entry| entry.abs()).sum();
    let balance = balance && sizes > precision.least() * 1e6;
    Errors {
        value: (size >= of_losses.least()).then(|| finite(off / size)),
        value_ulps: finite(off / of_losses.ulp(size)),
        gradient_ulps: finite(worst / precision.ulp(largest)),
        gradient: Quantiles::of(relative.collect()),
        imbalance: balance.then(|| finite(got.gradient.iter().sum::<f64>() / sizes).abs()),
        query,
        shares: [shares[0], shares[1], of_query],
    }
}

/// Stands for an error that is not finite, which JSON cannot hold.
pub const ENDLESS: f64 = 1e300;

/// Not `max`, which passes over NaN.
pub fn larger(a: f64, b: f64) -> f64 {
    finite(a).max(finite(b))
}

fn finite(error: f64) -> f64 {
    match error.is_finite() {
        true => error,
        false => ENDLESS,
    }
}

/// What may be lost of a gradient where parts of it are below the numbers of all digits:
/// the kernels drop exponentials below 2^-125.5, in f64 2^-1021.5, before they multiply.
fn least(precision: Precision, exact: &Exact) -> f64 {
    let condition = &exact.condition;
    let steepest = condition.steepness.iter().copied().fold(1.0, f64::max);
    let largest = condition.mass.iter().zip(&condition.steepness);
    let largest = largest
        .map(|(mass, steep)| mass * steep)
        .fold(0.0, f64::max);
    precision.of_losses().least() * 8.0 * (steepest + largest)
}

/// How large errors may be, to first order in the rounding error.
struct Bounds<'a> {
    counts: Counts,
    precision: Precision,
    exact: &'a Exact,
    /// The sum of the masses, and that of masses times sizes.
    mass: f64,
    sizes: f64,
    /// What is lost where a part is below the numbers of all digits.
    least: f64,
}

impl<'a> Bounds<'a> {
    fn new(counts: Counts, precision: Precision, exact: &'a Exact) -> Self {
        let condition = &exact.condition;
        let parts = condition.mass.iter().zip(&condition.size);
        Self {
            counts,
            precision,
            exact,
            mass: condition.mass.iter().sum(),
            sizes: parts.map(|(mass, size)| mass * size).sum(),
            least: least(precision, exact),
        }
    }

    fn value(&self) -> f64 {
        let Counts {
            each,
            sum,
            size,
            level,
            ..
        } = self.counts;
        let condition = &self.exact.condition;
        let rounding = self.precision.of_losses().rounding();
        let of_sums = (sum + level * condition.level) * self.mass;
        let of_sizes = size * self.sizes;
        let of_parts = (each + sum) * condition.parts;
        rounding * (of_parts + of_sums + of_sizes) + self.least
    }

    /// Of an entry of the gradient, before it is rounded to the type of the scores.
    fn entry_in_losses(&self, column: usize, exact: f64) -> f64 {
        let Counts {
            each,
            sum,
            size,
            level,
            ..
        } = self.counts;
        let condition = &self.exact.condition;
        let mean = match self.mass > 0.0 {
            // What pulls is half of all.
            true => self.sizes / (0.5 * self.mass),
            false => 0.0,
        };
        let errors = each + sum + size * (condition.size[column] + mean) + level * condition.level;
        let mass = condition.mass[column] * condition.steepness[column];
        let rounding = self.precision.of_losses().rounding();
        rounding * (errors * mass + exact.abs()) + self.least
    }

    fn entry(&self, column: usize, exact: f64) -> f64 {
        let rounded = match self.precision == self.precision.of_losses() {
            true => 0.0,
            false => self.precision.rounding() * (exact.abs() + 2.0 * self.precision.least()),
        };
        self.entry_in_losses(column, exact) + rounded
    }
}
