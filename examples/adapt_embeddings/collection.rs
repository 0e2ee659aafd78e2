//! Vectors of queries and documents, and what is relevant to what.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fs,
    path::{Path, PathBuf},
};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use retrieval::{Document, Query};

use crate::matrix::Matrix;

/// What an adapter is trained and measured on.
pub struct Collection {
    pub queries: Matrix,
    pub documents: Matrix,
    /// The documents by their ids, in the order of the rows.
    pub names: Vec<Document>,
    pub train: Judgements,
    /// Queries that no adapter is trained on.
    pub held_out: Judgements,
}

/// Queries that were judged.
#[derive(Default)]
pub struct Judgements {
    pub queries: Vec<Query>,
    /// The row of each among the vectors of queries.
    pub rows: Vec<usize>,
}

/// Where a collection lies.
pub struct Files<'a> {
    pub queries: &'a Path,
    pub query_ids: &'a Path,
    pub documents: &'a Path,
    pub document_ids: &'a Path,
    pub train: &'a Path,
    /// `None` holds a fifth of the train queries out.
    pub held_out: Option<&'a Path>,
}

impl Collection {
    /// Reads all that is named.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or does not go with another. The error names the file, and the
    /// line or the row if there is one.
    pub fn read(files: &Files<'_>, seed: u64) -> Result<Self, String> {
        let queries = Vectors::read(files.queries, files.query_ids)?;
        let documents = Vectors::read(files.documents, files.document_ids)?;
        if queries.matrix.columns != documents.matrix.columns {
            return Err(format!(
                "{} has vectors of {} dimensions, {} of {}: expected the same model's",
                files.queries.display(),
                queries.matrix.columns,
                files.documents.display(),
                documents.matrix.columns
            ));
        }
        let read = |path| Judgements::read(path, &queries, &documents);
        let train = read(files.train)?;
        let (train, held_out) = match files.held_out {
            None => {
                let parts = train.split(seed);
                parts.map_err(|error| format!("{}: {error}", files.train.display()))?
            }
            Some(path) => {
                let held_out = read(path)?;
                held_out
                    .are_no_queries_of(&train)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                (train, held_out)
            }
        };
        Ok(Self {
            names: documents.ids.into_iter().map(named).collect(),
            queries: queries.matrix,
            documents: documents.matrix,
            train,
            held_out,
        })
    }
}

/// A document whose text is of no interest.
pub fn named(id: String) -> Document {
    Document {
        id,
        text: String::new(),
    }
}

/// Vectors with their ids.
struct Vectors {
    matrix: Matrix,
    ids: Vec<String>,
    ids_path: PathBuf,
    /// By id.
    rows: HashMap<String, usize>,
}

impl Vectors {
    fn read(path: &Path, ids_path: &Path) -> Result<Self, String> {
        let mut ids = Vec::new();
        let mut rows = HashMap::new();
        for_each_line(ids_path, |line| {
            let id = line.trim();
            if id.is_empty() {
                return Err("expected an id, got an empty line".into());
            }
            if let Some(row) = rows.insert(id.to_string(), ids.len()) {
                return Err(format!("id {id:?} is that of row {row}, too"));
            }
            ids.push(id.to_string());
            Ok(())
        })?;
        let matrix = Matrix::read(path)?;
        if matrix.rows != ids.len() {
            return Err(format!(
                "{} has {} rows, {} has {} ids: expected one for each",
                path.display(),
                matrix.rows,
                ids_path.display(),
                ids.len()
            ));
        }
        let mut vectors = matrix.values.chunks_exact(matrix.columns).zip(&ids);
        let wrong = vectors.position(|(vector, _)| vector.iter().any(|x| !x.is_finite()));
        if let Some(row) = wrong {
            let vector = &matrix.values[row * matrix.columns..][..matrix.columns];
            let place = vector.iter().position(|x| !x.is_finite()).unwrap_or(0);
            return Err(format!(
                "{}: row {row} ({:?}) has {} in column {place}: expected finite numbers",
                path.display(),
                ids[row],
                vector[place]
            ));
        }
        Ok(Self {
            matrix,
            ids,
            ids_path: ids_path.to_path_buf(),
            rows,
        })
    }

    fn row(&self, id: &str, what: &str) -> Result<usize, String> {
        let row = self.rows.get(id).copied();
        row.ok_or_else(|| format!("{what} {id:?} is not in {}", self.ids_path.display()))
    }
}

