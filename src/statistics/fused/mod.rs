//! The statistics as one operation with a hand-written backward, on the backends that have it.

mod autodiff;
#[cfg(feature = "cubecl")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::{
    backend::{
        Backend, Dispatch, DispatchDevice, backend_extension,
        tensor::{BoolTensor, FloatTensor, IntTensor},
    },
    tensor::{Bool, Int, Tensor},
};

use super::{composed, table::Request};
use crate::{Targets, targets::Choice};

/// The table of statistics, `[queries, WIDTH]` or wider, fused where the device has it, else composed.
pub(super) fn table(scores: Tensor<2>, targets: &Targets, request: Request) -> Tensor<2> {
    let [queries, documents] = scores.dims();
    if !has_fused_form(&scores) || queries == 0 || documents == 0 {
        return composed::table(scores, targets, request);
    }
    let inputs = Inputs::new(targets, request);
    Tensor::from_dispatch(Dispatch::row_statistics(
        scores.into_dispatch(),
        inputs.positives.into_dispatch(),
        inputs.candidates.into_dispatch(),
        inputs.chosen.into_dispatch(),
        inputs.options,
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
    if !has_fused_form(&scores) {
        return composed::gradient(scores, targets, request, table, upstream);
    }
    let inputs = Inputs::new(targets, request);
    Tensor::from_dispatch(Dispatch::row_statistics_backward(
        scores.into_dispatch(),
        inputs.positives.into_dispatch(),
        inputs.candidates.into_dispatch(),
        inputs.chosen.into_dispatch(),
        table.into_dispatch(),
        upstream.into_dispatch(),
        inputs.options,
    ))
}

/// Targets as an operation takes them: it has a fixed number of inputs, and what is not there is
/// stood in for.
struct Inputs {
    positives: Tensor<2, Bool>,
    candidates: Tensor<2, Bool>,
    chosen: Tensor<1, Int>,
    options: Options,
}

impl Inputs {
    fn new(targets: &Targets, request: Request) -> Self {
        let (positives, candidates) = (targets.relevant(), targets.candidates());
        let has_candidates = candidates.is_some();
        Self {
            candidates: candidates.unwrap_or_else(|| positives.clone()),
            chosen: match targets.choice() {
                Some(choice) => choice.tensor().clone(),
                None => Tensor::empty([1], &positives.device()),
            },
            options: Options {
                request,
                has_candidates,
                choice: targets.choice().map(|choice| match choice {
                    Choice::Columns(_) => Chosen::Column,
                    Choice::Draws(_) => Chosen::Draw,
                }),
            },
            positives,
        }
    }
}

/// An operation of a backend that has no implementation panics, so the question comes first.
fn has_fused_form(scores: &Tensor<2>) -> bool {
    match scores.device().without_autodiff().as_dispatch() {
        // In f64 most GPUs have no exponential and the others hardly any speed.
        #[cfg(feature = "cubecl")]
        DispatchDevice::Cube(_) => scores.dtype() != burn::tensor::DType::F64,
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        _ => false,
    }
}

/// What is asked, and which of the inputs are there.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    request: Request,
    has_candidates: bool,
    choice: Option<Chosen>,
}

/// How the entries of `chosen` name a positive.
#[derive(Clone, Copy, Debug)]
enum Chosen {
    Column,
    Draw,
}

#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cubecl"),
    Fusion: cfg(feature = "cubecl"),
    Autodiff
)]
pub trait StatisticsOps: Backend {
    /// The table of statistics of `scores`; it may have private columns.
    #[fusion(dtype = burn::tensor::DType::F32, shape = cube::table_shape(scores))]
    fn row_statistics(
        scores: FloatTensor<Self>,
        positives: BoolTensor<Self>,
        candidates: BoolTensor<Self>,
        chosen: IntTensor<Self>,
        options: Options,
    ) -> FloatTensor<Self>;

    /// The gradient of `scores`, given the table and its gradient.
    #[allow(unused_variables)]
    #[fusion(dtype = scores, shape = scores)]
    fn row_statistics_backward(
        scores: FloatTensor<Self>,
        positives: BoolTensor<Self>,
        candidates: BoolTensor<Self>,
        chosen: IntTensor<Self>,
        table: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        options: Options,
    ) -> FloatTensor<Self> {
        unreachable!("autodiff is of first order")
    }
}
