//! The gradient of every score.

use cubecl::prelude::*;

use super::{
    batch::Batch,
    documents::Documents,
    row::{
        HARDEST_COLUMN, NO_COLUMN, POWER_LOG_SUM, PUSH, STRONGEST_COLUMN, STRONGEST_LOG_SUM,
        STRONGEST_SCORE, Scale, WEAKEST_COLUMN, WEAKEST_SCORE, WIDTH, relative, sigmoid, unpack,
    },
};
use crate::kernels::table::{
    NEGATIVE_COUNT, POSITIVE_COUNT, POSITIVE_WEIGHT, REFERENCE, Statistic,
};

/// Writes the gradient of the scores, given the table and its gradient; `segments` cubes share
/// a row, whose units read `ahead` vectors at a time, and `single` says whether only one
/// positive of each row stayed, `losses` whether the losses of single positives were asked for,
/// `binary` whether those of single documents were.
#[cube(launch_unchecked, address_type = "dynamic")]
pub fn row_statistics_backward<F: Float, B: Int, C: Int, I: Int, N: Size>(
    batch: &Batch<F, B, C, I, N>,
    table: &Tensor<f32>,
    upstream: &Tensor<f32>,
    gradient: &mut Tensor<Vector<F, N>>,
    segments: usize,
    scale: &Scale,
    #[comptime] ahead: usize,
    #[comptime] single: bool,
    #[comptime] losses: bool,
    #[comptime] binary: bool,
    #[define(F, B, C, I)] _dtypes: [ElemType; 4],
) {
    let row = CUBE_POS / segments;
    if row >= batch.pairs.rows {
        terminate!();
    }
    let query = batch.query(row);
    let vectors = batch.pairs.vectors;
    let segment = CUBE_POS % segments;
    let step = segments * CUBE_DIM as usize;
    let mut i = segment * CUBE_DIM as usize + UNIT_POS as usize;

    if table[row * comptime![WIDTH] + comptime![POSITIVE_COUNT]] == 0.0 {
        while i < vectors {
            gradient[row * vectors + i] = Vector::new(F::from_int(0));
            i += step;
        }
    } else {
        let slope = Slope::new(
            table,
            upstream,
            row * comptime![WIDTH],
            scale,
            losses,
            binary,
        );
        while i < vectors {
            let loaded = Documents::<F, B, C, N>::load_ahead::<I>(batch, &query, i, step, ahead);
            #[unroll]
            for k in 0..ahead {
                let at = i + k * step;
                if at < vectors {
                    gradient[row * vectors + at] = slope.of::<F, B, C, N>(loaded.index(k), single);
                }
            }
            i += ahead * step;
        }
    }
}

/// The gradient of a row of statistics and what else the gradients of its scores depend on.
#[derive(CubeType)]
struct Slope {
    scale: Scale,
    /// Gradients of statistics, divided by the temperature.
    negatives: f32,
    hardest: f32,
    mean: f32,
    positives: f32,
    excess: f32,
    losses: f32,
    binary: f32,
    weakest: f32,
    strongest: f32,
    reference: f32,
    /// Log-sum-exp over the negatives as a positive alone has it against itself.
    level: f32,
    negatives_log_sum: f32,
    hardest_column: u32,
    /// The sum of the weights of the positives.
    weight: f32,
    strongest_score: f32,
    strongest_log_sum: f32,
    strongest_column: u32,
    weakest_score: f32,
    power_log_sum: f32,
    weakest_column: u32,
}

#[cube]
impl Slope {
    fn new(
        table: &Tensor<f32>,
        upstream: &Tensor<f32>,
        start: usize,
        scale: &Scale,
        #[comptime] wants_losses: bool,
        #[comptime] wants_binary: bool,
    ) -> Slope {
        let rate = scale.factor * 0.5;
        let reference = table[start + comptime![REFERENCE]];
        let log_sum = table[start + comptime![Statistic::Negatives as usize]];
        let mut losses = 0.0f32.runtime();
        let mut negatives = upstream[start + comptime![Statistic::Negatives as usize]] * rate;
        if comptime![wants_losses] {
            if table[start + comptime![NEGATIVE_COUNT]] > 0.0 {
                losses = upstream[start + comptime![Statistic::PositiveLosses as usize]] * rate;
            }
            // As in `of_negative`.
            if losses != 0.0 {
                negatives += losses * table[start + comptime![PUSH]];
            }
        }
        let mut binary = 0.0f32.runtime();
        if comptime![wants_binary] {
            // A choice that is no positive has a loss of NaN, and pushes nobody.
            if unpack(table[start + comptime![STRONGEST_COLUMN]]) != NO_COLUMN {
                binary = upstream[start + comptime![Statistic::BinaryLosses as usize]] * rate;
            }
        }
        Slope {
            scale: Scale {
                factor: scale.factor,
                negative_factor: scale.negative_factor,
                exponent: scale.exponent,
                hardness: scale.hardness,
                bias: scale.bias,
            },
            negatives,
            losses,
            binary,
            hardest: upstream[start + comptime![Statistic::HardestNegative as usize]] * rate,
            mean: upstream[start + comptime![Statistic::PositiveMean as usize]] * rate,
            positives: upstream[start + comptime![Statistic::UnweightedPositives as usize]] * rate,
            excess: upstream[start + comptime![Statistic::PositiveExcess as usize]] * rate,
            weakest: upstream[start + comptime![Statistic::WeakestPositive as usize]] * rate,
            strongest: upstream[start + comptime![Statistic::StrongestPositive as usize]] * rate,
            reference,
            level: log_sum + scale.hardness * reference,
            negatives_log_sum: log_sum,
            hardest_column: unpack(table[start + comptime![HARDEST_COLUMN]]),
            weight: table[start + comptime![POSITIVE_WEIGHT]],
            strongest_score: table[start + comptime![STRONGEST_SCORE]],
            strongest_log_sum: table[start + comptime![STRONGEST_LOG_SUM]],
            strongest_column: unpack(table[start + comptime![STRONGEST_COLUMN]]),
            weakest_score: table[start + comptime![WEAKEST_SCORE]],
            power_log_sum: table[start + comptime![POWER_LOG_SUM]],
            weakest_column: unpack(table[start + comptime![WEAKEST_COLUMN]]),
        }
    }