impl Judgements {
    /// Judgements as BEIR has them: a line with query-id, corpus-id and score, separated by tabs.
    /// A score above 0 is relevant.
    fn read(path: &Path, queries: &Vectors, documents: &Vectors) -> Result<Self, String> {
        // In the order of the file, so that nothing depends on the order of a map.
        let mut judgements = Self::default();
        let mut places = HashMap::new();
        let mut scores = HashMap::new();
        let mut header = true;
        for_each_line(path, |line| {
            if line.trim().is_empty() {
                return Ok(());
            }
            let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
            let &[query_id, document_id, score] = columns.as_slice() else {
                return Err(format!(
                    "expected query-id, corpus-id and score with tabs between them, got {} columns",
                    columns.len()
                ));
            };
            if std::mem::take(&mut header) && (query_id, document_id) == ("query-id", "corpus-id") {
                return Ok(());
            }
            let query = queries.row(query_id, "query")?;
            let document = documents.row(document_id, "document")?;
            let score: i32 = score
                .parse()
                .map_err(|_| format!("expected an integer as the score, got {score:?}"))?;
            match scores.entry((query, document)) {
                Entry::Occupied(entry) if *entry.get() == score => return Ok(()),
                Entry::Occupied(entry) => {
                    return Err(format!(
                        "query {query_id:?} and document {document_id:?} have score {} above, \
                         {score} here",
                        entry.get()
                    ));
                }
                Entry::Vacant(entry) => entry.insert(score),
            };
            let place = *places
                .entry(query)
                .or_insert_with(|| judgements.push(query_id, query));
            judgements.queries[place].judgements.push((document, score));
            Ok(())
        })?;
        if judgements.queries.iter().all(|q| q.relevant().is_empty()) {
            return Err(format!("{}: no score is above 0", path.display()));
        }
        Ok(judgements)
    }

    fn push(&mut self, id: &str, row: usize) -> usize {
        self.queries.push(Query {
            id: id.to_string(),
            text: String::new(),
            judgements: Vec::new(),
        });
        self.rows.push(row);
        self.rows.len() - 1
    }

    /// Train queries, and a fifth of them held out.
    fn split(self, seed: u64) -> Result<(Self, Self), String> {
        let mut queries: Vec<(Query, usize)> = self.queries.into_iter().zip(self.rows).collect();
        queries.retain(|(query, _)| !query.relevant().is_empty());
        if queries.len() < 2 {
            return Err(
                "expected two queries or more with a relevant document, of which \
                        one is held out"
                    .into(),
            );
        }
        queries.shuffle(&mut StdRng::seed_from_u64(seed));
        let train = queries.split_off(queries.len().div_ceil(5));
        let part = |queries: Vec<(Query, usize)>| {
            let (queries, rows) = queries.into_iter().unzip();
            Self { queries, rows }
        };
        Ok((part(train), part(queries)))
    }

    fn are_no_queries_of(&self, train: &Self) -> Result<(), String> {
        let trained: HashSet<&usize> = train.rows.iter().collect();
        let both = self.rows.iter().position(|row| trained.contains(row));
        match both {
            None => Ok(()),
            Some(place) => Err(format!(
                "query {:?} is trained on, too: expected other queries to measure with",
                self.queries[place].id
            )),
        }
    }
}

