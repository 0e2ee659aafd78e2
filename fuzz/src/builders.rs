//! Targets from lists of anything: the mask that the lists say, or an error.

use std::collections::HashSet;

use arbitrary::{Arbitrary, Result, Unstructured};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_multi_positive::{Targets, TargetsError};

#[derive(Arbitrary, Debug)]
enum Input {
    Groups {
        counts: Vec<Count>,
        size: Count,
    },
    WeightedGroups {
        weights: Vec<Vec<Weight>>,
        size: Count,
    },
    Ids {
        relevant: Vec<Vec<u8>>,
        documents: Vec<u8>,
    },
    WeightedIds {
        relevant: Vec<Vec<(u8, Weight)>>,
        documents: Vec<u8>,
    },
    TeacherGroups {
        scores: Vec<Vec<Weight>>,
        size: Count,
    },
    Labels {
        queries: Vec<i8>,
        documents: Vec<i8>,
    },
    Columns {
        columns: Vec<i8>,
        documents: u8,
    },
}

/// Small, and now and then as large as numbers are.
#[derive(Clone, Copy, Debug)]
struct Count(usize);

impl<'a> Arbitrary<'a> for Count {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match bytes.arbitrary::<u8>()? {
            250.. => bytes.arbitrary()?,
            small => usize::from(small % 12),
        }))
    }
}

/// Often in order.
#[derive(Clone, Copy, Debug)]
struct Weight(f32);

impl<'a> Arbitrary<'a> for Weight {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match bytes.arbitrary::<u8>()? {
            224.. => f32::from_bits(bytes.arbitrary()?),
            small => f32::from(small % 8) / 4.0,
        }))
    }
}

/// Builds targets, and compares their mask with the lists.
pub fn run(data: &[u8]) {
    let _ = check(data);
}

fn check(data: &[u8]) -> Result<()> {
    let input = Input::arbitrary(&mut Unstructured::new(data))?;
    let device = Device::flex();
    match &input {
        Input::Groups { counts, size } => {
            let counts: Vec<usize> = counts.iter().map(|count| count.0).collect();
            let built = Targets::from_groups(&counts, size.0, &device);
            let fits = counts.iter().all(|count| *count <= size.0);
            assert_groups(built, counts.len(), size.0, fits, |query, entry| {
                entry < counts[query]
            });
        }
        Input::WeightedGroups { weights, size } => {
            let weights = numbers(weights);
            let built = Targets::from_weighted_groups(&weights, size.0, &device);
            let fits = weights
                .iter()
                .all(|list| list.len() <= size.0 && list.iter().all(is_weight));
            assert_groups(built, weights.len(), size.0, fits, |query, entry| {
                weights[query]
                    .get(entry)
                    .is_some_and(|weight| *weight > 0.0)
            });
        }
        Input::TeacherGroups { scores, size } => {
            let scores = numbers(scores);
            let built = Targets::from_teacher_groups(&scores, size.0, 0.5, &device);
            let is_score = |score: &f32| score.is_finite() || *score == f32::NEG_INFINITY;
            let fits = scores
                .iter()
                .all(|list| list.len() <= size.0 && list.iter().all(is_score));
            assert_eq!(
                built.is_ok(),
                fits && is_room(scores.len(), size.0),
                "{input:?}: {built:?}"
            );
        }
        Input::Ids {
            relevant,
            documents,
        } => {
            let built = Targets::from_ids(relevant, documents, &device);
            let fits = !relevant.is_empty() && !documents.is_empty();
            assert_eq!(built.is_ok(), fits, "{built:?}");
            if let Ok(targets) = built {
                assert_mask(
                    &targets,
                    [relevant.len(), documents.len()],
                    |query, document| relevant[query].contains(&documents[document]),
                );
                assert_turned(targets);
            }
        }
        Input::WeightedIds {
            relevant,
            documents,
        } => {
            let bare = relevant.iter();
            let bare: Vec<Vec<(u8, f32)>> = bare
                .map(|list| list.iter().map(|(id, weight)| (*id, weight.0)).collect())
                .collect();
            let built = Targets::from_weighted_ids(&bare, documents, &device);
            let fits = bare.iter().flatten().all(|(_, weight)| is_weight(weight));
            let fits = fits && !relevant.is_empty() && !documents.is_empty();
            assert_eq!(built.is_ok(), fits, "{built:?}");
            // What an id counts that is named twice is a matter of its own.
            let once = bare.iter().all(|list| {
                let ids: HashSet<u8> = list.iter().map(|(id, _)| *id).collect();
                ids.len() == list.len()
            });
            if let (Ok(targets), true) = (built, once) {
                assert_mask(
                    &targets,
                    [relevant.len(), documents.len()],
                    |query, document| {
                        let named =
                            |(id, weight): &(u8, f32)| *id == documents[document] && *weight > 0.0;
                        bare[query].iter().any(named)
                    },
                );
            }
        }
        Input::Labels { queries, documents } if !queries.is_empty() && !documents.is_empty() => {
            let targets = Targets::from_labels(labels(queries), labels(documents));
            assert_mask(
                &targets,
                [queries.len(), documents.len()],
                |query, document| queries[query] == documents[document],
            );
            assert_turned(targets);
        }
        Input::Columns { columns, documents } if !columns.is_empty() && *documents > 0 => {
            let targets = Targets::from_columns(labels(columns), usize::from(*documents));
            let shape = [columns.len(), usize::from(*documents)];
            assert_mask(&targets, shape, |query, document| {
                i64::from(columns[query]) == document as i64
            });
        }
        Input::Labels { .. } | Input::Columns { .. } => {}
    }
    Ok(())
}

