//! The kernels: a cube for each row of scores, whose units stride over the row.
//!
//! Shading languages have no minus infinity, their compilers may take NaN and infinities for
//! impossible, and their `max` may return either operand beside a NaN. So sets are known to be empty
//! by their counts, finite values stand in for what has no weight, and NaN and infinities are told
//! by their bits.

// CubeCL's macros expand to more arguments and casts than were written.
#![allow(clippy::too_many_arguments)]

mod backward;
mod draw;
mod exchange;
mod forward;
mod negatives;
mod positives;
mod row;

pub use backward::*;
pub use draw::*;
pub use exchange::SHARED_BYTES_PER_UNIT;
pub use forward::*;
pub use row::*;
