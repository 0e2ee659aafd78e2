//! What is ranked, and what was judged.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use burn::{
    backend::ExecutionError,
    tensor::{DType, Tensor, TensorReadError},
};

use super::search::{list, lists_of_epoch, lists_of_scores, lists_of_targets};
use crate::{Embeddings, Targets, evaluation::RankedList};

/// How many documents of a ranking are kept, as runs at TREC have them. More where a metric
/// looks at more.
const DEPTH: usize = 1000;

/// The input of a [`RankingMetric`](super::RankingMetric) from one batch.
///
/// The id of a document is a text, or a number that is taken as text. Grades are those of
/// relevance judgements (qrels): a document with a grade of 0 or below is judged and not
/// relevant. A query without judgements does not count, as in `trec_eval`. A query whose
/// judgements are all 0 counts as 0. So does a query for which nothing was found, as with the
/// option `-c` of `trec_eval`.
///
/// A NaN is below all other scores. So the ranking of a model that diverged is the order of
/// the ids, and only its loss shows the NaN.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::train::RankingInput;
///
/// let device = Device::default();
/// let scores = Tensor::from_floats([[0.1, 0.9, 0.4]], &device);
/// let judged = [vec![("d3", 2), ("d1", 1)]];
/// let input = RankingInput::from_scores(scores, &["d1", "d2", "d3"], &judged);
/// # let _ = input;
/// ```
#[derive(Clone, Debug)]
pub struct RankingInput(Arc<Part>);

#[derive(Debug)]
struct Part {
    source: Source,
    /// The lists, once a metric has asked; other metrics reuse them. Those of an epoch are kept
    /// in its first part.
    ranked: Mutex<Option<Ranked>>,
}

// There is one for each batch: what its variants differ in size does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
enum Source {
    Lists(Arc<Vec<RankedList>>),
    Scores(Scored),
    Targets { scores: Tensor<2>, targets: Targets },
    Embedded(Embedded),
}

#[derive(Debug)]
struct Ranked {
    /// Those of the epoch.
    parts: Vec<Weak<Part>>,
    depth: usize,
    lists: Arc<Vec<RankedList>>,
}

/// The grades of each query by the ids of documents.
pub(super) type Grades = Vec<HashMap<String, i32>>;

#[derive(Debug)]
pub(super) struct Scored {
    pub scores: Tensor<2>,
    pub ids: Vec<String>,
    pub grades: Grades,
}

/// A part of the queries and of the documents that are ranked at the end of an epoch.
#[derive(Debug)]
pub(super) struct Embedded {
    pub queries: Tensor<2>,
    pub documents: Tensor<2>,
    pub ids: Vec<String>,
    pub grades: Grades,
}

impl From<Source> for RankingInput {
    fn from(source: Source) -> Self {
        Self(Arc::new(Part {
            source,
            ranked: Mutex::new(None),
        }))
    }
}

impl RankingInput {
    /// Rankings that were made elsewhere: the ids of the documents that were found for each
    /// query, best first. `judged` has the ids that were judged for each query, and their
    /// grades.
    ///
    /// # Panics
    ///
    /// If `judged` has more or fewer queries than `rankings`.
    pub fn from_rankings<Id: ToString>(rankings: &[Vec<Id>], judged: &[Vec<(Id, i32)>]) -> Self {
        assert_judged(judged.len(), rankings.len());
        let lists = rankings.iter().zip(grades(judged));
        let lists = lists.filter_map(|(ranking, grades)| list(&text(ranking), &grades));
        Source::Lists(Arc::new(lists.collect())).into()
    }

    /// The scores of queries against documents, which are a fixed set or those of the batch.
    /// All queries have the same documents.
    ///
    /// # Shapes
    ///
    /// - `scores`: `[queries, documents]`
    /// - `ids`: one for each document. If several documents have one id, only the first
    ///   counts.
    /// - `judged`: for each query the ids that were judged, and their grades
    ///
    /// # Panics
    ///
    /// If ids or judgements differ in number from the scores.
    pub fn from_scores<Id: ToString>(
        scores: Tensor<2>,
        ids: &[Id],
        judged: &[Vec<(Id, i32)>],
    ) -> Self {
        let [queries, documents] = scores.dims();
        assert_ids(ids.len(), documents);
        assert_judged(judged.len(), queries);
        Source::Scores(Scored {
            scores: scores.without_autodiff(),
            ids: text(ids),
            grades: grades(judged),
        })
        .into()
    }

    /// The scores of a batch, judged by the targets of its loss. The metric then says how well
    /// the batch that is trained on is ranked already. The gain of a positive is its weight.
    /// Ignored documents are not ranked. A query without a positive does not count. Among
    /// equal scores, the column whose number is greater as text comes first.
    ///
    /// The scores of the batch are read back, and each row is sorted on the host. This is
    /// meant for batches of some thousand documents.
    ///
    /// # Shapes
    ///
    /// - `scores`: `[queries, documents]`
    ///
    /// # Panics
    ///
    /// If the targets have another shape or device than the scores.
    pub fn from_targets(scores: Tensor<2>, targets: impl Into<Targets>) -> Self {
        let targets = targets.into();
        targets.assert_fit(scores.dims(), &scores.device());
        Source::Targets {
            scores: scores.without_autodiff(),
            targets,
        }
        .into()
    }

