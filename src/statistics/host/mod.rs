//! Tensors of Burn's CPU backend as matrices of the kernels.

pub(super) mod pages;

use burn::{
    backend::{TensorMetadata, flex::FlexTensor},
    tensor::Element,
};
use bytemuck::Pod;

use crate::kernel::Matrix;

/// The tensor itself, unless its rows have gaps; a row that is broadcast stays as it is.
pub(super) fn with_contiguous_rows(tensor: FlexTensor) -> FlexTensor {
    let [rows, columns] = tensor.shape().dims();
    match *tensor.layout().strides() {
        [row, column] if (column == 1 || columns == 1) && (row >= 0 || rows == 1) => tensor,
        _ => tensor.to_contiguous(),
    }
}

/// The entries of a tensor with contiguous rows.
pub(super) fn matrix<E: Element + Pod>(tensor: &FlexTensor) -> Matrix<'_, E> {
    let shape: [usize; 2] = tensor.shape().dims();
    let layout = tensor.layout();
    let data = &tensor.storage::<E>()[layout.start_offset()..];
    Matrix::new(data, layout.strides()[0].unsigned_abs(), shape)
}
