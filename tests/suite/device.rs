//! The device under test and what it can do.

use burn::tensor::{DType, Device, Tensor, TensorData};
use std::panic::catch_unwind;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

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

/// Shaders have arithmetic in f64 but no `exp` and `log`: what a GPU calls support may be
/// garbage.
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

/// The rounding error of one operation: half a unit in the last place on a CPU, a few
/// units in the exponentials and logarithms of a GPU.
pub fn rounding(dtype: DType) -> f64 {
    let half_unit = match dtype {
        DType::F64 => f64::EPSILON / 2.0,
        DType::F32 => f64::from(f32::EPSILON) / 2.0,
        dtype => panic!("no tolerance for {dtype:?}"),
    };
    half_unit * if is_cpu() { 1.0 } else { 8.0 }
}

/// How much larger than [`rounding`] the relative error of a product in a matrix
/// multiplication may be: the tensor cores that Burn takes for f32 on CUDA see 10 bits of
/// either factor (TF32).
pub fn product_error(dtype: DType) -> f64 {
    static SHORT: LazyLock<bool> = LazyLock::new(|| {
        let long = 1.0 + 2f32.powi(-11) + 2f32.powi(-13);
        let factors = Tensor::<2>::eye(16, &device()).cast(DType::F32);
        let product = factors.clone().mul_scalar(long).matmul(factors);
        product.into_data().iter::<f32>().next() != Some(long)
    });
    match dtype == DType::F32 && *SHORT {
        true => 2f64.powi(-10),
        false => 0.0,
    }
}

/// What may be left of numbers that cancel exactly elsewhere: GPUs that have f64 contract
/// products and sums.
pub fn remainder() -> f64 {
    match !is_cpu() && precisions().contains(&DType::F64) {
        true => 1e-14,
        false => 0.0,
    }
}

/// Whether the backend under test is one of Burn's for CPUs.
pub fn is_cpu() -> bool {
    let name = format!("{:?}", device());
    name.contains("Flex") || name.contains("NdArray")
}

/// Whether the device has products of matrices without entries; says so when it has not.
pub fn multiplies_nothing() -> bool {
    let nothing = |dims| Tensor::<2>::zeros(dims, &device());
    let product = catch_unwind(|| nothing([0, 2]).matmul(nothing([2, 4])).into_data());
    if product.is_err() {
        eprintln!("skipped: {:?} does not multiply empty matrices", device());
    }
    product.is_ok()
}

/// The random numbers of a device may be the process's: tests that draw take turns.
pub fn turn_to_draw() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
