//! What one job file owes from one instant on.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::timetable::Timetable;
use crate::producer::job::Job;

/// The ticks of one job file after `from`, those not yet handed out.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) timetable: Timetable,
    pub(super) revision: Arc<str>,
    pub(super) from: DateTime<Utc>,
}

impl Segment {
    /// All ticks of a file after `from`.
    pub(super) fn new(jobs: &[Arc<Job>], revision: &Arc<str>, from: DateTime<Utc>) -> Self {
        Self { timetable: Timetable::new(jobs, from), revision: Arc::clone(revision), from }
    }

    /// The same file's ticks after `from`.
    pub(super) fn after(&self, from: DateTime<Utc>) -> Self {
        Self { timetable: self.timetable.after(from), revision: Arc::clone(&self.revision), from }
    }

    /// Whether a tick up to `until` was not handed out.
    pub(super) fn owes(&self, until: DateTime<Utc>) -> bool {
        self.timetable.next().is_some_and(|at| at <= until)
    }
}
