//! The backend on the `ndarray` crate, which has f32 and f64.

// Deprecated, and served while Burn has it.
#![allow(deprecated)]

use burn::{
    backend::{NdArray, TensorMetadata, ndarray::NdArrayTensor, ops::FloatTensorOps},
    tensor::TensorData,
};
use burn_std::AllocationProperty;
use bytemuck::{cast_slice, cast_slice_mut};

use super::{CpuBackend, Entry};
use crate::kernels::cpu::Matrix;

/// An expression on the storage of floats, whose type has no public name.
macro_rules! floats {
    ($tensor:expr, $storage:ident => $body:expr) => {
        match $tensor {
            NdArrayTensor::F32($storage) => $body,
            NdArrayTensor::F64($storage) => $body,
            other => panic!(
                "statistics: expected scores of a float type, got {:?}",
                other.dtype()
            ),
        }
    };
}

/// An expression on the storage of a mask.
macro_rules! mask {
    ($tensor:expr, $storage:ident => $body:expr) => {
        match $tensor {
            NdArrayTensor::Bool($storage) => $body,
            other => panic!("targets: expected a mask, got {:?}", other.dtype()),
        }
    };
}

/// The tensor itself if it is without gaps, else a copy that is.
macro_rules! without_gaps {
    ($storage:expr) => {
        match $storage.view().is_standard_layout() {
            true => NdArrayTensor::from($storage),
            false => {
                let array = $storage.into_owned();
                NdArrayTensor::from(array.as_standard_layout().into_owned().into_shared())
            }
        }
    };
}

/// The entries of a storage without gaps as a matrix.
macro_rules! matrix {
    ($storage:expr) => {{
        let shape = $storage.shape();
        let shape = [shape[0], shape[1]];
        let entries = $storage.view().to_slice().expect("it is without gaps");
        Matrix::new(cast_slice(entries), shape[1], shape)
    }};
}

impl CpuBackend for NdArray {
    fn with_contiguous_rows(scores: NdArrayTensor) -> NdArrayTensor {
        floats!(scores, storage => without_gaps!(storage))
    }

    fn mask_with_contiguous_rows(mask: NdArrayTensor) -> NdArrayTensor {
        mask!(mask, storage => without_gaps!(storage))
    }

    fn matrix<E: Entry>(scores: &NdArrayTensor) -> Matrix<'_, E> {
        floats!(scores, storage => matrix!(storage))
    }

    fn mask(mask: &NdArrayTensor) -> Matrix<'_, u8> {
        mask!(mask, storage => matrix!(storage))
    }

    fn without_gaps(tensor: NdArrayTensor) -> NdArrayTensor {
        Self::with_contiguous_rows(tensor)
    }

    fn float_from_output(data: TensorData, device: &Self::Device) -> NdArrayTensor {
        let (bytes, shape, dtype) = data.into_parts();
        // Memory that is not the allocator's is borrowed, and a clone would copy it.
        let bytes = match bytes.property() {
            AllocationProperty::Native => bytes,
            _ => bytes.shared(),
        };
        Self::float_from_data(TensorData::from_bytes(bytes, shape, dtype), device)
    }

    fn overwrite<E: Entry>(
        scores: NdArrayTensor,
        write: impl FnOnce(&mut [E]),
    ) -> Result<NdArrayTensor, NdArrayTensor> {
        floats!(scores, storage => {
            if !storage.is_unique() || !storage.view().is_standard_layout() {
                return Err(storage.into());
            }
            let mut array = storage.into_owned();
            let entries = array.as_slice_mut().expect("it is without gaps");
            write(cast_slice_mut(entries));
            Ok(array.into())
        })
    }
}
