//! The negatives that score too high to be believed, as lists, on Burn's CPU backends.

use burn::{
    backend::{DispatchKindConversion, DispatchTensor},
    tensor::{DType, Tensor, bf16, f16},
};

use super::cpu::{CpuBackend, Storage, host, primitive};
use crate::{
    Targets,
    device::Processor,
    kernels::{
        ceiling::FalseNegatives,
        cpu::{Element, Real, false_negatives, false_negatives_of_embeddings, tiles::Embeddings},
    },
    scores::Part,
};

/// For each query the columns of the negatives that are not believed, ascending; none on other
/// backends.
pub(crate) fn listed(
    part: &Part,
    targets: &Targets,
    rule: FalseNegatives,
) -> Option<Vec<Vec<usize>>> {
    match Processor::of(&part.device()) {
        #[cfg(feature = "flex")]
        Processor::Flex => Some(of_backend::<burn::backend::Flex>(part, targets, rule)),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)]
        Processor::NdArray => Some(of_backend::<burn::backend::NdArray>(part, targets, rule)),
        _ => None,
    }
}

fn of_backend<B: CpuBackend>(
    part: &Part,
    targets: &Targets,
    rule: FalseNegatives,
) -> Vec<Vec<usize>>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let plain = |x: &Tensor<2>| x.clone().without_autodiff();
    match part {
        Part::Matrix(scores) => {
            let run = match scores.dtype() {
                DType::F64 => of_matrix::<B, f64>,
                DType::F16 => of_matrix::<B, f16>,
                DType::BF16 => of_matrix::<B, bf16>,
                _ => of_matrix::<B, f32>,
            };
            run(plain(scores), targets, rule)
        }
        Part::Embeddings(embeddings) => {
            let both = [&embeddings.queries, &embeddings.documents].map(plain);
            match embeddings.queries.dtype() {
                DType::F64 => of_embeddings::<B, f64>(both, targets, rule),
                _ => of_embeddings::<B, f32>(both.map(|x| x.cast(DType::F32)), targets, rule),
            }
        }
    }
}

fn of_matrix<B: CpuBackend, E: Storage>(
    scores: Tensor<2>,
    targets: &Targets,
    rule: FalseNegatives,
) -> Vec<Vec<usize>>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let judged = host::<B>(&scores, targets);
    let scores = B::with_contiguous_rows(primitive::<B>(scores));
    false_negatives::<E>(B::matrix(&scores), judged.judgements(), rule)
}

fn of_embeddings<B: CpuBackend, R: Storage + Element<Real = R> + Real>(
    both: [Tensor<2>; 2],
    targets: &Targets,
    rule: FalseNegatives,
) -> Vec<Vec<usize>>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let judged = host::<B>(&both[0], targets);
    let [queries, documents] = both.map(|x| B::with_contiguous_rows(primitive::<B>(x)));
    let embeddings = Embeddings {
        queries: B::matrix::<R>(&queries),
        documents: B::matrix::<R>(&documents),
    };
    false_negatives_of_embeddings(embeddings, judged.judgements(), rule)
}
