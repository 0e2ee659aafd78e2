//! The statistics of one query, and the gradient of its scores.

use super::{
    block::{self, BLOCK, Scale},
    element::Element,
    isa::Kernel,
    real::Real,
};
use crate::statistics::table::{NEGATIVE_COUNT, POSITIVE_COUNT, REFERENCE, Request, Statistic};

/// The targets of one query; a mask entry is true unless it is 0.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub positives: &'a [u8],
    pub candidates: Option<&'a [u8]>,
    /// The column that is the only positive.
    pub chosen: Option<i64>,
}

impl Row<'_> {
    /// Collects the columns of the positives; whether the query is active.
    #[inline(always)]
    fn positives(self, columns: &mut Vec<usize>) -> bool {
        columns.clear();
        for (index, block) in self.positives.chunks(64).enumerate() {
            // Positives are few: most blocks are passed over at once.
            if block.iter().fold(0, |any, &positive| any | positive) != 0 {
                let first = index * 64;
                let found = block
                    .iter()
                    .enumerate()
                    .filter(|(_, positive)| **positive != 0);
                columns.extend(found.map(|(offset, _)| first + offset));
            }
        }
        if let Some(candidates) = self.candidates {
            columns.retain(|&column| candidates[column] != 0);
        }
        let active = !columns.is_empty();
        if let Some(chosen) = self.chosen {
            columns.retain(|&column| column as i64 == chosen);
        }
        active
    }

    /// The entries of the columns from `start` that are not 0 where the document is no negative.
    #[inline(always)]
    fn excluded<'a>(&'a self, start: usize, buffer: &'a mut [u8; BLOCK]) -> &'a [u8] {
        let end = self.positives.len().min(start + BLOCK);
        let positives = &self.positives[start..end];
        let Some(candidates) = self.candidates else {
            return positives;
        };
        let buffer = &mut buffer[..end - start];
        for ((excluded, positive), candidate) in buffer
            .iter_mut()
            .zip(positives)
            .zip(&candidates[start..end])
        {
            *excluded = u8::from(*positive != 0) | u8::from(*candidate == 0);
        }
        buffer
    }
}

/// Log-sum-exp over the negatives, while it is computed.
struct Negatives<R> {
    max: R,
    /// The sum of `exp((score - max) / temperature)`.
    sum: f64,
    count: u64,
    unordered: bool,
}

impl<R: Real> Negatives<R> {
    #[inline(always)]
    fn new<const FMA: bool, E: Element<Real = R>>(
        scores: &[E],
        row: Row,
        request: Request,
    ) -> Self {
        let mut all = Self {
            max: R::NEG_INFINITY,
            sum: 0.0,
            count: 0,
            unordered: false,
        };
        let mut excluded = [0; BLOCK];
        let mut buffer = [R::default(); BLOCK];
        for (index, scores) in scores.chunks(BLOCK).enumerate() {
            let excluded = row.excluded(index * BLOCK, &mut excluded);
            all.add::<FMA>(E::load(scores, &mut buffer), excluded, request);
        }
        all
    }

    #[inline(always)]
    fn add<const FMA: bool>(&mut self, scores: &[R], excluded: &[u8], request: Request) {
        let max = block::max(scores, excluded);
        if max > self.max {
            let before = relative(self.max.to_f64(), max.to_f64(), request.temperature);
            self.sum *= before.exp();
            self.max = max;
        }
        // The exponential is not needed for the hardest negative alone, and has no reference
        // where all negatives so far are minus infinity or NaN.
        if request.wants(Statistic::Negatives) && self.max > R::NEG_INFINITY {
            let scale = Scale::new(self.max, request.temperature);
            let (sum, count) = block::sum_exp::<FMA, R>(scores, excluded, scale);
            self.sum += sum;
            self.count += count;
        } else {
            let (count, unordered) = block::count(scores, excluded);
            self.count += count;
            self.unordered |= unordered;
        }
    }
}

fn relative(score: f64, reference: f64, temperature: f64) -> f64 {
    (0.5 * score - 0.5 * reference) * (2.0 / temperature)
}

