//! What is given in another type, again and again, or in bad faith is taken for what it
//! is, or refused by name.

use crate::{
    batch::{Batch, Criterion, bools, float_matrix, matrix, numbers},
    child,
    close::{Tolerance, assert_close},
    device::{device, is_cpu, supports},
    oracle::{DEFAULTS, Query},
    statistics::ALL,
};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_multi_positive::{
    Embeddings, MemoryBank, MemoryBankRecord, Rand1LhLossConfig, Stored, Targets,
    statistics::{Request, Statistic, Statistics},
};
use std::panic::{AssertUnwindSafe, catch_unwind};

const SIGNED: [DType; 4] = [DType::I8, DType::I16, DType::I32, DType::I64];
const UNSIGNED: [DType; 4] = [DType::U8, DType::U16, DType::U32, DType::U64];

/// Those of the values that a type holds, and labels in it.
fn labels(values: &[i128], dtype: DType) -> (Vec<i128>, Tensor<1, Int>) {
    let (low, high) = match dtype {
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DType::I64 => (i64::MIN.into(), i64::MAX.into()),
        DType::U8 => (0, u8::MAX.into()),
        DType::U16 => (0, u16::MAX.into()),
        DType::U32 => (0, u32::MAX.into()),
        DType::U64 => (0, i128::from(u64::MAX)),
        dtype => panic!("{dtype:?} is no type of labels"),
    };
    let held = values.iter().copied();
    let held: Vec<i128> = held.filter(|value| (low..=high).contains(value)).collect();
    let data = match dtype {
        DType::U64 => {
            let held: Vec<u64> = held.iter().map(|&value| value as u64).collect();
            TensorData::from(held.as_slice())
        }
        _ => {
            let held: Vec<i64> = held.iter().map(|&value| value as i64).collect();
            TensorData::from(held.as_slice())
        }
    };
    (held, Tensor::from_data(data, (&device(), dtype)))
}

#[test]
fn labels_of_signed_and_unsigned_types_are_compared_by_their_values() {
    // The ends of all types, and what wraps around to them.
    let mut values: Vec<i128> = vec![0, 1, 5];
    for bits in [8, 16, 32, 64] {
        let (half, whole) = (1i128 << (bits - 1), 1i128 << bits);
        values.extend([-1, -half, half - 1, half, whole - 1, 5 - whole, 5 + whole]);
    }
    values.sort();
    values.dedup();
    let types: Vec<DType> = [SIGNED, UNSIGNED].concat();
    let types: Vec<DType> = types.into_iter().filter(|dtype| supports(*dtype)).collect();
    for &of_queries in &types {
        for &of_documents in &types {
            let (queries, query_labels) = labels(&values, of_queries);
            let (documents, document_labels) = labels(&values, of_documents);
            let what = format!("{of_queries:?} and {of_documents:?}");
            let want: Vec<Vec<bool>> = queries
                .iter()
                .map(|query| documents.iter().map(|document| document == query).collect())
                .collect();
            let targets = Targets::from_labels(query_labels, document_labels);
            assert_eq!(bools(targets.positives()), want, "{what}");
            let transposed: Vec<Vec<bool>> = documents
                .iter()
                .map(|document| queries.iter().map(|query| document == query).collect())
                .collect();
            let back = targets.clone().transpose();
            assert_eq!(bools(back.positives()), transposed, "{what}, transposed");

            // What a loss makes of the labels, from scores and from embeddings.
            let score = |q: usize, d: usize| ((q * 7 + d * 5) % 11) as f64 / 4.0;
            let columns = 0..documents.len();
            let row = |(q, relevant): (usize, &Vec<bool>)| {
                let scores: Vec<f64> = columns.clone().map(|d| score(q, d)).collect();
                let positives: Vec<usize> = columns.clone().filter(|&d| relevant[d]).collect();
                Query::new(&scores, &positives)
            };
            let batch = Batch(want.iter().enumerate().map(row).collect());
            let scores = batch.scores(&device(), DType::F32);
            let rows = Criterion::from(&DEFAULTS[2]).rows(scores.clone(), targets.clone());
            for (q, loss) in numbers(rows).into_iter().enumerate() {
                let want = batch.0[q].loss(&DEFAULTS[2]);
                let tolerance = Tolerance::loss(&batch.0[q], &DEFAULTS[2], want, DType::F32);
                assert_close(format!("{what}, row {q}"), loss, want, tolerance);
            }
            let identity = Tensor::<2>::eye(columns.len(), &device()).cast(DType::F32);
            let loss = Criterion::from(&DEFAULTS[2]).embeddings(scores, identity, targets);
            let losses = batch.0.iter().map(|query| query.loss(&DEFAULTS[2]));
            let want = losses.sum::<f64>() / batch.active();
            let tolerance = Tolerance {
                relative: 2e-3,
                absolute: 1e-6,
            };
            assert_close(format!("{what}, mean"), numbers(loss)[0], want, tolerance);
        }
    }
}

