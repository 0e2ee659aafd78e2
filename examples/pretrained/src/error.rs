//! What can be wrong with a model's files.

use std::{
    error::Error,
    fmt::{self, Display},
    panic::{AssertUnwindSafe, catch_unwind},
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

    /// Reads a file by a library that panics at some damaged ones.
    pub(crate) fn caught<T, E: Display>(
        path: &Path,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Self> {
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok(read) => read.map_err(|problem| Self::new(path, problem)),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or(panic.downcast_ref::<&str>().copied());
                let said = said.unwrap_or("its reader panicked");
                Err(Self::new(path, format!("damaged: {said}")))
            }
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
