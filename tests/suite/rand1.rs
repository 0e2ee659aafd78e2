//! Rand1LH: what is drawn, how it repeats, and what `forward_chosen` does with a given
//! draw.

use crate::{
    batch::{Batch, Criterion, float_matrix, gradient_of, matrix, numbers},
    close::{Tolerance, assert_close},
    device::{autodiff_devices, device, turn_to_draw},
    oracle::{DEFAULTS, Query},
};
use burn::tensor::{DType, Int, Tensor};
use burn_multi_positive::{Rand1LhLoss, Rand1LhLossConfig};

fn loss() -> Rand1LhLoss {
    Rand1LhLossConfig::new().init()
}

/// Many times the same query: positives 1, 3, 4 and 6 (5 is ignored), negatives 0, 2 and
/// 7, all losses far apart.
fn crowd(queries: usize) -> Batch {
    let mut query = Query::new(&[0.0, 1.0, -0.5, 2.0, 3.0, 4.0, 5.0, 0.5], &[1, 3, 4, 5, 6]);
    query.candidates[5] = false;
    Batch(vec![query; queries])
}

/// The loss of each possible draw.
fn losses() -> Vec<(usize, f64)> {
    let query = &crowd(1).0[0];
    let loss = |chosen: usize| {
        let query = Query {
            chosen: Some(chosen),
            ..query.clone()
        };
        (chosen, query.loss(&DEFAULTS[3]))
    };
    query.p().into_iter().map(loss).collect()
}

/// What was drawn, read off the losses. The caller holds the turn.
fn drawn(batch: &Batch) -> Vec<usize> {
    let device = device();
    let rows =
        loss().forward_no_reduction(batch.scores(&device, DType::F32), batch.targets(&device));
    let losses = losses();
    let column = |row: f64| {
        let fits = losses
            .iter()
            .find(|(_, loss)| (loss - row).abs() < 1e-4 * loss);
        fits.unwrap_or_else(|| panic!("{row} is the loss of no positive, {losses:?}"))
            .0
    };
    numbers(rows).into_iter().map(column).collect()
}

#[test]
fn draws_are_uniform_over_the_positives_that_count() {
    let _turn = turn_to_draw();
    device().seed(11);
    let queries = 8000;
    let drawn = drawn(&crowd(queries));
    let expected = queries as f64 / 4.0;
    let chi_square: f64 = losses()
        .into_iter()
        .map(|(column, _)| drawn.iter().filter(|&&d| d == column).count() as f64)
        .map(|count| (count - expected).powi(2) / expected)
        .sum();
    // three degrees of freedom: above 30 once in 700,000 seeds
    assert!(chi_square < 30.0, "chi-square {chi_square}");
}

#[test]
fn draws_of_neighbouring_queries_are_independent() {
    let _turn = turn_to_draw();
    device().seed(12);
    let drawn = drawn(&crowd(8000));
    let repeats = drawn.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64;
    // binomial with 1/4: 2000 give or take 39
    assert!((repeats - 2000.0).abs() < 200.0, "{repeats} repeats");
}

#[test]
fn draws_repeat_with_the_seed_of_the_device_and_only_with_it() {
    let _turn = turn_to_draw();
    let batch = crowd(64);
    device().seed(13);
    let (first, next) = (drawn(&batch), drawn(&batch));
    device().seed(13);
    assert_eq!(drawn(&batch), first);
    assert_eq!(drawn(&batch), next);
    assert_ne!(first, next);
    device().seed(14);
    assert_ne!(drawn(&batch), first);
}

#[test]
fn a_query_takes_one_random_number_however_many_documents_there_are() {
    let _turn = turn_to_draw();
    let narrow = crowd(64);
    let mut wide = narrow.clone();
    for query in &mut wide.0 {
        query.scores.extend([f64::NEG_INFINITY; 50]);
        query.positives.extend([false; 50]);
        query.candidates.extend([true; 50]);
    }
    device().seed(15);
    let draws = [drawn(&narrow), drawn(&narrow)];
    device().seed(15);
    assert_eq!([drawn(&wide), drawn(&wide)], draws);
}

