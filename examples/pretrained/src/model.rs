//! The transformer: tokens to hidden states.

use burn::{
    module::Module,
    nn::{
        Dropout, DropoutConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear,
        LinearConfig,
    },
    tensor::{
        DType, Device, FloatDType, Tensor,
        activation::{gelu, gelu_approximate, relu, softmax},
        module::{attention, linear},
        ops::AttentionModuleOptions,
    },
};

use crate::{
    config::{Activation, BertConfig},
    memory,
    operations::{self, Form},
    tokens::Batch,
};

/// What the products of matrices, and the biases that are added to them, are computed in.
///
/// The weights, what the layers add up, softmax and layer normalisation are in f32 either
/// way, and so are the gradients that an optimizer gets. Only what attention does without
/// autodiff is as the device's kernel makes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As the weights are.
    #[default]
    F32,
    /// For devices that multiply matrices in bfloat16 faster.
    Bf16,
}

/// BERT ([arXiv 1810.04805](https://arxiv.org/abs/1810.04805)) without a head.
#[derive(Module, Debug)]
pub struct Bert {
    pub(crate) words: Embedding,
    pub(crate) positions: Embedding,
    pub(crate) segments: Embedding,
    pub(crate) norm: LayerNorm,
    dropout: Dropout,
    pub(crate) layers: Vec<Layer>,
    #[module(skip)]
    epsilon: f64,
}

/// Attention and a feed-forward network, each added to its input and normalised.
#[derive(Module, Debug)]
pub struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    attention_dropout: Dropout,
    dropout: Dropout,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    epsilon: f64,
}

impl Bert {
    /// An encoder with random weights.
    pub fn new(config: &BertConfig, device: &Device) -> Self {
        memory::keep_freed();
        let embedding = |count| EmbeddingConfig::new(count, config.hidden_size).init(device);
        Self {
            words: embedding(config.vocab_size),
            positions: embedding(config.max_position_embeddings),
            segments: embedding(config.type_vocab_size),
            norm: norm(config, device),
            dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
            layers: (0..config.num_hidden_layers)
                .map(|_| Layer::new(config, device))
                .collect(),
            epsilon: config.layer_norm_eps,
        }
    }

    /// The hidden states of the last layer, `[texts * tokens, hidden]`, in f32. Nothing
    /// attends to padding; the states of padding itself mean nothing.
    ///
    /// ```text
    /// x = norm(word + position + segment)
    /// x = norm(x + W_o attention(x))
    /// x = norm(x + W_2 act(W_1 x))                of each layer
    /// ```
    ///
    /// # Panics
    ///
    /// If a token is beyond the vocabulary, or a text beyond the positions.
    pub fn forward(&self, batch: &Batch, precision: Precision) -> Tensor<2> {
        let [texts, tokens] = batch.ids.dims();
        let words = self.words.forward(batch.ids.clone());
        // Texts are one segment each.
        let [_, hidden] = self.words.weight.dims();
        let segment = self.segments.weight.val().narrow(0, 0, 1);
        let positions = self.positions.weight.val().narrow(0, 0, tokens) + segment;
        let positions = positions
            .unsqueeze_dim::<3>(0)
            .expand([texts, tokens, hidden]);
        let [words, positions] =
            [words, positions].map(|part| part.reshape([texts * tokens, hidden]));
        let embedded = add_and_norm(words, positions, &self.norm, self.epsilon);
        let mut states = self.dropout.forward(embedded);
        for layer in &self.layers {
            states = layer.forward(states, batch, precision);
        }
        states
    }
}

impl Layer {
    fn new(config: &BertConfig, device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let hidden = config.hidden_size;
        Self {
            query: linear(hidden, hidden),
            key: linear(hidden, hidden),
            value: linear(hidden, hidden),
            attended: linear(hidden, hidden),
            attended_norm: norm(config, device),
            intermediate: linear(hidden, config.intermediate_size),
            output: linear(config.intermediate_size, hidden),
            output_norm: norm(config, device),
            attention_dropout: DropoutConfig::new(config.attention_probs_dropout_prob).init(),
            dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            epsilon: config.layer_norm_eps,
        }
    }

