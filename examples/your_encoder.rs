//! Your own two-tower module, trained with a multi-positive objective: the page to copy from.
//!
//! ```text
//! cargo run --release --example your_encoder
//! ```

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    optim::{AdamConfig, GradientsParams},
    tensor::{Device, Distribution, Tensor, activation::gelu},
};
use burn_multi_positive::{LsePairLossConfig, Targets, TargetsError};

/// Any module that makes vectors of queries and vectors of documents will do.
#[derive(Module, Debug)]
struct TwoTowers {
    query: Linear,
    document: Linear,
    output: Linear,
}

impl TwoTowers {
    fn new(device: &Device) -> Self {
        Self {
            query: LinearConfig::new(32, 64).init(device),
            document: LinearConfig::new(32, 64).init(device),
            output: LinearConfig::new(64, 16).init(device),
        }
    }

    /// Unit vectors, `[queries, 16]`.
    fn queries(&self, features: Tensor<2>) -> Tensor<2> {
        unit(self.output.forward(gelu(self.query.forward(features))))
    }

    /// Unit vectors, `[documents, 16]`.
    fn documents(&self, features: Tensor<2>) -> Tensor<2> {
        unit(self.output.forward(gelu(self.document.forward(features))))
    }
}

fn unit(vectors: Tensor<2>) -> Tensor<2> {
    let norms = (vectors.clone().square().sum_dim(1) + 1e-12).sqrt();
    vectors / norms
}

fn main() -> Result<(), TargetsError> {
    let device = Device::default().autodiff();
    device.seed(1);
    let mut model = TwoTowers::new(&device);
    let mut optimizer = AdamConfig::new().init();
    let loss_fn = LsePairLossConfig::new().with_temperature(0.05).init();
    // In your program: the features of a batch, or the token ids that your encoder starts from.
    let queries = Tensor::<2>::random([3, 32], Distribution::Default, &device);
    let documents = Tensor::<2>::random([6, 32], Distribution::Default, &device);

    // By id: all that is relevant to each query, whether or not it is in the batch, and the
    // documents that are. Relevant documents that another query brought along are positives too.
    let relevant = [vec!["d1", "d2", "d77"], vec!["d3", "d2"], vec!["d5"]];
    let batch = ["d1", "d2", "d3", "d4", "d5", "d6"];
    for step in 0..5 {
        let targets = Targets::from_ids(&relevant, &batch, &device)?;
        let (q, d) = (
            model.queries(queries.clone()),
            model.documents(documents.clone()),
        );
        // The scores are the dot products; however many there are, they are never held together.
        let loss = loss_fn.forward_embeddings(q, d, targets);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
        println!("ids    {step}  loss {:.4}", loss.into_scalar::<f32>());
    }

    // In groups: each query brings two documents, positives first. Groups carry no ids, so here d2
    // is a negative of the second query: use them where no document is relevant to two queries.
    for step in 0..5 {
        let targets = Targets::from_groups(&[2, 1, 1], 2, &device)?;
        let (q, d) = (
            model.queries(queries.clone()),
            model.documents(documents.clone()),
        );
        // Scores of your own making, where they are not plain dot products.
        let scores = q.matmul(d.transpose()).tanh();
        let loss = loss_fn.forward(scores, targets);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
        println!("groups {step}  loss {:.4}", loss.into_scalar::<f32>());
    }
    Ok(())
}
