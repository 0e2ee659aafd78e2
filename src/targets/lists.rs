//! Relevance as lists of columns per query, kept on the host.

use std::{collections::HashMap, hash::Hash, ops::Range, sync::Arc};

use burn::tensor::{Bool, Device, Tensor, TensorData};

use super::TargetsError;

/// The positive columns of each query, and the ignored ones; ascending and without repetition.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    columns: Arc<Vec<Vec<usize>>>,
    /// None if no query ignores a column.
    ignored: Option<Arc<Vec<Vec<usize>>>>,
    documents: usize,
    device: Device,
}

impl Lists {
    fn new(columns: Vec<Vec<usize>>, documents: usize, device: &Device) -> Self {
        Self {
            columns: Arc::new(columns),
            ignored: None,
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
        let queries = positive_counts.len();
        let Some(documents) = queries.checked_mul(group_size) else {
            return Err(TargetsError::TooManyDocuments {
                queries,
                group_size,
            });
        };
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
        Ok(Self::new(columns, documents, device))
    }

    pub fn from_ids<'a, Id: Eq + Hash + 'a>(
        relevant: &[Vec<Id>],
        documents: impl Iterator<Item = &'a Id>,
        device: &Device,
    ) -> Result<Self, TargetsError> {
        if relevant.is_empty() {
            return Err(TargetsError::NoQueries);
        }
        // The columns of each id, and its place among them.
        let mut places: Vec<Vec<usize>> = Vec::new();
        let mut place_of: HashMap<&Id, usize> = HashMap::new();
        let mut count = 0;
        for (column, id) in documents.enumerate() {
            let place = *place_of.entry(id).or_insert(places.len());
            if place == places.len() {
                places.push(Vec::new());
            }
            places[place].push(column);
            count = column + 1;
        }
        if count == 0 {
            return Err(TargetsError::NoDocuments);
        }
        let columns = relevant
            .iter()
            .map(|ids| {
                let found = ids.iter().filter_map(|id| place_of.get(id));
                let mut found: Vec<usize> = found.copied().collect();
                // An id may be named twice, and no column has two ids.
                found.sort_unstable();
                found.dedup();
                let columns = found.into_iter().flat_map(|place| &places[place]);
                let mut columns: Vec<usize> = columns.copied().collect();
                columns.sort_unstable();
                columns
            })
            .collect();
        Ok(Self::new(columns, count, device))
    }

    /// Ignores the positives in the columns from `first` on.
    pub fn ignoring_positives_from(self, first: usize) -> Self {
        let split = |columns: &Vec<usize>| {
            let (kept, ignored) =
                columns.split_at(columns.partition_point(|&column| column < first));
            (kept.to_vec(), ignored.to_vec())
        };
        let (columns, ignored) = self.columns.iter().map(split).unzip();
        Self {
            columns: Arc::new(columns),
            ignored: Some(Arc::new(ignored)),
            ..self
        }
    }

    pub fn transpose(&self) -> Self {
        let transpose = |lists: &Arc<Vec<Vec<usize>>>| {
            let mut transposed = vec![Vec::new(); self.documents];
            for (query, columns) in lists.iter().enumerate() {
                for &document in columns {
                    transposed[document].push(query);
                }
            }
            Arc::new(transposed)
        };
        Self {
            columns: transpose(&self.columns),
            ignored: self.ignored.as_ref().map(transpose),
            documents: self.columns.len(),
            device: self.device.clone(),
        }
    }

    pub fn to_device(&self, device: &Device) -> Self {
        Self {
            device: device.clone(),
            ..self.clone()
        }
    }

    /// The lists of some of the queries.
    pub fn queries(&self, range: Range<usize>) -> Self {
        let rows = |lists: &Arc<Vec<Vec<usize>>>| Arc::new(lists[range.clone()].to_vec());
        Self {
            columns: rows(&self.columns),
            ignored: self.ignored.as_ref().map(rows),
            ..self.clone()
        }
    }

    /// The positive columns of each query, ascending and without repetition.
    #[cfg(feature = "cpu")]
    pub fn columns(&self) -> &[Vec<usize>] {
        &self.columns
    }

    /// The columns that each query ignores, ascending and without repetition.
    #[cfg(feature = "cpu")]
    pub fn ignored(&self) -> Option<&[Vec<usize>]> {
        self.ignored.as_ref().map(|lists| lists.as_slice())
    }

    pub fn mask(&self) -> Tensor<2, Bool> {
        self.mask_of(&self.columns)
    }

    /// The mask of what is not ignored, if anything is.
    pub fn candidates(&self) -> Option<Tensor<2, Bool>> {
        let ignored = self.ignored.as_ref()?;
        Some(self.mask_of(ignored).bool_not())
    }

    fn mask_of(&self, lists: &[Vec<usize>]) -> Tensor<2, Bool> {
        let [queries, documents] = self.dims();
        let mut mask = vec![false; queries * documents];
        for (row, columns) in mask.chunks_exact_mut(documents).zip(lists) {
            for &document in columns {
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
