//! The behaviour contract for embeddings: what is ignored, infinite, tied, huge, of half
//! precision, or not there at all.

use super::{Case, Matrix, Run, Want, grid, is_due, tiles};
use crate::{
    batch::{Criterion, bool_matrix, matrix, numbers},
    device::{autodiff_devices, device, is_cpu, multiplies_nothing, supports},
    oracle::{
        DEFAULTS, Loss, Negatives, Objective,
        Positives::{self, Strongest, Weakest},
        Query, objectives,
    },
};
use burn::{
    nn::loss::Reduction,
    tensor::{Bool, DType, Tensor},
};
use burn_multi_positive::{Targets, Tile};
use rand::{Rng, SeedableRng, rngs::StdRng};

const SPECIAL: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// For batches that are no more than a block, and for larger ones.
const SMALL: [Option<Tile>; 3] = [
    None,
    Some(Tile {
        queries: 4,
        documents: 6,
    }),
    Some(Tile {
        queries: 1,
        documents: 1,
    }),
];
const LARGE: [Option<Tile>; 2] = [
    None,
    Some(Tile {
        queries: 4,
        documents: 500,
    }),
];

fn tiles_for(documents: usize) -> &'static [Option<Tile>] {
    match documents {
        0..100 => &SMALL,
        _ => &LARGE,
    }
}

/// Every objective on a device of either kind, with one of the tiles.
fn each_setting(
    tiles: &[Option<Tile>],
    mut check: impl FnMut(&Objective, &dyn Fn(&Case) -> Run, &str),
) {
    let devices = autodiff_devices();
    for (index, objective) in objectives().iter().enumerate() {
        for (turn, &tile) in tiles.iter().enumerate() {
            if !is_due(index + turn) {
                continue;
            }
            let device = &devices[(index + turn) % 2];
            let run = |case: &Case| case.tiled(objective, device, DType::F32, tile);
            check(objective, &run, &format!("{objective:?} {tile:?}"));
        }
    }
}

#[test]
fn a_document_that_all_ignore_is_absent_whatever_its_embedding() {
    for (shape, ignored) in [([9, 20, 3], [0, 7]), ([9, 600, 2], [530, 599])] {
        let mut case = Case::random(shape, 50);
        for query in &mut case.batch.0 {
            ignored.iter().for_each(|&d| query.candidates[d] = false);
        }
        each_setting(tiles_for(shape[1]), |objective, run, what| {
            let mut case = case.drawn(objective);
            let want = case.want(objective, DType::F32);
            for special in SPECIAL {
                case.documents[ignored[0]].fill(special);
                case.documents[ignored[1]][1] = special;
                want.assert(format!("{what} with {special}"), &run(&case));
            }
        });
    }
}

#[test]
fn an_inactive_query_is_absent_whatever_its_embedding() {
    // the fourth query has no positive, the sixth no candidate
    for shape in [[9, 20, 3], [9, 600, 2]] {
        let case = Case::random(shape, 51);
        each_setting(tiles_for(shape[1]), |objective, run, what| {
            let mut case = case.drawn(objective);
            let want = case.want(objective, DType::F32);
            for special in SPECIAL {
                case.queries[3].fill(special);
                case.queries[5][0] = special;
                want.assert(format!("{what} with {special}"), &run(&case));
            }
        });
    }
}

/// What `query` takes part in may be anything; the rest is as wanted.
#[track_caller]
fn assert_others(what: &str, case: &Case, query: usize, run: &Run, want: &Want) {
    let mut others = want.clone();
    let anything = (0.0, f64::INFINITY);
    let mut number = run.rows.clone();
    number[query] = 0.0;
    others.rows[query] = (0.0, 0.0);
    let mut gradients = run.gradients.clone();
    let mut forget = |side: usize, row: usize| {
        others.gradients[side][row].fill(anything);
        gradients[side][row].fill(0.0);
    };
    forget(0, query);
    (0..case.documents.len())
        .filter(|&d| case.batch.0[query].candidates[d])
        .for_each(|d| forget(1, d));
    let run = Run {
        rows: number,
        gradients,
    };
    others.assert(what, &run);
}

