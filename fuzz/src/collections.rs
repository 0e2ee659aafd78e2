//! Collections in BEIR's layout: documents, queries and judgements.

use std::collections::HashSet;

use retrieval::Collection;

use crate::folder::{Folder, assert_names};

thread_local! {
    static FOLDER: Folder = Folder::new("collection");
}

/// What is between the three files in one input.
const END: u8 = 0;

/// Reads the three files of a collection.
pub fn run(data: &[u8]) {
    FOLDER.with(|folder| {
        let mut files = data.splitn(3, |byte| *byte == END);
        for name in ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"] {
            folder.write(name, files.next().unwrap_or_default());
        }
        let collection = match Collection::load(folder.path(), "test", "test") {
            Ok(collection) => collection,
            Err(error) => return assert_names(&error, folder),
        };
        let documents = collection.documents.iter();
        let ids: HashSet<&str> = documents.map(|document| document.id.as_str()).collect();
        assert_eq!(
            ids.len(),
            collection.documents.len(),
            "an id is there twice"
        );
        assert!(!collection.test.is_empty(), "a split without a query");
        for query in &collection.test {
            let judged = query.judgements.iter().map(|judgement| judgement.0);
            let judged: Vec<usize> = judged.collect();
            let documents = collection.documents.len();
            assert!(judged.iter().all(|document| *document < documents));
            let once: HashSet<&usize> = judged.iter().collect();
            assert_eq!(once.len(), judged.len(), "a document is judged twice");
        }
    });
}

/// With and without titles, with a head and a byte order mark.
pub fn seeds() -> Vec<Vec<u8>> {
    let corpus = concat!(
        "{\"_id\": \"d1\", \"title\": \"red\", \"text\": \"green\"}\n",
        "{\"_id\": \"d2\", \"text\": \"blue\", \"metadata\": {\"year\": 2026}}\n",
    );
    let queries = "\u{feff}{\"_id\": \"q1\", \"text\": \"colour\"}\r\n";
    let judgements = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n";
    vec![[corpus, queries, judgements].join("\0").into_bytes()]
}
