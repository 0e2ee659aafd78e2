//! Documents of earlier batches as candidates of later ones.

mod error;
mod record;

use std::hash::Hash;

use burn::tensor::{DType, Tensor};

use crate::{Targets, targets::Lists};

pub use error::BankError;
pub use record::MemoryBankRecord;

/// A first-in, first-out queue of the embeddings of the latest documents (cross-batch memory,
/// [arXiv 1912.06798](https://arxiv.org/abs/1912.06798)). They serve later batches as further
/// candidates that need no encoding.
///
/// Stored embeddings get no gradient, and become stale while the encoder learns. The paper
/// finds that they drift slowly once training has settled, and uses them from then on. Ids say
/// what is relevant. A stored document that is relevant to a query is a positive or ignored,
/// as [`Stored`] says, and never a negative.
///
/// Ids may repeat, in the bank and between bank and batch. Each copy is a candidate of its own, as
/// in [`Targets::from_ids`].
///
/// The store is one tensor of `capacity` rows, on the device and in the type of the first
/// documents. It is allocated when these are stored. It is overwritten in place unless a graph
/// still holds it.
///
/// Embeddings are stored as they are, NaN and infinities included. A document that has such an
/// entry is a negative of every query that it is not relevant to, and makes the losses of
/// these queries NaN until it leaves the bank.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_multi_positive::{LsePairLossConfig, MemoryBank, Stored};
///
/// let device = Device::default().autodiff();
/// let loss_fn = LsePairLossConfig::new().with_temperature(0.05).init();
/// let mut bank = MemoryBank::new(1000)?;
/// for (relevant, ids) in [
///     ([vec!["d1"], vec!["d2"]], ["d1", "d2", "d3"]),
///     // d3 is in the bank by now.
///     ([vec!["d4"], vec!["d5", "d3"]], ["d4", "d5", "d6"]),
/// ] {
///     // Your encoders' output.
///     let queries = Tensor::<2>::random([2, 8], Distribution::Default, &device).require_grad();
///     let documents = Tensor::<2>::random([3, 8], Distribution::Default, &device).require_grad();
///
///     let (candidates, targets) =
///         bank.candidates(documents.clone(), &ids, &relevant, Stored::Positive)?;
///     let loss = loss_fn.forward_embeddings(queries, candidates, targets);
///     loss.backward();
///     bank.push(documents, &ids)?;
/// }
/// assert_eq!(bank.ids(), ["d1", "d2", "d3", "d4", "d5", "d6"]);
/// # Ok::<(), burn_multi_positive::BankError>(())
/// ```
#[doc(alias = "CrossBatchMemory")]
#[derive(Clone, Debug)]
pub struct MemoryBank<Id> {
    capacity: usize,
    /// `[capacity, dimensions]`, from the first documents on.
    rows: Option<Tensor<2>>,
    /// Of the rows in use.
    ids: Vec<Id>,
    /// The row to be written next: the oldest, once all are in use.
    next: usize,
}

/// The role of a stored document for a query that it is relevant to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// A positive, like the documents of the batch.
    Positive,
    /// Neither positive nor negative. The query learns only from the positives of the batch,
    /// whose embeddings are fresh.
    Ignored,
}

impl<Id: Clone + Eq + Hash> MemoryBank<Id> {
    /// An empty bank for up to `capacity` documents.
    ///
    /// # Errors
    ///
    /// [`BankError::NoCapacity`] if the capacity is 0.
    pub fn new(capacity: usize) -> Result<Self, BankError> {
        if capacity == 0 {
            return Err(BankError::NoCapacity);
        }
        Ok(Self {
            capacity,
            rows: None,
            ids: Vec::new(),
            next: 0,
        })
    }

    /// The number of stored documents.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The number of documents that the bank has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The ids of the stored documents, in the order of their columns in
    /// [`candidates`](MemoryBank::candidates). Until the bank is full, the oldest document is
    /// the first.
    pub fn ids(&self) -> &[Id] {
        &self.ids
    }

