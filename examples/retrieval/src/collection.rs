//! Test collections: documents, and queries with relevance judgements.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use serde::Deserialize;

/// A document that queries can find.
pub struct Document {
    /// Its name in judgements and runs.
    pub id: String,
    /// Title and text.
    pub text: String,
}

/// A query and the documents that were judged for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Its name in judgements and runs.
    pub id: String,
    /// What is asked.
    pub text: String,
    /// Index into [`Collection::documents`] and grade, each document once.
    pub judgements: Vec<(usize, i32)>,
}

impl Query {
    /// The documents judged relevant; a grade of zero or below says "judged, and not
    /// relevant".
    pub fn relevant(&self) -> Vec<usize> {
        let relevant = self.judgements.iter().filter(|(_, grade)| *grade > 0);
        relevant.map(|(document, _)| *document).collect()
    }
}

/// Documents, and queries to train on and to measure retrieval with.
///
/// [`Collection::load`] reads one in BEIR layout, [`Collection::generate`] makes one up.
pub struct Collection {
    /// All that a query is compared with.
    pub documents: Vec<Document>,
    /// The queries of the train split.
    pub train: Vec<Query>,
    /// The queries of the test splits.
    pub test: Vec<Query>,
}

// ---------------------------------------------------------------------------------------
// BEIR: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv
// ---------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "_id")]
    id: String,
    title: Option<String>,
    text: String,
}

impl Collection {
    /// Reads `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv` of a folder.
    /// `train_splits` and `test_splits` are names of splits with commas between them, taken
    /// as one.
    ///
    /// # Errors
    ///
    /// A file is missing, a line of it cannot be read, a split has no relevant document,
    /// or a query is in two splits that are taken as one. The error names the file, and
    /// the line if there is one.
    pub fn load(directory: &Path, train_splits: &str, test_splits: &str) -> Result<Self, String> {
        let (document_ids, records) = read_records(&directory.join("corpus.jsonl"))?;
        let (query_ids, queries) = read_records(&directory.join("queries.jsonl"))?;
        let split = |name: &str| -> Result<Vec<Query>, String> {
            let path = directory.join("qrels").join(format!("{name}.tsv"));
            read_judgements(&path, &queries, &query_ids, &document_ids)
        };
        let all = |names: &str| -> Result<Vec<Query>, String> {
            let mut all: Vec<Query> = Vec::new();
            let mut seen = HashSet::new();
            for name in names.split(',') {
                let queries = split(name)?;
                if let Some(query) = queries.iter().find(|query| seen.contains(&query.id)) {
                    return Err(format!(
                        "{}: query {:?} is in two of the splits {names}",
                        directory.display(),
                        query.id
                    ));
                }
                seen.extend(queries.iter().map(|query| query.id.clone()));
                all.extend(queries);
            }
            Ok(all)
        };
        let (train, test) = (all(train_splits)?, all(test_splits)?);
        let documents = records
            .into_iter()
            .map(|Record { id, title, text }| Document {
                id,
                text: [title.unwrap_or_default(), text].join(" "),
            })
            .collect();
        Ok(Self {
            documents,
            train,
            test,
        })
    }
}

/// Reads a file of judgements of the queries and the documents of a folder, such as those
/// of another annotator.
///
/// # Errors
///
/// As those of [`Collection::load`].
pub fn load_judgements(directory: &Path, path: &Path) -> Result<Vec<Query>, String> {
    let (document_ids, _) = read_records(&directory.join("corpus.jsonl"))?;
    let (query_ids, queries) = read_records(&directory.join("queries.jsonl"))?;
    read_judgements(path, &queries, &query_ids, &document_ids)
}

/// Calls `each` with every line that is not blank; errors get the file and the line.
/// Returns the place to name when something is missing from the whole file: its end.
fn for_each_line(
    path: &Path,
    mut each: impl FnMut(&str) -> Result<(), String>,
) -> Result<String, String> {
    let mut lines = 1;
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for (index, line) in BufReader::new(file).lines().enumerate() {
        line.map_err(|error| error.to_string())
            .and_then(|line| {
                // Files edited on Windows start with a byte order mark and end lines in
                // "\r\n".
                let line = line.strip_prefix('\u{feff}').unwrap_or(&line);
                let line = line.strip_suffix('\r').unwrap_or(line);
                if line.trim().is_empty() {
                    return Ok(());
                }
                each(line)
            })
            .map_err(|error| format!("{}:{}: {error}", path.display(), index + 1))?;
        lines = index + 1;
    }
    Ok(format!("{}:{lines}", path.display()))
}

