//! The tail of `cron-runs`: follows what is said of runs, finds the attempts whose consumer has died or been cut off,
//! and passes them on.
//!
//! Every producer follows, so that a new leader knows what is under way; only the leader decides. It decides **lost** in
//! this order, and each part of the order counts:
//!
//! 1. nothing was heard of the attempt for a lease, by our own monotonic clock, in which the leader provably saw the end
//!    of `cron-runs` ([`ends`]: it writes beats and reads them back; [`leases`]: when each attempt was last heard of);
//! 2. the committed offset of the attempt's partition is looked up, and has passed the message and does not leave it out
//!    ([`verdict`]); or the message is gone, with its topic or by retention, so that no consumer will claim it again;
//! 3. *after that* the ends of `cron-runs` are looked up, and all below them is read. Whoever made the offset pass the
//!    message by a newer claim has written that claim before, so that it is read now, and the lease is not over;
//! 4. what follows is written and confirmed, the next attempt or a letter, and then `lost`. A leader that dies in between
//!    leaves a copy, and its successor writes the same again.
//!
//! Whoever begins to lead reads to the end anew before it says that it knows which runs are not finished, and asks what
//! became of messages that were deleted unread (`machine/missing.rs`).
//!
//! What does not come out as lost is looked at again, later each time. [`past`] settles what the part of `cron-runs` that
//! was read cannot tell.
//!
//! A producer that stands by says on `cron-runs` which job file it has, and the leader says where that is not its own
//! ([`peers`]).
//!
//! All of it is a state machine, [`RunTracker`], stepped by its [`thread`] and by tests alike.

pub mod duties;
pub mod heartbeat;
pub mod history;
pub mod leases;
mod machine;
pub mod metrics;
pub mod open_runs;
mod standby_differences;
pub mod standbys;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod verdict;

pub use duties::Duties;
pub use machine::{Effect, OVER_REMEMBERED, Options, RunTracker};
