//! What the allocator does with memory that was freed.

use std::{hint::black_box, sync::Once};

/// The largest block that changes what glibc keeps.
const BLOCK: usize = 31 << 20;

/// Has glibc keep more of the memory that was freed.
///
/// By itself it gives large blocks back to the system, and the next pass touches their
/// pages for the first time once more, which costs a fourth of the time of embedding. It
/// keeps blocks as large as the largest one of up to 32 MiB that was freed before: this
/// is one. Other allocators are left as they are.
pub fn keep_freed() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(black_box(Vec::<u8>::with_capacity(BLOCK))));
}
