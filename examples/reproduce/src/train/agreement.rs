//! How well labels agree with those of humans who judged the same documents.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

use super::prepared::TrainQuery;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Agreement {
    pub queries: usize,
    /// Documents.
    pub judged: usize,
    pub labels_a_query: f64,
    pub precision: f64,
    pub recall: f64,
    /// Cohen's.
    pub kappa: f64,
    /// The wrong ones among the labels.
    pub wrong: Clustering,
    /// The relevant documents that are not labelled.
    pub missed: Clustering,
    /// The probability that a wrong label is nearer to its query than a right one of the same query,
    /// by the pretrained encoder before any training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_is_nearer: Option<f64>,
}

/// How errors keep together by query.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Clustering {
    /// Of the errors of a query, by analysis of variance: 0 if they are independent, 1 if a query
    /// has either nothing or only errors.
    pub intraclass_correlation: f64,
    /// The variance between queries over that of independent errors.
    pub variance_ratio: f64,
}

impl Agreement {
    /// For each query its judged documents: whether humans find one relevant, and whether it is
    /// labelled.
    pub fn of(queries: &[Vec<(bool, bool)>]) -> Self {
        let count = |query: &[(bool, bool)], which: fn(&(bool, bool)) -> bool| {
            query.iter().filter(|pair| which(pair)).count() as f64
        };
        let all: Vec<(bool, bool)> = queries.concat();
        let judged = all.len() as f64;
        let relevant = count(&all, |pair| pair.0);
        let labelled = count(&all, |pair| pair.1);
        let both = count(&all, |pair| pair.0 && pair.1);
        let agreed = count(&all, |pair| pair.0 == pair.1) / judged;
        let chance = {
            let (relevant, labelled) = (relevant / judged, labelled / judged);
            relevant * labelled + (1.0 - relevant) * (1.0 - labelled)
        };
        let errors = |among: fn(&(bool, bool)) -> bool, error: fn(&(bool, bool)) -> bool| {
            let queries = queries.iter();
            let groups = queries.map(|query| (count(query, among), count(query, error)));
            Clustering::of(&groups.collect::<Vec<_>>())
        };
        Self {
            queries: queries.len(),
            judged: all.len(),
            labels_a_query: labelled / queries.len() as f64,
            precision: both / labelled,
            recall: both / relevant,
            kappa: (agreed - chance) / (1.0 - chance),
            wrong: errors(|pair| pair.1, |pair| pair.1 && !pair.0),
            missed: errors(|pair| pair.0, |pair| pair.0 && !pair.1),
            wrong_is_nearer: None,
        }
    }
}

/// See [`Agreement::wrong_is_nearer`]: for each query its labels, and which documents are
/// relevant. Documents below the end of a ranking are equally near. `None` without a ranking, and
/// where no query has labels of both kinds.
pub fn wrong_is_nearer<'a, T: 'a>(
    labelled: impl Iterator<Item = (&'a TrainQuery<T>, &'a [usize])>,
) -> Option<f64> {
    let (mut pairs, mut nearer) = (0.0, 0.0);
    for (query, labels) in labelled {
        if query.near.is_empty() {
            return None;
        }
        let place = |document: &&usize| {
            let mut near = query.near.iter();
            near.position(|other| other == *document)
                .unwrap_or(query.near.len())
        };
        let labels = labels.iter();
        let (right, wrong): (Vec<&usize>, Vec<&usize>) =
            labels.partition(|label| query.relevant.contains(label));
        let [right, wrong] =
            [right, wrong].map(|labels| labels.iter().map(place).collect::<Vec<_>>());
        for wrong in &wrong {
            for right in &right {
                pairs += 1.0;
                nearer += match wrong.cmp(right) {
                    Ordering::Less => 1.0,
                    Ordering::Equal => 0.5,
                    Ordering::Greater => 0.0,
                };
            }
        }
    }
    (pairs > 0.0).then(|| nearer / pairs)
}

