//! The statistics as one operation with a hand-written backward, on the backends that have it.

mod autodiff;
#[cfg(feature = "cubecl")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod pages;

use burn::{
    backend::{
        Backend, Dispatch, DispatchDevice, backend_extension,
        tensor::{BoolTensor, FloatTensor, IntTensor},
    },
    tensor::{Int, Tensor},
};

use super::{composed, table::Request};
use crate::{Targets, targets::Choice};

/// The table of statistics, `[queries, WIDTH]` or wider, fused where the device has it, else composed.
pub(super) fn table(scores: Tensor<2>, targets: &Targets, request: Request) -> Tensor<2> {
    let [queries, documents] = scores.dims();
    if !has_fused_form(&scores) || queries == 0 || documents == 0 {
        return composed::table(scores, targets, request);
    }
    let positives = targets.relevant();
    let options = Options {
        request,
        has_candidates: targets.candidates().is_some(),
        choice: targets.choice().map(|choice| match choice {
            Choice::Columns(_) => Chosen::Column,
            Choice::Draws(_) => Chosen::Draw,
        }),
    };
    // An operation has a fixed number of inputs: what is not there is stood in for.
    let candidates = targets.candidates().unwrap_or_else(|| positives.clone());
    let chosen = match targets.choice() {
        Some(choice) => choice.tensor().clone(),
        None => Tensor::<1, Int>::empty([1], &positives.device()),
    };
    Tensor::from_dispatch(Dispatch::row_statistics(
        scores.into_dispatch(),
        positives.into_dispatch(),
        candidates.into_dispatch(),
        chosen.into_dispatch(),
        options,
    ))
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
