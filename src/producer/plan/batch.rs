//! A batch: the ticks of one cluster whose fate is decided, on their way to Kafka.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::timetable::Tick;
use crate::common::model::{Event, MissedReason};
use crate::producer::job::Job;
use crate::producer::leadership::Term;

/// Where a batch comes from. Batches of one source are confirmed in the order in which they were handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The plan: ticks that are due now.
    Current,
    /// The plan: ticks that were due while no producer published.
    Backlog,
    /// The scheduler: ticks of a reboot, ticks that waited for the run before them, and events.
    Extra,
}

/// Ticks of one cluster and one job file whose fate is decided and not yet on record, and the events that record it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The term in which it may be written.
    pub term: Term,
    /// Where it comes from.
    pub source: Source,
    /// To be published, in the order of their instants.
    pub ticks: Vec<Tick>,
    /// Not to be published.
    pub missed: Vec<Missed>,
    /// To be written to `cron-runs`. The plan adds none; the scheduler adds those about missed ticks, among others.
    pub events: Vec<Event>,
    /// Of the job file that owed the ticks.
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

impl Batch {
    /// Creates a batch without ticks and events.
    pub fn new(term: Term, source: Source, revision: &Arc<str>) -> Self {
        let revision = Arc::clone(revision);
        Self { term, source, ticks: Vec::new(), missed: Vec::new(), events: Vec::new(), revision }
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
