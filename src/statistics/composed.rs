//! The statistics as a composition of Burn operations: portable, and the reference of every
//! faster form.

use burn::tensor::{Bool, DType, FloatDType, Int, Tensor};

use crate::{
    Targets,
    kernels::{
        ceiling::{FalseNegatives, PositiveThreshold},
        curve::{Curve, Product},
        draw::DRAWS,
        table::{
            NEGATIVE_COUNT, POSITIVE_COUNT, POSITIVE_WEIGHT, REFERENCE, Request, Statistic, WIDTH,
        },
    },
    targets::Chosen,
};

use super::{softplus, softplus::log_one_plus, wide};

/// The table of statistics, `[queries, WIDTH]`.
pub(super) fn table(scores: Tensor<2>, targets: &Targets, request: Request) -> Tensor<2> {
    let [queries, documents] = scores.dims();
    let dtype = wide(scores.dtype());
    let scores = scores.cast(dtype);
    if queries == 0 || documents == 0 {
        // No score, no statistic: zeros that hang on the graph of the scores.
        return scores.sum_dim(1).repeat_dim(1, WIDTH);
    }

    let sets = Sets::new(scores.clone().without_autodiff(), targets, request);
    let scores = match request.curve() {
        Some(curve) => bent(scores, &sets, curve),
        None => scores,
    };
    // Halved, because the difference of two finite halves is finite.
    let half = scores.clone().mul_scalar(0.5);
    let scores = scores.without_autodiff();
    let reference = sets.reference(half.clone().without_autodiff());
    let from = Scale {
        reference: reference.clone(),
        factor: 2.0 / request.temperature(),
    };

    let mut columns = vec![Tensor::zeros([queries, 1], (&half.device(), dtype)); WIDTH];
    columns[POSITIVE_COUNT] = sets.positive_count(dtype);
    columns[NEGATIVE_COUNT] = sets.negatives.count(dtype);
    columns[POSITIVE_WEIGHT] = sets.positive_weight(dtype);
    columns[REFERENCE] = reference.mul_scalar(2.0);
    for statistic in Statistic::ALL.into_iter().filter(|&s| request.computes(s)) {
        let value = sets.statistic(statistic, half.clone(), &scores, &from, request);
        columns[statistic as usize] = value;
    }
    Tensor::cat(columns, 1)
}

/// The gradient of scores without autodiff, given the gradient of their table.
pub(super) fn gradient(
    scores: Tensor<2>,
    targets: &Targets,
    request: Request,
    _table: Tensor<2>,
    upstream: Tensor<2>,
) -> Tensor<2> {
    let scores = scores.autodiff().require_grad();
    let table = table(scores.clone(), targets, request);
    let gradients = table.mul(upstream).sum().backward();
    let gradient = scores.grad(&gradients);
    gradient.expect("the table is a function of the scores")
}

/// Means and variances of what every query has for its documents, `[queries, 1]`; 0 over nothing.
pub(crate) struct Moments {
    /// Of the positives that stay; NaN where a choice is none of them.
    pub positives: [Tensor<2>; 2],
    pub negatives: [Tensor<2>; 2],
    pub positive_counts: Tensor<2>,
    pub negative_counts: Tensor<2>,
}

impl Moments {
    /// Of `values`, `[queries, documents]`, in f32 or f64; there is a query and a document.
    pub fn new(values: Tensor<2>, targets: &Targets) -> Self {
        let dtype = values.dtype();
        let request = Request::new(1.0, &[]);
        let sets = Sets::new(values.clone().without_autodiff(), targets, request);
        let [mean, variance] = sets.positives.moments(values.clone());
        Self {
            positives: [
                mean.mask_fill(sets.unknown_choice.clone(), f64::NAN),
                variance,
            ],
            negatives: sets.negatives.moments(values),
            positive_counts: sets.positive_count(dtype),
            negative_counts: sets.negatives.count(dtype),
        }
    }
}

/// `x` as a function of half the scores.
struct Scale {
    reference: Tensor<2>,
    factor: f64,
}

impl Scale {
    fn negated(&self) -> Self {
        Self {
            reference: self.reference.clone().neg(),
            factor: self.factor,
        }
    }

