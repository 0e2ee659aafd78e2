//! The sizes of nested dimensions, as losses are handed them.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

/// Sizes, ascending and each but once, and their weights.
#[derive(Clone, Debug)]
pub struct Nest {
    pub sizes: Vec<usize>,
    pub normalize: bool,
    weights: Vec<f64>,
}

impl Nest {
    pub fn new(sizes: &[usize], weights: &[f64], normalize: bool) -> Self {
        let mut of_sizes = BTreeMap::new();
        for (&size, &weight) in sizes.iter().zip(weights) {
            *of_sizes.entry(size).or_insert(0.0) += weight;
        }
        // What has no weight is not computed; something must be.
        let weighted = of_sizes.iter().filter(|(_, weight)| **weight != 0.0);
        let (mut sizes, mut weights): (Vec<_>, Vec<_>) = weighted.unzip();
        if sizes.is_empty() {
            sizes.extend(of_sizes.first_key_value().map(|(size, _)| *size));
            weights.push(0.0);
        }
        Self {
            sizes,
            weights,
            normalize,
        }
    }

    pub fn largest(&self) -> usize {
        *self.sizes.last().expect("there is a size")
    }

    /// The sum of what is given for each size, with the weights.
    pub fn sum(&self, of_sizes: impl Iterator<Item = Tensor<1>>) -> Tensor<1> {
        let weighted = of_sizes.zip(&self.weights);
        let weighted = weighted.map(|(loss, &weight)| loss.mul_scalar(weight));
        weighted.reduce(Tensor::add).expect("there is a size")
    }
}
