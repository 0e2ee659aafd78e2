//! The table of given scores: its way back is an operation of the backend, too.

use std::sync::Arc;

use burn::backend::{
    Autodiff, Backend, DispatchKindConversion, DispatchTensor,
    autodiff::{
        NodeId,
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads,
        ops::{Backward, Ops, OpsKind, unary},
    },
    tensor::{FloatTensor, IntTensor},
};

use super::{FalseNegatives, Gradients, Judged, Request, StatisticsOps, graph};

#[derive(Debug)]
struct RowStatistics;

impl<B: Backend + StatisticsOps> Backward<B, 1> for RowStatistics {
    type State = (NodeId, Judged<B>, FloatTensor<B>, Request);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut grads::Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let (scores, judged, table, request) = ops.state;
        let scores = checkpointer.retrieve_node_output(scores);
        unary::<B, _>(ops.parents, ops.node, grads, |upstream| {
            B::row_statistics_backward(scores, judged, table, upstream, request)
        });
    }
}

impl<B: Backend + StatisticsOps, C: CheckpointStrategy> StatisticsOps for Autodiff<B, C>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    fn row_statistics(
        scores: FloatTensor<Self>,
        judged: Judged<Self>,
        request: Request,
    ) -> FloatTensor<Self> {
        let judged = judged.into_inner();
        match RowStatistics
            .prepare::<C>([scores.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let id = prep.checkpoint(&scores);
                let table = B::row_statistics(scores.into_primitive(), judged.clone(), request);
                prep.finish((id, judged, table.clone(), request), table)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::row_statistics(scores.into_primitive(), judged, request))
            }
        }
    }

    fn row_ceilings(
        scores: FloatTensor<Self>,
        judged: Judged<Self>,
        rule: FalseNegatives,
    ) -> FloatTensor<Self> {
        let ceilings = B::row_ceilings(scores.into_primitive(), judged.into_inner(), rule);
        FloatTensor::<Self>::new(ceilings)
    }

    fn drawn_columns(draws: FloatTensor<Self>, judged: Judged<Self>) -> IntTensor<Self> {
        B::drawn_columns(draws.into_primitive(), judged.into_inner())
    }

    fn table_of_embeddings(
        queries: FloatTensor<Self>,
        documents: FloatTensor<Self>,
        table: FloatTensor<Self>,
        gradients: Arc<dyn Gradients>,
    ) -> FloatTensor<Self> {
        graph::table_of_embeddings::<B, C>(queries, documents, table, gradients)
    }
}
