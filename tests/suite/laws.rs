//! What must hold whatever the scores: 64 cases a law, from a fixed seed, so that a run
//! repeats.

use crate::{
    batch::{Batch, Criterion, Outcome, gradient_of, numbers},
    close::{Tolerance, assert_all_close, assert_close, assert_rows_close},
    device::{autodiff_devices, precisions, rounding},
    oracle::{DEFAULTS, Loss, Negatives, Objective, Positives, Query, objectives},
};
use burn::{
    nn::loss::{CrossEntropyLossConfig, Reduction},
    tensor::{DType, Device, Int, Tensor},
};
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, RngSeed},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

fn config() -> Config {
    Config {
        cases: 64,
        rng_seed: RngSeed::Fixed(0x5eed),
        failure_persistence: None,
        ..Config::default()
    }
}

/// One to five queries over one to forty documents, rows without a positive, a negative
/// or a candidate among them. The scores of a query are distinct multiples of `2^exponent
/// / 1024` up to `2^(exponent + 1)`: from 1e-3 to 1e4, and sums of a few of them are
/// exact.
fn batches() -> impl Strategy<Value = Batch> {
    let shares = (select(vec![0.1, 0.5, 0.95]), select(vec![1.0, 0.8, 0.2]));
    (1..=5usize, 1..=40usize, -9..=12i32, shares, any::<u64>()).prop_map(
        |(queries, documents, exponent, (positives, candidates), seed)| {
            let mut rng = StdRng::seed_from_u64(seed);
            let query = |_| {
                let mut steps: Vec<i32> = (-2048..=2048).collect();
                let (steps, _) = steps.partial_shuffle(&mut rng, documents);
                let score = |step: &i32| f64::from(*step) / 1024.0 * f64::from(exponent).exp2();
                let mut query = Query::new(&steps.iter().map(score).collect::<Vec<_>>(), &[]);
                for d in 0..documents {
                    query.positives[d] = rng.random_bool(positives);
                    query.candidates[d] = rng.random_bool(candidates);
                }
                let mut p = query.p();
                p.shuffle(&mut rng);
                query.chosen = p.first().copied();
                query
            };
            Batch((0..queries).map(query).collect())
        },
    )
}

/// A device of either kind of autodiff, and a precision it has.
fn settings() -> impl Strategy<Value = (Device, DType)> {
    (select(autodiff_devices().to_vec()), select(precisions()))
}

/// Every query of `got` against the same query of `want`, which the library computed as
/// well.
#[track_caller]
fn assert_same(batch: &Batch, objective: &Objective, dtype: DType, got: &Outcome, want: &Outcome) {
    let upstream = 1.0 / batch.active().max(1.0);
    for (q, query) in batch.0.iter().enumerate() {
        let what = format!("{objective:?} {dtype:?}, row {q}");
        let tolerance = Tolerance::loss(query, objective, want.rows[q], dtype);
        assert_close(&what, got.rows[q], want.rows[q], tolerance);
        let tolerance = Tolerance::gradient(query, objective, upstream, dtype);
        let what = format!("{what}, gradient");
        assert_all_close(what, &got.gradient[q], &want.gradient[q], tolerance);
    }
}

