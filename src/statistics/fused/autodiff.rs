//! Connects forward and backward of the operation.

use burn::backend::{
    Autodiff, Backend,
    autodiff::{
        NodeId,
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind, unary},
    },
    tensor::{BoolTensor, FloatTensor, IntTensor},
};

use super::{Options, StatisticsOps};

#[derive(Debug)]
struct RowStatistics;

impl<B: Backend + StatisticsOps> Backward<B, 1> for RowStatistics {
    type State = (
        NodeId,
        BoolTensor<B>,
        BoolTensor<B>,
        IntTensor<B>,
        FloatTensor<B>,
        Options,
    );

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let (scores, positives, candidates, chosen, table, options) = ops.state;
        let scores = checkpointer.retrieve_node_output(scores);
        unary::<B, _>(ops.parents, ops.node, grads, |upstream| {
            B::row_statistics_backward(
                scores, positives, candidates, chosen, table, upstream, options,
            )
        });
    }
}

impl<B: Backend + StatisticsOps, C: CheckpointStrategy> StatisticsOps for Autodiff<B, C> {
    fn row_statistics(
        scores: FloatTensor<Self>,
        positives: BoolTensor<Self>,
        candidates: BoolTensor<Self>,
        chosen: IntTensor<Self>,
        options: Options,
    ) -> FloatTensor<Self> {
        match RowStatistics
            .prepare::<C>([scores.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let id = prep.checkpoint(&scores);
                let table = B::row_statistics(
                    scores.into_primitive(),
                    positives.clone(),
                    candidates.clone(),
                    chosen.clone(),
                    options,
                );
                let state = (id, positives, candidates, chosen, table.clone(), options);
                prep.finish(state, table)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::row_statistics(
                scores.into_primitive(),
                positives,
                candidates,
                chosen,
                options,
            )),
        }
    }
}
