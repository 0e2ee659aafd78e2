//! The arithmetic of the statistics: plain slices on CPUs, CubeCL on GPUs. Kernels know
//! neither Burn's tensors nor an objective; they share the layout of the [`table`], the
//! meaning of a [`draw`], of a [`ceiling`] and of a [`curve`].

pub mod ceiling;
#[cfg(feature = "cpu")]
pub mod cpu;
#[cfg(feature = "cubecl")]
pub mod cube;
pub mod curve;
pub mod draw;
#[cfg(all(test, feature = "cpu"))]
pub mod reference;
pub mod table;
