//! The call of a setup, and what comes of it.

use super::{
    batch::{Batch, Facts, SIZE_WEIGHTS, SIZES, TEACHER_TEMPERATURE, products},
    definition::{Kind, Matrix, Select, Spec},
    expected::{Learnt, coefficient},
    setup::{Guide, Relevance, Setup, Source, Tracking, View},
};
use crate::{
    batch::{bool_matrix, float_matrix, matrix, numbers},
    device::device,
};
use burn::tensor::{Bool, DType, Device, Int, IntDType, Tensor, TensorData};
use burn_multi_positive::{
    Bidirectional, CircleLossConfig, DclLossConfig, Embeddings, ExpectedRand1LhLossConfig,
    FocalInfoNceLossConfig, Forward, JointLhLossConfig, LearnableBias, LearnableBiasConfig,
    LearnableTemperature, LearnableTemperatureConfig, LsePairLossConfig, MarginMseLoss,
    MarginRankingLossConfig, Matryoshka, MultiSimilarityLossConfig, NegativeSelection, Objective,
    PositiveSelection, PowerMeanLossConfig, Rand1LhLossConfig, Scores, Shards, SigmoidLossConfig,
    SumMargLhLossConfig, Targets,
};

/// What a call gave.
pub struct Got {
    pub dtype: DType,
    pub losses: Vec<f64>,
    /// `None` where nothing was tracked.
    pub gradients: Option<Gradients>,
    pub learnt: Learnt,
}

pub struct Gradients {
    pub leaves: Vec<Matrix<f64>>,
    pub log_scale: f64,
    pub bias: f64,
}

pub fn call(setup: &Setup, batch: &Batch) -> Got {
    let device = match setup.tracking {
        Tracking::None => device(),
        Tracking::Constants | Tracking::Autodiff => device().autodiff(),
        Tracking::Checkpointing => device().autodiff().gradient_checkpointing(),
    };
    let is_tracked = matches!(setup.tracking, Tracking::Autodiff | Tracking::Checkpointing);
    let leaf = |values: &Matrix<f64>| {
        let leaf = float_matrix(values, &device, setup.dtype);
        if is_tracked {
            leaf.require_grad()
        } else {
            leaf
        }
    };
    let leaves = match setup.source {
        Source::Matrix => vec![leaf(&products(&batch.queries, &batch.documents))],
        _ => vec![leaf(&batch.queries), leaf(&batch.documents)],
    };
    let views: Vec<Tensor<2>> = leaves
        .iter()
        .map(|leaf| setup.view.of(leaf.clone()))
        .collect();
    let scores: Scores = match (setup.source, &views[..]) {
        (Source::Matrix, [scores]) => scores.clone().into(),
        (Source::Embeddings(tile), [queries, documents]) => {
            let embeddings = Embeddings::new(queries.clone(), documents.clone());
            match tile {
                Some(tile) => embeddings.with_tile(tile).into(),
                None => embeddings.into(),
            }
        }
        (Source::Shards(tile), [queries, documents]) => {
            let shards = Shards::new(parts(queries), parts(documents));
            match tile {
                Some(tile) => shards.with_tile(tile).into(),
                None => shards.into(),
            }
        }
        _ => unreachable!("as many leaves as the source has"),
    };
    let temperature = setup.learns_temperature().then(|| {
        // No power of two, so that a product shows how it is rounded.
        let config = LearnableTemperatureConfig::new().with_initial(0.33);
        config.init(&device)
    });
    let bias = setup.learns_bias().then(|| {
        // No score of a grid is 0 with it.
        let config = LearnableBiasConfig::new().with_initial(0.203125);
        config.init(&device)
    });
    let scores = match &temperature {
        Some(temperature) => temperature.apply(scores),
        None => scores,
    };
    let scores = match &bias {
        Some(bias) => bias.apply(scores),
        None => scores,
    };
    // As the parameters hold them.
    let learnt = Learnt {
        scale: temperature
            .as_ref()
            .map_or(1.0, |temperature| numbers(temperature.log_scale().exp())[0]),
        bias: bias.as_ref().map_or(0.0, |bias| numbers(bias.bias())[0]),
    };

    let targets = targets(setup, batch, &device);
    let loss = forward(setup, batch, &views[0], scores, targets);
    Got {
        dtype: loss.dtype(),
        losses: numbers(loss.clone()),
        gradients: is_tracked.then(|| gradients(loss, &leaves, temperature, bias)),
        learnt,
    }
}

