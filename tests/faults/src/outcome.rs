//! What a run leaves.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn_pack::Reader;
use serde_json::Value;

/// The files of a folder, by their paths in it.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What the undisturbed run left.
pub struct Whole {
    pub files: Files,
    pub seconds: f64,
}

impl Whole {
    pub fn bytes(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }
}

/// All files below a folder; none if there is no such folder.
pub fn read(folder: &Path) -> Result<Files, String> {
    let mut found = Files::new();
    add(folder, folder, &mut found).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(found)
}

fn add(root: &Path, folder: &Path, found: &mut Files) -> std::io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            add(root, &path, found)?;
            continue;
        }
        let bytes = figures(&path, fs::read(&path)?);
        let name = path.strip_prefix(root).unwrap_or(&path);
        found.insert(name.into(), bytes);
    }
    Ok(())
}

/// A file without what is another in every run: the time that it took, and the random names that
/// Burn gives to parameters. One that cannot be read stays as it is, and so is another.
fn figures(path: &Path, bytes: Vec<u8>) -> Vec<u8> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let figures = match extension {
        Some("json") => serde_json::from_slice(&bytes).ok().map(|mut json| {
            remove_seconds(&mut json);
            json.to_string().into_bytes()
        }),
        Some("bpk") => weights(path).ok(),
        _ => None,
    };
    figures.unwrap_or(bytes)
}

/// Names and numbers of the tensors.
fn weights(path: &Path) -> Result<Vec<u8>, burn_pack::Error> {
    let reader = Reader::from_file(path)?;
    let mut names: Vec<String> = reader
        .tensor_names()
        .iter()
        .map(ToString::to_string)
        .collect();
    names.sort();
    let mut bytes = Vec::new();
    for name in names {
        bytes.extend(name.as_bytes());
        bytes.extend(reader.tensor_data(&name)?);
    }
    Ok(bytes)
}

fn remove_seconds(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            fields.retain(|name, _| name != "seconds");
            fields.values_mut().for_each(remove_seconds);
        }
        Value::Array(values) => values.iter_mut().for_each(remove_seconds),
        _ => {}
    }
}

/// Whether what a run left is all that the undisturbed one left, and nothing else.
pub fn compare(got: &Files, whole: &Files) -> Result<(), String> {
    let absent = whole.keys().find(|name| !got.contains_key(*name));
    if let Some(name) = absent {
        return Err(format!("{}: is not there", name.display()));
    }
    for (name, bytes) in got {
        match whole.get(name) {
            None => return Err(format!("{}: is left over", name.display())),
            Some(expected) if expected != bytes => {
                return Err(format!("{}: is another", name.display()));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
