//! A segment in the backlog: each of its ticks is published or missed, in the order of instants, in slices.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::backlog_count::{BacklogCount, CountCriteria};
use super::batch::{Batch, Missed, Source};
use super::catchup;
use super::catchup::LateTick;
use super::missed_tally::MissedTally;
use super::segment::Segment;
use super::timetable::{Due, Tick};
use crate::common::model::{JobName, MissedReason};
use crate::producer::job::Job;
use crate::producer::leadership::Term;

/// How many instants of groups one call looks at: some ten milliseconds' worth, so that current ticks do not wait long
/// for a backlog of which nothing is published.
const STEPS: usize = 20_000;

/// The backlog hands out missed ticks at its end, or sooner so that the cursor moves: after as many published ticks as
/// there are missed intervals to hand out, and at least after this many. However long a backlog is and however it is
/// sliced, there are therefore never more intervals than published ticks, except for those at its end.
const TICKS_A_SLICE: usize = 10_000;

/// The ticks of one job file that were due while no producer published.
#[derive(Debug)]
pub(super) struct Backlog {
    segment: Segment,
    /// Its last instant.
    until: DateTime<Utc>,
    /// When the segment moved to the backlog.
    found: DateTime<Utc>,
    /// Jobs that are due again later in the same outage, under another file.
    due_again: HashSet<JobName>,
    missed: MissedTally,
    ahead: BacklogCount,
    /// Whether the missed ticks are being handed out.
    telling: bool,
    /// Ticks handed out to be published since missed ones were.
    published: usize,
}

impl Backlog {
    /// Creates the backlog of all that the segment owes up to `until`.
    pub(super) fn new(
        segment: Segment,
        until: DateTime<Utc>,
        found: DateTime<Utc>,
        due_again: HashSet<JobName>,
    ) -> Self {
        let (missed, ahead) = (MissedTally::default(), BacklogCount::new(&segment.timetable));
        Self { segment, until, found, due_again, missed, ahead, telling: false, published: 0 }
    }

    /// The next slice, at most `limit` ticks and intervals. `None` where it only counted, or has nothing left.
    pub(super) fn take(&mut self, term: Term, now: DateTime<Utc>, limit: usize) -> Option<Batch> {
        let mut batch = Batch::new(term, Source::Backlog, &self.segment.revision);
        for _ in 0..STEPS {
            let room = limit - batch.len();
            if room == 0 || !self.step(now, room, &mut batch) {
                break;
            }
        }
        self.ahead.published(batch.ticks.len());
        (!batch.is_empty()).then_some(batch)
    }

    /// How many ticks are still to be handed out to be published, as far as they have been counted. Counts on by at most
    /// so many instants of groups.
    pub(super) fn left_to_publish(&mut self, now: DateTime<Utc>, steps: usize) -> u64 {
        let criteria = CountCriteria { until: self.until, found: self.found, due_again: &self.due_again };
        self.ahead.count(now, criteria, steps);
        self.ahead.left()
    }

    /// The oldest instant that was not handed out; `None` when all were.
    pub(super) fn oldest(&self) -> Option<DateTime<Utc>> {
        let due = self.segment.timetable.next().filter(|at| *at <= self.until);
        self.missed.oldest().into_iter().chain(due).min()
    }

    /// Looks at one instant of one group, or tells of missed ticks. `false` when there is nothing left.
    fn step(&mut self, now: DateTime<Utc>, room: usize, batch: &mut Batch) -> bool {
        let timetable = &mut self.segment.timetable;
        let due = timetable.due(self.until).filter(|_| !self.telling);
        let (Some(due), Some(job)) = (due, due.and_then(|due| due.jobs.first())) else {
            batch.missed.extend(self.missed.take(timetable, room));
            self.telling = self.missed.len() > 0;
            return self.oldest().is_some();
        };
        let tick = LateTick { at: due.at, found: self.found, now };
        let is_last = || timetable.next_of(due.group, due.at).is_none_or(|next| next > self.until);
        // The jobs of a group are judged alike.
        if let Some(reason) = catchup::missed(job, tick, is_last) {
            self.missed.count(due, reason);
            let all = due.jobs.len();
            timetable.pass(all);
            return true;
        }
        let taken = due.jobs.len().min(room);
        publish(due, taken, |job| catchup::comes_later(job, tick, &self.due_again), batch);
        timetable.pass(taken);
        self.published += taken;
        if self.published >= self.missed.len().max(TICKS_A_SLICE) {
            self.published = 0;
            self.telling = self.missed.len() > 0;
        }
        true
    }
}

/// The first `count` of the ticks that are due, but for those whose jobs ask for one that comes later.
fn publish(due: Due<'_>, count: usize, comes_later: impl Fn(&Job) -> bool, batch: &mut Batch) {
    for job in &due.jobs[..count] {
        let job = Arc::clone(job);
        if comes_later(&job) {
            let reason = MissedReason::NotCaughtUp;
            batch.missed.push(Missed { job, from: due.at, to: due.at, count: 1, reason });
        } else {
            batch.ticks.push(Tick { job, at: due.at });
        }
    }
}
