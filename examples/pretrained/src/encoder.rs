//! Texts to vectors.

use std::ops::Range;

use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};
use rayon::prelude::*;

use crate::{
    folder::EncoderOptions,
    model::{Bert, Precision},
    operations,
    pooling::Pooling,
    tokens::{Batch, Tokens},
};

/// One tower of a dual encoder: BERT, pooling, and perhaps normalisation.
#[derive(Module, Debug)]
pub struct TextEncoder {
    pub(crate) bert: Bert,
    #[module(skip)]
    pub(crate) pooling: Pooling,
    #[module(skip)]
    pub(crate) normalize: bool,
    #[module(skip)]
    pub(crate) precision: Precision,
}

impl TextEncoder {
    /// Pooling, normalisation and precision are those of the options.
    pub fn new(bert: Bert, options: &EncoderOptions) -> Self {
        Self {
            bert,
            pooling: options.pooling,
            normalize: options.normalize,
            precision: options.precision,
        }
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.bert.words.weight.val().device()
    }

    /// The vectors of texts, `[texts, hidden]`, in f32, in one pass.
    ///
    /// The vector of a text does not depend on the texts beside it, but for rounding. On
    /// a device with autodiff the pass has a graph, and drops out. Weights that are not a
    /// number give vectors that are not.
    ///
    /// # Panics
    ///
    /// If the batch has no texts, or tokens of another model, which this one's tables do
    /// not reach.
    pub fn forward(&self, batch: &Batch) -> Tensor<2> {
        let states = self.bert.forward(batch, self.precision);
        let vectors = self.pooling.forward(states, batch);
        match self.normalize {
            true => unit(vectors),
            false => vectors,
        }
    }

    /// The vectors of texts, `[texts, hidden]`, in passes of texts of like length. What
    /// is passed at a time has at most `max_tokens` tokens with padding, unless a single
    /// text has more: one pass, or on Burn's CPU backend without autodiff one for each
    /// thread. Rows are in the order of the texts; without texts there are none.
    ///
    /// # Panics
    ///
    /// If a text has tokens of another model, which this one's tables do not reach.
    pub fn encode(&self, texts: &[&Tokens], max_tokens: usize) -> Tensor<2> {
        let device = self.device();
        if texts.is_empty() {
            let [_, hidden] = self.bert.words.weight.dims();
            return Tensor::zeros([0, hidden], &device);
        }
        // Parts side by side keep all threads busy on a CPU, where single operations do
        // not. With a graph the order of the parts decides the order of the sums of
        // gradients, and of random numbers.
        let threads = match operations::is_flex(&device) && !device.is_autodiff() {
            true => rayon::current_num_threads(),
            false => 1,
        };
        let (order, parts) = parts(texts, max_tokens / threads);
        let vectors = |part: Range<usize>| {
            let texts: Vec<&Tokens> = order[part].iter().map(|index| texts[*index]).collect();
            self.forward(&Batch::new(&texts, &device))
        };
        let vectors: Vec<Tensor<2>> = match threads {
            1 => parts.into_iter().map(vectors).collect(),
            _ => parts.into_par_iter().map(vectors).collect(),
        };
        let vectors = Tensor::cat(vectors, 0);
        if order.is_sorted() {
            return vectors;
        }
        let mut places = vec![0; order.len()];
        for (place, index) in order.iter().enumerate() {
            places[*index] = place as i32;
        }
        let places = TensorData::new(places, [order.len()]);
        let places = Tensor::<1, Int>::from_data(places, &device.without_autodiff());
        vectors.select(0, places)
    }
}

/// Texts from the longest to the shortest, and the ranges of them that go in one pass.
fn parts(texts: &[&Tokens], max_tokens: usize) -> (Vec<usize>, Vec<Range<usize>>) {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(texts[*index].len()));
    let mut parts = Vec::new();
    let mut start = 0;
    while start < order.len() {
        let longest = texts[order[start]].len();
        let count = (max_tokens / longest.max(1)).max(1);
        let end = order.len().min(start + count);
        parts.push(start..end);
        start = end;
    }
    (order, parts)
}

/// Vectors of length 1. One of length 0 stays.
fn unit(vectors: Tensor<2>) -> Tensor<2> {
    let lengths = vectors.clone().square().sum_dim(1).sqrt();
    vectors / lengths.clamp_min(1e-12)
}