fn gradients(
    loss: Tensor<1>,
    leaves: &[Tensor<2>],
    temperature: Option<LearnableTemperature>,
    bias: Option<LearnableBias>,
) -> Gradients {
    let [rows] = loss.dims();
    let factors = (0..rows).map(coefficient).collect();
    let factors = TensorData::new::<f64, _>(factors, [rows]);
    let factors = Tensor::from_data(factors, (&loss.device(), loss.dtype()));
    let gradients = (loss * factors).sum().backward();
    let of_parameter = |parameter: Option<Tensor<1>>| {
        let gradient = parameter?.grad(&gradients)?;
        Some(numbers(gradient)[0])
    };
    let of_leaf = |leaf: &Tensor<2>| {
        let gradient = leaf.grad(&gradients).expect("the gradient of a leaf");
        assert_eq!(gradient.dtype(), leaf.dtype());
        matrix(gradient)
    };
    Gradients {
        leaves: leaves.iter().map(of_leaf).collect(),
        log_scale: of_parameter(temperature.map(|x| x.log_scale())).unwrap_or(0.0),
        bias: of_parameter(bias.map(|x| x.bias())).unwrap_or(0.0),
    }
}

/// Three parts where there are so many rows.
fn parts(rows: &Tensor<2>) -> Vec<Tensor<2>> {
    let [count, _] = rows.dims();
    let cuts = [0, count / 4, count / 4 * 3, count];
    let ends = cuts.windows(2).filter(|ends| ends[0] < ends[1]);
    ends.map(|ends| rows.clone().narrow(0, ends[0], ends[1] - ends[0]))
        .collect()
}

fn forward(
    setup: &Setup,
    batch: &Batch,
    matrix: &Tensor<2>,
    scores: Scores,
    targets: Targets,
) -> Tensor<1> {
    if setup.spec.kind == Kind::MarginMse {
        let loss = MarginMseLoss::new();
        let teacher = float_matrix(&batch.teacher, &matrix.device(), DType::F32);
        return match setup.reduction.clone() {
            Some(reduction) => {
                loss.forward_with_reduction(matrix.clone(), teacher, targets, reduction)
            }
            None => loss.forward_no_reduction(matrix.clone(), teacher, targets),
        };
    }
    let objective = setup.spec.objective();
    match setup.both {
        None => forward_nested(setup, objective, scores, targets),
        Some(weights) => {
            let both = Bidirectional::new(objective).with_weights(weights);
            forward_nested(setup, both.with_same_side(setup.same_side), scores, targets)
        }
    }
}

fn forward_nested(
    setup: &Setup,
    loss: impl Forward,
    scores: Scores,
    targets: Targets,
) -> Tensor<1> {
    match setup.nested {
        None => forward_reduced(setup, loss, scores, targets),
        Some(normalize) => {
            let nested = Matryoshka::new(loss, &SIZES).with_weights(&SIZE_WEIGHTS);
            forward_reduced(setup, nested.with_normalization(normalize), scores, targets)
        }
    }
}

fn forward_reduced(
    setup: &Setup,
    loss: impl Forward,
    scores: Scores,
    targets: Targets,
) -> Tensor<1> {
    match setup.reduction.clone() {
        Some(reduction) => loss.forward_with_reduction(scores, targets, reduction),
        None => loss.forward_no_reduction(scores, targets),
    }
}

