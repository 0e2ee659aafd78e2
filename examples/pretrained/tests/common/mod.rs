//! What several tests need.
#![allow(dead_code)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use burn::{
    module::{Module, ModuleMapper, Param},
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use pretrained::{Pretrained, TextEncoder, Tokens};

/// A folder for one test, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "pretrained-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// With the tiny model.
    pub fn tiny() -> Self {
        let folder = Self::new();
        tiny_bert::write(&folder.0);
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl std::ops::Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

pub fn tokens(model: &Pretrained, texts: &[&str]) -> Vec<Tokens> {
    let tokenizer = model.tokenizer().unwrap();
    let tokenize = |text: &&str| tokenizer.tokenize(text).unwrap();
    texts.iter().map(tokenize).collect()
}

pub fn rows(vectors: Tensor<2>) -> Vec<Vec<f32>> {
    let [_, width] = vectors.dims();
    let values = values(vectors);
    values.chunks(width).map(<[f32]>::to_vec).collect()
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The largest difference of two vectors' entries.
pub fn difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let differences = left.iter().zip(right).map(|(a, b)| (a - b).abs());
    // Not `max`, which would lose a NaN.
    differences.fold(0.0, |largest, difference| match difference <= largest {
        true => largest,
        false => difference,
    })
}

/// The tensors of an encoder by their names in a file.
pub fn tensors(model: &Pretrained, encoder: &TextEncoder) -> BTreeMap<String, Vec<f32>> {
    let folder = Folder::new();
    model.save(encoder, &folder).unwrap();
    read(&folder.join("model.safetensors"))
}

pub fn read(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        assert_eq!(view.dtype(), safetensors::Dtype::F32);
        let values = view.data().chunks(4);
        let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        (name, values.map(value).collect())
    });
    tensors.collect()
}

/// A module whose parameters are the gradients of another's.
pub fn as_module<M: Module>(model: M, gradients: &GradientsParams) -> M {
    model.map(&mut Gradients(gradients))
}

struct Gradients<'a>(&'a GradientsParams);

impl ModuleMapper for Gradients<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = self.0.get::<D>(param.id);
        let gradient = gradient.unwrap_or_else(|| panic!("no gradient of {:?}", param.id));
        param.map(|_| gradient)
    }
}

pub fn autodiff() -> Device {
    Device::default().autodiff()
}
