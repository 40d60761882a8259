//! Leadership: whether this producer leads, from which cursor each cluster begins, and how cursors are committed while
//! it leads.
//!
//! The thread `lead` ([`thread`]) steps the state machine [`Leadership`] ([`machine`]). It feeds the machine with
//! changes of the group membership and with the scheduler's cursors, and tells the scheduler what the machine decides.
//!
//! The machine takes an assignment over (`machine::takeover`), commits the cursors as they move
//! (`machine::cursor_commits`), and compares the clock with the broker's ([`clock_skew`]). The [`lease`] says whether
//! this producer may still write, in which [`Term`]. A producer that cannot take over lets another one try ([`giving_way`]). At a
//! takeover, [`published`] finds out which of the owed ticks a topic holds already. [`messages`] names what goes in and
//! out.

mod clock_skew;
mod cursor;
mod giving_way;
mod lease;
mod machine;
mod messages;
mod published;
mod term;
mod thread;

pub use self::lease::LeaderLease;
pub use self::machine::Leadership;
pub use self::messages::{Call, CursorCommit, Effect, Event, Failure, Options, Start};
pub use self::published::{Published, Runs};
pub use self::term::Term;
pub use self::thread::{Channels, Lead};
