//! Tevatron's JSON lines, plain or compressed: a query, its positive and its negative passages a line.

use std::{
    fmt, fs,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use rayon::prelude::*;
use serde::Deserialize;

use super::source::{Example, Passage};
use crate::{
    encoder::{Reads, Role},
    hash::Hash,
    output::named,
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

#[derive(Deserialize)]
struct Record {
    query: String,
    positive_passages: Vec<RecordPassage>,
    #[serde(default)]
    negative_passages: Vec<RecordPassage>,
}

#[derive(Deserialize)]
struct RecordPassage {
    docid: Id,
    title: Option<String>,
    text: String,
}

/// The official files have both.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

impl File {
    /// Reads the whole file, so that a mistake at its end is found before the training.
    pub fn check(path: &Path) -> Result<Self, String> {
        let mut queries = 0;
        for record in records(path)? {
            if !record?.positive_passages.is_empty() {
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
            Ok(record) => !record.positive_passages.is_empty(),
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
    let passages = |records: Vec<RecordPassage>| {
        let passages = records.into_par_iter();
        let passages = passages.map(|record| passage(source, record));
        passages.collect::<Result<Vec<Passage<T>>, String>>()
    };
    let positives = passages(record.positive_passages)?;
    let mut negatives = passages(record.negative_passages)?;
    negatives.retain(|negative| positives.iter().all(|positive| positive.id != negative.id));
    Ok(Example {
        query: Arc::new(source.read(&record.query, Role::Query)?),
        positives,
        wrong: Vec::new(),
        left_out: Vec::new(),
        negatives,
    })
}

fn passage<T, S: Reads<T>>(source: &S, passage: RecordPassage) -> Result<Passage<T>, String> {
    let text = [passage.title.unwrap_or_default(), passage.text].join(" ");
    Ok(Passage {
        id: match passage.docid {
            Id::Text(id) => id.into(),
            Id::Number(id) => id.to_string().into(),
        },
        text: Arc::new(source.read(&text, Role::Passage)?),
    })
}

fn records(path: &Path) -> Result<impl Iterator<Item = Result<Record, String>> + use<>, String> {
    let lines = named(path, open(path))?.lines().enumerate();
    let path = path.to_path_buf();
    let records = lines.filter_map(move |(index, line)| {
        let record = line.map_err(|error| error.to_string()).and_then(|line| {
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.is_empty() {
                return Ok(None);
            }
            // serde_json counts lines too, from the start of the string it is given.
            serde_json::from_str(line)
                .map(Some)
                .map_err(|error| error.to_string().replace(" at line 1 column", " at column"))
        });
        let place = || format!("{}:{}", path.display(), index + 1);
        record
            .map_err(|error| format!("{}: {error}", place()))
            .transpose()
    });
    Ok(stop_at_error(records))
}

/// A compressed file that is cut short gives the same error for ever.
fn stop_at_error<T>(
    items: impl Iterator<Item = Result<T, String>>,
) -> impl Iterator<Item = Result<T, String>> {
    items.scan(false, |failed, item| {
        let stop = *failed;
        *failed = item.is_err();
        (!stop).then_some(item)
    })
}

/// Compressed files are known by their first two bytes, whatever their name.
fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = fs::File::open(path)?;
    let mut magic = Vec::new();
    file.by_ref().take(2).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(match magic.as_slice() {
        [0x1f, 0x8b] => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        _ => Box::new(BufReader::new(file)),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
                "utf-8.jsonl:1: stream did not contain valid UTF-8",
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
