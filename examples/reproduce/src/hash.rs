//! FNV-1a, to tell files and texts from others.

use std::{
    fmt,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use crate::output::named;

pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
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
        write!(f, "{:016x}", self.0)
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
