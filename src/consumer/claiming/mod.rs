//! Claiming: the consumer claims an attempt first and starts it only when the claim is confirmed. Nothing runs on an unknown
//! answer.
//!
//! The thread is named `dispatch`: [`thread`] has its handle and its loop, and [`channels`] what it listens to and
//! talks to. It drives the state machine [`machine::Claimer`], which is the only one that commits, and carries out what
//! follows by an [`outbox`]; the simulation does the same. [`messages`] names the events and what follows from them.
//!
//! The rules of the room are these:
//!
//! - [`loading`] asks the broker where a partition goes on, and [`position`] says what an offset means that makes no sense.
//! - [`partition`] holds messages that are not due yet, and [`duplicates`] drops copies.
//! - [`claims`] keeps the claims that are under way, and [`answers`] says what an answer to their commit allows.
//! - [`linger`] says when a round trip waits a moment, so that more goes with it.
//! - [`letters`] makes dead letters of messages that cannot be read.

pub mod answers;
pub mod channels;
pub mod claims;
pub mod duplicates;
mod duties;
mod lag;
pub mod letters;
pub mod linger;
pub mod loading;
mod log_lines;
pub mod machine;
pub mod messages;
pub mod outbox;
pub mod partition;
pub mod position;
mod pressure_watch;
mod runs_topic;
pub mod thread;