#[test]
fn the_expected_loss_is_the_mean_over_the_positives() {
    let _turn = turn_to_draw();
    device().seed(16);
    let batch = crowd(8000);
    let (scores, targets) = (
        batch.scores(&device(), DType::F32),
        batch.targets(&device()),
    );
    let mean = numbers(loss().forward(scores, targets))[0];
    let losses: Vec<f64> = losses().into_iter().map(|(_, loss)| loss).collect();
    let expected = losses.iter().sum::<f64>() / 4.0;
    let variance = losses
        .iter()
        .map(|loss| (loss - expected).powi(2))
        .sum::<f64>()
        / 4.0;
    let error = (variance / 8000.0).sqrt();
    assert!(
        (mean - expected).abs() < 5.0 * error,
        "{mean} for {expected} ± {error}"
    );
}

#[test]
fn positives_that_were_not_drawn_get_no_gradient() {
    let _turn = turn_to_draw();
    let batch = crowd(16);
    for device in autodiff_devices() {
        let scores = batch.scores(&device, DType::F32).require_grad();
        let loss = loss().forward(scores.clone(), batch.targets(&device));
        for row in gradient_of(&loss, &scores) {
            let pulled: Vec<usize> = (0..8).filter(|&d| row[d] < 0.0).collect();
            let pushed: Vec<usize> = (0..8).filter(|&d| row[d] > 0.0).collect();
            assert_eq!(pulled.len(), 1, "{row:?}");
            assert!([1, 3, 4, 6].contains(&pulled[0]), "{row:?}");
            assert_eq!(pushed, [0, 2, 7], "{row:?}");
        }
    }
}

/// The loss of each query with the column chosen for it.
fn chosen_rows(batch: &Batch, chosen: &[i64]) -> Vec<f64> {
    let device = device();
    let row = |(query, column): (&Query, &i64)| {
        let alone = Batch(vec![query.clone()]);
        let chosen = Tensor::<1, Int>::from_ints([*column], &device);
        let scores = alone.scores(&device, DType::F32);
        numbers(loss().forward_chosen(scores, alone.targets(&device), chosen))[0]
    };
    batch.0.iter().zip(chosen).map(row).collect()
}

#[test]
fn chosen_columns_are_those_of_their_own_query() {
    let batch = crowd(4);
    let scores = batch.scores(&device(), DType::F32);
    let chosen = Tensor::<1, Int>::from_ints([6, 1, 4, 1], &device());
    let mean = loss().forward_chosen(scores, batch.targets(&device()), chosen);
    assert_eq!(mean.dims(), [1]);
    let losses: Vec<f64> = losses().into_iter().map(|(_, loss)| loss).collect();
    let want = (losses[3] + 2.0 * losses[0] + losses[2]) / 4.0;
    assert_close(
        "mean",
        numbers(mean)[0],
        want,
        Tolerance::units(DType::F32, 64.0),
    );
}

#[test]
fn a_chosen_column_that_is_no_positive_candidate_is_nan_in_its_row() {
    let batch = crowd(9);
    // positive, negative, ignored positive, last + 1, far out, -1, far below, i32 ends,
    // positive
    let ends = [i64::from(i32::MAX), i64::from(i32::MIN)];
    let rows = chosen_rows(&batch, &[3, 0, 5, 8, 1000, -1, -8, ends[0], 6]);
    let want = losses();
    assert_close(
        "row 0",
        rows[0],
        want[1].1,
        Tolerance::units(DType::F32, 64.0),
    );
    for (row, loss) in rows.iter().enumerate().take(8).skip(1) {
        assert!(loss.is_nan(), "row {row}: {loss}");
    }
    assert_close(
        "row 8",
        rows[8],
        want[3].1,
        Tolerance::units(DType::F32, 64.0),
    );
    assert!(chosen_rows(&crowd(1), &ends[1..])[0].is_nan());
}

/// -1 must not mean the last document, nor the document count the first one of the next
/// query.
#[test]
fn a_chosen_column_out_of_range_does_not_wrap_around() {
    let all = Batch::new(&[(&[1.0, 2.0], &[0, 1]), (&[3.0, 0.5], &[0, 1])]);
    for column in [-2, -1, 2, 3] {
        let rows = chosen_rows(&all, &[column, 0]);
        assert!(rows[0].is_nan(), "column {column}: {rows:?}");
        assert_eq!(rows[1], 0.0, "column {column}: {rows:?}");
    }
}

