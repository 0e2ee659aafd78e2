//! The table of embeddings: a node whose way back is a function that knows its tiles.

use std::sync::Arc;

use burn::{
    backend::{
        Autodiff, Backend, DispatchKindConversion, DispatchTensor,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads,
            ops::{Backward, Ops, OpsKind},
        },
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

use super::Gradients;

pub fn table_of_embeddings<B: Backend, C: CheckpointStrategy>(
    queries: FloatTensor<Autodiff<B, C>>,
    documents: FloatTensor<Autodiff<B, C>>,
    table: FloatTensor<Autodiff<B, C>>,
    gradients: Arc<dyn Gradients>,
) -> FloatTensor<Autodiff<B, C>>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let table = table.into_primitive();
    match TableOfEmbeddings
        .prepare::<C>([queries.node(), documents.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(gradients, table),
        OpsKind::UnTracked(prep) => prep.finish(table),
    }
}

#[derive(Debug)]
struct TableOfEmbeddings;

impl<B: Backend> Backward<B, 2> for TableOfEmbeddings
where
    DispatchTensor: DispatchKindConversion<B>,
{
    type State = Arc<dyn Gradients>;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut grads::Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = Tensor::from_primitive::<B>(grads.consume::<B>(&ops.node));
        let needed = ops.parents.each_ref().map(Option::is_some);
        let gradients = ops.state.of_embeddings(upstream, needed);
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