/// Log-sum-exp over the positives, or over their negated scores, relative to the largest: from the
/// reference of the query, the differences between positives might drown.
struct Positives {
    max: f64,
    log: f64,
    temperature: f64,
}

impl Positives {
    fn new(scores: impl Iterator<Item = f64> + Clone, temperature: f64) -> Self {
        let max = scores.clone().fold(f64::NEG_INFINITY, f64::max);
        let exp = scores.map(|score| relative(score, max, temperature).exp());
        let log = exp.sum::<f64>().ln();
        Self {
            max,
            log,
            temperature,
        }
    }

    fn log_sum_exp(&self, reference: f64) -> f64 {
        relative(self.max, reference, self.temperature) + self.log
    }

    /// How far a score lies below the log-sum-exp.
    fn gap(&self, score: f64) -> f64 {
        relative(self.max, score, self.temperature) + self.log
    }

    fn softmax(&self, score: f64) -> f64 {
        (-self.gap(score)).exp()
    }
}

/// The first of the values that no other comes before, and its position; NaN wins.
fn first(x: impl Iterator<Item = f64>, before: fn(&f64, &f64) -> bool) -> (usize, f64) {
    x.enumerate()
        .reduce(|best, next| {
            let replaces = before(&next.1, &best.1) || next.1.is_nan();
            if replaces && !best.1.is_nan() {
                next
            } else {
                best
            }
        })
        .unwrap_or_default()
}

/// Writes the statistics of one query to its row of the table.
pub struct Forward<'a, E: Element> {
    pub scores: &'a [E],
    pub row: Row<'a>,
    pub request: Request,
    pub table: &'a mut [E::Real],
    /// Reused from row to row.
    pub columns: &'a mut Vec<usize>,
}

impl<E: Element> Kernel for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self {
            scores,
            row,
            request,
            table,
            columns,
        } = self;
        table.fill(E::Real::default());
        if !row.positives(columns) {
            return;
        }
        let negatives = Negatives::new::<FMA, E>(scores, row, request);
        let score = |column: usize| scores[column].widen().to_f64();
        let reference = match negatives.count {
            0 => columns
                .iter()
                .map(|&p| score(p))
                .fold(f64::NEG_INFINITY, f64::max),
            _ => negatives.max.to_f64(),
        };
        let mut write = |index: usize, x: f64| table[index] = E::Real::from_f64(x);
        write(POSITIVE_COUNT, columns.len().max(1) as f64);
        write(NEGATIVE_COUNT, negatives.count as f64);
        write(REFERENCE, reference);
        if negatives.count > 0 {
            let unordered = if negatives.unordered { f64::NAN } else { 0.0 };
            write(
                Statistic::Negatives as usize,
                negatives.sum.ln() + unordered,
            );
            write(
                Statistic::HardestNegative as usize,
                unordered + 0.0 * negatives.sum,
            );
        }

        let temperature = request.temperature;
        let scores = columns.iter().map(|&column| score(column));
        let mut write = |statistic: Statistic, value: &dyn Fn() -> f64| {
            if request.wants(statistic) {
                // A choice that is no positive leaves the set empty.
                let value = if columns.is_empty() {
                    f64::NAN
                } else {
                    value()
                };
                table[statistic as usize] = E::Real::from_f64(value);
            }
        };
        write(Statistic::Positives, &|| {
            Positives::new(scores.clone(), temperature).log_sum_exp(reference)
        });
        write(Statistic::WeakPositives, &|| {
            Positives::new(scores.clone().map(|s| -s), temperature).log_sum_exp(-reference)
        });
        write(Statistic::PositiveExcess, &|| {
            let positives = Positives::new(scores.clone(), temperature);
            scores.clone().map(|score| positives.gap(score)).sum()
        });
        write(Statistic::WeakestPositive, &|| {
            relative(first(scores.clone(), f64::lt).1, reference, temperature)
        });
        write(Statistic::StrongestPositive, &|| {
            relative(first(scores.clone(), f64::gt).1, reference, temperature)
        });
    }
}

