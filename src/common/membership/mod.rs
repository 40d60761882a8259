//! Group membership decides which member reads which partition. It has a thread and a connection of its own.
//!
//! The thread `membership` waits for the coordinator alone. What changes goes into a channel of one place, and a
//! newer assignment replaces one that the receiver has not taken yet.

mod assignor;
mod member;
mod standing;
#[cfg(test)]
mod tests;
mod thread;

pub use assignor::{NAME as ASSIGNOR, assign, flatten};
pub use member::{Change, Failing, Member, Options};
pub use standing::Standing;
pub use thread::Membership;
