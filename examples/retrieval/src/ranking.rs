//! Rankings of documents by exhaustive search, and TREC runs of them.

use std::{io::Write, path::Path};

use burn::tensor::Tensor;
use burn_multi_positive::evaluation::Ranker;
use rayon::prelude::*;

use crate::collection::{Document, Query};

/// How many documents a ranking keeps.
pub const DEPTH: usize = 1000;

/// The documents found for a query, best first: the index of each and its score.
pub type Ranking = Vec<(usize, f32)>;

/// A ranking of the documents for every query, by the dot products of their embeddings.
/// Equal scores are ordered as trec_eval orders them.
///
/// # Errors
///
/// A score is not finite.
pub fn search(
    queries: Tensor<2>,
    vectors: Tensor<2>,
    documents: &[Document],
) -> Result<Vec<Ranking>, String> {
    let vectors = vectors.transpose();
    let ids: Vec<&str> = documents
        .iter()
        .map(|document| document.id.as_str())
        .collect();
    let ranker = Ranker::new(&ids);
    let rank = |scores: &[f32]| -> Ranking {
        let best = ranker.rank(scores, DEPTH).into_iter();
        best.map(|document| (document, scores[document])).collect()
    };
    // In parts, for the sake of collections with many documents.
    let parts = queries.split(64, 0).into_iter().map(|queries| {
        let scores = queries.matmul(vectors.clone()).into_data();
        let scores: Vec<f32> = scores.iter().collect();
        if scores.iter().any(|score| !score.is_finite()) {
            return Err("the model gives scores that are not finite".to_string());
        }
        let rankings = scores.par_chunks(documents.len());
        Ok(rankings.map(rank).collect())
    });
    let parts: Vec<Vec<Ranking>> = parts.collect::<Result<_, String>>()?;
    Ok(parts.concat())
}

/// Writes rankings as a TREC run, which trec_eval and pytrec_eval read, whole or not at all.
/// A line has six columns: query, "Q0", document, rank, score, name of the run.
///
/// # Errors
///
/// The file cannot be written, or an id is empty or holds white space.
pub fn write_run(
    path: &Path,
    name: &str,
    queries: &[Query],
    documents: &[Document],
    rankings: &[Ranking],
) -> Result<(), String> {
    let found = queries.iter().zip(rankings);
    let found = found.flat_map(|(query, ranking)| {
        let ranking = ranking.iter().zip(1..);
        ranking.map(move |((document, score), rank)| {
            (&*query.id, &*documents[*document].id, rank, *score)
        })
    });
    let mut ids = found
        .clone()
        .flat_map(|(query, document, ..)| [query, document]);
    if let Some(id) = ids.find(|id| id.is_empty() || id.contains(char::is_whitespace)) {
        return Err(format!(
            "{}: id {id:?} cannot stand in a TREC run: empty, or holds white space",
            path.display()
        ));
    }
    let written = files::write_with(path, |file| {
        for (query, document, rank, score) in found {
            // `{}` prints the shortest decimal that reads back as the same f32, so scores that
            // differ stay different and the order in the file is that of the scores.
            writeln!(file, "{query} Q0 {document} {rank} {score} {name}")?;
        }
        Ok(())
    });
    written.map_err(|error| format!("{}: {error}", path.display()))
}
