//! Label regimes: which documents a query is trained on, and in which order of phases.

use std::cmp::Reverse;

use clap::ValueEnum;
use rand::{
    SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use serde::{Deserialize, Serialize};

use super::{
    annotator::{Report, Simulation},
    prepared::{Prepared, TrainQuery},
    source::{Example, Source},
};

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Regime {
    /// One judged positive a query
    Human,
    /// The labels of a simulated annotator
    Llm,
    /// The human label, then those of the annotator
    Merged,
    /// Both, in random order: a cap may leave out the human one
    MergedAnyOrder,
    /// The annotator's labels, and at last one epoch on the human ones
    Curriculum,
    /// The annotator's labels, and at last one epoch on both
    CurriculumAll,
    /// All judgements: the upper bound
    All,
    /// The labels of a file
    #[value(skip)]
    File,
    /// The labels of a file, and at last one epoch on those of another
    #[value(skip)]
    FileCurriculum,
}

impl Regime {
    pub fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Llm => "LLM (simulated)",
            Self::Merged => "merged (simulated)",
            Self::MergedAnyOrder => "merged in any order (simulated)",
            Self::Curriculum => "curriculum (simulated)",
            Self::CurriculumAll => "curriculum, all labels (simulated)",
            Self::All => "all judgements",
            Self::File => "file",
            Self::FileCurriculum => "file, curriculum",
        }
    }

    /// For a figure that says what is simulated.
    pub fn short_name(&self) -> String {
        self.name().replace(" (simulated)", "")
    }

    pub fn asks_an_annotator(self) -> bool {
        self == Self::Llm || self.is_mixed()
    }

    /// Whether it has labels of the annotator and human ones.
    pub fn is_mixed(self) -> bool {
        matches!(
            self,
            Self::Merged | Self::MergedAnyOrder | Self::Curriculum | Self::CurriculumAll
        )
    }

    /// Whether one epoch follows the others.
    pub fn is_curriculum(self) -> bool {
        matches!(self, Self::Curriculum | Self::CurriculumAll)
    }
}

/// Training examples, and for how many epochs they are trained on.
pub struct Phase<T> {
    pub source: Source<T>,
    pub epochs: usize,
    /// Whether the positives of an example are drawn anew in each epoch, not the first of
    /// its list.
    pub redrawn: bool,
}

/// What a training learns from.
pub struct Lessons<T> {
    pub phases: Vec<Phase<T>>,
    /// Of a simulated annotator.
    pub report: Option<Report>,
    /// The labels of an annotator, a list for each query; `None` without an annotator.
    pub annotated: Option<Vec<Vec<usize>>>,
}

/// The labels are those of the seed, whatever the objective.
pub fn lessons<T>(
    prepared: &Prepared<T>,
    queries: &[TrainQuery<T>],
    regime: Regime,
    simulation: Option<Simulation>,
    epochs: usize,
    seed: u64,
) -> Lessons<T> {
    let mut rng = StdRng::seed_from_u64(seed);
    let human: Vec<usize> = queries
        .iter()
        .filter_map(|query| query.relevant.choose(&mut rng).copied())
        .collect();
    let human_lists = || human.iter().map(|label| vec![*label]).collect::<Vec<_>>();
    let annotated = simulation
        .map(|simulation| simulation.annotate(prepared.corpus.len(), queries, &human, &mut rng));
    let (llm, report) = annotated.unzip();
    let llm = llm.unwrap_or_default();

    let phase = |lists: &[Vec<usize>], epochs| Phase {
        source: Source::Memory(examples(prepared, queries, lists)),
        epochs,
        redrawn: regime == Regime::All,
    };
    let last = match regime {
        Regime::Curriculum => Some(human_lists()),
        Regime::CurriculumAll => Some(merged(&human, &llm)),
        _ => None,
    };
    let lists = match regime {
        Regime::Human => human_lists(),
        Regime::Llm | Regime::Curriculum | Regime::CurriculumAll => llm,
        Regime::Merged => merged(&human, &llm),
        Regime::MergedAnyOrder => {
            let mut lists = merged(&human, &llm);
            lists.iter_mut().for_each(|list| list.shuffle(&mut rng));
            lists
        }
        Regime::File => {
            let lists = queries.iter().map(|query| best_first(query, &mut rng));
            lists.collect()
        }
        Regime::All | Regime::FileCurriculum => {
            let all = queries.iter().map(|query| query.relevant.clone());
            all.collect()
        }
    };
    let mut phases = vec![phase(&lists, epochs)];
    phases.extend(last.map(|lists| phase(&lists, 1)));
    let of_annotator = regime.asks_an_annotator() || regime == Regime::File;
    Lessons {
        phases,
        report,
        annotated: of_annotator.then_some(lists),
    }
}

/// The labels of a file by their grades, those of one grade in random order.
fn best_first<T>(query: &TrainQuery<T>, rng: &mut StdRng) -> Vec<usize> {
    let mut labels = query.labels.clone();
    labels.shuffle(rng);
    labels.sort_by_key(|(_, grade)| Reverse(*grade));
    labels.into_iter().map(|(document, _)| document).collect()
}

fn merged(human: &[usize], llm: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let merged = human.iter().zip(llm).map(|(human, llm)| {
        let others = llm.iter().filter(|label| *label != human);
        std::iter::once(human).chain(others).copied().collect()
    });
    merged.collect()
}

/// One for each query that has a label. Its hard negatives are the best of the lexical
/// ranking that are not labelled: documents that nobody labelled are among them, relevant
/// or not, as in the paper.
fn examples<T>(
    prepared: &Prepared<T>,
    queries: &[TrainQuery<T>],
    lists: &[Vec<usize>],
) -> Vec<Example<T>> {
    let passages = |documents: &mut dyn Iterator<Item = &usize>| {
        documents
            .map(|document| prepared.documents[*document].clone())
            .collect()
    };
    let labelled = queries.iter().zip(lists);
    labelled
        .filter(|(_, labels)| !labels.is_empty())
        .map(|(query, labels)| Example {
            query: query.text.clone(),
            positives: passages(&mut labels.iter()),
            wrong: labels
                .iter()
                .filter(|label| !query.relevant.contains(label))
                .map(|label| prepared.documents[*label].id.clone())
                .collect(),
            left_out: query
                .left_out
                .iter()
                .map(|document| prepared.documents[*document].id.clone())
                .collect(),
            negatives: passages(&mut query.top.iter().filter(|d| !labels.contains(d))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_best_labels_of_a_file_come_first() {
        let query = TrainQuery {
            place: 0,
            text: Arc::new(()),
            relevant: Vec::new(),
            labels: vec![(4, 1), (5, 3), (6, 1), (7, 2), (8, 1)],
            top: Vec::new(),
            pool: Vec::new(),
            near: Vec::new(),
            left_out: Vec::new(),
        };
        let lists = (0..20).map(|seed| best_first(&query, &mut StdRng::seed_from_u64(seed)));
        let lists: Vec<Vec<usize>> = lists.collect();
        assert!(
            lists
                .iter()
                .all(|list| list[..2] == [5, 7] && list.len() == 5)
        );
        assert!(lists.iter().any(|list| list != &lists[0]));
    }

    #[test]
    fn merged_lists_begin_with_the_human_label_and_hold_it_once() {
        let merged = merged(&[4, 5], &[vec![9, 4, 8], vec![]]);
        assert_eq!(merged, [vec![4, 9, 8], vec![5]]);
    }
}
