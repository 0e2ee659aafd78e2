//! What is trained.

use burn::{
    module::{Module, Param, ParamId},
    tensor::{Device, Distribution, Tensor, activation::gelu},
};
use clap::ValueEnum;

use crate::encoder::drawing;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// A square matrix for queries and documents
    Both,
    /// A square matrix for queries; documents stay as they are embedded
    Queries,
    /// A network of two layers for queries and documents
    Residual,
}

/// A change that is added to a vector, and that is nothing at the start.
///
/// ```text
/// x + x D                    the matrix I + D
/// x + gelu(x W) D            Residual
/// ```
///
/// `D` starts at 0, so that the decay of weights leads back to the vectors as they are embedded.
#[derive(Module, Debug)]
pub struct Adapter {
    /// `W`
    inner: Option<Param<Tensor<2>>>,
    /// `D`
    outer: Param<Tensor<2>>,
}

impl Adapter {
    pub fn new(shape: Shape, dimensions: usize, seed: u64, device: &Device) -> Self {
        let weights = |values: Tensor<2>| Param::initialized(ParamId::new(), values.require_grad());
        let square = [dimensions; 2];
        let inner = (shape == Shape::Residual).then(|| {
            let _drawing = drawing();
            device.seed(seed);
            let scale = (dimensions as f64).sqrt().recip();
            weights(Tensor::random(
                square,
                Distribution::Normal(0.0, scale),
                device,
            ))
        });
        Self {
            inner,
            outer: weights(Tensor::zeros(square, device)),
        }
    }

    /// From `[texts, dimensions]` to the same.
    pub fn forward(&self, vectors: Tensor<2>) -> Tensor<2> {
        let hidden = match &self.inner {
            Some(inner) => gelu(vectors.clone().matmul(inner.val())),
            None => vectors.clone(),
        };
        vectors + hidden.matmul(self.outer.val())
    }
}
