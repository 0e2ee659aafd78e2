//! Folders and files of results.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// An error with the file that it is about.
pub fn named<T, E: ToString>(path: &Path, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{}: {}", path.display(), error.to_string()))
}

/// Makes a folder for results. One that holds files, and among them none of the name `marker`, is
/// somebody else's.
pub fn claim(folder: &Path, marker: &str) -> Result<(), String> {
    named(folder, fs::create_dir_all(folder))?;
    let mut entries = named(folder, fs::read_dir(folder))?;
    if entries.next().is_some() && !folder.join(marker).exists() {
        return Err(format!(
            "{}: the folder holds files, and no {marker} of this program: choose another --out",
            folder.display()
        ));
    }
    Ok(())
}

/// Writes a file whole or not at all: an interrupted run leaves none that is cut short.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    let partial = partial(path);
    named(&partial, fs::write(&partial, content))?;
    named(path, fs::rename(&partial, path))
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

/// Where a file stands until it is complete.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    path.with_file_name(name)
}

/// The name of an enum's value, as in the results and on the command line.
pub fn key(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(key)) => key,
        _ => unreachable!("an enum without fields"),
    }
}
