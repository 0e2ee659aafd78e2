//! Vectors that a transformer made, kept in a file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::tensor::Device;
use pretrained::{Batch, Pretrained, Tokens};
use rayon::prelude::*;

use crate::{
    encoder::hash_of_files,
    hash::Hash,
    output::{named, write},
};

/// By the tokens of the texts: these have in them what was put before a text, and what was cut off.
type Vectors = BTreeMap<Vec<u32>, Vec<f32>>;

/// The vectors of one tower. The file has the name of the model and of how it was used.
///
/// ```text
/// a line          the version of this format, the model, and how it was used
/// a text each     how many tokens u32, tokens u32, vector f32, little-endian
/// at the end      FNV-1a of all that, 16 hexadecimal digits
/// ```
pub struct Embeddings {
    path: PathBuf,
    first_line: String,
    model: Pretrained,
    device: Device,
    vectors: Mutex<Vectors>,
}

impl Embeddings {
    /// Reads the file, if it is there and of this model.
    pub fn open(folder: &Path, model: &Pretrained, device: &Device) -> Result<Self, String> {
        let device = device.clone().without_autodiff();
        let options = &model.options;
        let first_line = format!(
            "embeddings 1, model {}, pooling {:?}, normalize {}, precision {:?}, device {:?}\n",
            hash_of_files(model)?,
            options.pooling,
            options.normalize,
            options.precision,
            device.as_dispatch()
        );
        let mut hash = Hash::default();
        hash.add(first_line.as_bytes());
        let path = folder.join(format!("{hash}.embeddings"));
        let vectors = match path.exists() {
            true => {
                let bytes = named(&path, fs::read(&path))?;
                named(&path, parse(&bytes, &first_line, model.config.hidden_size))?
            }
            false => Vectors::new(),
        };
        Ok(Self {
            path,
            first_line,
            model: model.clone(),
            device,
            vectors: Mutex::new(vectors),
        })
    }

    /// Whether both are of one model.
    pub fn is_of(&self, other: &Self) -> bool {
        self.path == other.path
    }

    pub fn get(&self, tokens: &Tokens) -> Option<Vec<f32>> {
        self.lock().get(tokens.ids()).cloned()
    }

    /// Embeds the texts that are not there, and writes the file. Each has a pass of its own: its
    /// vector does not depend on the texts beside it, not even by rounding, and so not on what
    /// the file held.
    pub fn add(&self, mut texts: Vec<Tokens>) -> Result<(), String> {
        let mut vectors = self.lock();
        texts.retain(|tokens| !vectors.contains_key(tokens.ids()));
        texts.sort_by(|a, b| a.ids().cmp(b.ids()));
        texts.dedup();
        if texts.is_empty() {
            return Ok(());
        }
        println!(
            "{} texts to embed, {} embedded before: {}",
            texts.len(),
            vectors.len(),
            self.path.display()
        );
        let encoder = self.model.encoder(&self.device);
        let encoder = encoder.map_err(|error| error.to_string())?;
        let embedded = texts.par_iter().map(|tokens| {
            let vector = encoder.forward(&Batch::new(&[tokens], &self.device));
            (tokens.ids().to_vec(), vector.into_data().iter().collect())
        });
        vectors.extend(embedded.collect::<Vec<_>>());

        if let Some(folder) = self.path.parent() {
            named(folder, fs::create_dir_all(folder))?;
        }
        write(&self.path, bytes(&self.first_line, &vectors))
    }

    fn lock(&self) -> MutexGuard<'_, Vectors> {
        self.vectors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Digits of the hash at the end.
const DIGITS: usize = 16;

fn bytes(first_line: &str, vectors: &Vectors) -> Vec<u8> {
    let mut bytes = first_line.as_bytes().to_vec();
    for (tokens, vector) in vectors {
        bytes.extend((tokens.len() as u32).to_le_bytes());
        bytes.extend(tokens.iter().flat_map(|id| id.to_le_bytes()));
        bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    }
    let mut hash = Hash::default();
    hash.add(&bytes);
    bytes.extend(hash.to_string().as_bytes());
    bytes
}

/// Nothing of a file that is of another model.
fn parse(bytes: &[u8], first_line: &str, dimensions: usize) -> Result<Vectors, String> {
    let damaged = || "the file is damaged: remove it, and its texts are embedded anew".to_string();
    let content = bytes.len().checked_sub(DIGITS).ok_or_else(damaged)?;
    let (content, digits) = bytes.split_at(content);
    let mut hash = Hash::default();
    hash.add(content);
    if hash.to_string().as_bytes() != digits {
        return Err(damaged());
    }
    let Some(mut rest) = content.strip_prefix(first_line.as_bytes()) else {
        return Ok(Vectors::new());
    };
    let mut vectors = Vectors::new();
    while !rest.is_empty() {
        let (tokens, vector) = text(&mut rest, dimensions).ok_or_else(damaged)?;
        vectors.insert(tokens, vector);
    }
    Ok(vectors)
}

fn text(rest: &mut &[u8], dimensions: usize) -> Option<(Vec<u32>, Vec<f32>)> {
    let count = words(rest, 1)?.map(u32::from_le_bytes).next()?;
    let tokens = words(rest, count as usize)?.map(u32::from_le_bytes);
    let vector = words(rest, dimensions)?.map(f32::from_le_bytes);
    Some((tokens.collect(), vector.collect()))
}

/// The next words of four bytes.
fn words<'a>(rest: &mut &'a [u8], count: usize) -> Option<impl Iterator<Item = [u8; 4]> + 'a> {
    let (words, after) = rest.split_at_checked(count.checked_mul(4)?)?;
    *rest = after;
    let words = words.chunks_exact(4);
    Some(words.map(|word| word.try_into().expect("four bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> Vectors {
        [
            (vec![2, 7, 3], vec![0.5, -1.0]),
            (vec![2, 3], vec![f32::MIN_POSITIVE, 3.0]),
        ]
        .into()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = bytes("model 1\n", &vectors());
        assert_eq!(parse(&bytes, "model 1\n", 2), Ok(vectors()));
    }

    #[test]
    fn vectors_of_another_model_are_not_read() {
        let bytes = bytes("model 1\n", &vectors());
        assert_eq!(parse(&bytes, "model 2\n", 2), Ok(Vectors::new()));
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let whole = bytes("model 1\n", &vectors());
        for place in 0..whole.len() {
            let cut = parse(&whole[..place], "model 1\n", 2);
            assert!(cut.unwrap_err().contains("damaged"), "{place}");
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(parse(&changed, "model 1\n", 2).is_err(), "{place}");
        }
        // Whole, and not of vectors of this length.
        assert!(parse(&whole, "model 1\n", 3).is_err());
    }
}
