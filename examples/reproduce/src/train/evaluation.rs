//! Rankings of the test queries, and what they are worth.

use std::path::Path;

use retrieval::{Metrics, Ranking, search, write_run};

use super::{cell::Evaluation, prepared::Prepared};
use crate::{
    encoder::{Encoder, Role},
    objective::Objective,
    output::{key, named, partial, write},
};

/// What an encoder reaches on a collection.
pub struct Measured {
    pub evaluation: Evaluation,
    rankings: Vec<Ranking>,
}

impl Measured {
    pub fn new<E: Encoder>(encoder: &E, prepared: &Prepared<E::Text>) -> Result<Self, String> {
        let queries: Vec<&E::Text> = prepared.test.iter().collect();
        let documents: Vec<&E::Text> = prepared.ranked.iter().map(AsRef::as_ref).collect();
        let mut rankings = search(
            encoder.encode(&queries, Role::Query),
            encoder.encode(&documents, Role::Document),
            &prepared.collection.documents,
        )?;
        prepared.left_out.remove_from(&mut rankings);
        let test = &prepared.collection.test;
        let of_queries: Vec<Metrics> = test
            .iter()
            .zip(&rankings)
            .map(|(query, ranking)| Metrics::of_query(query, ranking))
            .collect();
        let evaluation = Evaluation {
            name: prepared.name.clone(),
            mean: Metrics::mean(&of_queries),
            queries: test.iter().map(|query| query.id.clone()).collect(),
            of_queries,
        };
        Ok(Self {
            evaluation,
            rankings,
        })
    }

    /// Writes the rankings to the folder of a cell.
    pub fn write<T>(
        &self,
        folder: &Path,
        objective: Objective,
        prepared: &Prepared<T>,
    ) -> Result<(), String> {
        let path = folder.join(format!("{}.trec", prepared.name));
        let collection = &prepared.collection;
        let (test, documents) = (&collection.test, &collection.documents);
        let tag = key(&objective);
        write_run(&partial(&path), &tag, test, documents, &self.rankings)?;
        named(&path, std::fs::rename(partial(&path), &path))
    }
}

/// The judgements in the form that trec_eval and pytrec_eval read.
pub fn write_qrels<T>(path: &Path, prepared: &Prepared<T>) -> Result<(), String> {
    let mut lines = String::new();
    for query in &prepared.collection.test {
        for (document, grade) in &query.judgements {
            let document = &prepared.collection.documents[*document].id;
            lines += &format!("{} 0 {document} {grade}\n", query.id);
        }
    }
    write(path, lines)
}
