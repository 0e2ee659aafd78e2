//! Labels of queries and documents in one type.

use std::collections::HashMap;

use burn::tensor::{DType, Int, IntDType, Tensor, TensorData};

/// Labels that are equal where the given ones are, in a type that both have.
pub(super) fn comparable(labels: [Tensor<1, Int>; 2]) -> [Tensor<1, Int>; 2] {
    let dtypes = labels.each_ref().map(Tensor::dtype);
    if dtypes.contains(&DType::U64) {
        return numbered(labels);
    }
    if dtypes[0] == dtypes[1] {
        return labels;
    }
    let Some(dtype) = common(dtypes).filter(|dtype| supports(&labels[0], *dtype)) else {
        return numbered(labels);
    };
    labels.map(|labels| labels.cast(dtype))
}

fn supports(labels: &Tensor<1, Int>, dtype: IntDType) -> bool {
    labels.device().supports_dtype(DType::from(dtype))
}

/// The smallest type from 32 bits on that holds every number of both.
fn common(dtypes: [DType; 2]) -> Option<IntDType> {
    // Unsigned numbers of n bits are signed ones of n + 1.
    let bits = dtypes.map(|dtype| 8 * dtype.size() + usize::from(dtype.is_uint()));
    match bits[0].max(bits[1]) {
        0..=32 => Some(IntDType::I32),
        33..=64 => Some(IntDType::I64),
        _ => None,
    }
}

/// A number of its own for each label.
fn numbered(labels: [Tensor<1, Int>; 2]) -> [Tensor<1, Int>; 2] {
    let mut numbers = HashMap::new();
    labels.map(|labels| {
        let device = labels.device();
        let labels = values(labels.into_data()).into_iter();
        let labels: Vec<i32> = labels
            .map(|label| {
                let next = numbers.len() as i32;
                *numbers.entry(label).or_insert(next)
            })
            .collect();
        let shape = [labels.len()];
        Tensor::from_data(TensorData::new(labels, shape), (&device, DType::I32))
    })
}

fn values(labels: TensorData) -> Vec<i128> {
    match labels.dtype() {
        DType::U64 => labels.iter::<u64>().map(i128::from).collect(),
        _ => labels.iter::<i64>().map(i128::from).collect(),
    }
}
