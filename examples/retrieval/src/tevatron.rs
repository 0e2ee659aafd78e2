//! Tevatron's JSON lines, plain or compressed: a query, its positive and its negative
//! passages a line.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

/// What a line may take, so that a few compressed bytes cannot fill the memory.
const LONGEST_LINE: u64 = 256 << 20;

/// A query with its passages.
#[derive(Debug)]
pub struct Record {
    /// The text of the query.
    pub query: String,
    /// The relevant passages.
    pub positives: Vec<Passage>,
    /// Passages that were judged, or mined, as not relevant.
    pub negatives: Vec<Passage>,
}

/// A text with the id of its document.
#[derive(Debug, Deserialize)]
#[serde(from = "PassageLine")]
pub struct Passage {
    /// Numbers are written in decimals.
    pub id: String,
    /// The title, a space, and the text.
    pub text: String,
}

#[derive(Deserialize)]
struct Line {
    query: String,
    positive_passages: Vec<Passage>,
    #[serde(default)]
    negative_passages: Vec<Passage>,
}

#[derive(Deserialize)]
struct PassageLine {
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

impl From<PassageLine> for Passage {
    fn from(line: PassageLine) -> Self {
        Self {
            id: match line.docid {
                Id::Text(id) => id,
                Id::Number(id) => id.to_string(),
            },
            text: [line.title.unwrap_or_default(), line.text].join(" "),
        }
    }
}

/// Reads a file line by line; blank lines are skipped.
///
/// # Errors
///
/// The file cannot be opened. A line that cannot be read is an error in its place, with
/// the file and the line; it is the last item.
pub fn records(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Record, String>> + use<>, String> {
    let file = open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let path = path.to_path_buf();
    let records = lines(file, LONGEST_LINE).enumerate();
    let records = records.filter_map(move |(index, line)| {
        let record = line.and_then(|line| parse(&line));
        record
            .map_err(|error| format!("{}:{}: {error}", path.display(), index + 1))
            .transpose()
    });
    Ok(stop_at_error(records))
}

fn parse(line: &[u8]) -> Result<Option<Record>, String> {
    let line = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.is_empty() {
        return Ok(None);
    }
    // serde_json counts lines too, from the start of the string it is given.
    let line: Line = serde_json::from_str(line)
        .map_err(|error| error.to_string().replace(" at line 1 column", " at column"))?;
    Ok(Some(Record {
        query: line.query,
        positives: line.positive_passages,
        negatives: line.negative_passages,
    }))
}

fn lines(mut file: impl BufRead, longest: u64) -> impl Iterator<Item = Result<Vec<u8>, String>> {
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = file.by_ref().take(longest).read_until(b'\n', &mut line);
        match read {
            Err(error) => Some(Err(error.to_string())),
            Ok(0) => None,
            Ok(bytes) if bytes as u64 == longest && !line.ends_with(b"\n") => {
                Some(Err(format!("expected a line of less than {longest} bytes")))
            }
            Ok(_) => Some(Ok(line)),
        }
    })
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
    use super::*;

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let lines: Vec<_> = lines(&b"1234\n12345"[..], 5).collect();
        assert_eq!(lines[0], Ok(b"1234\n".to_vec()));
        assert_eq!(
            lines[1],
            Err("expected a line of less than 5 bytes".to_string())
        );
    }
}
