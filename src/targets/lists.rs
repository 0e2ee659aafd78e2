//! Relevance as a list of columns per query, kept on the host.

use std::{collections::HashMap, hash::Hash, ops::Range, sync::Arc};

use burn::tensor::{Bool, Device, Tensor, TensorData};

use super::TargetsError;

/// The positive columns of each query, ascending and without repetition.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    columns: Arc<Vec<Vec<usize>>>,
    documents: usize,
    device: Device,
}

impl Lists {
    fn new(columns: Vec<Vec<usize>>, documents: usize, device: &Device) -> Self {
        Self {
            columns: Arc::new(columns),
            documents,
            device: device.clone().without_autodiff(),
        }
    }

    pub fn from_groups(
        positive_counts: &[usize],
        group_size: usize,
        device: &Device,
    ) -> Result<Self, TargetsError> {
        if positive_counts.is_empty() {
            return Err(TargetsError::NoQueries);
        }
        if group_size == 0 {
            return Err(TargetsError::EmptyGroup);
        }
        let columns = positive_counts
            .iter()
            .enumerate()
            .map(|(query, &positives)| {
                if positives > group_size {
                    return Err(TargetsError::TooManyPositives {
                        query,
                        positives,
                        group_size,
                    });
                }
                let first = query * group_size;
                Ok((first..first + positives).collect())
            })
            .collect::<Result<_, _>>()?;
        Ok(Self::new(
            columns,
            positive_counts.len() * group_size,
            device,
        ))
    }

    pub fn from_ids<Id: Eq + Hash>(
        relevant: &[Vec<Id>],
        documents: &[Id],
        device: &Device,
    ) -> Result<Self, TargetsError> {
        if relevant.is_empty() {
            return Err(TargetsError::NoQueries);
        }
        if documents.is_empty() {
            return Err(TargetsError::NoDocuments);
        }
        let mut places: HashMap<&Id, Vec<usize>> = HashMap::new();
        for (column, id) in documents.iter().enumerate() {
            places.entry(id).or_default().push(column);
        }
        let columns = relevant
            .iter()
            .map(|ids| {
                let found = ids.iter().filter_map(|id| places.get(id)).flatten();
                let mut columns: Vec<usize> = found.copied().collect();
                columns.sort_unstable();
                columns.dedup();
                columns
            })
            .collect();
        Ok(Self::new(columns, documents.len(), device))
    }

    pub fn transpose(&self) -> Self {
        let mut columns = vec![Vec::new(); self.documents];
        for (query, positives) in self.columns.iter().enumerate() {
            for &document in positives {
                columns[document].push(query);
            }
        }
        Self::new(columns, self.columns.len(), &self.device)
    }

    /// The lists of some of the queries.
    pub fn narrow(&self, queries: Range<usize>) -> Self {
        Self::new(self.columns[queries].to_vec(), self.documents, &self.device)
    }

    /// The positive columns of each query, ascending and without repetition.
    #[cfg(feature = "flex")]
    pub fn columns(&self) -> &[Vec<usize>] {
        &self.columns
    }

    pub fn mask(&self) -> Tensor<2, Bool> {
        let [queries, documents] = self.dims();
        let mut mask = vec![false; queries * documents];
        for (row, positives) in mask.chunks_exact_mut(documents).zip(self.columns.iter()) {
            for &document in positives {
                row[document] = true;
            }
        }
        Tensor::from_data(TensorData::new(mask, [queries, documents]), &self.device)
    }

    pub fn dims(&self) -> [usize; 2] {
        [self.columns.len(), self.documents]
    }

    pub fn device(&self) -> &Device {
        &self.device
    }
}
