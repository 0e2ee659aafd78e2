//! What every objective has: means, sums and losses of scores, whatever these come from.

use std::ops::Range;

use burn::{
    nn::loss::Reduction,
    tensor::{Device, Tensor},
};

use super::{Objective, nest::Nest};
use crate::{Embeddings, Scores, Targets, reduction::reduce, scores::Part, statistics::Statistics};

/// The methods that compute a loss from a matrix of scores, [`Embeddings`] or
/// [`Shards`](crate::Shards).
///
/// Every [`Objective`] implements this trait. [`Bidirectional`](crate::Bidirectional) and
/// [`Matryoshka`](crate::Matryoshka), which are made of other losses, implement it as well.
pub trait Forward {
    /// The mean loss of the queries that have a positive, shape `[1]`.
    ///
    /// # Shapes
    ///
    /// - `scores`: `[queries, documents]`
    /// - `targets`: `[queries, documents]`
    /// - output: `[1]`, in f32, or in f64 for scores in f64
    ///
    /// # Panics
    ///
    /// If the targets have another shape or device than the scores, or if shards differ from
    /// each other in dimensions or type. The targets of shards may be on any device.
    fn forward(&self, scores: impl Into<Scores>, targets: impl Into<Targets>) -> Tensor<1> {
        self.forward_with_reduction(scores, targets, Reduction::Mean)
    }

    /// The losses of the queries, reduced to shape `[1]`.
    ///
    /// - `Mean` and `Auto` divide the sum of the losses by the number of queries that have a
    ///   positive. The result is 0 if no query has one.
    /// - `BatchMean` divides the sum by the number of all queries.
    /// - `Sum` is the sum itself.
    ///
    /// With [`Targets::with_query_weights`] every loss is multiplied by the weight of its
    /// query. `Mean` and `Auto` then divide by the sum of the weights of the queries that have
    /// a positive.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward`](Forward::forward).
    fn forward_with_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1>;

    /// The loss of every query, `[queries]`. A query without a positive has loss 0.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward`](Forward::forward), except for the shape of the output.
    fn forward_no_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
    ) -> Tensor<1>;

    /// The mean loss from embeddings, whose dot products are the scores. It is short for
    /// [`forward`](Forward::forward) with [`Embeddings`].
    ///
    /// # Shapes
    ///
    /// - `queries`: `[queries, dimensions]`
    /// - `documents`: `[documents, dimensions]`
    /// - `targets`: `[queries, documents]`
    /// - output: `[1]`, in f32, or in f64 for embeddings in f64
    ///
    /// # Panics
    ///
    /// As [`Embeddings::new`] and [`forward`](Forward::forward).
    fn forward_embeddings(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        self.forward(Embeddings::new(queries, documents), targets)
    }

    /// The sum over nested dimensions, reduced or not; an objective shares what it can.
    #[doc(hidden)]
    fn forward_nested(
        &self,
        scores: Scores,
        targets: Targets,
        nest: &Nest,
        reduction: Option<Reduction>,
    ) -> Tensor<1> {
        let of_size = |&size: &usize| {
            let leading = scores.clone().leading(size, nest.normalize);
            let targets = targets.clone();
            match reduction.clone() {
                Some(reduction) => self.forward_with_reduction(leading, targets, reduction),
                None => self.forward_no_reduction(leading, targets),
            }
        };
        nest.sum(nest.sizes.iter().map(of_size))
    }
}

impl<O: Objective + ?Sized> Forward for O {
    fn forward_with_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let (scores, targets) = (scores.into(), targets.into());
        scores.assert_fit(&targets);
        let query_weights = targets.query_weights();
        // Before the batch is parted: a draw is that of the whole batch.
        let targets = self.choose_positives(targets);
        losses(self, scores, targets).reduce(query_weights, &reduction)
    }

    fn forward_no_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        let (scores, targets) = (scores.into(), targets.into());
        scores.assert_fit(&targets);
        losses(self, scores, self.choose_positives(targets)).each
    }

    fn forward_nested(
        &self,
        scores: Scores,
        targets: Targets,
        nest: &Nest,
        reduction: Option<Reduction>,
    ) -> Tensor<1> {
        scores.assert_fit(&targets);
        let query_weights = targets.query_weights();
        // One draw for all sizes.
        let targets = self.choose_positives(targets);
        let losses: Vec<Losses> = match scores.unscaled_embeddings() {
            Some(embeddings) => {
                embeddings.assert_have(nest.largest());
                let request = self.request();
                let (sizes, normalize) = (&nest.sizes, nest.normalize);
                let statistics = Statistics::nested_from_embeddings(
                    embeddings, &targets, request, sizes, normalize,
                );
                let losses = statistics.iter().map(|each| Losses::of(self, each));
                losses.collect()
            }
            None => {
                let leading = |&size: &usize| scores.clone().leading(size, nest.normalize);
                let sizes = nest.sizes.iter().map(leading);
                sizes
                    .map(|scores| losses(self, scores, targets.clone()))
                    .collect()
            }
        };
        nest.sum(losses.into_iter().map(|losses| match &reduction {
            Some(reduction) => losses.reduce(query_weights.clone(), reduction),
            None => losses.each,
        }))
    }
}