/// The relative error of a loss that is a difference of numbers as large as the scores.
fn slack(query: &Query, objective: &Objective, loss: f64, dtype: DType) -> f64 {
    let tolerance = Tolerance::loss(query, objective, loss, dtype);
    tolerance.absolute + tolerance.relative * loss.abs()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn values_and_gradients_are_the_oracles_at_every_scale(
        batch in batches(),
        objective in select(objectives()),
        (device, dtype) in settings(),
    ) {
        let upstream = 1.0 / batch.active().max(1.0);
        let gradient = |query: &Query| {
            query.gradient(&objective).iter().map(|slope| slope * upstream).collect()
        };
        let want = Outcome {
            rows: batch.0.iter().map(|query| query.loss(&objective)).collect(),
            mean: 0.0,
            gradient: batch.0.iter().map(gradient).collect(),
        };
        let got = batch.run(&objective, &device, dtype);
        assert_same(&batch, &objective, dtype, &got, &want);
    }

    #[test]
    fn adding_a_constant_to_a_query_changes_nothing(
        batch in batches(),
        shift in -8..=8i32,
        objective in select(objectives()),
        (device, dtype) in settings(),
    ) {
        let mut shifted = batch.clone();
        for query in &mut shifted.0 {
            let largest = query.scores.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
            let unit = largest.log2().ceil().exp2();
            query.scores.iter_mut().for_each(|score| *score += f64::from(shift) * unit);
        }
        let got = shifted.run(&objective, &device, dtype);
        let want = batch.run(&objective, &device, dtype);
        // as close as without the constant: statistics are measured from a score of the
        // query
        assert_same(&batch, &objective, dtype, &got, &want);
    }

    #[test]
    fn the_gradient_of_a_query_sums_to_zero(
        batch in batches(),
        objective in select(objectives()),
        (device, dtype) in settings(),
    ) {
        let outcome = batch.run(&objective, &device, dtype);
        let upstream = 1.0 / batch.active().max(1.0);
        for (q, query) in batch.0.iter().enumerate() {
            let row = &outcome.gradient[q];
            let tolerance = Tolerance::gradient(query, &objective, upstream, dtype);
            let mass: f64 = row.iter().map(|slope| slope.abs()).sum();
            let bound = tolerance.relative * mass + tolerance.absolute * row.len() as f64;
            let sum: f64 = row.iter().sum();
            assert!(sum.abs() <= bound, "{objective:?}, row {q}: {sum:e} above {bound:e}");
        }
    }

    #[test]
    fn permuted_documents_permute_the_gradient(
        batch in batches(),
        seed in any::<u64>(),
        objective in select(objectives()),
        (device, dtype) in settings(),
    ) {
        let mut order: Vec<usize> = (0..batch.0[0].scores.len()).collect();
        order.shuffle(&mut StdRng::seed_from_u64(seed));
        let permuted = Batch(batch.0.iter().map(|query| Query {
            scores: order.iter().map(|&d| query.scores[d]).collect(),
            positives: order.iter().map(|&d| query.positives[d]).collect(),
            candidates: order.iter().map(|&d| query.candidates[d]).collect(),
            chosen: query.chosen.and_then(|chosen| order.iter().position(|&d| d == chosen)),
        }).collect());
        let got = permuted.run(&objective, &device, dtype);
        let mut want = batch.run(&objective, &device, dtype);
        for row in &mut want.gradient {
            *row = order.iter().map(|&d| row[d]).collect();
        }
        assert_same(&permuted, &objective, dtype, &got, &want);
    }

    #[test]
    fn with_one_positive_every_objective_is_cross_entropy(
        mut batch in batches(),
        objective in select(DEFAULTS.to_vec()),
        temperature in select(vec![0.05, 1.0, 3.0]),
        (device, dtype) in settings(),
    ) {
        let objective = objective.temperature(temperature);
        for query in &mut batch.0 {
            let only = query.chosen.unwrap_or(0);
            query.candidates.fill(true);
            query.positives.fill(false);
            query.positives[only] = true;
            query.chosen = Some(only);
        }
        let scores = batch.scores(&device, dtype).require_grad();
        let loss = Criterion::from(&objective).mean(scores.clone(), batch.targets(&device));
        // divided outside of the graph: Burn's gradient of a division by 3 is an f32
        // third
        let divided = (batch.scores(&device, dtype) / temperature).require_grad();
        let labels: Tensor<1, Int> = batch.chosen(&device);
        let cross_entropy =
            CrossEntropyLossConfig::new().init(&device).forward(divided.clone(), labels);

        let spans = batch.0.iter().flat_map(|query| query.scores.clone());
        let span = spans.fold(0.0, |a: f64, b| a.max(b.abs())) / temperature;
        // cross-entropy is a difference of numbers as large as the scores, however sure
        // it is
        let error = rounding(dtype) * (64.0 + 8.0 * span);
        let tolerance = Tolerance { relative: error.min(1e-3), absolute: error };
        let [got, want] = [&loss, &cross_entropy].map(|loss| numbers(loss.clone())[0]);
        assert_close(format!("{objective:?} {dtype:?}"), got, want, tolerance);
        let got = gradient_of(&loss, &scores);
        let mut want = gradient_of(&cross_entropy, &divided);
        want.iter_mut().flatten().for_each(|slope| *slope /= temperature);
        let tolerance = tolerance.absolute(error.min(1e-3) / temperature);
        assert_rows_close(format!("{objective:?}, gradient"), &got, &want, tolerance);
    }

    #[test]
    fn ignored_documents_are_as_good_as_deleted(
        mut batch in batches(),
        garbage in select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3e38, -3e38, 0.5]),
        objective in select(objectives()),
        (device, dtype) in settings(),
    ) {
        for query in &mut batch.0 {
            for d in 0..query.scores.len() {
                if !query.candidates[d] {
                    query.scores[d] = garbage;
                }
            }
        }
        let got = batch.run(&objective, &device, dtype);
        let mut want = Outcome { rows: vec![], mean: 0.0, gradient: vec![] };
        for query in &batch.0 {
            let kept: Vec<usize> =
                (0..query.scores.len()).filter(|&d| query.candidates[d]).collect();
            let positives = kept.iter().map(|&d| query.positives[d]).collect();
            let deleted = Batch(vec![Query {
                scores: kept.iter().map(|&d| query.scores[d]).collect(),
                positives,
                candidates: vec![true; kept.len()],
                chosen: query.chosen.and_then(|chosen| kept.iter().position(|&d| d == chosen)),
            }]);
            let outcome = deleted.run(&objective, &device, dtype);
            let mut gradient = vec![0.0; query.scores.len()];
            for (&d, slope) in kept.iter().zip(&outcome.gradient[0]) {
                gradient[d] = slope / batch.active().max(1.0);
            }
            want.rows.push(outcome.rows[0]);
            want.gradient.push(gradient);
        }
        assert_same(&batch, &objective, dtype, &got, &want);
        for (row, query) in got.gradient.iter().zip(&batch.0) {
            for (slope, candidate) in row.iter().zip(&query.candidates) {
                assert!(*candidate || *slope == 0.0, "{slope} on an ignored document");
            }
        }
    }

    /// Every document twice: LSEPair has four times the pairs, Rand1LH twice the
    /// negatives, SumMargLH the same shares, JointLH twice the positives, each with half
    /// the share.
    #[test]
    fn documents_that_occur_twice(batch in batches(), (device, dtype) in settings()) {
        let doubled = Batch(batch.0.iter().map(|query| Query {
            scores: query.scores.repeat(2),
            positives: query.positives.repeat(2),
            candidates: query.candidates.repeat(2),
            chosen: query.chosen,
        }).collect());
        // log(1 + k e^u) from log(1 + e^u)
        let more = |k: f64, loss: f64| match loss < 1.0 {
            true => (k * loss.exp_m1()).ln_1p(),
            false => loss + (k - (k - 1.0) * (-loss).exp()).ln(),
        };
        for objective in DEFAULTS {
            let once = batch.run(&objective, &device, dtype);
            let twice = doubled.run(&objective, &device, dtype);
            for (q, query) in batch.0.iter().enumerate() {
                let (m, loss) = (query.p().len() as f64, once.rows[q]);
                let want = match objective.loss {
                    Loss::LsePair => more(4.0, loss),
                    Loss::Rand1Lh => more(2.0, loss),
                    Loss::SumMargLh => loss,
                    Loss::JointLh => 2.0 * (loss + m * 2f64.ln()),
                };
                let mut tolerance = Tolerance::loss(&doubled.0[q], &objective, want, dtype);
                tolerance.absolute += 4.0 * slack(query, &objective, loss, dtype);
                let what = format!("{objective:?} {dtype:?}, row {q}");
                assert_close(&what, twice.rows[q], want, tolerance);

                let (first, second) = twice.gradient[q].split_at(query.scores.len());
                let wanted = match objective.loss {
                    Loss::JointLh => once.gradient[q].clone(),
                    Loss::SumMargLh => once.gradient[q].iter().map(|slope| slope / 2.0).collect(),
                    // one copy of the chosen positive left the candidates, nothing else
                    // differs
                    Loss::LsePair | Loss::Rand1Lh => first.to_vec(),
                };
                let upstream = 1.0 / batch.active().max(1.0);
                let tolerance = Tolerance::gradient(&doubled.0[q], &objective, upstream, dtype);
                assert_all_close(format!("{what}, first copies"), first, &wanted, tolerance);
                if objective.loss != Loss::Rand1Lh {
                    assert_all_close(format!("{what}, second copies"), second, first, tolerance);
                }
            }
        }
    }

    #[test]
    fn objectives_are_ordered(batch in batches(), (device, dtype) in settings()) {
        let [lse_pair, joint, sum_marg, rand1] = DEFAULTS;
        let run = |objective: Objective| batch.run(&objective, &device, dtype).rows;
        let chain = [
            run(sum_marg),
            run(Objective::selecting(Positives::Strongest, Negatives::All)),
            run(Objective::selecting(Positives::Weakest, Negatives::All)),
            run(lse_pair),
        ];
        let joint_per_positive = run(joint.normalized());
        for (q, query) in batch.0.iter().enumerate() {
            let close = |loss| slack(query, &lse_pair, loss, dtype);
            let chain = chain.each_ref().map(|rows| rows[q]);
            for pair in chain.windows(2) {
                assert!(pair[0] <= pair[1] + close(pair[1]), "row {q}: {chain:?} is not ascending");
            }
            // InfoNCE of each positive, the others ignored
            let infonce: Vec<f64> = query.p().into_iter().map(|positive| {
                let alone = Batch(vec![Query { chosen: Some(positive), ..query.clone() }]);
                alone.run(&rand1, &device, dtype).rows[0]
            }).collect();
            let sum: f64 = infonce.iter().sum();
            let largest = infonce.iter().copied().fold(0.0, f64::max);
            let mean = sum / infonce.len().max(1) as f64;
            let bound = joint_per_positive[q];
            assert!(mean <= bound + close(bound), "row {q}: mean {mean} above JointLH/m {bound}");
            assert!(chain[3] <= sum + close(sum), "row {q}: LSEPair {} above {sum}", chain[3]);
            let tolerance = Tolerance::loss(query, &lse_pair, largest, dtype);
            assert_close(format!("weakest, row {q}"), chain[2], largest, tolerance);
        }
    }

    /// Temperatures that are powers of two divide exactly.
    #[test]
    fn temperature_divides_scores_and_margin(
        batch in batches(),
        exponent in -6..=6i32,
        objective in select(objectives()),
        (device, dtype) in settings(),
    ) {
        let t = f64::from(exponent).exp2();
        let mut divided = batch.clone();
        for query in &mut divided.0 {
            query.scores.iter_mut().for_each(|score| *score /= t);
        }
        let warm = objective.temperature(t);
        let got = batch.run(&warm, &device, dtype);
        let plain = objective.temperature(1.0).margin(objective.margin / t);
        let mut want = divided.run(&plain, &device, dtype);
        for slope in want.gradient.iter_mut().flatten() {
            *slope /= t;
        }
        assert_same(&batch, &warm, dtype, &got, &want);
    }

    #[test]
    fn reductions_are_sums_of_the_rows(
        mut batch in batches(),
        objective in select(objectives()),
        (device, dtype) in settings(),
    ) {
        // Rand1LH draws: leave it one positive
        for query in &mut batch.0 {
            let only = query.chosen.filter(|_| objective.loss == Loss::Rand1Lh);
            if let Some(only) = only {
                query.positives.fill(false);
                query.positives[only] = true;
            }
        }
        let criterion = Criterion::from(&objective);
        let scores = batch.scores(&device, dtype);
        let targets = batch.targets(&device);
        let sum: f64 = numbers(criterion.rows(scores.clone(), targets.clone())).iter().sum();
        let mean = sum / batch.active().max(1.0);
        for (reduction, want) in [
            (Reduction::Sum, sum),
            (Reduction::Mean, mean),
            (Reduction::Auto, mean),
            (Reduction::BatchMean, sum / batch.0.len() as f64),
        ] {
            let what = format!("{objective:?} {reduction:?}");
            let got = criterion.reduced(scores.clone(), targets.clone(), reduction);
            assert_eq!(got.dims(), [1]);
            assert_close(what, numbers(got)[0], want, Tolerance::units(dtype, 16.0));
        }
        let got = numbers(criterion.mean(scores, targets))[0];
        assert_close("forward", got, mean, Tolerance::units(dtype, 16.0));
    }

    #[test]
    fn transposed_targets_fit_transposed_scores(
        batch in batches(),
        objective in select(objectives()).prop_filter("draws", |o| o.loss != Loss::Rand1Lh),
        (device, dtype) in settings(),
    ) {
        let documents = batch.0[0].scores.len();
        let turned = Batch((0..documents).map(|d| Query {
            scores: batch.0.iter().map(|query| query.scores[d]).collect(),
            positives: batch.0.iter().map(|query| query.positives[d]).collect(),
            candidates: batch.0.iter().map(|query| query.candidates[d]).collect(),
            chosen: None,
        }).collect());
        let scores = batch.scores(&device, dtype).require_grad();
        let targets = batch.targets(&device).transpose();
        let criterion = Criterion::from(&objective);
        let rows = numbers(criterion.rows(scores.clone().transpose(), targets.clone()));
        let mean = criterion.mean(scores.clone().transpose(), targets);
        let gradient = gradient_of(&mean, &scores);
        let column = |d: usize| gradient.iter().map(|row| row[d]).collect();
        let gradient = (0..documents).map(column).collect();
        let got = Outcome { rows, mean: numbers(mean)[0], gradient };
        let want = turned.run(&objective, &device, dtype);
        assert_same(&turned, &objective, dtype, &got, &want);
    }
}
