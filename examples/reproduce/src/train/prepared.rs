//! A collection made ready for training: texts read by the encoder, and lexical hard negatives.

use std::{path::Path, sync::Arc};

use rayon::prelude::*;

use super::{lexical::Index, source::Passage};
use crate::{
    collection::{Collection, Query},
    encoder::Encoder,
};

/// How many hard negatives a query has at most: the size of the paper's pool.
pub const POOL: usize = 30;

pub struct Prepared<E: Encoder> {
    /// The name of its folder, with the test split.
    pub name: String,
    pub collection: Collection,
    pub documents: Vec<Passage<E::Text>>,
    /// One for each test query.
    pub test: Vec<E::Text>,
}

/// What training needs to know of a train query.
pub struct TrainQuery<T> {
    pub text: Arc<T>,
    /// All documents judged relevant.
    pub relevant: Vec<usize>,
    /// The best documents of the lexical ranking.
    pub top: Vec<usize>,
    /// The best ones that are not judged relevant.
    pub pool: Vec<usize>,
}

impl<E: Encoder> Prepared<E> {
    pub fn generated() -> Self {
        Self::new("embedded".into(), Collection::generate())
    }

    pub fn load(folder: &Path, train_split: &str, test_split: &str) -> Result<Self, String> {
        let collection = Collection::load(folder, train_split, test_split)?;
        let folder = folder.canonicalize().unwrap_or(folder.to_path_buf());
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self::new(format!("{name}-{test_split}"), collection))
    }

    fn new(name: String, collection: Collection) -> Self {
        let documents = collection.documents.par_iter().map(|document| Passage {
            id: document.id.as_str().into(),
            text: Arc::new(E::read(&document.text)),
        });
        let test = collection.test.par_iter().map(|query| E::read(&query.text));
        Self {
            name,
            documents: documents.collect(),
            test: test.collect(),
            collection,
        }
    }

    /// The train queries that have a relevant document.
    pub fn train_queries(&self) -> Vec<TrainQuery<E::Text>> {
        let texts = self.collection.documents.iter();
        let index = Index::new(texts.map(|document| document.text.as_str()));
        let train = self.collection.train.par_iter();
        train
            .filter_map(|query| train_query::<E>(query, &index))
            .collect()
    }
}

fn train_query<E: Encoder>(query: &Query, index: &Index) -> Option<TrainQuery<E::Text>> {
    let relevant = query.relevant();
    let ranking = index.search(&query.text);
    let mut sorted = relevant.clone();
    sorted.sort_unstable();
    let pool = ranking
        .iter()
        .filter(|document| sorted.binary_search(document).is_err())
        .take(POOL)
        .copied()
        .collect();
    (!relevant.is_empty()).then(|| TrainQuery {
        text: Arc::new(E::read(&query.text)),
        pool,
        top: ranking.into_iter().take(POOL).collect(),
        relevant,
    })
}
