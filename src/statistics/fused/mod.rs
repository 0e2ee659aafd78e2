//! The statistics as one operation with a hand-written backward, on the backends that have it.

#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "cubecl")]
mod cube;

use burn::{backend::Dispatch, tensor::Tensor};

use super::{composed, judged::Judged, operations::StatisticsOps};
use crate::{Targets, device::Processor, kernels::table::Request, targets::Chosen};

/// The table of statistics, `[queries, WIDTH]` or wider, fused where the device has it, else composed.
pub(super) fn table(scores: Tensor<2>, targets: &Targets, request: Request) -> Tensor<2> {
    let processor = Processor::of(&scores.device());
    if !processor.has_kernels(scores.dtype()) || scores.dims().contains(&0) {
        return composed::table(scores, targets, request);
    }
    Tensor::from_dispatch(Dispatch::row_statistics(
        scores.into_dispatch(),
        judged(targets, processor),
        request,
    ))
}

/// The gradient of scores without autodiff, given what [`table`] returned for them and its gradient.
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
    Tensor::from_dispatch(Dispatch::row_statistics_backward(
        scores.into_dispatch(),
        judged(targets, processor),
        table.into_dispatch(),
        upstream.into_dispatch(),
        request,
    ))
}

/// The targets as the kernels of a processor take them: a draw becomes the column of a positive.
pub(super) fn judged(targets: &Targets, processor: Processor) -> Judged<Dispatch> {
    let all = Judged::of_all_positives(targets, processor.reads_lists());
    let columns = match targets.chosen() {
        None => return all,
        Some(Chosen::Columns(columns)) => columns.clone().into_dispatch(),
        Some(Chosen::Draws(draws)) => {
            Dispatch::drawn_columns(draws.clone().into_dispatch(), all.clone())
        }
    };
    all.with_chosen(columns)
}
