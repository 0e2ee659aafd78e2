//! A bank as data, to be saved with a checkpoint.

use std::hash::Hash;

use burn::{
    serde::{Deserialize, Serialize},
    tensor::{DType, Device, Tensor, TensorData},
};

use super::{BankError, MemoryBank};

/// The content of a [`MemoryBank`], oldest document first. It serialises with serde, in any
/// format.
///
/// A restored bank has its columns in the same order, so a resumed training has the same
/// losses bit for bit. Write the record together with the model and the optimizer of the same
/// step, to a temporary folder that is renamed when all three are in it. A process that is
/// killed then leaves all three or none.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::{MemoryBank, MemoryBankRecord};
///
/// let device = Device::default();
/// let mut bank = MemoryBank::new(10)?;
/// bank.push(Tensor::from_floats([[0.6, 0.8]], &device), &["d1".to_string()])?;
///
/// let saved = serde_json::to_string(&bank.to_record())?;
/// let record: MemoryBankRecord<String> = serde_json::from_str(&saved)?;
/// let restored = MemoryBank::from_record(record, &device)?;
/// assert_eq!(restored.ids(), ["d1"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(crate = "burn::serde")]
#[non_exhaustive]
pub struct MemoryBankRecord<Id> {
    /// The number of documents that the bank has room for.
    pub capacity: usize,
    /// The embeddings, `[documents, dimensions]`. None if no document was ever stored.
    pub embeddings: Option<TensorData>,
    /// The id of each document.
    pub ids: Vec<Id>,
    /// The column of the oldest document, in the order of [`MemoryBank::ids`]. It is 0 until
    /// the bank is full.
    #[serde(default)]
    pub oldest: usize,
}

impl<Id: Clone + Eq + Hash> MemoryBank<Id> {
    /// The content of the bank, which is read back from its device.
    pub fn to_record(&self) -> MemoryBankRecord<Id> {
        // Once the bank is full, the row to be written next is the oldest.
        let oldest = match self.len() == self.capacity {
            true => self.next,
            false => 0,
        };
        let embeddings = self.stored().map(|stored| {
            let parts = [oldest..self.len(), 0..oldest];
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            let parts = parts.map(|part| stored.clone().slice([part])).collect();
            Tensor::cat(parts, 0).into_data()
        });
        MemoryBankRecord {
            capacity: self.capacity,
            embeddings,
            ids: [&self.ids[oldest..], &self.ids[..oldest]].concat(),
            oldest,
        }
    }

    /// A bank with the content of a record, on a device. The embeddings become f32 if the
    /// device does not support their type.
    ///
    /// # Errors
    ///
    /// - [`BankError::NoCapacity`] if the capacity is 0.
    /// - [`BankError::Capacity`] if memory has no room for the capacity.
    /// - [`BankError::Record`] if the embeddings are not a matrix of floats.
    /// - [`BankError::Ids`] if ids and embeddings differ in number.
    /// - [`BankError::Oldest`] if the oldest document has no place in the bank.
    pub fn from_record(record: MemoryBankRecord<Id>, device: &Device) -> Result<Self, BankError> {
        let mut bank = Self::new(record.capacity)?;
        let oldest = record.oldest;
        if oldest >= bank.capacity {
            let capacity = bank.capacity;
            return Err(BankError::Oldest { oldest, capacity });
        }
        let Some(embeddings) = record.embeddings else {
            return match record.ids.len() {
                0 => Ok(bank),
                ids => Err(BankError::Ids { embeddings: 0, ids }),
            };
        };
        let dtype = embeddings.dtype();
        if embeddings.shape().num_dims() != 2 || !dtype.is_float() {
            let shape = embeddings.shape().to_vec();
            return Err(BankError::Record { shape, dtype });
        }
        let device = device.clone().without_autodiff();
        let dtype = match device.supports_dtype(dtype) {
            true => dtype,
            false => DType::F32,
        };
        // A full bank is filled from the column of the oldest on.
        if record.ids.len() == bank.capacity {
            bank.ids = record.ids.clone();
            bank.ids.rotate_right(oldest);
            bank.next = oldest;
        }
        bank.push(Tensor::from_data(embeddings, (&device, dtype)), &record.ids)?;
        Ok(bank)
    }
}
