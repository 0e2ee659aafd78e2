//! What a device can do. Nobody else asks a device.

// NdArray is deprecated, and served while Burn has it.
#![allow(deprecated)]

#[cfg(any(feature = "cpu", feature = "cubecl", feature = "remote"))]
use burn::backend::DispatchDevice;
#[cfg(feature = "remote")]
use burn::backend::RemoteDevice;
use burn::tensor::{DType, Device};
#[cfg(feature = "remote")]
use std::sync::{PoisonError, RwLock};

/// The backends that this crate has kernels for.
///
/// An operation of a backend that has no implementation panics, and users may enable
/// backends that this crate does not know: so the question comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    #[cfg(feature = "flex")]
    Flex,
    #[cfg(feature = "ndarray")]
    NdArray,
    #[cfg(feature = "cubecl")]
    Cube,
    /// A device of a server that runs the kernels of its CPU.
    #[cfg(feature = "remote")]
    Remote,
    Other,
}

/// The remote devices whose servers have kernels.
#[cfg(feature = "remote")]
static WITH_KERNELS: RwLock<Vec<RemoteDevice>> = RwLock::new(Vec::new());

/// Has losses on a remote device computed by the kernels of its server.
#[cfg(feature = "remote")]
pub(crate) fn remember_kernels(device: &Device) {
    ask_remote(device, |device| {
        let mut known = WITH_KERNELS.write().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(device) {
            known.push(device.clone());
        }
    });
}

/// What a remote device answers; none if it is not remote.
#[cfg(feature = "remote")]
pub(crate) fn ask_remote<T>(device: &Device, ask: impl FnOnce(&RemoteDevice) -> T) -> Option<T> {
    match device.clone().without_autodiff().as_dispatch() {
        DispatchDevice::Remote(device) => Some(ask(device)),
        #[allow(unreachable_patterns)]
        _ => None,
    }
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
            #[cfg(feature = "remote")]
            DispatchDevice::Remote(device) => {
                let known = WITH_KERNELS.read().unwrap_or_else(PoisonError::into_inner);
                match known.contains(device) {
                    true => Self::Remote,
                    false => Self::Other,
                }
            }
            _ => Self::Other,
        }
    }

    /// Whether the statistics of scores in `dtype` are one operation.
    #[cfg(any(feature = "cpu", feature = "cubecl", feature = "remote"))]
    pub fn has_kernels(self, dtype: DType) -> bool {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => true,
            #[cfg(feature = "ndarray")]
            Self::NdArray => matches!(dtype, DType::F32 | DType::F64),
            // In f64 most GPUs have no exponential and the others hardly any speed.
            #[cfg(feature = "cubecl")]
            Self::Cube => dtype != DType::F64,
            #[cfg(feature = "remote")]
            Self::Remote => true,
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

    /// Whether an embedding loss has a place in the autodiff graph, and so works in
    /// tiles.
    pub fn has_graph(self) -> bool {
        self != Self::Other
    }

    /// Whether a tile of products serves both directions, or several sizes of embeddings.
    pub fn shares_products(self) -> bool {
        self.is_cpu() && !self.is_remote()
    }

    /// Whether `log1p` keeps its digits: on GPUs it is `log(1 + y)`, which is 0 for small
    /// `y`.
    pub fn has_exact_log1p(self) -> bool {
        self.is_cpu()
    }

    /// Whether to multiply embeddings in their type. Half precision buys a CPU nothing
    /// and rounds the scores; f16 has no numbers as small as the gradients of many
    /// scores.
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
            // As on the CPU that it is on.
            #[cfg(feature = "remote")]
            Self::Remote => 1 << 22,
            // The composed form holds a dozen matrices of this size.
            Self::Other => 1 << 20,
            // 16 MiB in f32, which the last cache of a CPU holds.
            #[cfg(feature = "cpu")]
            _ => 1 << 22,
        }
    }

    /// Whether it computes as a CPU does, here or on a server.
    fn is_cpu(self) -> bool {
        match self {
            #[cfg(feature = "remote")]
            Self::Remote => true,
            #[cfg(feature = "flex")]
            Self::Flex => true,
            #[cfg(feature = "ndarray")]
            Self::NdArray => true,
            #[cfg(feature = "cubecl")]
            Self::Cube => false,
            Self::Other => false,
        }
    }

    fn is_remote(self) -> bool {
        match self {
            #[cfg(feature = "remote")]
            Self::Remote => true,
            _ => false,
        }
    }
}
