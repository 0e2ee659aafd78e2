//! The gradient of the scores of one query.

use super::{
    chunk::{Add, CHUNK, Fence, Logit, Narrow, Scale, Sigmoid, Softmax, Weigh, Widen},
    curve::{self, Bend},
    element::Element,
    positives::{Positive, Positives, Power, logit, relative, sigmoid},
    real::Real,
    row::{Row, Scratch},
};
use crate::kernels::table::{NEGATIVE_COUNT, REFERENCE, Request, Statistic};

/// Writes the gradient of the scores of one query, given the gradient of its statistics.
pub struct Backward<'a, E: Element> {
    /// The scores; `None` if they stand in `out`.
    pub scores: Option<&'a [E]>,
    pub row: Row<'a, E::Real>,
    pub request: Request,
    pub table: &'a [E::Real],
    /// The gradient of the row of the table.
    pub upstream: &'a [E::Real],
    pub out: &'a mut [E],
    pub scratch: &'a mut Scratch<E>,
}

impl<E: Element> Backward<'_, E> {
    pub fn run(self) {
        let scores = self.scores.unwrap_or(self.out);
        let curve = self.request.curve();
        if !self.scratch.collect(self.row, 0, scores, curve) {
            return self.out.fill(E::from_real(E::Real::default()));
        }
        // Summed up again rather than read from the table, where rounding takes more of a
        // log-sum-exp the farther it lies from the reference.
        let mut positives = Positives::default();
        for &positive in &self.scratch.positives {
            positives.add(positive, self.request);
        }
        let is_weighted = self.row.weights.is_some();
        let slope = Slope::new(
            self.request,
            is_weighted,
            self.table,
            self.upstream,
            &positives,
        );
        let hardest = match slope.hardest == 0.0 {
            true => None,
            false => {
                let reference = self.table[REFERENCE];
                let bend = slope.bend;
                let is_it =
                    |score| bend.map_or(score, |bend: Bend<_>| bend.value(score)) == reference;
                self.row.first_negative(0..scores.len(), scores, is_it)
            }
        };
        let slope = slope.with_hardest(hardest);
        slope.write_collected(self.scores, self.out, 0, self.row, self.scratch);
    }
}

/// The gradient of the scores of one query as a function of them.
pub struct Slope<'a, R> {
    request: Request,
    temperature: f64,
    /// What becomes of the scores of negatives.
    bend: Option<Bend<R>>,
    power: Power,
    /// Scores as negatives have them, relative to the reference.
    scale: Scale<R>,
    /// What the exponential of a negative is multiplied by: all in the first, or half of
    /// its exponent before the weight and half after it.
    factors: [R; 2],
    positives: &'a Positives,
    hardest_column: Option<usize>,
    reference: f64,
    /// Log-sum-exp over the negatives as a positive alone has it against itself.
    level: f64,
    // The gradients of the statistics, divided by the temperature.
    negatives: f64,
    hardest: f64,
    mean: f64,
    plain: f64,
    excess: f64,
    losses: f64,
    binary: f64,
    weakest: f64,
    strongest: f64,
}

impl<'a, R: Real> Slope<'a, R> {
    pub fn new(
        request: Request,
        is_weighted: bool,
        table: &[R],
        upstream: &[R],
        positives: &'a Positives,
    ) -> Self {
        let upstream = |statistic: Statistic| match request.computes(statistic) {
            true => upstream[statistic as usize].to_f64() / request.temperature(),
            false => 0.0,
        };
        let reference = table[REFERENCE].to_f64();
        let log_sum = table[Statistic::Negatives as usize].to_f64();
        let mut slope = Self {
            request,
            temperature: request.temperature(),
            bend: request
                .curve()
                .map(|curve| Bend::new(curve, curve.negative)),
            power: Power::of(request),
            scale: Scale::new(table[REFERENCE], request.negative_temperature(), 1.0),
            factors: [R::default(); 2],
            positives,
            hardest_column: None,
            reference,
            level: log_sum + request.hardness() * reference,
            negatives: upstream(Statistic::Negatives),
            hardest: upstream(Statistic::HardestNegative),
            mean: upstream(Statistic::PositiveMean),
            plain: upstream(Statistic::UnweightedPositives),
            excess: upstream(Statistic::PositiveExcess),
            losses: match table[NEGATIVE_COUNT] == R::default() {
                true => 0.0,
                false => upstream(Statistic::PositiveLosses),
            },
            // A choice that is no positive has a loss of NaN, and pushes nobody.
            binary: match positives.count {
                0 => 0.0,
                _ => upstream(Statistic::BinaryLosses),
            },
            weakest: upstream(Statistic::WeakestPositive),
            strongest: upstream(Statistic::StrongestPositive),
        };
        if slope.losses != 0.0 {
            let pushes = positives.each.iter().map(|&positive| slope.push(positive));
            slope.negatives += pushes.sum::<f64>();
        }
        // Weights, and so the sum, reach from 1e-37 to 1e30: all at once might leave f32.
        let factors = match is_weighted {
            true => [
                (-0.5 * log_sum).exp(),
                slope.negatives * (-0.5 * log_sum).exp(),
            ],
            false => [slope.negatives * (-log_sum).exp(), 1.0],
        };
        slope.factors = factors.map(R::from_f64);
        slope.scale = Scale::new(table[REFERENCE], request.negative_temperature(), factors[0]);
        slope
    }

    /// The slope of the loss of a positive alone, with respect to the negatives'
    /// log-sum-exp.
    fn push(&self, positive: Positive) -> f64 {
        let above = relative(positive.score, self.reference, self.temperature);
        self.losses * positive.weight * sigmoid(self.level - above)
    }

