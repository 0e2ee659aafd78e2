//! The client: each operation becomes a message, whose answer stays on the server until it is
//! read.

use burn::{
    backend::{
        Remote, RemoteDevice, TensorMetadata,
        ir::{CustomOpIr, TensorIr},
        ops::IntTensorOps,
        tensor::{FloatTensor, IntTensor},
    },
    remote::CustomOpClient,
    tensor::{DType, Int, Shape, Tensor, TensorData},
};

use super::{
    DRAWN_COLUMNS, KERNELS, ROW_CEILINGS, ROW_STATISTICS, ROW_STATISTICS_BACKWARD,
    encode::{Writer, list_entries},
};
use crate::{
    kernels::{
        ceiling::FalseNegatives,
        table::{Request, WIDTH},
    },
    statistics::{
        judged::{Candidates, Ceilings, Chosen, Judged, Relevance, Weights},
        operations::StatisticsOps,
        wide,
    },
};

/// The version of the kernels that a server has; why it does not say, if it does not. A server
/// without kernels ends its session instead.
pub(crate) fn version(device: &RemoteDevice) -> Result<i64, String> {
    let version = Message::new(device.clone()).send(KERNELS, Shape::new([1]), DType::I64);
    let version = Tensor::<1, Int>::from_primitive::<Remote>(version).try_into_data();
    let version = version.map_err(|error| error.to_string())?;
    let version = version.iter::<i64>().next();
    version.ok_or_else(|| "an empty answer".to_string())
}

impl StatisticsOps for Remote {
    fn row_statistics(
        scores: FloatTensor<Self>,
        judged: Judged<Self>,
        request: Request,
    ) -> FloatTensor<Self> {
        let shape = Shape::new([scores.shape()[0], WIDTH]);
        let dtype = wide(scores.dtype());
        let mut message = Message::new(scores.device());
        message.tensor(scores);
        message.judged(judged);
        message.scalars.request(request);
        message.send(ROW_STATISTICS, shape, dtype)
    }

    fn row_statistics_backward(
        scores: FloatTensor<Self>,
        judged: Judged<Self>,
        table: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        request: Request,
    ) -> FloatTensor<Self> {
        let (shape, dtype) = (scores.shape(), scores.dtype());
        let mut message = Message::new(scores.device());
        message.tensor(scores);
        message.judged(judged);
        message.tensor(table);
        message.tensor(upstream);
        message.scalars.request(request);
        message.send(ROW_STATISTICS_BACKWARD, shape, dtype)
    }

    fn row_ceilings(
        scores: FloatTensor<Self>,
        judged: Judged<Self>,
        rule: FalseNegatives,
    ) -> FloatTensor<Self> {
        let shape = Shape::new([1, scores.shape()[0]]);
        let dtype = wide(scores.dtype());
        let mut message = Message::new(scores.device());
        message.tensor(scores);
        message.judged(judged);
        message.scalars.false_negatives(rule);
        message.send(ROW_CEILINGS, shape, dtype)
    }

    fn drawn_columns(draws: FloatTensor<Self>, judged: Judged<Self>) -> IntTensor<Self> {
        let shape = draws.shape();
        let mut message = Message::new(draws.device());
        message.tensor(draws);
        message.judged(judged);
        message.send(DRAWN_COLUMNS, shape, DType::I64)
    }
}

/// What an operation takes, in the order in which the server reads it.
struct Message {
    device: RemoteDevice,
    inputs: Vec<TensorIr>,
    scalars: Writer,
}

impl Message {
    fn new(device: RemoteDevice) -> Self {
        Self {
            device,
            inputs: Vec::new(),
            scalars: Writer::default(),
        }
    }

    /// A tensor of any kind: on remote devices all kinds are of one type.
    fn tensor(&mut self, tensor: FloatTensor<Remote>) {
        self.inputs.push(tensor.into_ir());
    }

    fn judged(&mut self, judged: Judged<Remote>) {
        let Judged {
            relevance,
            candidates,
            weights,
            ceilings,
            chosen,
        } = judged;
        match relevance {
            Relevance::Mask(mask) => {
                self.scalars.integer(0);
                self.tensor(mask);
            }
            Relevance::Labels { queries, documents } => {
                self.scalars.integer(1);
                self.tensor(queries);
                self.tensor(documents);
            }
            Relevance::Lists(lists) => {
                self.scalars.integer(2);
                let entries = list_entries(&lists);
                let length = [entries.len()];
                let data = TensorData::new(entries, length);
                self.tensor(Remote::int_from_data(data, &self.device));
                self.scalars.lists(&lists);
            }
        }
        self.optional(match candidates {
            Candidates::All => None,
            Candidates::Mask(mask) => Some(mask),
        });
        self.optional(match weights {
            Weights::All => None,
            Weights::Matrix(weights) => Some(weights),
        });
        self.optional(match ceilings {
            Ceilings::None => None,
            Ceilings::Each(ceilings) => Some(ceilings),
        });
        self.optional(match chosen {
            Chosen::All => None,
            Chosen::Column(columns) => Some(columns),
        });
    }

    fn optional(&mut self, tensor: Option<FloatTensor<Remote>>) {
        self.scalars.flag(tensor.is_some());
        if let Some(tensor) = tensor {
            self.tensor(tensor);
        }
    }

    /// Sends it; the answer has this shape and this type.
    fn send(self, operation: &'static str, shape: Shape, dtype: DType) -> FloatTensor<Remote> {
        let client = CustomOpClient::new(&self.device);
        let answer = TensorIr::uninit(client.create_empty_handle(), shape, dtype);
        let scalars = self.scalars.into_scalars();
        let operation = CustomOpIr::with_scalars(operation, &self.inputs, &[answer], scalars);
        client.register(operation).remove(0)
    }
}
