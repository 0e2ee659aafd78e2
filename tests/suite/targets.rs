//! Every way to say who is positive, the errors of those that read data, and masks that
//! travel between devices.

use crate::{
    batch::{Batch, Criterion, bool_matrix, bools, numbers},
    device::{autodiff_devices, device},
    oracle::{DEFAULTS, objectives},
};
use burn::tensor::{Bool, DType, Int, Tensor};
use burn_multi_positive::{Targets, TargetsError};

const T: bool = true;
const F: bool = false;

fn mask(rows: &[&[bool]]) -> Tensor<2, Bool> {
    let rows: Vec<Vec<bool>> = rows.iter().map(|row| row.to_vec()).collect();
    bool_matrix(&rows, &device())
}

fn ints(values: &[i64]) -> Tensor<1, Int> {
    Tensor::from_ints(values, &device())
}

#[track_caller]
fn assert_positives(targets: &Targets, rows: &[&[bool]]) {
    assert_eq!(bools(targets.positives()), rows);
}

/// The same relevance in every form: queries 0 and 1 share documents 1 and 2, query 2
/// owns document 0.
fn forms() -> [(&'static str, Targets); 3] {
    let rows: [&[bool]; 3] = [&[F, T, T, F], &[F, T, T, F], &[T, F, F, F]];
    let relevant = [vec![7, 9], vec![9, 7], vec![5]];
    [
        ("mask", Targets::new(mask(&rows))),
        (
            "labels",
            Targets::from_labels(ints(&[4, 4, 8]), ints(&[8, 4, 4, 6])),
        ),
        (
            "ids",
            Targets::from_ids(&relevant, &[5, 7, 9, 11], &device()).unwrap(),
        ),
    ]
}

#[test]
fn all_forms_materialise_to_their_mask() {
    for (form, targets) in forms() {
        let rows: [&[bool]; 3] = [&[F, T, T, F], &[F, T, T, F], &[T, F, F, F]];
        assert_eq!(bools(targets.positives()), rows, "{form}");
    }
}

#[test]
fn all_forms_give_the_same_losses() {
    let batch = Batch::new(&[
        (&[0.5, -1.0, 2.0, 0.25], &[1, 2]),
        (&[1.5, 0.75, -0.5, -2.0], &[1, 2]),
        (&[-0.25, 3.0, 1.75, 0.625], &[0]),
    ]);
    let candidates = || mask(&[&[T, T, T, F], &[T, T, F, T], &[T, T, T, T]]);
    let ignoring = batch.clone().ignoring(0, 3).ignoring(1, 2);
    for objective in objectives().iter().filter(|o| o.loss != DEFAULTS[3].loss) {
        let criterion = Criterion::from(objective);
        let rows = |targets: Targets| {
            numbers(criterion.rows(batch.scores(&device(), DType::F32), targets))
        };
        for (form, targets) in forms() {
            let want = rows(batch.targets(&device()));
            assert_eq!(rows(targets.clone()), want, "{form} {objective:?}");
            let want = rows(ignoring.targets(&device()));
            assert_eq!(
                rows(targets.with_candidates(candidates())),
                want,
                "{form} {objective:?}"
            );
        }
    }
}

#[test]
fn candidates_given_twice_must_both_hold() {
    for (_, targets) in forms() {
        let targets = targets
            .with_candidates(mask(&[&[T, F, T, T], &[T, T, T, T], &[F, T, T, T]]))
            .with_candidates(mask(&[&[T, T, T, T], &[T, T, F, T], &[T, T, F, F]]));
        assert_positives(&targets, &[&[F, F, T, F], &[F, T, F, F], &[F, F, F, F]]);
    }
}

#[test]
fn transposing_turns_positives_and_candidates() {
    let candidates = mask(&[&[T, F, T, T], &[T, T, T, T], &[F, T, T, T]]);
    for (form, targets) in forms() {
        let turned = targets.clone().transpose();
        let rows: [&[bool]; 4] = [&[F, F, T], &[T, T, F], &[T, T, F], &[F, F, F]];
        assert_eq!(bools(turned.positives()), rows, "{form}");
        let before = targets
            .clone()
            .with_candidates(candidates.clone())
            .transpose();
        let after = turned.with_candidates(candidates.clone().transpose());
        let rows: [&[bool]; 4] = [&[F, F, F], &[F, T, F], &[T, T, F], &[F, F, F]];
        assert_eq!(bools(before.positives()), rows, "{form}");
        assert_eq!(bools(after.positives()), rows, "{form}");
        let back = before.transpose();
        let want = targets.with_candidates(candidates.clone()).positives();
        assert_eq!(bools(back.positives()), bools(want), "{form}");
    }
}

#[test]
fn groups_start_with_their_positives() {
    let targets = Targets::from_groups(&[1, 0, 2], 2, &device()).unwrap();
    assert_positives(
        &targets,
        &[
            &[T, F, F, F, F, F],
            &[F, F, F, F, F, F],
            &[F, F, F, F, T, T],
        ],
    );
}

/// Groups of 3, 2 and 1 documents, padded to 3: the padding is ignored by everyone.
#[test]
fn padding_of_ragged_groups_is_ignored() {
    let real = [T, T, T, T, T, F, T, F, F];
    let targets = Targets::from_groups(&[2, 1, 1], 3, &device())
        .unwrap()
        .with_candidates(mask(&[&real, &real, &real]));
    let scores = [
        0.5,
        -1.0,
        2.0,
        0.25,
        1.5,
        f64::NAN,
        0.75,
        f64::INFINITY,
        9.0,
    ];
    let padded = Batch::new(&[(&scores, &[]), (&scores, &[]), (&scores, &[])]);
    let scores = [0.5, -1.0, 2.0, 0.25, 1.5, 0.75];
    let dense = Batch::new(&[(&scores, &[0, 1]), (&scores, &[3]), (&scores, &[5])]);
    for objective in &DEFAULTS[..3] {
        let criterion = Criterion::from(objective);
        let got = criterion.rows(padded.scores(&device(), DType::F32), targets.clone());
        let want = criterion.rows(
            dense.scores(&device(), DType::F32),
            dense.targets(&device()),
        );
        for (got, want) in numbers(got).into_iter().zip(numbers(want)) {
            approx::assert_relative_eq!(got, want, max_relative = 1e-6);
        }
    }
}

#[test]
fn ids_of_documents_that_occur_twice_are_positives_twice() {
    let relevant = [vec!["a", "c"], vec!["b"]];
    let targets = Targets::from_ids(&relevant, &["a", "b", "a", "d", "c"], &device()).unwrap();
    assert_positives(&targets, &[&[T, F, T, F, T], &[F, T, F, F, F]]);
}

#[test]
fn ids_that_are_absent_or_named_twice_change_nothing() {
    let relevant = [vec![3, 99, 3], vec![], vec![42]];
    let targets = Targets::from_ids(&relevant, &[1, 3], &device()).unwrap();
    assert_positives(&targets, &[&[F, T], &[F, F], &[F, F]]);
}

#[test]
fn ids_are_anything_that_hashes() {
    #[derive(PartialEq, Eq, Hash)]
    struct Passage {
        page: String,
        line: u16,
    }
    let passage = |page: &str, line| Passage {
        page: page.into(),
        line,
    };
    let rows: [&[bool]; 2] = [&[T, F], &[F, T]];
    let device = device();
    let owned = |id: &str| vec![id.to_string()];
    let documents = ["x".to_string(), "y".to_string()];
    for targets in [
        Targets::from_ids(&[owned("x"), owned("y")], &documents, &device),
        Targets::from_ids(
            &[vec![1u64 << 60], vec![u64::MAX]],
            &[1 << 60, u64::MAX],
            &device,
        ),
        Targets::from_ids(
            &[vec![passage("p", 1)], vec![passage("p", 2)]],
            &[passage("p", 1), passage("p", 2)],
            &device,
        ),
    ] {
        assert_positives(&targets.unwrap(), &rows);
    }
}

#[test]
fn labels_that_are_equal_are_positives() {
    let targets = Targets::from_labels(ints(&[2, -1, 0]), ints(&[0, 2, 2, -1]));
    assert_positives(&targets, &[&[F, T, T, F], &[F, F, F, T], &[T, F, F, F]]);
    // neighbours beyond what f32 tells apart
    let large = (1 << 24) + 1;
    let targets = Targets::from_labels(ints(&[large]), ints(&[large - 1, large, large + 1]));
    assert_positives(&targets, &[&[F, T, F]]);
}

#[test]
fn bad_data_is_an_error_that_names_the_entry() {
    let device = device();
    let none: [Vec<u32>; 0] = [];
    for (result, expected, message) in [
        (
            Targets::from_groups(&[1, 2, 4, 1], 3, &device),
            TargetsError::TooManyPositives {
                query: 2,
                positives: 4,
                group_size: 3,
            },
            "positives of query 2: expected at most the group size 3, got 4",
        ),
        (
            Targets::from_groups(&[1, 1], usize::MAX, &device),
            TargetsError::TooManyDocuments {
                queries: 2,
                group_size: usize::MAX,
            },
            "group_size: expected at most 2147483647 documents in 2 groups, got 18446744073709551615 in each",
        ),
        // No list of so many positives is made.
        (
            Targets::from_groups(&[1 << 60], 1 << 60, &device),
            TargetsError::TooManyDocuments {
                queries: 1,
                group_size: 1 << 60,
            },
            "group_size: expected at most 2147483647 documents in 1 groups, got 1152921504606846976 in each",
        ),
        (
            Targets::from_weighted_groups(&[vec![1.0], vec![1.0, 0.5]], 1, &device),
            TargetsError::TooManyPositives {
                query: 1,
                positives: 2,
                group_size: 1,
            },
            "positives of query 1: expected at most the group size 1, got 2",
        ),
        (
            Targets::from_teacher_groups(&[vec![1.0, 0.5]], 1, 1.0, &device),
            TargetsError::TooManyPositives {
                query: 0,
                positives: 2,
                group_size: 1,
            },
            "positives of query 0: expected at most the group size 1, got 2",
        ),
        (
            Targets::from_groups(&[0, 1], 0, &device),
            TargetsError::EmptyGroup,
            "group_size: expected at least one document a group, got 0",
        ),
        (
            Targets::from_groups(&[], 4, &device),
            TargetsError::NoQueries,
            "no queries: expected at least one, got 0",
        ),
        (
            Targets::from_ids(&none, &[1, 2], &device),
            TargetsError::NoQueries,
            "no queries: expected at least one, got 0",
        ),
        (
            Targets::from_ids(&[vec![1u32]], &[], &device),
            TargetsError::NoDocuments,
            "no documents: expected at least one, got 0",
        ),
    ] {
        let error: Box<dyn std::error::Error> = match result {
            Ok(targets) => panic!("{targets:?} in place of {expected:?}"),
            Err(error) => {
                assert_eq!(error, expected);
                Box::new(error)
            }
        };
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_group_may_be_all_positives() {
    let targets = Targets::from_groups(&[2], 2, &device()).unwrap();
    assert_positives(&targets, &[&[T, T]]);
}

#[test]
fn targets_and_scores_of_differing_autodiff_mix() {
    let batch =
        Batch::new(&[(&[0.5, -1.0, 2.0], &[0]), (&[1.5, 0.75, -0.5], &[1, 2])]).ignoring(0, 1);
    let [plain, autodiff, checkpointed] = {
        let [autodiff, checkpointed] = autodiff_devices();
        [device(), autodiff, checkpointed]
    };
    let devices = [plain, autodiff, checkpointed];
    for objective in DEFAULTS {
        let criterion = Criterion::from(&objective);
        for of_positives in &devices {
            for of_candidates in &devices {
                for of_scores in &devices {
                    let targets = Targets::new(batch.positives(of_positives))
                        .with_candidates(batch.candidates(of_candidates));
                    let scores = batch.scores(of_scores, DType::F32);
                    if !of_scores.is_autodiff() {
                        criterion.mean(scores, targets);
                        continue;
                    }
                    let scores = scores.require_grad();
                    let loss = criterion.mean(scores.clone(), targets);
                    assert!(scores.grad(&loss.backward()).is_some());
                }
            }
        }
    }
}

#[test]
fn ids_groups_and_labels_made_on_an_autodiff_device_serve_any_scores() {
    let [autodiff, checkpointed] = autodiff_devices();
    for of_targets in [&autodiff, &checkpointed] {
        let label = || Tensor::<1, Int>::from_ints([0, 1], of_targets);
        for targets in [
            Targets::from_ids(&[vec![0], vec![1]], &[0, 1], of_targets).unwrap(),
            Targets::from_groups(&[1, 1], 1, of_targets).unwrap(),
            Targets::from_labels(label(), label()),
        ] {
            for of_scores in [device(), autodiff.clone(), checkpointed.clone()] {
                let scores = Tensor::<2>::zeros([2, 2], &of_scores);
                let loss = Criterion::from(&DEFAULTS[0]).mean(scores, targets.clone());
                approx::assert_relative_eq!(numbers(loss)[0], 2f64.ln(), max_relative = 1e-6);
            }
            assert!(!targets.positives().is_autodiff());
        }
    }
}

#[test]
fn targets_are_clone_debug_and_from_a_mask() {
    let targets: Targets = mask(&[&[T, F]]).into();
    assert_positives(&targets.clone(), &[&[T, F]]);
    assert!(format!("{targets:?}").starts_with("Targets"));
}
