//! Labels of an LLM, from a file of graded documents.

use std::{collections::HashMap, path::Path};

use retrieval::{Query, load_judgements};

use crate::{
    hash::Hash,
    train::{
        agreement::{Agreement, wrong_is_nearer},
        prepared::{Prepared, TrainQuery},
    },
};

pub struct LabelFile {
    name: String,
    cut: i32,
    /// By the id of the query: documents and grades, those below the cut included.
    grades: HashMap<String, Vec<(usize, i32)>>,
}

impl LabelFile {
    /// Reads a file of the collection's folder, or of anywhere.
    pub fn read(folder: &Path, path: &Path, cut: i32) -> Result<Self, String> {
        let path = folder.join(path);
        let queries = load_judgements(folder, &path)?;
        let mut hash = Hash::default();
        hash.add_file(&path)?;
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let graded = queries.into_iter();
        let grades: HashMap<_, _> = graded.map(|query| (query.id, query.judgements)).collect();
        let mut labels = grades.values().flatten();
        if !labels.any(|(_, grade)| *grade >= cut) {
            return Err(format!(
                "{}: no document has the grade of --llm-cut {cut}",
                path.display()
            ));
        }
        Ok(Self {
            name: format!("{file_name}, from grade {cut}, {hash}"),
            cut,
            grades,
        })
    }

    /// For the record.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives each query its labels: among the documents that humans judged, those from the cut.
    pub fn label<T>(&self, collection: &Prepared<T>, queries: &mut [TrainQuery<T>]) {
        for query in queries {
            query.labels = self.labels(&collection.train[query.place]);
        }
    }

    fn labels(&self, query: &Query) -> Vec<(usize, i32)> {
        let graded = self.grades.get(&query.id).into_iter().flatten();
        let judged = |document: usize| {
            let mut judgements = query.judgements.iter();
            judgements.any(|(other, _)| *other == document)
        };
        let labels = graded.filter(|(document, grade)| *grade >= self.cut && judged(*document));
        labels.copied().collect()
    }

    /// How good the labels are, over the queries that the file has.
    pub fn agreement<T>(&self, collection: &Prepared<T>, queries: &[TrainQuery<T>]) -> Agreement {
        let train = collection.train.iter();
        let ours = train.filter(|query| self.grades.contains_key(&query.id));
        let pairs = ours.map(|query| {
            let labels = self.labels(query);
            let judged = query.judgements.iter();
            let judged = judged.map(|(document, grade)| {
                let labelled = labels.iter().any(|(label, _)| label == document);
                (*grade > 0, labelled)
            });
            judged.collect()
        });
        let labels = queries.iter().map(|query| {
            let labels = query.labels.iter();
            labels.map(|(document, _)| *document).collect::<Vec<_>>()
        });
        let labels: Vec<_> = labels.collect();
        let labelled = queries.iter().zip(labels.iter().map(Vec::as_slice));
        Agreement {
            wrong_is_nearer: wrong_is_nearer(labelled),
            ..Agreement::of(&pairs.collect::<Vec<_>>())
        }
    }
}
