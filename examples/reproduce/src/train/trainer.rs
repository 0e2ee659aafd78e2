//! The training loop.

use burn::tensor::{Device, Tensor};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    batch::{Batch, Groups},
    cell::Cell,
    labels::Phase,
    source::Example,
};
use crate::encoder::Encoder;

#[derive(Clone, Copy)]
pub struct Hyperparameters {
    pub batch_size: usize,
    pub group_size: usize,
    pub learning_rate: f64,
}

/// Trains an encoder. `after_epoch` gets it with the mean loss after each epoch, `progress` the number of
/// queries of each batch.
pub fn train<E: Encoder>(
    cell: &Cell,
    phases: &[Phase<E::Text>],
    hyper: Hyperparameters,
    device: &Device,
    progress: impl Fn(usize),
    mut after_epoch: impl FnMut(&E, f64) -> Result<(), String>,
) -> Result<E, String> {
    // Every objective starts from the same weights and meets the queries in the same order.
    let mut encoder = E::new(cell.seed, device);
    let mut order = StdRng::seed_from_u64(cell.seed);
    let mut draws = StdRng::seed_from_u64(cell.seed.wrapping_add(1 << 32));
    for phase in phases {
        let groups = Groups {
            objective: cell.objective,
            size: hyper.group_size,
            max_positives: cell.setting.max_positives.unwrap_or(hyper.group_size),
            redrawn: phase.redrawn,
        };
        for _ in 0..phase.epochs {
            let (mut total, mut count) = (0.0, 0);
            let mut examples = phase.source.epoch::<E>(&mut order)?;
            loop {
                let batch = examples.by_ref().take(hyper.batch_size);
                let batch: Vec<Example<E::Text>> = batch.collect::<Result<_, _>>()?;
                if batch.is_empty() {
                    break;
                }
                let loss = step(
                    &mut encoder,
                    &batch,
                    groups,
                    cell,
                    hyper,
                    device,
                    &mut draws,
                )?;
                if !loss.is_finite() {
                    return Err(format!(
                        "the loss is {loss}: try a lower --lr or a higher --temperatures"
                    ));
                }
                total += loss * batch.len() as f64;
                count += batch.len();
                progress(batch.len());
            }
            after_epoch(&encoder, total / count as f64)?;
        }
    }
    Ok(encoder)
}

fn step<E: Encoder>(
    encoder: &mut E,
    examples: &[Example<E::Text>],
    groups: Groups,
    cell: &Cell,
    hyper: Hyperparameters,
    device: &Device,
    rng: &mut StdRng,
) -> Result<f64, String> {
    let batch = Batch::new(examples, groups, rng);
    let targets = batch.targets(device).map_err(|error| error.to_string())?;
    let queries: Vec<&E::Text> = batch.queries.iter().map(AsRef::as_ref).collect();
    let documents: Vec<&E::Text> = batch.documents.iter().map(AsRef::as_ref).collect();
    let loss = |queries: Tensor<2>, documents: Tensor<2>| {
        let scores = queries.matmul(documents.transpose());
        let temperature = cell.setting.temperature;
        // Every query has a positive, so this is the mean that the losses' `forward` takes.
        cell.objective
            .losses(scores, targets, &batch.chosen, temperature)
            .mean()
    };
    Ok(encoder.step(&queries, &documents, hyper.learning_rate, loss))
}