fn read_records(path: &Path) -> Result<(HashMap<String, usize>, Vec<Record>), String> {
    let mut ids = HashMap::new();
    let mut records = Vec::new();
    let end = for_each_line(path, |line| {
        // serde_json counts lines too, from the start of the string it is given: always
        // line 1.
        let record: Record = serde_json::from_str(line)
            .map_err(|error| error.to_string().replace(" at line 1 column", " at column"))?;
        match ids.entry(record.id.clone()) {
            Entry::Occupied(_) => return Err(format!("id {:?} occurs twice", record.id)),
            Entry::Vacant(entry) => entry.insert(records.len()),
        };
        records.push(record);
        Ok(())
    })?;
    if records.is_empty() {
        return Err(format!("{end}: the file ends without an entry"));
    }
    Ok((ids, records))
}

fn read_judgements(
    path: &Path,
    records: &[Record],
    query_ids: &HashMap<String, usize>,
    document_ids: &HashMap<String, usize>,
) -> Result<Vec<Query>, String> {
    // Queries in the order of the file, so that nothing depends on a hash map's order.
    let mut queries: Vec<Query> = Vec::new();
    let mut position = HashMap::new();
    let mut grades = HashMap::new();
    let end = for_each_line(path, |line| {
        let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
        let &[query_id, document_id, grade] = columns.as_slice() else {
            return Err(format!(
                "expected 3 columns separated by tabs (query-id, corpus-id, score), got {}",
                columns.len()
            ));
        };
        if grades.is_empty() && (query_id, document_id) == ("query-id", "corpus-id") {
            return Ok(());
        }
        let query = *query_ids
            .get(query_id)
            .ok_or_else(|| format!("query {query_id:?} is not in queries.jsonl"))?;
        let document = *document_ids
            .get(document_id)
            .ok_or_else(|| format!("document {document_id:?} is not in corpus.jsonl"))?;
        let grade: i32 = grade
            .parse()
            .map_err(|_| format!("score {grade:?} is not an integer"))?;
        match grades.entry((query, document)) {
            Entry::Occupied(entry) if *entry.get() == grade => return Ok(()),
            Entry::Occupied(entry) => {
                return Err(format!(
                    "query {query_id:?} and document {document_id:?} were judged {} before, {grade} here",
                    entry.get()
                ));
            }
            Entry::Vacant(entry) => entry.insert(grade),
        };
        let position = *position.entry(query).or_insert_with(|| {
            queries.push(Query {
                id: query_id.to_string(),
                text: records[query].text.clone(),
                judgements: Vec::new(),
            });
            queries.len() - 1
        });
        queries[position].judgements.push((document, grade));
        Ok(())
    })?;
    if queries.iter().all(|query| query.relevant().is_empty()) {
        return Err(format!(
            "{end}: the file ends without a score above 0: an empty split"
        ));
    }
    Ok(queries)
}

// ---------------------------------------------------------------------------------------
// The embedded collection
// ---------------------------------------------------------------------------------------

const TOPICS: usize = 60;
const ASPECTS: usize = 20;
const ASPECTS_PER_TOPIC: usize = 6;
const DOCUMENTS_PER_ASPECT: usize = 4;
const TRAIN_QUERIES_PER_TOPIC: usize = 20;
const TEST_QUERIES_PER_TOPIC: usize = 5;

/// A topic or an aspect, and what it is called by those who write and by those who ask.
struct Concept {
    written: Vec<String>,
    asked: Vec<String>,
}

