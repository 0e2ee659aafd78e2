//! The kernels against the definition in f64, on CubeCL's default device without fusion, and
//! through fusion.

use crate::kernels::draw::DRAWS;
use burn::{
    backend::{
        Backend, DispatchDevice, TensorMetadata,
        ops::{BoolTensorOps, FloatTensorOps, IntTensorOps},
    },
    tensor::{BoolStore, DType, Device, Shape, Slice, Tensor, TensorData, read_sync},
};
use burn_cubecl::{CubeBackend, CubeDevice, kernel::into_contiguous, tensor::CubeTensor};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    Targets,
    kernels::{
        ceiling::PositiveThreshold,
        cube::WIDTH,
        curve::Curve,
        reference::{Case, TEMPERATURE, Tolerance, weights},
        table,
    },
    statistics::{
        Statistic, Statistics,
        judged::{Candidates, Ceilings, Chosen, Relevance, Weights},
    },
};

/// All but the losses of single positives, which take a second look.
const AT_ONE_LOOK: [Statistic; 8] = [
    Statistic::Negatives,
    Statistic::PositiveMean,
    Statistic::UnweightedPositives,
    Statistic::PositiveExcess,
    Statistic::WeakestPositive,
    Statistic::StrongestPositive,
    Statistic::HardestNegative,
    Statistic::BinaryLosses,
];

#[derive(Clone)]
struct Batch {
    case: Case,
    dtype: DType,
}

impl Batch {
    /// Some of the rows have no positive or no negative.
    fn new(shape @ [rows, columns]: [usize; 2]) -> Self {
        let mut random = StdRng::seed_from_u64(columns as u64);
        let score = |random: &mut StdRng| f64::from(random.random_range(-3.0..3.0f32));
        let scores = (0..rows * columns).map(|_| score(&mut random)).collect();
        let positive = |random: &mut StdRng, i: usize| {
            random.random_bool([0.02, 0.3, 0.0, 1.0][i / columns % 4])
        };
        let case = Case {
            shape,
            scores,
            positives: (0..rows * columns)
                .map(|i| positive(&mut random, i))
                .collect(),
            candidates: None,
            weights: None,
            chosen: None,
            request: Request::new(TEMPERATURE, &AT_ONE_LOOK),
        };
        Self {
            case,
            dtype: DType::F32,
        }
    }

    fn with_candidates(mut self) -> Self {
        let mut random = StdRng::seed_from_u64(1);
        let candidates = self.case.scores.iter().map(|_| random.random_bool(0.9));
        self.case.candidates = Some(candidates.collect());
        self
    }

    /// Some of them 0, all of them in the last row but one.
    fn with_weights(mut self) -> Self {
        let [rows, columns] = self.case.shape;
        let mut random = StdRng::seed_from_u64(3);
        let mut weight = |i: usize| match i / columns + 2 == rows || random.random_bool(0.2) {
            true => 0.0,
            false => f64::from(random.random_range(0.1..4.0f32)),
        };
        self.case.weights = Some((0..rows * columns).map(&mut weight).collect());
        self
    }

    fn with_false_negatives(mut self, rule: FalseNegatives) -> Self {
        self.case.request = self.case.request.with_false_negatives(Some(rule));
        self
    }

    fn with_draws(mut self) -> Self {
        let mut random = StdRng::seed_from_u64(2);
        let draws = (0..self.case.shape[0]).map(|_| random.random_range(0.0..DRAWS));
        let draws: Vec<f32> = draws.collect();
        self.case.chosen = Some(self.case.drawn(&draws));
        let shape = [self.case.shape[0]];
        let draws = TensorData::new(draws, shape);
        let draws = CubeBackend::float_from_data(draws, &CubeDevice::default());
        let mut judged = self.judged();
        judged.chosen = Chosen::All;
        judged.ceilings = Ceilings::None;
        let columns = CubeBackend::drawn_columns(draws, judged);
        let columns = read_sync(CubeBackend::int_into_data(columns)).expect("readable");
        for (got, &want) in columns.iter::<i64>().zip(self.case.chosen.iter().flatten()) {
            assert!(got == want || want == -1, "{got}, expected {want}");
        }
        self
    }

