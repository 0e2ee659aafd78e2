//! The statistics and their gradients as they are defined: in f64, one query after the other
//! and one score after the other. Every kernel runs against it, and it stays naive.

use super::table::{
    NEGATIVE_COUNT, POSITIVE_COUNT, POSITIVE_WEIGHT, REFERENCE, Request, Statistic, WIDTH,
};

pub const TEMPERATURE: f64 = 0.25;

/// Whether a test takes its time for so many scores: under Miri for few.
pub fn has_time_for([queries, documents]: [usize; 2]) -> bool {
    !cfg!(miri) || queries * documents <= 300
}

/// Scores, targets, and the gradient of the table that gradients are computed with.
#[derive(Clone, Debug)]
pub struct Case {
    pub shape: [usize; 2],
    pub scores: Vec<f64>,
    pub positives: Vec<bool>,
    pub candidates: Option<Vec<bool>>,
    pub weights: Option<Vec<f64>>,
    pub chosen: Option<Vec<i64>>,
    /// All statistics.
    pub request: Request,
}

/// How far a number may be from the expected one.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub absolute: f64,
    pub relative: f64,
}

impl Tolerance {
    pub fn of(both: f64) -> Self {
        Self {
            absolute: both,
            relative: both,
        }
    }

    #[track_caller]
    pub fn assert(self, what: impl FnOnce() -> String, got: f64, want: f64) {
        assert!(
            (got - want).abs() <= self.absolute + self.relative * want.abs(),
            "{}: got {got}, expected {want}",
            what()
        );
    }
}

/// A weight for each statistic of each query, none of them 0: the gradient of the table.
pub fn weight(query: usize, column: usize) -> f64 {
    0.25 + (column % 7) as f64 + (query % 3) as f64
}

/// The gradient of a table that has `width` columns.
pub fn weights(queries: usize, width: usize) -> Vec<f64> {
    let of_query = |query| (0..width).map(move |column| weight(query, column));
    (0..queries).flat_map(of_query).collect()
}

impl Case {
    fn columns(&self, query: usize, relevant: bool) -> Vec<usize> {
        let at = |column: usize| query * self.shape[1] + column;
        let is_candidate = |at: usize| {
            self.weight(at) != 0.0 && self.candidates.as_ref().is_none_or(|mask| mask[at])
        };
        (0..self.shape[1])
            .filter(|&column| is_candidate(at(column)) && self.positives[at(column)] == relevant)
            .collect()
    }

