//! Training that stops and goes on.

mod common;

use std::{fs, path::Path};

use burn::{
    optim::{GradientsParams, ModuleOptimizer},
    tensor::Device,
};
use common::{Folder, autodiff, tensors, tokens};
use pretrained::{
    DualEncoder, ModelError, Pretrained, Tokens, adam_w, clip_gradients, load_checkpoint,
    save_checkpoint,
};

const TEXTS: [&str; 4] = ["two words", "", "one", "a text that is longer"];

fn fresh(files: &Pretrained) -> (DualEncoder, ModuleOptimizer) {
    let device = autodiff();
    let [queries, passages] = [(); 2].map(|()| files.encoder(&device).unwrap());
    let model = DualEncoder::separate(queries, passages);
    let optimizer = adam_w(&model, 0.1);
    (model, optimizer)
}

/// A step with dropout, which the number of the step decides.
fn step(
    number: usize,
    model: DualEncoder,
    optimizer: &mut ModuleOptimizer,
    texts: &[&Tokens],
) -> DualEncoder {
    Device::default().seed(number as u64);
    let queries = model.queries().encode(texts, 100);
    let passages = model.passages().encode(texts, 100);
    let loss = (queries * passages).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let gradients = clip_gradients(&model, gradients, 1.0);
    optimizer.step(1e-2, model, gradients)
}

type Named = std::collections::BTreeMap<String, Vec<f32>>;

