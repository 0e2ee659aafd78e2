//! Collections in BEIR layout, for other programs to read.

use std::{fmt::Write as _, fs, io, path::Path};

use serde_json::json;

use crate::collection::{Collection, Query};

impl Collection {
    /// Writes `corpus.jsonl`, `queries.jsonl`, `qrels/train.tsv` and `qrels/test.tsv` to
    /// a folder, which is made if it is not there. Ids must be without tabs, and no query in
    /// both splits, as in the generated collection. Who reads it finds a space, that behind
    /// an empty title, before each text.
    ///
    /// # Errors
    ///
    /// A file is there already with another content, or cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), String> {
        let lines = |records: &mut dyn Iterator<Item = (&str, &str)>| {
            let line = |(id, text)| format!("{}\n", json!({"_id": id, "text": text}));
            records.map(line).collect::<String>()
        };
        let documents = self.documents.iter();
        let queries = self.train.iter().chain(&self.test);
        let files = [
            (
                "corpus.jsonl",
                lines(&mut documents.map(|document| (&*document.id, &*document.text))),
            ),
            (
                "queries.jsonl",
                lines(&mut queries.map(|query| (&*query.id, &*query.text))),
            ),
            ("qrels/train.tsv", self.judgements(&self.train)),
            ("qrels/test.tsv", self.judgements(&self.test)),
        ];
        let folder = directory.join("qrels");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for (name, content) in files {
            let path = directory.join(name);
            // Those of an export that was interrupted are kept.
            let written = match fs::read(&path) {
                Ok(there) if there == content.as_bytes() => Ok(()),
                Ok(_) => Err(io::Error::other("is there already, with another content")),
                Err(_) => files::write(&path, content),
            };
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }

    fn judgements(&self, queries: &[Query]) -> String {
        let mut table = String::from("query-id\tcorpus-id\tscore\n");
        for query in queries {
            for (document, grade) in &query.judgements {
                let document = &self.documents[*document].id;
                writeln!(table, "{}\t{document}\t{grade}", query.id).expect("room in memory");
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = format!("burn-multi-positive-{}-export", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let written = Collection::generate();
        written.save(&folder).unwrap();
        let read = Collection::load(&folder, "train", "test").unwrap();
        // As an interrupted export leaves it.
        fs::remove_file(folder.join("queries.jsonl")).unwrap();
        written.save(&folder).unwrap();
        let again = Collection::load(&folder, "train", "test").unwrap();
        assert_eq!(again.train, read.train);
        fs::write(folder.join("corpus.jsonl"), "of somebody else").unwrap();
        let error = written.save(&folder).unwrap_err();
        assert!(
            error.ends_with("corpus.jsonl: is there already, with another content"),
            "{error}"
        );
        fs::remove_dir_all(&folder).unwrap();

        assert_eq!((&read.train, &read.test), (&written.train, &written.test));
        for (read, written) in read.documents.iter().zip(&written.documents) {
            // Between an empty title and the text is a space.
            let text = format!(" {}", written.text);
            assert_eq!((&read.id, &read.text), (&written.id, &text));
        }
        assert_eq!(read.documents.len(), written.documents.len());
    }
}
