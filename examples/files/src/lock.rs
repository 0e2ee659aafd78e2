//! One process at a time.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

const NAME: &str = ".lock";

/// A folder that this process writes to, and no other. It ends with the process, however
/// that ends: what a killed one leaves locks nothing.
#[derive(Debug)]
#[must_use = "dropping it unlocks the folder"]
pub struct Lock {
    path: PathBuf,
    /// Open, and so locked.
    _file: File,
}

impl Lock {
    /// Makes the folder if it is not there, and locks it.
    ///
    /// # Errors
    ///
    /// Another process has it, or nothing can be written there.
    pub fn take(folder: &Path) -> Result<Self, String> {
        let path = folder.join(NAME);
        let lock = || -> io::Result<Option<File>> {
            fs::create_dir_all(folder)?;
            let Some(mut file) = open_alone(&path, File::try_lock)? else {
                return Ok(None);
            };
            file.set_len(0)?;
            write!(file, "{}", std::process::id())?;
            Ok(Some(file))
        };
        let folder = folder.display();
        match lock() {
            Ok(Some(file)) => Ok(Self { path, _file: file }),
            Ok(None) => {
                // A system may keep others from reading it, too.
                let process = fs::read_to_string(&path).unwrap_or_default();
                Err(format!(
                    "{folder}: another process{}{process} writes there: wait until it ends, or \
                     choose another folder",
                    if process.is_empty() { "" } else { ", " }
                ))
            }
            Err(error) => Err(format!("{folder}: {error}")),
        }
    }

    /// Whether a file of a folder is the lock.
    pub fn is(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == NAME)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Elsewhere a process that waits for the file could not tell that it is gone.
        if cfg!(unix) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens a file for writing that no other process has open by this function. `lock` waits for
/// such a process or does not; `None` if it does not, and there is one.
pub(crate) fn open_alone(
    path: &Path,
    lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> io::Result<Option<File>> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    loop {
        let file = options.open(path)?;
        match lock(&file) {
            Err(TryLockError::WouldBlock) => return Ok(None),
            // A network's file system may know no locks.
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(error);
            }
            _ => {}
        }
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// Whether an open file is the one of a name still: who had it before may have removed or
/// renamed it.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (file, path) = (file.metadata().map(place), fs::metadata(path).map(place));
    file.is_ok_and(|file| path.is_ok_and(|path| file == path))
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::tests::folder;

    #[test]
    fn a_folder_has_one_owner() {
        let folder = folder("lock").join("made");
        let lock = Lock::take(&folder).unwrap();
        let error = Lock::take(&folder).unwrap_err();
        let expected = format!("another process, {} writes there", std::process::id());
        assert!(error.starts_with(&folder.display().to_string()), "{error}");
        assert!(error.contains(&expected), "{error}");
        drop(lock);
        // Left by a process that was killed: a file that nobody holds.
        fs::write(folder.join(NAME), "4294967295").unwrap();
        let lock = Lock::take(&folder).unwrap();
        drop(lock);
        if cfg!(unix) {
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        }
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }

    #[test]
    fn of_many_at_once_one_has_it() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        let folder = folder("many");
        let (owners, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        match Lock::take(&folder) {
                            Ok(lock) => {
                                assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0);
                                taken.fetch_add(1, Ordering::Relaxed);
                                owners.fetch_sub(1, Ordering::SeqCst);
                                drop(lock);
                            }
                            Err(error) => assert!(error.contains("another process"), "{error}"),
                        }
                    }
                });
            }
        });
        assert!(taken.into_inner() >= 8);
        fs::remove_dir_all(folder).unwrap();
    }
}