/// Writes the gradient of the scores of one query, given the gradient of its statistics.
pub struct Backward<'a, E: Element> {
    /// The scores; `None` if they stand in `out`.
    pub scores: Option<&'a [E]>,
    pub row: Row<'a>,
    pub request: Request,
    pub table: &'a [E::Real],
    /// The gradient of the row of the table.
    pub upstream: &'a [E::Real],
    pub out: &'a mut [E],
    /// Reused from row to row.
    pub columns: &'a mut Vec<usize>,
}

impl<E: Element> Kernel for Backward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let zero = E::narrow(E::Real::default());
        if !self.row.positives(self.columns) {
            return self.out.fill(zero);
        }
        let temperature = self.request.temperature;
        let upstream = |statistic: Statistic| match self.request.wants(statistic) {
            true => self.upstream[statistic as usize].to_f64() / temperature,
            false => 0.0,
        };
        let reference = self.table[REFERENCE];

        // Everything that is read of the positives and of the hardest negative, before the scores
        // may be overwritten.
        let scores = self.scores.unwrap_or(self.out);
        let score = |column: usize| scores[column].widen().to_f64();
        let positive_scores: Vec<f64> = self.columns.iter().map(|&p| score(p)).collect();
        let hardest = upstream(Statistic::HardestNegative);
        let hardest = (hardest != 0.0).then(|| {
            let negative = |column: &usize| {
                let excluded = self.row.positives[*column] != 0
                    || self.row.candidates.is_some_and(|mask| mask[*column] == 0);
                !excluded && scores[*column].widen() == reference
            };
            ((0..scores.len()).find(negative), hardest)
        });

        let factor = upstream(Statistic::Negatives);
        if factor == 0.0 {
            self.out.fill(zero);
        } else {
            let scale = Scale::new(reference, temperature);
            let log_sum = self.table[Statistic::Negatives as usize];
            let factor = E::Real::from_f64(factor);
            let mut excluded = [0; BLOCK];
            let mut buffer = [E::Real::default(); BLOCK];
            let mut narrow = [E::Real::default(); BLOCK];
            let mut copy = [zero; BLOCK];
            for (index, out) in self.out.chunks_mut(BLOCK).enumerate() {
                let start = index * BLOCK;
                let scores = match self.scores {
                    Some(scores) => &scores[start..start + out.len()],
                    None => {
                        copy[..out.len()].copy_from_slice(out);
                        &copy[..out.len()]
                    }
                };
                let scores = E::load(scores, &mut buffer);
                let excluded = self.row.excluded(start, &mut excluded);
                E::store(out, &mut narrow, |out| {
                    block::softmax::<FMA, E::Real>(scores, excluded, scale, log_sum, factor, out);
                });
            }
        }

        let mut add = |column: usize, x: f64| {
            let sum = self.out[column].widen().to_f64() + x;
            self.out[column] = E::narrow(E::Real::from_f64(sum));
        };
        if let Some((Some(column), gradient)) = hardest {
            add(column, gradient);
        }
        let scores = positive_scores.iter().copied();
        let positives = Positives::new(scores.clone(), temperature);
        let weak_positives = Positives::new(scores.clone().map(|s| -s), temperature);
        let excess = upstream(Statistic::PositiveExcess);
        let softmax = upstream(Statistic::Positives) + excess * positive_scores.len() as f64;
        let weak_softmax = upstream(Statistic::WeakPositives);
        let weakest = first(scores.clone(), f64::lt).0;
        let strongest = first(scores.clone(), f64::gt).0;
        for (index, (&column, score)) in self.columns.iter().zip(scores).enumerate() {
            let mut gradient = -excess;
            if softmax != 0.0 {
                gradient += softmax * positives.softmax(score);
            }
            if weak_softmax != 0.0 {
                gradient -= weak_softmax * weak_positives.softmax(-score);
            }
            if index == weakest {
                gradient += upstream(Statistic::WeakestPositive);
            }
            if index == strongest {
                gradient += upstream(Statistic::StrongestPositive);
            }
            add(column, gradient);
        }
    }
}
