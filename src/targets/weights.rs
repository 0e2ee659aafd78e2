//! How much pairs and queries count.

use burn::tensor::{DType, Tensor, assert_shape};

use super::{Relevance, Targets, assert_device};

impl Targets {
    /// Sets the weight of every pair of a query and a document, such as a graded judgement,
    /// the confidence of an annotator, or the hardness of a negative.
    ///
    /// A weight of 0 ignores the pair. A weight of 1 is the same as no weight. A weight of 2
    /// is the same as having the document twice. The weights of one query may differ by a
    /// factor of up to 1e25, and may be as large as 1e30. With the weights `w`,
    /// `s = score / temperature` and the sum `W` of `w` over the positives, the losses are:
    ///
    /// ```text
    /// SumMargLH   softplus(lse_N(s + log w) - lse_P(s + log w))
    /// LSEPair     log(1 + sum_p sum_n w_p w_n exp(s_n - s_p))
    /// JointLH     sum_p w_p log((sum_P exp(s) + sum_N w_n exp(s)) / exp(s_p))
    /// Rand1LH     the positive is drawn with probability w_p / W
    /// ```
    ///
    /// `normalize_by_positives` divides by `W`, and a query is active if `W > 0`. A selection,
    /// such as that of the weakest positive, compares scores, among the documents whose weight
    /// is above 0. The selected document counts once. If this is called twice, the weights are
    /// multiplied.
    ///
    /// Weights are constants: no gradient reaches them. To learn the weights of negatives, add
    /// `temperature * log(weight)` to their scores instead, which gives the same loss.
    ///
    /// Weights must be finite and not negative. They are not read back from the device to
    /// check this: if a sum or a draw includes a weight that is NaN or negative, the loss of
    /// its query is NaN.
    ///
    /// # Shapes
    ///
    /// - `weights`: `[queries, documents]`, kept in f32, or in f64 if they are given in f64
    ///
    /// # Panics
    ///
    /// If the shape or the device of `weights` differs from that of the targets.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::{LsePairLossConfig, Targets};
    ///
    /// let device = Device::default();
    /// let scores = Tensor::<2>::from_floats([[1.0, 1.0, 1.0, 1.0]], &device);
    /// let positives = Tensor::from_bool([[true, true, false, false]], &device);
    /// // The first document is twice as relevant, the last is ignored.
    /// let weights = Tensor::from_floats([[2.0, 1.0, 1.0, 0.0]], &device);
    /// let targets = Targets::new(positives).with_weights(weights);
    ///
    /// let loss = LsePairLossConfig::new().init().forward(scores, targets);
    /// assert!((loss.into_scalar::<f32>() - 4f32.ln()).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn with_weights(mut self, weights: Tensor<2>) -> Self {
        let [queries, documents] = self.dims();
        assert_shape!(weights, [queries, documents]);
        assert_device("weights", &weights.device(), &self.device());
        let weights = constant(weights);
        self.weights = Some(match self.weights {
            Some(already) => product(already, weights),
            None => weights,
        });
        self
    }

    /// Sets the weight `v_q` of every query. The mean of the losses `l_q` is then
    /// `sum v_q l_q / sum v_q` over the queries that have a positive. The other reductions use
    /// `v_q l_q` instead of `l_q`. `forward_no_reduction` is not affected.
    ///
    /// A query of weight 0 is left out, whatever its loss. Its gradient is 0 unless its loss
    /// is NaN. If all queries are left out, the mean is 0. If this is called twice, the
    /// weights are multiplied.
    ///
    /// Weights are constants: no gradient reaches them. To learn weights, multiply the losses
    /// of `forward_no_reduction` by them.
    ///
    /// Weights must be finite and not negative. They are not read back from the device to
    /// check this: a NaN makes the mean NaN.
    ///
    /// # Shapes
    ///
    /// - `weights`: `[queries]`
    ///
    /// # Panics
    ///
    /// If there are not as many weights as queries, or if they are on another device than the
    /// targets.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::{LsePairLossConfig, Targets};
    ///
    /// let device = Device::default();
    /// let scores = Tensor::<2>::from_floats([[1.0, 1.0], [5.0, 1.0]], &device);
    /// let positives = Tensor::from_bool([[true, false], [true, false]], &device);
    /// let weights = Tensor::from_floats([1.0, 0.0], &device);
    /// let targets = Targets::new(positives).with_query_weights(weights);
    ///
    /// let loss = LsePairLossConfig::new().init().forward(scores, targets);
    /// assert!((loss.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn with_query_weights(mut self, weights: Tensor<1>) -> Self {
        let [queries, _] = self.dims();
        let query_weights = weights;
        assert_shape!(query_weights, [queries]);
        assert_device("query_weights", &query_weights.device(), &self.device());
        let weights = constant(query_weights);
        self.query_weights = Some(match self.query_weights {
            Some(already) => product(already, weights),
            None => weights,
        });
        self
    }

    /// The weight of every pair, if any was given.
    pub(crate) fn weights(&self) -> Option<Tensor<2>> {
        let listed = match &self.relevance {
            Relevance::Lists(lists) => lists.weight_matrix(),
            _ => None,
        };
        match (self.weights.clone(), listed) {
            (Some(given), Some(listed)) => Some(product(given, listed)),
            (given, listed) => given.or(listed),
        }
    }

    /// The weights that [`with_weights`](Targets::with_weights) left, if it was called.
    #[cfg(any(feature = "cpu", feature = "cubecl", feature = "remote"))]
    pub(crate) fn given_weights(&self) -> Option<Tensor<2>> {
        self.weights.clone()
    }

    pub(crate) fn without_query_weights(self) -> Self {
        Self {
            query_weights: None,
            ..self
        }
    }

    /// The weight of every query, if any was given.
    pub(crate) fn query_weights(&self) -> Option<Tensor<1>> {
        self.query_weights.clone()
    }
}

/// Without autodiff, and in no less than f32.
pub(crate) fn constant<const D: usize>(weights: Tensor<D>) -> Tensor<D> {
    let weights = weights.without_autodiff();
    match weights.dtype() {
        DType::F64 | DType::F32 => weights,
        _ => weights.cast(DType::F32),
    }
}

/// In the wider of their types.
fn product<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let dtype = match [a.dtype(), b.dtype()].contains(&DType::F64) {
        true => DType::F64,
        false => DType::F32,
    };
    a.cast(dtype).mul(b.cast(dtype))
}
