//! The statistics of one query.

use super::{
    block::{self, Scale},
    element::Element,
    isa::Kernel,
    positives::{LogSumExp, relative, smallest},
    real::Real,
    row::{Row, Scratch},
};
use crate::statistics::table::{NEGATIVE_COUNT, POSITIVE_COUNT, REFERENCE, Request, Statistic};

/// Writes the statistics of one query to its row of the table.
pub struct Forward<'a, E: Element> {
    pub scores: &'a [E],
    pub row: Row<'a>,
    pub request: Request,
    pub table: &'a mut [E::Real],
    pub scratch: &'a mut Scratch<E>,
}

impl<E: Element> Kernel for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.table.fill(E::Real::default());
        if !self.scratch.collect(self.row, self.scores) {
            return;
        }
        let negatives = Negatives::new::<FMA, E>(self.scores, self.row, self.request, self.scratch);
        let positives = self.scratch.positives.iter().copied();
        let negated = positives.clone().map(|score| -score);
        let reference = match negatives.count {
            0 => positives.clone().fold(f64::NEG_INFINITY, f64::max),
            _ => negatives.max.to_f64(),
        };
        let mut write = |column: usize, value: f64| {
            self.table[column] = E::Real::from_f64(value);
        };
        // A choice that is no positive leaves none; its query is active all the same.
        write(POSITIVE_COUNT, self.scratch.columns.len().max(1) as f64);
        write(NEGATIVE_COUNT, negatives.count as f64);
        write(REFERENCE, reference);

        let temperature = self.request.temperature;
        for statistic in Statistic::ALL {
            if !self.request.wants(statistic) {
                continue;
            }
            let value = match statistic {
                Statistic::Negatives => negatives.log_sum_exp(),
                Statistic::HardestNegative => negatives.hardest(),
                _ if self.scratch.columns.is_empty() => f64::NAN,
                Statistic::Positives => {
                    LogSumExp::new(positives.clone(), temperature).above(reference)
                }
                Statistic::WeakPositives => {
                    LogSumExp::new(negated.clone(), temperature).above(-reference)
                }
                Statistic::PositiveExcess => {
                    let sum = LogSumExp::new(positives.clone(), temperature);
                    positives.clone().map(|score| sum.above(score)).sum()
                }
                Statistic::WeakestPositive => {
                    relative(smallest(positives.clone()).1, reference, temperature)
                }
                Statistic::StrongestPositive => {
                    relative(-smallest(negated.clone()).1, reference, temperature)
                }
            };
            write(statistic as usize, value);
        }
    }
}

/// The largest negative and the log-sum-exp over all relative to it, while they are computed.
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
        scratch: &mut Scratch<E>,
    ) -> Self {
        let mut all = Self {
            max: R::NEG_INFINITY,
            sum: 0.0,
            count: 0,
            unordered: false,
        };
        for (index, scores) in scores.chunks(block::BLOCK).enumerate() {
            let excluded = row.excluded(index * block::BLOCK, &mut scratch.excluded);
            let scores = E::load(scores, &mut scratch.wide);
            all.add::<FMA>(scores, excluded, request);
        }
        all
    }

    #[inline(always)]
    fn add<const FMA: bool>(&mut self, scores: &[R], excluded: &[u8], request: Request) {
        let max = block::max(scores, excluded);
        if max > self.max {
            self.sum *= relative(self.max.to_f64(), max.to_f64(), request.temperature).exp();
            self.max = max;
        }
        // The hardest negative alone needs no exponential, and there is nothing to measure from
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

    /// 0 if there is none.
    fn log_sum_exp(&self) -> f64 {
        match self.count {
            0 => 0.0,
            _ if self.unordered => f64::NAN,
            _ => self.sum.ln(),
        }
    }

    /// 0, being the reference, or NaN.
    fn hardest(&self) -> f64 {
        match self.unordered || self.sum.is_nan() {
            true => f64::NAN,
            false => 0.0,
        }
    }
}
