//! Options, directions, the same side and nested dimensions in random combinations, against
//! their definitions in f64 and the slopes of these.

use crate::{
    batch::{bool_matrix, float_matrix, matrix, numbers},
    device::{autodiff_devices, supports},
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_multi_positive::{
    Bidirectional, CircleLossConfig, Embeddings, ExpectedRand1LhLossConfig, FalseNegatives,
    FocalInfoNceLossConfig, Forward, JointLhLossConfig, LsePairLossConfig, Matryoshka, Objective,
    PositiveThreshold, Scores, Shards, SigmoidLossConfig, SumMargLhLossConfig, Targets,
};

type Matrix = Vec<Vec<f64>>;
type Mask = Vec<Vec<bool>>;

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() * bound as f64) as usize
    }

    fn matrix(&mut self, rows: usize, columns: usize, size: f64) -> Matrix {
        (0..rows)
            .map(|_| {
                (0..columns)
                    .map(|_| (self.next() * 2.0 - 1.0) * size)
                    .collect()
            })
            .collect()
    }

    fn mask(&mut self, rows: usize, columns: usize, share: f64) -> Mask {
        (0..rows)
            .map(|_| (0..columns).map(|_| self.next() < share).collect())
            .collect()
    }
}

fn transposed<T: Clone>(rows: &[Vec<T>], columns: usize) -> Vec<Vec<T>> {
    (0..columns)
        .map(|c| rows.iter().map(|row| row[c].clone()).collect())
        .collect()
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    LsePair,
    Joint,
    SumMarg,
    Expected,
    Circle,
    Focal,
    Sigmoid,
}

/// Of those kinds that have one.
const MARGIN: f64 = 0.4;
const BIAS: f64 = -0.7;

/// An objective with options.
#[derive(Clone, Copy, Debug)]
struct Spec {
    kind: Kind,
    temperature: f64,
    hardness: f64,
    rule: Option<FalseNegatives>,
}

impl Spec {
    fn init(&self) -> Box<dyn Objective> {
        macro_rules! init {
            ($config:ident) => {
                Box::new(
                    $config::new()
                        .with_temperature(self.temperature)
                        .with_hardness(self.hardness)
                        .with_false_negatives(self.rule)
                        .init(),
                )
            };
        }
        match self.kind {
            Kind::LsePair => init!(LsePairLossConfig),
            Kind::Joint => init!(JointLhLossConfig),
            Kind::SumMarg => init!(SumMargLhLossConfig),
            Kind::Expected => init!(ExpectedRand1LhLossConfig),
            Kind::Circle => Box::new(
                CircleLossConfig::new()
                    .with_gamma(1.0 / self.temperature)
                    .with_margin(MARGIN)
                    .with_false_negatives(self.rule)
                    .init(),
            ),
            Kind::Focal => Box::new(
                FocalInfoNceLossConfig::new()
                    .with_temperature(self.temperature)
                    .with_margin(MARGIN)
                    .with_false_negatives(self.rule)
                    .init(),
            ),
            Kind::Sigmoid => Box::new(
                SigmoidLossConfig::new()
                    .with_temperature(self.temperature)
                    .with_bias(BIAS)
                    .with_false_negatives(self.rule)
                    .init(),
            ),
        }
    }

    /// What the loss makes of a score before the temperature.
    fn bend(&self, score: f64, fixed: f64, positive: bool) -> f64 {
        match (self.kind, positive) {
            (Kind::Circle, true) => (1.0 + MARGIN - fixed).max(0.0) * (score - 1.0 + MARGIN),
            (Kind::Circle, false) => (fixed + MARGIN).max(0.0) * (score - MARGIN),
            (Kind::Focal, true) => score * score,
            (Kind::Focal, false) => score * (score + MARGIN),
            _ => score,
        }
    }