fn both(files: &Pretrained, model: &DualEncoder) -> [Named; 2] {
    [model.queries(), model.passages()].map(|tower| tensors(files, tower))
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = names
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// One test, since the generator of random numbers is the process's.
#[test]
fn training_goes_on_as_if_it_had_not_stopped() {
    let (folder, checkpoints) = (Folder::tiny(), Folder::new());
    let files = Pretrained::open(&*folder).unwrap();
    let texts = tokens(&files, &TEXTS);
    let texts: Vec<&Tokens> = texts.iter().collect();

    let (mut model, mut optimizer) = fresh(&files);
    for number in 0..6 {
        model = step(number, model, &mut optimizer, &texts);
        if number == 1 || number == 2 {
            save_checkpoint(&checkpoints, number + 1, &model, &optimizer).unwrap();
        }
    }
    assert_eq!(names(&checkpoints), ["checkpoint-3"]);
    // What an interrupted save leaves.
    fs::create_dir(checkpoints.join("checkpoint-5.partial")).unwrap();
    fs::write(checkpoints.join("checkpoint-5.partial/model.bpk"), "half").unwrap();

    let (again, mut optimizer) = fresh(&files);
    let (mut again, mut loaded, start) = load_checkpoint(&checkpoints, again, optimizer).unwrap();
    assert_eq!(start, 3);
    assert!(both(&files, &again) != both(&files, &model));
    for number in start..6 {
        again = step(number, again, &mut loaded, &texts);
    }
    assert!(both(&files, &again) == both(&files, &model));

    // The moments are part of it.
    let (without, fresh_optimizer) = fresh(&files);
    let (mut without, _, _) = load_checkpoint(&checkpoints, without, fresh_optimizer).unwrap();
    optimizer = adam_w(&without, 0.1);
    for number in start..6 {
        without = step(number, without, &mut optimizer, &texts);
    }
    assert!(both(&files, &without) != both(&files, &model));

    // The place of an interrupted save, and one that is taken.
    fs::create_dir(checkpoints.join("checkpoint-4.partial")).unwrap();
    for steps in [5, 5] {
        save_checkpoint(&checkpoints, steps, &again, &loaded).unwrap();
        assert_eq!(names(&checkpoints), ["checkpoint-5"]);
    }
    let (last, optimizer) = fresh(&files);
    let (last, _, steps) = load_checkpoint(&checkpoints, last, optimizer).unwrap();
    assert_eq!(steps, 5);
    assert!(both(&files, &last) == both(&files, &model));
}

fn load(checkpoints: &Path, files: &Pretrained) -> Result<usize, ModelError> {
    let (model, optimizer) = fresh(files);
    let loaded = load_checkpoint(checkpoints, model, optimizer);
    loaded.map(|(_, _, steps)| steps)
}

#[test]
fn without_a_checkpoint_training_starts() {
    let (folder, checkpoints) = (Folder::tiny(), Folder::new());
    let files = Pretrained::open(&*folder).unwrap();
    assert_eq!(load(&checkpoints, &files).unwrap(), 0);
    assert_eq!(load(&checkpoints.join("nowhere"), &files).unwrap(), 0);
    fs::create_dir(checkpoints.join("checkpoint-x")).unwrap();
    fs::create_dir(checkpoints.join("checkpoint-7.partial")).unwrap();
    assert_eq!(load(&checkpoints, &files).unwrap(), 0);
}

#[test]
fn a_damaged_checkpoint_is_an_error() {
    let (folder, checkpoints) = (Folder::tiny(), Folder::new());
    let mut files = Pretrained::open(&*folder).unwrap();
    // Or it would draw random numbers while another test does.
    files.options.dropout = Some(0.0);
    let texts = tokens(&files, &TEXTS);
    let (model, mut optimizer) = fresh(&files);
    let gradients = {
        let loss = model.queries().encode(&[&texts[0]], 100).square().sum()
            + model.passages().encode(&[&texts[3]], 100).square().sum();
        GradientsParams::from_grads(loss.backward(), &model)
    };
    let model = optimizer.step(1e-2, model, gradients);
    save_checkpoint(&checkpoints, 1, &model, &optimizer).unwrap();
    for file in ["model.bpk", "optimizer.bpk"] {
        let path = checkpoints.join("checkpoint-1").join(file);
        let whole = fs::read(&path).unwrap();
        let cuts = [0, 1, 40, whole.len() / 2, whole.len() - 1];
        for bytes in cuts.map(|length| whole[..length].to_vec()) {
            fs::write(&path, bytes).unwrap();
            assert_eq!(load(&checkpoints, &files).unwrap_err().path(), path);
        }
        fs::write(&path, vec![0x5a; whole.len()]).unwrap();
        assert_eq!(load(&checkpoints, &files).unwrap_err().path(), path);
        fs::remove_file(&path).unwrap();
        assert_eq!(load(&checkpoints, &files).unwrap_err().path(), path);
        // Some of these Burn reads, at others it panics.
        for place in (0..whole.len().min(600)).step_by(4) {
            let mut changed = whole.clone();
            changed[place] ^= 4;
            fs::write(&path, changed).unwrap();
            if let Err(error) = load(&checkpoints, &files) {
                assert_eq!(error.path(), path);
            }
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(load(&checkpoints, &files).unwrap(), 1);
}

#[test]
fn a_checkpoint_of_another_model_is_an_error() {
    let (folder, checkpoints) = (Folder::tiny(), Folder::new());
    let files = Pretrained::open(&*folder).unwrap();
    let (model, optimizer) = fresh(&files);
    save_checkpoint(&checkpoints, 1, &model, &optimizer).unwrap();

    // With one position more.
    let other = Folder::tiny();
    let mut weights = tiny_bert::weights();
    let (shape, values) = weights
        .get_mut("embeddings.position_embeddings.weight")
        .unwrap();
    shape[0] += 1;
    values.extend([0.5; tiny_bert::HIDDEN]);
    tiny_bert::write_weights(&weights, &other.join("model.safetensors"));
    let config = tiny_bert::config().to_string().replace(":32", ":33");
    fs::write(other.join("config.json"), config).unwrap();
    let files = Pretrained::open(&*other).unwrap();
    assert_eq!(
        files.config.max_position_embeddings,
        tiny_bert::POSITIONS + 1
    );
    assert!(load(&checkpoints, &files).is_err());
}
