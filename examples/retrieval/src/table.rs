//! The encoder's table in the memory of the host, where single rows are cheap.

use burn::{
    module::{Param, ParamId},
    tensor::{Device, Tensor, TensorData},
};
use rayon::prelude::*;

use crate::encoder::{BUCKETS, Bag, DIMENSIONS, DualEncoder};

/// One embedding, or what belongs to one: its gradient or its moments.
pub type Row = [f32; DIMENSIONS];

/// [`BUCKETS`] rows.
pub struct Table(Vec<f32>);

impl Table {
    pub fn zeros() -> Self {
        Self(vec![0.0; BUCKETS * DIMENSIONS])
    }

    pub fn of(model: DualEncoder) -> Self {
        let data = model.table.into_value().inner().into_data_as::<f32>();
        Self(data.try_into_vec().expect("numbers of f32"))
    }

    pub fn into_model(self, device: &Device) -> DualEncoder {
        let table = TensorData::new(self.0, [BUCKETS, DIMENSIONS]);
        let table = Tensor::from_data(table, device).require_grad();
        DualEncoder {
            table: Param::initialized(ParamId::new(), table),
        }
    }

    pub fn rows(&self) -> &[Row] {
        self.0.as_chunks().0
    }

    pub fn rows_mut(&mut self) -> &mut [Row] {
        self.0.as_chunks_mut().0
    }

    /// Means of the embeddings of the texts' words, `[texts, DIMENSIONS]`.
    pub fn means(&self, texts: &[&Bag], device: &Device) -> Tensor<2> {
        let rows = self.rows();
        let mut means = vec![0.0; texts.len() * DIMENSIONS];
        let of_texts = means.as_chunks_mut().0.par_iter_mut().zip(texts);
        of_texts.for_each(|(mean, text)| {
            vectorized(|| {
                for (bucket, share) in &text.0 {
                    add_scaled(mean, *share, &rows[*bucket]);
                }
            });
        });
        Tensor::from_data(TensorData::new(means, [texts.len(), DIMENSIONS]), device)
    }
}

/// Runs loops with the vector instructions that the processor has. What they call must be
/// `#[inline(always)]`.
pub fn vectorized<R>(loops: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(loops)
}

#[inline(always)]
pub fn add_scaled(sum: &mut Row, factor: f32, row: &Row) {
    for (sum, value) in sum.iter_mut().zip(row) {
        *sum += factor * value;
    }
}
