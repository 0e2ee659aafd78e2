//! What the client writes is what the server reads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::Device;

use super::{
    DRAWN_COLUMNS, ROW_CEILINGS, ROW_STATISTICS, ROW_STATISTICS_BACKWARD, VERSION,
    encode::{Reader, Writer, list_entries},
};
use crate::{
    FalseNegatives, PositiveThreshold,
    kernels::table::{Request, Statistic},
    statistics::{Curve, Product},
    targets::Lists,
};

fn sent(request: Request) -> Request {
    let mut writer = Writer::default();
    writer.request(request);
    let scalars = writer.into_scalars();
    Reader::new(&scalars).request()
}

#[test]
fn a_request_arrives_as_it_was_sent() {
    let plain = Request::new(0.05, &[Statistic::Negatives, Statistic::BinaryLosses]);
    let product = |first: f64| Product {
        rate: first,
        offset: first + 1.0,
        center: first + 2.0,
    };
    let curve = Curve::new(product(0.25), product(7.5)).with_paced(true);
    let full = Request::new(1.0 / 3.0, &Statistic::ALL)
        .with_exponent(-2.5)
        .with_hardness(5.0)
        .with_bias(-10.0)
        .with_curve(curve);
    assert_eq!(sent(plain), plain);
    assert_eq!(sent(full), full);
    for threshold in [
        PositiveThreshold::Weakest,
        PositiveThreshold::Strongest,
        PositiveThreshold::Mean,
    ] {
        for relative in [false, true] {
            let rule = FalseNegatives::new(threshold)
                .with_margin(0.05)
                .with_relative(relative);
            let request = full.with_false_negatives(Some(rule));
            assert_eq!(sent(request), request);
        }
    }
}

#[test]
fn lists_arrive_as_they_were_sent() {
    let device = Device::flex();
    let columns = vec![vec![0, 6], vec![], vec![3]];
    let weights = vec![vec![0.1, 2.0], vec![], vec![0.0]];
    let ignored = vec![vec![], vec![1, 2, 5], vec![4]];
    for weights in [None, Some(weights)] {
        for ignored in [None, Some(ignored.clone())] {
            let lists = Lists::from_parts(
                columns.clone(),
                weights.clone(),
                ignored.clone(),
                7,
                &device,
            );
            let mut writer = Writer::default();
            writer.lists(&lists);
            let scalars = writer.into_scalars();
            let arrived = Reader::new(&scalars).lists(list_entries(&lists));
            assert_eq!(arrived.dims(), [3, 7]);
            assert_eq!(arrived.columns(), columns);
            assert_eq!(arrived.weights(), weights.as_deref());
            assert_eq!(arrived.ignored(), ignored.as_deref());
        }
    }
}

#[test]
#[should_panic(expected = "a message: expected columns of 2 documents")]
fn a_column_out_of_range_is_refused() {
    let lists = Lists::from_parts(vec![vec![2]], None, None, 2, &Device::flex());
    let mut writer = Writer::default();
    writer.lists(&lists);
    let scalars = writer.into_scalars();
    Reader::new(&scalars).lists(list_entries(&lists));
}

/// What a reader says to what no client of this crate writes.
fn refusal<T>(write: impl FnOnce(&mut Writer), read: impl FnOnce(&mut Reader) -> T) -> String {
    let mut writer = Writer::default();
    write(&mut writer);
    let scalars = writer.into_scalars();
    let read = AssertUnwindSafe(|| read(&mut Reader::new(&scalars)));
    let panic = match catch_unwind(read) {
        Ok(_) => panic!("it is taken"),
        Err(panic) => panic,
    };
    match panic.downcast_ref::<String>() {
        Some(message) => message.clone(),
        None => panic.downcast_ref::<&str>().expect("a message").to_string(),
    }
}

#[test]
fn a_message_of_another_kind_is_refused() {
    let nothing = |_: &mut Writer| ();
    assert_eq!(
        refusal(|writer| writer.flag(true), |reader| reader.float()),
        "a message: expected a float, got Some(Bool(true))"
    );
    assert_eq!(
        refusal(|writer| writer.float(0.5), |reader| reader.integer()),
        "a message: expected an integer, got Some(Float(0.5))"
    );
    assert_eq!(
        refusal(nothing, |reader| reader.flag()),
        "a message: expected a flag, got None"
    );
    assert_eq!(
        refusal(
            |writer| writer.integer(3),
            |reader| reader.false_negatives()
        ),
        "a message: expected a threshold, got 3"
    );
    let more_bits = |writer: &mut Writer| {
        (0..4).for_each(|_| writer.float(1.0));
        (0..2).for_each(|_| writer.flag(false));
        writer.integer(u64::MAX);
    };
    assert!(
        refusal(more_bits, |reader| reader.request())
            .starts_with("a message: expected a bit for each statistic")
    );
}

/// No length makes a server ask for memory that the message does not fill.
#[test]
fn lists_that_are_no_lists_are_refused() {
    let refusal = |queries: u64, entries: Vec<i64>| {
        let write = |writer: &mut Writer| {
            writer.integer(queries);
            writer.integer(5);
            (0..2).for_each(|_| writer.flag(false));
        };
        refusal(write, |reader| reader.lists(entries))
    };
    assert_eq!(refusal(2, vec![1]), "a message: expected counts");
    assert_eq!(refusal(1 << 62, vec![1]), "a message: expected counts");
    assert_eq!(refusal(u64::MAX, vec![1]), "a message: expected counts");
    assert_eq!(refusal(1, vec![7]), "a message: expected 7 columns");
    assert_eq!(refusal(1, vec![-7]), "a message: expected -7 columns");
    assert_eq!(refusal(1, vec![1]), "a message: expected more entries");
    assert_eq!(
        refusal(1, vec![1, -1]),
        "a message: expected columns of 5 documents"
    );
}

const WIDTH_OF_VERSION_1: usize = 13;

#[test]
fn the_names_of_the_operations_contain_the_version() {
    let names = [
        ROW_STATISTICS,
        ROW_STATISTICS_BACKWARD,
        ROW_CEILINGS,
        DRAWN_COLUMNS,
    ];
    // Another width of the table is another version.
    assert_eq!(
        (VERSION, crate::kernels::table::WIDTH),
        (1, WIDTH_OF_VERSION_1)
    );
    for name in names {
        let start = format!("burn-multi-positive/{VERSION}/");
        assert!(name.starts_with(&start), "{name}");
    }
}
