//! The operations on remote devices: the client sends the inputs of one, and a server with a CPU
//! runs its kernels.
//!
//! Both sides go through the parts of a message in the same order, the client in [`client`] and
//! the server in [`server`]; [`encode`] has the parts.

pub(crate) mod client;
mod encode;
#[cfg(feature = "remote-server")]
pub(crate) mod server;
#[cfg(all(test, feature = "remote-server"))]
mod tests;

/// The version of the messages: another one for whatever changes what a server makes of them.
/// The names of the operations contain it, so that no server takes a message for what it is not.
pub(crate) const VERSION: i64 = 1;

/// Answers with the [version](VERSION) of the server, to clients of every version.
const KERNELS: &str = "burn-multi-positive/kernels";

/// [`row_statistics`](super::operations::StatisticsOps::row_statistics).
const ROW_STATISTICS: &str = "burn-multi-positive/1/row_statistics";

/// [`row_statistics_backward`](super::operations::StatisticsOps::row_statistics_backward).
const ROW_STATISTICS_BACKWARD: &str = "burn-multi-positive/1/row_statistics_backward";

/// [`row_ceilings`](super::operations::StatisticsOps::row_ceilings).
const ROW_CEILINGS: &str = "burn-multi-positive/1/row_ceilings";

/// [`drawn_columns`](super::operations::StatisticsOps::drawn_columns).
const DRAWN_COLUMNS: &str = "burn-multi-positive/1/drawn_columns";
