//! The batches of a collection as loaders of Burn.

use std::{
    collections::HashSet,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use burn::{
    data::{
        dataloader::{DataLoader, DataLoaderIterator, Progress},
        dataset::DatasetError,
    },
    tensor::Device,
};
use burn_multi_positive::Targets;
use rand::{
    SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use retrieval::{Bag, Collection, Query};

/// Queries a batch.
const QUERIES: usize = 64;
/// Relevant documents drawn for a query each time it is trained on.
const POSITIVES: usize = 4;
/// Documents of a batch of the validation.
const DOCUMENTS: usize = 256;
/// Of so many queries one is for the validation.
const VALID: usize = 5;

/// A collection whose texts are bags of words already.
pub struct Data {
    pub collection: Collection,
    pub documents: Vec<Bag>,
    /// Those to train on, and those that choose the best epoch.
    train: Vec<(Query, Bag)>,
    valid: Vec<(Query, Bag)>,
}

impl Data {
    pub fn new(collection: Collection) -> Self {
        let documents = collection.documents.iter().map(|d| Bag::new(&d.text));
        let documents = documents.collect();
        let queries = collection
            .train
            .iter()
            .filter(|query| !query.relevant().is_empty());
        let queries = queries.map(|query| (query.clone(), Bag::new(&query.text)));
        let (valid, train): (Vec<_>, Vec<_>) = queries
            .enumerate()
            .partition(|(index, _)| index % VALID == 0);
        let queries = |part: Vec<(usize, _)>| part.into_iter().map(|(_, query)| query).collect();
        Self {
            documents,
            train: queries(train),
            valid: queries(valid),
            collection,
        }
    }

    /// How many queries there are to train on, and for the validation.
    pub fn sizes(&self) -> [usize; 2] {
        [self.train.len(), self.valid.len()]
    }
}

/// Some queries, and the documents drawn for them.
pub struct TrainBatch {
    data: Arc<Data>,
    queries: Vec<usize>,
    documents: Vec<usize>,
    /// Its number in the training, for random numbers.
    pub number: u64,
}

impl TrainBatch {
    pub fn query_bags(&self) -> Vec<&Bag> {
        self.queries
            .iter()
            .map(|query| &self.data.train[*query].1)
            .collect()
    }

    pub fn document_bags(&self) -> Vec<&Bag> {
        self.documents
            .iter()
            .map(|id| &self.data.documents[*id])
            .collect()
    }

    /// All that is relevant to a query, not only what it drew.
    pub fn targets(&self, device: &Device) -> Targets {
        let relevant = self
            .queries
            .iter()
            .map(|query| self.data.train[*query].0.relevant());
        let relevant: Vec<Vec<usize>> = relevant.collect();
        Targets::from_ids(&relevant, &self.documents, device).expect("a batch with queries")
    }
}

/// Loads the train queries in an order that depends on the seed and the epoch alone, so that a
/// training that is resumed sees what it would have seen.
pub struct TrainLoader {
    data: Arc<Data>,
    queries: Range<usize>,
    seed: u64,
    /// The epochs that were begun.
    epoch: AtomicUsize,
}

impl TrainLoader {
    /// A loader that begins after so many epochs.
    pub fn over(data: Arc<Data>, seed: u64, epochs: usize) -> Arc<dyn DataLoader<TrainBatch>> {
        Arc::new(Self {
            queries: 0..data.train.len(),
            data,
            seed,
            epoch: AtomicUsize::new(epochs),
        })
    }

    /// The same of other queries.
    fn of(&self, queries: Range<usize>) -> Self {
        Self {
            data: self.data.clone(),
            queries,
            seed: self.seed,
            epoch: AtomicUsize::new(self.epoch.load(Ordering::SeqCst)),
        }
    }
}

impl DataLoader<TrainBatch> for TrainLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<TrainBatch> + 'a> {
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) as u64;
        let mut rng = StdRng::seed_from_u64(self.seed.wrapping_mul(1 << 20).wrapping_add(epoch));
        let mut queries: Vec<usize> = self.queries.clone().collect();
        queries.shuffle(&mut rng);
        let mut batches = Vec::new();
        for (index, queries) in queries.chunks(QUERIES).enumerate() {
            // A query's negatives are the documents that the others drew.
            let mut seen = HashSet::new();
            let mut documents = Vec::new();
            for query in queries {
                let relevant = self.data.train[*query].0.relevant();
                let drawn = relevant.choose_multiple(&mut rng, POSITIVES);
                documents.extend(drawn.filter(|id| seen.insert(**id)));
            }
            let batch = TrainBatch {
                data: self.data.clone(),
                queries: queries.to_vec(),
                documents,
                number: epoch << 32 | index as u64,
            };
            batches.push((queries.len(), batch));
        }
        Batches::over(batches)
    }

    fn num_items(&self) -> usize {
        self.queries.len()
    }

    /// Texts are on no device: the model brings them to its own.
    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<TrainBatch>> {
        Arc::new(self.of(self.queries.clone()))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<TrainBatch>> {
        Arc::new(self.of(part(&self.queries, start, end)))
    }
}

/// Some documents or some queries of the validation.
pub struct ValidBatch {
    data: Arc<Data>,
    queries: Range<usize>,
    documents: Range<usize>,
}

