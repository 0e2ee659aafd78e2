//! Checkpoints of a model and its optimizer of which one file is of other bytes.

use std::fs;

use burn::{
    nn::{Linear, LinearConfig},
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor},
};
use pretrained::{adam_w, load_checkpoint, save_checkpoint};

use crate::folder::{Folder, assert_names, catch_panics};

thread_local! {
    static SAVED: (Folder, Vec<Vec<u8>>) = {
        let folder = Folder::new("checkpoint");
        let contents = save(&folder);
        (folder, contents)
    };
}

/// The first byte says of which one the others are.
const FILES: [&str; 2] = ["checkpoint-1/model.bpk", "checkpoint-1/optimizer.bpk"];

/// Loads a checkpoint with one file of these bytes, and makes a step.
pub fn run(data: &[u8]) {
    catch_panics();
    let Some((which, content)) = data.split_first() else {
        return;
    };
    let which = usize::from(*which) % FILES.len();
    SAVED.with(|(folder, saved)| {
        folder.write(FILES[which], content);
        let (model, optimizer) = fresh();
        match load_checkpoint(folder.path(), model, optimizer) {
            Ok((model, mut optimizer, steps)) => {
                assert_eq!(steps, 1);
                step(model, &mut optimizer);
            }
            Err(error) => assert_names(&error.to_string(), folder),
        }
        folder.write(FILES[which], &saved[which]);
    });
}

/// Both files as they are.
pub fn seeds() -> Vec<Vec<u8>> {
    let folder = Folder::new("seeds");
    let contents = save(&folder).into_iter().enumerate();
    contents
        .map(|(which, content)| [vec![which as u8], content].concat())
        .collect()
}

fn fresh() -> (Linear, ModuleOptimizer) {
    let model = LinearConfig::new(3, 2).init(&Device::flex().autodiff());
    let optimizer = adam_w(&model, 0.1);
    (model, optimizer)
}

fn step(model: Linear, optimizer: &mut ModuleOptimizer) -> Linear {
    let device = Device::flex().autodiff();
    let input = Tensor::<2>::from_floats([[1.0, -2.0, 0.5]], &device);
    let gradients = model.forward(input).sum().backward();
    let gradients = GradientsParams::from_grads(gradients, &model);
    optimizer.step(0.1, model, gradients)
}

fn save(folder: &Folder) -> Vec<Vec<u8>> {
    let (model, mut optimizer) = fresh();
    let model = step(model, &mut optimizer);
    save_checkpoint(folder.path(), 1, &model, &optimizer).expect("room for a checkpoint");
    FILES
        .map(|name| fs::read(folder.path().join(name)).expect("a file that was saved"))
        .into()
}
