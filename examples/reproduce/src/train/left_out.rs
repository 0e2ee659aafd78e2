//! Documents that are not ranked for a query, such as the one that it was written from.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::Path,
};

use retrieval::{Collection, Query, Ranking};

use crate::output::named;

/// By the id of a query: documents.
#[derive(Clone, Default)]
pub struct LeftOut(BTreeMap<String, BTreeSet<usize>>);

impl LeftOut {
    /// Reads lines of a query and a document with a tab between them, and takes these documents
    /// out of the judgements of the collection's queries. Lines of other queries are passed over.
    pub fn read(path: &Path, collection: &mut Collection) -> Result<Self, String> {
        let text = named(path, std::fs::read_to_string(path))?;
        let queries = collection.train.iter().chain(&collection.test);
        let queries: HashSet<&str> = queries.map(|query| query.id.as_str()).collect();
        let documents = collection.documents.iter();
        let documents = documents.map(|document| document.id.as_str());
        let documents: HashMap<&str, usize> = documents.zip(0..).collect();

        let mut left_out = Self::default();
        for (index, line) in text.lines().enumerate() {
            let error = |problem: String| format!("{}:{}: {problem}", path.display(), index + 1);
            let (query, document) = line.split_once('\t').ok_or_else(|| {
                error(format!(
                    "expected a query, a tab and a document, got {line:?}"
                ))
            })?;
            if !queries.contains(query) {
                continue;
            }
            let document = document.trim_end();
            let document = documents
                .get(document)
                .ok_or_else(|| error(format!("document {document:?} is not in the collection")))?;
            let documents = left_out.0.entry(query.into()).or_default();
            documents.insert(*document);
        }
        for query in collection.train.iter_mut().chain(&mut collection.test) {
            let Some(documents) = left_out.0.get(&query.id) else {
                continue;
            };
            let judgements = &mut query.judgements;
            judgements.retain(|(document, _)| !documents.contains(document));
        }
        Ok(left_out)
    }

    /// Queries, and what is left out for each.
    pub fn queries(&self) -> impl Iterator<Item = (&str, &BTreeSet<usize>)> {
        let queries = self.0.iter();
        queries.map(|(query, documents)| (query.as_str(), documents))
    }

    pub fn of(&self, query: &str) -> impl Iterator<Item = usize> {
        self.0.get(query).into_iter().flatten().copied()
    }

    /// Takes the documents out of the rankings, one for each query.
    pub fn remove_from(&self, queries: &[Query], rankings: &mut [Ranking]) {
        for (query, ranking) in queries.iter().zip(rankings) {
            if let Some(documents) = self.0.get(&query.id) {
                ranking.retain(|(document, _)| !documents.contains(document));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> (Result<LeftOut, String>, Collection) {
        let name = format!("reproduce-left-out-{}-{}", std::process::id(), lines.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, lines).unwrap();
        let mut collection = Collection::generate();
        let left_out = LeftOut::read(&path, &mut collection);
        std::fs::remove_file(&path).unwrap();
        (left_out, collection)
    }

    #[test]
    fn a_document_is_neither_judged_nor_ranked() {
        let before = Collection::generate();
        let query = &before.test[1];
        let (document, _) = query.judgements[0];
        let id = &before.documents[document].id;
        let (left_out, after) = read(&format!("nobody\t{id}\n{}\t{id}\r\n", query.id));
        let left_out = left_out.unwrap();
        assert_eq!(after.test[1].judgements, query.judgements[1..]);
        assert_eq!(after.test[0].judgements, before.test[0].judgements);

        let ranking = vec![(document, 2.0), (document + 1, 1.0)];
        let mut rankings = [ranking.clone(), ranking.clone()];
        left_out.remove_from(&after.test, &mut rankings);
        assert_eq!(rankings[..2], [ranking.clone(), ranking[1..].to_vec()]);
    }

    #[test]
    fn a_line_that_means_nothing_is_named() {
        let query = &Collection::generate().test[0].id;
        let error = |lines: &str| read(lines).0.err().unwrap();
        assert!(error(&format!("{query} d1")).contains(":1: expected a query, a tab"));
        let error = error(&format!("nobody\td1\n{query}\tnone"));
        assert!(error.contains(":2: document \"none\" is not"), "{error}");
    }
}