impl ValidBatch {
    pub fn query_bags(&self) -> Vec<&Bag> {
        self.data.valid[self.queries.clone()]
            .iter()
            .map(|(_, bag)| bag)
            .collect()
    }

    pub fn document_bags(&self) -> Vec<&Bag> {
        self.data.documents[self.documents.clone()].iter().collect()
    }

    pub fn document_ids(&self) -> Vec<&str> {
        let documents = &self.data.collection.documents[self.documents.clone()];
        documents
            .iter()
            .map(|document| document.id.as_str())
            .collect()
    }

    pub fn judged(&self) -> Vec<Vec<(&str, i32)>> {
        let documents = &self.data.collection.documents;
        let by_id = |(document, grade): &(usize, i32)| (documents[*document].id.as_str(), *grade);
        let queries = self.data.valid[self.queries.clone()].iter();
        queries
            .map(|(query, _)| query.judgements.iter().map(by_id).collect())
            .collect()
    }
}

/// All documents, and then the queries of the validation.
pub struct ValidLoader {
    data: Arc<Data>,
    /// Places among documents and queries, one behind the other.
    items: Range<usize>,
}

impl ValidLoader {
    pub fn over(data: Arc<Data>) -> Arc<dyn DataLoader<ValidBatch>> {
        let items = 0..data.documents.len() + data.valid.len();
        Arc::new(Self { data, items })
    }
}

impl DataLoader<ValidBatch> for ValidLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<ValidBatch> + 'a> {
        let batch = |start: usize| {
            let end = self.items.end.min(start + DOCUMENTS);
            let documents = self.data.documents.len();
            let batch = ValidBatch {
                data: self.data.clone(),
                documents: start.min(documents)..end.min(documents),
                queries: start.max(documents) - documents..end.max(documents) - documents,
            };
            (end - start, batch)
        };
        let starts = self.items.clone().step_by(DOCUMENTS);
        Batches::over(starts.map(batch).collect())
    }

    fn num_items(&self) -> usize {
        self.items.len()
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<ValidBatch>> {
        self.slice(0, self.items.len())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<ValidBatch>> {
        Arc::new(Self {
            data: self.data.clone(),
            items: part(&self.items, start, end),
        })
    }
}

/// The items from `start` to `end` of a range.
fn part(range: &Range<usize>, start: usize, end: usize) -> Range<usize> {
    range.start + start..range.end.min(range.start + end)
}

/// Batches that are there already, and the items that each has.
struct Batches<B> {
    batches: std::vec::IntoIter<(usize, B)>,
    done: usize,
    all: usize,
}

impl<B: 'static> Batches<B> {
    fn over<'a>(batches: Vec<(usize, B)>) -> Box<dyn DataLoaderIterator<B> + 'a> {
        Box::new(Self {
            all: batches.iter().map(|(items, _)| items).sum(),
            batches: batches.into_iter(),
            done: 0,
        })
    }
}

impl<B> Iterator for Batches<B> {
    type Item = Result<B, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (items, batch) = self.batches.next()?;
        self.done += items;
        Some(Ok(batch))
    }
}

impl<B> DataLoaderIterator<B> for Batches<B> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.all, Some("items".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Arc<Data> {
        Arc::new(Data::new(Collection::generate()))
    }

    #[test]
    fn slices_have_every_query_once() {
        let data = data();
        let [train, _] = data.sizes();
        let loader = TrainLoader::over(data, 1, 0);
        let slices = [loader.slice(0, 300), loader.slice(300, train)];
        let queries = slices
            .iter()
            .flat_map(|slice| slice.iter().collect::<Vec<_>>());
        let mut queries: Vec<usize> = queries.flat_map(|batch| batch.unwrap().queries).collect();
        queries.sort_unstable();
        assert_eq!(queries, (0..train).collect::<Vec<_>>());
    }

    #[test]
    fn slices_of_the_validation_have_every_item_once() {
        let data = data();
        let all = data.documents.len();
        let [_, valid] = data.sizes();
        let loader = ValidLoader::over(data);
        let cut = all + 10;
        let slices = [loader.slice(0, cut), loader.slice(cut, loader.num_items())];
        let (mut documents, mut queries) = (Vec::new(), Vec::new());
        for batch in slices
            .iter()
            .flat_map(|slice| slice.iter().collect::<Vec<_>>())
        {
            let batch = batch.unwrap();
            documents.extend(batch.documents);
            queries.extend(batch.queries);
        }
        assert_eq!(documents, (0..all).collect::<Vec<_>>());
        assert_eq!(queries, (0..valid).collect::<Vec<_>>());
    }

    /// Whatever came before, an epoch has the same batches.
    #[test]
    fn an_epoch_depends_on_its_number_alone() {
        let data = data();
        let documents = |loader: &Arc<dyn DataLoader<TrainBatch>>| -> Vec<Vec<usize>> {
            loader
                .iter()
                .map(|batch| batch.unwrap().documents)
                .collect()
        };
        let from_start = TrainLoader::over(data.clone(), 1, 0);
        let first = documents(&from_start);
        let second = documents(&from_start);
        assert_ne!(first, second);
        assert_eq!(documents(&TrainLoader::over(data, 1, 1)), second);
    }
}
