//! Models by their names on the Hugging Face Hub.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hf_hub::{
    Repo,
    api::sync::{ApiBuilder, ApiError, ApiRepo},
};

use crate::{
    error::ModelError,
    folder::{CONFIG, Pretrained, TOKENIZER, WEIGHTS},
    pooling::{MODULES, POOLING, SENTENCE, TOKENIZER_CONFIG},
};

impl Pretrained {
    /// Downloads a model, such as `sentence-transformers/all-MiniLM-L6-v2`, and
    /// [opens](Self::open) it.
    ///
    /// Files go to the cache that Hugging Face's own programs use. What is there is not
    /// asked for again, so a model works without a network from the second time on, and
    /// stays as it is when its authors change it.
    ///
    /// `HF_HOME` is where the cache is, `HF_ENDPOINT` the address of the hub, `HF_TOKEN`
    /// what opens models that are not public.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use pretrained::Pretrained;
    ///
    /// let model = Pretrained::from_hub("sentence-transformers/all-MiniLM-L6-v2")?;
    /// assert_eq!(model.config.hidden_size, 384);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// With the name and the file: if the hub has no such model or file, or is needed and
    /// cannot be reached. And those of [`open`](Self::open).
    pub fn from_hub(name: &str) -> Result<Self, ModelError> {
        Self::open(download(name)?)
    }
}

/// The folder in the cache.
fn download(name: &str) -> Result<PathBuf, ModelError> {
    let hub = Hub::new(name)?;
    let folder = folder_of(&hub.file(CONFIG)?);
    for file in [MODULES, POOLING, SENTENCE, TOKENIZER_CONFIG] {
        hub.file_if_there(file, &folder)?;
    }
    // A new version during the download has a folder of its own, without the files from
    // before.
    for file in [TOKENIZER, WEIGHTS] {
        if folder_of(&hub.file(file)?) != folder {
            let problem = "the model has changed during the download; try again";
            return Err(hub.error(file, problem));
        }
    }
    Ok(folder)
}

/// Of a file that lies directly in it.
fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).into()
}

struct Hub {
    name: String,
    files: ApiRepo,
}

impl Hub {
    fn new(name: &str) -> Result<Self, ModelError> {
        if !is_name(name) {
            let problem = "no name of a model, such as sentence-transformers/all-MiniLM-L6-v2";
            return Err(ModelError::new(Path::new(name), problem));
        }
        let mut builder = ApiBuilder::from_env();
        if let Ok(token) = std::env::var("HF_TOKEN") {
            builder = builder
                .with_token(Some(token.trim().into()).filter(|token: &String| !token.is_empty()));
        }
        let api = builder.build();
        let api = api.map_err(|problem| ModelError::new(Path::new(name), problem))?;
        Ok(Self {
            name: name.into(),
            files: api.repo(Repo::model(name.into())),
        })
    }

    fn file(&self, file: &str) -> Result<PathBuf, ModelError> {
        let got = self.files.get(file);
        got.map_err(|problem| self.error(file, told(&problem)))
    }

    /// That a model has no such file is noted where Hugging Face's own programs note it.
    fn file_if_there(&self, file: &str, folder: &Path) -> Result<(), ModelError> {
        let absent = absent(file, folder);
        if absent.exists() {
            return Ok(());
        }
        match self.files.get(file) {
            Ok(_) => Ok(()),
            Err(problem) if status(&problem) == Some(404) => {
                let written = fs::create_dir_all(folder_of(&absent));
                let written = written.and_then(|()| fs::write(&absent, ""));
                written.map_err(|problem| ModelError::new(&absent, problem))
            }
            Err(problem) => Err(self.error(file, told(&problem))),
        }
    }

    fn error(&self, file: &str, problem: impl std::fmt::Display) -> ModelError {
        ModelError::new(&Path::new(&self.name).join(file), problem)
    }
}

/// From `MODEL/snapshots/COMMIT` to `MODEL/.no_exist/COMMIT/FILE`.
fn absent(file: &str, folder: &Path) -> PathBuf {
    let model = folder_of(&folder_of(folder));
    let commit = folder.file_name().unwrap_or_default();
    model.join(".no_exist").join(commit).join(file)
}

/// An owner and a name, or a name alone.
fn is_name(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let part = |part: &str| part.chars().all(letter) && part.chars().any(|letter| letter != '.');
    name.split('/').count() <= 2 && name.split('/').all(part)
}

fn status(problem: &ApiError) -> Option<u16> {
    match problem {
        ApiError::RequestError(problem) => match **problem {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

fn told(problem: &ApiError) -> String {
    match (status(problem), problem) {
        (Some(404), _) => "the hub has no such file".into(),
        (Some(status @ (401 | 403)), _) => format!(
            "the hub has no such model, or shows it only to those it knows: \
             put a token into HF_TOKEN (status {status})"
        ),
        (None, ApiError::RequestError(problem)) => format!(
            "not in the cache, and the hub cannot be reached; is there a network? ({problem})"
        ),
        (_, problem) => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_an_owner_and_a_name() {
        for name in ["bert-base-uncased", "intfloat/e5-base-v2", "a.b/c_d"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "", "/", "a/", "../b", "a/..", "a/b/c", "a b", "a?b", "a/b\n",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