impl Spec {
    fn objective(&self) -> Box<dyn Objective> {
        let rule = self.rule;
        macro_rules! with_options {
            ($config:expr) => {
                $config
                    .with_temperature(self.temperature)
                    .with_hardness(self.hardness)
                    .with_false_negatives(rule)
            };
        }
        match self.kind {
            Kind::LsePair {
                margin,
                normalize,
                positives,
                hardest,
            } => Box::new(
                with_options!(LsePairLossConfig::new())
                    .with_margin(margin)
                    .with_normalize_by_positives(normalize)
                    .with_positives(match positives {
                        Select::All => PositiveSelection::All,
                        Select::Weakest => PositiveSelection::Weakest,
                        Select::Strongest => PositiveSelection::Strongest,
                    })
                    .with_negatives(match hardest {
                        true => NegativeSelection::Hardest,
                        false => NegativeSelection::All,
                    })
                    .init(),
            ),
            Kind::JointLh { normalize } => Box::new(
                with_options!(JointLhLossConfig::new())
                    .with_normalize_by_positives(normalize)
                    .init(),
            ),
            Kind::SumMargLh => Box::new(with_options!(SumMargLhLossConfig::new()).init()),
            Kind::Rand1Lh => Box::new(with_options!(Rand1LhLossConfig::new()).init()),
            Kind::ExpectedRand1Lh { normalize } => Box::new(
                with_options!(ExpectedRand1LhLossConfig::new())
                    .with_normalize_by_positives(normalize)
                    .init(),
            ),
            Kind::PowerMean {
                exponent,
                normalized,
            } => Box::new(
                with_options!(PowerMeanLossConfig::new())
                    .with_exponent(exponent)
                    .with_normalized(normalized)
                    .init(),
            ),
            Kind::Dcl => Box::new(with_options!(DclLossConfig::new()).init()),
            Kind::MultiSimilarity { alpha, beta, base } => Box::new(
                MultiSimilarityLossConfig::new()
                    .with_alpha(alpha)
                    .with_beta(beta)
                    .with_base(base)
                    .with_hardness(self.hardness)
                    .with_false_negatives(rule)
                    .init(),
            ),
            Kind::Circle { gamma, margin } => Box::new(
                CircleLossConfig::new()
                    .with_gamma(gamma)
                    .with_margin(margin)
                    .with_false_negatives(rule)
                    .init(),
            ),
            Kind::FocalInfoNce { margin } => Box::new(
                FocalInfoNceLossConfig::new()
                    .with_temperature(self.temperature)
                    .with_margin(margin)
                    .with_false_negatives(rule)
                    .init(),
            ),
            Kind::Sigmoid { bias } => Box::new(
                SigmoidLossConfig::new()
                    .with_temperature(self.temperature)
                    .with_bias(bias)
                    .with_false_negatives(rule)
                    .init(),
            ),
            Kind::MarginRanking { margin } => Box::new(
                MarginRankingLossConfig::new()
                    .with_margin(margin)
                    .with_false_negatives(rule)
                    .init(),
            ),
            Kind::MarginMse => unreachable!("no objective of one matrix"),
        }
    }
}

