//! The operations in the graph of autodiff.

use burn::backend::{
    Autodiff, Flex,
    autodiff::{
        NodeId,
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind, unary},
    },
    flex::FlexTensor,
    tensor::FloatTensor,
};

use super::{
    EncoderOps, Form,
    flex::{self, Normalized},
};

impl<C: CheckpointStrategy> EncoderOps for Autodiff<Flex, C> {
    fn gelu(input: FloatTensor<Self>, form: Form) -> FloatTensor<Self> {
        match Gelu.prepare::<C>([input.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let [values, slopes] = flex::gelu_with_slopes(input.into_primitive(), form);
                prep.finish(slopes, values)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::gelu(input.into_primitive(), form)),
        }
    }

    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        padding: FlexTensor,
        heads: usize,
    ) -> FloatTensor<Self> {
        let inputs = [query, key, value];
        let nodes = inputs.each_ref().map(|input| input.node());
        match Attention.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let ids = inputs.each_ref().map(|input| prep.checkpoint(input));
                let [query, key, value] = inputs.map(|input| input.into_primitive());
                let out = Flex::attention(query, key, value, padding.clone(), heads);
                prep.finish((ids, padding, heads), out)
            }
            OpsKind::UnTracked(prep) => {
                let [query, key, value] = inputs.map(|input| input.into_primitive());
                prep.finish(Flex::attention(query, key, value, padding, heads))
            }
        }
    }

    fn add_and_norm(
        left: FloatTensor<Self>,
        right: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let inputs = [left, right, gamma, beta];
        let nodes = inputs.each_ref().map(|input| input.node());
        let prep = AddAndNorm.prepare::<C>(nodes).compute_bound().stateful();
        let [left, right, gamma, beta] = inputs.map(|input| input.into_primitive());
        match prep {
            OpsKind::Tracked(prep) => {
                let (out, state) = flex::add_and_norm(left, right, gamma, beta, epsilon);
                prep.finish(state, out)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(Flex::add_and_norm(left, right, gamma, beta, epsilon))
            }
        }
    }
}

#[derive(Debug)]
struct Gelu;

impl Backward<Flex, 1> for Gelu {
    /// The slopes.
    type State = FlexTensor;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        unary::<Flex, _>(ops.parents, ops.node, gradients, |upstream| {
            flex::multiply(upstream, &ops.state)
        });
    }
}

#[derive(Debug)]
struct Attention;

impl Backward<Flex, 3> for Attention {
    /// Queries, keys and values; padding; heads.
    type State = ([NodeId; 3], FlexTensor, usize);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let upstream = gradients.consume::<Flex>(&ops.node);
        let (ids, padding, heads) = ops.state;
        let inputs = ids.map(|id| checkpointer.retrieve_node_output::<FlexTensor>(id));
        let parts = flex::attention_backward(inputs, padding, heads, upstream);
        for (parent, part) in ops.parents.into_iter().zip(parts) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, part);
            }
        }
    }
}

#[derive(Debug)]
struct AddAndNorm;

impl Backward<Flex, 4> for AddAndNorm {
    type State = Normalized;

    fn backward(
        self,
        ops: Ops<Self::State, 4>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = gradients.consume::<Flex>(&ops.node);
        let [summand, gamma, beta] = flex::norm_backward(ops.state, upstream);
        let all = [summand.clone(), summand, gamma, beta];
        for (parent, gradient) in ops.parents.into_iter().zip(all) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}
