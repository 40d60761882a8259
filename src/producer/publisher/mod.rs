//! Publishing: each cluster's publisher writes the cluster's batches to its topic, until the fate of every tick is on
//! record.
//!
//! A cluster has two threads. `publish-CLUSTER` ([`thread`]) steps the state machine [`Publishing`] ([`machine`]), logs and
//! counts what follows, and tells the scheduler which batches are confirmed; the simulation steps the same machine. `encode-CLUSTER`
//! ([`encoding`]) makes the records of the next batch meanwhile.
//!
//! A publisher writes only while the leader lease of the batch's term is valid, and confirms batches of one source in the
//! order in which it got them. Each cluster has its own connection, so a topic that cannot be written delays no other
//! cluster.

mod counting;
mod encoding;
mod machine;
mod messages;
mod records;
#[cfg(test)]
mod tests;
mod thread;

pub use self::encoding::Encoded;
pub use self::machine::Publishing;
pub use self::messages::{Confirmed, Effect, Progress};
pub use self::thread::{Context, Options, Publisher};