    /// `[queries, 1]` or `[queries, documents]`, like `half`.
    fn apply(&self, half: Tensor<2>) -> Tensor<2> {
        let reference = self.reference.clone().expand(half.dims());
        half.sub(reference).mul_scalar(self.factor)
    }
}

/// The sets of documents over which the statistics go, for the active queries.
struct Sets {
    positives: Set,
    negatives: Set,
    /// Active queries whose chosen column is no positive, `[queries, 1]`.
    unknown_choice: Tensor<2, Bool>,
}

impl Sets {
    fn new(scores: Tensor<2>, targets: &Targets, request: Request) -> Self {
        let dims = scores.dims();
        let dtype = scores.dtype();
        let positives = targets.positives();
        let active = positives.clone().any_dim(1);
        let weighty = scores.clone().greater_equal_scalar(lowest(dtype));
        let weighty = weighty.bool_or(scores.clone().is_nan());
        let weights = targets.weights().map(|weights| weights.cast(dtype));
        // A negative weight is an error.
        let weights = weights.map(|w| w.clone().mask_fill(w.lower_scalar(0.0), f64::NAN));
        let mut negatives = positives
            .clone()
            .bool_not()
            .bool_and(active.clone().expand(dims))
            .bool_and(weighty);
        if let Some(candidates) = targets.candidates() {
            negatives = negatives.bool_and(candidates);
        }
        if let Some(weights) = &weights {
            negatives = negatives.bool_and(weights.clone().not_equal_scalar(0.0));
        }
        let chosen_positives = chosen_of(targets, positives, weights.as_ref());
        if let Some(rule) = request.false_negatives() {
            let ceiling = ceiling(&scores, &chosen_positives, rule);
            let believed = scores.greater(ceiling.expand(dims)).bool_not();
            negatives = negatives.bool_and(believed);
        }
        let positives = chosen_positives;
        let unknown_choice = active.bool_and(positives.clone().any_dim(1).bool_not());
        Self {
            positives: Set::new(positives, weights.clone()),
            negatives: Set::new(negatives, weights),
            unknown_choice,
        }
    }

    /// Which of the `scores` is the largest is not to be seen from halves: that of the smallest
    /// number is 0.
    fn statistic(
        &self,
        statistic: Statistic,
        half: Tensor<2>,
        scores: &Tensor<2>,
        from: &Scale,
        request: Request,
    ) -> Tensor<2> {
        let negated = from.negated();
        let value = match statistic {
            Statistic::Negatives => return self.hard_negatives(half, from, request),
            Statistic::HardestNegative => {
                return self.negatives.largest(half, scores.clone(), from);
            }
            Statistic::PositiveMean if request.exponent() < 0.0 => {
                let size = -request.exponent();
                self.positives.mean(half.neg(), &negated, size).neg()
            }
            Statistic::PositiveMean => self.positives.mean(half, from, request.exponent()),
            Statistic::UnweightedPositives => {
                self.positives.without_weights().log_sum_exp(half, from)
            }
            Statistic::PositiveExcess => self.positives.excess(half, from),
            Statistic::PositiveLosses => self.positive_losses(half, from, request),
            Statistic::BinaryLosses => self.binary_losses(half, request),
            Statistic::WeakestPositive => {
                let largest = self
                    .positives
                    .largest(half.neg(), scores.clone().neg(), &negated);
                largest.neg()
            }
            Statistic::StrongestPositive => self.positives.largest(half, scores.clone(), from),
        };
        value.mask_fill(self.unknown_choice.clone(), f64::NAN)
    }

    /// Log-sum-exp over the negatives, whose hardness is a constant and measured from the
    /// reference.
    fn hard_negatives(&self, half: Tensor<2>, from: &Scale, request: Request) -> Tensor<2> {
        if request.hardness() == 0.0 {
            return self.negatives.log_sum_exp(half, from);
        }
        let hardness = Scale {
            reference: from.reference.clone(),
            factor: 2.0 * request.hardness(),
        };
        let hardness = hardness.apply(half.clone().without_autodiff()).exp();
        let weights = match &self.negatives.weights {
            Some(weights) => weights.clone().mul(hardness),
            None => hardness,
        };
        let negatives = Set::new(self.negatives.members.clone(), Some(weights));
        negatives.log_sum_exp(half, from)
    }

