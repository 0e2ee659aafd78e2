//! The place of a table in the autodiff graph: a node whose gradients a [`Backward`] computes.

// NdArray is deprecated, and served while Burn has it.
#![allow(deprecated)]

use std::sync::Arc;

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, DispatchKindConversion, DispatchTensor,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward as BackwardOp, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

use super::Backward;

/// Makes `table`, which has no autodiff, a function of the embeddings.
pub(super) fn connect(
    queries: Tensor<2>,
    documents: Tensor<2>,
    table: Tensor<2>,
    backward: Arc<dyn Backward>,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::table_of_embeddings(
        queries.into_dispatch(),
        documents.into_dispatch(),
        table.into_dispatch(),
        backward,
    ))
}

#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cubecl"),
    Fusion: cfg(feature = "cubecl"),
    Autodiff
)]
pub trait EmbeddingOps: Backend {
    /// The table itself; with autodiff, a function of the embeddings.
    #[allow(unused_variables)]
    #[fusion(default)]
    fn table_of_embeddings(
        queries: FloatTensor<Self>,
        documents: FloatTensor<Self>,
        table: FloatTensor<Self>,
        backward: Arc<dyn Backward>,
    ) -> FloatTensor<Self> {
        table
    }
}

#[cfg(feature = "flex")]
impl EmbeddingOps for burn::backend::Flex {}

#[cfg(feature = "ndarray")]
impl EmbeddingOps for burn::backend::NdArray {}

#[cfg(feature = "cubecl")]
impl EmbeddingOps for burn_cubecl::CubeBackend {}

impl<B: Backend, C: CheckpointStrategy> EmbeddingOps for Autodiff<B, C>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    fn table_of_embeddings(
        queries: FloatTensor<Self>,
        documents: FloatTensor<Self>,
        table: FloatTensor<Self>,
        backward: Arc<dyn Backward>,
    ) -> FloatTensor<Self> {
        let table = table.into_primitive();
        match TableOfEmbeddings
            .prepare::<C>([queries.node(), documents.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(backward, table),
            OpsKind::UnTracked(prep) => prep.finish(table),
        }
    }
}

#[derive(Debug)]
struct TableOfEmbeddings;

impl<B: Backend> BackwardOp<B, 2> for TableOfEmbeddings
where
    DispatchTensor: DispatchKindConversion<B>,
{
    type State = Arc<dyn Backward>;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = Tensor::from_primitive::<B>(grads.consume::<B>(&ops.node));
        let needed = ops.parents.each_ref().map(Option::is_some);
        let gradients = ops.state.gradients(upstream, needed);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some((parent, gradient)) = parent.zip(gradient) {
                let gradient = gradient
                    .try_into_primitive::<B>()
                    .expect("a gradient is on the device of its tensor");
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}
