//! What a loss pulls up while it trains: wrong labels, right ones that still lie below a
//! negative, and right ones that are above all negatives.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Sums over the batches of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pulls {
    /// Labels that are not relevant.
    pub wrong: Pull,
    /// Relevant, and below a negative of the query.
    pub low: Pull,
    /// Relevant, and above all negatives of the query.
    pub high: Pull,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// How many there were, each as often as it was trained on.
    pub labels: f64,
    /// The sum of their gradients, where these pull up, as shares of the query's.
    pub share: f64,
}

/// What is known of the pairs of a batch, `[queries, documents]` row by row.
pub struct Roles<'a> {
    pub positives: &'a [Vec<usize>],
    /// For each positive, whether it is not relevant.
    pub wrong: &'a [Vec<bool>],
    pub candidates: &'a [bool],
    pub documents: usize,
}

impl Pulls {
    /// The names of the kinds, in the order of the [shares](Self::shares).
    pub const KINDS: [&str; 3] = [
        "wrong labels",
        "right labels below a negative",
        "right labels above all negatives",
    ];

    /// Adds a batch: `losses` makes the losses of the queries of their scores.
    pub fn add(
        &mut self,
        scores: Tensor<2>,
        roles: &Roles,
        losses: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) {
        let scores = scores.detach().require_grad();
        let gradients = losses(scores.clone()).sum().backward();
        let gradient = scores.grad(&gradients).expect("losses of the scores");
        let [scores, gradient]: [Vec<f64>; 2] =
            [scores, gradient].map(|x| x.into_data().iter().collect());
        for (query, (positives, wrong)) in roles.positives.iter().zip(roles.wrong).enumerate() {
            let row = query * roles.documents..(query + 1) * roles.documents;
            self.add_query(
                &scores[row.clone()],
                &gradient[row.clone()],
                &roles.candidates[row],
                positives,
                wrong,
            );
        }
    }

    fn add_query(
        &mut self,
        scores: &[f64],
        gradient: &[f64],
        candidates: &[bool],
        positives: &[usize],
        wrong: &[bool],
    ) {
        let negatives = (0..scores.len()).filter(|d| candidates[*d] && !positives.contains(d));
        let hardest = negatives
            .map(|d| scores[d])
            .fold(f64::NEG_INFINITY, f64::max);
        let pull = |column: usize| (-gradient[column]).max(0.0);
        let all: f64 = positives.iter().map(|&column| pull(column)).sum();
        for (&column, &wrong) in positives.iter().zip(wrong) {
            let kind = match (wrong, scores[column] > hardest) {
                (true, _) => &mut self.wrong,
                (false, false) => &mut self.low,
                (false, true) => &mut self.high,
            };
            kind.labels += 1.0;
            if all > 0.0 {
                kind.share += pull(column) / all;
            }
        }
    }

    /// What each kind has of the labels and of the pull: wrong, low, high.
    pub fn shares(&self) -> [[f64; 2]; 3] {
        let kinds = [self.wrong, self.low, self.high];
        let labels: f64 = kinds.iter().map(|kind| kind.labels).sum();
        let pull: f64 = kinds.iter().map(|kind| kind.share).sum();
        kinds.map(|kind| [kind.labels / labels.max(1.0), kind.share / pull.max(1e-9)])
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use burn::tensor::Device;
    use burn_multi_positive::{JointLhLossConfig, LsePairLossConfig, SumMargLhLossConfig, Targets};

    use super::*;

    /// A right label above the negative, a right one below it, a wrong one far below.
    fn pulls(losses: impl FnOnce(Tensor<2>, Targets) -> Tensor<1>) -> [[f64; 2]; 3] {
        let device = Device::default().autodiff();
        let scores = Tensor::<2>::from_floats([[2.0, 0.5, -1.0, 1.0, 9.0]], &device);
        let positives = Tensor::from_bool([[true, true, true, false, false]], &device);
        let candidates = [true, true, true, true, false];
        let targets =
            Targets::new(positives).with_candidates(Tensor::from_bool([candidates], &device));
        let roles = Roles {
            positives: &[vec![0, 1, 2]],
            wrong: &[vec![false, false, true]],
            candidates: &candidates,
            documents: 5,
        };
        let mut pulls = Pulls::default();
        pulls.add(scores, &roles, |scores| losses(scores, targets));
        assert_eq!(
            [pulls.wrong, pulls.low, pulls.high].map(|kind| kind.labels),
            [1.0; 3]
        );
        pulls.shares()
    }

    #[test]
    fn pulls_are_shares_of_the_gradient_on_the_positives() {
        let lse_pair = pulls(|scores, targets| {
            LsePairLossConfig::new()
                .init()
                .forward_no_reduction(scores, targets)
        });
        let sum_marg = pulls(|scores, targets| {
            SumMargLhLossConfig::new()
                .init()
                .forward_no_reduction(scores, targets)
        });
        let weights = [1.0f64, -0.5, -2.0].map(f64::exp);
        let sum: f64 = weights.iter().sum();
        for (kind, weight) in lse_pair.iter().zip(weights) {
            assert_relative_eq!(kind[0], 1.0 / 3.0);
            assert_relative_eq!(kind[1], weight / sum, max_relative = 1e-5);
        }
        for (kind, weight) in sum_marg.iter().zip(weights.map(f64::recip)) {
            let sum: f64 = weights.iter().map(|weight| weight.recip()).sum();
            assert_relative_eq!(kind[1], weight / sum, max_relative = 1e-5);
        }
    }

    /// JointLH pushes the strongest down.
    #[test]
    fn what_is_pushed_down_has_no_part_in_the_pull() {
        let [wrong, low, high] = pulls(|scores, targets| {
            JointLhLossConfig::new()
                .init()
                .forward_no_reduction(scores, targets)
        });
        assert_eq!(high[1], 0.0);
        assert_relative_eq!(wrong[1] + low[1], 1.0, max_relative = 1e-6);
    }
}
