//! Burn's CPU backends: their tensors as the matrices that the kernels read and write.

#[cfg(feature = "flex")]
mod flex;
mod judged;
#[cfg(feature = "ndarray")]
mod ndarray;
mod pages;

use std::marker::PhantomData;

use burn::{
    backend::{
        Backend, DispatchKindConversion, DispatchTensor,
        tensor::{BoolTensor, FloatTensor},
    },
    tensor::{Element, Shape, Tensor, TensorData},
};
use bytemuck::Pod;

use super::{fused, judged::Judged};
use crate::{
    Targets,
    device::Processor,
    kernels::cpu::{self, Matrix},
};

pub use judged::HostJudged;

/// A type of entries in memory.
pub trait Entry: Element + Pod + Default {}

impl<E: Element + Pod + Default> Entry for E {}

/// A type that scores are stored in, known to Burn and to the kernels.
pub trait Storage: cpu::Element<Real: Entry> + Entry {}

impl<E: cpu::Element<Real: Entry> + Entry> Storage for E {}

/// A backend whose tensors lie in memory that kernels read.
pub trait CpuBackend: Backend {
    /// The tensor itself, unless its rows have gaps.
    fn with_contiguous_rows(scores: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The same for a mask.
    fn mask_with_contiguous_rows(mask: BoolTensor<Self>) -> BoolTensor<Self>;

    /// The entries of a tensor with contiguous rows.
    fn matrix<E: Entry>(scores: &FloatTensor<Self>) -> Matrix<'_, E>;

    /// The entries of a mask with contiguous rows, 0 for false.
    fn mask(mask: &BoolTensor<Self>) -> Matrix<'_, u8>;

    /// The tensor itself, if its entries fill its memory in order; else a copy.
    fn without_gaps(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The tensor of a large output, without a copy.
    fn float_from_output(data: TensorData, device: &Self::Device) -> FloatTensor<Self> {
        Self::float_from_data(data, device)
    }

    /// Has `write` write to the tensor itself, if nobody else holds it and it is without gaps; else
    /// gives it back.
    fn overwrite<E: Entry>(
        scores: FloatTensor<Self>,
        write: impl FnOnce(&mut [E]),
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>>;
}

/// The entries of a tensor that is yet to be written, in huge pages where that pays.
pub struct Output<E> {
    data: TensorData,
    entry: PhantomData<E>,
}

impl<E: Entry> Output<E> {
    /// Of any content.
    pub fn new(shape: Shape) -> Self {
        Self {
            data: pages::any_content::<E>(shape),
            entry: PhantomData,
        }
    }

    pub fn entries(&mut self) -> &mut [E] {
        self.data.as_mut_slice().expect("it was made of this type")
    }

    pub fn into_tensor<B: CpuBackend>(self, device: &B::Device) -> FloatTensor<B> {
        B::float_from_output(self.data, device)
    }
}

/// A tensor as the backend has it, which is known to be its own.
pub fn primitive<B: Backend>(tensor: Tensor<2>) -> FloatTensor<B>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let primitive = tensor.try_into_primitive::<B>();
    primitive.expect("the device has been looked at")
}

/// Targets in memory, for scores or embeddings like these.
pub fn host<B: CpuBackend>(like: &Tensor<2>, targets: &Targets) -> HostJudged<B>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let judged = fused::judged(targets, Processor::of(&like.device()), like.dtype());
    HostJudged::new(Judged::of_backend(judged))
}

/// A matrix from its entries.
pub fn from_entries<B: Backend, E: Entry>(
    entries: Vec<E>,
    shape: [usize; 2],
    device: &B::Device,
) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(entries, shape), device)
}
