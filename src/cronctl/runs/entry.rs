//! An entry of the run list: what is known of one run, or of a tick that did not become one.

use chrono::{DateTime, Utc};

use super::run_detail::RunDetail;
use crate::common::model::{ClusterName, JobName, RunId};

/// A run, or a tick that did not become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The run's id.
    pub run: RunId,
    /// Its job.
    pub job: JobName,
    /// Its cluster, where it is known.
    pub cluster: Option<ClusterName>,
    /// The instant that the schedule named, where it is known: a claim does not say so.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// What was decided about the tick.
    pub decision: Decision,
    /// Its attempts.
    pub detail: RunDetail,
}

/// What was decided about a tick, in this order: one that waited may be skipped when a newer one takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// It waits for the run before it.
    Queued,
    /// It waited, and then it was given up: its job is gone from the job file, for instance.
    Missed,
    /// The run before it is in its way, and it is not run.
    Skipped,
    /// It is published.
    Published,
}

impl Entry {
    /// The bounded word for how far it has come.
    pub fn word(&self) -> &'static str {
        match self.decision {
            _ if !self.detail.attempts.is_empty() || self.detail.ended.is_some() => {
                self.detail.stage().word()
            }
            Decision::Skipped => "skipped",
            Decision::Missed => "missed",
            Decision::Queued => "queued",
            Decision::Published => self.detail.stage().word(),
        }
    }

    /// Whether nothing more is to come.
    pub fn is_over(&self) -> bool {
        let is_no_run = matches!(self.decision, Decision::Missed | Decision::Skipped);
        self.detail.stage().is_over() || (is_no_run && self.detail.attempts.is_empty())
    }
}
