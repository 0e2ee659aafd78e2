//! Models by name, from a hub on this machine.
#![cfg(feature = "hub")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use burn::tensor::Device;
use common::{Folder, rows, tokens};
use pretrained::Pretrained;
use serde_json::json;

const MODEL: &str = "someone/tiny-model";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

const TEXT: &str = "some words, and some more of them";

/// The vector that the program `embed` prints for [`TEXT`], or its error. The environment
/// is that process's own.
fn embedded(model: &str, hub: &str, cache: &Path, token: &str) -> Result<Vec<f32>, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embed"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    let mut process = command
        .arg(model)
        .env("HF_ENDPOINT", hub)
        .env("HF_HOME", cache)
        .env("HF_TOKEN", token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A process that refuses the model does not read.
    let _ = writeln!(process.stdin.take().unwrap(), "{TEXT}");
    let output = process.wait_with_output().unwrap();
    let [vectors, error] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    match output.status.success() {
        true => Ok(serde_json::from_str(&vectors).unwrap()),
        false => Err(error),
    }
}

/// The vector by the model of a folder.
fn expected(folder: &Path) -> Vec<f32> {
    let model = Pretrained::open(folder).unwrap();
    let encoder = model.encoder(&Device::default()).unwrap();
    let text = tokens(&model, &[TEXT]);
    rows(encoder.encode(&[&text[0]], 100)).remove(0)
}

struct Hub {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// Serves files by their paths, as long as the tests run.
    fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let request = answer(stream.unwrap(), &files);
                seen.lock().unwrap().extend(request);
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

/// Answers one request, with the range that is asked for. Gives the path and the
/// authorization.
fn answer(stream: TcpStream, files: &BTreeMap<String, Vec<u8>>) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split(' ').nth(1)?.to_string();
    let (mut range, mut token) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match name.to_lowercase().as_str() {
            "range" => range = value.into(),
            "authorization" => token = value.into(),
            _ => {}
        }
    }
    let file = path.strip_prefix(&format!("/{MODEL}/resolve/main/"));
    let mut stream = stream;
    let Some((place, bytes)) = file.and_then(|file| {
        let place = files.keys().position(|name| name == file)?;
        Some((place, &files[file]))
    }) else {
        let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer.as_bytes()).ok()?;
        return Some(format!("{path} {token}"));
    };
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let start: usize = start.parse().ok()?;
    let end = end.parse().map_or(bytes.len(), |end: usize| end + 1);
    let part = &bytes[start..end];
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nx-repo-commit: {COMMIT}\r\netag: \"file-{place}\"\r\n\
         content-range: bytes {start}-{}/{}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        end - 1,
        bytes.len(),
        part.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(part).ok()?;
    Some(format!("{path} {token}"))
}

fn files(folder: &Path, names: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let file = |name: &&str| (name.to_string(), fs::read(folder.join(name)).unwrap());
    names.iter().map(file).collect()
}

const REQUIRED: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

#[test]
fn a_model_is_downloaded_once() {
    let folder = Folder::tiny();
    let expected = expected(&folder);
    let hub = Hub::new(files(&folder, &REQUIRED));
    let cache = Folder::new();
    let embedded = |hub: &str, token| embedded(MODEL, hub, &cache, token).unwrap();
    assert_eq!(embedded(&hub.address, "secret"), expected);
    let requests = hub.requests();
    let weights = format!("/{MODEL}/resolve/main/model.safetensors Bearer secret");
    assert!(requests.contains(&weights), "{requests:?}");

    // The second time nothing is asked for, neither files nor whether there are others.
    assert_eq!(embedded(&hub.address, ""), expected);
    assert_eq!(hub.requests(), [""; 0]);
    // And there need be no hub.
    assert_eq!(embedded(&nobody(), ""), expected);
}

#[test]
fn files_of_sentence_transformers_are_downloaded_too() {
    let folder = Folder::tiny();
    let modules = ["Transformer", "Pooling", "Normalize"]
        .map(|kind| json!({"type": format!("sentence_transformers.models.{kind}")}));
    let plain = expected(&folder);
    let names = [
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
    ];
    let contents = [
        json!(modules),
        json!({"pooling_mode_cls_token": true}),
        json!({"max_seq_length": 17}),
    ];
    fs::create_dir(folder.join("1_Pooling")).unwrap();
    for (name, json) in names.iter().zip(contents) {
        fs::write(folder.join(name), json.to_string()).unwrap();
    }
    let expected = expected(&folder);
    assert_ne!(expected, plain);
    let hub = Hub::new(files(&folder, &[&REQUIRED[..], &names].concat()));
    let cache = Folder::new();
    for hub in [hub.address.clone(), nobody()] {
        assert_eq!(embedded(MODEL, &hub, &cache, "").unwrap(), expected);
    }
    assert!(hub.requests().iter().all(|request| request.ends_with(' ')));
}

#[test]
fn a_file_that_the_hub_does_not_have_is_named() {
    let folder = Folder::tiny();
    for missing in REQUIRED {
        let names = REQUIRED.into_iter().filter(|name| *name != missing);
        let hub = Hub::new(files(&folder, &names.collect::<Vec<_>>()));
        let error = embedded(MODEL, &hub.address, &Folder::new(), "").unwrap_err();
        let expected = format!("error: {MODEL}/{missing}: the hub has no such file\n");
        assert_eq!(error, expected);
    }
}

#[test]
fn without_a_network_the_error_says_so() {
    let error = embedded(MODEL, &nobody(), &Folder::new(), "").unwrap_err();
    let expected = format!("error: {MODEL}/config.json: not in the cache");
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.contains("is there a network?"), "{error}");
}

#[test]
fn what_is_no_name_is_refused() {
    let error = embedded("../elsewhere", &nobody(), &Folder::new(), "").unwrap_err();
    assert!(error.contains("no name of a model"), "{error}");
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