    fn forward(&self, states: Tensor<2>, batch: &Batch, precision: Precision) -> Tensor<2> {
        let input = precision.of(states.clone());
        let context = self.attend(input, batch, precision);
        let added = project(context, &self.attended, precision).cast(DType::F32);
        let added = self.dropout.forward(added);
        let states = add_and_norm(added, states, &self.attended_norm, self.epsilon);

        let inner = project(precision.of(states.clone()), &self.intermediate, precision);
        let inner = match self.activation {
            Activation::Gelu => precision.of(exact_gelu(inner)),
            Activation::GeluNew if operations::serve(&inner) => operations::gelu(inner, Form::Tanh),
            Activation::GeluNew => gelu_approximate(inner),
            Activation::Relu => relu(inner),
        };
        let added = project(inner, &self.output, precision).cast(DType::F32);
        let added = self.dropout.forward(added);
        add_and_norm(added, states, &self.output_norm, self.epsilon)
    }

    /// `softmax(Q K^T / sqrt(d)) V`, `[texts * tokens, hidden]`.
    fn attend(&self, input: Tensor<2>, batch: &Batch, precision: Precision) -> Tensor<2> {
        let [texts, tokens] = batch.ids.dims();
        let [rows, hidden] = input.dims();
        let size = hidden / self.heads;
        let linears = [&self.query, &self.key, &self.value];
        let projected = linears.map(|linear| project(input.clone(), linear, precision));
        let drops = input.device().is_autodiff() && self.attention_dropout.prob > 0.0;
        if operations::serve(&projected[0]) && !drops {
            let device = input.device().without_autodiff();
            let padding = batch.padding.clone();
            let padding = padding.unwrap_or_else(|| Tensor::full([texts, tokens], false, &device));
            return operations::attention(projected, padding, self.heads);
        }

        let [query, key, value] = projected.map(|part| -> Tensor<4> {
            part.reshape([texts, tokens, self.heads, size])
                .swap_dims(1, 2)
        });
        let padding = batch.padding.clone();
        let padding = padding.map(|padding| padding.unsqueeze_dims::<4>(&[1, 2]));
        let context = match input.device().is_autodiff() {
            true => {
                // The smaller tensor is scaled.
                let query = query / (size as f64).sqrt();
                let mut scores = query.matmul(key.transpose()).cast(DType::F32);
                if let Some(padding) = padding {
                    scores = scores + padding.float().cast(DType::F32) * -1e9;
                }
                let weights = self.attention_dropout.forward(softmax(scores, 3));
                precision.of(weights).matmul(value)
            }
            false => {
                let shape = [texts, self.heads, tokens, tokens];
                let mask = padding.map(|padding| padding.expand(shape));
                let options = AttentionModuleOptions::default();
                attention(query, key, value, mask, None, options)
            }
        };
        context.swap_dims(1, 2).reshape([rows, hidden])
    }
}

impl Precision {
    fn of<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Self::F32 => tensor,
            Self::Bf16 => tensor.cast(FloatDType::BF16),
        }
    }
}

fn project(input: Tensor<2>, layer: &Linear, precision: Precision) -> Tensor<2> {
    let bias = layer.bias.as_ref().map(|bias| precision.of(bias.val()));
    linear(input, precision.of(layer.weight.val()), bias)
}

/// The normalised sum of two tensors.
fn add_and_norm(left: Tensor<2>, right: Tensor<2>, norm: &LayerNorm, epsilon: f64) -> Tensor<2> {
    match &norm.beta {
        Some(beta) if operations::serve(&left) => {
            operations::add_and_norm([left, right], [norm.gamma.val(), beta.val()], epsilon)
        }
        _ => norm.forward(left + right),
    }
}

/// `x (1 + erf(x / sqrt 2)) / 2`; in f32 where the device is no CPU. The gradient of
/// Burn's own is exact on its CPU backend only; elsewhere it is that of the
/// approximation.
fn exact_gelu(input: Tensor<2>) -> Tensor<2> {
    if operations::serve(&input) {
        return operations::gelu(input, Form::Exact);
    }
    if operations::is_flex(&input.device()) {
        return gelu(input);
    }
    let input = input.cast(DType::F32);
    let doubled = (input.clone() / std::f64::consts::SQRT_2).erf() + 1.0;
    input * doubled * 0.5
}

fn norm(config: &BertConfig, device: &Device) -> LayerNorm {
    LayerNormConfig::new(config.hidden_size)
        .with_epsilon(config.layer_norm_eps)
        .init(device)
}
