//! Folders and files of results.

use std::{
    fs,
    path::{Path, PathBuf},
};

use files::{Lock, is_partial};
use serde::Serialize;

/// An error with the file that it is about.
pub fn named<T, E: ToString>(path: &Path, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{}: {}", path.display(), error.to_string()))
}

/// Makes a folder for results, and locks it against other processes. One that holds files, and
/// among them none of the name `marker`, is somebody else's.
pub fn claim(folder: &Path, marker: &str) -> Result<Lock, String> {
    let lock = Lock::take(folder)?;
    if folder.join(marker).exists() {
        return Ok(lock);
    }
    for entry in named(folder, fs::read_dir(folder))? {
        let path = named(folder, entry)?.path();
        // The marker of a run that was interrupted as it began may be there in part.
        if !Lock::is(&path) && !is_partial(&path) {
            return Err(format!(
                "{}: the folder holds files, and no {marker} of this program: choose another --out",
                folder.display()
            ));
        }
    }
    Ok(lock)
}

/// Writes a file whole or not at all: an interrupted run leaves none that is cut short.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    named(path, files::write(path, content))
}

/// All files below a folder, in the order of their paths; none if there is no such folder.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in named(folder, fs::read_dir(folder))? {
        let path = named(folder, entry)?.path();
        match path.is_dir() {
            true => files.extend(self::files(&path)?),
            false => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}

pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    write(path, text + "\n")
}

/// The name of an enum's value, as in the results and on the command line.
pub fn key(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(key)) => key,
        _ => unreachable!("an enum without fields"),
    }
}
