//! A producer's memory of one cluster: what is due, what is owed from the past, what has been handed out, and how far
//! everything is on record – the cursor. It never learns that Kafka exists, and never asks a clock.
//!
//! Time is cut into *stretches*, each the ticks of one job file between two instants. The last one has no end: it is
//! the file in force. A new file ends it and begins another. Stretches that nobody worked off in time are the *past*:
//! the same ticks, but each judged by its job's catch-up. A restart, a failover, an outage and a jump of the clock are
//! all the same here: some stretch became past.
//!
//! The cursor follows from that and is kept nowhere: it lies just before the oldest tick that is not on record, be
//! that one still in a stretch or in a portion under way.

mod backlog;
mod backlog_count;
pub mod catchup;
mod current;
mod in_flight;
mod missed_tally;
#[cfg(test)]
mod model;
mod portion;
mod segment;
#[cfg(test)]
mod tests;
pub mod timetable;

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use self::backlog::Backlog;
use self::catchup::LATE;
use self::current::Current;
use self::in_flight::InFlight;
pub use self::portion::{Kind, Missed, PlanBatch};
use super::active_jobs::ActiveJobs;
use crate::common::model::ClusterName;

/// How many instants of groups are counted ahead in one go: a few milliseconds' worth, for the present waits meanwhile.
const COUNT_AHEAD: usize = 5_000;

/// What one cluster is owed.
#[derive(Debug)]
pub struct ClusterPlan {
    cluster: ClusterName,
    present: Current,
    /// The oldest first; none is worked off.
    pasts: VecDeque<Backlog>,
    under_way: InFlight,
    /// The furthest that was ever told, for it never goes back.
    cursor: DateTime<Utc>,
    /// When some of the present last became past.
    last_cut: Option<DateTime<Utc>>,
}

impl ClusterPlan {
    /// Ticks after `cursor` are owed. Those that are later than [`LATE`] are the past, judged by the jobs' catch-up; the
    /// rest is the present.
    pub fn new(file: &ActiveJobs, cluster: &ClusterName, cursor: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let mut lane = Self {
            cluster: cluster.clone(),
            present: Current::new(&file.of(cluster), &file.revision, cursor),
            pasts: VecDeque::new(),
            under_way: InFlight::default(),
            cursor,
            last_cut: None,
        };
        lane.pasts.extend(lane.present.cut((now - LATE).max(cursor), now));
        lane
    }

    /// The next portion: the present first, then a slice of the past, at most `limit` ticks and missed intervals
    /// together. `None` when nothing is to be handed out at this moment: [`next`](Self::next) says when to ask again,
    /// and that may be at once, where a long past is still being counted.
    pub fn take(&mut self, now: DateTime<Utc>, limit: usize) -> Option<PlanBatch> {
        if self.present.next().is_some_and(|at| at < now - LATE) {
            // One that falls behind again at once will not make up for it: then all of it becomes past.
            let again = self.last_cut.is_some_and(|last| now < last + LATE);
            self.cut(if again { now } else { now - LATE }, now);
        }
        let portion = match self.present.take(now, limit) {
            None => self.pasts.front_mut()?.take(now, limit),
            present => present,
        };
        while self.pasts.front().is_some_and(|past| past.oldest().is_none()) {
            self.pasts.pop_front();
        }
        self.under_way.add(portion.as_ref()?);
        portion
    }

    /// The present up to an instant becomes past.
    fn cut(&mut self, until: DateTime<Utc>, now: DateTime<Utc>) {
        self.last_cut = Some(now);
        self.pasts.extend(self.present.cut(until, now));
    }

    /// How many ticks of the past are still to be handed out to be published, as far as they have been counted: each call
    /// counts on for a moment.
    pub fn left_to_catch_up(&mut self, now: DateTime<Utc>) -> u64 {
        self.pasts.iter_mut().map(|past| past.left_to_publish(now, COUNT_AHEAD)).sum()
    }

    /// The oldest portion of that kind that was handed out has its fate on record.
    pub fn confirmed(&mut self, kind: Kind) {
        self.under_way.confirmed(kind);
    }

    /// The portion of that kind that was handed out last is on record already: others may still be under way.
    pub fn nothing_left(&mut self, kind: Kind) {
        self.under_way.nothing_left(kind);
    }

    /// Every tick due up to here has its fate on record. It moves with confirmations, and with time when nothing is
    /// due; it never goes back, and is never ahead of the latest `now` that it was asked with (or of where it began).
    pub fn cursor(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let open = self.under_way.oldest().into_iter().chain(self.next()).min();
        let before = open.and_then(|at| at.checked_sub_signed(TimeDelta::milliseconds(1)));
        self.cursor = before.map_or(now, |before| before.min(now)).max(self.cursor);
        self.cursor
    }

    /// The instant of the oldest tick that was not handed out: at or before now, ask at once.
    pub fn next(&self) -> Option<DateTime<Utc>> {
        let past = self.pasts.iter().filter_map(Backlog::oldest).min();
        past.into_iter().chain(self.present.next()).min()
    }

    /// A new job file: ticks due up to `at` belong to the old one however late they are published, later ones to the
    /// new one. Where `at` lies before what was handed out, or before the cursor, the new one begins there. Returns the
    /// instant, no earlier than the cursor.
    pub fn swap(&mut self, file: &ActiveJobs, at: DateTime<Utc>) -> DateTime<Utc> {
        let at = at.max(self.cursor);
        self.present.swap(&file.of(&self.cluster), &file.revision, at);
        at
    }

    /// How many jobs the cluster has in the file in force.
    pub fn job_count(&self) -> usize {
        self.present.job_count()
    }
}