/// Calls `each` with every line. Errors get the file and the line.
fn for_each_line(
    path: &Path,
    mut each: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // Editors on Windows begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for (index, line) in text.lines().enumerate() {
        each(line).map_err(|error| format!("{}:{}: {error}", path.display(), index + 1))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Folder;

    const QRELS: &str = "query-id\tcorpus-id\tscore\n\
                         q1\td1\t1\n\
                         q1\td3\t2\n\
                         q2\td2\t1\n";

    /// A folder with two queries and three documents.
    fn folder(name: &str) -> Folder {
        let folder = Folder::new(name);
        write(&folder, "queries.npy", 2, &[1.0, 0.0, 0.0, 1.0]);
        write(&folder, "documents.npy", 3, &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5]);
        folder.write("queries.txt", "q1\nq2\n");
        folder.write("documents.txt", "d1\nd2\nd3\n");
        folder.write("train.tsv", QRELS);
        folder
    }

    fn write(folder: &Folder, name: &str, rows: usize, values: &[f32]) {
        let matrix = Matrix {
            values: values.to_vec(),
            rows,
            columns: values.len() / rows,
        };
        matrix.write(&folder.path(name)).unwrap();
    }

    fn read(folder: &Folder, held_out: Option<&str>) -> Result<Collection, String> {
        let held_out = held_out.map(|name| folder.path(name));
        let files = Files {
            queries: &folder.path("queries.npy"),
            query_ids: &folder.path("queries.txt"),
            documents: &folder.path("documents.npy"),
            document_ids: &folder.path("documents.txt"),
            train: &folder.path("train.tsv"),
            held_out: held_out.as_deref(),
        };
        Collection::read(&files, 1).map_err(|error| folder.short(&error))
    }

    /// The error after one file has been replaced.
    #[track_caller]
    fn assert_error(name: &str, file: &str, content: &str, expected: &str) {
        let folder = folder(name);
        folder.write(file, content);
        assert_eq!(read(&folder, None).err().as_deref(), Some(expected));
    }

    #[test]
    fn judgements_name_rows() {
        let folder = folder("rows");
        folder.write(
            "train.tsv",
            "query-id\tcorpus-id\tscore\nq2\td3\t1\nq2\td1\t0\n",
        );
        folder.write("test.tsv", "q1\td2\t1\n");
        let collection = read(&folder, Some("test.tsv")).unwrap();
        assert_eq!(collection.train.rows, [1]);
        assert_eq!(collection.train.queries[0].judgements, [(2, 1), (0, 0)]);
        assert_eq!(collection.train.queries[0].relevant(), [2]);
        assert_eq!(collection.held_out.rows, [0]);
        let names: Vec<&str> = collection.names.iter().map(|d| d.id.as_str()).collect();
        assert_eq!(names, ["d1", "d2", "d3"]);
    }

    #[test]
    fn a_fifth_is_held_out_where_no_file_is_named() {
        let mut judgements = Judgements::default();
        for row in 0..50 {
            let place = judgements.push(&row.to_string(), row);
            judgements.queries[place].judgements.push((0, 1));
        }
        let (train, held_out) = judgements.split(7).unwrap();
        assert_eq!((train.rows.len(), held_out.rows.len()), (40, 10));
        assert!(held_out.are_no_queries_of(&train).is_ok());
        for part in [&train, &held_out] {
            let ids = part.queries.iter().zip(&part.rows);
            assert!(
                ids.into_iter()
                    .all(|(query, row)| query.id == row.to_string())
            );
        }

        let mut one = Judgements::default();
        one.push("q1", 0);
        assert!(one.split(7).is_err());
    }

    #[test]
    fn files_of_windows_are_read() {
        let folder = folder("windows");
        folder.write("queries.txt", "\u{feff}q1\r\nq2\r\n");
        folder.write("train.tsv", QRELS.replace('\n', "\r\n"));
        let collection = read(&folder, None).unwrap();
        assert_eq!(
            (collection.train.rows.len(), collection.held_out.rows.len()),
            (1, 1)
        );
    }

    #[test]
    fn ids_must_be_one_for_each_row() {
        assert_error(
            "count",
            "documents.txt",
            "d1\nd2\n",
            "documents.npy has 3 rows, documents.txt has 2 ids: expected one for each",
        );
        assert_error(
            "twice",
            "documents.txt",
            "d1\nd2\nd1\n",
            "documents.txt:3: id \"d1\" is that of row 0, too",
        );
        assert_error(
            "empty",
            "documents.txt",
            "d1\n\nd3\n",
            "documents.txt:2: expected an id, got an empty line",
        );
    }

    #[test]
    fn dimensions_must_be_the_same() {
        let folder = folder("dimensions");
        write(&folder, "queries.npy", 2, &[1.0; 6]);
        assert_eq!(
            read(&folder, None).err().as_deref(),
            Some(
                "queries.npy has vectors of 3 dimensions, documents.npy of 2: \
                 expected the same model's"
            )
        );
    }

    #[test]
    fn numbers_must_be_finite() {
        for (value, told) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            let folder = folder("finite");
            write(
                &folder,
                "documents.npy",
                3,
                &[1.0, 0.0, 0.0, value, 0.5, value],
            );
            let expected = format!(
                "documents.npy: row 1 (\"d2\") has {told} in column 1: expected finite numbers"
            );
            assert_eq!(read(&folder, None).err(), Some(expected));
        }
    }

    #[test]
    fn judgements_must_be_of_what_is_there() {
        assert_error(
            "query",
            "train.tsv",
            "q1\td1\t1\nq9\td1\t1\n",
            "train.tsv:2: query \"q9\" is not in queries.txt",
        );
        assert_error(
            "document",
            "train.tsv",
            "q1\td9\t1\n",
            "train.tsv:1: document \"d9\" is not in documents.txt",
        );
        assert_error(
            "columns",
            "train.tsv",
            "q1 0 d1 1\n",
            "train.tsv:1: expected query-id, corpus-id and score with tabs between them, \
             got 1 columns",
        );
        assert_error(
            "score",
            "train.tsv",
            "q1\td1\thigh\n",
            "train.tsv:1: expected an integer as the score, got \"high\"",
        );
        assert_error(
            "contradiction",
            "train.tsv",
            "q1\td1\t1\nq1\td1\t1\nq1\td1\t2\n",
            "train.tsv:3: query \"q1\" and document \"d1\" have score 1 above, 2 here",
        );
        assert_error(
            "nothing",
            "train.tsv",
            "q1\td1\t0\n",
            "train.tsv: no score is above 0",
        );
    }

    #[test]
    fn no_query_is_trained_on_and_measured() {
        let folder = folder("both");
        folder.write("test.tsv", "q2\td1\t1\n");
        assert_eq!(
            read(&folder, Some("test.tsv")).err().as_deref(),
            Some(
                "test.tsv: query \"q2\" is trained on, too: \
                 expected other queries to measure with"
            )
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(&folder("missing"), Some("test.tsv")).err().unwrap();
        assert!(error.starts_with("test.tsv: "), "{error}");
    }
}
