//! `log(1 + exp(x))` with its relative accuracy at both ends, on every device.

use burn::tensor::{DType, Tensor, activation::softplus_with_threshold};

use crate::device::Processor;

/// `log(1 + exp(x))`: a confident query's loss of 1e-14 is 1e-14, not 0.
pub(crate) fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match Processor::of(&x.device()).has_exact_log1p() {
        // Burn lowers the threshold to what `exp` can hold.
        true => softplus_with_threshold(x, 1.0, f64::MAX),
        false => softplus_by_series(x),
    }
}

/// `max(x, 0) + log(1 + y)` with `y = exp(-|x|)`.
fn softplus_by_series<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let positive = x.clone().greater_scalar(0.0);
    // Not `clamp`, which would lose a NaN.
    let below = x.clone().mask_fill(positive.clone(), 0.0);
    let above = x.mask_fill(positive.bool_not(), 0.0);
    let y = below.clone().sub(above.clone()).exp();
    above.add(log_one_plus(y))
}

/// `log(1 + y) = 2 atanh(z)` with `z = y / (2 + y)`: for `-1/2 <= y <= 1`, where `|z| <=
/// 1/3`, seven terms give all digits of f32, and 17 those of f64.
pub fn log_one_plus<const D: usize>(y: Tensor<D>) -> Tensor<D> {
    let terms = if y.dtype() == DType::F64 { 17 } else { 7 };
    let z = y.clone().div(y.add_scalar(2.0));
    let square = z.clone().powi_scalar(2);
    let coefficient = |k: u32| 1.0 / f64::from(2 * k + 1);
    let last = square.clone().mul_scalar(0.0);
    let series = (0..terms - 1)
        .rev()
        .fold(last.add_scalar(coefficient(terms - 1)), |sum, k| {
            sum.mul(square.clone()).add_scalar(coefficient(k))
        });
    z.mul(series).mul_scalar(2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn both_forms_and_their_slopes_have_their_digits_from_end_to_end() {
        let x: Vec<f32> = vec![
            -80.0, -40.0, -20.0, -5.0, -1.0, -1e-3, 0.0, 1e-3, 0.5, 3.0, 17.0, 25.0, 90.0, 1e30,
        ];
        let device = Device::default().autodiff();
        let mut precisions = vec![(DType::F32, 2e-6)];
        // Shaders have no functions of f64.
        if Processor::of(&device).has_exact_log1p() {
            precisions.push((DType::F64, 2e-14));
        }
        for (dtype, accuracy) in precisions {
            for form in [softplus, softplus_by_series] {
                let data = TensorData::from(x.as_slice());
                let input = Tensor::<1>::from_data(data, (&device, dtype)).require_grad();
                let output = form(input.clone());
                let gradient = input.grad(&output.clone().sum().backward()).unwrap();
                let output = output.into_data().iter::<f64>().collect::<Vec<_>>();
                let gradient = gradient.into_data().iter::<f64>().collect::<Vec<_>>();
                for ((x, got), slope) in x.iter().zip(output).zip(gradient) {
                    let x = f64::from(*x);
                    let exact = x.max(0.0) + (-x.abs()).exp().ln_1p();
                    approx::assert_relative_eq!(got, exact, max_relative = accuracy);
                    let exact = 1.0 / (1.0 + (-x).exp());
                    approx::assert_relative_eq!(slope, exact, max_relative = accuracy);
                }
            }
        }
    }

    #[test]
    fn nan_and_infinities_pass() {
        let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let device = Device::default();
        for form in [softplus, softplus_by_series] {
            let x = Tensor::<1>::from_data(TensorData::from(x), &device);
            let y: Vec<f32> = form(x).into_data().try_to_vec().unwrap();
            assert!(y[0].is_nan());
            assert_eq!(y[1..], [f32::INFINITY, 0.0]);
        }
    }
}
