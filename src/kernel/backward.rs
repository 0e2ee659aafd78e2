//! The gradient of the scores of one query.

use super::{
    block::{self, BLOCK, Scale},
    element::Element,
    isa::Kernel,
    positives::{LogSumExp, smallest},
    real::Real,
    row::{Row, Scratch},
};
use crate::statistics::table::{REFERENCE, Request, Statistic};

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
    pub scratch: &'a mut Scratch<E>,
}

impl<E: Element> Kernel for Backward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        // First what is read of single scores, which may be overwritten.
        let scores = self.scores.unwrap_or(self.out);
        if !self.scratch.collect(self.row, scores) {
            return self.out.fill(E::narrow(E::Real::default()));
        }
        let hardest = self.upstream(Statistic::HardestNegative);
        let hardest_column = match hardest == 0.0 {
            true => None,
            false => (0..scores.len()).find(|&column| {
                self.row.is_negative(column) && scores[column].widen() == self.table[REFERENCE]
            }),
        };

        self.write_negatives::<FMA>();
        if let Some(column) = hardest_column {
            self.add(column, hardest);
        }
        self.add_positives();
    }
}

impl<E: Element> Backward<'_, E> {
    /// The gradient of a statistic of the scores themselves, not divided by the temperature.
    fn upstream(&self, statistic: Statistic) -> f64 {
        match self.request.wants(statistic) {
            true => self.upstream[statistic as usize].to_f64() / self.request.temperature,
            false => 0.0,
        }
    }

    fn add(&mut self, column: usize, gradient: f64) {
        let sum = self.out[column].widen().to_f64() + gradient;
        self.out[column] = E::narrow(E::Real::from_f64(sum));
    }

    /// Writes the part of the log-sum-exp over the negatives, and 0 everywhere else.
    #[inline(always)]
    fn write_negatives<const FMA: bool>(&mut self) {
        let upstream = self.upstream(Statistic::Negatives);
        if upstream == 0.0 {
            return self.out.fill(E::narrow(E::Real::default()));
        }
        let scale = Scale::new(self.table[REFERENCE], self.request.temperature);
        let log_sum = self.table[Statistic::Negatives as usize];
        let factor = E::Real::from_f64(upstream);
        let scratch = &mut *self.scratch;
        for (index, out) in self.out.chunks_mut(BLOCK).enumerate() {
            let start = index * BLOCK;
            let scores = match self.scores {
                Some(scores) => &scores[start..start + out.len()],
                None => {
                    scratch.scores[..out.len()].copy_from_slice(out);
                    &scratch.scores[..out.len()]
                }
            };
            let scores = E::load(scores, &mut scratch.wide);
            let excluded = self.row.excluded(start, &mut scratch.excluded);
            let target = E::target(out, &mut scratch.gradient);
            block::softmax::<FMA, E::Real>(scores, excluded, scale, log_sum, factor, target);
            E::store(out, &scratch.gradient);
        }
    }

    fn add_positives(&mut self) {
        let excess = self.upstream(Statistic::PositiveExcess);
        let strong = self.upstream(Statistic::Positives) + excess * self.count();
        let weak = self.upstream(Statistic::WeakPositives);
        let weakest = self.upstream(Statistic::WeakestPositive);
        let strongest = self.upstream(Statistic::StrongestPositive);

        // Summed up again rather than read from the table, where rounding takes more of a
        // log-sum-exp the farther it lies from the reference.
        let temperature = self.request.temperature;
        let scores = self.scratch.positives.iter().copied();
        let negated = scores.clone().map(|score| -score);
        let sum = (strong != 0.0).then(|| LogSumExp::new(scores.clone(), temperature));
        let weak_sum = (weak != 0.0).then(|| LogSumExp::new(negated.clone(), temperature));
        let (weakest_index, _) = smallest(scores);
        let (strongest_index, _) = smallest(negated);

        for index in 0..self.scratch.columns.len() {
            let score = self.scratch.positives[index];
            let mut gradient = -excess;
            if let Some(sum) = &sum {
                gradient += strong * sum.softmax(score);
            }
            if let Some(sum) = &weak_sum {
                gradient -= weak * sum.softmax(-score);
            }
            if index == weakest_index {
                gradient += weakest;
            }
            if index == strongest_index {
                gradient += strongest;
            }
            self.add(self.scratch.columns[index], gradient);
        }
    }

    fn count(&self) -> f64 {
        self.scratch.columns.len() as f64
    }
}