fn numbers(lists: &[Vec<Weight>]) -> Vec<Vec<f32>> {
    let lists = lists.iter();
    lists
        .map(|list| list.iter().map(|weight| weight.0).collect())
        .collect()
}

fn is_weight(weight: &f32) -> bool {
    weight.is_finite() && *weight >= 0.0
}

/// Whether there are groups, and columns for them.
fn is_room(groups: usize, size: usize) -> bool {
    let columns = groups.checked_mul(size);
    columns.is_some_and(|columns| columns > 0 && i32::try_from(columns).is_ok())
}

fn labels(labels: &[i8]) -> Tensor<1, Int> {
    let labels: Vec<i32> = labels.iter().map(|label| i32::from(*label)).collect();
    let count = labels.len();
    Tensor::from_data(TensorData::new(labels, [count]), &Device::flex())
}

fn assert_groups(
    built: std::result::Result<Targets, TargetsError>,
    queries: usize,
    size: usize,
    fits: bool,
    relevant: impl Fn(usize, usize) -> bool,
) {
    assert_eq!(
        built.is_ok(),
        fits && is_room(queries, size),
        "{queries}, {size}: {built:?}"
    );
    let Ok(targets) = built else {
        return;
    };
    assert_eq!(targets.dims(), [queries, queries * size]);
    assert_mask(&targets, [queries, queries * size], |query, document| {
        document / size == query && relevant(query, document % size)
    });
}

fn assert_mask(targets: &Targets, shape: [usize; 2], relevant: impl Fn(usize, usize) -> bool) {
    assert_eq!(targets.dims(), shape);
    let [queries, documents] = shape;
    // Lists stand for matrices that no memory holds.
    if queries * documents > 10_000 {
        return;
    }
    let mask = mask_of(targets);
    for query in 0..queries {
        for document in 0..documents {
            let (got, want) = (
                mask[query * documents + document],
                relevant(query, document),
            );
            assert_eq!(got, want, "query {query}, document {document} of {shape:?}");
        }
    }
}

/// Documents as queries, and back.
fn assert_turned(targets: Targets) {
    let [queries, documents] = targets.dims();
    if queries * documents > 10_000 {
        return;
    }
    let mask = mask_of(&targets);
    let turned = targets.transpose();
    assert_mask(&turned, [documents, queries], |document, query| {
        mask[query * documents + document]
    });
    assert_eq!(mask_of(&turned.transpose()), mask);
}

fn mask_of(targets: &Targets) -> Vec<bool> {
    let mask = targets.positives().into_data();
    mask.iter::<bool>().collect()
}
