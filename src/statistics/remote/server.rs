//! The server: what each message asks for, by the kernels of its backend.

use std::slice::Iter;

use burn::{
    backend::{
        Flex, TensorMetadata,
        ir::{BackendIr, CustomOpIr, HandleContainer, TensorIr},
        ops::IntTensorOps,
        tensor::{BoolTensor, FloatTensor, IntTensor},
    },
    server::RemoteServer,
    tensor::{TensorData, read_sync},
};

use super::{
    DRAWN_COLUMNS, KERNELS, ROW_CEILINGS, ROW_STATISTICS, ROW_STATISTICS_BACKWARD, VERSION,
    encode::Reader,
};
use crate::statistics::{
    judged::{Candidates, Ceilings, Chosen, Judged, Relevance, Weights},
    operations::StatisticsOps,
};

type Handles = HandleContainer<<Flex as BackendIr>::Handle>;

/// The server with a handler for every operation.
pub(crate) fn with_kernels(server: RemoteServer) -> RemoteServer {
    server
        .with_custom_op::<Flex, _>(KERNELS, |handles, message, device| {
            let version = Flex::int_from_data(TensorData::from([VERSION]), device);
            handles.register_int_tensor::<Flex>(&message.outputs[0].id, version);
        })
        .with_custom_op::<Flex, _>(ROW_STATISTICS, |handles, message, _| {
            let mut parts = Parts::new(handles, message);
            let scores = parts.float();
            let judged = parts.judged();
            let request = parts.scalars.request();
            parts.answer(Flex::row_statistics(scores, judged, request));
        })
        .with_custom_op::<Flex, _>(ROW_STATISTICS_BACKWARD, |handles, message, _| {
            let mut parts = Parts::new(handles, message);
            let scores = parts.float();
            let judged = parts.judged();
            let [table, upstream] = [parts.float(), parts.float()];
            let request = parts.scalars.request();
            parts.answer(Flex::row_statistics_backward(
                scores, judged, table, upstream, request,
            ));
        })
        .with_custom_op::<Flex, _>(ROW_CEILINGS, |handles, message, _| {
            let mut parts = Parts::new(handles, message);
            let scores = parts.float();
            let judged = parts.judged();
            let rule = parts.scalars.false_negatives();
            parts.answer(Flex::row_ceilings(scores, judged, rule));
        })
        .with_custom_op::<Flex, _>(DRAWN_COLUMNS, |handles, message, _| {
            let mut parts = Parts::new(handles, message);
            let draws = parts.float();
            let judged = parts.judged();
            let columns = Flex::drawn_columns(draws, judged);
            handles.register_int_tensor::<Flex>(&message.outputs[0].id, columns);
        })
}

/// The parts of a message, in the order in which the client wrote them.
struct Parts<'a> {
    handles: &'a mut Handles,
    inputs: Iter<'a, TensorIr>,
    answer: &'a TensorIr,
    scalars: Reader<'a>,
}

impl<'a> Parts<'a> {
    fn new(handles: &'a mut Handles, message: &'a CustomOpIr) -> Self {
        Self {
            handles,
            inputs: message.inputs.iter(),
            answer: &message.outputs[0],
            scalars: Reader::new(&message.scalars),
        }
    }

    fn input(&mut self) -> &'a TensorIr {
        self.inputs
            .next()
            .expect("a message: expected another tensor")
    }

    fn float(&mut self) -> FloatTensor<Flex> {
        let input = self.input();
        self.handles.get_float_tensor::<Flex>(input)
    }

    fn int(&mut self) -> IntTensor<Flex> {
        let input = self.input();
        self.handles.get_int_tensor::<Flex>(input)
    }

    fn bool(&mut self) -> BoolTensor<Flex> {
        let input = self.input();
        self.handles.get_bool_tensor::<Flex>(input)
    }

    fn judged(&mut self) -> Judged<Flex> {
        Judged {
            relevance: match self.scalars.integer() {
                0 => Relevance::Mask(self.bool()),
                1 => Relevance::Labels {
                    queries: self.int(),
                    documents: self.int(),
                },
                2 => {
                    let entries = read_sync(Flex::int_into_data(self.int()));
                    let entries = entries.expect("a CPU's tensor can be read");
                    Relevance::Lists(self.scalars.lists(entries.iter::<i64>()))
                }
                other => panic!("a message: expected a kind of relevance, got {other}"),
            },
            candidates: match self.scalars.flag() {
                false => Candidates::All,
                true => Candidates::Mask(self.bool()),
            },
            weights: match self.scalars.flag() {
                false => Weights::All,
                true => Weights::Matrix(self.float()),
            },
            ceilings: match self.scalars.flag() {
                false => Ceilings::None,
                true => Ceilings::Each(self.float()),
            },
            chosen: match self.scalars.flag() {
                false => Chosen::All,
                true => Chosen::Column(self.int()),
            },
        }
    }

    fn answer(self, tensor: FloatTensor<Flex>) {
        assert!(
            tensor.shape() == self.answer.shape,
            "a message: expected an answer of shape {:?}, got {:?}",
            self.answer.shape,
            tensor.shape()
        );
        self.handles
            .register_float_tensor::<Flex>(&self.answer.id, tensor);
    }
}
