//! What a device can do. Nobody else asks a device.

// NdArray is deprecated, and served while Burn has it.
#![allow(deprecated)]

#[cfg(any(feature = "cpu", feature = "cubecl"))]
use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device};

/// The backends that this crate has kernels for.
///
/// An operation of a backend that has no implementation panics, and users may enable backends that
/// this crate does not know: so the question comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    #[cfg(feature = "flex")]
    Flex,
    #[cfg(feature = "ndarray")]
    NdArray,
    #[cfg(feature = "cubecl")]
    Cube,
    Other,
}

impl Processor {
    pub fn of(device: &Device) -> Self {
        match device.clone().without_autodiff().as_dispatch() {
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => Self::Flex,
            #[cfg(feature = "ndarray")]
            DispatchDevice::NdArray(_) => Self::NdArray,
            #[cfg(feature = "cubecl")]
            DispatchDevice::Cube(_) => Self::Cube,
            _ => Self::Other,
        }
    }

    /// Whether the statistics of scores in `dtype` are one operation.
    #[cfg(any(feature = "cpu", feature = "cubecl"))]
    pub fn has_kernels(self, dtype: DType) -> bool {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => true,
            #[cfg(feature = "ndarray")]
            Self::NdArray => matches!(dtype, DType::F32 | DType::F64),
            // In f64 most GPUs have no exponential and the others hardly any speed.
            #[cfg(feature = "cubecl")]
            Self::Cube => dtype != DType::F64,
            Self::Other => {
                let _ = dtype;
                false
            }
        }
    }

    /// Whether the kernels read labels and lists where they are: no mask is made then.
    pub fn reads_lists(self) -> bool {
        self.is_cpu()
    }

    /// Whether an embedding loss has a place in the autodiff graph, and so works in tiles.
    pub fn has_graph(self) -> bool {
        self != Self::Other
    }

    /// Whether a tile of products serves both directions, or several sizes of embeddings.
    pub fn shares_products(self) -> bool {
        self.is_cpu()
    }

    /// Whether `log1p` keeps its digits: on GPUs it is `log(1 + y)`, which is 0 for small `y`.
    pub fn has_exact_log1p(self) -> bool {
        self.is_cpu()
    }

    /// Whether to multiply embeddings in their type. Half precision buys a CPU nothing and
    /// rounds the scores; f16 has no numbers as small as the gradients of many scores.
    pub fn has_fast_products(self, dtype: DType) -> bool {
        match dtype {
            DType::F32 | DType::F64 => true,
            DType::F16 => false,
            _ => !self.is_cpu(),
        }
    }

    /// How many scores of embeddings are held at a time.
    pub fn scores_of_a_tile(self) -> usize {
        match self {
            // 128 MiB in f32: each tile adds to the gradient of all documents.
            #[cfg(feature = "cubecl")]
            Self::Cube => 1 << 25,
            // The composed form holds a dozen matrices of this size.
            Self::Other => 1 << 20,
            // 16 MiB in f32, which the last cache of a CPU holds.
            #[cfg(feature = "cpu")]
            _ => 1 << 22,
        }
    }

    fn is_cpu(self) -> bool {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => true,
            #[cfg(feature = "ndarray")]
            Self::NdArray => true,
            #[cfg(feature = "cubecl")]
            Self::Cube => false,
            Self::Other => false,
        }
    }
}
