//! How the examples write their results.
//!
//! - A file or a folder of files is there whole or not at all, whenever the process is
//!   killed and whatever the disk has room for: [`write()`], [`write_with`],
//!   [`PartialFolder`].
//! - One process at a time writes to a folder: [`Lock`].
//! - What cannot be written is known before the training, not after it: [`check_room`].
//!
//! The content is on the disk before it gets its name, so this holds for a loss of power
//! too where the file system keeps what `fsync` promises.

#![warn(missing_docs)]

mod lock;
mod partial;
mod room;

pub use lock::Lock;
pub use partial::{PartialFolder, is_partial, write, write_with};
pub use room::check_room;
