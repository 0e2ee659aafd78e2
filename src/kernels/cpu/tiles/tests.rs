use super::*;
use crate::{
    kernels::cpu::Relevance,
    kernels::reference::{Case, TEMPERATURE, has_time_for, weights},
    kernels::table::Statistic,
};

/// Embeddings and labels, and a gradient of the table.
struct Batch {
    counts: [usize; 2],
    dimensions: usize,
    embeddings: [Vec<f32>; 2],
    labels: [Vec<i64>; 2],
    upstream: Vec<f32>,
}

/// The table and the gradients of queries and documents.
type Outcome = [Vec<f32>; 3];

impl Batch {
    fn new(counts: [usize; 2], dimensions: usize) -> Self {
        // Odd steps through a short range: no two rows alike for long.
        let entries = |count: usize, step: usize| {
            (0..count * dimensions)
                .map(|i| (i * step % 1009) as f32 / 504.5 - 1.0)
                .collect()
        };
        let label = |i: usize| (i * 7 % 401) as i64;
        Self {
            counts,
            dimensions,
            embeddings: [entries(counts[0], 571), entries(counts[1], 263)],
            labels: counts.map(|count| (0..count).map(label).collect()),
            upstream: weights(counts[0], WIDTH)
                .into_iter()
                .map(|x| x as f32)
                .collect(),
        }
    }

    /// Documents as queries.
    fn transpose(&self) -> Self {
        let swap = |[a, b]: [Vec<f32>; 2]| [b, a];
        Self {
            counts: [self.counts[1], self.counts[0]],
            dimensions: self.dimensions,
            embeddings: swap(self.embeddings.clone()),
            labels: [self.labels[1].clone(), self.labels[0].clone()],
            upstream: weights(self.counts[1], WIDTH)
                .into_iter()
                .map(|x| x as f32)
                .collect(),
        }
    }

