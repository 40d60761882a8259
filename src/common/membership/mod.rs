//! Group membership decides which member reads which partition. It has a thread and a connection of its own.
//!
//! The thread `membership` (`thread`) waits for the coordinator alone, and steps the state machine [`Member`] (`machine`) when
//! its [`Rounds`] say so, as the simulation does. What changes (`messages`) goes into a channel of one place, and a newer
//! assignment replaces one that the receiver has not taken yet. The group's leader shares out the partitions by the rule `assignor`, and
//! [`Standing`] says how long ago the membership was proven.

mod assignor;
mod machine;
mod messages;
mod rounds;
mod standing;
#[cfg(test)]
mod tests;
mod thread;

pub use assignor::{NAME as ASSIGNOR, assign, flatten};
pub use machine::{Member, longest_step};
pub use messages::{Change, Event, Failing, Options, Report};
pub use rounds::Rounds;
pub use standing::Standing;
pub use thread::Membership;