    /// Where the largest negative stands.
    pub fn with_hardest(self, hardest_column: Option<usize>) -> Self {
        Self {
            hardest_column,
            ..self
        }
    }

    /// Writes the gradient of the documents from `first` on in the place of their scores.
    pub fn write<E: Element<Real = R>>(
        &self,
        first: usize,
        scores: &mut [E],
        row: Row<R>,
        scratch: &mut Scratch<E>,
    ) {
        scratch.collect(row, first, scores, self.request.curve());
        self.write_collected(None, scores, first, row, scratch);
    }

    /// Writes the gradient of the documents from `first` on, whose positives are
    /// collected.
    fn write_collected<E: Element<Real = R>>(
        &self,
        scores: Option<&[E]>,
        out: &mut [E],
        first: usize,
        row: Row<R>,
        scratch: &mut Scratch<E>,
    ) {
        let columns = first..first + out.len();
        // It is looked at here, before its score gives way to its gradient.
        let hardest = self
            .hardest_column
            .filter(|column| columns.contains(column));
        let hardest = hardest.map(|column| {
            let score = scores.unwrap_or(out)[column - first].widen();
            let slope = self.bend.map_or(1.0, |bend| bend.slope(score).to_f64());
            (column, self.hardest * slope)
        });
        self.write_negatives(scores, out, first, row, scratch);
        // In the place of a positive there is 0.
        for &positive in &scratch.positives {
            let gradient = R::from_f64(self.positive(positive));
            out[positive.column - first] = E::from_real(gradient);
        }
        if let Some((column, gradient)) = hardest {
            let out = &mut out[column - first];
            *out = E::from_real(R::from_f64(out.widen().to_f64() + gradient));
        }
    }

    /// Writes the part of the sums over the negatives, and 0 everywhere else.
    fn write_negatives<E: Element<Real = R>>(
        &self,
        scores: Option<&[E]>,
        out: &mut [E],
        first: usize,
        row: Row<R>,
        scratch: &mut Scratch<E>,
    ) {
        if self.negatives == 0.0 && self.binary == 0.0 {
            return out.fill(E::from_real(R::default()));
        }
        let isa = scratch.isa;
        for (index, out) in out.chunks_mut(CHUNK).enumerate() {
            let start = index * CHUNK;
            let columns = first + start..first + start + out.len();
            let scores = scores.map(|scores| &scores[start..start + out.len()]);
            let excluded = &mut scratch.excluded;
            let excluded = row.excluded(isa, columns.clone(), scores.unwrap_or(out), excluded);
            if self.binary == 0.0 && row.weights.is_none() && self.bend.is_none() {
                isa.run(Softmax {
                    scores,
                    excluded,
                    scale: self.scale,
                    factor: self.factors[0],
                    ahead: row.ahead(),
                    stream: scratch.stream,
                    out,
                });
                continue;
            }
            let Scratch {
                wide,
                bent,
                gradient,
                ..
            } = scratch;
            let [wide, bent, gradient] =
                [wide, bent, gradient].map(|buffer| &mut buffer[..out.len()]);
            isa.run(Widen {
                scores: scores.unwrap_or(out),
                out: wide,
            });
            let values = match self.bend {
                Some(bend) => {
                    curve::bend(isa, wide, bend, bent);
                    &*bent
                }
                None => &*wide,
            };
            let weights = row.weights.map(|weights| &weights[columns]);
            let weigh = |factor: R, out: &mut [R]| {
                if let Some(weights) = weights {
                    isa.run(Weigh {
                        excluded,
                        weights,
                        factor,
                        out,
                    });
                }
            };
            match self.negatives == 0.0 {
                true => gradient.fill(R::default()),
                false => isa.run(Softmax {
                    scores: Some(values),
                    excluded,
                    scale: self.scale,
                    factor: self.factors[0],
                    ahead: row.ahead(),
                    stream: false,
                    out: gradient,
                }),
            }
            weigh(self.factors[1], gradient);
            if self.binary != 0.0 {
                let mut slopes = [R::default(); CHUNK];
                let slopes = &mut slopes[..out.len()];
                isa.run(Sigmoid {
                    scores: values,
                    excluded,
                    logit: Logit::new(self.request),
                    factor: R::from_f64(self.binary),
                    out: slopes,
                });
                weigh(R::ONE, slopes);
                isa.run(Add {
                    terms: slopes,
                    out: gradient,
                });
            }
            if let Some(bend) = self.bend {
                curve::unbend(isa, wide, excluded, bend, gradient);
            }
            isa.run(Narrow {
                gradients: gradient,
                out,
            });
        }
        if scratch.stream {
            isa.run(Fence);
        }
    }

    /// The gradient of a positive.
    fn positive(&self, positive: Positive) -> f64 {
        let Positive {
            column,
            score,
            slope,
            weight,
        } = positive;
        let mut gradient = 0.0;
        if self.plain != 0.0 || self.excess != 0.0 {
            let Positives {
                plain, weight: all, ..
            } = self.positives;
            let share = plain.softmax(score, self.temperature, *all);
            gradient += self.plain * share / all;
            // Of one positive, and of equal ones, exactly 0: the other part may be smaller
            // than a rounding error of this one.
            gradient += self.excess * (share - weight);
        }
        if self.mean != 0.0 {
            let share = self.positives.power.share(score, self.power);
            gradient += self.mean * weight * share;
        }
        if self.losses != 0.0 {
            gradient -= self.push(positive);
        }
        if self.binary != 0.0 {
            gradient -= self.binary * weight * sigmoid(-logit(score, self.request));
        }
        if self.positives.weakest.column() == Some(column) {
            gradient += self.weakest;
        }
        if self.positives.strongest.column() == Some(column) {
            gradient += self.strongest;
        }
        gradient * slope
    }
}