#[test]
fn nan_in_a_candidate_of_one_query_is_nan_in_that_query_only() {
    for (shape, documents) in [([9, 24, 3], [0, 11]), ([9, 1200, 2], [3, 1100])] {
        let mut case = Case::random(shape, 52);
        let one = 2;
        for (q, query) in case.batch.0.iter_mut().enumerate() {
            for d in documents {
                // an inactive query does not look
                query.candidates[d] = q == one || q == 3;
                query.positives[d] = q == one && d == documents[0];
            }
        }
        each_setting(tiles_for(shape[1]), |objective, run, what| {
            let case = case.drawn(objective);
            let want = case.want(objective, DType::F32);
            for document in documents {
                if !case.batch.0[one].candidates[document] {
                    continue; // Rand1LH has drawn another positive
                }
                let mut dirty = case.clone();
                dirty.documents[document][1] = f64::NAN;
                let got = run(&dirty);
                let what = format!("{what}, document {document}");
                assert!(got.rows[one].is_nan(), "{what}: {:?}", got.rows);
                assert_others(&what, &case, one, &got, &want);
            }
        });
    }
}

#[test]
fn nan_in_a_query_is_nan_in_that_query_only() {
    let mut case = Case::random([9, 24, 3], 53);
    for d in 0..24 {
        case.batch.0[1].candidates[d] &= d % 2 == 0 || case.batch.0[1].positives[d];
    }
    each_setting(&SMALL, |objective, run, what| {
        let case = case.drawn(objective);
        let want = case.want(objective, DType::F32);
        let mut dirty = case.clone();
        dirty.queries[1][0] = f64::NAN;
        let got = run(&dirty);
        assert!(got.rows[1].is_nan(), "{what}: {:?}", got.rows);
        assert_others(what, &case, 1, &got, &want);
    });
}

#[test]
fn a_negative_of_minus_infinity_is_as_good_as_ignored() {
    for (shape, document) in [([9, 24, 2], 5), ([9, 1200, 2], 700)] {
        let mut case = Case::random(shape, 54);
        case.queries.iter_mut().for_each(|query| query[0] = 0.5);
        let queries = case.queries.clone();
        let batch = case.batch.clone();
        let case = Case::new(queries, case.documents, |q, query| {
            let mut query = Query {
                scores: query.scores,
                ..batch.0[q].clone()
            };
            query.candidates[document] = false;
            query
        });
        each_setting(tiles_for(shape[1]), |objective, run, what| {
            let mut case = case.drawn(objective);
            let want = case.want(objective, DType::F32);
            case.documents[document][0] = f64::NEG_INFINITY;
            for query in &mut case.batch.0 {
                query.candidates[document] = true;
                query.positives[document] = false;
            }
            want.assert(what, &run(&case));
        });
    }
}

/// Where scores and embeddings both give a number, it is the same.
#[test]
fn infinities_give_what_their_scores_give_or_nan() {
    let case = Case::random([8, 30, 2], 55);
    for special in [f64::INFINITY, f64::NEG_INFINITY] {
        for side in [0, 1] {
            each_setting(&SMALL, |objective, run, what| {
                let mut case = case.drawn(objective);
                match side {
                    0 => case.queries[1][0] = special,
                    _ => case.documents[11][0] = special,
                }
                let tiled = run(&case).rows;
                let dense = case.dense(objective, &device().autodiff(), DType::F32);
                for (q, (got, want)) in tiled.iter().zip(&dense.rows).enumerate() {
                    let same = got == want || (got - want).abs() <= 1e-4 * (1.0 + want.abs());
                    assert!(
                        same || got.is_nan() || want.is_nan(),
                        "{what}, row {q}: {got}, scores {want}"
                    );
                    if side == 0 && q != 1 {
                        assert!(got.is_finite(), "{what}, row {q}: {got}");
                    }
                }
            });
        }
    }
}

