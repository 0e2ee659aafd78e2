//! A small map of the vectors of a pretrained transformer, which itself is left as it is. Texts
//! are embedded once for all trainings, so that a training takes seconds.

mod embeddings;
mod learner;
mod network;
mod source;

pub use network::Shape;
pub use source::AdapterSource;
