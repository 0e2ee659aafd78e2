//! Whether a file can be written, asked before it is there to be written.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use crate::partial::{open_partial, partial};

/// Whether a file of so many bytes can be written now. Its place is as it was afterwards.
///
/// # Errors
///
/// There is no such folder, it is read-only, the disk is full, or the like. The error names
/// the file.
pub fn check_room(path: &Path, bytes: u64) -> Result<(), String> {
    let named = |error: io::Error| format!("{}: {error}", path.display());
    let folder = path.parent().unwrap_or(path);
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        return Err(format!("{}: no such folder", folder.display()));
    }
    match fs::metadata(path) {
        // A device such as /dev/stdout.
        Ok(there) if !there.is_file() && !there.is_dir() => return Ok(()),
        Ok(there) if there.is_dir() => {
            return Err(format!("{}: is a folder", path.display()));
        }
        _ => {}
    }
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let partial = partial(&path);
    let check = || {
        let file = open_partial(&partial)?;
        let result = fill(&file, bytes);
        fs::remove_file(&partial)?;
        result
    };
    check().map_err(named)
}

/// With zeros that take room: a file that is only set to its length may take none.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    static BLOCK: [u8; 1 << 16] = [0; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(BLOCK.len() as u64);
        file.write_all(&BLOCK[..length as usize])?;
        left -= length;
    }
    file.flush()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use super::*;

    /// An empty folder of one test.
    pub fn folder(name: &str) -> PathBuf {
        let name = format!("files-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_can_be_written_is_not_touched() {
        let folder = folder("room");
        let path = folder.join("file");
        check_room(&path, 1 << 20).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::write(&path, "there").unwrap();
        check_room(&path, 1 << 20).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "there");

        let error = check_room(&folder.join("none/file"), 1).unwrap_err();
        assert!(error.ends_with("none: no such folder"), "{error}");
        let error = check_room(&folder, 1).unwrap_err();
        assert!(error.ends_with("is a folder"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
