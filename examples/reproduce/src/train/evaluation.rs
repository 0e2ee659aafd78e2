//! Rankings of the test queries, and what they are worth.

use std::path::Path;

use retrieval::{Document, Metrics, Ranking, search, write_run};

use super::{
    cell::Evaluation,
    failure::Failure,
    prepared::{Prepared, Tested},
};
use crate::{
    encoder::{Encoder, Role},
    objective::Objective,
    output::{key, write},
};

/// What an encoder reaches on a collection.
pub struct Measured {
    pub evaluation: Evaluation,
    rankings: Vec<Ranking>,
}

impl Measured {
    /// `tested` are queries of this collection.
    pub fn new<E: Encoder>(
        encoder: &E,
        prepared: &Prepared<E::Text>,
        tested: &Tested<E::Text>,
    ) -> Result<Self, Failure> {
        let queries: Vec<&E::Text> = tested.texts.iter().map(AsRef::as_ref).collect();
        let documents: Vec<&E::Text> = prepared.ranked.iter().map(AsRef::as_ref).collect();
        let mut rankings = search(
            encoder.encode(&queries, Role::Query),
            encoder.encode(&documents, Role::Document),
            &prepared.corpus,
        )
        // The one error of a search: a score is not finite.
        .map_err(Failure::Diverged)?;
        let queries = &tested.queries;
        tested.left_out.remove_from(queries, &mut rankings);
        let of_queries: Vec<Metrics> = queries
            .iter()
            .zip(&rankings)
            .map(|(query, ranking)| Metrics::of_query(query, ranking))
            .collect();
        let evaluation = Evaluation {
            name: tested.name.clone(),
            mean: Metrics::mean(&of_queries),
            queries: queries.iter().map(|query| query.id.clone()).collect(),
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
        corpus: &[Document],
        tested: &Tested<T>,
    ) -> Result<(), String> {
        let path = folder.join(format!("{}.trec", tested.name));
        let tag = key(&objective);
        let queries = &tested.queries;
        write_run(&path, &tag, queries, corpus, &self.rankings)
    }
}

/// The judgements in the form that trec_eval and pytrec_eval read.
pub fn write_qrels<T>(
    folder: &Path,
    corpus: &[Document],
    tested: &Tested<T>,
) -> Result<(), String> {
    let mut lines = String::new();
    for query in &tested.queries {
        for (document, grade) in &query.judgements {
            let document = &corpus[*document].id;
            lines += &format!("{} 0 {document} {grade}\n", query.id);
        }
    }
    write(&folder.join(format!("{}.qrels", tested.name)), lines)
}
