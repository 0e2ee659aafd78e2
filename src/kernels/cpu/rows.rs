//! All queries of a batch, spread over the threads.

use rayon::prelude::*;

use super::{
    element::Element, isa::Isa, judgements::Judgements, matrix::Matrix, real::Real, row::Scratch,
    share::share, slope::Backward, summary::Forward,
};
use crate::kernels::{
    ceiling::FalseNegatives,
    table::{Request, WIDTH},
};

/// Scores that a thread takes at a time: a few microseconds of work.
const SCORES_PER_PART: usize = 1 << 15;

/// Bytes of a gradient that is written past the caches: before somebody reads it, its
/// first part would have been pushed out of them.
const STREAMED: usize = 32 << 20;

/// The table of statistics, a row of [`WIDTH`] for each query.
pub fn forward<E: Element>(
    scores: Matrix<E>,
    judgements: Judgements<E::Real>,
    request: Request,
) -> Vec<E::Real> {
    forward_on(Isa::best(), scores, judgements, request)
}

fn forward_on<E: Element>(
    isa: Isa,
    scores: Matrix<E>,
    judgements: Judgements<E::Real>,
    request: Request,
) -> Vec<E::Real> {
    let [queries, documents] = scores.shape();
    let mut table = vec![E::Real::default(); queries * WIDTH];
    for_rows(
        || Scratch::on(isa),
        &mut table,
        WIDTH,
        documents,
        |scratch, query, table| {
            Forward {
                scores: scores.row(query),
                row: judgements.row(query),
                request,
                table,
                scratch,
            }
            .run();
        },
    );
    table
}

/// Writes the gradient of the scores, given the table and its gradient, to `out`; the
/// scores stand there if they are `None`.
pub fn backward<E: Element>(
    scores: Option<Matrix<E>>,
    judgements: Judgements<E::Real>,
    request: Request,
    table: &[E::Real],
    upstream: &[E::Real],
    out: &mut [E],
) {
    backward_on(
        Isa::best(),
        STREAMED,
        scores,
        judgements,
        request,
        table,
        upstream,
        out,
    );
}

#[allow(clippy::too_many_arguments)]
fn backward_on<E: Element>(
    isa: Isa,
    streamed: usize,
    scores: Option<Matrix<E>>,
    judgements: Judgements<E::Real>,
    request: Request,
    table: &[E::Real],
    upstream: &[E::Real],
    out: &mut [E],
) {
    let documents = out.len() / (table.len() / WIDTH).max(1);
    let stream = scores.is_some() && size_of_val(out) >= streamed;
    let scratch = || {
        let mut scratch = Scratch::on(isa);
        scratch.stream = stream;
        scratch
    };
    for_rows(scratch, out, documents, documents, |scratch, query, out| {
        Backward {
            scores: scores.map(|scores| scores.row(query)),
            row: judgements.row(query),
            request,
            table: &table[query * WIDTH..][..WIDTH],
            upstream: &upstream[query * WIDTH..][..WIDTH],
            out,
            scratch,
        }
        .run();
    });
}

/// The ceilings of the negatives of each query; any number where it has no positive.
pub fn ceilings<E: Element>(
    scores: Matrix<E>,
    judgements: Judgements<E::Real>,
    rule: FalseNegatives,
) -> Vec<E::Real> {
    let [queries, documents] = scores.shape();
    let mut ceilings = vec![E::Real::default(); queries];
    for_rows(
        Scratch::default,
        &mut ceilings,
        1,
        documents,
        |scratch, query, ceiling| {
            scratch.collect(judgements.row(query), 0, scores.row(query), None);
            let positives = scratch.positives.iter();
            let scores = positives.map(|positive| positive.score);
            ceiling[0] = E::Real::from_f64(rule.ceiling(scores));
        },
    );
    ceilings
}

/// The columns of the drawn positives, given a [draw](crate::kernels::draw) for each
/// query; -1 where there is nothing to draw from.
pub fn drawn_columns<R: Real>(
    judgements: Judgements<R>,
    documents: usize,
    draws: &[f32],
) -> Vec<i64> {
    let drawn = |query: usize| judgements.row(query).drawn(documents, draws[query]);
    (0..draws.len())
        .into_par_iter()
        .map(|query| drawn(query).map_or(-1, |column| column as i64))
        .collect()
}

