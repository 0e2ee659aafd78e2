//! Why a training gave no encoder that can be measured.

use std::fmt;

#[derive(Debug)]
pub enum Failure {
    /// A loss, or a score of the encoder, is not finite: which.
    Diverged(String),
    Other(String),
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self::Other(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Diverged(how) => {
                write!(f, "{how}: try a lower --lr or a higher --temperatures")
            }
            Self::Other(error) => write!(f, "{error}"),
        }
    }
}