/// What names the same thing again and again takes no more room than what names it once.
#[test]
fn an_id_may_be_named_as_often_as_there_are_documents_with_it() {
    const COUNT: usize = 20_000;
    let check = |_: &str| {
        let relevant = [
            vec![7u32; COUNT],
            vec![8, 7, 9, 8, 7],
            vec![8; COUNT],
            vec![],
        ];
        let mut documents = vec![7u32; COUNT];
        documents.extend([8, 6]);
        let targets = Targets::from_ids(&relevant, &documents, &device()).unwrap();
        assert_eq!(targets.dims(), [4, COUNT + 2]);
        let positives = bools(targets.positives());
        for (relevant, row) in relevant.iter().zip(positives) {
            let ids = [7, 8, 6].map(|id| relevant.contains(&id));
            assert!(row[..COUNT].iter().all(|&positive| positive == ids[0]));
            assert_eq!(row[COUNT..], ids[1..]);
        }
    };
    if !is_cpu() {
        return check(""); // a driver maps more than any limit
    }
    // Every naming of an id with all its documents would be 3.2 GB.
    let test = "robustness::an_id_may_be_named_as_often_as_there_are_documents_with_it";
    child::in_processes(test, &["ids"], Some(3_000_000), check);
}

/// A record of three documents, for a bank of another capacity.
fn record(capacity: usize) -> MemoryBankRecord<u32> {
    let mut bank = MemoryBank::new(3).unwrap();
    bank.push(rows(), &[1, 2, 3]).unwrap();
    let mut record = bank.to_record();
    record.capacity = capacity;
    record
}

fn rows() -> Tensor<2> {
    let rows = [[0.5, 1.0], [1.5, -2.0], [0.0, 3.0]];
    float_matrix(&rows.map(Vec::from), &device(), DType::F32)
}

/// No record ends the process: what a device has no room for is refused, or not made
/// before it is needed.
#[test]
fn a_capacity_that_no_device_has_is_refused_or_as_good_as_any() {
    let test = "robustness::a_capacity_that_no_device_has_is_refused_or_as_good_as_any";
    let cases = [
        "18446744073709551615",
        "9223372036854775808",
        "1152921504606846976",
        "35184372088832",
    ];
    child::in_processes(test, &cases, None, |case| {
        let capacity: usize = case.parse().expect("64 bits");
        match MemoryBank::from_record(record(capacity), &device()) {
            Err(error) => assert_eq!(
                error.to_string(),
                format!(
                    "capacity: expected as many documents of 2 dimensions as memory has room for, got {capacity}"
                )
            ),
            Ok(bank) => assert_restored(&bank, capacity),
        }
    });
}

#[test]
fn a_capacity_that_a_device_has_is_restored() {
    for capacity in [3, 4, 1000, 1_000_000] {
        let bank = MemoryBank::from_record(record(capacity), &device()).unwrap();
        assert_restored(&bank, capacity);
    }
}

#[track_caller]
fn assert_restored(bank: &MemoryBank<u32>, capacity: usize) {
    assert_eq!(bank.capacity(), capacity);
    assert_eq!(bank.ids(), [1, 2, 3]);
    let batch = float_matrix(&[vec![9.0, 9.0]], &device(), DType::F32);
    let (candidates, targets) = bank
        .candidates(batch, &[9], &[vec![2]], Stored::Positive)
        .unwrap();
    assert_eq!(matrix(candidates)[1..], matrix(rows()));
    assert_eq!(bools(targets.positives()), [[false, false, true, false]]);
}