#[test]
fn without_an_active_query_everything_is_zero() {
    for garbage in [false, true] {
        let mut case = Case::random([5, 11, 2], 56);
        for (q, query) in case.batch.0.iter_mut().enumerate() {
            match q % 2 {
                0 => query.positives.fill(false),
                _ => query.candidates.fill(false),
            }
        }
        if garbage {
            case.queries[2].fill(f64::NAN);
            case.documents[4].fill(f64::INFINITY);
        }
        each_setting(&SMALL, |_, run, what| {
            let got = run(&case);
            assert_eq!(got.rows, [0.0; 5], "{what}");
            assert_eq!(got.gradients[0], [[0.0; 2]; 5], "{what}");
            assert_eq!(got.gradients[1], [[0.0; 2]; 11], "{what}");
        });
        for objective in DEFAULTS {
            for reduction in [Reduction::Mean, Reduction::Sum, Reduction::BatchMean] {
                let device = device().autodiff();
                let leaves = case.embeddings(&device, DType::F32);
                let leaves = leaves.map(Tensor::require_grad);
                let [queries, documents] = leaves.clone();
                let targets = case.batch.targets(&device);
                let criterion = Criterion::from(&objective);
                let loss = criterion.reduced_embeddings(queries, documents, targets, reduction);
                assert_eq!(numbers(loss.clone()), [0.0]);
                let gradients = loss.backward();
                for leaf in leaves {
                    let gradient = matrix(leaf.grad(&gradients).expect("a gradient"));
                    assert!(gradient.concat().iter().all(|x| *x == 0.0), "{gradient:?}");
                }
            }
        }
    }
}

#[test]
fn positives_without_negatives_cost_nothing_but_in_joint_lh() {
    let mut case = Case::random([5, 11, 2], 57).ignoring_nothing();
    for query in &mut case.batch.0 {
        query.positives.fill(true);
    }
    each_setting(&SMALL, |objective, run, what| {
        let case = case.drawn(objective);
        let got = run(&case);
        case.want(objective, DType::F32).assert(what, &got);
        if objective.loss != Loss::JointLh {
            assert_eq!(got.rows, [0.0; 5], "{what}");
            assert_eq!(got.gradients[1], [[0.0; 2]; 11], "{what}");
        }
    });
}

#[test]
fn no_documents_no_queries_no_dimensions() {
    if !multiplies_nothing() {
        return;
    }
    for objective in DEFAULTS {
        for [queries, documents, dimensions] in [[3, 0, 2], [0, 4, 2], [0, 0, 2], [2, 3, 0]] {
            for device in autodiff_devices() {
                let leaf = |rows: usize| Tensor::<2>::zeros([rows, dimensions], &device);
                let leaves = [leaf(queries), leaf(documents)].map(Tensor::require_grad);
                let mask = Tensor::<2, Bool>::full([queries, documents], true, &device);
                let [q, d] = leaves.clone();
                let rows = Criterion::from(&objective).embeddings_rows(q, d, mask, None);
                let what = format!("{objective:?} {queries} x {documents} x {dimensions}");
                assert_eq!(rows.dims(), [queries], "{what}");
                let gradients = rows.sum().backward();
                for leaf in leaves {
                    let gradient = leaf.grad(&gradients).expect("a gradient");
                    assert_eq!(gradient.dims(), leaf.dims(), "{what}");
                }
            }
        }
    }
}

#[test]
fn huge_scores_have_finite_losses_and_gradients() {
    let scale = 2f64.powi(50);
    for shape in [[9, 30, 3], [3, 1100, 2]] {
        let mut case = Case::random(shape, 58);
        for embedding in case.queries.iter_mut().chain(&mut case.documents) {
            embedding.iter_mut().for_each(|x| *x *= scale);
        }
        for query in &mut case.batch.0 {
            query.scores.iter_mut().for_each(|s| *s *= scale * scale);
        }
        for (index, objective) in objectives().iter().enumerate() {
            let tile = tiles_for(shape[1])[index % 2];
            case.check(objective, &autodiff_devices()[index % 2], DType::F32, tile);
        }
    }
}

/// Two queries over documents of which the best and the worst stand in several blocks and
/// tiles.
fn ties() -> (Case, [usize; 3]) {
    let high = [3, 500, 511, 512, 900, 1023];
    let low = [5, 513, 901];
    let mut documents: Matrix = grid(1100, 2, 59)
        .into_iter()
        .map(|row| vec![0.5 * row[0], row[1]])
        .collect();
    // by their first entry alone; the lowest of the positives, the highest of the
    // positives and of the negatives
    for (d, value) in high
        .map(|d| (d, 1.0))
        .into_iter()
        .chain(low.map(|d| (d, -1.0)))
    {
        documents[d] = vec![value, 0.25];
    }
    for d in [40, 600, 1090] {
        documents[d] = vec![0.75, 0.25];
    }
    let case = Case::new(vec![vec![1.0, 0.0]; 2], documents, |_, mut query| {
        for d in low.into_iter().chain([7, 40, 600, 1090]) {
            query.positives[d] = true;
        }
        query
    });
    (case, [high[0], low[0], 40])
}

