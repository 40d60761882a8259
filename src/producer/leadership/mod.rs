//! Leadership: whether this producer leads, from which cursors each cluster begins, and the cursors that are committed
//! meanwhile.
//!
//! The [`machine`] takes an assignment over (`machine::takeover`), commits the cursors as they move (`machine::cursor_commits`) and compares
//! the clock with the broker's ([`clock_skew`]); the [`lease`] says whether this producer may still write; [`giving_way`] is for a producer that
//! cannot take over. What a topic holds already is in [`published`]. The [`thread`]
//! steps it.

mod clock_skew;
mod cursor;
mod giving_way;
mod lease;
mod machine;
mod messages;
mod published;
mod thread;

pub use self::lease::LeaderLease;
pub use self::machine::Leadership;
pub use self::messages::{Call, CursorCommit, Effect, Failure, Options, REST, Start};
pub use self::published::{Published, Runs};
pub use self::thread::{Channels, Lead};
