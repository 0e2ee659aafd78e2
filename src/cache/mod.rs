//! Batches whose activations do not fit: a gradient cache over encoders.

mod chunks;
mod error;

use std::{error::Error, ops::Range};

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{Device, Tensor},
};

use chunks::Chunks;
pub use error::{CacheError, Side};

/// A gradient cache: a training step that has the gradients of the whole batch and needs the
/// memory of one chunk (GradCache, [arXiv 2101.06983](https://arxiv.org/abs/2101.06983)).
///
/// ```text
/// 1. embed all chunks without a graph                  E
/// 2. loss of the whole batch, gradients of E and of the loss's own parameters
///                                                      G = d loss / d E
/// 3. embed chunk by chunk with a graph, add up         d sum(E_chunk * G_chunk) / d parameters
/// ```
///
/// The encoders run forward twice and backward once. Memory holds the embeddings and their
/// gradients, the gradients of the parameters, and the activations of one chunk.
///
/// An encoder is a closure from a model and a range of rows to the embeddings of these rows.
/// How the rows become tensors is up to the closure. It must use the model that it is given,
/// which has no graph in the first pass. `model` has everything that learns: separate towers
/// or a shared one, and parameters of the loss, such as a learnable scale. Put them together
/// in a struct or a tuple. The loss sees the embeddings of the whole batch once, so every
/// objective and every option works as it does without the cache.
///
/// An encoder whose embeddings have no autodiff runs once, and no gradient of these embeddings
/// is computed. Examples are a table of precomputed embeddings, and a frozen tower on a plain
/// device.
///
/// # Random numbers
///
/// Dropout must drop the same activations in both passes. Otherwise the gradients are those of
/// another model. So before each chunk all devices of the model are seeded (`Device::seed`)
/// with a number that is computed from the `seed`, the side and the place of the chunk. This
/// repeats the random numbers without reading anything back. It has these consequences:
///
/// - Give every step another `seed`, such as its number.
/// - No other thread may draw on the same backend during a step, because all threads of the
///   process share the generators of Burn's backends.
/// - After a step the generators are in the state that the last chunk left. So everything that
///   the program draws next depends on `seed`, and so does everything that the loss draws.
/// - An encoder that draws from other generators, or that counts its calls, is not repeated.
///   [`with_check`](GradientCache::with_check) refuses it.
///
/// Batch normalisation updates its running statistics in both passes. It normalises each chunk
/// by itself, so the gradients are those of an encoder that sees one chunk at a time.
///
/// # Example
///
/// ```
/// use burn::{
///     module::{Module, Param},
///     nn::{Linear, LinearConfig},
///     optim::AdamConfig,
///     tensor::{Device, Distribution, Tensor},
/// };
/// use burn_multi_positive::{GradientCache, LsePairLossConfig, Targets};
///
/// #[derive(Module, Debug)]
/// struct Model {
///     encoder: Linear,
///     log_scale: Param<Tensor<1>>,
/// }
///
/// let device = Device::default().autodiff();
/// let mut model = Model {
///     encoder: LinearConfig::new(8, 4).init(&device),
///     log_scale: Param::from_tensor(Tensor::from_floats([2.0], &device)),
/// };
/// let mut optimizer = AdamConfig::new().init();
/// let loss_fn = LsePairLossConfig::new().init();
/// // Texts, token ids, features: whatever your encoder starts from.
/// let queries = Tensor::<2>::random([6, 8], Distribution::Default, &device);
/// let documents = Tensor::<2>::random([12, 8], Distribution::Default, &device);
///
/// for step in 0..2 {
///     let targets = Targets::from_groups(&[1; 6], 2, &device)?;
///     let result = GradientCache::new(&model, [4, 5], step).step(
///         6,
///         |model, rows| Ok(model.encoder.forward(queries.clone().slice([rows]))),
///         12,
///         |model, rows| Ok(model.encoder.forward(documents.clone().slice([rows]))),
///         |queries, documents| {
///             let scale = model.log_scale.val().exp().unsqueeze_dim::<2>(0);
///             Ok(loss_fn.forward_embeddings(queries * scale, documents, targets))
///         },
///     )?;
///     println!("{}", result.loss);
///     model = optimizer.step(1e-3, model, result.gradients);
/// }
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[doc(alias = "GradCache")]
#[derive(Debug)]
pub struct GradientCache<'a, M> {
    model: &'a M,
    chunks: [usize; 2],
    seed: u64,
    check: bool,
}

/// The result of a step with a [`GradientCache`].
#[derive(Debug)]
#[non_exhaustive]
pub struct CachedStep {
    /// The loss of the batch, `[1]`, without autodiff.
    pub loss: Tensor<1>,
    /// The gradients of the model, for an optimizer of Burn.
    pub gradients: GradientsParams,
}

impl<'a, M: Module> GradientCache<'a, M> {
    /// A cache for the gradients of `model`. `chunks` are the numbers of queries and of
    /// documents in a chunk, at least 1 each. The last chunk of a side may be smaller. `seed`
    /// is the seed of the random numbers of the step.
    pub fn new(model: &'a M, chunks: [usize; 2], seed: u64) -> Self {
        Self {
            model,
            chunks,
            seed,
            check: false,
        }
    }

    /// Compares the embeddings of the two passes. A step in which they differ by more than 1 %
    /// of the chunk's largest entry is refused with [`CacheError::NotRepeatable`]. The
    /// comparison reads back from the device for every chunk, so it is meant for the first
    /// step of a program.
    #[must_use]
    pub fn with_check(self) -> Self {
        Self {
            check: true,
            ..self
        }
    }