#[test]
fn a_wrongly_chosen_column_leaves_the_gradients_of_other_queries_alone() {
    let batch = crowd(3);
    for device in autodiff_devices() {
        let gradient = |chosen: [i64; 3]| {
            let scores = batch.scores(&device, DType::F32).require_grad();
            let chosen = Tensor::<1, Int>::from_ints(chosen, &device);
            let rows = loss().forward_chosen(scores.clone(), batch.targets(&device), chosen);
            gradient_of(&rows.sum(), &scores)
        };
        let (wrong, right) = (gradient([3, 99, 4]), gradient([3, 1, 4]));
        assert_eq!([&wrong[0], &wrong[2]], [&right[0], &right[2]]);
    }
}

#[test]
fn the_chosen_column_of_an_inactive_query_is_not_read() {
    let mut batch = crowd(4);
    for query in &mut batch.0[..3] {
        query.positives.fill(false);
    }
    let rows = chosen_rows(&batch, &[-7, 2, 1_000_000, 1]);
    assert_eq!(rows[..3], [0.0; 3]);
    assert!(rows[3] > 0.0);
}

#[test]
fn positives_that_were_not_chosen_leave_the_candidates_whatever_their_score() {
    let clean = crowd(1);
    let want = chosen_rows(&clean, &[4]);
    for garbage in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3e38] {
        let mut dirty = clean.clone();
        for other in [1, 3, 5, 6] {
            dirty.0[0].scores[other] = garbage;
        }
        assert_eq!(chosen_rows(&dirty, &[4]), want, "with {garbage}");
        let scores = dirty
            .scores(&device().autodiff(), DType::F32)
            .require_grad();
        let chosen = Tensor::<1, Int>::from_ints([4], &device());
        let rows = loss().forward_chosen(scores.clone(), dirty.targets(&device()), chosen);
        let gradient = gradient_of(&rows, &scores);
        for other in [1, 3, 5, 6] {
            assert_eq!(gradient[0][other], 0.0, "with {garbage}");
        }
    }
}

#[test]
fn nan_in_the_chosen_positive_or_a_negative_is_nan() {
    for document in [4, 2] {
        let mut batch = crowd(2);
        batch.0[0].scores[document] = f64::NAN;
        let rows = chosen_rows(&batch, &[4, 4]);
        assert!(rows[0].is_nan() && rows[1].is_finite(), "{rows:?}");
    }
}

#[test]
fn drawing_skips_queries_without_a_positive() {
    let mut batch = crowd(6);
    batch.0[2].positives.fill(false);
    batch.0[4].candidates.fill(false);
    let criterion = Criterion::from(&DEFAULTS[3]);
    let device = device();
    let rows = numbers(criterion.rows(batch.scores(&device, DType::F32), batch.targets(&device)));
    assert_eq!([rows[2], rows[4]], [0.0; 2]);
    let mean = criterion.mean(batch.scores(&device, DType::F32), batch.targets(&device));
    let possible = losses();
    assert!(numbers(mean)[0] <= possible[0].1 && rows.iter().all(|row| row.is_finite()));
}

#[test]
fn embeddings_draw_as_scores_do() {
    let _turn = turn_to_draw();
    let device = device();
    let batch = crowd(64);
    // one-dimensional embeddings: the product of 1 and the documents' scores
    let queries = float_matrix(&vec![vec![1.0]; 64], &device, DType::F32);
    let row = batch.scores(&device, DType::F32).slice([0..1, 0..8]);
    assert_eq!(matrix(row.clone())[0], batch.0[0].scores);
    device.seed(17);
    let of_scores = loss().forward(batch.scores(&device, DType::F32), batch.targets(&device));
    device.seed(17);
    let of_embeddings = loss().forward_embeddings(queries, row.transpose(), batch.targets(&device));
    let [got, want] = [of_embeddings, of_scores].map(|loss| numbers(loss)[0]);
    assert_close("loss", got, want, Tolerance::units(DType::F32, 16.0));
}