/// The methods of [`Forward`] as methods of `dyn Objective`, so that the trait need not be
/// imported.
impl dyn Objective + '_ {
    /// The mean loss of the queries that have a positive, see [`Forward::forward`].
    pub fn forward(&self, scores: impl Into<Scores>, targets: impl Into<Targets>) -> Tensor<1> {
        Forward::forward(self, scores, targets)
    }

    /// The losses of the queries, reduced to shape `[1]`, see
    /// [`Forward::forward_with_reduction`].
    pub fn forward_with_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
        reduction: Reduction,
    ) -> Tensor<1> {
        Forward::forward_with_reduction(self, scores, targets, reduction)
    }

    /// The loss of every query, `[queries]`, see [`Forward::forward_no_reduction`].
    pub fn forward_no_reduction(
        &self,
        scores: impl Into<Scores>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        Forward::forward_no_reduction(self, scores, targets)
    }

    /// The mean loss from embeddings, see [`Forward::forward_embeddings`].
    pub fn forward_embeddings(
        &self,
        queries: Tensor<2>,
        documents: Tensor<2>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        Forward::forward_embeddings(self, queries, documents, targets)
    }
}

/// The losses of queries and how many positives each has, both `[queries]`.
pub(super) struct Losses {
    pub each: Tensor<1>,
    positive_counts: Tensor<1>,
}

impl Losses {
    pub fn of<O: Objective + ?Sized>(objective: &O, statistics: &Statistics) -> Self {
        Self {
            each: objective.losses(statistics),
            positive_counts: statistics.positive_counts(),
        }
    }

    pub fn on(self, device: &Device) -> Self {
        Self {
            each: self.each.to_device(device),
            positive_counts: self.positive_counts.to_device(device),
        }
    }

    /// Those of some of the queries.
    pub fn part(&self, rows: Range<usize>) -> Self {
        Self {
            each: self.each.clone().slice([rows.clone()]),
            positive_counts: self.positive_counts.clone().slice([rows]),
        }
    }

    pub fn reduce(self, query_weights: Option<Tensor<1>>, reduction: &Reduction) -> Tensor<1> {
        reduce(self.each, self.positive_counts, query_weights, reduction)
    }
}

/// The losses of the queries over the positives that were chosen, on the device of the scores.
pub(super) fn losses<O: Objective + ?Sized>(
    objective: &O,
    scores: Scores,
    targets: Targets,
) -> Losses {
    let [queries, _] = targets.dims();
    let home = scores.device();
    let mut losses = Vec::new();
    let mut counts = Vec::new();
    for (part, rows) in scores.into_parts() {
        let targets = match rows.len() == queries {
            true => targets.clone(),
            false => targets.queries(rows),
        };
        let targets = targets.to_device(&part.device());
        let request = objective.request();
        let statistics = match part {
            Part::Matrix(scores) => Statistics::new(scores, &targets, request),
            Part::Embeddings(embeddings) => {
                Statistics::from_embeddings(embeddings, &targets, request)
            }
        };
        let of_part = Losses::of(objective, &statistics).on(&home);
        losses.push(of_part.each);
        counts.push(of_part.positive_counts);
    }
    Losses {
        each: together(losses),
        positive_counts: together(counts),
    }
}

