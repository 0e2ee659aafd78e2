//! What the client writes is what the server reads.

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
#[should_panic(expected = "expected columns of 2 documents")]
fn a_column_out_of_range_is_refused() {
    let lists = Lists::from_parts(vec![vec![2]], None, None, 2, &Device::flex());
    let mut writer = Writer::default();
    writer.lists(&lists);
    let scalars = writer.into_scalars();
    Reader::new(&scalars).lists(list_entries(&lists));
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
