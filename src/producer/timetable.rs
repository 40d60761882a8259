//! The timetable of one cluster: which ticks are due. It never learns that Kafka exists, and never asks a clock.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::job::Job;

/// An instant at which a job is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The job.
    pub job: Arc<Job>,
    /// The scheduled instant, after the job's jitter.
    pub at: DateTime<Utc>,
}

/// The ticks of a set of jobs, in order.
#[derive(Debug)]
pub struct Timetable {}

impl Timetable {
    /// A timetable of the ticks after `from`.
    pub fn new(jobs: &[Arc<Job>], from: DateTime<Utc>) -> Self {
        let _ = (jobs, from);
        Self {}
    }

    /// Takes ticks that are due at `now`, in the order of their instants, at most `limit`. What is left stays due.
    pub fn take(&mut self, now: DateTime<Utc>, limit: usize) -> Vec<Tick> {
        let _ = (now, limit);
        Vec::new()
    }

    /// The instant of the next tick that was not taken; `None` when there is none any more.
    pub fn next(&self) -> Option<DateTime<Utc>> {
        None
    }
}
