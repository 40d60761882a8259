//! The run tracker reads `cron-runs`, finds the attempts whose consumer has died or been cut off, and passes them on.
//!
//! The thread `runs-tail` ([`thread`]) steps the state machine [`RunTracker`]; tests and the simulation step the same
//! machine. Every producer follows `cron-runs`, so that a new leader knows which runs are open; only the leader
//! decides. It decides **lost** in this order, and the order matters:
//!
//! 1. The leader heard nothing of the attempt for a lease, by its own monotonic clock, while it provably saw the end of
//!    `cron-runs`: it writes beats and reads them back ([`heartbeat`]), and it knows when each attempt was last heard
//!    of ([`leases`]).
//! 2. The leader looks up the committed offset of the attempt's partition. The offset has passed the message and does
//!    not leave it out ([`verdict`]); or the message is gone, with its topic or by retention, so that no consumer will
//!    claim it again.
//! 3. *After that* the leader looks up the ends of `cron-runs` and reads all below them. A consumer that made the
//!    offset pass the message by a newer claim has written that claim before, so the leader reads it now and finds that
//!    the lease is not over.
//! 4. The leader writes what follows, the next attempt or a dead letter, waits for the confirmation, and then writes
//!    `lost`. A leader that dies in between leaves a copy, and its successor writes the same again.
//!
//! A new leader reads to the end again before it says that it knows which runs are open ([`open_runs`]). It also asks
//! what became of messages that were deleted unread (`machine/deleted_messages.rs`).
//!
//! An attempt that does not turn out to be lost is looked at again, later each time. [`history`] settles what the part
//! of `cron-runs` that was read cannot tell. [`duties`] says which part of this work fails.
//!
//! A standby says on `cron-runs` which job file it has, and the leader says where that is not its own ([`standbys`]).

pub mod duties;
pub mod heartbeat;
pub mod history;
pub mod leases;
mod machine;
pub mod messages;
pub mod metrics;
pub mod open_runs;
mod standby_differences;
pub mod standbys;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod verdict;

pub use duties::Duties;
pub use machine::{OVER_REMEMBERED, Options, RunTracker};
pub use messages::Effect;
