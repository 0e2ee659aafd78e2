//! The gradient of the scores of one query.

use super::{
    chunk::{self, CHUNK, Scale},
    element::Element,
    isa::Kernel,
    positives::Positives,
    real::Real,
    row::{Row, Scratch},
};
use crate::kernels::table::{REFERENCE, Request, Statistic};

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
    fn run<const FMA: bool>(self) {
        let scores = self.scores.unwrap_or(self.out);
        if !self.scratch.collect(self.row, 0, scores) {
            return self.out.fill(E::from_real(E::Real::default()));
        }
        // Summed up again rather than read from the table, where rounding takes more of a
        // log-sum-exp the farther it lies from the reference.
        let mut positives = Positives::default();
        let collected = self.scratch.columns.iter().zip(&self.scratch.positives);
        for (&column, &score) in collected {
            positives.add(column, score, self.request);
        }
        let slope = Slope::new(self.request, self.table, self.upstream, &positives);
        let hardest = match slope.hardest == 0.0 {
            true => None,
            false => {
                let reference = self.table[REFERENCE];
                self.row.first_negative(0..scores.len(), scores, reference)
            }
        };
        let slope = slope.with_hardest(hardest);
        slope.write_collected::<FMA, E>(self.scores, self.out, 0, self.row, self.scratch);
    }
}

/// The gradient of the scores of one query as a function of them.
pub struct Slope<'a, R> {
    temperature: f64,
    scale: Scale<R>,
    /// Log-sum-exp over the negatives.
    log_sum: R,
    positives: &'a Positives,
    hardest_column: Option<usize>,
    // The gradients of the statistics, divided by the temperature.
    negatives: f64,
    hardest: f64,
    strong: f64,
    weak: f64,
    excess: f64,
    weakest: f64,
    strongest: f64,
}

impl<'a, R: Real> Slope<'a, R> {
    #[inline(always)]
    pub fn new(request: Request, table: &[R], upstream: &[R], positives: &'a Positives) -> Self {
        let upstream = |statistic: Statistic| match request.wants(statistic) {
            true => upstream[statistic as usize].to_f64() / request.temperature,
            false => 0.0,
        };
        let excess = upstream(Statistic::PositiveExcess);
        Self {
            temperature: request.temperature,
            scale: Scale::new(table[REFERENCE], request.temperature),
            log_sum: table[Statistic::Negatives as usize],
            positives,
            hardest_column: None,
            negatives: upstream(Statistic::Negatives),
            hardest: upstream(Statistic::HardestNegative),
            strong: upstream(Statistic::Positives),
            weak: upstream(Statistic::WeakPositives),
            excess,
            weakest: upstream(Statistic::WeakestPositive),
            strongest: upstream(Statistic::StrongestPositive),
        }
    }

    /// Where the largest negative stands.
    pub fn with_hardest(self, hardest_column: Option<usize>) -> Self {
        Self {
            hardest_column,
            ..self
        }
    }

    /// Writes the gradient of the documents from `first` on in the place of their scores.
    #[inline(always)]
    pub fn write<const FMA: bool, E: Element<Real = R>>(
        &self,
        first: usize,
        scores: &mut [E],
        row: Row,
        scratch: &mut Scratch<E>,
    ) {
        scratch.collect(row, first, scores);
        self.write_collected::<FMA, E>(None, scores, first, row, scratch);
    }

    /// Writes the gradient of the documents from `first` on, whose positives are collected.
    #[inline(always)]
    fn write_collected<const FMA: bool, E: Element<Real = R>>(
        &self,
        scores: Option<&[E]>,
        out: &mut [E],
        first: usize,
        row: Row,
        scratch: &mut Scratch<E>,
    ) {
        self.write_negatives::<FMA, E>(scores, out, first, row, scratch);
        let mut add = |column: usize, gradient: f64| {
            let out = &mut out[column - first];
            *out = E::from_real(R::from_f64(out.widen().to_f64() + gradient));
        };
        for (&column, &score) in scratch.columns.iter().zip(&scratch.positives) {
            add(column, self.positive(column, score));
        }
        let columns = first..first + out.len();
        if let Some(column) = self
            .hardest_column
            .filter(|column| columns.contains(column))
        {
            let out = &mut out[column - first];
            *out = E::from_real(R::from_f64(out.widen().to_f64() + self.hardest));
        }
    }

    /// Writes the part of the log-sum-exp over the negatives, and 0 everywhere else.
    #[inline(always)]
    fn write_negatives<const FMA: bool, E: Element<Real = R>>(
        &self,
        scores: Option<&[E]>,
        out: &mut [E],
        first: usize,
        row: Row,
        scratch: &mut Scratch<E>,
    ) {
        if self.negatives == 0.0 {
            return out.fill(E::from_real(R::default()));
        }
        let factor = R::from_f64(self.negatives);
        for (index, out) in out.chunks_mut(CHUNK).enumerate() {
            let start = index * CHUNK;
            let scores = match scores {
                Some(scores) => &scores[start..start + out.len()],
                None => {
                    scratch.scores[..out.len()].copy_from_slice(out);
                    &scratch.scores[..out.len()]
                }
            };
            let scores = E::load(scores, &mut scratch.wide);
            let columns = first + start..first + start + out.len();
            let excluded = row.excluded(columns, &mut scratch.excluded);
            let target = E::target(out, &mut scratch.gradient);
            chunk::softmax::<FMA, R>(scores, excluded, self.scale, self.log_sum, factor, target);
            E::store(out, &scratch.gradient);
        }
    }

    /// The gradient of a positive.
    fn positive(&self, column: usize, score: f64) -> f64 {
        let mut gradient = 0.0;
        if self.strong != 0.0 || self.excess != 0.0 {
            let softmax = self.positives.strong.softmax(score, self.temperature);
            gradient += self.strong * softmax;
            // Of one positive exactly 0: the other part may be smaller than a rounding error of this one.
            gradient += self.excess * (self.positives.count as f64 * softmax - 1.0);
        }
        if self.weak != 0.0 {
            gradient -= self.weak * self.positives.weak.softmax(-score, self.temperature);
        }
        if self.positives.weakest.column() == Some(column) {
            gradient += self.weakest;
        }
        if self.positives.strongest.column() == Some(column) {
            gradient += self.strongest;
        }
        gradient
    }
}