impl Clustering {
    /// From groups of so many things and so many errors among them.
    fn of(groups: &[(f64, f64)]) -> Self {
        let groups: Vec<(f64, f64)> = groups.iter().filter(|(n, _)| *n > 0.0).copied().collect();
        let count = groups.len() as f64;
        let things: f64 = groups.iter().map(|(n, _)| n).sum();
        let rate = groups.iter().map(|(_, errors)| errors).sum::<f64>() / things;
        let between = groups
            .iter()
            .map(|(n, errors)| n * (errors / n - rate).powi(2));
        let between = between.sum::<f64>() / (count - 1.0);
        let within = groups.iter().map(|(n, errors)| errors * (1.0 - errors / n));
        let within = within.sum::<f64>() / (things - count);
        let squares = groups.iter().map(|(n, _)| n * n).sum::<f64>();
        let size = (things - squares / things) / (count - 1.0);
        Self {
            intraclass_correlation: (between - within) / (between + (size - 1.0) * within),
            variance_ratio: between / (rate * (1.0 - rate)),
        }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            queries,
            judged,
            labels_a_query,
            precision,
            recall,
            kappa,
            wrong,
            missed,
            wrong_is_nearer,
        } = self;
        writeln!(
            f,
            "{queries} queries, {judged} judged documents, {labels_a_query:.1} labels a query.\n\n\
             | precision | recall | Cohen's kappa |\n|---|---|---|\n\
             | {precision:.3} | {recall:.3} | {kappa:.3} |\n\n\
             | errors | intraclass correlation by query | \
             variance over that of independent errors |\n\
             |---|---|---|"
        )?;
        for (name, errors) in [("wrong labels", wrong), ("relevant, not labelled", missed)] {
            let (correlation, ratio) = (errors.intraclass_correlation, errors.variance_ratio);
            writeln!(f, "| {name} | {correlation:.3} | {ratio:.2} |")?;
        }
        if let Some(nearer) = wrong_is_nearer {
            writeln!(
                f,
                "\nA wrong label is nearer to its query than a right one with probability \
                 {nearer:.3}, by the encoder before training."
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn precision_recall_and_kappa_are_those_of_the_definitions() {
        // 3 both, 1 labelled alone, 2 relevant alone, 4 neither.
        let first = vec![(true, true), (true, true), (true, false), (false, false)];
        let rest = [(true, true), (false, true), (true, false), (false, false)];
        let second = [&rest[..], &[(false, false), (false, false)]].concat();
        let agreement = Agreement::of(&[first, second]);
        assert_relative_eq!(agreement.precision, 0.75);
        assert_relative_eq!(agreement.recall, 0.6);
        // Agreed on 0.7; by chance on 0.5 * 0.4 + 0.5 * 0.6.
        assert_relative_eq!(agreement.kappa, 0.4, max_relative = 1e-12);
        assert_relative_eq!(agreement.labels_a_query, 2.0);
    }

    #[test]
    fn wrong_labels_are_nearer_or_farther() {
        let query = |near: &[usize]| TrainQuery {
            place: 0,
            text: Arc::new(()),
            relevant: vec![1, 2, 3],
            labels: Vec::new(),
            top: Vec::new(),
            pool: Vec::new(),
            near: near.to_vec(),
            left_out: Vec::new(),
        };
        // The wrong 9 is between the right 1 and 2; 3 is beyond the ranking's end, as the wrong 8.
        let [ranked, unranked] = [query(&[1, 9, 2, 7]), query(&[])];
        let nearer = |query, labels| wrong_is_nearer([(query, labels)].into_iter());
        assert_eq!(nearer(&ranked, &[1, 2, 9][..]), Some(0.5));
        assert_eq!(nearer(&ranked, &[1, 2, 3, 9]), Some(2.0 / 3.0));
        assert_eq!(nearer(&ranked, &[3, 8]), Some(0.5));
        assert_eq!(nearer(&ranked, &[1, 8]), Some(0.0));
        assert_eq!(nearer(&ranked, &[1, 2]), None);
        assert_eq!(nearer(&unranked, &[1, 9]), None);
    }

    #[test]
    fn errors_keep_together_or_apart() {
        let together =
            Clustering::of(&[(4.0, 4.0), (4.0, 0.0), (4.0, 4.0), (4.0, 0.0), (0.0, 0.0)]);
        assert_relative_eq!(together.intraclass_correlation, 1.0);
        // All of the variance, four times that of independent errors, over 3 of 4 degrees.
        assert_relative_eq!(together.variance_ratio, 16.0 / 3.0);
        let apart = Clustering::of(&[(4.0, 2.0); 4]);
        assert_relative_eq!(apart.variance_ratio, 0.0);
        assert!(apart.intraclass_correlation < 0.0);
    }
}