impl Collection {
    /// The embedded collection: made-up text about 60 topics with 6 aspects each, of 20
    /// that topics share. Think of "bridges: cost", "bridges: safety", "dams: cost",
    /// "dams: history". It never changes.
    ///
    /// A document is about one aspect of a topic, four documents to each. It names both
    /// in *written* words, and mentions other topics and aspects. A query is about one or
    /// two aspects of a topic, and names them in *asked* words; relevant are the four or
    /// eight documents on these. Both contain common words, a few of them most of the
    /// time.
    ///
    /// Half of the asked words are written words as well, so counting common words finds
    /// some of the answers. The other half no document contains, and all of them mean
    /// several things: one must learn from the train queries what they stand for, and
    /// find what two of them have in common. One aspect of every topic is asked for in
    /// test queries only; it can be found by putting together what other queries taught
    /// about the topic and about the aspect.
    pub fn generate() -> Self {
        let mut rng = StdRng::seed_from_u64(0);
        let mut taken = HashSet::new();
        let topics = concepts(TOPICS, &mut taken, &mut rng);
        let aspects = concepts(ASPECTS, &mut taken, &mut rng);
        let common = invent(300, &mut taken, &mut rng);
        let aspects_of: Vec<Vec<&Concept>> = (0..TOPICS)
            .map(|_| {
                aspects
                    .choose_multiple(&mut rng, ASPECTS_PER_TOPIC)
                    .collect()
            })
            .collect();

        let mut documents = Vec::new();
        for (topic, its_aspects) in topics.iter().zip(&aspects_of) {
            for aspect in its_aspects {
                for _ in 0..DOCUMENTS_PER_ASPECT {
                    let mut words = Vec::new();
                    for _ in 0..6 {
                        words.extend(topic.written.choose(&mut rng));
                        words.extend(aspect.written.choose(&mut rng));
                    }
                    for _ in 0..3 {
                        words.extend(anything(&topics, &mut rng).written.choose(&mut rng));
                        words.extend(anything(&aspects, &mut rng).written.choose(&mut rng));
                    }
                    words.extend((0..10).map(|_| frequent(&common, &mut rng)));
                    documents.push(Document {
                        id: format!("d{}", documents.len()),
                        text: shuffled(words, &mut rng),
                    });
                }
            }
        }

        let mut queries = |prefix: &str, per_topic: usize, aspects_asked: usize| -> Vec<Query> {
            let mut queries = Vec::new();
            for (t, topic) in topics.iter().enumerate() {
                for _ in 0..per_topic {
                    let mut words: Vec<&String> =
                        topic.asked.choose_multiple(&mut rng, 2).collect();
                    let mut judgements = Vec::new();
                    let asked = rng.random_range(1..=2);
                    for a in rand::seq::index::sample(&mut rng, aspects_asked, asked) {
                        words.extend(aspects_of[t][a].asked.choose_multiple(&mut rng, 2));
                        let first = (t * ASPECTS_PER_TOPIC + a) * DOCUMENTS_PER_ASPECT;
                        judgements.extend((first..first + DOCUMENTS_PER_ASPECT).map(|d| (d, 1)));
                    }
                    words.push(frequent(&common, &mut rng));
                    queries.push(Query {
                        id: format!("{prefix}{}", queries.len()),
                        text: shuffled(words, &mut rng),
                        judgements,
                    });
                }
            }
            queries
        };
        let train = queries("train", TRAIN_QUERIES_PER_TOPIC, ASPECTS_PER_TOPIC - 1);
        let test = queries("test", TEST_QUERIES_PER_TOPIC, ASPECTS_PER_TOPIC);
        Self {
            documents,
            train,
            test,
        }
    }
}

/// Concepts whose words are drawn from so small a stock that a word means two things on
/// average where it is written, and three where it is only asked.
fn concepts(count: usize, taken: &mut HashSet<String>, rng: &mut StdRng) -> Vec<Concept> {
    let written_stock = invent(3 * count, taken, rng);
    let asked_stock = invent(count, taken, rng);
    let concept = |_| {
        let written: Vec<String> = written_stock.choose_multiple(rng, 6).cloned().collect();
        let mut asked: Vec<String> = asked_stock.choose_multiple(rng, 3).cloned().collect();
        asked.extend_from_slice(&written[..3]);
        Concept { written, asked }
    };
    (0..count).map(concept).collect()
}

