//! Documents that are not ranked for a query, such as the one that it was written from.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use retrieval::{Collection, Ranking};

use crate::output::named;

/// Pairs of a test query and a document.
#[derive(Clone, Default)]
pub struct LeftOut(BTreeSet<(usize, usize)>);

impl LeftOut {
    /// Reads lines of a query and a document with a tab between them, and takes these documents out of the
    /// judgements of the collection's test queries. Lines of other queries are passed over.
    pub fn read(path: &Path, collection: &mut Collection) -> Result<Self, String> {
        let text = named(path, std::fs::read_to_string(path))?;
        let queries = collection.test.iter().map(|query| query.id.as_str());
        let queries: HashMap<&str, usize> = queries.zip(0..).collect();
        let documents = collection.documents.iter();
        let documents = documents.map(|document| document.id.as_str());
        let documents: HashMap<&str, usize> = documents.zip(0..).collect();

        let mut pairs = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let error = |problem: String| format!("{}:{}: {problem}", path.display(), index + 1);
            let (query, document) = line.split_once('\t').ok_or_else(|| {
                error(format!(
                    "expected a query, a tab and a document, got {line:?}"
                ))
            })?;
            let Some(&query) = queries.get(query) else {
                continue;
            };
            let document = document.trim_end();
            let document = documents
                .get(document)
                .ok_or_else(|| error(format!("document {document:?} is not in the collection")))?;
            pairs.insert((query, *document));
        }
        for (index, query) in collection.test.iter_mut().enumerate() {
            let judgements = &mut query.judgements;
            judgements.retain(|(document, _)| !pairs.contains(&(index, *document)));
        }
        Ok(Self(pairs))
    }

    pub fn pairs(&self) -> impl Iterator<Item = &(usize, usize)> {
        self.0.iter()
    }

    /// Takes the documents out of the rankings, which are in the order of the test queries.
    pub fn remove_from(&self, rankings: &mut [Ranking]) {
        if self.0.is_empty() {
            return;
        }
        for (query, ranking) in rankings.iter_mut().enumerate() {
            ranking.retain(|(document, _)| !self.0.contains(&(query, *document)));
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
        left_out.remove_from(&mut rankings);
        assert_eq!(rankings, [ranking.clone(), ranking[1..].to_vec()]);
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