    /// The gradients of documents; of the positives a `single` one stayed, or all.
    fn of<F: Float, B: Int, C: Int, N: Size>(
        &self,
        documents: &Documents<F, B, C, N>,
        #[comptime] single: bool,
    ) -> Vector<F, N> {
        let size = N::value();
        let mut gradients = Vector::<F, N>::new(F::from_int(0));
        let hardest = self.hardest_column - documents.column;
        if documents.are_negatives() && hardest >= comptime![size as u32] {
            #[unroll]
            for k in 0..size {
                let gradient = self.of_negative(documents.of_negative(k));
                let gradient = documents.judgements.weigh(k, gradient);
                let gradient = documents.through_negative(k, gradient);
                gradients.insert(k, F::cast_from(gradient));
            }
        } else {
            #[unroll]
            for k in 0..size {
                let column = documents.column + comptime![k as u32];
                let mut gradient = 0.0f32.runtime();
                if documents.is_negative(k) {
                    gradient = self.of_negative(documents.of_negative(k));
                    gradient = documents.judgements.weigh(k, gradient);
                    if column == self.hardest_column {
                        gradient += self.hardest;
                    }
                    gradient = documents.through_negative(k, gradient);
                }
                if documents.is_positive(k)
                    && (comptime![!single] || column == self.strongest_column)
                {
                    let weight = documents.judgements.weight(k);
                    gradient = self.of_positive(documents.of_positive(k), weight, column);
                    gradient = documents.through_positive(k, gradient);
                }
                gradients.insert(k, F::cast_from(gradient));
            }
        }
        gradients
    }

    /// Without its weight, and what the hardest negative has more.
    fn of_negative(&self, score: f32) -> f32 {
        let x =
            relative(score, self.reference, self.scale.negative_factor) - self.negatives_log_sum;
        // What nobody asked for must not become NaN by a factor of 0.
        let mut gradient = select(self.negatives != 0.0, x.exp() * self.negatives, 0.0);
        if self.binary != 0.0 {
            gradient += self.binary * sigmoid(self.scale.logit(score));
        }
        gradient
    }

    fn of_positive(&self, score: f32, weight: f32, column: u32) -> f32 {
        let below = relative(self.strongest_score, score, self.scale.factor);
        let above = relative(score, self.weakest_score, self.scale.factor);
        // How far it lies behind the one that the sum with the exponent is measured from.
        let behind = select(self.scale.is_from_largest(), below, above);
        let power = -behind * self.scale.exponent.abs() - self.power_log_sum;
        let plain = -below - self.strongest_log_sum;
        // One positive has all the weight, exactly.
        let softmax = select(plain == 0.0, 1.0, plain.exp());
        let share = select(power == 0.0, 1.0, power.exp());

        // As in `of_negative`.
        let mut gradient = 0.0f32.runtime();
        if self.positives != 0.0 {
            gradient += self.positives * softmax;
        }
        if self.mean != 0.0 {
            gradient += self.mean * weight * share;
        }
        if self.excess != 0.0 {
            gradient += self.excess * (self.weight * softmax - weight);
        }
        if self.losses != 0.0 {
            let above = relative(score, self.reference, self.scale.factor);
            gradient -= self.losses * weight * sigmoid(self.level - above);
        }
        if self.binary != 0.0 {
            gradient -= self.binary * weight * sigmoid(-self.scale.logit(score));
        }
        if column == self.strongest_column {
            gradient += self.strongest;
        }
        if column == self.weakest_column {
            gradient += self.weakest;
        }
        gradient
    }
}
