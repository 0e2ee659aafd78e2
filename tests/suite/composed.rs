//! The losses as formulas on the composed statistics, which every device has.

use crate::batch::Criterion;
use burn::tensor::Tensor;
use burn_multi_positive::{Objective, Targets, statistics::Statistics};

/// The loss of every query; Rand1LH draws, unless the positives are chosen already.
pub fn rows(criterion: &Criterion, scores: Tensor<2>, targets: Targets) -> Tensor<1> {
    match criterion {
        Criterion::LsePair(loss) => of(loss, scores, targets),
        Criterion::JointLh(loss) => of(loss, scores, targets),
        Criterion::SumMargLh(loss) => of(loss, scores, targets),
        Criterion::Rand1Lh(loss) => of(loss, scores, targets),
    }
}

fn of(loss: &impl Objective, scores: Tensor<2>, targets: Targets) -> Tensor<1> {
    let targets = loss.choose_positives(targets);
    let statistics = Statistics::composed(scores, &targets, loss.request());
    loss.losses(&statistics)
}
