//! Reporting: the consumer writes how attempts ended and what follows from that, and signs of life for those under way.
//!
//! The thread is named `reporter`; [`thread`] has its handle and its loop. It drives the state machine [`machine::Reporting`],
//! which writes again what could not be written and decides what may be written next, when more may be told, and when all is
//! done; the simulation does the same. The rule of the room is [`reports`]: it says what follows from the end of an attempt,
//! and in which order the records must be confirmed. [`messages`] names the events and what follows from them.

pub mod machine;
pub mod messages;
pub mod reports;
pub mod thread;