    /// Computes the loss of a batch and its gradients. `queries` and `documents` are the
    /// numbers of rows of the two sides.
    ///
    /// No parameter is changed, so after an error neither the model nor the optimizer has
    /// learned anything. Other state does change, also after an error. Encoders may change
    /// state of their own, such as running statistics. Lazy parameters are initialized. The
    /// random generators have moved.
    ///
    /// # Shapes
    ///
    /// - `embed_queries`, `embed_documents`: from a range of rows to `[rows, dimensions]`
    /// - `loss`: from `[queries, dimensions]` and `[documents, dimensions]` to `[1]`
    ///
    /// # Errors
    ///
    /// - [`CacheError::EmptyChunk`] and [`CacheError::NoRows`] if a chunk or a side has 0
    ///   rows.
    /// - [`CacheError::Encoder`] and [`CacheError::Loss`] if an encoder or the loss fails.
    /// - [`CacheError::Rows`] if an encoder gives another number of embeddings than rows.
    /// - [`CacheError::Dimensions`] if embeddings of a side differ in dimensions.
    /// - [`CacheError::NotRepeatable`] if the second pass gives embeddings of another shape,
    ///   or [`with_check`](GradientCache::with_check) finds other embeddings.
    ///
    /// # Panics
    ///
    /// If the loss is not of shape `[1]`, or does not depend on anything that has gradients.
    pub fn step(
        &self,
        queries: usize,
        mut embed_queries: impl FnMut(
            &M,
            Range<usize>,
        ) -> Result<Tensor<2>, Box<dyn Error + Send + Sync>>,
        documents: usize,
        mut embed_documents: impl FnMut(
            &M,
            Range<usize>,
        ) -> Result<Tensor<2>, Box<dyn Error + Send + Sync>>,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Result<Tensor<1>, Box<dyn Error + Send + Sync>>,
    ) -> Result<CachedStep, CacheError> {
        let sides = [
            self.side(Side::Queries, queries, &mut embed_queries),
            self.side(Side::Documents, documents, &mut embed_documents),
        ];
        for side in &sides {
            side.assert_not_empty()?;
        }
        // Lazy parameters share their state with clones: `no_grad` would reach the model itself.
        self.model.visit(&mut Initialize);
        let devices = self.model.devices();
        // Not `valid`: dropout is to stay as it is, only the graph is to go.
        let without_graph = self.model.clone().no_grad();
        let [mut queries, mut documents] = sides;
        let embedded = [
            leaf(queries.embed_all(&without_graph, &devices)?),
            leaf(documents.embed_all(&without_graph, &devices)?),
        ];
        let [of_queries, of_documents] = embedded.clone();
        let loss = loss(of_queries, of_documents).map_err(|source| CacheError::Loss { source })?;
        assert!(
            loss.dims() == [1],
            "loss: expected shape [1], got {:?}",
            loss.dims()
        );
        assert!(
            loss.is_tracked(),
            "loss: expected one that depends on the embeddings or on parameters of the model, \
             got one without a gradient"
        );

        let mut gradients = loss.backward();
        let cached = embedded
            .each_ref()
            .map(|leaf| leaf.grad_remove(&mut gradients));
        let mut sum = GradientsAccumulator::new();
        sum.accumulate(
            self.model,
            GradientsParams::from_module(&mut gradients, self.model),
        );
        for ((side, first), cached) in [&mut queries, &mut documents]
            .into_iter()
            .zip(embedded)
            .zip(cached)
        {
            if let Some(cached) = cached {
                let first = first.without_autodiff();
                self.embed_again(side, &devices, first, cached, &mut sum)?;
            }
        }
        Ok(CachedStep {
            loss: loss.without_autodiff(),
            gradients: sum.grads(),
        })
    }

    fn side<'t>(
        &self,
        side: Side,
        rows: usize,
        encoder: &'t mut chunks::Encoder<'t, M>,
    ) -> Chunks<'t, M> {
        Chunks {
            side,
            rows,
            chunk: self.chunks[side as usize],
            seed: self.seed,
            encoder,
        }
    }

    /// The second pass over a side: adds up the gradients of the model, given the embeddings of the
    /// first pass and their gradients.
    fn embed_again(
        &self,
        side: &mut Chunks<'_, M>,
        devices: &[Device],
        first: Tensor<2>,
        cached: Tensor<2>,
        sum: &mut GradientsAccumulator<M>,
    ) -> Result<(), CacheError> {
        for rows in side.chunks() {
            let embeddings = side.embed(self.model, devices, rows.clone())?;
            let first = first.clone().slice([rows.clone()]);
            if first.dims() != embeddings.dims() || self.check && differ(first, &embeddings) {
                let side = side.side;
                return Err(CacheError::NotRepeatable { side, rows });
            }
            if !embeddings.is_tracked() {
                continue;
            }
            let cached = cached.clone().slice([rows]).to_device(&embeddings.device());
            let mut gradients = (embeddings * cached).sum().backward();
            sum.accumulate(
                self.model,
                GradientsParams::from_module(&mut gradients, self.model),
            );
        }
        Ok(())
    }
}

struct Initialize;

impl ModuleVisitor for Initialize {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}

/// Embeddings with a gradient of their own, if their encoder has a graph.
fn leaf(embeddings: Tensor<2>) -> Tensor<2> {
    match embeddings.is_autodiff() {
        true => embeddings.require_grad(),
        false => embeddings,
    }
}

/// Whether embeddings differ by more than rounding may explain, as far as they are finite.
fn differ(first: Tensor<2>, second: &Tensor<2>) -> bool {
    let second = second.clone().without_autodiff().to_device(&first.device());
    let largest = |tensor: Tensor<2>| {
        let numbers = tensor.clone().mask_fill(tensor.is_finite().bool_not(), 0.0);
        numbers.abs().max().into_scalar::<f32>()
    };
    largest(first.clone() - second) > 0.01 * largest(first)
}