    /// The losses of the rows of `s`; `fixed` are the same scores where they are constants.
    fn rows(
        &self,
        s: &Matrix,
        fixed: &Matrix,
        relevant: &Mask,
        candidates: &Mask,
        w: &Matrix,
    ) -> Vec<f64> {
        s.iter()
            .enumerate()
            .map(|(q, row)| {
                let is = |d: usize| candidates[q][d] && w[q][d] > 0.0;
                let all = 0..row.len();
                let pos: Vec<usize> = all.clone().filter(|&d| relevant[q][d] && is(d)).collect();
                if pos.is_empty() {
                    return 0.0;
                }
                let ps: Vec<f64> = pos.iter().map(|&d| fixed[q][d]).collect();
                let ceiling = self.rule.map(|rule| {
                    let t = match rule.threshold {
                        PositiveThreshold::Weakest => ps.iter().copied().fold(f64::MAX, f64::min),
                        PositiveThreshold::Strongest => ps.iter().copied().fold(f64::MIN, f64::max),
                        _ => ps.iter().sum::<f64>() / ps.len() as f64,
                    };
                    match rule.relative {
                        true => t - rule.margin * t.abs(),
                        false => t + rule.margin,
                    }
                });
                let neg: Vec<(f64, f64)> = all
                    .filter(|&d| !relevant[q][d] && is(d))
                    .filter(|&d| ceiling.is_none_or(|c| fixed[q][d] <= c))
                    .map(|d| {
                        (
                            self.bend(row[d], fixed[q][d], false) / self.temperature,
                            w[q][d] * (self.hardness * fixed[q][d]).exp(),
                        )
                    })
                    .collect();
                let p: Vec<(f64, f64)> = pos
                    .iter()
                    .map(|&d| {
                        let bent = self.bend(row[d], fixed[q][d], true);
                        (bent / self.temperature, w[q][d])
                    })
                    .collect();
                let total: f64 = p.iter().map(|p| p.1).sum();
                match self.kind {
                    Kind::LsePair | Kind::Circle => {
                        let mut sum = 1.0;
                        for (sp, wp) in &p {
                            for (sn, wn) in &neg {
                                sum += wp * wn * (sn - sp).exp();
                            }
                        }
                        sum.ln()
                    }
                    Kind::SumMarg => {
                        if neg.is_empty() {
                            return 0.0;
                        }
                        let a: f64 = p.iter().map(|(s, w)| w * s.exp()).sum();
                        let b: f64 = neg.iter().map(|(s, w)| w * s.exp()).sum();
                        ((a + b) / a).ln()
                    }
                    Kind::Joint => {
                        let a: f64 = p.iter().map(|(s, _)| s.exp()).sum();
                        let b: f64 = neg.iter().map(|(s, w)| w * s.exp()).sum();
                        p.iter().map(|(s, w)| w * ((a + b).ln() - s)).sum()
                    }
                    Kind::Expected | Kind::Focal => {
                        let b: f64 = neg.iter().map(|(s, w)| w * s.exp()).sum();
                        p.iter()
                            .map(|(s, w)| w * (1.0 + b / s.exp()).ln())
                            .sum::<f64>()
                            / total
                    }
                    Kind::Sigmoid => {
                        let of = |z: f64, w: f64| w * z.exp().ln_1p();
                        let p = p.iter().map(|(s, w)| of(-s - BIAS, *w)).sum::<f64>();
                        p + neg.iter().map(|(s, w)| of(s + BIAS, *w)).sum::<f64>()
                    }
                }
            })
            .collect()
    }
}

fn products(a: &Matrix, b: &Matrix) -> Matrix {
    a.iter()
        .map(|x| {
            b.iter()
                .map(|y| x.iter().zip(y).map(|(x, y)| x * y).sum())
                .collect()
        })
        .collect()
}

fn cut(x: &Matrix, size: usize, normalize: bool) -> Matrix {
    x.iter()
        .map(|row| {
            let row = &row[..size];
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            let by = if normalize && length > 0.0 {
                1.0 / length
            } else {
                1.0
            };
            row.iter().map(|x| x * by).collect()
        })
        .collect()
}

/// A loss of a batch.
#[derive(Clone, Debug)]
struct Case {
    relevant: Mask,
    candidates: Mask,
    w: Matrix,
    same_side: bool,
    both: Option<[f64; 2]>,
    levels: Option<(Vec<usize>, Vec<f64>, bool)>,
    spec: Spec,
}

