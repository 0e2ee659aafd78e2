//! Files of Tevatron, plain and compressed.

use retrieval::tevatron::records;

use crate::folder::{Folder, assert_names};

thread_local! {
    static FOLDER: Folder = Folder::new("tevatron");
}

/// Reads a file to its end.
pub fn run(data: &[u8]) {
    FOLDER.with(|folder| {
        let path = folder.write("file.jsonl", data);
        let mut failed = false;
        for record in records(&path).expect("a file that is there") {
            assert!(!failed, "an item behind an error");
            if let Err(error) = record {
                assert_names(&error, folder);
                failed = true;
            }
        }
    });
}

/// Two queries; with ids that are numbers, and without negatives.
pub fn seeds() -> Vec<Vec<u8>> {
    let lines = concat!(
        r#"{"query_id": "1", "query": "red", "positive_passages": [{"docid": "a", "#,
        r#""title": "A", "text": "red"}], "negative_passages": [{"docid": 7, "text": "#,
        r#""blue"}]}"#,
        "\n\n",
        r#"{"query_id": "2", "query": "green", "positive_passages": []}"#,
        "\n"
    );
    // The first line, compressed by gzip without compression: a header, one block, and
    // no checksum that would hide all others behind it.
    let stored = |text: &[u8]| {
        let length = text.len() as u16;
        let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
        let [length, inverse] = [length.to_le_bytes(), (!length).to_le_bytes()];
        [&header, &length[..], &inverse, text].concat()
    };
    vec![lines.into(), stored(lines.as_bytes())]
}
