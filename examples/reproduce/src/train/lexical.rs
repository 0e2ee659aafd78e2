//! BM25 over the words of a collection: where hard negatives come from.

use std::collections::HashMap;

/// The defaults of Anserini, the toolkit of the MS MARCO baselines.
const K1: f64 = 0.9;
const B: f64 = 0.4;

pub struct Index {
    /// For each word the documents that hold it, and the word's weight there.
    postings: HashMap<String, Vec<(usize, f64)>>,
    documents: usize,
}

impl Index {
    pub fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut postings: HashMap<String, Vec<(usize, f64)>> = HashMap::new();
        let mut lengths = Vec::new();
        for (document, text) in texts.enumerate() {
            let mut length = 0.0;
            for word in words(text) {
                length += 1.0;
                let documents = postings.entry(word).or_default();
                match documents.last_mut() {
                    Some((last, count)) if *last == document => *count += 1.0,
                    _ => documents.push((document, 1.0)),
                }
            }
            lengths.push(length);
        }
        let documents = lengths.len();
        let mean = lengths.iter().sum::<f64>() / documents.max(1) as f64;
        for holders in postings.values_mut() {
            let held = holders.len() as f64;
            let rarity = (1.0 + (documents as f64 - held + 0.5) / (held + 0.5)).ln();
            for (document, count) in holders {
                let length = lengths[*document] / mean.max(1.0);
                *count = rarity * *count / (*count + K1 * (1.0 - B + B * length));
            }
        }
        Self {
            postings,
            documents,
        }
    }

    /// The documents that share a word with the query, best first; equal ones in the order of the
    /// collection.
    pub fn search(&self, query: &str) -> Vec<usize> {
        let mut scores = vec![0.0; self.documents];
        for word in words(query) {
            for (document, weight) in self.postings.get(&word).into_iter().flatten() {
                scores[*document] += weight;
            }
        }
        let mut found: Vec<usize> = (0..self.documents)
            .filter(|document| scores[*document] > 0.0)
            .collect();
        found.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        found
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_and_short_documents_count_more() {
        let texts = [
            "common words of no use",
            "common words and a rare one, in a text that goes on and on",
            "Rare common",
            "something else",
        ];
        let index = Index::new(texts.into_iter());
        assert_eq!(index.search("RARE common"), [2, 1, 0]);
        assert_eq!(index.search("nothing"), [0_usize; 0]);
    }

    #[test]
    fn the_weight_is_that_of_the_definition() {
        let index = Index::new(["a a b", "b"].into_iter());
        // One of two documents holds "a", twice; it has 3 words where the mean is 2.
        let rarity = (1.0_f64 + 1.5 / 1.5).ln();
        let want = rarity * 2.0 / (2.0 + 0.9 * (0.6 + 0.4 * 1.5));
        assert!((index.postings["a"][0].1 - want).abs() < 1e-12);
    }
}
