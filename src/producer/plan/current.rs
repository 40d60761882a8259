//! The ticks that are due now: those of the active file, after what older files still owe.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::backlog::Backlog;
use super::batch::{Batch, Source};
use super::segment::Segment;
use crate::common::model::JobName;
use crate::producer::job::Job;
use crate::producer::leadership::Term;

/// Segments in the order of time, without gaps.
#[derive(Debug)]
pub(super) struct Current {
    /// Segments of files that were active before, each with its last instant. All of them owe something.
    pub(super) closed: VecDeque<(Segment, DateTime<Utc>)>,
    /// The segment of the active file.
    open: Segment,
    /// The last tick that was handed out: no later file may owe it again.
    handed_out: DateTime<Utc>,
}

impl Current {
    /// One file, its ticks after `from`.
    pub(super) fn new(jobs: &[Arc<Job>], revision: &Arc<str>, from: DateTime<Utc>) -> Self {
        Self { closed: VecDeque::new(), open: Segment::new(jobs, revision, from), handed_out: from }
    }

    /// Takes what is due at `now`, in the order of instants, of one file at a time.
    pub(super) fn take(&mut self, term: Term, now: DateTime<Utc>, limit: usize) -> Option<Batch> {
        let (segment, until) = match self.closed.front_mut() {
            Some((segment, until)) => (segment, now.min(*until)),
            None => (&mut self.open, now),
        };
        let ticks = segment.timetable.take(until, limit);
        let mut batch = Batch::new(term, Source::Current, &segment.revision);
        self.handed_out = ticks.last().map_or(self.handed_out, |tick| tick.at.max(self.handed_out));
        batch.ticks = ticks;
        self.drop_finished();
        (!batch.is_empty()).then_some(batch)
    }

    /// Ticks after `at` belong to another file, or after what was handed out if that is later.
    pub(super) fn swap(&mut self, jobs: &[Arc<Job>], revision: &Arc<str>, at: DateTime<Utc>) {
        let at = at.max(self.handed_out).max(self.open.from);
        let old = std::mem::replace(&mut self.open, Segment::new(jobs, revision, at));
        self.closed.push_back((old, at));
        self.drop_finished();
    }

    /// Cuts off what is due up to `end` and moves it to the backlog, as was `found` at that instant. Returns the oldest
    /// first, and leaves out segments without ticks.
    pub(super) fn cut(&mut self, end: DateTime<Utc>, found: DateTime<Utc>) -> Vec<Backlog> {
        let mut segments = Vec::new();
        while let Some((segment, until)) = self.closed.pop_front() {
            if until > end {
                let rest = segment.after(end);
                segments.push((segment, end));
                self.closed.push_front((rest, until));
                break;
            }
            segments.push((segment, until));
        }
        if self.closed.is_empty() && self.open.from < end {
            let rest = self.open.after(end);
            segments.push((std::mem::replace(&mut self.open, rest), end));
        }
        self.drop_finished();
        into_pasts(segments, found)
    }

    /// The instant of the oldest tick that was not handed out.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        self.closed.front().map_or(&self.open, |(segment, _)| segment).timetable.next()
    }

    /// Whether a tick of a former file was not handed out.
    pub(super) fn owes_former(&self) -> bool {
        !self.closed.is_empty()
    }

    fn drop_finished(&mut self) {
        self.closed.retain(|(segment, until)| segment.owes(*until));
    }
}

/// Turns segments into backlogs. A job that has a tick in a later segment of the same outage has its last one there.
fn into_pasts(segments: Vec<(Segment, DateTime<Utc>)>, found: DateTime<Utc>) -> Vec<Backlog> {
    let mut pasts = Vec::new();
    let mut later: HashSet<JobName> = HashSet::new();
    let mut rest = segments.into_iter().rev().filter(|(segment, until)| segment.owes(*until)).peekable();
    while let Some((segment, until)) = rest.next() {
        let due_again = later.clone();
        if rest.peek().is_some() {
            let due = segment.timetable.due_between(segment.from, until);
            later.extend(due.map(|job| job.name.clone()));
        }
        pasts.push(Backlog::new(segment, until, found, due_again));
    }
    pasts.reverse();
    pasts
}