    fn with_dtype(mut self, dtype: DType) -> Self {
        for score in &mut self.case.scores {
            *score = match dtype {
                DType::F16 => burn::tensor::f16::from_f64(*score).to_f64(),
                DType::BF16 => burn::tensor::bf16::from_f64(*score).to_f64(),
                _ => *score,
            };
        }
        self.dtype = dtype;
        self
    }

    fn with_options(mut self, exponent: f64, hardness: f64) -> Self {
        let request = self.case.request.with_exponent(exponent);
        self.case.request = request.with_hardness(hardness);
        self
    }

    fn with_curve(mut self, curve: Curve) -> Self {
        self.case.request = self.case.request.with_curve(curve).with_bias(-1.5);
        self
    }

    fn request(&self) -> Request {
        self.case.request
    }

    /// The gradient of the table.
    fn upstream(&self) -> CubeTensor {
        let rows = self.case.shape[0];
        floats(&weights(rows, WIDTH), [rows, WIDTH], DType::F32)
    }

    fn scores(&self) -> CubeTensor {
        floats(&self.case.scores, self.case.shape, self.dtype)
    }

    fn judged(&self) -> Judged<CubeBackend> {
        let mut judged = Judged {
            relevance: Relevance::Mask(mask(&self.case.positives, self.case.shape)),
            candidates: match &self.case.candidates {
                Some(candidates) => Candidates::Mask(mask(candidates, self.case.shape)),
                None => Candidates::All,
            },
            weights: match &self.case.weights {
                Some(weights) => Weights::Matrix(floats(weights, self.case.shape, DType::F32)),
                None => Weights::All,
            },
            ceilings: Ceilings::None,
            chosen: match &self.case.chosen {
                Some(columns) => {
                    let columns: Vec<i32> = columns.iter().map(|&column| column as i32).collect();
                    let columns = TensorData::new(columns, [self.case.shape[0]]);
                    let device = CubeDevice::default();
                    Chosen::Column(CubeBackend::int_from_data(columns, &device))
                }
                None => Chosen::All,
            },
        };
        if let Some(rule) = self.request().false_negatives() {
            let ceilings = CubeBackend::row_ceilings(self.scores(), judged.clone(), rule);
            assert_eq!(ceilings.shape(), ceilings_shape(&self.scores().shape()));
            judged.ceilings = Ceilings::Each(ceilings);
        }
        judged
    }

    fn check(&self) {
        self.check_inputs(self.scores(), self.judged());
    }

    fn check_inputs(&self, scores: CubeTensor, judged: Judged<CubeBackend>) {
        let request = self.request();
        let table = CubeBackend::row_statistics(scores.clone(), judged.clone(), request);
        assert_eq!(table.shape(), table_shape(&scores.shape()));
        assert_eq!(table.dtype, DType::F32);
        let upstream = self.upstream();
        let gradient =
            CubeBackend::row_statistics_backward(scores, judged, table.clone(), upstream, request);
        assert_eq!(gradient.shape(), Shape::new(self.case.shape));
        assert_eq!(gradient.dtype, self.dtype);
        self.check_outputs(table, gradient);
    }

    /// With cubes that the device may not be given otherwise.
    fn check_with_cubes(&self, units: usize, segments: usize, ahead: usize) {
        let inputs = || Inputs {
            units,
            segments,
            ahead,
            ..Inputs::new(self.scores(), self.judged())
        };
        let table = inputs().table(self.request());
        let upstream = self.upstream();
        let gradient = inputs().gradient(table.clone(), into_contiguous(upstream), self.request());
        self.check_outputs(table, gradient);
    }

