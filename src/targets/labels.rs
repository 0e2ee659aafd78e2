//! Labels of queries and documents in one type.

use std::collections::HashMap;

use burn::tensor::{DType, Int, IntDType, Tensor, TensorData};

/// Labels that are equal where the given ones are, in a type that both have.
pub(super) fn comparable(labels: [Tensor<1, Int>; 2]) -> [Tensor<1, Int>; 2] {
    let [queries, documents] = labels.each_ref().map(Tensor::dtype);
    // Kernels count in i64, and not every device casts between signed and unsigned by value.
    if queries.is_uint() != documents.is_uint() || [queries, documents].contains(&DType::U64) {
        return numbered(labels);
    }
    let wider = match queries.size() < documents.size() {
        true => documents,
        false => queries,
    };
    labels.map(|labels| labels.cast(IntDType::from(wider)))
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