    /// The loss of each positive alone against all negatives, summed with the weights.
    fn positive_losses(&self, half: Tensor<2>, from: &Scale, request: Request) -> Tensor<2> {
        let dims = half.dims();
        let reference = from.reference.clone().mul_scalar(2.0 * request.hardness());
        let level = self.hard_negatives(half.clone(), from, request);
        let level = level.add(reference);
        let none = self.negatives.empty.clone();
        let gap = level.expand(dims).sub(from.apply(half));
        // Positives may lie infinitely far from the reference, which is one of them.
        let pointless = none
            .clone()
            .expand(dims)
            .bool_and(gap.clone().is_nan().bool_not());
        let gap = gap.mask_fill(self.positives.others.clone(), 0.0);
        let losses = softplus(gap).mask_fill(pointless, 0.0);
        self.positives.sum(losses)
    }

    /// The loss of each document alone, summed with the weights.
    fn binary_losses(&self, half: Tensor<2>, request: Request) -> Tensor<2> {
        let logits = half.mul_scalar(2.0 / request.temperature());
        let logits = logits.add_scalar(request.bias());
        let of = |set: &Set, logits: Tensor<2>| {
            set.sum(softplus(logits.mask_fill(set.others.clone(), 0.0)))
        };
        of(&self.positives, logits.clone().neg()).add(of(&self.negatives, logits))
    }

    /// An unknown choice counts as one positive of weight 1: its query is active.
    fn positive_weight(&self, dtype: DType) -> Tensor<2> {
        let unknown = ones(self.unknown_choice.clone(), dtype);
        let ones = ones(self.positives.members.clone(), dtype);
        self.positives.sum(ones).add(unknown)
    }

    /// An unknown choice counts as one positive: its query is active.
    fn positive_count(&self, dtype: DType) -> Tensor<2> {
        let unknown = ones(self.unknown_choice.clone(), dtype);
        self.positives.count(dtype).add(unknown)
    }

    /// The largest negative of each query, else its largest positive, else 0: `[queries, 1]`.
    fn reference(&self, scores: Tensor<2>) -> Tensor<2> {
        let hardest = self.negatives.max(scores.clone());
        let strongest = self.positives.max(scores);
        hardest.mask_where(self.negatives.empty.clone(), strongest)
    }
}

/// Some of the documents of each query.
struct Set {
    members: Tensor<2, Bool>,
    others: Tensor<2, Bool>,
    /// The queries without a member, `[queries, 1]`.
    empty: Tensor<2, Bool>,
    /// The weight of each member, 0 for the others.
    weights: Option<Tensor<2>>,
}

impl Set {
    fn new(members: Tensor<2, Bool>, weights: Option<Tensor<2>>) -> Self {
        let others = members.clone().bool_not();
        Self {
            weights: weights.map(|weights| weights.mask_fill(others.clone(), 0.0)),
            others,
            empty: members.clone().any_dim(1).bool_not(),
            members,
        }
    }

    fn without_weights(&self) -> Self {
        Self::new(self.members.clone(), None)
    }

    fn weigh(&self, values: Tensor<2>) -> Tensor<2> {
        match &self.weights {
            Some(weights) => values.mul(weights.clone()),
            None => values,
        }
    }

    /// The sum of the members' values with their weights; those of the others must be 0.
    fn sum(&self, values: Tensor<2>) -> Tensor<2> {
        self.weigh(values.mask_fill(self.others.clone(), 0.0))
            .sum_dim(1)
    }

    /// The weighted mean of the members' values and their variance.
    fn moments(&self, values: Tensor<2>) -> [Tensor<2>; 2] {
        let weight = self.sum(Tensor::ones(
            values.dims(),
            (&values.device(), values.dtype()),
        ));
        let weight = weight.mask_fill(self.empty.clone(), 1.0);
        let values = values.mask_fill(self.others.clone(), 0.0);
        let mean = self.sum(values.clone()).div(weight.clone());
        let variance = self.sum((values - mean.clone()).square()).div(weight);
        [mean, variance]
    }

