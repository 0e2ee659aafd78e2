//! A folder of one thread, whose files are written anew for every input.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

pub struct Folder(PathBuf);

impl Folder {
    /// In memory where the system has such a place.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let memory = Path::new("/dev/shm");
        let parent = match memory.is_dir() {
            true => memory.to_path_buf(),
            false => std::env::temp_dir(),
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fuzz-{name}-{}-{number}", std::process::id());
        let folder = Self(parent.join(name));
        fs::create_dir_all(&folder.0).expect("a folder to write to");
        folder
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        fs::write(&path, content).expect("room for a small file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What an error must begin with, so that a user finds the file.
pub fn assert_names(error: &str, folder: &Folder) {
    let path = folder.path().to_string_lossy();
    assert!(error.contains(&*path), "an error without its file: {error}");
}

/// Lets panics that a reader catches pass, which libFuzzer's hook would end the process at.
pub fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))));
}
