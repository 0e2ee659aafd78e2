//! Texts as vectors of a transformer, and adapters for them.

use std::{iter, ptr};

use burn::tensor::Device;
use pretrained::Pretrained;
use rayon::prelude::*;

use super::{
    embeddings::Embeddings,
    learner::{AdapterEncoder, Normalize},
    network::{Adapter, Shape},
};
use crate::encoder::{EncoderSource, PretrainedOptions, Role, TransformerSource};

pub struct AdapterSource {
    transformer: TransformerSource,
    shape: Shape,
    options: PretrainedOptions,
    queries: Embeddings,
    /// `None` if passages go through a tower of the queries' weights.
    passages: Option<Embeddings>,
}

impl AdapterSource {
    /// Opens what was embedded before.
    pub fn open(
        transformer: TransformerSource,
        shape: Shape,
        options: &PretrainedOptions,
        device: &Device,
    ) -> Result<Self, String> {
        let folder = &options.embeddings;
        let open = |tower: &Pretrained| Embeddings::open(folder, tower, device);
        let passages = match transformer.is_shared() {
            true => None,
            false => Some(open(transformer.tower(Role::Passage))?),
        };
        let queries = open(transformer.tower(Role::Query))?;
        Ok(Self {
            // Towers of the same weights share a file.
            passages: passages.filter(|passages| !passages.is_of(&queries)),
            queries,
            shape,
            options: options.clone(),
            transformer,
        })
    }

    fn embeddings(&self, role: Role) -> &Embeddings {
        match (role, &self.passages) {
            (Role::Query, _) | (_, None) => &self.queries,
            (Role::Passage | Role::Document, Some(passages)) => passages,
        }
    }
}

impl EncoderSource for AdapterSource {
    type Encoder = AdapterEncoder;

    fn name(&self) -> String {
        let shape = match self.shape {
            Shape::Both => "a square matrix",
            Shape::Queries => "a square matrix for queries alone",
            Shape::Residual => "a residual network of two layers",
        };
        format!(
            "adapter, {shape}, on {}, {}",
            self.transformer.as_embedded(),
            self.options.optimizer_name()
        )
    }

    fn prepare(&self, texts: &[(Role, &str)]) -> Result<(), String> {
        for embeddings in iter::once(&self.queries).chain(&self.passages) {
            let theirs = |role| ptr::eq(self.embeddings(role), embeddings);
            let texts = texts.par_iter().filter(|(role, _)| theirs(*role));
            let tokens = texts.map(|(role, text)| self.transformer.read(text, *role));
            embeddings.add(tokens.collect::<Result<_, _>>()?)?;
        }
        Ok(())
    }

    fn read(&self, text: &str, role: Role) -> Result<Vec<f32>, String> {
        let tokens = self.transformer.read(text, role)?;
        let vector = self.embeddings(role).get(&tokens);
        vector.ok_or_else(|| "the text was not embedded beforehand".into())
    }

    fn ranks_as_trained(&self) -> bool {
        self.transformer.ranks_as_trained()
    }

    fn create(&self, seed: u64, device: &Device) -> Result<AdapterEncoder, String> {
        let [queries, passages] =
            [Role::Query, Role::Passage].map(|role| self.transformer.tower(role));
        let normalize = Normalize {
            queries: queries.options.normalize,
            passages: passages.options.normalize,
        };
        let adapter = Adapter::new(self.shape, queries.config.hidden_size, seed, device);
        Ok(AdapterEncoder::new(
            adapter,
            self.shape,
            normalize,
            &self.options,
            device,
        ))
    }
}