    fn count(&self, dtype: DType) -> Tensor<2> {
        ones(self.members.clone(), dtype).sum_dim(1)
    }

    /// The largest member, 0 for an empty set; a constant.
    fn max(&self, x: Tensor<2>) -> Tensor<2> {
        let lowest = lowest(x.dtype());
        x.without_autodiff()
            .mask_fill(self.others.clone(), lowest)
            .max_dim(1)
            .mask_fill(self.empty.clone(), 0.0)
    }

    /// The largest member, minus infinity if there is no other.
    fn largest_of_any(&self, x: Tensor<2>) -> Tensor<2> {
        let above = x.clone().greater_equal_scalar(lowest(x.dtype()));
        let above = above.bool_and(self.members.clone()).any_dim(1);
        let infinite = above.bool_or(self.empty.clone()).bool_not();
        self.max(x).mask_fill(infinite, f64::NEG_INFINITY)
    }

    /// The largest member, a constant, and how far `log sum exp(x)` lies above it. The two are
    /// not added here, where the smaller might drown. Both are 0 for an empty set.
    fn log_sum(&self, half: Tensor<2>, factor: f64) -> (Scale, Tensor<2>) {
        let lowest = lowest(half.dtype());
        let largest = Scale {
            reference: self.max(half.clone()),
            factor,
        };
        // The others are replaced before `exp`, so that nothing of them, NaN and infinities
        // included, reaches the sum or its gradient.
        let terms = largest.apply(half).mask_fill(self.others.clone(), lowest);
        let log = self
            .weigh(terms.exp())
            .sum_dim(1)
            .mask_fill(self.empty.clone(), 1.0)
            .log();
        (largest, log)
    }

    /// `log sum exp(x)` over the members, 0 for an empty set.
    fn log_sum_exp(&self, half: Tensor<2>, from: &Scale) -> Tensor<2> {
        let (largest, log) = self.log_sum(half, from.factor);
        let level = from.apply(largest.reference);
        level.mask_fill(self.empty.clone(), 0.0).add(log)
    }

    /// `log(sum w exp(b x) / sum w) / b` over the members, where `b >= 0`: their mean at 0. It
    /// is 0 for an empty set.
    fn mean(&self, half: Tensor<2>, from: &Scale, b: f64) -> Tensor<2> {
        let dims = half.dims();
        let largest = Scale {
            reference: self.max(half.clone()),
            factor: from.factor,
        };
        let level = from.apply(largest.reference.clone());
        let level = level.mask_fill(self.empty.clone(), 0.0);
        let weight = self.sum(Tensor::ones(dims, (&half.device(), half.dtype())));
        let weight = weight.mask_fill(self.empty.clone(), 1.0);
        // How far each member lies below the largest, as a negative number.
        let below = largest.apply(half).mask_fill(self.others.clone(), 0.0);
        let fall = match b < 1e-20 {
            // So small an exponent is 0 in f32.
            true => self.sum(below).div(weight),
            false => {
                let share = self
                    .sum(below.clone().mul_scalar(b).exp())
                    .div(weight.clone());
                let log = share.mask_fill(self.empty.clone(), 1.0).log();
                match b < 0.5 {
                    // Near 1 a share has not the digits of its distance from 1.
                    true => {
                        let rise = exp_minus_one(below.mul_scalar(b));
                        let rise = self.sum(rise).div(weight);
                        let is_small = rise.clone().greater_scalar(-0.5);
                        let small = rise.mask_fill(is_small.clone().bool_not(), 0.0);
                        log.mask_where(is_small, log_one_plus(small))
                    }
                    false => log,
                }
                // Not `div_scalar`, whose gradient is rounded to f32.
                .mul_scalar(1.0 / b)
            }
        };
        level.add(fall)
    }

    /// `sum w (log sum exp(x) - x)` over the members.
    fn excess(&self, half: Tensor<2>, from: &Scale) -> Tensor<2> {
        let dims = half.dims();
        let (largest, log) = self.without_weights().log_sum(half.clone(), from.factor);
        self.sum(log.expand(dims).sub(largest.apply(half)))
    }

