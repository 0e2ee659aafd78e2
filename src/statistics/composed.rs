//! The statistics as a composition of Burn operations: portable, and the reference of every
//! faster form.

use burn::tensor::{Bool, DType, Int, Tensor};

use super::{Statistic, WIDTH};
use crate::Targets;

/// The table of statistics, `[queries, WIDTH]`, from scores in f32 or f64.
pub(super) fn table(
    scores: Tensor<2>,
    targets: &Targets,
    temperature: f64,
    wanted: &[Statistic],
) -> Tensor<2> {
    let [queries, documents] = scores.dims();
    if queries == 0 || documents == 0 {
        // No score, no statistic: zeros that hang on the graph of the scores.
        return scores.sum_dim(1).expand([queries, WIDTH]);
    }

    // Halved, because the difference of two finite halves is finite.
    let half = scores.mul_scalar(0.5);
    let sets = Sets::new(half.clone().without_autodiff(), targets);
    let reference = sets.reference(half.clone().without_autodiff());
    let x = half
        .sub(reference.expand([queries, documents]))
        .mul_scalar(2.0 / temperature);

    let column = |statistic: &Statistic| match statistic {
        Statistic::Negatives => sets.negatives.log_sum_exp(x.clone()),
        Statistic::Positives => sets.positives.log_sum_exp(x.clone()),
        Statistic::WeakPositives => sets.positives.log_sum_exp(x.clone().neg()),
        Statistic::PositiveExcess => sets.positives.excess(x.clone()),
        Statistic::WeakestPositive => sets.positives.largest(x.clone().neg()).neg(),
        Statistic::StrongestPositive => sets.positives.largest(x.clone()),
        Statistic::HardestNegative => sets.negatives.largest(x.clone()),
    };
    let zero = Tensor::zeros([queries, 1], (&x.device(), x.dtype()));
    let mut columns = vec![zero; WIDTH];
    columns[0] = sets.positives.count(x.dtype());
    columns[1] = sets.negatives.count(x.dtype());
    for statistic in wanted {
        columns[*statistic as usize] = match statistic {
            Statistic::Negatives | Statistic::HardestNegative => column(statistic),
            _ => column(statistic).mask_fill(sets.unknown_choice.clone(), f64::NAN),
        };
    }
    Tensor::cat(columns, 1)
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
            Some(chosen) => {
                let columns = columns(dims, chosen.dtype(), &positives);
                let chosen: Tensor<2, Int> = chosen.unsqueeze_dim(1);
                positives.bool_and(columns.equal(chosen.expand(dims)))
            }
            None => positives,
        };
        let unknown_choice = active.bool_and(positives.clone().any_dim(1).bool_not());
        Self {
            positives: Set::new(positives),
            negatives: Set::new(negatives),
            unknown_choice,
        }
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
        self.members.clone().float().cast(dtype).sum_dim(1)
    }

    /// The largest member, 0 for an empty set; a constant.
    fn max(&self, x: Tensor<2>) -> Tensor<2> {
        let lowest = lowest(x.dtype());
        x.without_autodiff()
            .mask_fill(self.others.clone(), lowest)
            .max_dim(1)
            .mask_fill(self.empty.clone(), 0.0)
    }

    /// `log sum exp(x)` over the members, 0 for an empty set.
    fn log_sum_exp(&self, x: Tensor<2>) -> Tensor<2> {
        let (dims, lowest) = (x.dims(), lowest(x.dtype()));
        let largest = self.max(x.clone());
        // The others are replaced before `exp`, so that nothing of them, NaN and infinities
        // included, reaches the sum or its gradient.
        x.sub(largest.clone().expand(dims))
            .mask_fill(self.others.clone(), lowest)
            .exp()
            .sum_dim(1)
            .mask_fill(self.empty.clone(), 1.0)
            .log()
            .add(largest)
    }

    /// `sum (log sum exp(x) - x)` over the members.
    fn excess(&self, x: Tensor<2>) -> Tensor<2> {
        self.log_sum_exp(x.clone())
            .expand(x.dims())
            .sub(x)
            .mask_fill(self.others.clone(), 0.0)
            .sum_dim(1)
    }

    /// `max x` over the members, 0 for an empty set, differentiable: the first of the largest
    /// members gets the gradient. NaN if a member is.
    fn largest(&self, x: Tensor<2>) -> Tensor<2> {
        let dims @ [_, documents] = x.dims();
        let values = x.clone().without_autodiff();
        let unordered = values.clone().is_nan().bool_and(self.members.clone());
        let columns = columns(dims, self.count_dtype(), &self.members);
        let first = values
            .clone()
            .equal(self.max(values).expand(dims))
            .bool_and(self.members.clone());
        let first = columns
            .clone()
            .mask_fill(first.bool_not(), documents as i64)
            .min_dim(1);
        x.mask_fill(columns.not_equal(first.expand(dims)), 0.0)
            .sum_dim(1)
            .mask_fill(unordered.any_dim(1), f64::NAN)
    }

    fn count_dtype(&self) -> DType {
        self.members.device().settings().int_dtype.into()
    }
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
