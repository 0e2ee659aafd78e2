//! Two sides, and one tower or two.

use burn::module::Module;

use crate::encoder::TextEncoder;

/// A dual encoder: queries and passages share a tower, or have one each.
#[derive(Module, Debug)]
pub struct DualEncoder {
    queries: TextEncoder,
    /// `None` if passages go through the queries' tower.
    passages: Option<TextEncoder>,
}

impl DualEncoder {
    /// One tower for both sides, with the sum of their gradients.
    pub fn shared(encoder: TextEncoder) -> Self {
        Self {
            queries: encoder,
            passages: None,
        }
    }

    /// The towers must not be clones of one: Burn knows parameters by an id that clones share.
    pub fn separate(queries: TextEncoder, passages: TextEncoder) -> Self {
        Self {
            queries,
            passages: Some(passages),
        }
    }

    /// Whether there is one tower.
    pub fn is_shared(&self) -> bool {
        self.passages.is_none()
    }

    /// The tower of the queries.
    pub fn queries(&self) -> &TextEncoder {
        &self.queries
    }

    /// The tower of the passages.
    pub fn passages(&self) -> &TextEncoder {
        self.passages.as_ref().unwrap_or(&self.queries)
    }
}