fn together(mut parts: Vec<Tensor<1>>) -> Tensor<1> {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

/// The methods of [`Forward`] as methods of the type, so that users need not import the trait.
macro_rules! inherent_forward {
    ($loss:ident) => {
        impl $loss {
            #[doc = concat!("The mean loss of the queries that have a positive, see [`", stringify!($loss), "`].")]
            ///
            /// # Shapes
            ///
            /// - `scores`: `[queries, documents]`, a matrix, [`Embeddings`](crate::Embeddings) or
            ///   [`Shards`](crate::Shards)
            /// - `targets`: `[queries, documents]`, a mask of the positives or
            ///   [`Targets`](crate::Targets)
            /// - output: `[1]`, in f32, or in f64 for scores in f64
            ///
            /// # Panics
            ///
            /// If the targets have another shape or device than the scores, or if shards
            /// differ from each other in dimensions or type. The targets of shards may be on
            /// any device.
            ///
            /// # Example
            ///
            /// ```
            /// use burn::tensor::{Device, Tensor};
            #[doc = concat!("use burn_multi_positive::", stringify!($loss), "Config;")]
            ///
            /// let device = Device::default().autodiff();
            /// let scores = Tensor::<2>::from_floats([[3.0, 1.0, 2.0]], &device).require_grad();
            /// let positives = Tensor::from_bool([[true, true, false]], &device);
            ///
            #[doc = concat!("let loss = ", stringify!($loss), "Config::new().init().forward(scores.clone(), positives);")]
            /// let gradients = loss.backward();
            /// assert_eq!(scores.grad(&gradients).unwrap().dims(), [1, 3]);
            /// ```
            pub fn forward(
                &self,
                scores: impl Into<crate::Scores>,
                targets: impl Into<crate::Targets>,
            ) -> burn::tensor::Tensor<1> {
                crate::Forward::forward(self, scores, targets)
            }

            /// The losses of the queries, reduced to shape `[1]`.
            ///
            /// - `Mean` and `Auto` divide the sum of the losses by the number of queries that
            ///   have a positive. The result is 0 if no query has one.
            /// - `BatchMean` divides the sum by the number of all queries.
            /// - `Sum` is the sum itself.
            ///
            /// [`Targets::with_query_weights`](crate::Targets::with_query_weights) weights the
            /// queries.
            ///
            /// Shapes and panics are those of [`forward`](Self::forward).
            pub fn forward_with_reduction(
                &self,
                scores: impl Into<crate::Scores>,
                targets: impl Into<crate::Targets>,
                reduction: burn::nn::loss::Reduction,
            ) -> burn::tensor::Tensor<1> {
                crate::Forward::forward_with_reduction(self, scores, targets, reduction)
            }

            /// The loss of every query, `[queries]`. A query without a positive has loss 0.
            ///
            /// Shapes and panics are those of [`forward`](Self::forward), except for the
            /// output.
            pub fn forward_no_reduction(
                &self,
                scores: impl Into<crate::Scores>,
                targets: impl Into<crate::Targets>,
            ) -> burn::tensor::Tensor<1> {
                crate::Forward::forward_no_reduction(self, scores, targets)
            }

            /// The mean loss from embeddings, whose dot products are the scores. It is short
            /// for [`forward`](Self::forward) with [`Embeddings`](crate::Embeddings).
            ///
            /// # Shapes
            ///
            /// - `queries`: `[queries, dimensions]`
            /// - `documents`: `[documents, dimensions]`
            /// - `targets`: `[queries, documents]`
            /// - output: `[1]`, in f32, or in f64 for embeddings in f64
            ///
            /// # Panics
            ///
            /// If the embeddings differ in dimensions, type or device, or if the targets have
            /// another shape or device than the scores of these embeddings.
            ///
            /// # Example
            ///
            /// ```
            /// use burn::tensor::{Device, Distribution, Tensor};
            #[doc = concat!("use burn_multi_positive::{", stringify!($loss), "Config, Targets};")]
            ///
            /// let device = Device::default().autodiff();
            /// // Two documents for each query, positives first.
            /// let targets = Targets::from_groups(&[1, 2, 1], 2, &device)?;
            /// let normal = Distribution::Normal(0.0, 1.0);
            /// let queries = Tensor::<2>::random([3, 16], normal, &device).require_grad();
            /// let documents = Tensor::<2>::random([6, 16], normal, &device).require_grad();
            ///
            #[doc = concat!("let loss_fn = ", stringify!($loss), "Config::new().init();")]
            /// let loss = loss_fn.forward_embeddings(queries.clone(), documents.clone(), targets);
            /// let gradients = loss.backward();
            /// assert_eq!(queries.grad(&gradients).unwrap().dims(), [3, 16]);
            /// assert_eq!(documents.grad(&gradients).unwrap().dims(), [6, 16]);
            /// # Ok::<(), burn_multi_positive::TargetsError>(())
            /// ```
            pub fn forward_embeddings(
                &self,
                queries: burn::tensor::Tensor<2>,
                documents: burn::tensor::Tensor<2>,
                targets: impl Into<crate::Targets>,
            ) -> burn::tensor::Tensor<1> {
                crate::Forward::forward_embeddings(self, queries, documents, targets)
            }
        }
    };
}
pub(super) use inherent_forward;
