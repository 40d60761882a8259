//! Publishing: each cluster's publisher writes the cluster's batches to its topic, until the fate of every tick is on
//! record.
//!
//! A cluster has two threads. `publish-CLUSTER` ([`thread`]) steps the state machine [`Publishing`] ([`machine`]) and
//! tells the scheduler which batches are confirmed; the simulation steps the same machine. `encode-CLUSTER`
//! ([`encoding`]) makes the records of the next batch meanwhile.
//!
//! A publisher writes only while the leader lease of the batch's term is valid, and confirms batches of one source in the
//! order in which it got them. Each cluster has its own connection, so a topic that cannot be written delays no other
//! cluster.

mod counting;
mod encoding;
mod machine;
mod records;
#[cfg(test)]
mod tests;
mod thread;

pub use self::encoding::Encoded;
pub use self::machine::{Progress, Publishing};
pub use self::thread::{Context, Options, Publisher};
use super::leadership::Term;
use super::plan::{Batch, Source};
use crate::common::model::{JobName, RunId};

/// Every tick of a cluster's oldest batch of a source has its fate on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The batch's term.
    pub term: Term,
    /// Where the batch came from.
    pub source: Source,
    /// How many ticks it had to publish.
    pub ticks: usize,
    /// Runs of it that could not be published and never will be: their ticks are missed.
    pub refused: Vec<(JobName, RunId)>,
    /// The cluster's number in the scheduler's list.
    pub cluster: usize,
}

impl Confirmed {
    /// Of a batch of the cluster of this number, of which nothing was refused.
    pub fn of(cluster: usize, batch: &Batch) -> Self {
        let Batch { term, source, ticks, .. } = batch;
        Self { term: *term, source: *source, ticks: ticks.len(), refused: Vec::new(), cluster }
    }
}