    fn judgements(&self) -> Judgements<'_, f32> {
        Judgements::of(Relevance::Labels {
            queries: &self.labels[0],
            documents: &self.labels[1],
        })
    }

    fn matrix(&self, side: usize) -> Matrix<'_, f32> {
        let shape = [self.counts[side], self.dimensions];
        Matrix::new(&self.embeddings[side], self.dimensions, shape)
    }

    fn request() -> Request {
        Request::new(TEMPERATURE, &Statistic::ALL)
    }

    fn embeddings(&self) -> Embeddings<'_, f32> {
        Embeddings {
            queries: self.matrix(0),
            documents: self.matrix(1),
        }
    }

    fn plan(&self, tile: [usize; 2]) -> Plan<'_, f32> {
        Plan::new(self.judgements(), Self::request(), tile, self.counts)
    }

    fn run(&self, tile: [usize; 2]) -> Outcome {
        let plan = self.plan(tile);
        let summaries = forward(self.embeddings(), plan);
        self.differentiate(plan, summaries, &self.upstream)
    }

    /// Of both directions: the tables are one behind the other.
    fn run_both(&self, tile: [usize; 2]) -> Outcome {
        let transposed = self.transpose();
        let plan = self.plan(tile).with_mirrored(transposed.judgements());
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let summaries = forward_both(self.embeddings(), plan, &mut scratch);
        let upstream = [self.upstream.clone(), transposed.upstream.clone()].concat();
        self.differentiate(plan, summaries, &upstream)
    }

    /// At two levels, normalized or not: tables and gradients.
    fn run_nested(&self, sizes: [usize; 2], normalize: bool, tile: [usize; 2]) -> Outcome {
        let embeddings = self.embeddings();
        let sides = [embeddings.queries, embeddings.documents];
        let of_sides = sides.map(|side| scales(side, &sizes));
        let level = |index: usize| Level {
            dimensions: [0, sizes[0]][index]..sizes[index],
            scales: normalize.then(|| of_sides.each_ref().map(|of| of[index].as_slice())),
            judgements: self.judgements(),
        };
        self.run_levels(&[level(0), level(1)], tile)
    }

    fn run_levels(&self, levels: &[Level<f32>], tile: [usize; 2]) -> Outcome {
        let plan = self.plan(tile);
        let nested = Nested {
            embeddings: self.embeddings(),
            plan,
            levels,
        };
        let summaries = nested.forward();
        let table = table(&summaries, plan.request);
        let known = Known {
            summaries: &summaries,
            table: &table,
            upstream: &vec![self.upstream.as_slice(); levels.len()].concat(),
        };
        let mut scratch = vec![f32::NAN; nested.scratch_len()];
        let mut out = self.nothing();
        let [of_queries, of_documents] = &mut out;
        nested.backward(known, &mut scratch, Some(of_queries), Some(of_documents));
        let [of_queries, of_documents] = out;
        [table, of_queries, of_documents]
    }

    /// The first dimensions alone, of length 1 if wanted.
    fn cut(&self, size: usize, normalize: bool) -> Self {
        let cut = |entries: &Vec<f32>| {
            let rows = entries.chunks_exact(self.dimensions);
            let row = |row: &[f32]| {
                let squares: f32 = row[..size].iter().map(|x| x * x).sum();
                let length = if normalize { squares.sqrt() } else { 1.0 };
                row[..size].iter().map(|x| x / length).collect::<Vec<_>>()
            };
            rows.flat_map(row).collect()
        };
        Self {
            counts: self.counts,
            dimensions: size,
            embeddings: self.embeddings.each_ref().map(cut),
            labels: self.labels.clone(),
            upstream: self.upstream.clone(),
        }
    }

    /// Outputs in which what is not written shows.
    fn nothing(&self) -> [Vec<f32>; 2] {
        self.embeddings
            .each_ref()
            .map(|entries| vec![f32::NAN; entries.len()])
    }

    fn differentiate(
        &self,
        plan: Plan<f32>,
        summaries: Vec<Summary<f32>>,
        upstream: &[f32],
    ) -> Outcome {
        let embeddings = self.embeddings();
        let table = table(&summaries, plan.request);
        let known = Known {
            summaries: &summaries,
            table: &table,
            upstream,
        };
        // What is not written shows.
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let mut out = self.nothing();
        let [of_queries, of_documents] = &mut out;
        backward(
            embeddings,
            plan,
            known,
            &mut scratch,
            Some(of_queries),
            Some(of_documents),
        );
        let [of_queries, of_documents] = out;
        [table, of_queries, of_documents]
    }

    /// The same by way of all scores, as it is defined.
    fn dense(&self) -> Outcome {
        let [queries, documents] = self.counts;
        let mut scores = Vec::with_capacity(queries * documents);
        let mut positives = Vec::with_capacity(queries * documents);
        for query in 0..queries {
            let entries = self.matrix(0).row(query);
            scores.extend((0..documents).map(|document| {
                let pairs = entries.iter().zip(self.matrix(1).row(document));
                pairs.map(|(x, y)| f64::from(x * y)).sum::<f64>()
            }));
            let label = self.labels[0][query];
            positives.extend(self.labels[1].iter().map(|&other| other == label));
        }
        let case = Case {
            shape: self.counts,
            scores,
            positives,
            candidates: None,
            weights: None,
            chosen: None,
            request: Self::request(),
        };
        let (table, slopes) = case.expected();
        let mut of = [0, 1].map(|side| vec![0.0f64; self.embeddings[side].len()]);
        for (index, slope) in slopes.into_iter().enumerate() {
            let at = [index / documents, index % documents];
            for side in [0, 1] {
                let other = self.matrix(1 - side).row(at[1 - side]);
                let out = &mut of[side][at[side] * self.dimensions..];
                for (out, x) in out.iter_mut().zip(other) {
                    *out += slope * f64::from(*x);
                }
            }
        }
        let narrow = |of: &[f64]| of.iter().map(|x| *x as f32).collect();
        [narrow(&table), narrow(&of[0]), narrow(&of[1])]
    }
}

