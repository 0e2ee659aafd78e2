//! Scores of any bits, for every objective: NaN, infinities, the largest and the least.
//!
//! What must hold is what the documentation promises of such rows, and needs no other
//! implementation to check:
//!
//! - nothing panics, and a row's loss is what it is without the other rows
//! - an ignored document counts for nothing, whatever its score
//! - a row without a positive has a loss and gradients of 0
//! - a NaN that counts is in the loss
//! - finite scores of moderate gaps have finite losses and gradients

use arbitrary::{Arbitrary, Result, Unstructured};
use burn::tensor::{Device, Tensor, TensorData};
use burn_multi_positive::{
    DclLossConfig, ExpectedRand1LhLossConfig, JointLhLossConfig, LsePairLossConfig,
    NegativeSelection, PositiveSelection, PowerMeanLossConfig, SumMargLhLossConfig, Targets,
};

const LONGEST: usize = 40;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Objective {
    LsePair { options: u8 },
    JointLh { normalize: bool },
    SumMargLh,
    Expected { normalize: bool },
    PowerMean { exponent: i8 },
    Dcl,
}

#[derive(Clone, Copy, Debug)]
struct Document {
    score: f32,
    positive: bool,
    candidate: bool,
}

impl<'a> Arbitrary<'a> for Document {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        const SPECIAL: [f32; 8] = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            -0.0,
            0.0,
        ];
        let kind: u8 = bytes.arbitrary()?;
        let score = match kind >> 6 {
            0 => f32::from_bits(bytes.arbitrary()?),
            1 => SPECIAL[usize::from(kind & 7)],
            _ => f32::from(bytes.arbitrary::<i16>()?) / 512.0,
        };
        Ok(Self {
            score,
            positive: kind & 0x18 == 0x18,
            candidate: kind & 0x24 != 0x24,
        })
    }
}

/// Losses of rows with their gradients.
struct Outcome {
    losses: Vec<f32>,
    gradients: Vec<f32>,
}

/// Runs an objective on rows of these scores, and on each row by itself.
pub fn run(data: &[u8]) {
    let _ = check(data);
}

fn check(data: &[u8]) -> Result<()> {
    let mut bytes = Unstructured::new(data);
    let objective = Objective::arbitrary(&mut bytes)?;
    let temperature = [1.0, 0.01, 20.0, 1e-30][bytes.choose_index(4)?];
    let columns = bytes.int_in_range(1..=LONGEST)?;
    let rows = bytes.int_in_range(1..=4)?;
    let documents: Vec<Document> = (0..rows * columns)
        .map(|_| bytes.arbitrary())
        .collect::<Result<_>>()?;
    let all = outcome(objective, temperature, &documents, columns);
    for (row, documents) in documents.chunks(columns).enumerate() {
        let part = row * columns..(row + 1) * columns;
        let (loss, gradients) = (all.losses[row], &all.gradients[part]);
        let context = || format!("{objective:?} at {temperature}: {documents:?}");
        let alone = outcome(objective, temperature, documents, columns);
        assert!(
            same(loss, alone.losses[0]),
            "{loss}, alone {}: {}",
            alone.losses[0],
            context()
        );
        let equal = gradients
            .iter()
            .zip(&alone.gradients)
            .all(|(a, b)| same(*a, *b));
        assert!(
            equal,
            "{gradients:?}, alone {:?}: {}",
            alone.gradients,
            context()
        );
        assert_kept(objective, temperature, documents, loss, gradients, &context);
    }
    Ok(())
}

