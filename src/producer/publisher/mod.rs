//! Publishing: the ticks of one cluster written to its topic, until each has its fate on record. A state machine
//! ([`publishing`]) that the threads `publish-CLUSTER` ([`thread`]) and the simulation step. The records of the next batch
//! are made meanwhile, by the threads `encode-CLUSTER` ([`encoding`]).

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
    /// What of a lane it is; `None` for what stands beside the lane.
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
    /// What of a lane it was; `None` for what stands beside the lane.
    pub kind: Option<Kind>,
    /// Runs of it that could not be published and never will be: their ticks are missed.
    pub refused: Vec<(JobName, RunId)>,
    /// The cluster's number in the timer's list.
    pub cluster: usize,
}
