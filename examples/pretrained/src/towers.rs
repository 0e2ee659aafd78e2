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

    pub fn is_shared(&self) -> bool {
        self.passages.is_none()
    }

    pub fn queries(&self) -> &TextEncoder {
        &self.queries
    }

    pub fn passages(&self) -> &TextEncoder {
        self.passages.as_ref().unwrap_or(&self.queries)
    }
}
