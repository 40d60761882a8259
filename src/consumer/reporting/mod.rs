//! Reporting: the consumer writes how attempts ended and what follows from that, and signs of life for those under way.
//!
//! The thread is named `reporter`; [`thread`] has its handle and its loop. It steps the state machine [`machine::Reporting`],
//! which writes again what could not be written and decides what may be written next. The rule of the room is [`reports`]: it
//! says what follows from the end of an attempt, and in which order the records must be confirmed. [`messages`] names what the
//! thread is told and what follows.

pub mod machine;
pub mod messages;
pub mod reports;
pub mod thread;