    fn check_outputs(&self, table: CubeTensor, gradient: CubeTensor) {
        let of_gradient = match self.dtype {
            DType::F16 => 1e-3,
            DType::BF16 => 8e-3,
            _ => 1e-4,
        };
        let tolerances = [4e-6, of_gradient].map(Tolerance::of);
        let (table, gradient) = (numbers(table), numbers(gradient));
        self.case.assert(WIDTH, &table, &gradient, tolerances);
    }
}

#[track_caller]
fn close(what: &str, got: f64, want: f64, tolerance: f64) {
    let off = (got - want).abs();
    assert!(
        off <= tolerance * want.abs().max(1.0),
        "{what}: got {got}, expected {want}"
    );
}

fn floats(values: &[f64], shape: [usize; 2], dtype: DType) -> CubeTensor {
    let data = TensorData::new(values.to_vec(), shape).convert_dtype(dtype);
    CubeBackend::float_from_data(data, &CubeDevice::default())
}

fn mask(values: &[bool], shape: [usize; 2]) -> CubeTensor {
    let device = CubeDevice::default();
    let store = match CubeBackend::supports_dtype(&device, DType::Bool(BoolStore::U8)) {
        true => BoolStore::U8,
        false => BoolStore::U32,
    };
    let data = TensorData::new(values.to_vec(), shape).convert_dtype(DType::Bool(store));
    CubeBackend::bool_from_data(data, &device)
}

fn numbers(tensor: CubeTensor) -> Vec<f64> {
    let data = read_sync(CubeBackend::float_into_data(tensor)).expect("readable");
    data.iter().collect()
}

#[test]
fn rows_of_every_length() {
    let shapes = [
        [1, 1],
        [4, 2],
        [4, 3],
        [4, 4],
        [41, 1271],
        [4, 1024],
        [5, 4100],
        [3, 100_003],
    ];
    for shape in shapes {
        Batch::new(shape).check();
        Batch::new(shape).with_candidates().check();
    }
}

#[test]
fn cubes_of_every_size() {
    for units in [1, 2, 32, 64, 256] {
        for shape in [[1, 1], [4, 3], [41, 1271], [4, 1024], [2, 10_000]] {
            Batch::new(shape).check_with_cubes(units, 1, 1);
            let batch = Batch::new(shape).with_candidates().with_draws();
            batch.check_with_cubes(units, 1, 2);
        }
    }
}

/// Some of them see nothing.
#[test]
fn rows_that_many_cubes_share() {
    for (units, segments) in [(1, 2), (8, 4), (32, 16), (64, 256)] {
        for shape in [[1, 1], [4, 3], [41, 1271], [4, 1024], [2, 10_000]] {
            Batch::new(shape).check_with_cubes(units, segments, 2);
            let batch = Batch::new(shape).with_candidates().with_draws();
            batch.check_with_cubes(units, segments, 1);
        }
    }
}

#[test]
fn more_rows_than_a_dimension_has_cubes() {
    Batch::new([70_001, 3]).check();
}

#[test]
fn draws() {
    for shape in [[1, 1], [41, 1271], [8, 1024], [4, 10_000]] {
        Batch::new(shape).with_draws().check();
        Batch::new(shape).with_candidates().with_draws().check();
    }
}

#[test]
fn exponents_and_hardness() {
    for (exponent, hardness) in [(-1.0, 0.0), (0.5, 0.3), (-3.0, 1.0), (2.0, 5.0)] {
        for shape in [[3, 31], [8, 300], [4, 4096]] {
            Batch::new(shape).with_options(exponent, hardness).check();
        }
        let batch = Batch::new([2, 5000]).with_options(exponent, hardness);
        batch.check_with_cubes(8, 4, 2);
    }
}

