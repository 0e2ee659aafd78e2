//! A teacher's scores as graded relevance.

use burn::tensor::{DType, Device, Tensor};

use super::{Targets, TargetsError, weights::constant};

/// The least weight of a document that the teacher scored: one of 0 would be ignored.
const LEAST: f64 = 1e-25;

impl Targets {
    /// Targets graded by a teacher, such as a cross-encoder. Every document is a positive. Its
    /// [weight](Self::with_weights) is its likelihood by the teacher's scores `t`:
    ///
    /// ```text
    /// w_d = e^{t_d / temperature} / sum e^{t / temperature}
    /// ```
    ///
    /// With these targets [`JointLhLoss`](crate::JointLhLoss) with `normalize_by_positives` is
    /// the listwise distillation loss: the cross-entropy `-sum_d w_d log softmax(s)_d` of
    /// ListNet. It is the Kullback-Leibler divergence between teacher and student plus the
    /// entropy of the teacher, which is a constant. Some implementations multiply this loss by
    /// the square of the student's temperature. Do so yourself to get the same loss. Other
    /// objectives have no negatives with these targets.
    ///
    /// A document with the teacher's score `-inf` is ignored. Use this score for documents
    /// that the teacher did not score. With [`with_candidates`](Self::with_candidates) the
    /// likelihoods are those among the candidates. The teacher's scores are constants: no
    /// gradient reaches them. A NaN makes the loss of its query NaN.
    ///
    /// # Shapes
    ///
    /// - `teacher`: `[queries, documents]`
    ///
    /// # Panics
    ///
    /// If the temperature is not positive and finite.
    ///
    /// # Source
    ///
    /// "Learning to Rank: From Pairwise Approach to Listwise Approach" (ListNet, ICML 2007).
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::{JointLhLossConfig, Targets};
    ///
    /// let device = Device::default();
    /// let teacher = Tensor::<2>::from_floats([[5.0, 3.0, 0.0]], &device);
    /// let targets = Targets::from_teacher(teacher, 2.0);
    ///
    /// let loss_fn = JointLhLossConfig::new().with_normalize_by_positives(true).init();
    /// let scores = Tensor::<2>::from_floats([[0.2, 0.2, 0.2]], &device);
    /// let loss = loss_fn.forward(scores, targets);
    /// assert!((loss.into_scalar::<f32>() - 3f32.ln()).abs() < 1e-6);
    /// ```
    #[doc(alias = "distillation")]
    #[doc(alias = "ListNet")]
    #[doc(alias = "KL")]
    pub fn from_teacher(teacher: Tensor<2>, temperature: f64) -> Self {
        assert_temperature("from_teacher", temperature);
        let teacher = constant(teacher);
        if teacher.dims().contains(&0) {
            // Nothing has no largest score, and nothing expands to nothing.
            return Self::new(teacher.clone().is_nan()).with_weights(teacher);
        }
        let lowest = match teacher.dtype() {
            DType::F64 => f64::MIN,
            _ => f64::from(f32::MIN),
        };
        let unscored = teacher.clone().lower_scalar(lowest);
        let unknown = teacher.clone().is_nan().any_dim(1).expand(teacher.dims());
        let teacher = teacher.mask_fill(unscored.clone(), lowest);
        let below = teacher.clone().sub(teacher.max_dim(1));
        let likelihoods = below.mul_scalar(1.0 / temperature).exp();
        let sums = likelihoods.clone().sum_dim(1);
        // Some devices take NaN for small.
        let weights = likelihoods
            .div(sums)
            .clamp_min(LEAST)
            .mask_fill(unknown, f64::NAN);
        let weights = weights.mask_fill(unscored.clone(), 0.0);
        let all = unscored.clone().bool_or(unscored.bool_not());
        Self::new(all).with_weights(weights)
    }

    /// Targets graded by a teacher that scored only the documents of each query's own group.
    /// Otherwise they are as those of [`from_teacher`](Self::from_teacher). Query `q` brings
    /// `group_size` documents, from column `q * group_size` on. `teacher[q]` has the scores of
    /// the first of them.
    ///
    /// All documents without a score are negatives: the rest of the group, and the groups of
    /// other queries. A document with the score `-inf` is ignored. The targets are kept as
    /// lists.
    ///
    /// # Errors
    ///
    /// As [`from_groups`](Self::from_groups), where the scores of a query are counted as its
    /// positives. A score that is NaN or plus infinity is an error, too.
    ///
    /// # Panics
    ///
    /// If the temperature is not positive and finite.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::{JointLhLossConfig, Targets};
    ///
    /// let device = Device::default();
    /// // Groups of two; the second document of the second query is a negative.
    /// let teacher = [vec![5.0, 3.0], vec![4.0]];
    /// let targets = Targets::from_teacher_groups(&teacher, 2, 2.0, &device)?;
    ///
    /// let loss_fn = JointLhLossConfig::new().with_normalize_by_positives(true).init();
    /// let scores = Tensor::<2>::zeros([2, 4], &device);
    /// let loss = loss_fn.forward(scores, targets);
    /// assert!((loss.into_scalar::<f32>() - 4f32.ln()).abs() < 1e-6);
    /// # Ok::<(), burn_multi_positive::TargetsError>(())
    /// ```
    pub fn from_teacher_groups(
        teacher: &[Vec<f32>],
        group_size: usize,
        temperature: f64,
        device: &Device,
    ) -> Result<Self, TargetsError> {
        assert_temperature("from_teacher_groups", temperature);
        let likelihoods = teacher
            .iter()
            .enumerate()
            .map(|(query, scores)| likelihoods(query, scores, temperature));
        let weights = likelihoods.collect::<Result<Vec<_>, _>>()?;
        Self::from_weighted_groups(&weights, group_size, device)
    }
}

fn assert_temperature(who: &str, temperature: f64) {
    assert!(
        temperature > 0.0 && temperature.is_finite(),
        "{who}: expected a positive, finite temperature, got {temperature}"
    );
}

/// The likelihoods of the documents of a query, 0 where there is no score.
fn likelihoods(query: usize, scores: &[f32], temperature: f64) -> Result<Vec<f32>, TargetsError> {
    let wrong = scores
        .iter()
        .position(|score| score.is_nan() || *score == f32::INFINITY);
    if let Some(entry) = wrong {
        return Err(TargetsError::TeacherScore {
            query,
            entry,
            score: scores[entry],
        });
    }
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |&score: &f32| ((f64::from(score) - f64::from(max)) / temperature).exp();
    let sum: f64 = match max == f32::NEG_INFINITY {
        true => 1.0,
        false => scores.iter().map(exp).sum(),
    };
    let likelihood = |score: &f32| match *score == f32::NEG_INFINITY {
        true => 0.0,
        false => (exp(score) / sum).max(LEAST) as f32,
    };
    Ok(scores.iter().map(likelihood).collect())
}