fn assert_close(what: &str, got: &Outcome, want: &Outcome, tolerance: f32) {
    for (got, want) in got.iter().zip(want) {
        assert_eq!(got.len(), want.len());
        for (index, (got, want)) in got.iter().zip(want).enumerate() {
            assert!(
                (got - want).abs() <= tolerance * (1.0 + want.abs()),
                "{what}, entry {index}: {got}, expected {want}"
            );
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for (counts, tile) in [
        ([300, 1100], [300, 1100]),
        ([300, 1100], [70, 600]),
        ([5, 3001], [5, 3001]),
        ([700, 40], [512, 40]),
        ([11, 26], [8, 16]),
    ] {
        if !has_time_for(counts) {
            continue;
        }
        let mut batch = Batch::new(counts, 7);
        // Not finite, and no one's: its label is no query's.
        batch.embeddings[1][7..9].fill(f32::NAN);
        batch.labels[1][1] = -1;
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            let nested = || batch.run_nested([3, 7], true, tile);
            let outcomes = pool.install(|| [batch.run(tile), batch.run_both(tile), nested()]);
            let bits = |entries: Vec<f32>| entries.into_iter().map(f32::to_bits).collect();
            outcomes.map(|outcome| outcome.map(bits as fn(_) -> Vec<_>))
        };
        let one = run(1);
        for threads in [2, 5] {
            assert!(
                run(threads) == one,
                "{counts:?} {tile:?}, {threads} threads"
            );
        }
    }
}

/// Few queries: the documents are cut into parts, each a task, and merged.
#[test]
fn few_queries_with_many_documents_are_merged_from_parts() {
    let documents = if cfg!(miri) { 90 } else { 100_003 };
    let batch = Batch::new([3, documents], 2);
    let want = batch.dense();
    // The product of a single row with a matrix is summed up in sequence.
    for (tile, tolerance) in [
        ([3, documents], 1e-5),
        ([2, 40_000], 1e-5),
        ([1, 1000], 5e-4),
    ] {
        assert_close(&format!("{tile:?}"), &batch.run(tile), &want, tolerance);
    }
}

#[test]
fn every_tile_gives_what_all_scores_give() {
    for counts in [
        [1, 1],
        [1, 600],
        [600, 1],
        [257, 513],
        [600, 300],
        [3, 1300],
        [11, 26],
    ] {
        if !has_time_for(counts) {
            continue;
        }
        let batch = Batch::new(counts, 3);
        let want = batch.dense();
        for tile in [
            [1, 5],
            [100, 1],
            [64, 64],
            [256, 512],
            [300, 600],
            [1000, 1000],
        ] {
            if tile[0] * tile[1] < 64 && counts[0] * counts[1] > 1000 {
                continue; // slow
            }
            let what = format!("{counts:?} {tile:?}");
            assert_close(&what, &batch.run(tile), &want, 1e-4);
        }
    }
}

#[test]
fn both_directions_are_each_of_them() {
    for (counts, tile) in [
        ([1, 1], [1, 1]),
        ([3, 1300], [3, 1300]),
        ([257, 513], [100, 200]),
        ([600, 300], [600, 300]),
        ([300, 1100], [1000, 512]),
        ([1100, 70], [512, 512]),
        ([11, 26], [8, 16]),
    ] {
        if !has_time_for(counts) {
            continue;
        }
        let batch = Batch::new(counts, 3);
        let [table, of_queries, of_documents] = batch.dense();
        let [of_them, as_documents, as_queries] = batch.transpose().dense();
        let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + b).collect();
        let want = [
            [table, of_them].concat(),
            sum(&of_queries, &as_queries),
            sum(&of_documents, &as_documents),
        ];
        let what = format!("{counts:?} {tile:?}");
        assert_close(&what, &batch.run_both(tile), &want, 1e-4);
    }
}

/// The gradient of what is cut and normalized, as that of the whole.
fn through_cut(
    batch: &Batch,
    size: usize,
    normalize: bool,
    side: usize,
    of_cut: &[f32],
) -> Vec<f32> {
    let rows = batch.embeddings[side].chunks_exact(batch.dimensions);
    let rows = rows.zip(of_cut.chunks_exact(size));
    let row = |(row, of_cut): (&[f32], &[f32])| {
        let row = &row[..size];
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let (length, pull) = match normalize {
            true => (dot(row, row).sqrt(), dot(row, of_cut) / dot(row, row)),
            false => (1.0, 0.0),
        };
        let pairs = row.iter().zip(of_cut);
        let mut of_row: Vec<f32> = pairs.map(|(x, of)| (of - pull * x) / length).collect();
        of_row.resize(batch.dimensions, 0.0);
        of_row
    };
    rows.flat_map(row).collect()
}