impl Case {
    /// At one size.
    fn one(&self, q: &Matrix, d: &Matrix, fixed: [&Matrix; 2]) -> f64 {
        let direction = |q: &Matrix,
                         d: &Matrix,
                         fixed: [&Matrix; 2],
                         relevant: &Mask,
                         candidates: &Mask,
                         w: &Matrix| {
            let (mut s, mut f) = (products(q, d), products(fixed[0], fixed[1]));
            let (mut relevant, mut candidates, mut w) =
                (relevant.clone(), candidates.clone(), w.clone());
            if self.same_side {
                let (ss, ff) = (products(q, q), products(fixed[0], fixed[0]));
                // What counts for both.
                let counts =
                    |a: usize, c: usize| relevant[a][c] && candidates[a][c] && w[a][c] != 0.0;
                let share = |a: usize, b: usize| {
                    a == b || (0..d.len()).any(|c| counts(a, c) && counts(b, c))
                };
                let row = |a: usize| (0..q.len()).map(|b| share(a, b)).collect();
                let share: Mask = (0..q.len()).map(row).collect();
                for i in 0..q.len() {
                    s[i].extend(&ss[i]);
                    f[i].extend(&ff[i]);
                    relevant[i].extend(vec![false; q.len()]);
                    candidates[i].extend(share[i].iter().map(|x| !x));
                    w[i].extend(vec![1.0; q.len()]);
                }
            }
            let losses = self.spec.rows(&s, &f, &relevant, &candidates, &w);
            let active = (0..q.len())
                .filter(|&i| {
                    (0..relevant[i].len())
                        .any(|j| relevant[i][j] && candidates[i][j] && w[i][j] > 0.0)
                })
                .count();
            losses.iter().sum::<f64>() / active.max(1) as f64
        };
        let n = d.len();
        match self.both {
            None => direction(q, d, fixed, &self.relevant, &self.candidates, &self.w),
            Some([a, b]) => {
                a * direction(q, d, fixed, &self.relevant, &self.candidates, &self.w)
                    + b * direction(
                        d,
                        q,
                        [fixed[1], fixed[0]],
                        &transposed(&self.relevant, n),
                        &transposed(&self.candidates, n),
                        &transposed(&self.w, n),
                    )
            }
        }
    }

    /// The loss of `q` and `d`, whose hardness and false negatives are those of `fixed`.
    fn value(&self, q: &Matrix, d: &Matrix, fixed: [&Matrix; 2]) -> f64 {
        match &self.levels {
            None => self.one(q, d, fixed),
            Some((sizes, weights, normalize)) => sizes
                .iter()
                .zip(weights)
                .map(|(&size, weight)| {
                    let c = |x: &Matrix| cut(x, size, *normalize);
                    weight * self.one(&c(q), &c(d), [&c(fixed[0]), &c(fixed[1])])
                })
                .sum(),
        }
    }

    fn run(&self, scores: Scores, targets: Targets) -> Tensor<1> {
        let objective = self.spec.init();
        match (&self.both, &self.levels) {
            (None, None) => Forward::forward(&objective, scores, targets),
            (Some(w), None) => Bidirectional::new(objective)
                .with_weights(*w)
                .with_same_side(self.same_side)
                .forward(scores, targets),
            (None, Some((sizes, weights, normalize))) => Matryoshka::new(objective, sizes)
                .with_weights(weights)
                .with_normalization(*normalize)
                .forward(scores, targets),
            (Some(w), Some((sizes, weights, normalize))) => {
                let both = Bidirectional::new(objective)
                    .with_weights(*w)
                    .with_same_side(self.same_side);
                Matryoshka::new(both, sizes)
                    .with_weights(weights)
                    .with_normalization(*normalize)
                    .forward(scores, targets)
            }
        }
    }
}

fn leaf(x: &Matrix, columns: usize, device: &Device, dtype: DType) -> Tensor<2> {
    let data = TensorData::new(x.concat(), [x.len(), columns]);
    Tensor::from_data(data, (device, dtype)).require_grad()
}

