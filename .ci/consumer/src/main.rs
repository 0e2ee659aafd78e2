//! All of the public contract, used as a user would.

use burn::{
    nn::loss::Reduction,
    tensor::{Bool, Device, Int, Tensor},
};
use burn_multi_positive::{
    Bidirectional, Embeddings, FalseNegatives, Forward, JointLhLossConfig, LsePairLossConfig,
    Matryoshka, NegativeSelection, Objective, PositiveSelection, PositiveThreshold,
    Rand1LhLossConfig, Scores, Shards, SumMargLhLossConfig, Targets, TargetsError,
    statistics::{Request, Statistic, Statistics},
};

/// An objective of a user's own.
struct Hinge;

impl Objective for Hinge {
    fn request(&self) -> Request {
        Request::new(
            0.1,
            &[Statistic::WeakestPositive, Statistic::HardestNegative],
        )
    }

    fn losses(&self, statistics: &Statistics) -> Tensor<1> {
        let hardest = statistics.get(Statistic::HardestNegative);
        let gap = hardest - statistics.get(Statistic::WeakestPositive);
        (gap + 1.0).clamp_min(0.0) * statistics.negative_counts().clamp_max(1.0)
    }
}

fn main() -> Result<(), TargetsError> {
    let device = Device::default().autodiff();
    let scores = Tensor::<2>::from_floats([[0.9, 0.1, 0.4], [0.2, 0.8, 0.3]], &device);
    let scores = scores.require_grad();
    let mask = Tensor::<2, Bool>::from_bool([[true, false, true], [false, true, false]], &device);
    let chosen = Tensor::<1, Int>::from_ints([2, 1], &device);
    let labels = |labels: &[i32]| Tensor::<1, Int>::from_ints(labels, &device);

    let lse_pair = LsePairLossConfig::new()
        .with_temperature(0.1)
        .with_margin(0.05)
        .with_positives(PositiveSelection::Weakest)
        .with_negatives(NegativeSelection::Hardest)
        .with_normalize_by_positives(true)
        .init();
    let joint = JointLhLossConfig::new().with_normalize_by_positives(true);
    let joint = joint.with_temperature(0.1).init();
    let sum_marg = SumMargLhLossConfig::new().with_temperature(0.1).init();
    let rand1 = Rand1LhLossConfig::new().with_temperature(0.1).init();

    let by_id = Targets::from_ids(&[vec!["a", "b"], vec!["c"]], &["a", "c", "b"], &device)?;
    let by_group = Targets::from_groups(&[1, 2], 2, &device)?;
    let by_label = Targets::from_labels(labels(&[1, 2]), labels(&[1, 2, 1]));
    assert_eq!(by_group.positives().dims(), [2, 4]);
    let embeddings = scores.clone().slice([0..2, 0..3]);
    let diagonal = Tensor::<2, Bool>::diag_mask([2, 2], 0, &device).bool_not();

    let losses = [
        lse_pair.forward(scores.clone(), mask.clone()),
        joint.forward(scores.clone(), by_id.clone().with_candidates(mask.clone())),
        sum_marg.forward(scores.clone().transpose(), by_label.transpose()),
        rand1.forward(scores.clone(), by_id.clone()),
        rand1.forward_chosen(scores.clone(), by_id.clone(), chosen),
        lse_pair.forward_with_reduction(scores.clone(), by_id.clone(), Reduction::Sum),
        lse_pair.forward_no_reduction(scores.clone(), by_id).sum(),
        joint.forward_embeddings(embeddings.clone(), embeddings.clone(), diagonal.clone()),
        Hinge.forward(scores.clone(), mask.clone()),
    ];
    // Tile, shards, chosen positives, weights and reductions combine freely, for every objective.
    let objectives: Vec<Box<dyn Objective>> = vec![
        Box::new(lse_pair),
        Box::new(joint),
        Box::new(sum_marg),
        Box::new(rand1),
        Box::new(Hinge),
    ];
    let targets = Targets::new(diagonal)
        .with_chosen(labels(&[0, 1]))
        .with_weights(Tensor::from_floats([[1.0, 0.5], [2.0, 1.5]], &device))
        .with_query_weights(Tensor::from_floats([1.0, 3.0], &device));
    let rule = FalseNegatives::new(PositiveThreshold::Weakest).with_margin(0.1);
    let both = || Embeddings::new(embeddings.clone(), embeddings.clone());
    let guided = Targets::from_ids(&[vec!["a"], vec!["b", "c"]], &["a", "b"], &device)?
        .with_query_ids(&["q1", "q2"])
        .without_false_negatives(both(), rule);
    let bidirectional = Bidirectional::new(&*objectives[0]).with_weights([0.7, 0.3]);
    let nested = Matryoshka::new(bidirectional.with_same_side(true), &[3, 2]);
    let nested = nested.with_weights(&[1.0, 0.5]).forward(both(), guided);
    assert_eq!(nested.dims(), [1]);
    let [queries, documents] = [embeddings.clone(), embeddings].map(|x| vec![x]);
    let given: [Scores; 3] = [
        queries[0]
            .clone()
            .matmul(documents[0].clone().transpose())
            .into(),
        Embeddings::new(queries[0].clone(), documents[0].clone())
            .with_tile(1)
            .into(),
        Shards::new(queries, documents).with_tile([1, 2]).into(),
    ];
    for objective in &objectives {
        let sums = given.clone().map(|scores| {
            let sum = objective.forward_with_reduction(scores, targets.clone(), Reduction::Sum);
            sum.into_scalar::<f32>()
        });
        assert!((sums[0] - sums[1]).abs() < 1e-4 && (sums[0] - sums[2]).abs() < 1e-4);
    }

    let loss = Tensor::cat(losses.to_vec(), 0).sum();
    let gradient = scores.grad(&loss.backward()).expect("scores require it");
    assert_eq!(gradient.dims(), [2, 3]);
    println!("loss {:.4}\n{gradient}", loss.into_scalar::<f32>());
    Ok(())
}
