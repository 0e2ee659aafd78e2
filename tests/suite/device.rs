//! The device under test and what it can do.

use burn::tensor::{DType, Device, Tensor, TensorData};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Chosen by `BURN_DEVICE`, else the first that is compiled in.
pub fn device() -> Device {
    Device::default()
}

/// Plain autodiff, and autodiff that recomputes what it did not keep.
pub fn autodiff_devices() -> [Device; 2] {
    let device = device().autodiff();
    [device.clone(), device.gradient_checkpointing()]
}

/// Whether the device computes in `dtype`; says so when it does not.
pub fn supports(dtype: DType) -> bool {
    let supported = device().supports_dtype(dtype) && (dtype != DType::F64 || has_f64_functions());
    if !supported {
        eprintln!(
            "skipped for {dtype:?}: {:?} does not compute in it",
            device()
        );
    }
    supported
}

/// Shaders have arithmetic in f64 but no `exp` and `log`: what a GPU calls support may be garbage.
fn has_f64_functions() -> bool {
    let half = Tensor::<1>::from_data(TensorData::from([0.5f64]), (&device(), DType::F64));
    let is = |tensor: Tensor<1>, exact: f64| {
        let got = tensor.into_data().iter::<f64>().next().unwrap();
        (got - exact).abs() < 1e-14
    };
    is(half.clone().exp(), 0.5f64.exp())
        && is(half.clone().log(), 0.5f64.ln())
        && is(half.log1p(), 0.5f64.ln_1p())
}

/// f32, and f64 where the device has it.
pub fn precisions() -> Vec<DType> {
    let mut dtypes = vec![DType::F32];
    dtypes.extend(supports(DType::F64).then_some(DType::F64));
    dtypes
}

/// The rounding error of one operation: half a unit in the last place on a CPU, a few units in the exponentials and
/// logarithms of a GPU.
pub fn rounding(dtype: DType) -> f64 {
    let half_unit = match dtype {
        DType::F64 => f64::EPSILON / 2.0,
        DType::F32 => f64::from(f32::EPSILON) / 2.0,
        dtype => panic!("no tolerance for {dtype:?}"),
    };
    half_unit * if is_cpu() { 1.0 } else { 8.0 }
}

/// Whether the backend under test is one of Burn's for CPUs.
pub fn is_cpu() -> bool {
    let name = format!("{:?}", device());
    name.contains("Flex") || name.contains("NdArray")
}

/// The random numbers of a device may be the process's: tests that draw take turns.
pub fn turn_to_draw() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