#[test]
fn nested_dimensions_are_each_size_alone() {
    for (counts, tile) in [
        ([1, 1], [1, 1]),
        ([3, 1300], [3, 600]),
        ([257, 513], [100, 200]),
        ([600, 300], [600, 300]),
        ([300, 1100], [1000, 512]),
        ([11, 26], [8, 16]),
    ] {
        if !has_time_for(counts) {
            continue;
        }
        for normalize in [false, true] {
            let mut batch = Batch::new(counts, 11);
            // Multiples of one number tie, and rounding would pick one of the largest.
            for (i, x) in batch.embeddings.iter_mut().flatten().enumerate() {
                *x += (i as f32 * 0.37).sin() * 0.1;
            }
            let sizes = [3, 8];
            let each = sizes.map(|size| (size, batch.cut(size, normalize).dense()));
            let sum = |side: usize| {
                let of = each.each_ref().map(|(size, outcome)| {
                    through_cut(&batch, *size, normalize, side, &outcome[1 + side])
                });
                let [a, b] = of;
                a.iter().zip(&b).map(|(a, b)| a + b).collect::<Vec<_>>()
            };
            let tables = each.each_ref().map(|(_, outcome)| outcome[0].clone());
            let want = [tables.concat(), sum(0), sum(1)];
            let what = format!("{counts:?} {tile:?} {normalize}");
            let got = batch.run_nested(sizes, normalize, tile);
            // Every document pulls at every query: their sums are far larger than what is left.
            assert_close(&what, &got, &want, 1e-3);
        }
    }
}

#[test]
fn a_row_without_a_length_is_read_by_nobody_who_ignores_it() {
    let mut batch = Batch::new([40, 90], 4);
    // No one's, for its label is no query's: NaN, infinite, and zeros.
    batch.embeddings[1][4] = f32::NAN;
    batch.embeddings[1][9] = f32::INFINITY;
    batch.embeddings[1][12..16].fill(0.0);
    let scales = scales(batch.matrix(1), &[1, 4]);
    assert!(scales[0][1].is_nan() && scales[1][1].is_nan() && scales[1][2].is_nan());
    assert_eq!([scales[0][3], scales[1][3]], [0.0, 0.0]);
    let positives: Vec<Vec<usize>> = (0..40).map(|query| vec![query + 4]).collect();
    let ignored: Vec<Vec<usize>> = vec![vec![1, 2]; 40];
    let relevance = Relevance::Columns {
        positives: &positives,
        weights: None,
        ignored: Some(&ignored),
    };
    let of_queries = super::scales(batch.matrix(0), &[1, 4]);
    let levels = [0, 1].map(|index| Level {
        dimensions: [0, 1][index]..[1, 4][index],
        scales: Some([of_queries[index].as_slice(), &scales[index]]),
        judgements: Judgements::of(relevance),
    });
    let outcome = batch.run_levels(&levels, [40, 90]);
    assert!(outcome.iter().flatten().all(|x| x.is_finite()));
    assert_eq!(outcome[2][4..16], [0.0; 12]);
}

#[test]
fn queries_over_themselves_are_what_any_queries_and_documents_are() {
    for (count, tile) in [
        (1, [1, 1]),
        (7, [2, 3]),
        (700, [700, 700]),
        (1300, [512, 600]),
        (600, [100, 50]),
        (17, [8, 16]),
    ] {
        if !has_time_for([count, count]) {
            continue;
        }
        let mut batch = Batch::new([count, count], 5);
        for (i, x) in batch.embeddings[0].iter_mut().enumerate() {
            *x += (i as f32 * 0.37).sin() * 0.1;
        }
        batch.embeddings[1] = batch.embeddings[0].clone();
        let [table, of_queries, of_documents] = batch.dense();
        let sum = of_queries.iter().zip(&of_documents).map(|(a, b)| a + b);
        let want = [table, sum.collect(), Vec::new()];

        let plan = Plan::symmetric(batch.judgements(), Batch::request(), tile, count);
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let summaries = forward_symmetric(batch.matrix(0), plan, &mut scratch);
        let table = super::table(&summaries, plan.request);
        let known = Known {
            summaries: &summaries,
            table: &table,
            upstream: &batch.upstream,
        };
        let mut out = vec![f32::NAN; batch.embeddings[0].len()];
        backward_symmetric(batch.matrix(0), plan, known, &mut scratch, &mut out);
        assert_close(
            &format!("{count} {tile:?}"),
            &[table, out, Vec::new()],
            &want,
            2e-4,
        );
    }
}
