//! Where training examples come from, epoch by epoch.

use std::sync::Arc;

use rand::{Rng, rngs::StdRng, seq::SliceRandom};

use super::tevatron;
use crate::encoder::Reads;

pub struct Passage<T> {
    pub id: Arc<str>,
    pub text: Arc<T>,
}

impl<T> Clone for Passage<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            text: self.text.clone(),
        }
    }
}

/// A query with its labelled documents, and hard negatives that are not labelled.
pub struct Example<T> {
    pub query: Arc<T>,
    pub positives: Vec<Passage<T>>,
    /// The ids of those positives that are known not to be relevant.
    pub wrong: Vec<Arc<str>>,
    /// The ids of documents that are no candidates of the query.
    pub left_out: Vec<Arc<str>>,
    pub negatives: Vec<Passage<T>>,
}

impl<T> Clone for Example<T> {
    fn clone(&self) -> Self {
        Self {
            query: self.query.clone(),
            positives: self.positives.clone(),
            wrong: self.wrong.clone(),
            left_out: self.left_out.clone(),
            negatives: self.negatives.clone(),
        }
    }
}

/// As many examples of a file as are held at a time, and drawn from at random.
pub const WINDOW: usize = 4096;

type Stream<'a, T> = Box<dyn Iterator<Item = Result<Example<T>, String>> + 'a>;

pub enum Source<T> {
    Memory(Vec<Example<T>>),
    File(tevatron::File),
}

impl<T: Send + Sync> Source<T> {
    /// Examples of an epoch.
    pub fn queries(&self) -> usize {
        match self {
            Self::Memory(examples) => examples.len(),
            Self::File(file) => file.queries,
        }
    }

    /// All examples: those in memory in random order, those of a file in an order that is random
    /// within a window, so that memory does not grow with the file.
    pub fn epoch<'a, S: Reads<T>>(
        &'a self,
        source: &'a S,
        rng: &'a mut StdRng,
    ) -> Result<Stream<'a, T>, String> {
        match self {
            Self::Memory(examples) => {
                let mut order: Vec<usize> = (0..examples.len()).collect();
                order.shuffle(rng);
                let examples = order.into_iter().map(|index| Ok(examples[index].clone()));
                Ok(Box::new(examples))
            }
            Self::File(file) => Ok(Box::new(windowed(file.examples(source)?, WINDOW, rng))),
        }
    }
}

fn windowed<'a, T: 'a>(
    mut items: impl Iterator<Item = Result<T, String>> + 'a,
    size: usize,
    rng: &'a mut StdRng,
) -> impl Iterator<Item = Result<T, String>> + 'a {
    let mut window = Vec::new();
    std::iter::from_fn(move || {
        while window.len() < size {
            match items.next() {
                Some(Ok(item)) => window.push(item),
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            }
        }
        let count = window.len();
        (count > 0).then(|| Ok(window.swap_remove(rng.random_range(0..count))))
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_window_gives_everything_once_and_nothing_from_beyond_it() {
        let mut rng = StdRng::seed_from_u64(1);
        let given: Result<Vec<usize>, String> = windowed((0..100).map(Ok), 10, &mut rng).collect();
        let given = given.unwrap();
        for (place, item) in given.iter().enumerate() {
            assert!(*item < place + 10);
        }
        let mut sorted = given.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(given, sorted);
    }
}
