//! How many ticks of a backlog will be published, counted before they are taken, so that metrics can say how much is
//! still to come.
//!
//! The count walks the same ticks as the backlog itself and judges them by the same rule, a little at a time. Only a
//! `deadline` that passes between the count and the moment when the tick is taken makes a difference: that tick is
//! counted and then missed.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::catchup;
use super::catchup::LateTick;
use super::timetable::Timetable;
use crate::common::model::JobName;
use crate::producer::job::Job;

/// A count under way.
#[derive(Debug)]
pub(super) struct BacklogCount {
    /// What is still to be counted.
    timetable: Timetable,
    counted: u64,
    /// What was handed out to be published.
    published: u64,
}

/// Which ticks are counted, and how they are judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountCriteria<'a> {
    /// The last instant.
    pub until: DateTime<Utc>,
    /// When they moved to the backlog.
    pub found: DateTime<Utc>,
    /// Jobs whose last tick comes later.
    pub due_again: &'a HashSet<JobName>,
}

impl BacklogCount {
    /// Of the ticks that a timetable still owes.
    pub(super) fn new(timetable: &Timetable) -> Self {
        Self { timetable: timetable.clone(), counted: 0, published: 0 }
    }

    /// Counts on, at most so many instants of groups.
    pub(super) fn count(&mut self, now: DateTime<Utc>, criteria: CountCriteria<'_>, steps: usize) {
        for _ in 0..steps {
            let Some(due) = self.timetable.due(criteria.until) else { return };
            let tick = LateTick { at: due.at, found: criteria.found, now };
            let next = || self.timetable.next_of(due.group, due.at);
            // The jobs of a group are judged alike.
            let is_missed = due.jobs.first().is_some_and(|job| {
                catchup::missed(job, tick, || next().is_none_or(|at| at > criteria.until)).is_some()
            });
            if !is_missed {
                let is_published = |job: &&Arc<Job>| !catchup::comes_later(job, tick, criteria.due_again);
                self.counted += due.jobs.iter().filter(is_published).count() as u64;
            }
            let all = due.jobs.len();
            self.timetable.pass(all);
        }
    }

    /// So many were handed out to be published.
    pub(super) fn published(&mut self, ticks: usize) {
        self.published += ticks as u64;
    }

    /// How many are left of those that were counted.
    pub(super) fn left(&self) -> u64 {
        self.counted.saturating_sub(self.published)
    }
}