/// The mean keeps its digits through 0, where it is the arithmetic one.
#[test]
fn small_exponents() {
    for exponent in [0.0, 1e-30, -1e-30, 1e-9, -1e-9, 1e-3, -0.02, 0.3, -0.49] {
        for shape in [[4, 3], [8, 300], [4, 4096]] {
            let batch = Batch::new(shape).with_options(exponent, 0.0);
            batch.check();
            batch.with_weights().check();
        }
        let batch = Batch::new([4, 5000]).with_options(exponent, 0.5);
        batch.check_with_cubes(8, 4, 2);
        batch.with_weights().check_with_cubes(8, 4, 2);
    }
}

#[test]
fn weights_of_pairs() {
    for shape in [[1, 1], [4, 2], [4, 3], [41, 1271], [8, 1024], [5, 4100]] {
        for (exponent, hardness) in [(1.0, 0.0), (-2.0, 1.5)] {
            let batch = Batch::new(shape).with_options(exponent, hardness);
            let batch = batch.with_weights();
            batch.check();
            batch.clone().with_candidates().check();
            batch.clone().with_draws().check();
            for (units, segments) in [(1, 1), (64, 1), (8, 4)] {
                batch.check_with_cubes(units, segments, 2);
            }
            let mut batch = batch;
            let request = Request::new(TEMPERATURE, &Statistic::ALL);
            batch.case.request = request.with_hardness(hardness);
            batch.check();
            batch.with_draws().check();
        }
    }
}

#[test]
fn false_negatives() {
    for (threshold, margin, relative) in [
        (PositiveThreshold::Weakest, 0.7, false),
        (PositiveThreshold::Strongest, -1.3, false),
        (PositiveThreshold::Mean, 0.05, true),
        (PositiveThreshold::Mean, -0.2, false),
        (PositiveThreshold::Strongest, 0.4, true),
        // All negatives lie above the ceiling.
        (PositiveThreshold::Weakest, -9.0, false),
    ] {
        let rule = FalseNegatives::new(threshold)
            .with_margin(margin)
            .with_relative(relative);
        for shape in [[1, 1], [4, 3], [41, 1271], [8, 1024], [4, 10_000]] {
            let batch = Batch::new(shape).with_false_negatives(rule);
            batch.check();
            batch.clone().with_candidates().with_draws().check();
            batch.check_with_cubes(64, 1, 2);
            batch.check_with_cubes(8, 4, 1);
            batch.with_weights().check();
        }
    }
}

#[test]
fn curves() {
    let rule = FalseNegatives::new(PositiveThreshold::Weakest).with_margin(0.7);
    // Of more positives, some have the same value near the flat top of the circle's curve.
    for (curve, most) in [(Curve::circle(0.25), 1271), (Curve::focal(0.5), 10_000)] {
        for shape in [[1, 1], [4, 3], [41, 1271], [8, 1024], [4, most]] {
            let mut batch = Batch::new(shape).with_curve(curve);
            // Their squares in units of the temperature are as far apart as other scores.
            for score in &mut batch.case.scores {
                *score *= 0.5;
            }
            batch.check();
            batch.clone().with_candidates().with_draws().check();
            batch.clone().with_weights().check_with_cubes(64, 1, 2);
            batch
                .clone()
                .with_options(-1.0, 0.5)
                .check_with_cubes(8, 4, 1);
            batch.with_false_negatives(rule).check();
        }
        let mut batch = Batch::new([8, 300]).with_curve(curve);
        for i in (0..8 * 300).filter(|&i| i % 7 == 3 && !batch.case.positives[i]) {
            batch.case.scores[i] = f64::NEG_INFINITY;
        }
        batch.check();
        let request = Request::new(TEMPERATURE, &Statistic::ALL);
        batch.case.request = request.with_curve(curve);
        batch.check();
    }
}

