//! Gradients of the rows that texts use, from the gradients of the texts' means.

use crate::{
    encoder::{BUCKETS, Bag},
    table::{Row, add_scaled, vectorized},
};

/// The texts of a step, with the gradients of their means.
#[derive(Default)]
pub struct RowGradients {
    of_means: Vec<f32>,
    /// Bucket of each word, with its place among the texts and its share of that text.
    words: Vec<(usize, Word)>,
}

/// An occurrence of a row in a text.
#[derive(Clone, Copy, Default)]
struct Word {
    text: usize,
    share: f32,
}

impl RowGradients {
    /// Adds texts, and the gradients of their means one after another.
    pub fn add(&mut self, texts: &[&Bag], gradients: Vec<f32>) {
        let before = self.means().len();
        for (text, bag) in texts.iter().enumerate() {
            let text = before + text;
            let words = bag.0.iter();
            let words = words.map(|&(bucket, share)| (bucket, Word { text, share }));
            self.words.extend(words);
        }
        self.of_means.extend(gradients);
    }

    fn means(&self) -> &[Row] {
        self.of_means.as_chunks().0
    }

    /// The words of a row side by side, in the order of the texts.
    pub fn by_row(&self) -> ByRow<'_> {
        // A counting sort.
        let mut ends = vec![0; BUCKETS + 1];
        for (bucket, _) in &self.words {
            ends[bucket + 1] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        let mut words = vec![Word::default(); self.words.len()];
        for (bucket, word) in &self.words {
            words[ends[*bucket]] = *word;
            ends[*bucket] += 1;
        }
        ByRow {
            means: self.means(),
            words,
            ends,
        }
    }
}

/// [`RowGradients`] that know the words of a row.
pub struct ByRow<'a> {
    means: &'a [Row],
    words: Vec<Word>,
    /// Where the words of a row end; they start where those of the row before end.
    ends: Vec<usize>,
}

impl ByRow<'_> {
    /// The gradient of a row, if a text uses it.
    pub fn of(&self, row: usize) -> Option<Row> {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let words = &self.words[start..self.ends[row]];
        if words.is_empty() {
            return None;
        }
        let mut gradient = [0.0; _];
        vectorized(|| {
            for Word { text, share } in words {
                add_scaled(&mut gradient, *share, &self.means[*text]);
            }
        });
        Some(gradient)
    }
}
