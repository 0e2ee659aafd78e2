//! Operations of the encoder that are fused on Burn's CPU backend: GELU, attention, and
//! the sum of two tensors with layer normalisation, each with a hand-written way back.
//!
//! Gradients are of first order.

mod autodiff;
mod flex;
mod kernels;
#[cfg(test)]
mod tests;

use burn::{
    backend::{
        Backend, Dispatch, DispatchDevice, backend_extension,
        tensor::{BoolTensor, FloatTensor},
    },
    tensor::{Bool, DType, Device, Tensor},
};

pub use kernels::gelu::Form;

/// Whether the operations serve a tensor: that of another device or type, or without
/// entries, wants Burn's own, and so does a processor without a fused multiply-add, where
/// each one would be a call to a function.
pub fn serve(tensor: &Tensor<2>) -> bool {
    is_flex(&tensor.device())
        && tensor.dtype() == DType::F32
        && !tensor.dims().contains(&0)
        && has_fused_multiply_add()
}

/// Whether a device is Burn's own CPU backend, with autodiff or without.
pub fn is_flex(device: &Device) -> bool {
    let device = device.clone().without_autodiff();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

fn has_fused_multiply_add() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

pub fn gelu(input: Tensor<2>, form: Form) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::gelu(input.into_dispatch(), form))
}

/// `softmax(Q K^T / sqrt(size)) V` of each text and head. Queries, keys and values are
/// `[texts * tokens, heads * size]`, and so is the result; `padding` is `[texts,
/// tokens]`, and true where nobody attends. In a text of padding alone every token attends to
/// all equally.
pub fn attention(
    [query, key, value]: [Tensor<2>; 3],
    padding: Tensor<2, Bool>,
    heads: usize,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::attention(
        query.into_dispatch(),
        key.into_dispatch(),
        value.into_dispatch(),
        padding.into_dispatch(),
        heads,
    ))
}

/// The normalised sum of two tensors of rows, scaled by `gamma` and shifted by `beta`.
pub fn add_and_norm(
    [left, right]: [Tensor<2>; 2],
    [gamma, beta]: [Tensor<1>; 2],
    epsilon: f64,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::add_and_norm(
        left.into_dispatch(),
        right.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        epsilon,
    ))
}

#[backend_extension(Flex, Autodiff)]
pub trait EncoderOps: Backend {
    fn gelu(input: FloatTensor<Self>, form: Form) -> FloatTensor<Self>;

    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        padding: BoolTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self>;

    fn add_and_norm(
        left: FloatTensor<Self>,
        right: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;
}
