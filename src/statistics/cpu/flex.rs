//! Burn's own CPU backend.

use burn::backend::{Flex, TensorMetadata, flex::FlexTensor};

use super::{CpuBackend, Entry};
use crate::kernels::cpu::Matrix;

impl CpuBackend for Flex {
    fn with_contiguous_rows(scores: FlexTensor) -> FlexTensor {
        with_contiguous_rows(scores)
    }

    fn mask_with_contiguous_rows(mask: FlexTensor) -> FlexTensor {
        with_contiguous_rows(mask)
    }

    fn matrix<E: Entry>(scores: &FlexTensor) -> Matrix<'_, E> {
        matrix(scores)
    }

    fn mask(mask: &FlexTensor) -> Matrix<'_, u8> {
        matrix(mask)
    }

    fn without_gaps(tensor: FlexTensor) -> FlexTensor {
        tensor.to_contiguous()
    }

    fn overwrite<E: Entry>(
        mut scores: FlexTensor,
        write: impl FnOnce(&mut [E]),
    ) -> Result<FlexTensor, FlexTensor> {
        let fills_its_buffer = scores.is_contiguous()
            && scores.layout().num_elements() * size_of::<E>() == scores.bytes().len();
        match scores.try_storage_mut::<E>() {
            Some(buffer) if fills_its_buffer => write(buffer),
            _ => return Err(scores),
        }
        Ok(scores)
    }
}

/// A row that is broadcast stays as it is.
fn with_contiguous_rows(tensor: FlexTensor) -> FlexTensor {
    let [rows, columns] = tensor.shape().dims();
    match *tensor.layout().strides() {
        [row, column] if (column == 1 || columns == 1) && (row >= 0 || rows == 1) => tensor,
        _ => tensor.to_contiguous(),
    }
}

fn matrix<E: Entry>(tensor: &FlexTensor) -> Matrix<'_, E> {
    let shape: [usize; 2] = tensor.shape().dims();
    let layout = tensor.layout();
    let data = &tensor.storage::<E>()[layout.start_offset()..];
    Matrix::new(data, layout.strides()[0].unsigned_abs(), shape)
}
