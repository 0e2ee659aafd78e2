//! The statistics as a composition of Burn operations: portable, and the reference of every
//! faster form.

use burn::tensor::{Bool, DType, FloatDType, Int, Tensor};

use crate::{
    Targets,
    kernels::{
        draw::DRAWS,
        table::{NEGATIVE_COUNT, POSITIVE_COUNT, REFERENCE, Request, Statistic, WIDTH},
    },
    targets::Chosen,
};

/// The table of statistics, `[queries, WIDTH]`.
pub(super) fn table(scores: Tensor<2>, targets: &Targets, request: Request) -> Tensor<2> {
    let [queries, documents] = scores.dims();
    let dtype = match scores.dtype() {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let scores = scores.cast(dtype);
    if queries == 0 || documents == 0 {
        // No score, no statistic: zeros that hang on the graph of the scores.
        return scores.sum_dim(1).repeat_dim(1, WIDTH);
    }

    // Halved, because the difference of two finite halves is finite.
    let half = scores.clone().mul_scalar(0.5);
    let scores = scores.without_autodiff();
    let sets = Sets::new(scores.clone(), targets);
    let reference = sets.reference(half.clone().without_autodiff());
    let from = Scale {
        reference: reference.clone(),
        factor: 2.0 / request.temperature,
    };

    let mut columns = vec![Tensor::zeros([queries, 1], (&half.device(), dtype)); WIDTH];
    columns[POSITIVE_COUNT] = sets.positive_count(dtype);
    columns[NEGATIVE_COUNT] = sets.negatives.count(dtype);
    columns[REFERENCE] = reference.mul_scalar(2.0);
    for statistic in Statistic::ALL.into_iter().filter(|&s| request.wants(s)) {
        columns[statistic as usize] = sets.statistic(statistic, half.clone(), &scores, &from);
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
    fn new(scores: Tensor<2>, targets: &Targets) -> Self {
        let dims = scores.dims();
        let positives = targets.positives();
        let active = positives.clone().any_dim(1);
        let weighty = scores.clone().greater_equal_scalar(lowest(scores.dtype()));
        let weighty = weighty.bool_or(scores.is_nan());
        let mut negatives = positives
            .clone()
            .bool_not()
            .bool_and(active.clone().expand(dims))
            .bool_and(weighty);
        if let Some(candidates) = targets.candidates() {
            negatives = negatives.bool_and(candidates);
        }
        let positives = match targets.chosen() {
            Some(Chosen::Columns(chosen)) => {
                let columns = columns(dims, chosen.dtype(), &positives);
                let chosen: Tensor<2, Int> = chosen.clone().unsqueeze_dim(1);
                positives.bool_and(columns.equal(chosen.expand(dims)))
            }
            Some(Chosen::Draws(draws)) => drawn(draws.clone(), positives),
            None => positives,
        };
        let unknown_choice = active.bool_and(positives.clone().any_dim(1).bool_not());
        Self {
            positives: Set::new(positives),
            negatives: Set::new(negatives),
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
    ) -> Tensor<2> {
        let negated = from.negated();
        let value = match statistic {
            Statistic::Negatives => return self.negatives.log_sum_exp(half, from),
            Statistic::HardestNegative => {
                return self.negatives.largest(half, scores.clone(), from);
            }
            Statistic::Positives => self.positives.log_sum_exp(half, from),
            Statistic::WeakPositives => self.positives.log_sum_exp(half.neg(), &negated),
            Statistic::PositiveExcess => self.positives.excess(half, from),
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
}

impl Set {
    fn new(members: Tensor<2, Bool>) -> Self {
        Self {
            others: members.clone().bool_not(),
            empty: members.clone().any_dim(1).bool_not(),
            members,
        }
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
        let log = largest
            .apply(half)
            .mask_fill(self.others.clone(), lowest)
            .exp()
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

    /// `sum (log sum exp(x) - x)` over the members.
    fn excess(&self, half: Tensor<2>, from: &Scale) -> Tensor<2> {
        let dims = half.dims();
        let (largest, log) = self.log_sum(half.clone(), from.factor);
        log.expand(dims)
            .sub(largest.apply(half))
            .mask_fill(self.others.clone(), 0.0)
            .sum_dim(1)
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