fn targets(setup: &Setup, batch: &Batch, device: &Device) -> Targets {
    let [queries, documents] = setup.counts;
    let group = documents / queries;
    let int = |values: &[i64], dtype: IntDType| {
        let data = TensorData::from(values);
        // A view, so that the offset counts as well.
        let values = Tensor::<1, Int>::from_data(data, (device, DType::from(dtype)));
        let count = values.dims()[0];
        Tensor::cat(vec![values.clone(), values], 0).narrow(0, count, count)
    };
    let mask = |mask: &[Vec<bool>], view: View| view.of_mask(bool_matrix(mask, device));
    let mut targets = match (&batch.facts, setup.relevance) {
        (Facts::Mask(relevant), Relevance::Mask(view)) => Targets::new(mask(relevant, view)),
        (Facts::Ids(relevant, ids), Relevance::Ids) => {
            let bare = |named: &Vec<(usize, f32)>| named.iter().map(|(id, _)| *id).collect();
            let relevant: Vec<Vec<usize>> = relevant.iter().map(bare).collect();
            Targets::from_ids(&relevant, ids, device).unwrap()
        }
        (Facts::Ids(relevant, ids), _) => {
            Targets::from_weighted_ids(relevant, ids, device).unwrap()
        }
        (Facts::Groups(weights), Relevance::Groups) => {
            let counts: Vec<usize> = weights.iter().map(Vec::len).collect();
            Targets::from_groups(&counts, group, device).unwrap()
        }
        (Facts::Groups(weights), _) => {
            Targets::from_weighted_groups(weights, group, device).unwrap()
        }
        (Facts::Labels([of_queries, of_documents]), Relevance::Labels(one, other)) => {
            Targets::from_labels(int(of_queries, one), int(of_documents, other))
        }
        (Facts::Labels([columns, _]), Relevance::Columns(dtype)) => {
            Targets::from_columns(int(columns, dtype), documents)
        }
        (Facts::Teacher(scores), _) => {
            let scores = float_matrix(scores, device, DType::F32);
            Targets::from_teacher(scores, TEACHER_TEMPERATURE)
        }
        (Facts::TeacherGroups(scores), _) => {
            Targets::from_teacher_groups(scores, group, TEACHER_TEMPERATURE, device).unwrap()
        }
        (facts, relevance) => unreachable!("{facts:?} of {relevance:?}"),
    };
    if setup.turned {
        targets = targets.transpose().transpose();
    }
    for (candidates, view) in batch.candidates.iter().zip(&setup.candidates) {
        targets = targets.with_candidates(mask(candidates, *view));
    }
    for (weights, (dtype, view)) in batch.weights.iter().zip(&setup.weights) {
        let weights = float_matrix(weights, device, *dtype);
        targets = targets.with_weights(view.of(weights));
    }
    if let Some(dtype) = setup.query_weights {
        let weights = float_matrix(std::slice::from_ref(&batch.query_weights), device, dtype);
        targets = targets.with_query_weights(weights.squeeze_dim(0));
    }
    if let Some(dtype) = setup.chosen {
        targets = targets.with_chosen(int(&batch.chosen, dtype));
    }
    let [guide_queries, guide_documents] =
        [0, 1].map(|side| float_matrix(&batch.guide[side], device, DType::F32));
    match setup.guide {
        None => targets,
        Some(Guide::Matrix) => {
            let scores = products(&batch.guide[0], &batch.guide[1]);
            let scores = float_matrix(&scores, device, DType::F32);
            targets.without_false_negatives(scores, batch.guide_rule)
        }
        Some(Guide::Embeddings) => {
            let guide = Embeddings::new(guide_queries, guide_documents);
            targets.without_false_negatives(guide, batch.guide_rule)
        }
    }
}

impl View {
    /// The same entries as a view of other memory; a gradient passes.
    fn of(self, x: Tensor<2>) -> Tensor<2> {
        self.by(x, |x| x.mul_scalar(1))
    }

    fn of_mask(self, x: Tensor<2, Bool>) -> Tensor<2, Bool> {
        self.by(x, |x| x.bool_not().bool_not())
    }

    fn by<K: burn::tensor::kind::Basic>(
        self,
        x: Tensor<2, K>,
        written: fn(Tensor<2, K>) -> Tensor<2, K>,
    ) -> Tensor<2, K> {
        let [rows, columns] = x.dims();
        match self {
            Self::Plain => x,
            Self::Transposed => written(x.transpose()).transpose(),
            Self::Rows => Tensor::cat(vec![x.clone(), x.clone(), x], 0).narrow(0, rows, rows),
            Self::Columns => {
                Tensor::cat(vec![x.clone(), x.clone(), x], 1).narrow(1, columns, columns)
            }
            Self::Flipped => written(x.flip([0, 1])).flip([0, 1]),
            Self::Stepped => {
                let pairs: Tensor<3, K> = Tensor::stack(vec![x.clone(), x], 2);
                pairs
                    .reshape([rows, 2 * columns])
                    .slice(burn::tensor::s![.., ..;2])
            }
        }
    }
}
