//! What can be wrong with a model's files.

use std::{
    error::Error,
    fmt::{self, Display},
    path::{Path, PathBuf},
};

/// A file of a pretrained model that cannot be used, and why.
#[derive(Debug)]
pub struct ModelError {
    path: PathBuf,
    tensor: Option<String>,
    problem: String,
}

impl ModelError {
    pub(crate) fn new(path: &Path, problem: impl Display) -> Self {
        Self {
            path: path.into(),
            tensor: None,
            problem: problem.to_string(),
        }
    }

    pub(crate) fn of_tensor(path: &Path, tensor: &str, problem: impl Display) -> Self {
        Self {
            tensor: Some(tensor.into()),
            ..Self::new(path, problem)
        }
    }

    /// The file, or the folder or name that was asked for.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensor in the file, by the name that it has there.
    pub fn tensor(&self) -> Option<&str> {
        self.tensor.as_deref()
    }
}

impl Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.tensor {
            Some(tensor) => write!(f, "{path}: tensor {tensor}: {}", self.problem),
            None => write!(f, "{path}: {}", self.problem),
        }
    }
}

impl Error for ModelError {}