fn assert_kept(
    objective: Objective,
    temperature: f64,
    documents: &[Document],
    loss: f32,
    gradients: &[f32],
    context: &dyn Fn() -> String,
) {
    let counted = || documents.iter().filter(|document| document.candidate);
    let is_active = counted().any(|document| document.positive);
    let ignored = documents.iter().zip(gradients);
    for (document, gradient) in ignored {
        if !document.candidate || !is_active {
            assert!(*gradient == 0.0, "a gradient of {gradient}: {}", context());
        }
    }
    if !is_active {
        assert!(loss == 0.0, "a loss of {loss}: {}", context());
        return;
    }
    if counted().any(|document| document.score.is_nan()) {
        assert!(loss.is_nan(), "a loss of {loss} hides a NaN: {}", context());
        return;
    }
    let steepest = match objective {
        Objective::PowerMean { exponent } => f64::from(exponent).abs().max(1.0),
        _ => 1.0,
    };
    let is_moderate = counted().all(|document| {
        let size = f64::from(document.score).abs() / temperature * steepest;
        size < 1e30
    });
    if is_moderate {
        let finite = loss.is_finite() && gradients.iter().all(|gradient| gradient.is_finite());
        let steep = 1.0 / temperature > 1e25;
        assert!(finite || steep, "{loss}, {gradients:?}: {}", context());
        // DCL leaves the positive out of its sum, so it has no least value.
        let least = if matches!(objective, Objective::Dcl) {
            f32::MIN
        } else {
            0.0
        };
        assert!(loss >= least, "a loss of {loss}: {}", context());
    }
}

fn same(a: f32, b: f32) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

fn outcome(
    objective: Objective,
    temperature: f64,
    documents: &[Document],
    columns: usize,
) -> Outcome {
    let device = Device::flex().autodiff();
    let shape = [documents.len() / columns, columns];
    let scores = documents.iter().map(|document| document.score).collect();
    let scores = TensorData::new::<f32, _>(scores, shape);
    let scores = Tensor::<2>::from_data(scores, &device).require_grad();
    let mask = |of: fn(&Document) -> bool| {
        let mask = documents.iter().map(of).collect();
        Tensor::from_data(TensorData::new::<bool, _>(mask, shape), &device)
    };
    let targets = Targets::new(mask(|document| document.positive))
        .with_candidates(mask(|document| document.candidate));
    let losses = losses(objective, temperature, scores.clone(), targets);
    let gradients = losses.clone().sum().backward();
    let gradients = scores.grad(&gradients).expect("the gradient of a leaf");
    let numbers = |data: TensorData| data.try_into_vec::<f32>().expect("numbers of f32");
    Outcome {
        losses: numbers(losses.into_data()),
        gradients: numbers(gradients.into_data()),
    }
}

fn losses(
    objective: Objective,
    temperature: f64,
    scores: Tensor<2>,
    targets: Targets,
) -> Tensor<1> {
    match objective {
        Objective::LsePair { options } => LsePairLossConfig::new()
            .with_temperature(temperature)
            .with_margin([0.0, 0.3 * temperature][usize::from(options & 1)])
            .with_normalize_by_positives(options & 2 != 0)
            .with_positives(match options >> 2 & 3 {
                0 | 1 => PositiveSelection::All,
                2 => PositiveSelection::Weakest,
                _ => PositiveSelection::Strongest,
            })
            .with_negatives(match options & 16 {
                0 => NegativeSelection::All,
                _ => NegativeSelection::Hardest,
            })
            .init()
            .forward_no_reduction(scores, targets),
        Objective::JointLh { normalize } => JointLhLossConfig::new()
            .with_temperature(temperature)
            .with_normalize_by_positives(normalize)
            .init()
            .forward_no_reduction(scores, targets),
        Objective::SumMargLh => SumMargLhLossConfig::new()
            .with_temperature(temperature)
            .init()
            .forward_no_reduction(scores, targets),
        Objective::Expected { normalize } => ExpectedRand1LhLossConfig::new()
            .with_temperature(temperature)
            .with_normalize_by_positives(normalize)
            .init()
            .forward_no_reduction(scores, targets),
        Objective::PowerMean { exponent } => PowerMeanLossConfig::new()
            .with_temperature(temperature)
            .with_exponent(f64::from(exponent) / 16.0)
            .with_normalized(exponent == 0)
            .init()
            .forward_no_reduction(scores, targets),
        Objective::Dcl => DclLossConfig::new()
            .with_temperature(temperature)
            .init()
            .forward_no_reduction(scores, targets),
    }
}
