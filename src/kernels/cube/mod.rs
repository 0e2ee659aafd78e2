//! The kernels: a cube for each row of scores, or several for a long one, whose units stride over
//! the row.
//!
//! Shading languages have no minus infinity, their compilers may take NaN and infinities for
//! impossible, and their `max` may return either operand beside a NaN. So sets are known to be
//! empty by their counts, finite values stand in for what has no weight, and NaN and
//! infinities are told by their bits.

// CubeCL's macros expand to more arguments and casts than were written.
#![allow(clippy::too_many_arguments)]

mod backward;
mod batch;
mod ceiling;
mod curve;
mod documents;
mod draw;
mod forward;
mod negatives;
mod positives;
mod row;
mod summary;

pub use backward::*;
pub use batch::*;
pub use ceiling::*;
pub use curve::{BendLaunch, CurveLaunch};
pub use draw::*;
pub use forward::*;
pub use row::*;
pub use summary::{SHARED_BYTES_PER_UNIT, summary_words};
