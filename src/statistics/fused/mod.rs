//! The statistics as one operation with a hand-written backward, on the backends that have it.

#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "cubecl")]
mod cube;

use burn::{
    backend::Dispatch,
    tensor::{DType, Tensor},
};

use super::{composed, judged::Judged, operations::StatisticsOps, wide};
use crate::{Targets, device::Processor, kernels::table::Request, targets::Chosen};

/// The table of statistics, `[queries, WIDTH]` or wider, fused where the device has it, else
/// composed.
pub(super) fn table(scores: Tensor<2>, targets: &Targets, request: Request) -> Tensor<2> {
    let processor = Processor::of(&scores.device());
    if !processor.has_kernels(scores.dtype()) || scores.dims().contains(&0) {
        return composed::table(scores, targets, request);
    }
    let judged = judged_by_scores(&scores, targets, request);
    Tensor::from_dispatch(Dispatch::row_statistics(
        scores.into_dispatch(),
        judged,
        request,
    ))
}

/// The gradient of scores without autodiff, given what [`table`] returned for them and its
/// gradient.
pub(super) fn gradient(
    scores: Tensor<2>,
    targets: &Targets,
    request: Request,
    table: Tensor<2>,
    upstream: Tensor<2>,
) -> Tensor<2> {
    let processor = Processor::of(&scores.device());
    if !processor.has_kernels(scores.dtype()) {
        return composed::gradient(scores, targets, request, table, upstream);
    }
    let judged = judged_by_scores(&scores, targets, request);
    Tensor::from_dispatch(Dispatch::row_statistics_backward(
        scores.into_dispatch(),
        judged,
        table.into_dispatch(),
        upstream.into_dispatch(),
        request,
    ))
}

/// The targets of scores, less the false negatives of a request.
fn judged_by_scores(scores: &Tensor<2>, targets: &Targets, request: Request) -> Judged<Dispatch> {
    let judged = judged(targets, Processor::of(&scores.device()), scores.dtype());
    let Some(rule) = request.false_negatives() else {
        return judged;
    };
    let scores = scores.clone().without_autodiff().into_dispatch();
    let ceilings = Dispatch::row_ceilings(scores, judged.clone(), rule);
    judged.with_ceilings(ceilings)
}

/// The targets as the kernels of a processor take them for scores in `dtype`: a draw becomes
/// the column of a positive.
pub(super) fn judged(targets: &Targets, processor: Processor, dtype: DType) -> Judged<Dispatch> {
    let all = Judged::of_all_positives(targets, processor.reads_lists(), wide(dtype));
    let columns = match targets.chosen() {
        None => return all,
        Some(Chosen::Columns(columns)) => columns.clone().into_dispatch(),
        Some(Chosen::Draws(draws)) => {
            Dispatch::drawn_columns(draws.clone().into_dispatch(), all.clone())
        }
    };
    all.with_chosen(columns)
}