    /// Stores documents. If there is no room, they replace the oldest ones. If there are more
    /// documents than the capacity, only the last of them are stored. Their graph is dropped.
    ///
    /// # Shapes
    ///
    /// - `embeddings`: `[documents, dimensions]`
    /// - `ids`: one for each document
    ///
    /// # Errors
    ///
    /// After an error the bank is unchanged.
    ///
    /// - [`BankError::Ids`] if ids and embeddings differ in number.
    /// - [`BankError::Dimensions`] if the embeddings have other dimensions than the stored
    ///   ones.
    /// - [`BankError::Capacity`] if memory has no room for the capacity.
    pub fn push(&mut self, embeddings: Tensor<2>, ids: &[Id]) -> Result<(), BankError> {
        self.check(&embeddings, ids)?;
        let [documents, dimensions] = embeddings.dims();
        if documents == 0 {
            return Ok(());
        }
        if self.rows.is_none() && !has_room(self.capacity, dimensions, embeddings.dtype()) {
            return Err(BankError::Capacity {
                capacity: self.capacity,
                dimensions,
            });
        }
        let kept = documents.min(self.capacity);
        let embeddings = embeddings
            .without_autodiff()
            .narrow(0, documents - kept, kept);
        let like = self.rows.as_ref().unwrap_or(&embeddings);
        let (device, dtype) = (like.device(), like.dtype());
        let embeddings = embeddings.to_device(&device).cast(dtype);
        // Taken, not cloned: what nobody else holds is overwritten in place.
        let rows = self.rows.take();
        let mut rows =
            rows.unwrap_or_else(|| Tensor::zeros([self.capacity, dimensions], (&device, dtype)));
        // Up to the end of the store, and from its start.
        let tail = kept.min(self.capacity - self.next);
        for (at, part) in [(self.next, 0..tail), (0, tail..kept)] {
            if !part.is_empty() {
                let place = [at..at + part.len(), 0..dimensions];
                rows = rows.slice_assign(place, embeddings.clone().slice([part]));
            }
        }
        self.rows = Some(rows);
        for id in &ids[documents - kept..] {
            match self.ids.get_mut(self.next) {
                Some(oldest) => *oldest = id.clone(),
                None => self.ids.push(id.clone()),
            }
            self.next = (self.next + 1) % self.capacity;
        }
        Ok(())
    }

    /// The documents of a batch followed by the stored ones, and targets for all of them, for
    /// a loss from embeddings. `ids` are the ids of the batch's documents. `relevant` has the
    /// ids of the documents that are relevant to each query.
    ///
    /// No mask of queries and documents is made where the loss needs none.
    ///
    /// # Shapes
    ///
    /// - `documents`: `[documents, dimensions]`
    /// - `ids`: one for each document
    /// - `relevant`: a list of ids for each query
    /// - output: `[documents + stored, dimensions]`, and targets for these
    ///
    /// # Errors
    ///
    /// - [`BankError::Ids`] if ids and documents differ in number.
    /// - [`BankError::Dimensions`] if the documents have other dimensions than the stored
    ///   ones.
    /// - [`BankError::Targets`] if there is no query, or no document in either batch or bank.
    pub fn candidates(
        &self,
        documents: Tensor<2>,
        ids: &[Id],
        relevant: &[Vec<Id>],
        stored: Stored,
    ) -> Result<(Tensor<2>, Targets), BankError> {
        self.check(&documents, ids)?;
        let device = documents.device();
        let (lists, ids_of_all) = Lists::from_ids(relevant, ids.iter().chain(&self.ids), &device)?;
        let lists = match stored {
            Stored::Positive => lists,
            Stored::Ignored => lists.ignoring_positives_from(ids.len()),
        };
        let candidates = match self.stored() {
            Some(stored) => {
                let stored = stored.to_device(&device).cast(documents.dtype());
                Tensor::cat(vec![documents, stored], 0)
            }
            None => documents,
        };
        Ok((candidates, Targets::of_listed_ids(lists, ids_of_all)))
    }

    /// The rows in use.
    fn stored(&self) -> Option<Tensor<2>> {
        let rows = self.rows.clone()?;
        Some(rows.narrow(0, 0, self.len()))
    }

    fn check(&self, embeddings: &Tensor<2>, ids: &[Id]) -> Result<(), BankError> {
        let [embeddings, got] = embeddings.dims();
        if ids.len() != embeddings {
            let ids = ids.len();
            return Err(BankError::Ids { embeddings, ids });
        }
        match self.rows.as_ref().map(|rows| rows.dims()[1]) {
            Some(stored) if stored != got => Err(BankError::Dimensions { stored, got }),
            _ => Ok(()),
        }
    }
}

/// Whether the memory of this machine has room for so many rows: asked for and given back.
fn has_room(rows: usize, dimensions: usize, dtype: DType) -> bool {
    let bytes = rows
        .checked_mul(dimensions)
        .and_then(|entries| entries.checked_mul(dtype.size()));
    bytes.is_some_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}