/// Ignored for whichever reason, a document may have any score.
#[test]
fn scores_of_ignored_documents_are_not_read() {
    let ignored = |i: usize| i % 5 == 1;
    for special in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut batch = Batch::new([9, 320]).with_weights();
        let rule = FalseNegatives::new(PositiveThreshold::Mean).with_margin(0.5);
        for i in (0..9 * 320).filter(|&i| ignored(i)) {
            batch.case.scores[i] = special;
        }
        let mut masked = batch.clone();
        masked.case.candidates = Some((0..9 * 320).map(|i| !ignored(i)).collect());
        let weights = batch.case.weights.as_mut().expect("it has weights");
        for i in (0..9 * 320).filter(|&i| ignored(i)) {
            weights[i] = 0.0;
        }
        for batch in [batch, masked] {
            batch.check();
            batch.with_false_negatives(rule).check();
        }
    }
}

#[test]
fn negatives_of_minus_infinity_count_for_nothing() {
    let mut batch = Batch::new([8, 300]);
    for i in (0..8 * 300).filter(|&i| i % 7 == 3 && !batch.case.positives[i]) {
        batch.case.scores[i] = f64::NEG_INFINITY;
    }
    batch.check();
    batch.clone().with_weights().check();
    let rule = FalseNegatives::new(PositiveThreshold::Strongest);
    batch.with_false_negatives(rule).check();
}

/// Above any threshold that is not known, nothing is ignored.
#[test]
fn a_positive_of_nan_ignores_no_negative() {
    for threshold in [
        PositiveThreshold::Weakest,
        PositiveThreshold::Strongest,
        PositiveThreshold::Mean,
    ] {
        let mut batch = Batch::new([2, 8]).with_false_negatives(FalseNegatives::new(threshold));
        batch.case.positives = (0..16).map(|i| i % 8 < 2).collect();
        batch.case.scores = [0.0, 0.5, 1.0, 2.0, -1.0, -2.0, -3.0, 3.0].repeat(2);
        for at in [0, 1] {
            batch.case.scores[at] = f64::NAN;
            let table =
                CubeBackend::row_statistics(batch.scores(), batch.judged(), batch.request());
            let table = numbers(table);
            assert_eq!(table[table::NEGATIVE_COUNT], 6.0);
            assert!(table[Statistic::PositiveMean as usize].is_nan());
            assert_eq!(table[WIDTH + table::NEGATIVE_COUNT], 3.0);
        }
    }
}

/// A weight that is none makes a statistic that runs over it NaN, and no other.
#[test]
fn weights_that_are_none() {
    let of_negatives = [Statistic::Negatives, Statistic::HardestNegative];
    let of_positives = [Statistic::PositiveMean, Statistic::PositiveExcess];
    for wrong in [f64::NAN, -1.0, -1e-30] {
        for (column, is_positive) in [(0, true), (1, true), (2, false), (7, false)] {
            for exponent in [1.0, 0.1, 0.0] {
                let mut batch = Batch::new([2, 8]);
                let request = Request::new(TEMPERATURE, &Statistic::ALL);
                batch.case.request = request.with_exponent(exponent);
                batch.case.positives = (0..16).map(|i| i % 8 < 2).collect();
                batch.case.weights = Some(vec![1.0; 16]);
                batch.case.weights.as_mut().unwrap()[column] = wrong;
                let table =
                    CubeBackend::row_statistics(batch.scores(), batch.judged(), batch.request());
                let table = numbers(table);
                for statistic in Statistic::ALL {
                    let of_these = match is_positive {
                        true => of_positives.as_slice(),
                        false => &of_negatives,
                    };
                    let of_all = [Statistic::PositiveLosses, Statistic::BinaryLosses];
                    let is_nan = of_these.contains(&statistic) || of_all.contains(&statistic);
                    let value = table[statistic as usize];
                    assert_eq!(value.is_nan(), is_nan, "{statistic:?} of {wrong}: {value}");
                    assert!(table[WIDTH + statistic as usize].is_finite());
                }
                assert_eq!(table[table::POSITIVE_WEIGHT].is_nan(), is_positive);

                let draws = floats(&[0.0, 0.0], [1, 2], DType::F32);
                let draws = CubeBackend::float_reshape(draws, Shape::new([2]));
                let columns = CubeBackend::drawn_columns(draws, batch.judged());
                let columns = read_sync(CubeBackend::int_into_data(columns)).expect("readable");
                let columns: Vec<i64> = columns.iter().collect();
                assert_eq!([columns[0] == 0, columns[1] == 0], [!is_positive, true]);
            }
        }
    }
}

