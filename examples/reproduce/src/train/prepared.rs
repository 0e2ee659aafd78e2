//! A collection made ready for training: texts read by the encoder, and lexical hard negatives.

use std::{path::Path, sync::Arc};

use rayon::prelude::*;
use retrieval::{Collection, Document, Query, search};

use super::{left_out::LeftOut, lexical::Index, source::Passage};
use crate::{
    encoder::{Encoder, Reads, Role},
    output::named,
};

/// How many hard negatives a query has at most: the size of the paper's pool.
pub const POOL: usize = 30;

pub struct Prepared<T> {
    pub corpus: Vec<Document>,
    /// As they are trained on.
    pub documents: Vec<Passage<T>>,
    /// As they are ranked.
    pub ranked: Vec<Arc<T>>,
    pub train: Vec<Query>,
    /// The test split.
    pub test: Tested<T>,
}

/// Queries that an encoder is measured on.
pub struct Tested<T> {
    /// The name of the collection's folder, with the split.
    pub name: String,
    pub queries: Vec<Query>,
    /// One for each query.
    pub texts: Vec<Arc<T>>,
    pub left_out: LeftOut,
}

impl<T> Clone for Tested<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            queries: self.queries.clone(),
            texts: self.texts.clone(),
            left_out: self.left_out.clone(),
        }
    }
}

/// What training needs to know of a train query.
pub struct TrainQuery<T> {
    /// Among the train queries of the collection.
    pub place: usize,
    pub text: Arc<T>,
    /// All documents judged relevant.
    pub relevant: Vec<usize>,
    /// Documents that a file labels, with their grades.
    pub labels: Vec<(usize, i32)>,
    /// The best documents of the lexical ranking.
    pub top: Vec<usize>,
    /// The best ones that are not judged relevant.
    pub pool: Vec<usize>,
    /// The best documents of the pretrained encoder before any training; empty if there is none.
    pub near: Vec<usize>,
    /// Documents that are not candidates of the query.
    pub left_out: Vec<usize>,
}

impl<T> Clone for TrainQuery<T> {
    fn clone(&self) -> Self {
        Self {
            place: self.place,
            text: self.text.clone(),
            relevant: self.relevant.clone(),
            labels: self.labels.clone(),
            top: self.top.clone(),
            pool: self.pool.clone(),
            near: self.near.clone(),
            left_out: self.left_out.clone(),
        }
    }
}

impl<T> TrainQuery<T> {
    /// The best documents of the pretrained encoder that are not judged relevant.
    pub fn near_pool(&self) -> Vec<usize> {
        let near = self.near.iter();
        let near = near.filter(|document| !self.relevant.contains(document));
        near.take(POOL).copied().collect()
    }
}

impl<T: Send + Sync> Prepared<T> {
    pub fn generated<S: Reads<T>>(source: &S) -> Result<Self, String> {
        let collection = Collection::generate();
        Self::new(source, "embedded".into(), collection, LeftOut::default())
    }

    /// Splits are names with commas between them.
    pub fn load<S: Reads<T>>(
        source: &S,
        folder: &Path,
        train_splits: &str,
        test_splits: &str,
        left_out: Option<&Path>,
        human_cut: i32,
    ) -> Result<Self, String> {
        let mut collection = Collection::load(folder, train_splits, test_splits)?;
        for (split, queries) in [
            (train_splits, &mut collection.train),
            (test_splits, &mut collection.test),
        ] {
            if !cut(queries, human_cut) {
                return Err(format!(
                    "{}: no document of {split} has the grade of --human-cut {human_cut}",
                    folder.display()
                ));
            }
        }
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
        let queries = collection.test.par_iter();
        let texts = queries.map(|query| read_query(source, query).map(Arc::new));
        Ok(Self {
            documents: documents.collect(),
            ranked,
            test: Tested {
                name,
                texts: texts.collect::<Result<_, _>>()?,
                queries: collection.test,
                left_out,
            },
            train: collection.train,
            corpus: collection.documents,
        })
    }

    /// The train queries that have a relevant document.
    pub fn train_queries<S: Reads<T>>(&self, source: &S) -> Result<Vec<TrainQuery<T>>, String> {
        let texts = self.corpus.iter();
        let index = Index::new(texts.map(|document| document.text.as_str()));
        let train = self.train.par_iter().enumerate();
        train
            .filter_map(|(place, query)| {
                let left_out = self.test.left_out.of(&query.id).collect();
                train_query(source, place, query, left_out, &index).transpose()
            })
            .collect()
    }
}

impl<T> Prepared<T> {
    /// Gives each query its best documents by an encoder that is not trained yet.
    pub fn rank_before_training<E: Encoder<Text = T>>(
        &self,
        encoder: &E,
        queries: &mut [TrainQuery<T>],
    ) -> Result<(), String> {
        if queries.is_empty() {
            return Ok(());
        }
        let texts: Vec<&T> = queries.iter().map(|query| query.text.as_ref()).collect();
        let documents: Vec<&T> = self.ranked.iter().map(AsRef::as_ref).collect();
        let rankings = search(
            encoder.encode(&texts, Role::Query),
            encoder.encode(&documents, Role::Document),
            &self.corpus,
        )?;
        for (query, ranking) in queries.iter_mut().zip(rankings) {
            let documents = ranking.into_iter().map(|(document, _)| document);
            query.near = documents
                .filter(|document| !query.left_out.contains(document))
                .collect();
        }
        Ok(())
    }
}

/// Makes grades below the cut 0, and those from it 1 and above. Returns whether there are any.
fn cut(queries: &mut [Query], cut: i32) -> bool {
    let judgements = queries.iter_mut().flat_map(|query| &mut query.judgements);
    let mut any = false;
    for (_, grade) in judgements {
        *grade = (*grade - cut + 1).max(0);
        any |= *grade > 0;
    }
    any
}

fn read_query<T, S: Reads<T>>(source: &S, query: &Query) -> Result<T, String> {
    let text = source.read(&query.text, Role::Query);
    text.map_err(|error| format!("query {}: {error}", query.id))
}

fn train_query<T, S: Reads<T>>(
    source: &S,
    place: usize,
    query: &Query,
    left_out: Vec<usize>,
    index: &Index,
) -> Result<Option<TrainQuery<T>>, String> {
    let relevant = query.relevant();
    if relevant.is_empty() {
        return Ok(None);
    }
    let mut ranking = index.search(&query.text);
    ranking.retain(|document| !left_out.contains(document));
    let mut sorted = relevant.clone();
    sorted.sort_unstable();
    let pool = ranking
        .iter()
        .filter(|document| sorted.binary_search(document).is_err())
        .take(POOL)
        .copied()
        .collect();
    Ok(Some(TrainQuery {
        place,
        text: Arc::new(read_query(source, query)?),
        pool,
        top: ranking.into_iter().take(POOL).collect(),
        relevant,
        labels: Vec::new(),
        near: Vec::new(),
        left_out,
    }))
}
