//! The statistics of one query.

use super::{
    chunk::{
        CHUNK, Count, Extremes, FindExtremes, Logit, Scale, SumExp, SumSoftplus, WeightedSumExp,
        Widen,
    },
    curve::{self, Bend},
    element::Element,
    isa::Isa,
    positives::{Positives, relative, softplus},
    real::Real,
    row::{Row, Scratch},
};
use crate::kernels::table::{
    NEGATIVE_COUNT, POSITIVE_COUNT, POSITIVE_WEIGHT, REFERENCE, Request, Statistic,
};

/// Writes the statistics of one query to its row of the table.
pub struct Forward<'a, E: Element> {
    pub scores: &'a [E],
    pub row: Row<'a, E::Real>,
    pub request: Request,
    pub table: &'a mut [E::Real],
    pub scratch: &'a mut Scratch<E>,
}

impl<E: Element> Forward<'_, E> {
    pub fn run(self) {
        let mut summary = Summary::default();
        // The scores of a query without positives are not looked at.
        let curve = self.request.curve();
        if self.scratch.collect(self.row, 0, self.scores, curve) {
            summary.active = true;
            summary.add_collected(0, self.scores, self.row, self.request, self.scratch);
        }
        summary.write(self.request, self.table);
    }
}

/// What the statistics of a query are computed from, gathered from its documents in
/// order.
#[derive(Clone, Debug)]
pub struct Summary<R> {
    active: bool,
    negatives: Negatives<R>,
    positives: Positives,
}

impl<R: Real> Default for Summary<R> {
    fn default() -> Self {
        Self {
            active: false,
            negatives: Negatives::default(),
            positives: Positives::default(),
        }
    }
}

impl<R: Real> Summary<R> {
    /// Adds the documents from `first` on.
    pub fn add<E: Element<Real = R>>(
        &mut self,
        first: usize,
        scores: &[E],
        row: Row<R>,
        request: Request,
        scratch: &mut Scratch<E>,
    ) {
        self.active |= scratch.collect(row, first, scores, request.curve());
        self.add_collected(first, scores, row, request, scratch);
    }

    fn add_collected<E: Element<Real = R>>(
        &mut self,
        first: usize,
        scores: &[E],
        row: Row<R>,
        request: Request,
        scratch: &mut Scratch<E>,
    ) {
        for &positive in &scratch.positives {
            self.positives.add(positive, request);
        }
        let bend = request
            .curve()
            .map(|curve| Bend::new(curve, curve.negative));
        let isa = scratch.isa;
        for (index, scores) in scores.chunks(CHUNK).enumerate() {
            let start = first + index * CHUNK;
            let columns = start..start + scores.len();
            let excluded = row.excluded(isa, columns.clone(), scores, &mut scratch.excluded);
            let weights = row.weights.map(|weights| &weights[columns.clone()]);
            let rises = match bend {
                Some(bend) => {
                    let wide = &mut scratch.wide[..scores.len()];
                    let bent = &mut scratch.bent[..scores.len()];
                    isa.run(Widen { scores, out: wide });
                    curve::bend(isa, wide, bend, bent);
                    self.negatives
                        .add(isa, &*bent, excluded, weights, row.ahead(), request)
                }
                None => self
                    .negatives
                    .add(isa, scores, excluded, weights, row.ahead(), request),
            };
            if rises {
                let max = self.negatives.max;
                let is_max = |score: R| bend.map_or(score, |bend| bend.value(score)) == max;
                self.negatives.hardest = row.first_negative(columns, scores, is_max);
            }
        }
    }

    /// Adds what was gathered from later documents.
    pub fn merge(&mut self, later: &Self, request: Request) {
        self.active |= later.active;
        let temperature = request.negative_temperature();
        self.negatives.merge(&later.negatives, temperature);
        self.positives.merge(&later.positives, request);
    }

    /// Writes the row of the table.
    pub fn write(&self, request: Request, table: &mut [R]) {
        table.fill(R::default());
        if !self.active {
            return;
        }
        let Self {
            negatives,
            positives,
            ..
        } = self;
        let reference = match negatives.count {
            0 => positives.max,
            _ => negatives.max.to_f64(),
        };
        let mut write = |column: usize, value: f64| table[column] = R::from_f64(value);
        // A choice that is no positive leaves none; its query is active all the same.
        let unknown = positives.count == 0;
        write(POSITIVE_COUNT, positives.count.max(1) as f64);
        write(NEGATIVE_COUNT, negatives.count as f64);
        write(
            POSITIVE_WEIGHT,
            if unknown { 1.0 } else { positives.weight },
        );
        write(REFERENCE, reference);

        for statistic in Statistic::ALL {
            if !request.computes(statistic) {
                continue;
            }
            let value = match statistic {
                Statistic::Negatives => negatives.log_sum_exp(),
                Statistic::HardestNegative => negatives.largest(),
                _ if unknown => f64::NAN,
                Statistic::PositiveLosses => self.positive_losses(reference, request),
                Statistic::BinaryLosses => negatives.binary + positives.binary,
                _ => positives.statistic(statistic, reference, request),
            };
            write(statistic as usize, value);
        }
    }

