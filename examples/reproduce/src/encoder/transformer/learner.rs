//! A transformer in training.

use std::path::Path;

use burn::{
    module::Module,
    optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor},
};
use burn_multi_positive::GradientCache;
use pretrained::{DualEncoder, Tokens, adam_w, clip_gradients, load_checkpoint, save_checkpoint};

use super::{options::PretrainedOptions, source::Towers};
use crate::encoder::{Encoder, Role, drawing};

pub struct TransformerEncoder {
    model: DualEncoder,
    optimizer: ModuleOptimizer,
    /// Of the batches since the last update.
    gradients: GradientsAccumulator<DualEncoder>,
    device: Device,
    towers: Towers,
    pass_tokens: usize,
    cache_chunk: Option<usize>,
    /// Whether the two passes of the cache were compared, which is done once.
    checked: bool,
    max_grad_norm: f64,
}

impl TransformerEncoder {
    pub fn new(
        model: DualEncoder,
        towers: Towers,
        options: &PretrainedOptions,
        device: &Device,
    ) -> Self {
        Self {
            optimizer: adam_w(&model, options.weight_decay as f32),
            model,
            gradients: GradientsAccumulator::new(),
            device: device.clone(),
            towers,
            pass_tokens: options.pass_tokens,
            cache_chunk: options.cache_chunk,
            checked: false,
            max_grad_norm: options.max_grad_norm,
        }
    }

    /// The loss of a batch and its gradients, in one graph.
    fn whole(
        &self,
        queries: &[&Tokens],
        documents: &[&Tokens],
        seed: u64,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> (Tensor<1>, GradientsParams) {
        self.device.seed(seed);
        let queries = self.model.queries().encode(queries, self.pass_tokens);
        let documents = self.model.passages().encode(documents, self.pass_tokens);
        let loss = loss(queries, documents);
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        (loss, gradients)
    }

    /// The same, so many texts at a time.
    fn chunked(
        &self,
        chunk: usize,
        queries: &[&Tokens],
        documents: &[&Tokens],
        seed: u64,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> Result<(Tensor<1>, GradientsParams), String> {
        let passes = self.pass_tokens;
        let cache = GradientCache::new(&self.model, [chunk, chunk], seed);
        let cache = match self.checked {
            true => cache,
            false => cache.with_check(),
        };
        let step = cache.step(
            queries.len(),
            |model, rows| Ok(model.queries().encode(&queries[rows], passes)),
            documents.len(),
            |model, rows| Ok(model.passages().encode(&documents[rows], passes)),
            |queries, documents| Ok(loss(queries, documents)),
        );
        let step = step.map_err(|error| error.to_string())?;
        Ok((step.loss, step.gradients))
    }
}

impl Encoder for TransformerEncoder {
    type Text = Tokens;

    fn learn(
        &mut self,
        queries: &[&Tokens],
        documents: &[&Tokens],
        seed: u64,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> Result<f64, String> {
        let _drawing = drawing();
        let (loss, gradients) = match self.cache_chunk {
            None => self.whole(queries, documents, seed, loss),
            Some(chunk) => self.chunked(chunk, queries, documents, seed, loss)?,
        };
        self.checked = true;
        self.gradients.accumulate(&self.model, gradients);
        Ok(loss.into_scalar())
    }

    fn update(mut self, learning_rate: f64) -> Self {
        let gradients = self.gradients.grads();
        let gradients = clip_gradients(&self.model, gradients, self.max_grad_norm);
        self.model = self.optimizer.step(learning_rate, self.model, gradients);
        self
    }

    fn encode(&self, texts: &[&Tokens], role: Role) -> Tensor<2> {
        let model = self.model.valid();
        let tower = match role {
            Role::Query => model.queries(),
            Role::Passage | Role::Document => model.passages(),
        };
        tower.encode(texts, self.pass_tokens)
    }

    fn save_checkpoint(&self, folder: &Path, steps: usize) -> Result<(), String> {
        let saved = save_checkpoint(folder, steps, &self.model, &self.optimizer);
        saved.map_err(|error| error.to_string())
    }

    fn load_checkpoint(mut self, folder: &Path) -> Result<(Self, usize), String> {
        let loaded = load_checkpoint(folder, self.model, self.optimizer);
        let (model, optimizer, steps) = loaded.map_err(|error| error.to_string())?;
        self.model = model;
        self.optimizer = optimizer;
        Ok((self, steps))
    }

    fn save(&self, folder: &Path) -> Result<(), String> {
        self.towers.save(&self.model.valid(), folder)
    }
}
