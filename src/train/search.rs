//! Exhaustive search: the ranked lists of scores, of targets, and of an epoch.

use std::collections::HashMap;

use burn::tensor::{Tensor, TensorReadError};

use super::input::{Embedded, Scored};
use crate::{
    Targets,
    evaluation::{RankedList, Ranker},
};

/// How many scores are held at a time.
const SCORES: usize = 1 << 24;

type Lists = Result<Vec<RankedList>, TensorReadError>;

pub fn lists_of_scores(scored: &Scored, depth: usize) -> Lists {
    let Scored {
        scores,
        ids,
        grades,
    } = scored;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    lists_of(scores, grades, &ids, &Ranker::new(&ids), depth)
}

/// The documents of a batch, by their columns, whose gains are the weights of the positives.
pub fn lists_of_targets(scores: &Tensor<2>, targets: &Targets, depth: usize) -> Lists {
    let [_, documents] = scores.dims();
    if scores.shape().num_elements() == 0 {
        return Ok(Vec::new());
    }
    let positives = targets.positives();
    let gains = match targets.weights() {
        Some(weights) => weights.mask_fill(positives.bool_not(), 0.0),
        None => positives.float(),
    };
    let gains = numbers(gains)?;
    let candidates = targets.candidates().map(|mask| numbers(mask.float()));
    let candidates = candidates.transpose()?;
    let scores = numbers(scores.clone())?;
    let ids: Vec<String> = (0..documents).map(|column| column.to_string()).collect();
    let ranker = Ranker::new(&ids);
    let list = |(query, gains): (usize, &[f64])| {
        let row = query * documents;
        let ranked = ranker.rank(&scores[row..row + documents], documents);
        let kept = ranked.into_iter().filter(|document| match &candidates {
            Some(candidates) => candidates[row + document] > 0.0,
            None => true,
        });
        let ranked = kept.take(depth).map(|document| gains[document]).collect();
        RankedList::of_gains(ranked, gains.to_vec())
    };
    let rows = gains.chunks(documents).enumerate();
    let active = rows.filter(|(_, gains)| gains.iter().any(|gain| *gain > 0.0));
    Ok(active.map(list).collect())
}

/// All queries against all documents.
pub fn lists_of_epoch(parts: &[&Embedded], depth: usize) -> Lists {
    search(parts, depth, SCORES)
}

/// So many scores at a time, and no less than those of a query.
///
/// # Panics
///
/// If the parts differ in dimensions or type.
fn search(parts: &[&Embedded], depth: usize, scores: usize) -> Lists {
    let form = |part: &&Embedded| (part.queries.dims()[1], part.queries.dtype());
    if let [first, others @ ..] = parts {
        let expected = form(first);
        for got in others.iter().map(form) {
            assert!(
                got == expected,
                "from_embeddings: expected {} dimensions in {:?} as the first batch of the epoch has, \
                 got {} in {:?}",
                expected.0,
                expected.1,
                got.0,
                got.1
            );
        }
    }
    let ids = parts.iter().flat_map(|part| &part.ids);
    let ids: Vec<&str> = ids.map(String::as_str).collect();
    let found = parts.iter().filter(|part| !part.ids.is_empty());
    let Some(device) = found.clone().next().map(|part| part.documents.device()) else {
        let grades = parts.iter().flat_map(|part| &part.grades);
        return Ok(grades
            .filter_map(|grades| list::<&str>(&[], grades))
            .collect());
    };
    let documents = found.map(|part| part.documents.clone().to_device(&device));
    let documents = Tensor::cat(documents.collect(), 0).transpose();
    let ranker = Ranker::new(&ids);
    let rows = (scores / ids.len()).max(1);
    let mut lists = Vec::new();
    for part in parts {
        let queries = part.queries.dims()[0];
        for start in (0..queries).step_by(rows) {
            let rows = start..queries.min(start + rows);
            let some = part
                .queries
                .clone()
                .slice([rows.clone()])
                .to_device(&device);
            let scores = some.matmul(documents.clone());
            lists.extend(lists_of(&scores, &part.grades[rows], &ids, &ranker, depth)?);
        }
    }
    Ok(lists)
}

/// The lists of the queries that have judgements.
fn lists_of(
    scores: &Tensor<2>,
    grades: &[HashMap<String, i32>],
    ids: &[&str],
    ranker: &Ranker,
    depth: usize,
) -> Lists {
    let scores = match scores.shape().num_elements() {
        0 => Vec::new(),
        _ => numbers(scores.clone())?,
    };
    let list = |(query, grades): (usize, &HashMap<String, i32>)| {
        let row = query * ids.len();
        let ranked = ranker.rank(&scores[row..row + ids.len()], depth);
        let ranked: Vec<&str> = ranked.into_iter().map(|document| ids[document]).collect();
        list(&ranked, grades)
    };
    Ok(grades.iter().enumerate().filter_map(list).collect())
}

/// A list by ids; None without a judgement.
pub fn list<Id: AsRef<str>>(ranked: &[Id], grades: &HashMap<String, i32>) -> Option<RankedList> {
    let ranked = ranked.iter().map(AsRef::as_ref);
    let judged = grades.iter().map(|(id, grade)| (id.as_str(), *grade));
    (!grades.is_empty()).then(|| RankedList::new(ranked, judged))
}

fn numbers(tensor: Tensor<2>) -> Result<Vec<f64>, TensorReadError> {
    Ok(tensor.try_into_data()?.iter::<f64>().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// Whatever is held at a time, and wherever the parts are.
    #[test]
    fn portions_of_the_queries_change_nothing() {
        let device = Device::flex();
        let rows = |count: usize, salt: usize| {
            let entries = (0..2 * count).map(|i| ((i * 37 + salt) % 11) as f32);
            let data = TensorData::new(entries.collect::<Vec<_>>(), [count, 2]);
            Tensor::<2>::from_data(data, &device)
        };
        let part = |queries: usize, documents: std::ops::Range<usize>| Embedded {
            queries: rows(queries, documents.start + 1),
            documents: rows(documents.len(), documents.start + 5),
            ids: documents.map(|id| id.to_string()).collect(),
            grades: (0..queries)
                .map(|query| HashMap::from([(query.to_string(), 1), ("4".into(), 2)]))
                .collect(),
        };
        let parts = [part(5, 0..3), part(0, 3..7), part(4, 7..7)];
        let parts: Vec<&Embedded> = parts.iter().collect();
        let whole = search(&parts, 5, SCORES).unwrap();
        assert_eq!(whole.len(), 9);
        for scores in [1, 7, 14, 20] {
            assert_eq!(search(&parts, 5, scores).unwrap(), whole, "{scores}");
        }
    }
}
