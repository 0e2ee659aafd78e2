//! An adapter in training.

use burn::{
    module::Module,
    optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor, TensorData},
};
use pretrained::{adam_w, clip_gradients};
use retrieval::normalize;

use super::network::{Adapter, Shape};
use crate::encoder::{Encoder, PretrainedOptions, Role};

pub struct AdapterEncoder {
    adapter: Adapter,
    shape: Shape,
    /// Whether vectors get length 1, as those of the transformer's towers do.
    normalize: Normalize,
    optimizer: ModuleOptimizer,
    /// Of the batches since the last update.
    gradients: GradientsAccumulator<Adapter>,
    device: Device,
    max_grad_norm: f64,
}

/// For each tower.
#[derive(Clone, Copy)]
pub struct Normalize {
    pub queries: bool,
    pub passages: bool,
}

impl AdapterEncoder {
    pub fn new(
        adapter: Adapter,
        shape: Shape,
        normalize: Normalize,
        options: &PretrainedOptions,
        device: &Device,
    ) -> Self {
        Self {
            optimizer: adam_w(&adapter, options.weight_decay as f32),
            adapter,
            shape,
            normalize,
            gradients: GradientsAccumulator::new(),
            device: device.clone(),
            max_grad_norm: options.max_grad_norm,
        }
    }

    fn forward(
        &self,
        adapter: &Adapter,
        texts: &[&Vec<f32>],
        role: Role,
        device: &Device,
    ) -> Tensor<2> {
        let dimensions = texts.first().map_or(0, |vector| vector.len());
        let values: Vec<f32> = texts.iter().copied().flatten().copied().collect();
        let vectors = TensorData::new(values, [texts.len(), dimensions]);
        let vectors = Tensor::from_data(vectors, device);
        let normalized = match role {
            Role::Query => self.normalize.queries,
            Role::Passage | Role::Document if self.shape == Shape::Queries => return vectors,
            Role::Passage | Role::Document => self.normalize.passages,
        };
        let vectors = adapter.forward(vectors);
        match normalized {
            true => normalize(vectors),
            false => vectors,
        }
    }
}

impl Encoder for AdapterEncoder {
    /// What the transformer makes of a text.
    type Text = Vec<f32>;

    fn learn(
        &mut self,
        queries: &[&Vec<f32>],
        documents: &[&Vec<f32>],
        _: u64,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> Result<f64, String> {
        let vectors = |texts, role| self.forward(&self.adapter, texts, role, &self.device);
        let loss = loss(
            vectors(queries, Role::Query),
            vectors(documents, Role::Passage),
        );
        let gradients = GradientsParams::from_grads(loss.backward(), &self.adapter);
        self.gradients.accumulate(&self.adapter, gradients);
        Ok(loss.into_scalar())
    }

    fn update(mut self, learning_rate: f64) -> Self {
        let gradients = self.gradients.grads();
        let gradients = clip_gradients(&self.adapter, gradients, self.max_grad_norm);
        self.adapter = self.optimizer.step(learning_rate, self.adapter, gradients);
        self
    }

    fn encode(&self, texts: &[&Vec<f32>], role: Role) -> Tensor<2> {
        let device = self.device.clone().without_autodiff();
        self.forward(&self.adapter.valid(), texts, role, &device)
    }
}