    /// `max x` over the members, 0 for an empty set, differentiable: the first of the largest
    /// members gets the gradient. NaN if a member is, or if all are minus infinity.
    fn largest(&self, half: Tensor<2>, values: Tensor<2>, from: &Scale) -> Tensor<2> {
        let dims @ [_, documents] = half.dims();
        let unordered = values.clone().is_nan().bool_and(self.members.clone());
        let found = values
            .clone()
            .equal(self.max(values).expand(dims))
            .bool_and(self.members.clone());
        let known = found.clone().any_dim(1).bool_or(self.empty.clone());
        let unknown = known.bool_not().bool_or(unordered.any_dim(1));
        let columns = columns(dims, DType::I32, &self.members);
        let first = columns
            .clone()
            .mask_fill(found.bool_not(), documents as i64)
            .min_dim(1);
        from.apply(half)
            .mask_fill(columns.not_equal(first.expand(dims)), 0.0)
            .sum_dim(1)
            .mask_fill(unknown, f64::NAN)
    }
}

/// Those of the positives that were chosen, or all.
fn chosen_of(
    targets: &Targets,
    positives: Tensor<2, Bool>,
    weights: Option<&Tensor<2>>,
) -> Tensor<2, Bool> {
    let dims = positives.dims();
    match targets.chosen() {
        Some(Chosen::Columns(chosen)) => {
            let columns = columns(dims, chosen.dtype(), &positives);
            let chosen: Tensor<2, Int> = chosen.clone().unsqueeze_dim(1);
            positives.bool_and(columns.equal(chosen.expand(dims)))
        }
        Some(Chosen::Draws(draws)) => match weights {
            Some(weights) => drawn_by_weight(draws.clone(), positives, weights.clone()),
            None => drawn(draws.clone(), positives),
        },
        None => positives,
    }
}

/// The negatives that score too high to be believed, `[queries, documents]`.
pub(crate) fn false_negatives(
    scores: Tensor<2>,
    targets: &Targets,
    rule: FalseNegatives,
) -> Tensor<2, Bool> {
    let (dims, dtype) = (scores.dims(), wide(scores.dtype()));
    let scores = scores.cast(dtype);
    let positives = targets.positives();
    let weights = targets.weights().map(|weights| weights.cast(dtype));
    let chosen = chosen_of(targets, positives.clone(), weights.as_ref());
    // Where there is no positive there is no threshold.
    let any = chosen.clone().any_dim(1).expand(dims);
    let ceiling = ceiling(&scores, &chosen, rule);
    let high = scores.greater(ceiling.expand(dims));
    high.bool_and(any).bool_and(positives.bool_not())
}

/// The largest score of a negative that is believed, `[queries, 1]`; any number for a query
/// without a positive.
pub(super) fn ceiling(
    scores: &Tensor<2>,
    positives: &Tensor<2, Bool>,
    rule: FalseNegatives,
) -> Tensor<2> {
    let set = Set::new(positives.clone(), None);
    let threshold = match rule.threshold {
        PositiveThreshold::Weakest => set.largest_of_any(scores.clone().neg()).neg(),
        PositiveThreshold::Strongest => set.largest_of_any(scores.clone()),
        PositiveThreshold::Mean => {
            let count = set.count(scores.dtype()).clamp_min(1.0);
            set.sum(scores.clone()).div(count)
        }
    };
    // A largest passes over NaN on some devices.
    let unordered = scores.clone().is_nan().bool_and(positives.clone());
    let threshold = threshold.mask_fill(unordered.any_dim(1), f64::NAN);
    match rule.relative {
        true => threshold
            .clone()
            .sub(threshold.abs().mul_scalar(rule.margin)),
        false => threshold.add_scalar(rule.margin),
    }
}