#[test]
fn selectors_break_ties_by_the_first_column_of_all_tiles() {
    let (case, [hardest, weakest, strongest]) = ties();
    let objective = |positives| Objective::selecting(positives, Negatives::Hardest);
    let pair = |queries: usize, documents: usize| Some(Tile::from([queries, documents]));
    for (objective, positive) in [
        (objective(Weakest), weakest),
        (objective(Strongest), strongest),
    ] {
        for tile in [
            None,
            pair(1, 13),
            pair(2, 512),
            pair(1, 600),
            Some(2000.into()),
        ] {
            for device in autodiff_devices() {
                let run = case.tiled(&objective, &device, DType::F32, tile);
                let moved = |gradient: &Vec<f64>| gradient.iter().any(|x| *x != 0.0);
                let at: Vec<usize> = (0..1100).filter(|&d| moved(&run.gradients[1][d])).collect();
                let mut want = vec![hardest, positive];
                want.sort();
                assert_eq!(at, want, "{objective:?} {tile:?}");
            }
            let device = &autodiff_devices()[0];
            case.check(&objective, device, DType::F32, tile);
        }
    }
}

/// Real numbers below 1, as f32 has them.
fn reals(rows: usize, dimensions: usize, seed: u64) -> Matrix {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut row = || -> Vec<f64> {
        let entries = (0..dimensions).map(|_| f64::from(rng.random_range(-1.0..1.0f32)));
        entries.collect()
    };
    (0..rows).map(|_| row()).collect()
}

/// Products of equal embeddings do not differ by the place of a document in its block.
#[test]
fn copies_of_a_document_are_ties_whatever_the_tile() {
    let objective = Objective::selecting(Positives::All, Negatives::Hardest);
    let device = &autodiff_devices()[0];
    for (count, seed) in [24, 513, 530]
        .into_iter()
        .flat_map(|n| (0..8).map(move |s| (n, s)))
    {
        let queries = reals(5, 67, 60 + seed);
        let mut documents = reals(count, 67, 160 + seed);
        for copy in [1, count - 1] {
            documents[copy] = queries[0].iter().map(|x| 1.7 * x).collect();
        }
        let case = Case::new(queries, documents, |_, mut query| {
            query.positives[0] = true;
            query
        });
        for tile in [None, Some([5, 23].into()), Some([4, count - 1].into())] {
            let run = case.run(device, DType::F32, |queries, documents, targets| {
                let criterion = Criterion::from(&objective);
                let rows = criterion.embeddings_rows(queries, documents, targets, tile);
                rows.narrow(0, 0, 1)
            });
            let what = format!("{count} documents, seed {seed}, {tile:?}");
            let last = &run.gradients[1][count - 1];
            assert!(last.iter().all(|x| *x == 0.0), "{what}: {last:?}");
            assert!(run.gradients[1][1].iter().any(|x| *x != 0.0), "{what}");
        }
    }
}

