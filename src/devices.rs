//! Embeddings that are on several devices.

use burn::{
    nn::loss::Reduction,
    tensor::{Device, Tensor},
};

use crate::{Objective, Targets, reduction::reduce, statistics::Statistics};

/// The loss of a batch whose embeddings are on several devices, every query scored against the
/// documents of all of them.
///
/// The documents of all devices are copied to each device that has queries, which computes the losses
/// of its own queries, tile by tile. Only these losses, one number a query, are brought together,
/// on the device of the first queries, and reduced there. Loss and gradients are those of
/// [`forward_embeddings`](Objective::forward_embeddings) on one device, up to rounding: the mean is
/// over all active queries, so nothing is to be multiplied by the number of devices.
///
/// The copies (`Tensor::to_device`) are differentiable: the gradients of documents find their way back
/// to the device that embedded them, and are added up there. The devices may belong to different
/// backends.
///
/// `queries` and `documents` are the shards in order, and `targets` are those of the whole batch, as
/// if the shards were one behind the other; there are no offsets to get right. Shards may differ in
/// size and be empty (an empty one gets no gradient), and a device may have several or none of a side. Rand1LH draws on the device of the targets.
///
/// # Shapes
///
/// - `queries`: `[its queries, dimensions]` each
/// - `documents`: `[its documents, dimensions]` each
/// - `targets`: `[all queries, all documents]`
/// - output: `[1]`, on the device of the first queries
///
/// # Panics
///
/// If a side has no shards, if shards differ in dimensions or type, or if the targets have another shape
/// than the scores would.
///
/// # Example
///
/// ```
/// use burn::{nn::loss::Reduction, tensor::{Device, Distribution, Tensor}};
/// use burn_multi_positive::{LsePairLossConfig, Targets, forward_shards};
///
/// // In your program: `Device::cuda(0)`, `Device::cuda(1)`.
/// let devices = [Device::default().autodiff(), Device::default().autodiff()];
/// let embeddings = |rows: usize| {
///     let shard = |device| Tensor::<2>::random([rows, 8], Distribution::Default, device);
///     devices.each_ref().map(|device| shard(device).require_grad())
/// };
/// let (queries, documents) = (embeddings(2), embeddings(4));
/// let targets = Targets::from_groups(&[1; 4], 2, &devices[0])?;
///
/// let loss_fn = LsePairLossConfig::new().with_temperature(0.05).init();
/// let [of_queries, of_documents] = [queries.to_vec(), documents.to_vec()];
/// let loss = forward_shards(&loss_fn, of_queries, of_documents, targets, Reduction::Mean);
/// let gradients = loss.backward();
/// assert_eq!(documents[1].grad(&gradients).unwrap().dims(), [4, 8]);
/// # Ok::<(), burn_multi_positive::TargetsError>(())
/// ```
pub fn forward_shards(
    objective: &impl Objective,
    mut queries: Vec<Tensor<2>>,
    documents: Vec<Tensor<2>>,
    targets: impl Into<Targets>,
    reduction: Reduction,
) -> Tensor<1> {
    let targets = targets.into();
    let count = |side: &str, shards: &[Tensor<2>]| {
        assert!(!shards.is_empty(), "{side}: expected shards, got none");
        shards.iter().map(|shard| shard.dims()[0]).sum::<usize>()
    };
    let counts = [count("queries", &queries), count("documents", &documents)];
    assert!(
        targets.dims() == counts,
        "targets: expected [queries, documents] = {counts:?} as the shards have, got {:?}",
        targets.dims()
    );
    // Before the batch is parted: a draw is that of the whole batch.
    let targets = objective.narrow(targets);
    let home = queries[0].device();
    if counts[0] > 0 {
        queries.retain(|shard| shard.dims()[0] > 0);
    }
    let mut first = 0;
    let (losses, positives) = queries
        .into_iter()
        .map(|shard| {
            let device = shard.device();
            let rows = first..first + shard.dims()[0];
            first = rows.end;
            let statistics = Statistics::from_embeddings(
                shard,
                gather(&documents, &device),
                &targets.queries(rows).to_device(&device),
                objective.temperature(),
                &objective.wanted(),
                None,
            );
            let losses = objective.losses(&statistics).to_device(&home);
            (losses, statistics.positive_counts().to_device(&home))
        })
        .unzip();
    reduce(
        Tensor::cat(losses, 0),
        Tensor::cat(positives, 0),
        &reduction,
    )
}

/// The rows of all shards, on one device.
fn gather(shards: &[Tensor<2>], device: &Device) -> Tensor<2> {
    let shards = shards.iter().map(|shard| shard.clone().to_device(device));
    Tensor::cat(shards.collect(), 0)
}
