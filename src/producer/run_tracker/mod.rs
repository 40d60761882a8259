//! The run tracker reads `cron-runs`, finds the attempts whose consumer has died or been cut off, and passes them on.
//!
//! The thread `runs-tail` ([`thread`]) steps the state machine [`RunTracker`], and is the only part that knows channels,
//! the log and metrics; the simulation steps the same machine. Every producer follows `cron-runs`, so that a new leader
//! knows which runs are open; only the leader decides. It decides **lost** in this order, and the order matters:
//!
//! 1. The leader heard nothing of the attempt for a lease, by its own monotonic clock, while it provably saw the end of
//!    `cron-runs`: it writes beats and reads them back ([`heartbeat`]), and it knows when each attempt was last heard
//!    of ([`leases`]).
//! 2. The leader looks up the committed offset of the attempt's partition. The offset has passed the message and does
//!    not leave it out (`passage`); or the message is gone, with its topic or by retention, so that no consumer will
//!    claim it again.
//! 3. *After that* the leader looks up the ends of `cron-runs` and reads all below them. A consumer that made the
//!    offset pass the message by a newer claim has written that claim before, so the leader reads it now and finds that
//!    the lease is not over.
//! 4. The leader writes what follows, the next attempt or a dead letter, waits for the confirmation, and then writes
//!    `lost`. A leader that dies in between leaves a copy, and its successor writes the same again.
//!
//! An attempt that does not turn out to be lost is looked at again, later each time.
//!
//! # The parts
//!
//! The machine (`machine`) is composed of parts. Each owns its state; what it needs of the others it is given in a call,
//! as the arrows show. None of them refers back.
//!
//! ```text
//!                       cron-runs
//!                           │ events
//!                      ┌────┴─────┐ ends   ┌───────────┐ beats written
//!                      │log_reader├───────►│ heartbeat │ and read back
//!                      └────┬─────┘        └─────┬─────┘
//!        ┌────────────┬─────┴──────┬─────────────│──────────────┐
//!  ┌─────▼─────┐ ┌────▼───┐ ┌──────▼──────┐      │ seen   ┌─────▼──────┐
//!  │standing_by│ │ leases │ │followed_runs│      │        │  deleted   │
//!  └───────────┘ └────┬───┘ └──────┬──────┘      │        │ _messages  │
//!   files, zones      │            │ open runs   │        └─────▲──────┘
//!                     ├────────────┴─────────────┼──────────────┘
//!                     │     ┌──────────┐         │   runs that no consumer will run
//!                     └────►│lost_check│◄────────┘
//!                           └──────────┘ lost attempts
//! ```
//!
//! - `log_reader` knows where the partitions of `cron-runs` are and how far each was read (`ends`), and notices when the
//!   log was cut, made anew, or has lost what was not read yet. The machine tells the other parts.
//! - [`heartbeat`] knows the beats, and whether some producer leads; `beats` writes those that are due.
//! - [`leases`] knows the attempts under way.
//! - `lost_check` keeps the order above; `lost_attempts` is its last step.
//! - `followed_runs` knows which runs are open ([`open_runs`], the rule), and reads the part of `cron-runs` that was
//!   written before following began ([`history`]). A new leader reads to the end again before it says that it knows which
//!   runs are open.
//! - `deleted_messages` asks what became of messages that were deleted unread, or that have waited for long.
//! - `orders` asks consumers on `cron-orders` to end runs for which a newer tick waits, and goes on asking until they are over.
//! - `standing_by` says on `cron-runs` which job file this producer has while it stands by, and notices in the leader
//!   where that is not its own ([`standbys`], the rule).
//!
//! A [`step`] carries what the parts may use and collects what follows ([`messages`]): calls that failed, for the
//! [`duties`]; news for the scheduler; and lines for the log ([`notes`]).

mod beats;
mod deleted_messages;
pub mod duties;
mod ends;
mod followed_runs;
pub mod heartbeat;
pub mod history;
pub mod leases;
mod log_reader;
mod lost_attempts;
mod lost_check;
mod machine;
pub mod messages;
pub mod metrics;
pub mod notes;
pub mod open_runs;
mod orders;
mod passage;
pub mod standbys;
mod standing_by;
pub mod step;
#[cfg(test)]
mod tests;
pub mod thread;

pub use duties::Duties;
pub use machine::{OVER_REMEMBERED, RunTracker};
pub use messages::{Effect, Options};