/// A query that is sure of its one positive has a tiny gradient, in its first digits
/// right: scores that are computed again must be those of the statistics to the last bit.
#[test]
fn a_sure_query_stays_sure_whatever_the_tile() {
    for (queries, documents) in [(9, 24), (9, 601), (257, 41)] {
        let embeddings = reals(documents, 67, 62);
        let positive = |q: usize| documents - 1 - q % documents;
        let of_queries = (0..queries).map(|q| embeddings[positive(q)].clone());
        let case = Case::new(of_queries.collect(), embeddings, |q, mut query| {
            query.positives[positive(q)] = true;
            query.chosen = Some(positive(q));
            query
        });
        for objective in DEFAULTS.map(|objective| objective.temperature(0.7)) {
            let device = &autodiff_devices()[0];
            let dense = case.dense(&objective, device, DType::F32);
            let largest = |rows: &Matrix| rows.concat().iter().fold(0.0f64, |a, b| a.max(b.abs()));
            for tile in [
                None,
                Some([8, 23].into()),
                Some([256, 600].into()),
                Some(1.into()),
            ] {
                let tiled = case.tiled(&objective, device, DType::F32, tile);
                for side in [0, 1] {
                    let [got, want] = [&tiled, &dense].map(|run| &run.gradients[side]);
                    for (row, (got, want)) in got.iter().zip(want).enumerate() {
                        let bound = 1e-3 * largest(&vec![want.clone()]) + 1e-30;
                        for (got, want) in got.iter().zip(want) {
                            assert!(
                                (got - want).abs() <= bound,
                                "{queries} x {documents}, {objective:?} {tile:?}: side {side}, \
                                 row {row}: {got:e}, dense {want:e}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn half_precision_gives_f32_losses_and_gradients_of_its_own_dtype() {
    // entries and, in f16, scores are exact; in bf16 a device may round the scores
    for (dtype, unit) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        if !supports(dtype) {
            continue;
        }
        for shape in [[13, 29, 3], [9, 700, 2]] {
            let case = Case::random(shape, 63);
            for (index, objective) in objectives().iter().enumerate() {
                let case = case.drawn(objective);
                let device = &autodiff_devices()[index % 2];
                let tile = tiles_for(shape[1])[index % 2];
                let what = format!("{shape:?} {objective:?} {dtype:?} {tile:?}");
                let leaves = case.embeddings(device, dtype).map(Tensor::require_grad);
                let [queries, documents] = leaves.clone();
                let targets = case.batch.targets(device);
                let criterion = Criterion::from(objective);
                let rows = criterion.embeddings_rows(queries, documents, targets, tile);
                assert_eq!(rows.dtype(), DType::F32, "{what}");
                let gradients = super::weighted(rows.clone()).backward();
                let gradients = leaves.map(|leaf| {
                    let gradient = leaf.grad(&gradients).expect("a gradient");
                    assert_eq!(gradient.dtype(), dtype, "{what}");
                    matrix(gradient)
                });
                // exact scores, and the rounding of the weights and of the gradients
                let mut want = case.want(objective, DType::F32);
                let slack = match dtype {
                    DType::F16 => 4.0 * unit,
                    _ => 4.0 * unit * (1.0 + 4.0 / objective.temperature),
                };
                let scale = 5.0 / objective.temperature;
                for near in &mut want.rows {
                    near.1 += slack * (1.0 + near.0.abs());
                }
                for near in want.gradients.iter_mut().flatten().flatten() {
                    near.1 += slack * (near.0.abs() + scale);
                }
                let rows = numbers(rows);
                want.assert(what, &Run { rows, gradients });
            }
        }
    }
}

/// Half precision on a CPU is multiplied in f32: what is rounded is the gradient alone.
#[test]
fn half_precision_on_a_cpu_is_rounded_once() {
    if !is_cpu() {
        return;
    }
    for (dtype, unit) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        if !supports(dtype) {
            continue;
        }
        let case = Case::random([13, 29, 3], 64);
        for objective in objectives() {
            let case = case.drawn(&objective);
            let mut want = case.want(&objective, DType::F32);
            for near in want.gradients.iter_mut().flatten().flatten() {
                // the least f16 above 0 is 6e-8
                near.1 += unit * near.0.abs() + 1e-7;
            }
            for tile in tiles() {
                let run = case.tiled(&objective, &autodiff_devices()[0], dtype, tile);
                want.assert(format!("{objective:?} {dtype:?} {tile:?}"), &run);
            }
        }
    }
}

#[test]
fn targets_may_be_a_view() {
    let case = Case::random([9, 40, 2], 65);
    let device = &autodiff_devices()[0];
    let narrowed = |rows: Vec<Vec<bool>>| {
        let rows: Vec<Vec<bool>> = rows
            .into_iter()
            .map(|row| [&[true; 3][..], &row, &[false; 2]].concat())
            .collect();
        bool_matrix(&rows, device).narrow(1, 3, 40)
    };
    let masks = |part: fn(&Query) -> &Vec<bool>| case.batch.0.iter().map(part).cloned().collect();
    let targets = Targets::new(narrowed(masks(|query| &query.positives)))
        .with_candidates(narrowed(masks(|query| &query.candidates)));
    let objective = DEFAULTS[0];
    let want = case.want(&objective, DType::F32);
    for tile in SMALL {
        let run = case.run(device, DType::F32, |queries, documents, _| {
            let criterion = Criterion::from(&objective);
            criterion.embeddings_rows(queries, documents, targets.clone(), tile)
        });
        want.assert(format!("{tile:?}"), &run);
    }
}
