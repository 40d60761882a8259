//! Running: the consumer executes the attempts that it has claimed.
//!
//! The threads `worker-0..N` ([`worker`]) each take one attempt at a time, run it, and always report how it ended. They start
//! and watch its command with [`process`], which knows nothing of Kafka. The room has no state machine.

pub mod process;
pub mod worker;
