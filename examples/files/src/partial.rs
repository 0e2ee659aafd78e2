//! What has another name until it is complete.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::lock::open_alone;

const SUFFIX: &str = ".partial";

/// Where a file or a folder stands until it is complete. An interrupted write leaves it, and
/// the next one to the same place takes it over.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(SUFFIX);
    path.with_file_name(name)
}

/// Whether a name is that of something incomplete.
pub fn is_partial(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().ends_with(SUFFIX)
}

/// Writes a file whole or not at all.
///
/// # Errors
///
/// The file cannot be written. One that was there before is then as it was.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    write_with(path, |file| file.write_all(content.as_ref()))
}

/// The same, with the content part by part.
///
/// # Errors
///
/// Those of [`write()`] and of `fill`.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    let fill = |file: &File| -> io::Result<()> {
        let mut file = BufWriter::new(file);
        fill(&mut file)?;
        // Dropping it would flush it too, and hide what goes wrong.
        file.into_inner()?;
        Ok(())
    };
    let before = fs::metadata(path);
    if before.as_ref().is_ok_and(|before| !before.is_file()) {
        // A device such as /dev/stdout is written to, not replaced.
        return fill(&File::options().write(true).open(path)?);
    }
    // What a link points to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let partial = partial(&path);
    let file = open_partial(&partial)?;
    let written = (|| {
        file.set_len(0)?;
        fill(&file)?;
        if let Ok(before) = before {
            file.set_permissions(before.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&partial, &path)
    })();
    if written.is_err() {
        // What there is of it takes room.
        let _ = fs::remove_file(&partial);
    }
    written?;
    sync_names(&path)
}

/// Waits for another process that writes to the place: what the two write does not mix, and who
/// comes last has the name.
pub(crate) fn open_partial(partial: &Path) -> io::Result<File> {
    let wait = |file: &File| file.lock().map_err(TryLockError::Error);
    let file = open_alone(partial, wait)?;
    file.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

/// A folder that has another name until it is complete. Dropped before that, it is removed.
pub struct PartialFolder {
    place: PathBuf,
    partial: PathBuf,
}

impl PartialFolder {
    /// An empty folder that becomes `place`. What an interrupted process left of it is
    /// removed.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn new(place: &Path) -> io::Result<Self> {
        let partial = partial(place);
        remove_folder(&partial)?;
        fs::create_dir_all(&partial)?;
        Ok(Self {
            place: place.into(),
            partial,
        })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Gives the folder its name. One that had it is removed: where an interruption falls
    /// between the two, neither is there.
    ///
    /// # Errors
    ///
    /// It cannot be renamed.
    pub fn commit(self) -> io::Result<()> {
        for entry in fs::read_dir(&self.partial)? {
            let path = entry?.path();
            if path.is_file() {
                // For writing, which Windows asks for.
                File::options().write(true).open(path)?.sync_all()?;
            }
        }
        sync_folder(&self.partial)?;
        remove_folder(&self.place)?;
        fs::rename(&self.partial, &self.place)?;
        sync_names(&self.place)
    }
}

impl Drop for PartialFolder {
    fn drop(&mut self) {
        // There is none once it is complete.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Brings the new name of a file to the disk.
fn sync_names(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => sync_folder(folder),
        _ => sync_folder(Path::new(".")),
    }
}

/// A folder is no file that Windows opens.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::tests::folder;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_as_it_was_until_another_is_whole() {
        let folder = folder("whole");
        let path = folder.join("file");
        write(&path, "one").unwrap();
        let failed = write_with(&path, |file| {
            file.write_all(b"tw")?;
            file.flush()?;
            assert_eq!(fs::read(folder.join("file.partial")).unwrap(), b"tw");
            Err(io::Error::other("broken off"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "broken off");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(names(&folder), ["file"]);
        // What a killed process left is no hindrance.
        fs::write(folder.join("file.partial"), "longer than the next").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(&folder), ["file"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn two_that_write_at_once_do_not_mix() {
        let folder = folder("mix");
        let path = folder.join("file");
        let contents: Vec<String> = (0..4).map(|one| one.to_string().repeat(50_000)).collect();
        std::thread::scope(|scope| {
            for content in &contents {
                let (path, contents) = (&path, &contents);
                scope.spawn(move || {
                    for _ in 0..50 {
                        write(path, content).unwrap();
                        let read = fs::read_to_string(path).unwrap();
                        assert!(contents.contains(&read));
                    }
                });
            }
        });
        assert_eq!(names(&folder), ["file"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_devices_and_permissions_stay() {
        use std::os::unix::fs::PermissionsExt;

        let folder = folder("links");
        let (path, link) = (folder.join("file"), folder.join("link"));
        write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, "two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let device = folder.join("device");
        std::os::unix::fs::symlink("/dev/null", &device).unwrap();
        write(&device, "nowhere").unwrap();
        assert!(fs::symlink_metadata(&device).unwrap().is_symlink());
        assert_eq!(names(&folder), ["device", "file", "link"]);
        if cfg!(target_os = "linux") {
            // So little that only the flush at the end finds it.
            let error = write(Path::new("/dev/full"), "full").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_is_there_when_it_is_complete() {
        let folder = folder("folder");
        let place = folder.join("place");
        // As a killed process leaves it.
        fs::create_dir_all(folder.join("place.partial")).unwrap();
        fs::write(folder.join("place.partial/old"), "").unwrap();

        let partial = PartialFolder::new(&place).unwrap();
        fs::write(partial.path().join("new"), "").unwrap();
        assert!(is_partial(partial.path()) && !place.exists());
        partial.commit().unwrap();
        assert_eq!(names(&folder), ["place"]);
        assert_eq!(names(&place), ["new"]);

        let partial = PartialFolder::new(&place).unwrap();
        fs::write(partial.path().join("newer"), "").unwrap();
        drop(partial);
        assert_eq!(names(&folder), ["place"]);
        assert_eq!(names(&place), ["new"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