    /// The embeddings of some of the queries and some of the documents of an epoch. When the
    /// epoch ends, every query is scored against the documents of all batches, by dot products
    /// in f32 or f64.
    ///
    /// So the set of documents grows from batch to batch. A fixed set can come in batches
    /// without queries. If a document comes again, its first embedding counts. The embeddings
    /// stay on their device until the epoch ends, in f32 or f64. Then there is a second copy
    /// of the embeddings of the documents, and some 64 MiB of scores at a time.
    ///
    /// # Shapes
    ///
    /// - `queries`: `[queries, dimensions]`, `documents`: `[documents, dimensions]`; either
    ///   may be empty
    /// - `ids`: one for each document
    /// - `judged`: for each query the ids that were judged, and their grades
    ///
    /// # Panics
    ///
    /// - If the number of ids differs from that of the documents, or the number of judgements
    ///   from that of the queries.
    /// - If queries and documents differ in dimensions, device or type, after half precision
    ///   became f32.
    /// - When the epoch ends: if its batches differ in dimensions or type.
    pub fn from_embeddings<Id: ToString>(
        queries: Tensor<2>,
        documents: Tensor<2>,
        ids: &[Id],
        judged: &[Vec<(Id, i32)>],
    ) -> Self {
        let [queries, documents] = [queries, documents].map(|x| widened(x.without_autodiff()));
        let Embeddings {
            queries, documents, ..
        } = Embeddings::new(queries, documents);
        assert_ids(ids.len(), documents.dims()[0]);
        assert_judged(judged.len(), queries.dims()[0]);
        Source::Embedded(Embedded {
            queries,
            documents,
            ids: text(ids),
            grades: grades(judged),
        })
        .into()
    }

    /// No query.
    pub(super) fn nothing() -> Self {
        Source::Lists(Arc::default()).into()
    }

    /// Dispatches what is buffered.
    pub(super) fn flush(&self) -> Result<(), ExecutionError> {
        let mut tensors = self.tensors().into_iter();
        tensors.try_for_each(|tensor| tensor.device().flush())
    }

    /// What lies on a device.
    pub(super) fn tensors(&self) -> Vec<&Tensor<2>> {
        match &self.0.source {
            Source::Lists(_) => Vec::new(),
            Source::Scores(scored) => vec![&scored.scores],
            Source::Targets { scores, .. } => vec![scores],
            Source::Embedded(embedded) => vec![&embedded.queries, &embedded.documents],
        }
    }

    /// The lists of the batch, of no less than `depth` documents; None if they wait for the
    /// rest of the epoch.
    pub(super) fn lists(
        &self,
        depth: usize,
    ) -> Result<Option<Arc<Vec<RankedList>>>, TensorReadError> {
        let rank: &dyn Fn(usize) -> _ = match &self.0.source {
            Source::Lists(lists) => return Ok(Some(lists.clone())),
            Source::Scores(scored) => &|depth| lists_of_scores(scored, depth),
            Source::Targets { scores, targets } => {
                &|depth| lists_of_targets(scores, targets, depth)
            }
            Source::Embedded(_) => return Ok(None),
        };
        self.ranked(std::slice::from_ref(self), depth, rank)
            .map(Some)
    }

    /// The lists of all queries of the parts of an epoch against all documents of them.
    pub(super) fn lists_of_all(
        parts: &[Self],
        depth: usize,
    ) -> Result<Arc<Vec<RankedList>>, TensorReadError> {
        let Some(first) = parts.first() else {
            return Ok(Arc::default());
        };
        let embedded = parts.iter().filter_map(|part| match &part.0.source {
            Source::Embedded(embedded) => Some(embedded),
            _ => None,
        });
        let embedded: Vec<&Embedded> = embedded.collect();
        first.ranked(parts, depth, &|depth| lists_of_epoch(&embedded, depth))
    }

    fn ranked(
        &self,
        parts: &[Self],
        depth: usize,
        rank: &dyn Fn(usize) -> Result<Vec<RankedList>, TensorReadError>,
    ) -> Result<Arc<Vec<RankedList>>, TensorReadError> {
        let ranked = || self.0.ranked.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<Weak<Part>> = parts.iter().map(|part| Arc::downgrade(&part.0)).collect();
        let same = |known: &[Weak<Part>]| {
            known.len() == parts.len() && known.iter().zip(&parts).all(|(a, b)| a.ptr_eq(b))
        };
        if let Some(ranked) = &*ranked()
            && same(&ranked.parts)
            && ranked.depth >= depth
        {
            return Ok(ranked.lists.clone());
        }
        let depth = depth.max(DEPTH);
        // Nothing is locked meanwhile: a thread of a pool may take up another metric while it
        // waits for its product.
        let lists = Arc::new(rank(depth)?);
        *ranked() = Some(Ranked {
            parts,
            depth,
            lists: lists.clone(),
        });
        Ok(lists)
    }
}

fn text<Id: ToString>(ids: &[Id]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn grades<Id: ToString>(judged: &[Vec<(Id, i32)>]) -> Grades {
    let text = |(id, grade): &(Id, i32)| (id.to_string(), *grade);
    let of_query = |judged: &Vec<(Id, i32)>| judged.iter().map(text).collect();
    judged.iter().map(of_query).collect()
}

fn widened(embeddings: Tensor<2>) -> Tensor<2> {
    match embeddings.dtype() {
        DType::F64 | DType::F32 => embeddings,
        _ => embeddings.cast(DType::F32),
    }
}

fn assert_ids(got: usize, documents: usize) {
    assert!(
        got == documents,
        "ids: expected one for each of {documents} documents, got {got}"
    );
}

fn assert_judged(got: usize, queries: usize) {
    assert!(
        got == queries,
        "judged: expected judgements of each of {queries} queries, got {got}"
    );
}