#[test]
fn losses_of_single_positives() {
    for shape in [[3, 1], [5, 31], [8, 300], [4, 4096], [2, 9001]] {
        for hardness in [0.0, 1.5] {
            let mut batch = Batch::new(shape);
            let request = Request::new(TEMPERATURE, &Statistic::ALL);
            batch.case.request = request.with_hardness(hardness);
            batch.check();
            batch.clone().with_candidates().check();
            batch.clone().with_draws().check();
            batch.check_with_cubes(1, 1, 1);
            batch.check_with_cubes(8, 4, 2);
        }
    }
}

#[test]
fn choices_that_are_no_positive_or_no_column() {
    let mut batch = Batch::new([6, 8]);
    batch.case.positives = (0..48).map(|i| i % 8 == 3 || i % 8 == 5).collect();
    batch.case.chosen = Some(vec![3, 5, 3, 5, 3, 5]);
    batch.check();
    for choice in [0, -1, 8, -2_147_483_648, 0x3fff_ffff] {
        batch.case.chosen = Some(vec![choice; 6]);
        let request = batch.request();
        let table = CubeBackend::row_statistics(batch.scores(), batch.judged(), request);
        let table = numbers(table);
        for row in table.chunks(WIDTH) {
            assert_eq!(row[table::POSITIVE_COUNT], 1.0, "{choice}");
            assert!(row[Statistic::PositiveMean as usize].is_nan(), "{choice}");
            assert!(row[Statistic::Negatives as usize].is_finite(), "{choice}");
        }
    }
}

#[test]
fn half_precision() {
    for dtype in [DType::F16, DType::BF16] {
        if !CubeBackend::supports_dtype(&CubeDevice::default(), dtype) {
            eprintln!("skipped for {dtype:?}: the device does not compute in it");
            continue;
        }
        for shape in [[41, 1271], [4, 4096]] {
            Batch::new(shape).with_dtype(dtype).check();
        }
    }
}

#[test]
fn nothing() {
    for shape in [[0, 4], [3, 0], [0, 0]] {
        Batch::new(shape).check();
    }
}

/// The matrix that `tensor` holds the transpose of.
fn transposed<T: Copy>(values: &[T], [rows, columns]: [usize; 2]) -> Vec<T> {
    let at = |i: usize| values[i % rows * columns + i / rows];
    (0..rows * columns).map(at).collect()
}

#[test]
fn inputs_in_any_layout() {
    let batch = Batch::new([12, 64]).with_candidates();
    let [rows, columns] = batch.case.shape;

    let flipped = floats(
        &transposed(&batch.case.scores, batch.case.shape),
        [columns, rows],
        DType::F32,
    );
    let flipped = CubeBackend::float_swap_dims(flipped, 0, 1);
    batch.check_inputs(flipped, batch.judged());

    let flipped = mask(
        &transposed(&batch.case.positives, batch.case.shape),
        [columns, rows],
    );
    let mut judged = batch.judged();
    judged.relevance = Relevance::Mask(CubeBackend::bool_swap_dims(flipped, 0, 1));
    batch.check_inputs(batch.scores(), judged);

    // Each row twice: the second half is sliced away, by columns or by rows.
    for dim in [0, 1] {
        let twice = CubeBackend::float_cat(vec![batch.scores(); 2], dim);
        let positives = mask(&batch.case.positives, batch.case.shape);
        let positives = CubeBackend::bool_cat(vec![positives; 2], dim);
        let mut slices = [Slice::full(), Slice::full()];
        slices[dim] = Slice::from(batch.case.shape[dim]..2 * batch.case.shape[dim]);
        let mut judged = batch.judged();
        judged.relevance = Relevance::Mask(CubeBackend::bool_slice(positives, &slices));
        batch.check_inputs(CubeBackend::float_slice(twice, &slices), judged);
    }
}

