//! The operations on the tensors of Burn's CPU backend.

use burn::{
    backend::{Flex, TensorMetadata, flex::FlexTensor},
    tensor::{Shape, TensorData},
};

use super::{
    EncoderOps, Form,
    kernels::{
        attention::{self, Sizes},
        gelu,
        norm::{self, Affine},
    },
};

impl EncoderOps for Flex {
    fn gelu(input: FlexTensor, form: Form) -> FlexTensor {
        let mut input = owned(input);
        gelu::in_place(form, entries_mut(&mut input));
        input
    }

    fn attention(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        padding: FlexTensor,
        heads: usize,
    ) -> FlexTensor {
        let [query, key, value] = [query, key, value].map(|tensor| tensor.to_contiguous());
        let padding = padding.to_contiguous();
        let mut out = zeros(query.shape());
        let input = attention_input([&query, &key, &value], &padding, heads);
        attention::forward(input, entries_mut(&mut out));
        out
    }

    fn add_and_norm(
        left: FlexTensor,
        right: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f64,
    ) -> FlexTensor {
        let (mut rows, _) = normalize(left, right, epsilon);
        let [gamma, beta] = [gamma, beta].map(|tensor| tensor.to_contiguous());
        norm::scale_in_place(entries_mut(&mut rows), affine(&gamma, &beta));
        rows
    }
}

/// GELU and its slopes.
pub fn gelu_with_slopes(input: FlexTensor, form: Form) -> [FlexTensor; 2] {
    let mut slopes = owned(input);
    let mut values = zeros(slopes.shape());
    gelu::with_slopes(form, entries_mut(&mut slopes), entries_mut(&mut values));
    [values, slopes]
}

/// The product of the entries of `left` and `right`.
pub fn multiply(left: FlexTensor, right: &FlexTensor) -> FlexTensor {
    let mut left = owned(left);
    gelu::multiply(entries_mut(&mut left), entries(right));
    left
}

/// The gradients of queries, keys and values, one after the other.
pub fn attention_backward(
    [query, key, value]: [FlexTensor; 3],
    padding: FlexTensor,
    heads: usize,
    upstream: FlexTensor,
) -> [FlexTensor; 3] {
    let [query, key, value] = [query, key, value].map(|tensor| tensor.to_contiguous());
    let (padding, upstream) = (padding.to_contiguous(), upstream.to_contiguous());
    let [rows, hidden] = query.shape().dims();
    let mut out = zeros(Shape::new([3 * rows, hidden]));
    let input = attention_input([&query, &key, &value], &padding, heads);
    attention::backward(input, entries(&upstream), entries_mut(&mut out));
    [0, 1, 2].map(|part| out.narrow(0, part * rows, rows))
}

/// What the way back from a normalisation needs.
#[derive(Clone, Debug)]
pub struct Normalized {
    rows: FlexTensor,
    inverses: Vec<f32>,
    gamma: FlexTensor,
}

/// As [`EncoderOps::add_and_norm`], with what the way back needs.
pub fn add_and_norm(
    left: FlexTensor,
    right: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    epsilon: f64,
) -> (FlexTensor, Normalized) {
    let (rows, inverses) = normalize(left, right, epsilon);
    let [gamma, beta] = [gamma, beta].map(|tensor| tensor.to_contiguous());
    let mut out = zeros(rows.shape());
    norm::scale(entries(&rows), affine(&gamma, &beta), entries_mut(&mut out));
    let state = Normalized {
        rows,
        inverses,
        gamma,
    };
    (out, state)
}

/// The gradients of either summand, of gamma and of beta.
pub fn norm_backward(state: Normalized, upstream: FlexTensor) -> [FlexTensor; 3] {
    let mut gradient = owned(upstream);
    let sums = norm::backward(
        entries_mut(&mut gradient),
        entries(&state.rows),
        &state.inverses,
        entries(&state.gamma),
    );
    let [gamma, beta] = sums.map(|sum| {
        let shape = Shape::new([sum.len()]);
        from_entries(sum, shape)
    });
    [gradient, gamma, beta]
}

fn normalize(left: FlexTensor, right: FlexTensor, epsilon: f64) -> (FlexTensor, Vec<f32>) {
    let [_, width] = left.shape().dims();
    let mut rows = owned(left);
    let right = right.to_contiguous();
    let entries_of_right = entries(&right);
    let inverses = norm::normalize(
        entries_mut(&mut rows),
        entries_of_right,
        width,
        epsilon as f32,
    );
    (rows, inverses)
}

fn affine<'a>(gamma: &'a FlexTensor, beta: &'a FlexTensor) -> Affine<'a> {
    Affine {
        gamma: entries(gamma),
        beta: entries(beta),
    }
}

fn attention_input<'a>(
    [query, key, value]: [&'a FlexTensor; 3],
    padding: &'a FlexTensor,
    heads: usize,
) -> attention::Input<'a> {
    let [_, tokens] = padding.shape().dims();
    let [_, hidden] = query.shape().dims();
    let layout = padding.layout();
    attention::Input {
        query: entries(query),
        key: entries(key),
        value: entries(value),
        padding: &padding.storage::<u8>()[layout.start_offset()..][..layout.num_elements()],
        sizes: Sizes {
            tokens,
            heads,
            size: hidden / heads,
        },
    }
}

/// A tensor whose entries are in order, in a buffer that they fill and nobody else holds:
/// the tensor itself where it is one, else a copy.
fn owned(tensor: FlexTensor) -> FlexTensor {
    let bytes = tensor.layout().num_elements() * size_of::<f32>();
    if tensor.is_contiguous() && tensor.is_unique() && tensor.bytes().len() == bytes {
        return tensor;
    }
    let shape = tensor.shape();
    let tensor = tensor.to_contiguous();
    from_entries(entries(&tensor).to_vec(), shape)
}

/// A tensor of zeros. Burn's own would copy them, to align what it took for bytes.
fn zeros(shape: Shape) -> FlexTensor {
    from_entries(vec![0.0; shape.num_elements()], shape)
}

fn from_entries(entries: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(entries, shape))
}

/// The entries of a tensor in order.
fn entries(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("f32 without gaps")
}

/// The same of a tensor that fills a buffer of its own.
fn entries_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    tensor.storage_mut()
}
