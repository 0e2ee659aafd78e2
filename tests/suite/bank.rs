//! The memory bank: first in, first out; what is relevant is never a negative; saved and
//! restored.

use crate::{
    batch::{Criterion, bool_matrix, bools, matrix, numbers},
    close::{Tolerance, assert_close, assert_rows_close},
    device::{autodiff_devices, device, turn_to_draw},
    oracle::{DEFAULTS, Loss, objectives},
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_multi_positive::{BankError, MemoryBank, MemoryBankRecord, Stored, Targets, TargetsError};

const DIMENSIONS: usize = 3;

/// The embedding of a document, another for each id.
fn embedding(id: u32) -> [f32; DIMENSIONS] {
    let id = id as f32;
    [(id * 0.7).sin(), (id * 1.3).cos(), (id * 0.31).sin()]
}

fn embeddings(ids: &[u32], device: &Device) -> Tensor<2> {
    let rows: Vec<f32> = ids.iter().flat_map(|&id| embedding(id)).collect();
    Tensor::from_data(TensorData::new(rows, [ids.len(), DIMENSIONS]), device)
}

/// A bank of `capacity` that has been given the batches.
fn bank(capacity: usize, batches: &[&[u32]]) -> MemoryBank<u32> {
    let mut bank = MemoryBank::new(capacity).unwrap();
    for ids in batches {
        bank.push(embeddings(ids, &device()), ids).unwrap();
    }
    bank
}

/// The bank's columns after a batch of one document: their embeddings are those of their
/// ids.
fn stored(bank: &MemoryBank<u32>) -> Vec<u32> {
    let first = embeddings(&[99], &device());
    let (candidates, _) = bank
        .candidates(first, &[99], &[vec![]], Stored::Positive)
        .unwrap();
    let ids = [&[99], bank.ids()].concat();
    assert_eq!(matrix(candidates), matrix(embeddings(&ids, &device())));
    bank.ids().to_vec()
}

fn sorted(mut ids: Vec<u32>) -> Vec<u32> {
    ids.sort_unstable();
    ids
}

/// A capacity, what is pushed, and what stays.
type Sequence = (usize, &'static [&'static [u32]], &'static [u32]);

#[test]
fn the_latest_documents_stay() {
    let cases: [Sequence; 8] = [
        (4, &[], &[]),
        (4, &[&[1, 2]], &[1, 2]),
        (4, &[&[1, 2], &[3, 4]], &[1, 2, 3, 4]),
        // around the end, at once and in steps
        (4, &[&[1, 2, 3], &[4, 5, 6]], &[3, 4, 5, 6]),
        (4, &[&[1, 2, 3], &[4], &[5], &[6, 7, 8]], &[5, 6, 7, 8]),
        // more than there is room for
        (4, &[&[1], &[2, 3, 4, 5, 6, 7]], &[4, 5, 6, 7]),
        (1, &[&[1, 2], &[], &[3]], &[3]),
        // the same document twice is stored twice
        (4, &[&[1, 2], &[2, 1, 1]], &[1, 1, 2, 2]),
    ];
    for (capacity, batches, want) in cases {
        let bank = bank(capacity, batches);
        assert_eq!(sorted(stored(&bank)), want, "{batches:?} in {capacity}");
        assert_eq!(bank.len(), want.len());
        assert_eq!(bank.is_empty(), want.is_empty());
        assert_eq!(bank.capacity(), capacity);
    }
}

#[test]
fn long_sequences_keep_the_last() {
    let mut bank = MemoryBank::new(7).unwrap();
    let mut seen = Vec::new();
    for step in 0..40u32 {
        let ids: Vec<u32> = (0..(step * 5) % 11).map(|i| step * 100 + i).collect();
        bank.push(embeddings(&ids, &device()), &ids).unwrap();
        seen.extend(ids);
        let last = seen[seen.len().saturating_sub(7)..].to_vec();
        assert_eq!(sorted(stored(&bank)), sorted(last), "step {step}");
    }
}

#[test]
fn a_relevant_document_of_the_bank_is_positive_or_ignored_never_negative() {
    // 2 is in the batch and, twice, in the bank; 9 is in neither.
    let bank = bank(6, &[&[2, 5, 7], &[2, 8]]);
    let (ids, relevant) = ([1, 2, 3], [vec![1, 7], vec![2, 9], vec![5, 8], vec![]]);
    let of = |stored| {
        let documents = embeddings(&ids, &device());
        bank.candidates(documents, &ids, &relevant, stored)
            .unwrap()
            .1
    };
    let (o, x) = (false, true);
    //                batch      bank: 2 5 7 2 8
    let positive = [
        [x, o, o, o, o, x, o, o],
        [o, x, o, x, o, o, x, o],
        [o, o, o, o, x, o, o, x],
        [o; 8],
    ];
    assert_eq!(
        bools(of(Stored::Positive).positives()),
        positive.map(Vec::from)
    );
    let ignored = [
        [x, o, o, o, o, o, o, o],
        [o, x, o, o, o, o, o, o],
        [o; 8],
        [o; 8],
    ];
    assert_eq!(
        bools(of(Stored::Ignored).positives()),
        ignored.map(Vec::from)
    );
}

/// Ignored by list is ignored by mask, for every objective, direction and path, and
/// equals a bank without the document.
#[test]
fn ignored_documents_of_the_bank_are_as_if_absent() {
    let _turn = turn_to_draw();
    let (ids, relevant) = ([1, 2, 3], [vec![1, 7], vec![2, 9], vec![3, 5, 8], vec![]]);
    let bank = bank(6, &[&[2, 5, 7], &[2, 8]]);
    for (index, objective) in objectives().iter().enumerate() {
        let criterion = Criterion::from(objective);
        let device = &autodiff_devices()[index % 2];
        let (candidates, listed) = bank
            .candidates(embeddings(&ids, device), &ids, &relevant, Stored::Ignored)
            .unwrap();
        // What the queries may see: all but the relevant columns of the bank.
        let all: Vec<u32> = ids.iter().chain(bank.ids()).copied().collect();
        let kept = |query: &Vec<u32>| -> Vec<bool> {
            let column = |(d, id): (usize, &u32)| d < ids.len() || !query.contains(id);
            all.iter().enumerate().map(column).collect()
        };
        let kept: Vec<Vec<bool>> = relevant.iter().map(kept).collect();
        let masked = Targets::from_ids(&relevant, &all, device)
            .unwrap()
            .with_candidates(bool_matrix(&kept, device));
        let queries = embeddings(&[21, 22, 23, 24], device);
        let run = |targets: Targets, from_scores: bool, transposed: bool| {
            let leaves = [&queries, &candidates].map(|x| x.clone().detach().require_grad());
            let [mut rows, mut columns] = leaves.clone();
            let mut targets = targets;
            if transposed {
                (rows, columns) = (columns, rows);
                targets = targets.transpose();
            }
            device.seed(4);
            let loss = match from_scores {
                true => criterion.mean_in_turn(rows.matmul(columns.transpose()), targets),
                false => criterion.embeddings_in_turn(rows, columns, targets),
            };
            let gradients = loss.backward();
            let gradients = leaves.map(|leaf| matrix(leaf.grad(&gradients).unwrap()));
            (numbers(loss)[0], gradients)
        };
        for transposed in [false, true] {
            let (want, want_gradients) = run(masked.clone(), true, transposed);
            for from_scores in [false, true] {
                let what = format!("{objective:?}, {from_scores}, {transposed}");
                let (got, got_gradients) = run(listed.clone(), from_scores, transposed);
                let tolerance = Tolerance::units(DType::F32, 256.0).absolute(2e-6);
                assert_close(&what, got, want, tolerance);
                for (got, want) in got_gradients.iter().zip(&want_gradients) {
                    assert_rows_close(&what, got, want, tolerance.absolute(2e-5));
                }
            }
        }
    }
}

#[test]
fn an_empty_bank_changes_nothing() {
    let ids = [1, 2, 3];
    let (documents, relevant) = (embeddings(&ids, &device()), [vec![1], vec![3, 2]]);
    for stored in [Stored::Positive, Stored::Ignored] {
        let (candidates, targets) = bank(5, &[])
            .candidates(documents.clone(), &ids, &relevant, stored)
            .unwrap();
        assert_eq!(matrix(candidates), matrix(documents.clone()));
        let want = Targets::from_ids(&relevant, &ids, &device()).unwrap();
        assert_eq!(bools(targets.positives()), bools(want.positives()));
    }
}

/// Ten documents in one batch, or three in a batch and seven in the bank: the same
/// candidates.
#[test]
fn a_bank_gives_the_losses_of_one_large_batch() {
    let _turn = turn_to_draw();
    let relevant = [vec![1, 7], vec![2, 10], vec![3], vec![]];
    for objective in DEFAULTS
        .iter()
        .filter(|objective| objective.loss != Loss::Rand1Lh)
    {
        let criterion = Criterion::from(objective);
        let queries = embeddings(&[31, 32, 33, 34], &device());
        let all: Vec<u32> = (1..=10).collect();
        let targets = Targets::from_ids(&relevant, &all, &device()).unwrap();
        let documents = embeddings(&all, &device());
        let want = criterion.embeddings_in_turn(queries.clone(), documents, targets);
        let bank = bank(7, &[&[4, 5], &[6, 7, 8], &[9, 10]]);
        let ids = [1, 2, 3];
        let (candidates, targets) = bank
            .candidates(
                embeddings(&ids, &device()),
                &ids,
                &relevant,
                Stored::Positive,
            )
            .unwrap();
        let got = criterion.embeddings_in_turn(queries, candidates, targets);
        let tolerance = Tolerance::units(DType::F32, 128.0);
        assert_close(
            format!("{objective:?}"),
            numbers(got)[0],
            numbers(want)[0],
            tolerance,
        );
    }
}

#[test]
fn gradients_reach_the_batch_and_not_the_bank() {
    for device in autodiff_devices() {
        let earlier = embeddings(&[4, 5], &device).require_grad();
        let mut bank = MemoryBank::new(3).unwrap();
        bank.push(earlier.clone() * 2.0, &[4, 5]).unwrap();
        let documents = embeddings(&[1, 2], &device).require_grad();
        let (candidates, _) = bank
            .candidates(documents.clone(), &[1, 2], &[vec![1]], Stored::Positive)
            .unwrap();
        let gradients = candidates.powi_scalar(2).sum().backward();
        assert_eq!(documents.grad(&gradients).unwrap().dims(), [2, DIMENSIONS]);
        assert!(earlier.grad(&gradients).is_none());
    }
}

/// Candidates that a graph still holds are not those that are written next.
#[test]
fn pushing_leaves_earlier_candidates_alone() {
    let mut bank = bank(2, &[&[1, 2]]);
    let (before, _) = bank
        .candidates(
            embeddings(&[9], &device()),
            &[9],
            &[vec![9]],
            Stored::Ignored,
        )
        .unwrap();
    bank.push(embeddings(&[3, 4], &device()), &[3, 4]).unwrap();
    assert_eq!(matrix(before), matrix(embeddings(&[9, 1, 2], &device())));
}

#[test]
fn a_bank_survives_saving_and_restoring() {
    let batches: [&[&[u32]]; 4] = [&[], &[&[1, 2]], &[&[1, 2, 3, 4]], &[&[1, 2, 3], &[4, 5, 6]]];
    for batches in batches {
        let mut bank = bank(4, batches);
        let saved = serde_json::to_string(&bank.to_record()).unwrap();
        let record: MemoryBankRecord<u32> = serde_json::from_str(&saved).unwrap();
        let mut restored = MemoryBank::from_record(record, &device()).unwrap();
        // In the same order: sums over the columns round alike.
        assert_eq!(stored(&restored), stored(&bank), "{batches:?}");
        // What goes next is the same, too.
        for bank in [&mut bank, &mut restored] {
            bank.push(embeddings(&[7, 8, 9], &device()), &[7, 8, 9])
                .unwrap();
        }
        assert_eq!(stored(&restored), stored(&bank), "{batches:?}");
    }
}

#[test]
fn a_record_is_by_age() {
    let record = bank(4, &[&[1, 2, 3], &[4, 5, 6]]).to_record();
    assert_eq!(record.ids, [3, 4, 5, 6]);
    assert_eq!(record.oldest, 2);
    // As earlier versions wrote it, without that place.
    let mut json = serde_json::to_value(&record).unwrap();
    json.as_object_mut().unwrap().remove("oldest").unwrap();
    let earlier: MemoryBankRecord<u32> = serde_json::from_value(json).unwrap();
    let restored = MemoryBank::from_record(earlier, &device()).unwrap();
    assert_eq!(stored(&restored), [3, 4, 5, 6]);
    let rows: Vec<f32> = record.embeddings.unwrap().try_to_vec().unwrap();
    assert_eq!(rows, [3, 4, 5, 6].map(embedding).concat());
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() {
    assert_eq!(
        MemoryBank::<u32>::new(0).unwrap_err().to_string(),
        "capacity: expected room for at least one document, got 0"
    );
    let mut bank = bank(4, &[&[1, 2]]);
    let narrow = Tensor::<2>::zeros([2, 2], &device());
    let documents = embeddings(&[3, 4], &device());
    let too_few = bank.push(documents.clone(), &[3]).unwrap_err();
    assert_eq!(
        too_few.to_string(),
        "ids: expected one for each of the 2 embeddings, got 1"
    );
    let dimensions = bank.push(narrow.clone(), &[3, 4]).unwrap_err();
    assert_eq!(
        dimensions.to_string(),
        "embeddings: expected 3 dimensions as the bank stores, got 2"
    );
    assert_eq!(stored(&bank), [1, 2]);

    let candidates = |documents: &Tensor<2>, ids: &[u32], relevant: &[Vec<u32>]| {
        bank.candidates(documents.clone(), ids, relevant, Stored::Positive)
            .unwrap_err()
    };
    assert_eq!(candidates(&documents, &[3], &[vec![3]]), too_few);
    assert_eq!(candidates(&narrow, &[3, 4], &[vec![3]]), dimensions);
    assert_eq!(
        candidates(&documents, &[3, 4], &[]),
        BankError::Targets(TargetsError::NoQueries)
    );

    let mut record = bank.to_record();
    record.ids.pop();
    assert_eq!(
        MemoryBank::from_record(record, &device()).unwrap_err(),
        BankError::Ids {
            embeddings: 2,
            ids: 1
        }
    );
    let mut record = bank.to_record();
    record.oldest = record.capacity;
    assert_eq!(
        MemoryBank::from_record(record, &device())
            .unwrap_err()
            .to_string(),
        format!(
            "record: expected the oldest document at a place below the capacity of {0}, got {0}",
            bank.capacity()
        )
    );
    for (embeddings, got) in [
        (TensorData::new(vec![1.0f32, 2.0], [2]), "F32 [2]"),
        (TensorData::new(vec![1i64, 2], [2, 1]), "I64 [2, 1]"),
    ] {
        let mut record = MemoryBank::new(2).unwrap().to_record();
        record.embeddings = Some(embeddings);
        record.ids = vec![1, 2];
        assert_eq!(
            MemoryBank::from_record(record, &device())
                .unwrap_err()
                .to_string(),
            format!(
                "record: expected embeddings of a float type and shape [documents, dimensions], got {got}"
            )
        );
    }
}

/// A bank that was saved on a device with half precision is restored on one without.
#[test]
fn a_record_of_any_float_type_is_restored() {
    let numbers = [0.5f32, -1.0, 2.0, 0.25];
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let mut record = MemoryBank::new(2).unwrap().to_record();
        let data = TensorData::new(numbers.to_vec(), [2, 2]);
        record.embeddings = Some(data.convert_dtype(dtype));
        record.ids = vec![1u32, 2];
        let bank = MemoryBank::from_record(record, &device()).unwrap();
        let batch = Tensor::<2>::zeros([0, 2], (&device(), DType::F32));
        let (candidates, _) = bank
            .candidates(batch, &[], &[vec![1]], Stored::Positive)
            .unwrap();
        let restored: Vec<f32> = candidates.into_data().iter().collect();
        assert_eq!(restored, numbers, "{dtype:?}");
    }
}