#[test]
fn masks_that_are_broadcast() {
    let mut batch = Batch::new([12, 64]).with_candidates();
    let [rows, columns] = batch.case.shape;
    let row: Vec<bool> = (0..columns).map(|i| i % 9 == 4).collect();
    let kept: Vec<bool> = (0..columns).map(|i| i % 5 != 2).collect();
    batch.case.positives = row.repeat(rows);
    batch.case.candidates = Some(kept.repeat(rows));
    let spread = |values: &[bool], shape: [usize; 2]| {
        CubeBackend::bool_expand(mask(values, shape), Shape::new(batch.case.shape))
    };
    let judged = Judged {
        relevance: Relevance::Mask(spread(&row, [1, columns])),
        candidates: Candidates::Mask(spread(&kept, [1, columns])),
        weights: Weights::All,
        ceilings: Ceilings::None,
        chosen: Chosen::All,
    };
    batch.check_inputs(batch.scores(), judged);

    // A column for all: every document of a query is a positive, or none.
    let query: Vec<bool> = (0..rows).map(|i| i % 3 == 0).collect();
    batch.case.positives = query.iter().flat_map(|&set| vec![set; columns]).collect();
    let query = CubeBackend::bool_expand(mask(&query, [rows, 1]), Shape::new(batch.case.shape));
    let mut judged = batch.judged();
    judged.relevance = Relevance::Mask(query);
    batch.check_inputs(batch.scores(), judged);
}

/// Both neighbours of the operation are lazy, on either side of it and of its backward.
#[test]
fn between_lazy_neighbours() {
    let device = Device::new(DispatchDevice::Cube(CubeDevice::default()));
    for device in [
        device.clone().autodiff(),
        device.autodiff().gradient_checkpointing(),
    ] {
        let run = |form: fn(Tensor<2>, &Targets, Request) -> Statistics| {
            let wave = |factor: f32| {
                let values: Vec<f32> = (0..7 * 300).map(|i| (i as f32 * factor).sin()).collect();
                Tensor::<2>::from_data(TensorData::new(values, [7, 300]), &device)
            };
            let leaf = wave(0.7).require_grad();
            let scores = (leaf.clone() * 3.0 + wave(1.3)).tanh() * 2.0;
            let positives = wave(2.1).without_autodiff().greater_scalar(0.95);
            let targets = Targets::new(positives);
            let statistics = form(scores, &targets, Request::new(TEMPERATURE, &AT_ONE_LOOK));
            let mut loss = Tensor::<1>::zeros([7], &device);
            for (weight, statistic) in AT_ONE_LOOK.into_iter().enumerate() {
                loss = loss + (statistics.get(statistic) * (0.01 * weight as f32 + 0.01)).sin();
            }
            let gradients = (loss.clone() * 0.5).sum().backward();
            let gradient = leaf.grad(&gradients).unwrap().into_data();
            let numbers = |data: TensorData| -> Vec<f64> { data.iter().collect() };
            (numbers(loss.into_data()), numbers(gradient))
        };
        let (loss, gradient) = run(Statistics::new);
        let (composed_loss, composed_gradient) = run(Statistics::composed);
        for (got, want) in loss.into_iter().zip(composed_loss) {
            close("loss", got, want, 1e-4);
        }
        for (got, want) in gradient.into_iter().zip(composed_gradient) {
            close("gradient", got, want, 1e-3);
        }
    }
}
