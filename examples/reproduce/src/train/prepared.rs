//! A collection made ready for training: texts read by the encoder, and lexical hard negatives.

use std::{path::Path, sync::Arc};

use rayon::prelude::*;
use retrieval::{Collection, Query};

use super::{left_out::LeftOut, lexical::Index, source::Passage};
use crate::{
    encoder::{Reads, Role},
    output::named,
};

/// How many hard negatives a query has at most: the size of the paper's pool.
pub const POOL: usize = 30;

pub struct Prepared<T> {
    /// The name of its folder, with the test split.
    pub name: String,
    pub collection: Collection,
    /// As they are trained on.
    pub documents: Vec<Passage<T>>,
    /// As they are ranked.
    pub ranked: Vec<Arc<T>>,
    /// One for each test query.
    pub test: Vec<T>,
    pub left_out: LeftOut,
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

impl<T: Send + Sync> Prepared<T> {
    pub fn generated<S: Reads<T>>(source: &S) -> Result<Self, String> {
        let collection = Collection::generate();
        Self::new(source, "embedded".into(), collection, LeftOut::default())
    }

    /// `test_splits` are names of splits with commas between them.
    pub fn load<S: Reads<T>>(
        source: &S,
        folder: &Path,
        train_split: &str,
        test_splits: &str,
        left_out: Option<&Path>,
    ) -> Result<Self, String> {
        let mut collection = Collection::load(folder, train_split, test_splits)?;
        let left_out = left_out.map(|path| LeftOut::read(path, &mut collection));
        let left_out = left_out.transpose()?.unwrap_or_default();
        let path = folder.canonicalize().unwrap_or(folder.to_path_buf());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name}-{}", test_splits.replace(',', "+"));
        named(folder, Self::new(source, name, collection, left_out))
    }

    fn new<S: Reads<T>>(
        source: &S,
        name: String,
        collection: Collection,
        left_out: LeftOut,
    ) -> Result<Self, String> {
        let read = |role| {
            let documents = collection.documents.par_iter();
            let texts = documents.map(move |document| {
                let text = source.read(&document.text, role);
                let text = text.map_err(|error| format!("document {}: {error}", document.id))?;
                Ok(Arc::new(text))
            });
            texts.collect::<Result<Vec<_>, String>>()
        };
        let roles = match source.ranks_as_trained() {
            true => &[Role::Passage][..],
            false => &[Role::Passage, Role::Document],
        };
        let documents = collection.documents.iter();
        let documents = documents.flat_map(|one| roles.iter().map(|role| (*role, &*one.text)));
        let queries = collection.train.iter().chain(&collection.test);
        let queries = queries.map(|query| (Role::Query, &*query.text));
        source.prepare(&documents.chain(queries).collect::<Vec<_>>())?;

        let texts = read(Role::Passage)?;
        let ranked = match source.ranks_as_trained() {
            true => texts.clone(),
            false => read(Role::Document)?,
        };
        let documents = collection.documents.iter().zip(texts);
        let documents = documents.map(|(document, text)| Passage {
            id: document.id.as_str().into(),
            text,
        });
        let test = collection.test.par_iter();
        let test = test.map(|query| read_query(source, query));
        Ok(Self {
            name,
            documents: documents.collect(),
            ranked,
            test: test.collect::<Result<_, _>>()?,
            collection,
            left_out,
        })
    }

    /// The train queries that have a relevant document.
    pub fn train_queries<S: Reads<T>>(&self, source: &S) -> Result<Vec<TrainQuery<T>>, String> {
        let texts = self.collection.documents.iter();
        let index = Index::new(texts.map(|document| document.text.as_str()));
        let train = self.collection.train.par_iter();
        train
            .filter_map(|query| train_query(source, query, &index).transpose())
            .collect()
    }
}

fn read_query<T, S: Reads<T>>(source: &S, query: &Query) -> Result<T, String> {
    let text = source.read(&query.text, Role::Query);
    text.map_err(|error| format!("query {}: {error}", query.id))
}

fn train_query<T, S: Reads<T>>(
    source: &S,
    query: &Query,
    index: &Index,
) -> Result<Option<TrainQuery<T>>, String> {
    let relevant = query.relevant();
    if relevant.is_empty() {
        return Ok(None);
    }
    let ranking = index.search(&query.text);
    let mut sorted = relevant.clone();
    sorted.sort_unstable();
    let pool = ranking
        .iter()
        .filter(|document| sorted.binary_search(document).is_err())
        .take(POOL)
        .copied()
        .collect();
    Ok(Some(TrainQuery {
        text: Arc::new(read_query(source, query)?),
        pool,
        top: ranking.into_iter().take(POOL).collect(),
        relevant,
    }))
}
