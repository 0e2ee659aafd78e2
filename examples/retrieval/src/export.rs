//! Collections in BEIR layout, for other programs to read.

use std::{fmt::Write, fs, path::Path};

use serde_json::json;

use crate::collection::{Collection, Query};

impl Collection {
    /// Writes `corpus.jsonl`, `queries.jsonl`, `qrels/train.tsv` and `qrels/test.tsv` to
    /// a folder, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
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
            fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
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
        fs::remove_dir_all(&folder).unwrap();

        let documents = |collection: &Collection| -> Vec<[String; 2]> {
            let documents = collection.documents.iter();
            // An empty title and a space come before a text that is read.
            let document = |d: &crate::Document| [d.id.clone(), d.text.trim().into()];
            documents.map(document).collect()
        };
        assert_eq!(documents(&read), documents(&written));
        let queries = |collection: &Collection| -> Vec<(String, String, Vec<(usize, i32)>)> {
            let queries = collection.train.iter().chain(&collection.test);
            let query = |q: &Query| (q.id.clone(), q.text.clone(), q.judgements.clone());
            queries.map(query).collect()
        };
        assert_eq!(queries(&read), queries(&written));
    }
}
