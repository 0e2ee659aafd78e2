//! All queries of a batch, spread over the threads.

use rayon::prelude::*;

use super::{
    element::Element, isa::Isa, judgements::Judgements, matrix::Matrix, row::Scratch,
    slope::Backward, summary::Forward,
};
use crate::kernels::table::{Request, WIDTH};

/// Scores per task below which a thread costs more than it brings.
const SCORES_PER_TASK: usize = 1 << 14;

/// The table of statistics, a row of [`WIDTH`] for each query.
pub fn forward<E: Element>(
    scores: Matrix<E>,
    judgements: Judgements,
    request: Request,
) -> Vec<E::Real> {
    forward_on(Isa::best(), scores, judgements, request)
}

fn forward_on<E: Element>(
    isa: Isa,
    scores: Matrix<E>,
    judgements: Judgements,
    request: Request,
) -> Vec<E::Real> {
    let [queries, documents] = scores.shape();
    let mut table = vec![E::Real::default(); queries * WIDTH];
    for_rows(&mut table, WIDTH, documents, |scratch, query, table| {
        isa.run(Forward {
            scores: scores.row(query),
            row: judgements.row(query),
            request,
            table,
            scratch,
        });
    });
    table
}

/// Writes the gradient of the scores, given the table and its gradient, to `out`; the scores stand
/// there if they are `None`.
pub fn backward<E: Element>(
    scores: Option<Matrix<E>>,
    judgements: Judgements,
    request: Request,
    table: &[E::Real],
    upstream: &[E::Real],
    out: &mut [E],
) {
    backward_on(
        Isa::best(),
        scores,
        judgements,
        request,
        table,
        upstream,
        out,
    );
}

fn backward_on<E: Element>(
    isa: Isa,
    scores: Option<Matrix<E>>,
    judgements: Judgements,
    request: Request,
    table: &[E::Real],
    upstream: &[E::Real],
    out: &mut [E],
) {
    let documents = out.len() / (table.len() / WIDTH).max(1);
    for_rows(out, documents, documents, |scratch, query, out| {
        isa.run(Backward {
            scores: scores.map(|scores| scores.row(query)),
            row: judgements.row(query),
            request,
            table: &table[query * WIDTH..][..WIDTH],
            upstream: &upstream[query * WIDTH..][..WIDTH],
            out,
            scratch,
        });
    });
}

/// The columns of the drawn positives, given a [draw](crate::kernels::draw) for each query; -1 where there
/// is nothing to draw from.
pub fn drawn_columns(judgements: Judgements, documents: usize, draws: &[f32]) -> Vec<i64> {
    let drawn = |query: usize| judgements.row(query).drawn(documents, draws[query]);
    (0..draws.len())
        .into_par_iter()
        .map(|query| drawn(query).map_or(-1, |column| column as i64))
        .collect()
}

