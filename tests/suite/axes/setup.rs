//! The table of axes: one line for each level of each.

use super::definition::{Kind, Select, Spec};
use crate::device::{device, supports};
use burn::{
    nn::loss::Reduction,
    tensor::{DType, FloatDType, IntDType},
};
use burn_multi_positive::{FalseNegatives, PositiveThreshold};

/// One way to call a loss.
#[derive(Clone, Debug)]
pub struct Setup {
    pub spec: Spec,
    pub counts: [usize; 2],
    /// What entries of embeddings are multiples of.
    pub grid: f64,
    pub dtype: DType,
    pub source: Source,
    pub view: View,
    pub relevance: Relevance,
    pub turned: bool,
    pub candidates: Vec<View>,
    pub weights: Vec<(DType, View)>,
    pub query_weights: Option<DType>,
    pub chosen: Option<IntDType>,
    pub guide: Option<Guide>,
    pub learned: Learned,
    /// The weights of the directions.
    pub both: Option<[f64; 2]>,
    pub same_side: bool,
    pub nested: Option<bool>,
    /// `None` for the loss of each query.
    pub reduction: Option<Reduction>,
    pub tracking: Tracking,
    pub defaults: Option<(FloatDType, IntDType)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    Matrix,
    Embeddings(Option<[usize; 2]>),
    Shards(Option<[usize; 2]>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View {
    Plain,
    Transposed,
    Rows,
    Columns,
    Flipped,
    Stepped,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Relevance {
    Mask(View),
    Ids,
    WeightedIds,
    Groups,
    WeightedGroups,
    /// Of queries and of documents.
    Labels(IntDType, IntDType),
    Columns(IntDType),
    Teacher,
    TeacherGroups,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Guide {
    Matrix,
    Embeddings,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Learned {
    Nothing,
    Temperature,
    Bias,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tracking {
    /// A device without autodiff.
    None,
    /// A device with autodiff, and scores that need no gradient.
    Constants,
    Autodiff,
    Checkpointing,
}

/// A name and what it sets.
pub type Level = (&'static str, fn(&mut Setup));

/// A name and its levels, of which the first is the usual one.
pub struct Axis(pub &'static str, pub Vec<Level>);

pub fn usual() -> Setup {
    Setup {
        spec: Spec {
            kind: LSE_PAIR,
            temperature: 1.0,
            hardness: 0.0,
            rule: None,
        },
        counts: [4, 7],
        grid: 1.0 / 256.0,
        dtype: DType::F32,
        source: Source::Matrix,
        view: View::Plain,
        relevance: Relevance::Mask(View::Plain),
        turned: false,
        candidates: vec![],
        weights: vec![],
        query_weights: None,
        chosen: None,
        guide: None,
        learned: Learned::Nothing,
        both: None,
        same_side: false,
        nested: None,
        reduction: Some(Reduction::Mean),
        tracking: Tracking::Autodiff,
        defaults: None,
    }
}

const LSE_PAIR: Kind = lse_pair(0.0, false, Select::All, false);

const fn lse_pair(margin: f64, normalize: bool, positives: Select, hardest: bool) -> Kind {
    Kind::LsePair {
        margin,
        normalize,
        positives,
        hardest,
    }
}

const fn power(exponent: f64, normalized: bool) -> Kind {
    Kind::PowerMean {
        exponent,
        normalized,
    }
}

fn rule(threshold: PositiveThreshold, margin: f64, relative: bool) -> Option<FalseNegatives> {
    let rule = FalseNegatives::new(threshold).with_margin(margin);
    Some(rule.with_relative(relative))
}

/// Everything that a loss can be told, and all that it may come in. Margins of rules lie
/// between the scores that the grids have.
#[rustfmt::skip]
pub fn axes() -> Vec<Axis> {
    use {DType::*, IntDType as Int, PositiveThreshold as Of, Select::{All, Strongest, Weakest}};
    let mut dtypes: Vec<Level> = vec![("f32", |s| s.dtype = F32)];
    let others: [(DType, Level); 3] = [
        (F64, ("f64", |s| s.dtype = F64)),
        (F16, ("f16", |s| s.dtype = F16)),
        (BF16, ("bf16", |s| s.dtype = BF16)),
    ];
    dtypes.extend(others.into_iter().filter(|(dtype, _)| supports(*dtype)).map(|(_, level)| level));
    let mut axes = vec![
        Axis("objective", vec![
            ("LSEPair", |s| s.spec.kind = LSE_PAIR),
            ("LSEPair, margin", |s| s.spec.kind = lse_pair(0.3, false, All, false)),
            ("LSEPair, normalized", |s| s.spec.kind = lse_pair(-0.2, true, All, false)),
            ("LSEPair, weakest", |s| s.spec.kind = lse_pair(0.0, false, Weakest, false)),
            ("LSEPair, strongest", |s| s.spec.kind = lse_pair(0.1, true, Strongest, true)),
            ("LSEPair, hardest", |s| s.spec.kind = lse_pair(0.1, false, All, true)),
            ("JointLH", |s| s.spec.kind = Kind::JointLh { normalize: false }),
            ("JointLH, normalized", |s| s.spec.kind = Kind::JointLh { normalize: true }),
            ("SumMargLH", |s| s.spec.kind = Kind::SumMargLh),
            ("Rand1LH", |s| s.spec.kind = Kind::Rand1Lh),
            ("expected", |s| s.spec.kind = Kind::ExpectedRand1Lh { normalize: true }),
            ("expected, summed", |s| s.spec.kind = Kind::ExpectedRand1Lh { normalize: false }),
            ("power -2.5", |s| s.spec.kind = power(-2.5, false)),
            ("power 0", |s| s.spec.kind = power(0.0, true)),
            ("power 0.5", |s| s.spec.kind = power(0.5, true)),
            ("power inf", |s| s.spec.kind = power(f64::INFINITY, false)),
            ("power -inf", |s| s.spec.kind = power(f64::NEG_INFINITY, true)),
            ("DCL", |s| s.spec.kind = Kind::Dcl),
            ("multi-similarity", |s| s.spec.kind = Kind::MultiSimilarity { alpha: 2.0, beta: 9.0, base: 0.6 }),
            ("circle", |s| s.spec.kind = Kind::Circle { gamma: 3.0, margin: 0.4 }),
            ("focal", |s| s.spec.kind = Kind::FocalInfoNce { margin: 0.3 }),
            ("sigmoid", |s| s.spec.kind = Kind::Sigmoid { bias: -1.5 }),
            ("margin ranking", |s| s.spec.kind = Kind::MarginRanking { margin: 0.1 }),
            ("margin MSE", |s| s.spec.kind = Kind::MarginMse),
        ]),
        Axis("temperature", vec![
            ("1", |s| s.spec.temperature = 1.0),
            ("0.4", |s| s.spec.temperature = 0.4),
            ("0.05", |s| s.spec.temperature = 0.05),
        ]),
        Axis("hardness", vec![
            ("none", |s| s.spec.hardness = 0.0),
            ("1.5", |s| s.spec.hardness = 1.5),
        ]),
        Axis("false negatives", vec![
            ("none", |s| s.spec.rule = None),
            ("weakest", |s| s.spec.rule = rule(Of::Weakest, 0.2937, false)),
            ("strongest", |s| s.spec.rule = rule(Of::Strongest, -0.2063, false)),
            ("mean", |s| s.spec.rule = rule(Of::Mean, 0.0937, true)),
        ]),
        Axis("counts", vec![
            ("4 x 8", |s| s.counts = [4, 8]),
            ("1 x 1", |s| s.counts = [1, 1]),
            ("7 x 7", |s| s.counts = [7, 7]),
            // Beyond the lanes of every kernel; the shortest integers hold the columns.
            ("3 x 123", |s| s.counts = [3, 123]),
            ("40 x 80", |s| s.counts = [40, 80]),
        ]),
        // Half precision holds the products of the coarse one, and documents tie on it.
        Axis("grid", vec![
            ("fine", |s| s.grid = 1.0 / 256.0),
            ("coarse", |s| s.grid = 1.0 / 4.0),
        ]),
        Axis("dtype", dtypes),
        Axis("source", vec![
            ("matrix", |s| s.source = Source::Matrix),
            ("embeddings", |s| s.source = Source::Embeddings(None)),
            ("tiles", |s| s.source = Source::Embeddings(Some([2, 3]))),
            ("large tiles", |s| s.source = Source::Embeddings(Some([1000, 64]))),
            ("shards", |s| s.source = Source::Shards(None)),
            ("tiles of shards", |s| s.source = Source::Shards(Some([3, 5]))),
        ]),
        Axis("view", vec![
            ("plain", |s| s.view = View::Plain),
            ("transposed", |s| s.view = View::Transposed),
            ("rows", |s| s.view = View::Rows),
            ("columns", |s| s.view = View::Columns),
            ("flipped", |s| s.view = View::Flipped),
            ("stepped", |s| s.view = View::Stepped),
        ]),
        Axis("relevance", vec![
            ("mask", |s| s.relevance = Relevance::Mask(View::Plain)),
            ("transposed mask", |s| s.relevance = Relevance::Mask(View::Transposed)),
            ("rows of a mask", |s| s.relevance = Relevance::Mask(View::Rows)),
            ("columns of a mask", |s| s.relevance = Relevance::Mask(View::Columns)),
            ("flipped mask", |s| s.relevance = Relevance::Mask(View::Flipped)),
            ("steps of a mask", |s| s.relevance = Relevance::Mask(View::Stepped)),
            ("ids", |s| s.relevance = Relevance::Ids),
            ("weighted ids", |s| s.relevance = Relevance::WeightedIds),
            ("groups", |s| s.relevance = Relevance::Groups),
            ("weighted groups", |s| s.relevance = Relevance::WeightedGroups),
            ("teacher", |s| s.relevance = Relevance::Teacher),
            ("teacher of groups", |s| s.relevance = Relevance::TeacherGroups),
            ("labels", |s| s.relevance = Relevance::Labels(Int::I32, Int::I32)),
            ("labels i64", |s| s.relevance = Relevance::Labels(Int::I64, Int::I64)),
            ("labels i16", |s| s.relevance = Relevance::Labels(Int::I16, Int::I16)),
            ("labels i8", |s| s.relevance = Relevance::Labels(Int::I8, Int::I32)),
            ("labels u64", |s| s.relevance = Relevance::Labels(Int::U64, Int::U64)),
            ("labels u32", |s| s.relevance = Relevance::Labels(Int::U32, Int::I8)),
            ("labels u16", |s| s.relevance = Relevance::Labels(Int::U16, Int::U32)),
            ("labels u8", |s| s.relevance = Relevance::Labels(Int::U8, Int::I64)),
            ("columns", |s| s.relevance = Relevance::Columns(Int::I32)),
            ("columns i8", |s| s.relevance = Relevance::Columns(Int::I8)),
            ("columns u64", |s| s.relevance = Relevance::Columns(Int::U64)),
            ("columns u16", |s| s.relevance = Relevance::Columns(Int::U16)),
        ]),
        Axis("turned", vec![
            ("no", |s| s.turned = false),
            ("twice", |s| s.turned = true),
        ]),
        Axis("candidates", vec![
            ("all", |s| s.candidates = vec![]),
            ("some", |s| s.candidates = vec![View::Plain]),
            ("a transposed mask", |s| s.candidates = vec![View::Transposed]),
            ("steps and a flipped mask", |s| s.candidates = vec![View::Stepped, View::Flipped]),
            ("rows and columns", |s| s.candidates = vec![View::Rows, View::Columns]),
        ]),
        Axis("weights", vec![
            ("none", |s| s.weights = vec![]),
            ("f32", |s| s.weights = vec![(F32, View::Plain)]),
            ("f32, transposed", |s| s.weights = vec![(F32, View::Transposed)]),
            ("bf16, columns", |s| s.weights = vec![(narrow(BF16), View::Columns)]),
            ("f16, flipped", |s| s.weights = vec![(narrow(F16), View::Flipped)]),
            ("f64 and f32", |s| s.weights = vec![(wide(), View::Rows), (F32, View::Stepped)]),
        ]),
        Axis("query weights", vec![
            ("none", |s| s.query_weights = None),
            ("f32", |s| s.query_weights = Some(F32)),
            ("f64", |s| s.query_weights = Some(wide())),
            ("bf16", |s| s.query_weights = Some(narrow(BF16))),
        ]),
        Axis("chosen", vec![
            ("none", |s| s.chosen = None),
            ("i32", |s| s.chosen = Some(Int::I32)),
            ("i64", |s| s.chosen = Some(Int::I64)),
            ("i16", |s| s.chosen = Some(Int::I16)),
            ("i8", |s| s.chosen = Some(Int::I8)),
            ("u64", |s| s.chosen = Some(Int::U64)),
            ("u32", |s| s.chosen = Some(Int::U32)),
            ("u16", |s| s.chosen = Some(Int::U16)),
            ("u8", |s| s.chosen = Some(Int::U8)),
        ]),
        Axis("guide", vec![
            ("none", |s| s.guide = None),
            ("a matrix", |s| s.guide = Some(Guide::Matrix)),
            ("embeddings", |s| s.guide = Some(Guide::Embeddings)),
        ]),
        Axis("learned", vec![
            ("nothing", |s| s.learned = Learned::Nothing),
            ("temperature", |s| s.learned = Learned::Temperature),
            ("bias", |s| s.learned = Learned::Bias),
            ("both", |s| s.learned = Learned::Both),
        ]),
        Axis("directions", vec![
            ("one", |s| s.both = None),
            ("both", |s| s.both = Some([0.5, 0.5])),
            ("the other", |s| s.both = Some([0.0, 2.0])),
            ("both, same side", |s| (s.both, s.same_side) = (Some([1.0, 0.25]), true)),
            ("one, same side", |s| (s.both, s.same_side) = (Some([3.0, 0.0]), true)),
        ]),
        Axis("dimensions", vec![
            ("all", |s| s.nested = None),
            ("nested", |s| s.nested = Some(false)),
            ("nested, normalized", |s| s.nested = Some(true)),
        ]),
        Axis("reduction", vec![
            ("mean", |s| s.reduction = Some(Reduction::Mean)),
            ("auto", |s| s.reduction = Some(Reduction::Auto)),
            ("sum", |s| s.reduction = Some(Reduction::Sum)),
            ("batch mean", |s| s.reduction = Some(Reduction::BatchMean)),
            ("none", |s| s.reduction = None),
        ]),
        Axis("tracking", vec![
            ("autodiff", |s| s.tracking = Tracking::Autodiff),
            ("checkpointing", |s| s.tracking = Tracking::Checkpointing),
            ("constants", |s| s.tracking = Tracking::Constants),
            ("none", |s| s.tracking = Tracking::None),
        ]),
        Axis(DEFAULT_TYPES, default_types()),
    ];
    for Axis(_, levels) in &mut axes {
        levels.retain(|level| usual().with(level).ints().all(has_ints));
    }
    axes
}

/// Whether the device has integers of this type.
fn has_ints(dtype: IntDType) -> bool {
    device().supports_dtype(DType::from(dtype))
}

/// The axis that is one for a process.
pub const DEFAULT_TYPES: &str = "default types";

/// What the device's default types are.
#[rustfmt::skip]
pub fn default_types() -> Vec<Level> {
    use IntDType as Int;
    let levels: [Level; 5] = [
        ("the device's", |s| s.defaults = None),
        ("f16 and i8", |s| s.defaults = Some((FloatDType::F16, Int::I8))),
        ("bf16 and u8", |s| s.defaults = Some((FloatDType::BF16, Int::U8))),
        ("f64 and i16", |s| s.defaults = Some((FloatDType::F64, Int::I16))),
        ("f32 and i64", |s| s.defaults = Some((FloatDType::F32, Int::I64))),
    ];
    let device = device();
    let has = |level: &Level| {
        let defaults = usual().with(level).defaults;
        defaults.is_none_or(|(float, int)| {
            let dtypes: [DType; 2] = [float.into(), int.into()];
            dtypes.into_iter().all(|dtype| device.supports_dtype(dtype))
        })
    };
    levels.into_iter().filter(has).collect()
}

/// What is true of some levels of an axis.
type Some = (&'static str, fn(&Setup) -> bool);

/// Levels of two axes that exclude each other.
#[rustfmt::skip]
fn exclusions() -> Vec<(Some, Some)> {
    let matrix: Some = ("source", |s| s.source == Source::Matrix);
    let embeddings: Some = ("source", |s| s.source != Source::Matrix);
    let half: Some = ("dtype", |s| matches!(s.dtype, DType::F16 | DType::BF16));
    let fine: Some = ("grid", |s| s.grid < 0.25);
    let coarse: Some = ("grid", |s| s.grid == 0.25);
    let normalized: Some = ("dimensions", |s| s.nested == Some(true));
    let rule: Some = ("false negatives", |s| s.spec.rule.is_some());
    let hardness: Some = ("hardness", |s| s.spec.hardness > 0.0);
    let chosen: Some = ("chosen", |s| s.chosen.is_some());
    let query_weights: Some = ("query weights", |s| s.query_weights.is_some());
    let turned: Some = ("turned", |s| s.turned);
    let back: Some = ("directions", |s| s.both.is_some_and(|[_, back]| back > 0.0));
    let rand1: Some = ("objective", |s| s.spec.kind == Kind::Rand1Lh);
    let mse: Some = ("objective", |s| s.spec.kind == Kind::MarginMse);
    vec![
        // A choice says nothing of documents as queries, nor do weights of queries.
        (turned, chosen),
        (turned, query_weights),
        (back, chosen),
        // What embeddings have and matrices have not.
        (matrix, ("directions", |s| s.same_side)),
        (matrix, ("dimensions", |s| s.nested.is_some())),
        // Scores that half precision rounds, and those that tie up to rounding.
        (half, fine),
        (half, normalized),
        (coarse, normalized),
        (rule, normalized),
        (("objective", |s| s.spec.kind.selects()), normalized),
        // A drawn positive is not known, so it must be chosen.
        (rand1, ("chosen", |s| s.chosen.is_none())),
        (rand1, turned),
        (rand1, back),
        // A loss of its own, of two matrices.
        (mse, embeddings),
        (mse, rule),
        (mse, ("directions", |s| s.both.is_some())),
        (mse, ("dimensions", |s| s.nested.is_some())),
        (mse, ("learned", |s| s.learned != Learned::Nothing)),
        (hardness, ("objective", |s| !s.spec.kind.has_hardness())),
    ]
}

/// Whether two levels exclude each other.
pub fn clash((a, x): (&str, &Level), (b, y): (&str, &Level)) -> bool {
    let (x, y) = (usual().with(x), usual().with(y));
    exclusions()
        .iter()
        .any(|((one, of_one), (other, of_other))| {
            (a == *one && b == *other && of_one(&x) && of_other(&y))
                || (b == *one && a == *other && of_one(&y) && of_other(&x))
        })
}

impl Setup {
    pub fn with(mut self, (_, set): &Level) -> Self {
        set(&mut self);
        self
    }

    /// The types of the integers that it has.
    fn ints(&self) -> impl Iterator<Item = IntDType> {
        let [one, other] = match self.relevance {
            Relevance::Labels(one, other) => [Some(one), Some(other)],
            Relevance::Columns(dtype) => [Some(dtype), None],
            _ => [None, None],
        };
        [one, other, self.chosen].into_iter().flatten()
    }
}

/// Half precision where the device has it.
fn narrow(dtype: DType) -> DType {
    if supports(dtype) { dtype } else { DType::F32 }
}

/// f64 where the device has it.
fn wide() -> DType {
    narrow(DType::F64)
}
