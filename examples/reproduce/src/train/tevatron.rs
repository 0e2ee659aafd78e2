//! The queries of a file of Tevatron's JSON lines, in the order of the file.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;
use retrieval::tevatron::{self, Record, records};

use super::source::{Example, Passage};
use crate::{
    encoder::{Reads, Role},
    hash::Hash,
};

/// A file that was read once from its beginning to its end, and found to be in order.
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
    /// Queries that have a positive.
    pub queries: usize,
    /// Of the file as it is, compressed or not.
    hash: String,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{name}, {} queries, {}", self.queries, self.hash)
    }
}

impl File {
    /// Reads the whole file, so that a mistake at its end is found before the training.
    pub fn check(path: &Path) -> Result<Self, String> {
        let mut queries = 0;
        for record in records(path)? {
            if !record?.positives.is_empty() {
                queries += 1;
            }
        }
        if queries == 0 {
            return Err(format!(
                "{}: no query has a positive passage",
                path.display()
            ));
        }
        let mut hash = Hash::default();
        hash.add_file(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            queries,
            hash: hash.to_string(),
        })
    }

    /// The queries that have a positive, in the order of the file.
    pub fn examples<'a, T: Send + Sync, S: Reads<T>>(
        &'a self,
        source: &'a S,
    ) -> Result<impl Iterator<Item = Result<Example<T>, String>> + use<'a, T, S>, String> {
        let records = records(&self.path)?.filter(|record| match record {
            Ok(record) => !record.positives.is_empty(),
            Err(_) => true,
        });
        Ok(records.map(|record| named_example(&self.path, source, record?)))
    }
}

fn named_example<T: Send + Sync, S: Reads<T>>(
    path: &Path,
    source: &S,
    record: Record,
) -> Result<Example<T>, String> {
    let place = format!("{}: query {:?}", path.display(), record.query);
    example(source, record).map_err(|error| format!("{place}: {error}"))
}

fn example<T: Send + Sync, S: Reads<T>>(source: &S, record: Record) -> Result<Example<T>, String> {
    let passages = |records: Vec<tevatron::Passage>| {
        let passages = records.into_par_iter();
        let passages = passages.map(|record| passage(source, record));
        passages.collect::<Result<Vec<Passage<T>>, String>>()
    };
    let positives = passages(record.positives)?;
    let mut negatives = passages(record.negatives)?;
    negatives.retain(|negative| positives.iter().all(|positive| positive.id != negative.id));
    Ok(Example {
        query: Arc::new(source.read(&record.query, Role::Query)?),
        positives,
        wrong: Vec::new(),
        left_out: Vec::new(),
        negatives,
    })
}

fn passage<T, S: Reads<T>>(source: &S, passage: tevatron::Passage) -> Result<Passage<T>, String> {
    Ok(Passage {
        id: passage.id.into(),
        text: Arc::new(source.read(&passage.text, Role::Passage)?),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::encoder::BagSource;

    const LINES: &str = concat!(
        r#"{"query_id": "1", "query": "red", "positive_passages": [{"docid": "a", "title": "A", "text": "red"}], "#,
        r#""negative_passages": [{"docid": 7, "text": "blue"}, {"docid": "a", "text": "red"}]}"#,
        "\n\n",
        r#"{"query_id": "2", "query": "green", "positive_passages": []}"#,
        "\n"
    );

    fn file(name: &str, bytes: &[u8]) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("reproduce-tevatron-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn compressed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_compressed_files_are_read_alike() {
        for (name, bytes) in [
            ("plain.jsonl", LINES.as_bytes().to_vec()),
            ("packed.jsonl.gz", compressed(LINES)),
            // As `cat a.gz b.gz` makes it.
            ("two.gz", [compressed(LINES), compressed("\n")].concat()),
        ] {
            let file = File::check(&file(name, &bytes)).unwrap();
            assert_eq!(file.queries, 1);
            let examples: Vec<_> = file.examples(&BagSource).unwrap().collect();
            let [Ok(example)] = examples.as_slice() else {
                panic!("expected one example, got {}", examples.len());
            };
            let ids = |passages: &[Passage<_>]| -> Vec<String> {
                passages
                    .iter()
                    .map(|passage| passage.id.to_string())
                    .collect()
            };
            assert_eq!(ids(&example.positives), ["a"]);
            // A passage that is labelled positive is no negative.
            assert_eq!(ids(&example.negatives), ["7"]);
        }
    }

    #[test]
    fn errors_name_file_and_line() {
        let malformed = format!("{LINES}{{\"query\": \"blue\"}}\n");
        let cut = compressed(&LINES.repeat(50));
        let cases = [
            (
                file("malformed.jsonl", malformed.as_bytes()),
                "malformed.jsonl:4: missing field `positive_passages` at column 17",
            ),
            (
                file("utf-8.jsonl", b"\xff\n"),
                "utf-8.jsonl:1: invalid utf-8 sequence of 1 bytes from index 0",
            ),
            (
                file("empty.jsonl", b""),
                "empty.jsonl: no query has a positive passage",
            ),
            (
                file("cut.gz", &cut[..cut.len() - 9]),
                "cut.gz:151: incomplete deflate stream",
            ),
            (
                PathBuf::from("/nowhere/at.all"),
                "/nowhere/at.all: No such file",
            ),
        ];
        for (path, expected) in cases {
            let error = File::check(&path).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