    fn weight(&self, at: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[at])
    }

    /// The columns of the drawn positives, -1 where there is none.
    pub fn drawn(&self, draws: &[f32]) -> Vec<i64> {
        let drawn = |query: usize| {
            let positives = self.columns(query, true);
            let weight = |&column: &usize| self.weight(query * self.shape[1] + column);
            let place = match self.weights {
                Some(_) => super::draw::weighted_place(draws[query], positives.iter().map(weight)),
                None => Some(super::draw::place(draws[query], positives.len())),
            };
            place
                .and_then(|place| positives.get(place))
                .map_or(-1, |&column| column as i64)
        };
        (0..self.shape[0]).map(drawn).collect()
    }

    /// The statistics of a query and the gradients of its scores.
    fn query(&self, query: usize) -> ([f64; WIDTH], Vec<f64>) {
        let mut table = [0.0; WIDTH];
        let mut gradient = vec![0.0; self.shape[1]];
        let mut positives = self.columns(query, true);
        if positives.is_empty() {
            return (table, gradient);
        }
        if let Some(chosen) = &self.chosen {
            positives.retain(|&column| column as i64 == chosen[query]);
        }
        let raw = |column: usize| self.scores[query * self.shape[1] + column];
        // What becomes of a score, and the slope of that.
        let bent = |column: usize| match self.request.curve() {
            Some(curve) => {
                let product = match self.positives[query * self.shape[1] + column] {
                    true => curve.positive,
                    false => curve.negative,
                };
                let (s, away) = (raw(column), raw(column) - product.center);
                let factor = product.rate * s + product.offset;
                match curve.paced {
                    _ if s == f64::NEG_INFINITY => [s, 1.0],
                    true => [factor.max(0.0) * away, factor.max(0.0)],
                    false => [factor * away, product.rate * away + factor],
                }
            }
            None => [raw(column), 1.0],
        };
        let score = |column: usize| bent(column)[0];
        let mut negatives = self.columns(query, false);
        // What weighs nothing is not counted.
        negatives.retain(|&column| raw(column) != f64::NEG_INFINITY);
        if let Some(rule) = self.request.false_negatives() {
            let of_positives = positives.iter().map(|&column| raw(column));
            let ceiling = rule.ceiling(of_positives);
            negatives.retain(|&column| raw(column) <= ceiling);
        }
        let weight_of = |column: usize| self.weight(query * self.shape[1] + column);
        let largest = |columns: &[usize]| {
            let scores = columns.iter().map(|&column| score(column));
            scores.fold(f64::NEG_INFINITY, f64::max)
        };
        let reference = largest(if negatives.is_empty() {
            &positives
        } else {
            &negatives
        });
        let (temperature, exponent) = (self.request.temperature(), self.request.exponent());
        let x = |column: usize| (score(column) - reference) / temperature;
        // The weight of a negative, hardness included, measured from the reference.
        let hard = |column: usize| {
            weight_of(column) * (self.request.hardness() * (score(column) - reference)).exp()
        };
        let lse = |columns: &[usize], term: &dyn Fn(usize) -> f64| match columns {
            [] => 0.0,
            _ => columns.iter().map(|&c| term(c)).sum::<f64>().ln(),
        };
        let negative = |c: usize| hard(c) * x(c).exp();
        let power = |c: usize| weight_of(c) * (exponent * x(c)).exp();
        let n = lse(&negatives, &negative);
        let p = lse(&positives, &power);
        let u = lse(&positives, &|c| x(c).exp());
        let total: f64 = positives.iter().map(|&c| weight_of(c)).sum();
        table[POSITIVE_COUNT] = positives.len() as f64;
        table[NEGATIVE_COUNT] = negatives.len() as f64;
        table[POSITIVE_WEIGHT] = total;
        table[REFERENCE] = reference;
        table[Statistic::Negatives as usize] = n;
        let sum = positives.iter().map(|&c| weight_of(c) * x(c));
        table[Statistic::PositiveMean as usize] = match exponent {
            // The other form has not the digits.
            _ if exponent.abs() < 1e-10 => sum.sum::<f64>() / total,
            _ => (p - total.ln()) / exponent,
        };
        table[Statistic::UnweightedPositives as usize] = u;
        let excess = positives.iter().map(|&c| weight_of(c) * (u - x(c)));
        table[Statistic::PositiveExcess as usize] = excess.sum();

        let slope = |statistic: Statistic| weight(query, statistic as usize) / temperature;
        let mut push = 0.0;
        for &column in &positives {
            let softmax = (x(column) - u).exp();
            gradient[column] += slope(Statistic::PositiveMean) * power(column) / p.exp();
            gradient[column] += slope(Statistic::UnweightedPositives) * softmax;
            gradient[column] +=
                slope(Statistic::PositiveExcess) * (total * softmax - weight_of(column));
            if self.request.wants(Statistic::PositiveLosses) && !negatives.is_empty() {
                let odds = (n + self.request.hardness() * reference - x(column)).exp();
                table[Statistic::PositiveLosses as usize] += weight_of(column) * odds.ln_1p();
                let pull = weight_of(column) * odds / (1.0 + odds);
                gradient[column] -= slope(Statistic::PositiveLosses) * pull;
                push += slope(Statistic::PositiveLosses) * pull;
            }
        }
        for &column in &negatives {
            let softmax = negative(column) / n.exp();
            gradient[column] += (slope(Statistic::Negatives) + push) * softmax;
        }
        for (columns, sign) in [(&positives, -1.0), (&negatives, 1.0)] {
            if !self.request.wants(Statistic::BinaryLosses) {
                continue;
            }
            for &column in columns {
                let z = sign * (score(column) / temperature + self.request.bias());
                let odds = z.exp();
                table[Statistic::BinaryLosses as usize] += weight_of(column) * odds.ln_1p();
                let pull = weight_of(column) * odds / (1.0 + odds);
                gradient[column] += slope(Statistic::BinaryLosses) * sign * pull;
            }
        }
        for (statistic, columns, sign) in [
            (Statistic::WeakestPositive, &positives, -1.0),
            (Statistic::StrongestPositive, &positives, 1.0),
            (Statistic::HardestNegative, &negatives, 1.0),
        ] {
            let mut first: Option<usize> = None;
            for &column in columns {
                if first.is_none_or(|first| sign * x(column) > sign * x(first)) {
                    first = Some(column);
                }
            }
            if let Some(column) = first {
                table[statistic as usize] = x(column);
                gradient[column] += slope(statistic);
            }
        }
        for column in positives.into_iter().chain(negatives) {
            gradient[column] *= bent(column)[1];
        }
        (table, gradient)
    }

    /// The table and the gradients of the scores.
    pub fn expected(&self) -> (Vec<f64>, Vec<f64>) {
        let queries = (0..self.shape[0]).map(|query| self.query(query));
        let (tables, gradients): (Vec<_>, Vec<_>) = queries.unzip();
        (tables.concat(), gradients.concat())
    }

    /// A kernel's table of `width` columns and its gradients are the expected ones.
    pub fn assert(
        &self,
        width: usize,
        table: &[f64],
        gradient: &[f64],
        [of_table, of_gradient]: [Tolerance; 2],
    ) {
        let [queries, documents] = self.shape;
        assert_eq!(
            [table.len(), gradient.len()],
            [queries * width, queries * documents]
        );
        let (want_table, want_gradient) = self.expected();
        for (i, &want) in want_table.iter().enumerate() {
            let (query, column) = (i / WIDTH, i % WIDTH);
            let what = || format!("query {query} of {:?}, column {column}", self.shape);
            of_table.assert(what, table[query * width + column], want);
        }
        for (i, (&got, &want)) in gradient.iter().zip(&want_gradient).enumerate() {
            let what = || {
                format!(
                    "gradient {:?} of {:?}",
                    [i / documents, i % documents],
                    self.shape
                )
            };
            of_gradient.assert(what, got, want);
        }
    }
}