/// A column counts as what it is, whatever the type that it is given in holds besides.
#[test]
fn a_chosen_column_may_be_given_in_a_type_too_narrow_for_the_others() {
    const DOCUMENTS: usize = 700;
    let score = |d: usize| f64::from(((d * 37 % 101) as f32 - 50.0) / 25.0);
    let scores: Vec<f64> = (0..DOCUMENTS).map(score).collect();
    let loss = Rand1LhLossConfig::new().init();
    for (dtype, columns) in [
        (DType::I8, vec![0i64, 5, 100, 127]),
        (DType::U8, vec![0, 5, 127, 128, 200, 255]),
        (DType::I16, vec![5, 300, 699]),
        (DType::I64, vec![5, 300, 699]),
        (DType::U16, vec![5, 300, 699]),
        (DType::U32, vec![5, 300, 699]),
        (DType::U64, vec![5, 300, 699]),
    ] {
        if !supports(dtype) {
            continue;
        }
        for &column in &columns {
            // Positives wherever the column wraps around to.
            let at = column as usize;
            let positives: Vec<usize> = [at, at + 128, at + 256, at + 512, at % 256, at % 128]
                .into_iter()
                .filter(|&d| d < DOCUMENTS)
                .collect();
            let mut query = Query::new(&scores, &positives);
            query.chosen = Some(at);
            let mut not_positive = query.clone();
            not_positive.positives[at] = false;
            let batch = Batch(vec![query]);
            let chosen =
                || Tensor::<1, Int>::from_data(TensorData::from([column]), (&device(), dtype));
            let loss_of = |batch: &Batch| {
                let scores = batch.scores(&device(), DType::F32);
                numbers(loss.forward_chosen(scores, batch.targets(&device()), chosen()))[0]
            };
            let what = format!("column {column} in {dtype:?}");
            let want = batch.0[0].loss(&DEFAULTS[3]);
            let tolerance = Tolerance::loss(&batch.0[0], &DEFAULTS[3], want, DType::F32);
            assert_close(&what, loss_of(&batch), want, tolerance);
            let refused = loss_of(&Batch(vec![not_positive]));
            assert!(refused.is_nan(), "{what}, no positive: {refused}");
        }
    }
}

/// Asked for all but one of the statistics.
type Asked = fn(&Batch, &[Statistic]) -> Statistics;

#[test]
fn a_statistic_that_was_not_asked_for_panics_by_name() {
    let batch = Batch::new(&[(&[0.5, 1.0, 2.0], &[0]), (&[0.5, 1.0, 2.0], &[1, 2])]);
    let forms: [(&str, Asked); 4] = [
        ("new", |batch, wanted| {
            let device = device();
            let scores = batch.scores(&device, DType::F32);
            Statistics::new(scores, &batch.targets(&device), Request::new(1.0, wanted))
        }),
        ("composed", |batch, wanted| {
            let device = device();
            let scores = batch.scores(&device, DType::F32);
            Statistics::composed(scores, &batch.targets(&device), Request::new(1.0, wanted))
        }),
        ("embeddings", |batch, wanted| {
            let device = device().autodiff();
            let queries = float_matrix(&[vec![1.0], vec![2.0]], &device, DType::F32);
            let documents = vec![vec![0.5], vec![1.0], vec![2.0]];
            let documents = float_matrix(&documents, &device, DType::F32);
            let targets = batch.targets(&device);
            let embeddings = Embeddings::new(queries, documents);
            Statistics::from_embeddings(embeddings, &targets, Request::new(1.0, wanted))
        }),
        ("no queries", |_, wanted| {
            let device = device();
            let scores = Tensor::<2>::zeros([0, 3], (&device, DType::F32));
            let positives = Tensor::full([0, 3], true, &device);
            let targets = Targets::new(positives);
            Statistics::new(scores, &targets, Request::new(1.0, wanted))
        }),
    ];
    for (form, statistics) in forms {
        for missing in ALL {
            let wanted: Vec<Statistic> = ALL.into_iter().filter(|&s| s != missing).collect();
            let statistics = statistics(&batch, &wanted);
            for wanted in wanted {
                assert!(numbers(statistics.get(wanted)).len() <= 2);
            }
            let get = AssertUnwindSafe(|| numbers(statistics.get(missing)));
            let Err(panic) = catch_unwind(get) else {
                panic!("{form}: {missing:?} is given");
            };
            let refusal = match panic.downcast_ref::<String>() {
                Some(refusal) => refusal.as_str(),
                None => panic.downcast_ref::<&str>().expect("a message"),
            };
            let expected = format!(
                "Statistics::get: expected one of the statistics that were wanted, got {missing:?}, which \
                 was not asked for"
            );
            assert_eq!(refusal, expected, "{form}");
        }
    }
}
