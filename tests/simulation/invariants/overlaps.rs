//! Jobs whose runs must not overlap: none is published while another one is not over, and none waits for one that is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kafka_cron::common::words::{Attempt, AttemptRef, Event, JobName, RunId, Then};

/// For how long ticks may be held back by a run that no leader has published: one that was decided, and whose leader died
/// or is cut off.
const UNPUBLISHED: Duration = Duration::from_secs(80);

/// How long a leader may take to learn that a run is over: as long as processes are stopped and brokers are away, and what
/// it takes to lead again.
const LIMIT: Duration = Duration::from_secs(40);

#[derive(Debug)]
struct Known {
    job: JobName,
    /// The highest attempt that has a message.
    last: u32,
    over: Option<Instant>,
    /// Nobody can know whether it is over: it was published by a request that arrived after its sender had been replaced,
    /// its message was deleted, or an attempt ended that was lost.
    is_excused: bool,
}

/// The runs of these jobs.
#[derive(Debug, Default)]
pub struct Overlaps {
    runs: BTreeMap<RunId, Known>,
    ended: BTreeMap<AttemptRef, Then>,
    lost: BTreeMap<AttemptRef, Then>,
    skipped: BTreeSet<RunId>,
    /// Runs that have held back ticks and that nobody has published, and since when.
    unpublished: BTreeMap<RunId, Instant>,
    pub queued: u64,
    pub broken: Option<String>,
}

fn is_exclusive(job: &JobName) -> bool {
    matches!(job.as_str(), "skips" | "queues" | "agent" | "first" | "second")
}

impl Overlaps {
    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// An attempt stands in a topic, written by a request that arrived late or in time.
    pub fn attempt(&mut self, attempt: &Attempt, is_late: bool) {
        let (job, run) = (&attempt.run.job, attempt.run.id);
        if !is_exclusive(job) {
            return;
        }
        if let Some(known) = self.runs.get_mut(&run) {
            if known.last < attempt.attempt {
                (known.last, known.over) = (attempt.attempt, None);
            }
            return;
        }
        let blocks = |known: &Known| known.job == *job && known.over.is_none() && !known.is_excused;
        let blocking = self.runs.iter().find(|(_, known)| blocks(known)).map(|(run, _)| *run);
        if let Some(other) = blocking.filter(|_| !is_late) {
            let at = attempt.run.scheduled_at;
            self.breaks(format!(
                "{job} at {at}, run {run}, is published beside run {other}, which is not over"
            ));
        }
        self.unpublished.remove(&run);
        let known = Known { job: job.clone(), last: attempt.attempt, over: None, is_excused: is_late };
        self.runs.insert(run, known);
    }

    /// An event is on record.
    pub fn event(&mut self, event: &Event, now: Instant) {
        let (attempt, then) = match event {
            Event::Finished { attempt, then, .. } => {
                self.ended.insert(*attempt, *then);
                (attempt, then)
            }
            Event::Lost { attempt, then, .. } => {
                self.lost.insert(*attempt, *then);
                (attempt, then)
            }
            _ => return,
        };
        let is_both = self.ended.contains_key(attempt) && self.lost.contains_key(attempt);
        let Some(known) = self.runs.get_mut(&attempt.run) else { return };
        // One that ends when it was passed on already, and not yet said to be lost, is as good as lost.
        let is_late = attempt.attempt < known.last && matches!(then, Then::Done | Then::Dead);
        known.is_excused |= is_both || is_late;
        if attempt.attempt == known.last && matches!(then, Then::Done | Then::Dead) {
            known.over.get_or_insert(now);
        }
    }

    /// The message of an attempt was deleted.
    pub fn deleted(&mut self, attempt: AttemptRef) {
        if let Some(known) = self.runs.get_mut(&attempt.run) {
            known.is_excused = true;
        }
    }

    /// A leader decides.
    pub fn decided(&mut self, event: &Event, now: Instant) {
        let (Event::Skipped { job, scheduled_at, blocked_by, .. }
        | Event::Queued { job, scheduled_at, blocked_by, .. }) = event
        else {
            return;
        };
        let run = RunId::of(job, *scheduled_at);
        let is_skipped = matches!(event, Event::Skipped { .. });
        self.queued += u64::from(!is_skipped);
        if !is_exclusive(job) {
            return;
        }
        if is_skipped && self.runs.get(&run).is_some_and(|known| !known.is_excused) {
            self.breaks(format!("{job} at {scheduled_at} is skipped, and is published already"));
        }
        if !self.runs.contains_key(blocked_by) {
            let since = *self.unpublished.entry(*blocked_by).or_insert(now);
            if now.saturating_duration_since(since) > UNPUBLISHED {
                self.breaks(format!(
                    "{job} at {scheduled_at} is held back by run {blocked_by}, which nobody has published"
                ));
            }
        }
        let over = self.runs.get(blocked_by).filter(|known| !known.is_excused).and_then(|known| known.over);
        let ago = over.map(|over| now.saturating_duration_since(over)).unwrap_or_default();
        if ago > LIMIT {
            self.breaks(format!(
                "{job} at {scheduled_at} is held back by run {blocked_by}, over {ago:?} ago"
            ));
        }
        if is_skipped {
            self.skipped.insert(run);
        }
    }
}