/// Calls `each` with buffers, the query, and its `width` entries of `out`.
fn for_rows<T: Send, E: Element>(
    out: &mut [T],
    width: usize,
    documents: usize,
    each: impl Fn(&mut Scratch<E>, usize, &mut [T]) + Sync,
) {
    if width == 0 {
        return;
    }
    let queries = out.len() / width;
    if queries * documents < 2 * SCORES_PER_TASK {
        let mut scratch = Scratch::default();
        for (query, out) in out.chunks_mut(width).enumerate() {
            each(&mut scratch, query, out);
        }
    } else {
        out.par_chunks_mut(width)
            .enumerate()
            .with_min_len(SCORES_PER_TASK.div_ceil(documents.max(1)))
            .for_each_init(Scratch::default, |scratch, (query, out)| {
                each(scratch, query, out)
            });
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use half::{bf16, f16};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        kernels::cpu::{judgements::Relevance, real::Real},
        kernels::table::{NEGATIVE_COUNT, POSITIVE_COUNT, REFERENCE, Statistic},
    };

    const TEMPERATURE: f64 = 0.25;
    const SHAPES: [[usize; 2]; 7] = [
        [1, 1],
        [2, 31],
        [3, 64],
        [5, 1024],
        [41, 1271],
        [3, 100_003],
        [64, 1025],
    ];

    struct Batch<E> {
        shape: [usize; 2],
        scores: Vec<E>,
        positives: Vec<u8>,
        candidates: Vec<u8>,
    }

    impl<E: Element> Batch<E> {
        fn new(shape: [usize; 2], spread: f64) -> Self {
            let mut random = StdRng::seed_from_u64(shape[1] as u64);
            let size = shape[0] * shape[1];
            let score = |random: &mut StdRng| {
                E::from_real(E::Real::from_f64(random.random_range(-spread..spread)))
            };
            Self {
                shape,
                scores: (0..size).map(|_| score(&mut random)).collect(),
                positives: (0..size)
                    .map(|_| u8::from(random.random_bool(0.1)))
                    .collect(),
                candidates: (0..size)
                    .map(|_| u8::from(random.random_bool(0.9)))
                    .collect(),
            }
        }

        fn judgements(&self) -> Judgements<'_> {
            let stride = self.shape[1];
            Judgements {
                relevance: Relevance::Mask(Matrix::new(&self.positives, stride, self.shape)),
                candidates: Some(Matrix::new(&self.candidates, stride, self.shape)),
                chosen: None,
            }
        }

        /// The scores of one query that pass the filter, relative to the reference.
        fn x(&self, query: usize, reference: f64, positive: bool) -> Vec<(usize, f64)> {
            let columns = query * self.shape[1]..(query + 1) * self.shape[1];
            columns
                .filter(|&i| self.candidates[i] != 0 && (self.positives[i] != 0) == positive)
                .map(|i| {
                    (
                        i,
                        (self.scores[i].widen().to_f64() - reference) / TEMPERATURE,
                    )
                })
                .collect()
        }
    }

    /// Statistics and gradients as they are defined, in f64, one after the other.
    fn check<E: Element>(isa: Isa, batch: &Batch<E>, tolerance: f64, narrowing: f64) {
        let request = Request::new(TEMPERATURE, &Statistic::ALL);
        let matrix = Matrix::new(&batch.scores, batch.shape[1], batch.shape);
        let table = forward_on(isa, matrix, batch.judgements(), request);
        // A weight for each statistic, and none that is zero.
        let upstream: Vec<E::Real> = (0..table.len())
            .map(|i| E::Real::from_f64(0.3 + (i % 7) as f64))
            .collect();
        let mut gradient = vec![E::from_real(E::Real::default()); batch.scores.len()];
        let (judgements, out) = (batch.judgements(), &mut gradient);
        backward_on(
            isa,
            Some(matrix),
            judgements,
            request,
            &table,
            &upstream,
            out,
        );
        let mut in_place = batch.scores.clone();
        let out = &mut in_place;
        backward_on(isa, None, judgements, request, &table, &upstream, out);

        for query in 0..batch.shape[0] {
            let row = &table[query * WIDTH..][..WIDTH];
            let got = |column: usize| row[column].to_f64();
            let weight = |s: Statistic| upstream[query * WIDTH + s as usize].to_f64();
            let positives = batch.x(query, got(REFERENCE), true);
            let negatives = match positives.is_empty() {
                true => Vec::new(),
                false => batch.x(query, got(REFERENCE), false),
            };
            assert_eq!(got(POSITIVE_COUNT), positives.len() as f64);
            assert_eq!(got(NEGATIVE_COUNT), negatives.len() as f64);

            let mut expected = vec![0.0; batch.shape[1]];
            let mut add =
                |i: usize, value: f64| expected[i % batch.shape[1]] += value / TEMPERATURE;
            let lse = |x: &[(usize, f64)], sign: f64| {
                let sum: f64 = x.iter().map(|(_, x)| (sign * x).exp()).sum();
                if x.is_empty() { 0.0 } else { sum.ln() }
            };
            let close = |statistic: Statistic, exact: f64| {
                let got = got(statistic as usize);
                assert_relative_eq!(got, exact, epsilon = tolerance, max_relative = tolerance);
            };
            let (n, p, w) = (
                lse(&negatives, 1.0),
                lse(&positives, 1.0),
                lse(&positives, -1.0),
            );
            close(Statistic::Negatives, n);
            close(Statistic::Positives, p);
            close(Statistic::WeakPositives, w);
            close(
                Statistic::PositiveExcess,
                positives.iter().map(|(_, x)| p - x).sum(),
            );
            for (i, x) in &negatives {
                add(*i, weight(Statistic::Negatives) * (x - n).exp());
            }
            for (i, x) in &positives {
                let excess = positives.len() as f64 * (x - p).exp() - 1.0;
                add(*i, weight(Statistic::Positives) * (x - p).exp());
                add(*i, -weight(Statistic::WeakPositives) * (-x - w).exp());
                add(*i, weight(Statistic::PositiveExcess) * excess);
            }
            for (statistic, set, sign) in [
                (Statistic::WeakestPositive, &positives, -1.0),
                (Statistic::StrongestPositive, &positives, 1.0),
                (Statistic::HardestNegative, &negatives, 1.0),
            ] {
                let better =
                    |a: &(usize, f64), b: &(usize, f64)| (sign * a.1).total_cmp(&(sign * b.1));
                // `max_by` keeps the last of equals, so it looks from the end.
                match set.iter().copied().rev().max_by(better) {
                    Some((i, x)) => {
                        close(statistic, x);
                        add(i, weight(statistic));
                    }
                    None => close(statistic, 0.0),
                }
            }
            for (document, expected) in expected.iter().enumerate() {
                let i = query * batch.shape[1] + document;
                for got in [gradient[i], in_place[i]] {
                    assert_relative_eq!(
                        got.widen().to_f64(),
                        *expected,
                        epsilon = 40.0 * tolerance + 1e-7 * narrowing,
                        max_relative = 8.0 * tolerance + narrowing
                    );
                }
            }
        }
    }

    fn on_every_instruction_set<E: Element>(tolerance: f64, narrowing: f64) {
        for isa in Isa::all() {
            for shape in SHAPES {
                check(isa, &Batch::<E>::new(shape, 3.0), tolerance, narrowing);
            }
        }
    }

    #[test]
    fn f32_is_right_on_every_instruction_set() {
        on_every_instruction_set::<f32>(1e-6, 0.0);
    }

    #[test]
    fn f64_is_right_on_every_instruction_set() {
        on_every_instruction_set::<f64>(1e-13, 0.0);
    }

    #[test]
    fn f16_is_computed_in_f32_on_every_instruction_set() {
        on_every_instruction_set::<f16>(1e-6, 1e-3);
    }

    #[test]
    fn bf16_is_computed_in_f32_on_every_instruction_set() {
        on_every_instruction_set::<bf16>(1e-6, 8e-3);
    }

    #[test]
    fn sums_over_a_hundred_thousand_documents_lose_nothing() {
        // All alike: log-sum-exp is the logarithm of their number.
        let shape = [1, 100_003];
        let mut positives = vec![0; shape[1]];
        positives[7] = 1;
        let scores = vec![0.1f32; shape[1]];
        let judgements = Judgements {
            relevance: Relevance::Mask(Matrix::new(&positives, shape[1], shape)),
            candidates: None,
            chosen: None,
        };
        let request = Request::new(0.05, &[Statistic::Negatives]);
        for isa in Isa::all() {
            let table = forward_on(
                isa,
                Matrix::new(&scores, shape[1], shape),
                judgements,
                request,
            );
            let exact = 100_002f64.ln();
            let got = f64::from(table[Statistic::Negatives as usize]);
            assert_relative_eq!(got, exact, max_relative = 6e-8);
        }
    }

    #[test]
    fn rows_may_be_shared_and_have_gaps() {
        let scores: Vec<f32> = (0..12).map(|i| i as f32 / 10.0).collect();
        let positives = [0, 1, 0];
        let judgements = Judgements {
            relevance: Relevance::Mask(Matrix::new(&positives, 0, [2, 3])),
            candidates: None,
            chosen: None,
        };
        let request = Request::new(1.0, &Statistic::ALL);
        let gaps = forward(Matrix::new(&scores, 6, [2, 3]), judgements, request);
        let dense = [0.0f32, 0.1, 0.2, 0.6, 0.7, 0.8];
        let dense = forward(Matrix::new(&dense, 3, [2, 3]), judgements, request);
        assert_eq!(gaps, dense);
    }
}
