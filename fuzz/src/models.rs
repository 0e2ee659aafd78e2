//! Folders of pretrained encoders of which one file is of other bytes.

use std::fs;

use burn::tensor::Device;
use pretrained::Pretrained;

use crate::folder::{Folder, assert_names, catch_panics};

thread_local! {
    static FOLDER: Folder = {
        let folder = Folder::new("model");
        tiny_bert::write(folder.path());
        folder
    };
}

/// The files that a folder may have; the first byte says which one the others are.
const FILES: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "modules.json",
    "1_Pooling/config.json",
];

/// Opens a folder with one file of these bytes, and embeds a text.
pub fn run(data: &[u8]) {
    catch_panics();
    let Some((which, content)) = data.split_first() else {
        return;
    };
    FOLDER.with(|folder| {
        let name = FILES[usize::from(*which) % FILES.len()];
        let path = folder.path().join(name);
        let before = fs::read(&path).ok();
        folder.write(name, content);
        let outcome = embed(folder);
        match before {
            Some(before) => drop(folder.write(name, &before)),
            None => fs::remove_file(&path).expect("the file that was written"),
        }
        if let Err(error) = outcome {
            assert_names(&error, folder);
        }
    });
}

fn embed(folder: &Folder) -> Result<(), String> {
    let pretrained = Pretrained::open(folder.path()).map_err(|error| error.to_string())?;
    let tokenizer = pretrained.tokenizer().map_err(|error| error.to_string())?;
    let encoder = pretrained
        .encoder(&Device::flex())
        .map_err(|error| error.to_string())?;
    let texts = ["ab c", "", "7"].map(|text| tokenizer.tokenize(text));
    let texts: Result<Vec<_>, String> = texts.into_iter().collect();
    let Ok(texts) = texts else {
        return Ok(());
    };
    let texts: Vec<_> = texts.iter().collect();
    let embeddings = encoder.encode(&texts, 64);
    assert_eq!(embeddings.dims()[0], texts.len());
    Ok(())
}

/// Each file as it is.
pub fn seeds() -> Vec<Vec<u8>> {
    let folder = Folder::new("seeds");
    tiny_bert::write(folder.path());
    let pooling = r#"{"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true}"#;
    let modules = concat!(
        r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, "#,
        r#"{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#,
    );
    let content = |name: &str| match name {
        "modules.json" => modules.into(),
        "1_Pooling/config.json" => pooling.into(),
        name => fs::read(folder.path().join(name)).expect("a file of the model"),
    };
    let files = FILES.iter().enumerate();
    files
        .map(|(which, name)| [vec![which as u8], content(name)].concat())
        .collect()
}
