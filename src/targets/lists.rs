//! Relevance as lists of columns per query, kept on the host.

use std::{borrow::Cow, collections::HashMap, hash::Hash, ops::Range, sync::Arc};

use burn::tensor::{Bool, DType, Device, Tensor, TensorData};

use super::{Ids, TargetsError};

/// The positive columns of each query, and the ignored ones; ascending and without repetition.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    columns: Arc<Vec<Vec<usize>>>,
    /// The weights of the positives, in the order of their columns; None if all are 1.
    weights: Option<Arc<Vec<Vec<f32>>>>,
    /// None if no query ignores a column.
    ignored: Option<Arc<Vec<Vec<usize>>>>,
    documents: usize,
    device: Device,
}

impl Lists {
    fn new(columns: Vec<Vec<usize>>, documents: usize, device: &Device) -> Self {
        Self {
            columns: Arc::new(columns),
            weights: None,
            ignored: None,
            documents,
            device: device.clone().without_autodiff(),
        }
    }

    /// The lists that have these [columns](Self::columns), [weights](Self::weights) and
    /// [ignored columns](Self::ignored).
    #[cfg(feature = "remote-server")]
    pub fn from_parts(
        columns: Vec<Vec<usize>>,
        weights: Option<Vec<Vec<f32>>>,
        ignored: Option<Vec<Vec<usize>>>,
        documents: usize,
        device: &Device,
    ) -> Self {
        Self {
            weights: weights.map(Arc::new),
            ignored: ignored.map(Arc::new),
            ..Self::new(columns, documents, device)
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
        // Columns are numbers of i32 on some devices.
        let documents = queries.checked_mul(group_size);
        let documents = documents.filter(|documents| i32::try_from(*documents).is_ok());
        let Some(documents) = documents else {
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

    /// Groups whose positives have these weights.
    pub fn from_weighted_groups(
        weights: &[Vec<f32>],
        group_size: usize,
        device: &Device,
    ) -> Result<Self, TargetsError> {
        let counts: Vec<usize> = weights.iter().map(Vec::len).collect();
        let lists = Self::from_groups(&counts, group_size, device)?;
        for (query, weights) in weights.iter().enumerate() {
            check(query, weights.iter())?;
        }
        Ok(Self {
            weights: Some(Arc::new(weights.to_vec())),
            ..lists
        })
    }

    pub fn from_ids<'a, Id: Eq + Hash + 'a>(
        relevant: &'a [Vec<Id>],
        documents: impl Iterator<Item = &'a Id>,
        device: &Device,
    ) -> Result<(Self, Ids), TargetsError> {
        let relevant = relevant.iter().map(|ids| ids.iter().map(|id| (id, 1.0)));
        let (columns, ids) = columns_of_ids(relevant, documents)?;
        let columns = columns.into_iter().map(|columns| unzip(columns).0);
        let lists = Self::new(columns.collect(), ids.len(), device);
        Ok((lists, Ids::new(ids)))
    }

    pub fn from_weighted_ids<Id: Eq + Hash>(
        relevant: &[Vec<(Id, f32)>],
        documents: &[Id],
        device: &Device,
    ) -> Result<(Self, Ids), TargetsError> {
        for (query, relevant) in relevant.iter().enumerate() {
            check(query, relevant.iter().map(|(_, weight)| weight))?;
        }
        let relevant = relevant.iter();
        let relevant = relevant.map(|ids| ids.iter().map(|(id, weight)| (id, *weight)));
        let (columns, ids) = columns_of_ids(relevant, documents.iter())?;
        let (columns, weights) = columns.into_iter().map(unzip).unzip();
        let lists = Self {
            weights: Some(Arc::new(weights)),
            ..Self::new(columns, ids.len(), device)
        };
        Ok((lists, Ids::new(ids)))
    }

    /// Ignores the positives in the columns from `first` on.
    pub fn ignoring_positives_from(self, first: usize) -> Self {
        let split = |columns: &Vec<usize>| {
            let (kept, ignored) =
                columns.split_at(columns.partition_point(|&column| column < first));
            (kept.to_vec(), ignored.to_vec())
        };
        let (columns, ignored): (Vec<_>, Vec<_>) = self.columns.iter().map(split).unzip();
        let kept = |(weights, columns): (&Vec<f32>, &Vec<usize>)| weights[..columns.len()].to_vec();
        let weights = self.weights.as_ref();
        Self {
            weights: weights.map(|all| Arc::new(all.iter().zip(&columns).map(kept).collect())),
            columns: Arc::new(columns),
            ignored: Some(Arc::new(ignored)),
            ..self
        }
    }

    pub fn transpose(&self) -> Self {
        let transpose = |lists: &Arc<Vec<Vec<usize>>>| Arc::new(self.inverted(lists));
        let weights = self.weights.as_ref().map(|weights| {
            let mut transposed = vec![Vec::new(); self.documents];
            for (columns, weights) in self.columns.iter().zip(weights.iter()) {
                for (&document, &weight) in columns.iter().zip(weights) {
                    transposed[document].push(weight);
                }
            }
            Arc::new(transposed)
        });
        Self {
            columns: transpose(&self.columns),
            weights,
            ignored: self.ignored.as_ref().map(transpose),
            documents: self.columns.len(),
            device: self.device.clone(),
        }
    }

    /// For each document the queries that list it, ascending.
    fn inverted(&self, lists: &[Vec<usize>]) -> Vec<Vec<usize>> {
        let pairs = || {
            let lists = lists.iter().enumerate();
            lists.flat_map(|(query, columns)| columns.iter().map(move |&column| (column, query)))
        };
        let groups = Groups::new(pairs, self.documents);
        (0..self.documents)
            .map(|document| groups.get(document).to_vec())
            .collect()
    }

    /// The queries as further documents, which no query lists. A query ignores those that share
    /// a positive with it, those that have its id, and itself.
    pub fn with_same_side(&self, ids: Option<&Vec<usize>>) -> Self {
        let positives = self.positives();
        let queries_of = self.inverted(&positives);
        let mut same = vec![Vec::new(); ids.map_or(0, Vec::len)];
        for (query, &id) in ids.into_iter().flatten().enumerate() {
            same[id].push(query);
        }
        // The last query that saw each.
        let mut seen = vec![usize::MAX; positives.len()];
        let ignored = positives.iter().enumerate().map(|(query, columns)| {
            let sharing = columns.iter().flat_map(|&document| &queries_of[document]);
            let same = ids.into_iter().flat_map(|ids| &same[ids[query]]);
            let others = sharing.chain(same).copied().chain([query]);
            let mut news = |other: usize| std::mem::replace(&mut seen[other], query) != query;
            let others = others.filter(|&other| news(other));
            let mut others: Vec<_> = others.map(|other| self.documents + other).collect();
            others.shrink_to_fit();
            others
        });
        Self {
            documents: self.documents + self.columns.len(),
            ..self.with_ignored(ignored.collect())
        }
    }

    /// The listed columns whose weight is not 0.
    fn positives(&self) -> Cow<'_, [Vec<usize>]> {
        let Some(weights) = &self.weights else {
            return Cow::Borrowed(&self.columns);
        };
        let of_query = |(columns, weights): (&Vec<usize>, &Vec<f32>)| {
            let pairs = columns.iter().zip(weights);
            let pairs = pairs.filter(|(_, weight)| **weight != 0.0);
            pairs.map(|(&column, _)| column).collect()
        };
        let of_queries = self.columns.iter().zip(weights.iter());
        Cow::Owned(of_queries.map(of_query).collect())
    }

    /// The first columns behind the others.
    pub fn rotated(&self, first: usize) -> Self {
        let turn = |lists: &Arc<Vec<Vec<usize>>>| {
            let turned = lists.iter().map(|columns| {
                let (before, after) =
                    columns.split_at(columns.partition_point(|&column| column < first));
                let rest = self.documents - first;
                let before = before.iter().map(|column| column + rest);
                after
                    .iter()
                    .map(|column| column - first)
                    .chain(before)
                    .collect()
            });
            Arc::new(turned.collect())
        };
        let weights = self.weights.as_ref().map(|weights| {
            let turned = self
                .columns
                .iter()
                .zip(weights.iter())
                .map(|(columns, weights)| {
                    let (before, after) =
                        weights.split_at(columns.partition_point(|&column| column < first));
                    [after, before].concat()
                });
            Arc::new(turned.collect())
        });
        Self {
            columns: turn(&self.columns),
            weights,
            ignored: self.ignored.as_ref().map(turn),
            ..self.clone()
        }
    }

    /// The queries of these lists and then those of others, over the same documents. Both have
    /// weights and ignore columns, or neither.
    pub fn followed_by(&self, others: &Self) -> Self {
        let both = |a: &Arc<Vec<Vec<usize>>>, b: &Arc<Vec<Vec<usize>>>| {
            Arc::new([a.as_slice(), b].concat())
        };
        let weights = self.weights.as_ref().zip(others.weights.as_ref());
        let ignored = self.ignored.as_ref().zip(others.ignored.as_ref());
        Self {
            columns: both(&self.columns, &others.columns),
            weights: weights.map(|(a, b)| Arc::new([a.as_slice(), b].concat())),
            ignored: ignored.map(|(a, b)| both(a, b)),
            ..self.clone()
        }
    }

    /// Ignores further columns of each query, in any order.
    pub fn with_ignored(&self, columns: Vec<Vec<usize>>) -> Self {
        let ignored = columns.into_iter().enumerate().map(|(query, mut ignored)| {
            ignored.extend(self.ignored.iter().flat_map(|ignored| &ignored[query]));
            ignored.sort_unstable();
            ignored.dedup();
            ignored
        });
        Self {
            ignored: Some(Arc::new(ignored.collect())),
            ..self.clone()
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
        let weights = self.weights.as_ref();
        Self {
            columns: rows(&self.columns),
            weights: weights.map(|weights| Arc::new(weights[range.clone()].to_vec())),
            ignored: self.ignored.as_ref().map(rows),
            ..self.clone()
        }
    }

    /// The positive columns of each query, ascending and without repetition.
    #[cfg(any(feature = "cpu", feature = "remote"))]
    pub fn columns(&self) -> &[Vec<usize>] {
        &self.columns
    }

    /// The columns that each query ignores, ascending and without repetition.
    #[cfg(any(feature = "cpu", feature = "remote", feature = "train"))]
    pub fn ignored(&self) -> Option<&[Vec<usize>]> {
        self.ignored.as_ref().map(|lists| lists.as_slice())
    }

    /// The weights of the positives, in the order of their columns, unless all are 1.
    #[cfg(any(feature = "cpu", feature = "remote", feature = "train"))]
    pub fn weights(&self) -> Option<&[Vec<f32>]> {
        self.weights.as_ref().map(|lists| lists.as_slice())
    }

    /// The weight of every pair, unless all are 1.
    pub fn weight_matrix(&self) -> Option<Tensor<2>> {
        let weights = self.weights.as_ref()?;
        let [queries, documents] = self.dims();
        let mut matrix = vec![1.0f32; queries * documents];
        let rows = matrix.chunks_exact_mut(documents);
        for ((row, columns), weights) in rows.zip(self.columns.iter()).zip(weights.iter()) {
            for (&document, &weight) in columns.iter().zip(weights) {
                row[document] = weight;
            }
        }
        let data = TensorData::new(matrix, [queries, documents]);
        Some(Tensor::from_data(data, (&self.device, DType::F32)))
    }

    pub fn mask(&self) -> Tensor<2, Bool> {
        Self::mask_of(&self.columns, self.dims(), &self.device)
    }

    /// The mask of what is not ignored, if anything is.
    pub fn candidates(&self) -> Option<Tensor<2, Bool>> {
        let ignored = self.ignored.as_ref()?;
        Some(Self::mask_of(ignored, self.dims(), &self.device).bool_not())
    }

    /// The mask of listed columns.
    pub fn mask_of(
        lists: &[Vec<usize>],
        [queries, documents]: [usize; 2],
        device: &Device,
    ) -> Tensor<2, Bool> {
        let mut mask = vec![false; queries * documents];
        for (row, columns) in mask.chunks_exact_mut(documents).zip(lists) {
            for &document in columns {
                row[document] = true;
            }
        }
        Tensor::from_data(TensorData::new(mask, [queries, documents]), device)
    }

    /// The queries that have a positive of a weight above 0 which they do not ignore.
    #[cfg(feature = "train")]
    pub fn active(&self) -> usize {
        let counts = |query: usize, place: usize, column: &usize| {
            let ignored = self.ignored().map(|ignored| &ignored[query]);
            let weight = self.weights().map_or(1.0, |weights| weights[query][place]);
            weight > 0.0 && ignored.is_none_or(|ignored| ignored.binary_search(column).is_err())
        };
        let active = |(query, columns): &(usize, &Vec<usize>)| {
            let mut places = columns.iter().enumerate();
            places.any(|(place, column)| counts(*query, place, column))
        };
        self.columns.iter().enumerate().filter(active).count()
    }

    pub fn dims(&self) -> [usize; 2] {
        [self.columns.len(), self.documents]
    }

    pub fn device(&self) -> &Device {
        &self.device
    }
}

/// Columns and their weights.
type Weighted = Vec<(usize, f32)>;

/// For each query the columns that have its ids, ascending, and their weights; and a number
/// for each document, the same for the same id. Of an id that is named twice the larger weight
/// holds.
fn columns_of_ids<'a, Id: Eq + Hash + 'a, Ids: Iterator<Item = (&'a Id, f32)>>(
    relevant: impl ExactSizeIterator<Item = Ids>,
    documents: impl Iterator<Item = &'a Id>,
) -> Result<(Vec<Weighted>, Vec<usize>), TargetsError> {
    if relevant.len() == 0 {
        return Err(TargetsError::NoQueries);
    }
    // Each id has a place, and each column that of its id.
    let mut place_of: HashMap<&Id, usize> = HashMap::with_capacity(documents.size_hint().0);
    let mut place_in = Vec::with_capacity(documents.size_hint().0);
    for id in documents {
        let next = place_of.len();
        place_in.push(*place_of.entry(id).or_insert(next));
    }
    if place_in.is_empty() {
        return Err(TargetsError::NoDocuments);
    }
    let pairs = || {
        place_in
            .iter()
            .enumerate()
            .map(|(column, &place)| (place, column))
    };
    let columns_in = Groups::new(pairs, place_of.len());
    let mut found = Weighted::new();
    let columns = relevant.map(|ids| {
        let of_ids = ids.filter_map(|(id, weight)| Some((*place_of.get(id)?, weight)));
        found.clear();
        found.extend(of_ids);
        // No column has two ids.
        found.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then(y.total_cmp(x)));
        found.dedup_by_key(|(place, _)| *place);
        let columns = found.iter().flat_map(|&(place, weight)| {
            let columns = columns_in.get(place).iter();
            columns.map(move |&column| (column, weight))
        });
        let mut columns: Weighted = columns.collect();
        columns.sort_unstable_by_key(|(column, _)| *column);
        columns
    });
    let columns = columns.collect();
    Ok((columns, place_in))
}

/// Values by their keys: one behind the other in memory, where a million lists of their own
/// would lie anywhere.
struct Groups {
    /// Where each key's values begin, and where the last one's end.
    starts: Vec<usize>,
    values: Vec<usize>,
}

impl Groups {
    /// The values of a key stay in the order of the `pairs`, which are run over twice.
    fn new<Pairs: Iterator<Item = (usize, usize)>>(pairs: impl Fn() -> Pairs, keys: usize) -> Self {
        let mut starts = vec![0; keys + 1];
        for (key, _) in pairs() {
            starts[key + 1] += 1;
        }
        for key in 0..keys {
            starts[key + 1] += starts[key];
        }
        let mut next = starts.clone();
        let mut values = vec![0; starts[keys]];
        for (key, value) in pairs() {
            values[next[key]] = value;
            next[key] += 1;
        }
        Self { starts, values }
    }

    fn get(&self, key: usize) -> &[usize] {
        &self.values[self.starts[key]..self.starts[key + 1]]
    }
}

fn unzip(columns: Weighted) -> (Vec<usize>, Vec<f32>) {
    columns.into_iter().unzip()
}

/// An error for a weight that is negative or not finite.
fn check<'a>(query: usize, weights: impl Iterator<Item = &'a f32>) -> Result<(), TargetsError> {
    let mut weights = weights.enumerate();
    let wrong = weights.find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0));
    match wrong {
        Some((entry, &weight)) => Err(TargetsError::Weight {
            query,
            entry,
            weight,
        }),
        None => Ok(()),
    }
}
