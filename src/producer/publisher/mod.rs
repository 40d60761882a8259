//! Publishing: each cluster's publisher writes the cluster's batches to its topic, until the fate of every tick is on
//! record.
//!
//! A cluster has two threads. `publish-CLUSTER` ([`thread`]) steps the state machine [`Publishing`] ([`machine`]) and
//! tells the scheduler which batches are confirmed; the simulation steps the same machine. `encode-CLUSTER`
//! ([`encoding`]) makes the records of the next batch meanwhile.
//!
//! A publisher writes only while the leader lease of the batch's term is valid, and confirms batches of one kind in the
//! order in which it got them. Each cluster has its own connection, so a topic that cannot be written delays no other
//! cluster.

mod counting;
mod encoding;
mod machine;
mod records;
#[cfg(test)]
mod tests;
mod thread;

use std::sync::Arc;

pub use self::encoding::Encoded;
pub use self::machine::{Progress, Publishing};
pub use self::thread::{Context, Options, Publisher};
use super::plan::timetable::Tick;
use super::plan::{Kind, Missed};
use crate::common::model::{Event, JobName, RunId};

/// Ticks of one cluster, all due, and events about those that are not run.
#[derive(Debug)]
pub struct Batch {
    /// The term in which it may be written.
    pub epoch: u64,
    /// The kind of the plan's batch; `None` for an extra batch.
    pub kind: Option<Kind>,
    /// The ticks, in the order of their instants.
    pub ticks: Vec<Tick>,
    /// For `cron-runs`.
    pub events: Vec<Event>,
    /// Those of the events that tell of ticks in a row, with their jobs.
    pub missed: Vec<Missed>,
    /// Which job file they are of.
    pub revision: Arc<str>,
}

/// Every tick of a cluster's oldest batch of a kind has its fate on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The batch's term.
    pub epoch: u64,
    /// The kind of the plan's batch; `None` for an extra batch.
    pub kind: Option<Kind>,
    /// Runs of it that could not be published and never will be: their ticks are missed.
    pub refused: Vec<(JobName, RunId)>,
    /// The cluster's number in the scheduler's list.
    pub cluster: usize,
}