/// What a curve makes of the scores of positives and negatives, in f32 or f64.
fn bent(scores: Tensor<2>, sets: &Sets, curve: Curve) -> Tensor<2> {
    let positives = sets.positives.members.clone();
    let members = positives.clone().bool_or(sets.negatives.members.clone());
    // Minus infinity stays what it is. Neither it nor the score of nobody must meet a slope.
    let endless = scores.clone().lower_scalar(lowest(scores.dtype()));
    let others = members.bool_not().bool_or(endless);
    let finite = scores.clone().mask_fill(others.clone(), 0.0);
    let of = |product: Product| {
        let factor = finite.clone().mul_scalar(product.rate);
        let factor = factor.add_scalar(product.offset);
        let factor = match curve.paced {
            true => {
                let below = factor.clone().lower_scalar(0.0);
                factor.detach().mask_fill(below, 0.0)
            }
            false => factor,
        };
        factor.mul(finite.clone().sub_scalar(product.center))
    };
    let values = of(curve.negative).mask_where(positives, of(curve.positive));
    values.mask_where(others, scores)
}

/// The positives that [draws](crate::kernels::draw) name.
fn drawn(draws: Tensor<1>, positives: Tensor<2, Bool>) -> Tensor<2, Bool> {
    let dims @ [_, documents] = positives.dims();
    // How many positives stand at or before each column: the last entry counts them all.
    let rank = ones(positives.clone(), DType::F32).cumsum(1);
    let count = rank.clone().narrow(1, documents - 1, 1);
    let share = draws.floor().div_scalar(DRAWS).unsqueeze_dim::<2>(1);
    // Rounding may lift the product to the count itself.
    let place = share
        .mul(count.clone())
        .floor()
        .min_pair(count.sub_scalar(1.0));
    positives.bool_and(rank.equal(place.add_scalar(1.0).expand(dims)))
}

/// The same where each positive is as likely as its weight says; none where a weight is NaN.
fn drawn_by_weight(
    draws: Tensor<1>,
    positives: Tensor<2, Bool>,
    weights: Tensor<2>,
) -> Tensor<2, Bool> {
    let dims @ [_, documents] = positives.dims();
    let dtype = weights.dtype();
    let sums = weights
        .mask_fill(positives.clone().bool_not(), 0.0)
        .cumsum(1);
    let sum = sums.clone().narrow(1, documents - 1, 1);
    let share = draws.cast(dtype).floor().div_scalar(DRAWS);
    let share = share.unsqueeze_dim::<2>(1).mul(sum.clone()).expand(dims);
    // Rounding may lift the share to the sum itself.
    let behind = sums
        .clone()
        .greater(share)
        .bool_or(sums.greater_equal(sum.expand(dims)));
    let behind = behind.bool_and(positives);
    let rank = ones(behind.clone(), DType::F32).cumsum(1);
    behind.bool_and(rank.equal_scalar(1.0))
}

/// `exp(y) - 1` for `y <= 0`: near 0 by its series, of which sixteen terms give all digits of f64.
fn exp_minus_one(y: Tensor<2>) -> Tensor<2> {
    let near = y.clone().greater_scalar(-0.5);
    let small = y.clone().mask_fill(near.clone().bool_not(), 0.0);
    let one = small.clone().mul_scalar(0.0).add_scalar(1.0);
    let series = (2..=16).rev().fold(one, |sum, k| {
        let term = sum.mul(small.clone()).mul_scalar(1.0 / f64::from(k));
        term.add_scalar(1.0)
    });
    let far = y.exp().sub_scalar(1.0);
    far.mask_where(near, small.mul(series))
}

/// 1 for true, 0 for false, whatever the device's default type is.
fn ones(mask: Tensor<2, Bool>, dtype: DType) -> Tensor<2> {
    mask.cast(FloatDType::from(dtype))
}

/// The index of its column in every entry.
fn columns(dims: [usize; 2], dtype: DType, like: &Tensor<2, Bool>) -> Tensor<2, Int> {
    Tensor::<1, Int>::arange(0..dims[1] as i64, (&like.device(), dtype))
        .unsqueeze_dim::<2>(0)
        .expand(dims)
}

/// The lowest finite value: it stands for minus infinity, which WGSL does not have.
fn lowest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MIN,
        _ => f32::MIN as f64,
    }
}
