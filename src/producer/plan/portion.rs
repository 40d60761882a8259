//! A batch that the cluster plan hands out: ticks to publish, and intervals of ticks that are missed.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::timetable::Tick;
use crate::common::model::MissedReason;
use crate::producer::job::Job;

/// Where a batch comes from. Batches of one kind are confirmed in the order in which they were handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ticks that are due now.
    Current,
    /// Ticks that were due while no producer published.
    Backlog,
}

/// Ticks of one job file whose fate is decided and not yet on record. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanBatch {
    /// Where it comes from.
    pub kind: Kind,
    /// To be published.
    pub ticks: Vec<Tick>,
    /// Not to be published.
    pub missed: Vec<Missed>,
    /// Of the job file that owed them.
    pub revision: Arc<str>,
}

/// Ticks of a job, in a row, that are missed for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The job.
    pub job: Arc<Job>,
    /// The first tick.
    pub from: DateTime<Utc>,
    /// The last tick.
    pub to: DateTime<Utc>,
    /// How many they are.
    pub count: u64,
    /// Why.
    pub reason: MissedReason,
}

impl PlanBatch {
    /// One without ticks.
    pub(super) fn new(kind: Kind, revision: &Arc<str>) -> Self {
        Self { kind, ticks: Vec::new(), missed: Vec::new(), revision: Arc::clone(revision) }
    }

    /// How many ticks and intervals it has.
    pub fn len(&self) -> usize {
        self.ticks.len() + self.missed.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The oldest instant in it.
    pub(super) fn oldest(&self) -> Option<DateTime<Utc>> {
        // Ticks are in the order of their instants; the intervals are not.
        let tick = self.ticks.first().map(|tick| tick.at);
        self.missed.iter().map(|missed| missed.from).chain(tick).min()
    }
}