/// New words of three syllables.
fn invent(count: usize, taken: &mut HashSet<String>, rng: &mut StdRng) -> Vec<String> {
    let mut words = Vec::new();
    while words.len() < count {
        let mut word = String::new();
        for _ in 0..3 {
            word.push(char::from(*anything(b"bdfgklmnprstvz", rng)));
            word.push(char::from(*anything(b"aeiou", rng)));
        }
        if taken.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

fn anything<'a, T>(items: &'a [T], rng: &mut StdRng) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

/// Zipf's law: the logarithm of the rank is uniform.
fn frequent<'a>(words: &'a [String], rng: &mut StdRng) -> &'a String {
    let rank = (words.len() as f64).powf(rng.random::<f64>());
    &words[rank as usize - 1]
}

fn shuffled(mut words: Vec<&String>, rng: &mut StdRng) -> String {
    words.shuffle(rng);
    let words: Vec<&str> = words.into_iter().map(String::as_str).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CORPUS: &str = "{\"_id\": \"d1\", \"title\": \"a\", \"text\": \"b\"}\n\
                          {\"_id\": \"d2\", \"text\": \"c\"}\n";
    const QUERIES: &str = "{\"_id\": \"q1\", \"text\": \"d\"}\n\
                           {\"_id\": \"q2\", \"text\": \"e\"}\n";
    const QRELS: &str = "query-id\tcorpus-id\tscore\nq1\td2\t1\n";

    fn load(
        name: &str,
        corpus: impl AsRef<[u8]>,
        queries: &str,
        qrels: &str,
    ) -> Result<Collection, String> {
        load_split(name, corpus, queries, qrels, "train")
    }

    /// Loads a collection of these files; in the error the folder is left out.
    fn load_split(
        name: &str,
        corpus: impl AsRef<[u8]>,
        queries: &str,
        qrels: &str,
        test_split: &str,
    ) -> Result<Collection, String> {
        let folder = format!("burn-multi-positive-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(folder.join("qrels")).unwrap();
        fs::write(folder.join("corpus.jsonl"), corpus).unwrap();
        fs::write(folder.join("queries.jsonl"), queries).unwrap();
        fs::write(folder.join("qrels").join("train.tsv"), qrels).unwrap();
        let collection = Collection::load(&folder, "train", test_split);
        fs::remove_dir_all(&folder).unwrap();
        let folder = format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR);
        collection.map_err(|error| error.replace(&folder, "").replace('\\', "/"))
    }

    #[track_caller]
    fn assert_error(collection: Result<Collection, String>, expected: &str) {
        assert_eq!(collection.err().as_deref(), Some(expected));
    }

    #[test]
    fn unjudged_queries_and_documents_are_fine() {
        let Collection {
            documents, train, ..
        } = load("unjudged", CORPUS, QUERIES, QRELS).unwrap();
        assert_eq!(documents[0].text, "a b");
        assert_eq!((documents.len(), train.len()), (2, 1));
        assert_eq!((train[0].id.as_str(), train[0].text.as_str()), ("q1", "d"));
        assert_eq!(train[0].judgements, [(1, 1)]);
    }

    #[test]
    fn byte_order_marks_carriage_returns_blank_lines_and_unknown_keys_are_read_over() {
        let corpus = format!("\u{feff}{CORPUS}").replace('\n', "\r\n\r\n");
        let queries = QUERIES.replace('}', ", \"metadata\": {\"x\": [1]}}");
        let qrels = format!("\u{feff}\r\n{QRELS}\r\n  \r\n").replace("1\n", "1 \r\n");
        let collection = load("marks", corpus, &queries, &qrels).unwrap();
        assert_eq!(collection.documents.len(), 2);
        assert_eq!(collection.train[0].judgements, [(1, 1)]);
    }

    #[test]
    fn judgements_need_no_header_and_may_repeat() {
        let collection = load("repeat", CORPUS, QUERIES, "q1\td2\t1\nq1\td2\t1").unwrap();
        assert_eq!(collection.train[0].judgements, [(1, 1)]);
    }

    #[test]
    fn scores_up_to_zero_are_not_relevant() {
        let qrels = format!("{QRELS}q1\td1\t0\nq2\td1\t-1\n");
        let collection = load("zero", CORPUS, QUERIES, &qrels).unwrap();
        assert_eq!(collection.train[0].relevant(), [1]);
        assert!(collection.train[1].relevant().is_empty());
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = Path::new("no such folder");
        let error = Collection::load(folder, "train", "test").err().unwrap();
        let path = folder.join("corpus.jsonl").display().to_string();
        assert!(error.starts_with(&path), "{error}");
    }

    #[test]
    fn a_missing_split_is_named() {
        let error = load_split("split", CORPUS, QUERIES, QRELS, "dev")
            .err()
            .unwrap();
        assert!(error.starts_with("qrels/dev.tsv: "), "{error}");
    }

    #[test]
    fn a_malformed_document_is_named() {
        let corpus = format!("{CORPUS}\n{{\"_id\": \"d3\"}}\n");
        assert_error(
            load("document", corpus, QUERIES, QRELS),
            "corpus.jsonl:4: missing field `text` at column 13",
        );
    }

    #[test]
    fn text_that_is_not_utf_8_is_named() {
        assert_error(
            load(
                "utf-8",
                [CORPUS.as_bytes(), b"\xff\n"].concat(),
                QUERIES,
                QRELS,
            ),
            "corpus.jsonl:3: stream did not contain valid UTF-8",
        );
    }

    #[test]
    fn a_repeated_id_is_named() {
        assert_error(
            load("id", CORPUS.replace("d2", "d1"), QUERIES, QRELS),
            "corpus.jsonl:2: id \"d1\" occurs twice",
        );
    }

    #[test]
    fn an_empty_corpus_is_named() {
        assert_error(
            load("corpus", "\n", QUERIES, QRELS),
            "corpus.jsonl:1: the file ends without an entry",
        );
    }

    #[test]
    fn malformed_judgements_are_named() {
        let cases = [
            (
                "q1\td2",
                "expected 3 columns separated by tabs (query-id, corpus-id, score), got 2",
            ),
            (
                "q1\t0\td2\t1",
                "expected 3 columns separated by tabs (query-id, corpus-id, score), got 4",
            ),
            ("q1\td2\thigh", "score \"high\" is not an integer"),
            ("q3\td2\t1", "query \"q3\" is not in queries.jsonl"),
            ("q1\td3\t1", "document \"d3\" is not in corpus.jsonl"),
            (
                "q1\td2\t2",
                "query \"q1\" and document \"d2\" were judged 1 before, 2 here",
            ),
        ];
        for (line, error) in cases {
            assert_error(
                load("judgements", CORPUS, QUERIES, &format!("{QRELS}{line}\n")),
                &format!("qrels/train.tsv:3: {error}"),
            );
        }
    }

    #[test]
    fn a_split_without_a_relevant_document_is_empty() {
        for (qrels, line) in [("", 1), ("q1\td2\t0\nq1\td1\t-1\n", 2)] {
            assert_error(
                load("empty", CORPUS, QUERIES, qrels),
                &format!(
                    "qrels/train.tsv:{line}: the file ends without a score above 0: an empty split"
                ),
            );
        }
    }

    #[test]
    fn the_embedded_collection_is_always_the_same_and_its_queries_are_distinct() {
        let (one, two) = (Collection::generate(), Collection::generate());
        let texts = |collection: &Collection| -> Vec<String> {
            let documents = collection.documents.iter().map(|d| d.text.clone());
            let queries = collection.train.iter().chain(&collection.test);
            documents.chain(queries.map(|q| q.text.clone())).collect()
        };
        assert_eq!(texts(&one), texts(&two));

        let bag = |query: &Query| -> Vec<String> {
            let mut words: Vec<String> = query.text.split(' ').map(String::from).collect();
            words.sort();
            words
        };
        let train: HashSet<Vec<String>> = one.train.iter().map(bag).collect();
        assert!(one.test.iter().all(|query| !train.contains(&bag(query))));
    }
}