    /// Each positive alone against all negatives, without which it has no loss.
    fn positive_losses(&self, reference: f64, request: Request) -> f64 {
        let level = self.negatives.log_sum_exp() + request.hardness() * reference;
        let losses = self.positives.each.iter().map(|positive| {
            let loss = match self.negatives.count {
                0 if positive.score.is_nan() => f64::NAN,
                0 => 0.0,
                _ => {
                    let temperature = request.temperature();
                    softplus(level - relative(positive.score, reference, temperature))
                }
            };
            positive.weight * loss
        });
        losses.sum()
    }

    pub fn positives(&self) -> &Positives {
        &self.positives
    }

    /// The column of the largest negative, if that was wanted.
    pub fn hardest(&self) -> Option<usize> {
        self.negatives.hardest
    }
}

/// The largest negative and the log-sum-exp over all relative to it, while they are
/// computed.
#[derive(Clone, Debug)]
struct Negatives<R> {
    max: R,
    /// The first column of the largest, if it is wanted.
    hardest: Option<usize>,
    /// The sum of `exp((score - max) / temperature)`.
    sum: f64,
    /// The loss of each alone, summed with the weights.
    binary: f64,
    count: u64,
    unordered: bool,
}

impl<R: Real> Default for Negatives<R> {
    fn default() -> Self {
        Self {
            max: R::NEG_INFINITY,
            hardest: None,
            sum: 0.0,
            binary: 0.0,
            count: 0,
            unordered: false,
        }
    }
}

impl<R: Real> Negatives<R> {
    /// Adds a block; whether the column of the largest is wanted and now in it.
    fn add<E: Element<Real = R>>(
        &mut self,
        isa: Isa,
        scores: &[E],
        excluded: &[u8],
        weights: Option<&[R]>,
        ahead: usize,
        request: Request,
    ) -> bool {
        let temperature = request.negative_temperature();
        let Extremes { max, min, count } = isa.run(FindExtremes { scores, excluded });
        let rises = max > self.max;
        if rises {
            self.sum *= relative(self.max.to_f64(), max.to_f64(), temperature).exp();
            self.max = max;
        }
        // The hardest negative alone needs no exponential, and there is nothing to
        // measure from where all negatives so far are minus infinity or NaN.
        if request.computes(Statistic::Negatives) && self.max > R::NEG_INFINITY {
            let scale = Scale::new(self.max, temperature, 1.0);
            self.sum += match weights {
                Some(weights) => isa.run(WeightedSumExp {
                    scores,
                    excluded,
                    weights,
                    scale,
                }),
                None => isa.run(SumExp {
                    scores,
                    excluded,
                    scale,
                    ahead,
                }),
            };
            // One of minus infinity has no weight.
            self.count += match min > R::NEG_INFINITY {
                true => count,
                false => isa.run(Count { scores, excluded }).0,
            } as u64;
        } else {
            let (count, unordered) = isa.run(Count { scores, excluded });
            self.count += count as u64;
            self.unordered |= unordered;
        }
        if request.computes(Statistic::BinaryLosses) {
            self.binary += isa.run(SumSoftplus {
                scores,
                excluded,
                weights,
                logit: Logit::new(request),
            });
        }
        rises && request.computes(Statistic::HardestNegative)
    }

    fn merge(&mut self, later: &Self, temperature: f64) {
        self.count += later.count;
        self.unordered |= later.unordered;
        self.binary += later.binary;
        let (max, later_max) = (self.max.to_f64(), later.max.to_f64());
        if later.max > self.max {
            self.sum = self.sum * relative(max, later_max, temperature).exp() + later.sum;
            self.max = later.max;
            self.hardest = later.hardest;
        } else if later.max == self.max {
            // Nor do two infinities differ.
            self.sum += later.sum;
        } else if later.max > R::NEG_INFINITY {
            self.sum += later.sum * relative(later_max, max, temperature).exp();
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
    fn largest(&self) -> f64 {
        match self.unordered || self.sum.is_nan() {
            true => f64::NAN,
            false => 0.0,
        }
    }
}