#[test]
fn combinations_are_what_their_definitions_say() {
    if !supports(DType::F64) {
        return;
    }
    let mut random = Random(0x1234_5678_9abc_def1);
    let devices = autodiff_devices();
    let rule = |threshold, margin: f64, relative| {
        Some(
            FalseNegatives::new(threshold)
                .with_margin(margin)
                .with_relative(relative),
        )
    };
    for round in 0..160 {
        let counts = [1 + random.below(9), 1 + random.below(9)];
        let dims = 1 + random.below(9);
        let q = random.matrix(counts[0], dims, 1.5);
        let d = random.matrix(counts[1], dims, 1.5);
        let relevant = random.mask(counts[0], counts[1], 0.25);
        let candidates = random.mask(counts[0], counts[1], 0.85);
        let w: Matrix = random
            .matrix(counts[0], counts[1], 1.0)
            .into_iter()
            .map(|r| {
                r.into_iter()
                    .map(|x| {
                        if x < -0.6 {
                            0.0
                        } else {
                            ((x + 1.0) * 8.0).round() / 8.0
                        }
                    })
                    .collect()
            })
            .collect();
        let kinds = [
            Kind::LsePair,
            Kind::Joint,
            Kind::SumMarg,
            Kind::Expected,
            Kind::Circle,
            Kind::Focal,
            Kind::Sigmoid,
        ];
        let kind = kinds[round % kinds.len()];
        let is_hard = !matches!(kind, Kind::Circle | Kind::Focal | Kind::Sigmoid);
        let spec = Spec {
            kind,
            temperature: [1.0, 0.4][round % 2],
            hardness: if is_hard {
                [0.0, 0.0, 1.5][round % 3]
            } else {
                0.0
            },
            rule: [
                None,
                rule(PositiveThreshold::Weakest, 0.3, false),
                rule(PositiveThreshold::Mean, 0.1, true),
                None,
                rule(PositiveThreshold::Strongest, -0.2, false),
            ][round % 5],
        };
        let both = (random.next() < 0.7)
            .then(|| [[0.5, 0.5], [1.0, 0.25], [0.0, 2.0], [3.0, 0.0]][random.below(4)]);
        let same_side = both.is_some() && random.next() < 0.5;
        let levels = (random.next() < 0.6).then(|| {
            let n = 1 + random.below(4);
            let sizes: Vec<usize> = (0..n).map(|_| 1 + random.below(dims)).collect();
            let weights = (0..n)
                .map(|i| [1.0, 0.5, -0.25, 0.0][(i + round) % 4])
                .collect();
            (sizes, weights, random.next() < 0.7)
        });
        let form = round % 4;
        let use_w = random.next() < 0.5;
        let use_c = random.next() < 0.5;
        // For weights that are not given: 1.
        let case = Case {
            relevant: relevant.clone(),
            candidates: if use_c {
                candidates.clone()
            } else {
                vec![vec![true; counts[1]]; counts[0]]
            },
            w: if use_w {
                w.clone()
            } else {
                vec![vec![1.0; counts[1]]; counts[0]]
            },
            same_side,
            both,
            levels,
            spec,
        };
        for (index, device) in devices.iter().enumerate() {
            let dtype = DType::F64;
            let [lq, ld] = [leaf(&q, dims, device, dtype), leaf(&d, dims, device, dtype)];
            let lists: Vec<Vec<usize>> = relevant
                .iter()
                .map(|row| (0..counts[1]).filter(|&d| row[d]).collect())
                .collect();
            let ids: Vec<usize> = (0..counts[1]).collect();
            let mut targets = match form {
                0 => Targets::new(bool_matrix(&relevant, device)),
                1 => Targets::from_ids(&lists, &ids, device).unwrap(),
                2 => Targets::from_ids(&lists, &ids, device)
                    .unwrap()
                    .transpose()
                    .transpose(),
                _ => {
                    Targets::new(bool_matrix(&transposed(&relevant, counts[1]), device)).transpose()
                }
            };
            if use_c {
                targets = targets.with_candidates(bool_matrix(&case.candidates, device));
            }
            if use_w {
                targets = targets.with_weights(float_matrix(&case.w, device, DType::F64));
            }
            let tile = [1 + random.below(12), 1 + random.below(12)];
            let scores: Scores = match round % 3 {
                0 => Embeddings::new(lq.clone(), ld.clone())
                    .with_tile(tile)
                    .into(),
                1 => Embeddings::new(lq.clone(), ld.clone()).into(),
                _ => {
                    let one = |x: &Tensor<2>| -> Vec<Tensor<2>> {
                        (0..x.dims()[0])
                            .map(|i| x.clone().narrow(0, i, 1))
                            .collect()
                    };
                    Shards::new(one(&lq), one(&ld)).with_tile(tile).into()
                }
            };
            let loss = case.run(scores, targets);
            let got = numbers(loss.clone())[0];
            let want = case.value(&q, &d, [&q, &d]);
            let what = format!("round {round}, device {index}, form {form}, {counts:?}: {case:?}");
            let is_near =
                |got: f64, want: f64, error: f64| (got - want).abs() <= error * (1.0 + want.abs());
            assert!(
                is_near(got, want, 1e-9),
                "{what}: got {got}, expected {want}"
            );
            let gradients = loss.backward();
            for (side, leaf) in [&lq, &ld].into_iter().enumerate() {
                let gradient = matrix(leaf.grad(&gradients).expect("a leaf"));
                for i in 0..counts[side] {
                    for j in 0..dims {
                        let step = 1e-5;
                        let at = |step: f64| {
                            let (mut a, mut b) = (q.clone(), d.clone());
                            [&mut a, &mut b][side][i][j] += step;
                            case.value(&a, &b, [&q, &d])
                        };
                        let want = (at(step) - at(-step)) / (2.0 * step);
                        let got = gradient[i][j];
                        assert!(
                            is_near(got, want, 1e-6),
                            "{what}: side {side}, [{i}, {j}]: got {got}, expected {want}"
                        );
                    }
                }
            }
        }
    }
}
