//! The plan of one cluster in one term: which ticks are due, which late ticks are still owed, which batches are in flight, and the
//! cursor, up to which the fate of every tick is on record.
//!
//! The plan has no thread. The scheduler asks it for batches and passes `now` in; the plan never learns that Kafka
//! exists and never reads a clock.
//!
//! Time is divided into *segments*. A segment holds the ticks of one job file between two instants. The last segment
//! has no end, because it belongs to the active file; a new file closes it and opens another. Ticks that are due now
//! are *current*. Where the producer hands them out too late, their segment moves to the *backlog*, and each tick there
//! is judged by its job's catch-up. A restart, a failover, an outage and a jump of the clock are the same case here:
//! some segment moves to the backlog.
//!
//! The cursor is not stored but follows from the rest. It lies just before the oldest tick whose fate is not on record,
//! whether that tick is still in a segment or in a batch in flight.

mod backlog;
mod backlog_count;
mod batch;
pub mod catchup;
mod current;
mod in_flight;
mod missed_tally;
#[cfg(test)]
mod model;
mod segment;
#[cfg(test)]
mod tests;
pub mod timetable;

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use self::backlog::Backlog;
pub use self::batch::{Batch, Missed, Source};
use self::catchup::LATE;
use self::current::Current;
use self::in_flight::InFlight;
use super::active_jobs::ActiveJobs;
use super::leadership::Term;
use crate::common::model::ClusterName;

/// How many instants of groups one call counts ahead. They take a few milliseconds, during which the current ticks
/// wait.
const COUNT_AHEAD: usize = 5_000;

/// The plan of one cluster in one term.
#[derive(Debug)]
pub struct ClusterPlan {
    term: Term,
    cluster: ClusterName,
    current: Current,
    /// The backlogs, the oldest first. Each still owes something.
    backlogs: VecDeque<Backlog>,
    in_flight: InFlight,
    /// The latest cursor that a caller was told; the cursor never goes back.
    cursor: DateTime<Utc>,
    /// When current ticks last moved to the backlog.
    last_cut: Option<DateTime<Utc>>,
}

impl ClusterPlan {
    /// Creates the plan that owes every tick after `cursor`. Ticks that are later than [`LATE`] go to the backlog,
    /// where the jobs' catch-up judges them; the others are current.
    pub fn new(
        term: Term,
        file: &ActiveJobs,
        cluster: &ClusterName,
        cursor: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Self {
        let mut plan = Self {
            term,
            cluster: cluster.clone(),
            current: Current::new(&file.of(cluster), &file.revision, cursor),
            backlogs: VecDeque::new(),
            in_flight: InFlight::default(),
            cursor,
            last_cut: None,
        };
        plan.backlogs.extend(plan.current.cut((now - LATE).max(cursor), now));
        plan
    }

    /// The term for which the plan was made.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Takes the next batch: current ticks first, then a slice of the backlog, at most `limit` ticks and missed
    /// intervals together. Returns `None` when there is nothing to hand out at this moment. [`next`](Self::next) says
    /// when to ask again; that may be at once, while a long backlog is still being counted.
    pub fn take(&mut self, now: DateTime<Utc>, limit: usize) -> Option<Batch> {
        if self.current.next().is_some_and(|at| at < now - LATE) {
            // A producer that falls behind again so soon will not catch up: all that is due moves to the backlog.
            let again = self.last_cut.is_some_and(|last| now < last + LATE);
            self.cut(if again { now } else { now - LATE }, now);
        }
        let batch = match self.current.take(self.term, now, limit) {
            None => self.backlogs.front_mut()?.take(self.term, now, limit),
            current => current,
        };
        while self.backlogs.front().is_some_and(|backlog| backlog.oldest().is_none()) {
            self.backlogs.pop_front();
        }
        self.in_flight.add(batch.as_ref()?);
        batch
    }

    /// Moves the current ticks up to an instant to the backlog.
    fn cut(&mut self, until: DateTime<Utc>, now: DateTime<Utc>) {
        self.last_cut = Some(now);
        self.backlogs.extend(self.current.cut(until, now));
    }

    /// How many ticks of the backlog are still to be handed out for publishing, as far as they have been counted. Each
    /// call counts on for a moment.
    pub fn left_to_catch_up(&mut self, now: DateTime<Utc>) -> u64 {
        self.backlogs.iter_mut().map(|backlog| backlog.left_to_publish(now, COUNT_AHEAD)).sum()
    }

    /// The fate of every tick in the oldest batch in flight of that source is on record.
    pub fn confirmed(&mut self, source: Source) {
        self.in_flight.confirmed(source);
    }

    /// The batch of that source that was handed out last is on record already; others may still be in flight.
    pub fn nothing_left(&mut self, source: Source) {
        self.in_flight.nothing_left(source);
    }

    /// The cursor: every tick due up to it has its fate on record. It moves with confirmations, and with time when
    /// nothing is due. It never goes back, and is never ahead of the latest `now` that a caller passed in (or of where
    /// it began).
    pub fn cursor(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let open = self.in_flight.oldest().into_iter().chain(self.next()).min();
        let before = open.and_then(|at| at.checked_sub_signed(TimeDelta::milliseconds(1)));
        self.cursor = before.map_or(now, |before| before.min(now)).max(self.cursor);
        self.cursor
    }

    /// The instant of the oldest tick that was not handed out. Where it is at or before now, the caller asks at once.
    pub fn next(&self) -> Option<DateTime<Utc>> {
        let backlog = self.backlogs.iter().filter_map(Backlog::oldest).min();
        backlog.into_iter().chain(self.current.next()).min()
    }

    /// Takes a new job file. Ticks due up to `at` belong to the old file however late they are published, later ones to
    /// the new file. Where `at` lies before what was handed out, or before the cursor, the new file begins there.
    /// Returns the instant, no earlier than the cursor.
    pub fn swap(&mut self, file: &ActiveJobs, at: DateTime<Utc>) -> DateTime<Utc> {
        let at = at.max(self.cursor);
        self.current.swap(&file.of(&self.cluster), &file.revision, at);
        at
    }

    /// Whether a tick was not handed out that a former file may owe: one of a closed segment or of the backlog.
    pub fn owes_former(&self) -> bool {
        !self.backlogs.is_empty() || self.current.owes_former()
    }
}
