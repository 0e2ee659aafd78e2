//! A regularizer that spreads embeddings over the sphere.

use burn::{
    config::Config,
    module::Module,
    tensor::{DType, Tensor, activation::relu},
};

use crate::scores::normalized;

/// Configuration of [`SpreadOutLoss`].
#[derive(Config, Debug)]
pub struct SpreadOutLossConfig {
    /// Whether the square of the mean cosine is added, as in the paper. Default: false.
    #[config(default = false)]
    pub first_moment: bool,
}

impl SpreadOutLossConfig {
    /// Initializes the loss.
    pub fn init(&self) -> SpreadOutLoss {
        SpreadOutLoss {
            first_moment: self.first_moment,
        }
    }
}

/// The spread-out regularizer: it penalizes embeddings of one side that are closer to each
/// other than those of a uniform distribution over the sphere.
///
/// With the cosines `c` of `n` embeddings of `d` dimensions:
///
/// ```text
/// loss = max(0, mean of c_ij^2 over i != j - 1 / d)        + (mean of c_ij over i != j)^2, if wanted
/// ```
///
/// Add it to the loss of a batch, multiplied by a weight, once for the queries and once for
/// the documents. Embeddings that fill the space keep their ranking under quantization and
/// approximate search. A matrix of `d x d` is made, but none of `n x n`. Leave out copies of a
/// text: they would be pushed apart in vain.
///
/// The loss of fewer than two embeddings is 0, and so is that of embeddings without
/// dimensions. An embedding of zeros has the cosine 0 with every other. Half precision is
/// computed in f32.
///
/// # Source
///
/// "Learning Spread-out Local Feature Descriptors" (arXiv 1708.06320), which has the first
/// moment. EmbeddingGemma (arXiv 2509.20354) and jina-embeddings-v5 (arXiv 2602.15547) train
/// with this loss.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::SpreadOutLossConfig;
///
/// let device = Device::default();
/// let loss_fn = SpreadOutLossConfig::new().init();
/// // All in one direction of two.
/// let close = Tensor::<2>::from_floats([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]], &device);
/// assert_eq!(loss_fn.forward(close).into_scalar::<f32>(), 0.5);
/// ```
#[doc(alias = "GOR")]
#[derive(Module, Debug)]
pub struct SpreadOutLoss {
    first_moment: bool,
}

impl SpreadOutLoss {
    /// The loss of the embeddings of one side.
    ///
    /// # Shapes
    ///
    /// - `embeddings`: `[rows, dimensions]`
    /// - output: `[1]`, in f32, or in f64 for embeddings in f64
    pub fn forward(&self, embeddings: Tensor<2>) -> Tensor<1> {
        let [rows, dimensions] = embeddings.dims();
        let embeddings = match embeddings.dtype() {
            DType::F64 => embeddings,
            _ => embeddings.cast(DType::F32),
        };
        if rows < 2 || dimensions == 0 {
            return embeddings.sum().mul_scalar(0.0);
        }
        let units = normalized(embeddings);
        let pairs = 1.0 / (rows * (rows - 1)) as f64;
        // The squares of all cosines add up to those of the matrix of second moments.
        let moments = units.clone().transpose().matmul(units.clone());
        let lengths = units.clone().square().sum_dim(1);
        let own = lengths.clone().square().sum();
        let squares = (moments.square().sum() - own).mul_scalar(pairs);
        let loss = relu(squares.sub_scalar(1.0 / dimensions as f64));
        if !self.first_moment {
            return loss;
        }
        let sum = units.sum_dim(0).square().sum() - lengths.sum();
        loss + sum.mul_scalar(pairs).square()
    }

    /// Whether the square of the mean cosine is added.
    pub fn first_moment(&self) -> bool {
        self.first_moment
    }
}
