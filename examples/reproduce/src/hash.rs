//! FNV-1a, to tell files and texts from others.

use std::{
    fmt,
    fs::File,
    hash::Hasher,
    io::{BufReader, Read},
    path::Path,
};

use fnv::FnvHasher;

use crate::output::named;

#[derive(Default)]
pub struct Hash(FnvHasher);

impl Hash {
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    pub fn add_file(&mut self, path: &Path) -> Result<(), String> {
        let mut file = BufReader::new(named(path, File::open(path))?);
        let mut part = vec![0; 1 << 16];
        loop {
            match named(path, file.read(&mut part))? {
                0 => return Ok(()),
                count => self.add(&part[..count]),
            }
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_definition() {
        let mut hash = Hash::default();
        assert_eq!(hash.to_string(), "cbf29ce484222325");
        hash.add(b"foo");
        hash.add(b"bar");
        assert_eq!(hash.to_string(), "85944171f73967e8");
    }
}