/// Calls `each` with buffers, the query, and its `width` entries of `out`.
fn for_rows<T: Send, E: Element>(
    scratch: impl Fn() -> Scratch<E> + Sync,
    out: &mut [T],
    width: usize,
    documents: usize,
    each: impl Fn(&mut Scratch<E>, usize, &mut [T]) + Sync,
) {
    if width == 0 {
        return;
    }
    let rows = SCORES_PER_PART.div_ceil(documents.max(1));
    let scores = out.len() / width * documents;
    let parts = out.chunks_mut(rows * width).enumerate();
    share(scores, parts, scratch, |scratch, (part, out)| {
        for (row, out) in out.chunks_mut(width).enumerate() {
            each(scratch, part * rows + row, out);
        }
    });
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use half::{bf16, f16};
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::ops::Range;

    use super::*;
    use crate::{
        kernels::ceiling::PositiveThreshold,
        kernels::cpu::{chunk::CHUNK, judgements::Relevance, real::Real},
        kernels::curve::Curve,
        kernels::draw::DRAWS,
        kernels::reference::{Case, TEMPERATURE, Tolerance, has_time_for, weights},
        kernels::table::Statistic,
    };

    const SHAPES: [[usize; 2]; 10] = [
        [1, 1],
        [2, 31],
        [3, 64],
        [5, CHUNK / 2],
        [41, 1271],
        [3, 100_003],
        [64, 1025],
        [3, CHUNK - 1],
        [2, CHUNK + 1],
        [2, 2 * CHUNK],
    ];

    fn shapes() -> impl Iterator<Item = [usize; 2]> {
        // Rows are computed one by one.
        let has_time = |shape: &[usize; 2]| has_time_for(*shape) && (!cfg!(miri) || shape[0] < 3);
        SHAPES.into_iter().filter(has_time)
    }

    /// Scores of a type, and masks as bytes.
    struct Stored<E: Element> {
        case: Case,
        scores: Vec<E>,
        positives: Vec<u8>,
        candidates: Vec<u8>,
        weights: Option<Vec<E::Real>>,
        ceilings: Option<Vec<E::Real>>,
    }

    impl<E: Element> Stored<E> {
        fn new(shape: [usize; 2], spread: f64) -> Self {
            let mut random = StdRng::seed_from_u64(shape[1] as u64);
            let size = shape[0] * shape[1];
            let score = |random: &mut StdRng| {
                E::from_real(E::Real::from_f64(random.random_range(-spread..spread)))
            };
            let scores: Vec<E> = (0..size).map(|_| score(&mut random)).collect();
            let mut mask = |share: f64| -> Vec<bool> {
                (0..size).map(|_| random.random_bool(share)).collect()
            };
            let (positives, candidates) = (mask(0.1), mask(0.9));
            // Any byte but 0 is true.
            let bytes = |mask: &[bool]| {
                let bytes = mask.iter().zip([1, 2, 0x80, 0xff].into_iter().cycle());
                bytes
                    .map(|(&set, byte)| if set { byte } else { 0 })
                    .collect()
            };
            Self {
                positives: bytes(&positives),
                candidates: bytes(&candidates),
                case: Case {
                    shape,
                    scores: scores.iter().map(|score| score.widen().to_f64()).collect(),
                    positives,
                    candidates: Some(candidates),
                    weights: None,
                    chosen: None,
                    request: Request::new(TEMPERATURE, &Statistic::ALL),
                },
                weights: None,
                ceilings: None,
                scores,
            }
        }

        /// With weights, some of them 0, an exponent and a hardness.
        fn with_options(mut self, exponent: f64) -> Self {
            let mut random = StdRng::seed_from_u64(3);
            let mut weight = || match random.random_bool(0.2) {
                true => 0.0,
                false => f64::from(random.random_range(0.1f32..4.0)),
            };
            let weights: Vec<f64> = self.scores.iter().map(|_| weight()).collect();
            self.weights = Some(weights.iter().map(|&x| E::Real::from_f64(x)).collect());
            self.case.weights = Some(weights);
            let request = self.case.request.with_exponent(exponent);
            self.case.request = request.with_hardness(0.5);
            self
        }

        /// With a curve, and a bias.
        fn with_curve(mut self, curve: Curve) -> Self {
            self.case.request = self.case.request.with_curve(curve).with_bias(-1.5);
            self
        }

        /// With weights so many times as large.
        fn with_weights_times(mut self, factor: f64) -> Self {
            let larger = |weight: &f64| E::Real::from_f64(weight * factor);
            let weights = self.case.weights.as_ref().expect("weights");
            let weights: Vec<E::Real> = weights.iter().map(larger).collect();
            self.case.weights = Some(weights.iter().map(|x| x.to_f64()).collect());
            self.weights = Some(weights);
            self
        }

        /// With another score of the negatives in some columns.
        fn with_scores(mut self, columns: Range<usize>, score: f64) -> Self {
            let documents = self.case.shape[1];
            for (index, of) in self.scores.iter_mut().enumerate() {
                if columns.contains(&(index % documents)) && !self.case.positives[index] {
                    *of = E::from_real(E::Real::from_f64(score));
                    self.case.scores[index] = score;
                }
            }
            self
        }

        /// With the false negatives of a rule.
        fn with_ceilings(mut self, rule: FalseNegatives) -> Self {
            self.case.request = self.case.request.with_false_negatives(Some(rule));
            let shape = self.case.shape;
            let scores = Matrix::new(&self.scores, shape[1], shape);
            self.ceilings = Some(ceilings(scores, self.judgements(), rule));
            self
        }

        fn judgements(&self) -> Judgements<'_, E::Real> {
            let matrix = |mask| Matrix::new(mask, self.case.shape[1], self.case.shape);
            Judgements {
                relevance: Relevance::Mask(matrix(&self.positives)),
                candidates: Some(matrix(&self.candidates)),
                weights: self.weights.as_ref().map(|weights| {
                    Matrix::new(weights.as_slice(), self.case.shape[1], self.case.shape)
                }),
                ceilings: self.ceilings.as_deref(),
                chosen: None,
            }
        }
    }

    fn check<E: Element>(isa: Isa, stored: &Stored<E>, tolerance: f64, narrowing: f64) {
        let request = stored.case.request;
        let shape = stored.case.shape;
        let matrix = Matrix::new(&stored.scores, shape[1], shape);
        let table = forward_on(isa, matrix, stored.judgements(), request);
        let upstream: Vec<E::Real> = weights(shape[0], WIDTH)
            .into_iter()
            .map(E::Real::from_f64)
            .collect();
        let mut fresh = vec![E::from_real(E::Real::default()); stored.scores.len()];
        let mut streamed = fresh.clone();
        let mut in_place = stored.scores.clone();
        for (scores, at, out) in [
            (Some(matrix), usize::MAX, &mut fresh),
            (Some(matrix), 0, &mut streamed),
            (None, 0, &mut in_place),
        ] {
            let judgements = stored.judgements();
            backward_on(isa, at, scores, judgements, request, &table, &upstream, out);
        }
        let table: Vec<f64> = table.into_iter().map(|x| x.to_f64()).collect();
        let tolerances = [
            Tolerance::of(tolerance),
            Tolerance {
                absolute: 40.0 * tolerance + 1e-7 * narrowing,
                relative: 8.0 * tolerance + narrowing,
            },
        ];
        for gradient in [fresh, streamed, in_place] {
            let gradient: Vec<f64> = gradient.into_iter().map(|x| x.widen().to_f64()).collect();
            stored.case.assert(WIDTH, &table, &gradient, tolerances);
        }
    }

    fn on_every_instruction_set<E: Element>(tolerance: f64, narrowing: f64) {
        for isa in Isa::all() {
            for shape in shapes() {
                check(isa, &Stored::<E>::new(shape, 3.0), tolerance, narrowing);
                for exponent in [-1.0, 0.5, 3.0] {
                    let stored = Stored::<E>::new(shape, 3.0).with_options(exponent);
                    check(isa, &stored, tolerance, narrowing);
                    let rule = FalseNegatives::new(PositiveThreshold::Mean);
                    let rule = rule
                        .with_margin(exponent / 10.0)
                        .with_relative(exponent > 0.0);
                    check(isa, &stored.with_ceilings(rule), tolerance, narrowing);
                }
                for curve in [Curve::circle(0.25), Curve::focal(0.5)] {
                    // Their squares in units of the temperature are as far apart as the
                    // others.
                    let stored = Stored::<E>::new(shape, 1.5).with_curve(curve);
                    check(isa, &stored, tolerance, narrowing);
                    let stored = stored.with_options(-1.0);
                    check(isa, &stored, tolerance, narrowing);
                    let rule = FalseNegatives::new(PositiveThreshold::Mean);
                    check(isa, &stored.with_ceilings(rule), tolerance, narrowing);
                }
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
    fn weights_at_their_ends_are_right_on_every_instruction_set() {
        for isa in Isa::all() {
            for factor in [1e30, 1e-30] {
                for shape in shapes() {
                    let stored = Stored::<f32>::new(shape, 3.0).with_options(-1.0);
                    check(isa, &stored.with_weights_times(factor), 1e-6, 0.0);
                    let stored = Stored::<f64>::new(shape, 3.0).with_options(-1.0);
                    // Where positives pull against each other, digits are lost at any
                    // size.
                    check(isa, &stored.with_weights_times(factor), 1e-11, 0.0);
                }
            }
        }
    }

    #[test]
    fn chunks_of_infinities_and_ties_are_right_on_every_instruction_set() {
        for isa in Isa::all() {
            for shape in [[3, 2 * CHUNK], [2, 3 * CHUNK + 5]] {
                let stored = || Stored::<f32>::new(shape, 3.0);
                let infinite = stored().with_scores(0..CHUNK, f64::NEG_INFINITY);
                check(isa, &infinite, 1e-6, 0.0);
                let last = shape[1] - 3..shape[1];
                let late = stored().with_scores(last, f64::NEG_INFINITY);
                check(isa, &late, 1e-6, 0.0);
                let ties = stored().with_scores(CHUNK - 2..CHUNK + 2, 5.0);
                check(isa, &ties, 1e-6, 0.0);
                let weighted = stored().with_options(0.5);
                let infinite = weighted.with_scores(0..CHUNK, f64::NEG_INFINITY);
                check(isa, &infinite, 1e-6, 0.0);
            }
        }
    }

    #[test]
    fn draws_name_the_positives_in_their_order() {
        for shape in shapes() {
            let mut random = StdRng::seed_from_u64(9);
            let draws = (0..shape[0]).map(|_| random.random_range(0.0..DRAWS));
            let draws: Vec<f32> = draws.collect();
            let stored = || Stored::<f32>::new(shape, 3.0);
            for stored in [stored(), stored().with_options(1.0)] {
                let columns = drawn_columns(stored.judgements(), shape[1], &draws);
                assert_eq!(columns, stored.case.drawn(&draws), "{shape:?}");
            }
        }
    }

    #[test]
    fn sums_over_a_hundred_thousand_documents_lose_nothing() {
        // All alike: log-sum-exp is the logarithm of their number.
        let shape = [1, if cfg!(miri) { 1003 } else { 100_003 }];
        let mut positives = vec![0; shape[1]];
        positives[7] = 1;
        let scores = vec![0.1f32; shape[1]];
        let judgements = Judgements::of(Relevance::Mask(Matrix::new(&positives, shape[1], shape)));
        let request = Request::new(0.05, &[Statistic::Negatives]);
        for isa in Isa::all() {
            let table = forward_on(
                isa,
                Matrix::new(&scores, shape[1], shape),
                judgements,
                request,
            );
            let exact = ((shape[1] - 1) as f64).ln();
            let got = f64::from(table[Statistic::Negatives as usize]);
            assert_relative_eq!(got, exact, max_relative = 6e-8);
        }
    }

    #[test]
    fn rows_may_be_shared_and_have_gaps() {
        let scores: Vec<f32> = (0..12).map(|i| i as f32 / 10.0).collect();
        let positives = [0, 1, 0];
        let judgements = Judgements::of(Relevance::Mask(Matrix::new(&positives, 0, [2, 3])));
        let request = Request::new(1.0, &Statistic::ALL);
        let gaps = forward(Matrix::new(&scores, 6, [2, 3]), judgements, request);
        let dense = [0.0f32, 0.1, 0.2, 0.6, 0.7, 0.8];
        let dense = forward(Matrix::new(&dense, 3, [2, 3]), judgements, request);
        assert_eq!(gaps, dense);
    }
}
