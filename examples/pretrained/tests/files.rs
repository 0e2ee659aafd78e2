//! Models in folders: read, written, damaged.

mod tiny;

use std::{fs, path::PathBuf};

use burn::tensor::Device;
use pretrained::{Pretrained, Tokens};

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("pretrained-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_written_model_is_read_again() {
    let first = folder("written");
    tiny::write(&first);
    let model = Pretrained::open(&first).unwrap();
    let device = Device::default();
    let encoder = model.encoder(&device).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let text = tokenizer.tokenize("two words").unwrap();
    let texts: [&Tokens; 1] = [&text];
    let before = encoder.encode(&texts, 100).into_data();

    let second = folder("written-again");
    model.save(&encoder, &second).unwrap();
    let again = Pretrained::open(&second).unwrap();
    assert_eq!(again.options, model.options);
    let after = again
        .encoder(&device)
        .unwrap()
        .encode(&texts, 100)
        .into_data();
    assert_eq!(before, after);
}
