//! Jobs whose runs must not overlap: no run is published while another is unfinished, and none waits for a finished one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kafka_cron::common::model::{Attempt, AttemptRef, Event, JobName, MissedReason, RunId, Then};
use kafka_cron::producer::leadership::Term;

use crate::jobs::{file_number, is_exclusive, may_be_exclusive};

/// For how long producers may lead while ticks are held back by a run that none of them has published: one that was decided,
/// and whose leader died or is cut off.
const UNPUBLISHED: Duration = Duration::from_secs(40);

/// How long a leader may take to learn that a run is over: as long as processes are stopped and brokers are away, and what
/// it takes to lead again.
const LIMIT: Duration = Duration::from_secs(40);

/// How long producers may lead until one finds that a run's message was deleted before a consumer claimed it: it looks for one that has
/// waited for a lease, again after twice as long, and may have to be found first.
const DELETED: Duration = Duration::from_secs(100);

/// The longest time between two beats of a leader that is at work: twice the longest time between those that are due, six in
/// a lease of 12 s. Where it takes longer, none leads, or the one that leads reaches nothing.
const BETWEEN_BEATS: Duration = Duration::from_secs(4);

#[derive(Debug)]
struct Known {
    job: JobName,
    /// The highest attempt that has a message.
    last: u32,
    over: Option<Instant>,
    /// It is unknown whether it is over: it was published by a request that arrived after its sender had been replaced,
    /// its message was deleted, or an attempt ended that was lost.
    is_excused: bool,
    /// It was published by a file that allows overlaps: then only its consumer puts it on record, from its claim on.
    is_allowed: bool,
    /// The number of that file, and whether it is on record that the run is published.
    file: usize,
    is_recorded: bool,
    claimed: Option<Instant>,
    /// When it was seen first.
    since: Instant,
    /// Since when no message of it is left that a consumer would claim.
    deleted: Option<Instant>,
}

/// The runs of these jobs.
#[derive(Debug, Default)]
pub struct Overlaps {
    runs: BTreeMap<RunId, Known>,
    ended: BTreeMap<AttemptRef, Then>,
    lost: BTreeMap<AttemptRef, Then>,
    skipped: BTreeSet<RunId>,
    /// Runs that have held back ticks and that no producer has published, and since when.
    unpublished: BTreeMap<RunId, Instant>,
    /// When a producer has asked which runs of the jobs of a file are not finished, or began the term in which it read to the
    /// end, whichever is later, by the file's revision.
    asked: BTreeMap<String, Instant>,
    /// When a producer began its last term, and the term's number.
    began: BTreeMap<String, (Term, Instant)>,
    /// When leaders' beats were written.
    beats: Vec<Instant>,
    pub queued: u64,
    pub broken: Option<String>,
}

impl Overlaps {
    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// A producer has another job file, and asks which runs of its jobs are not finished.
    pub fn asks(&mut self, revision: &str, now: Instant) {
        self.asked.insert(revision.to_owned(), now);
    }

    /// A producer begins a term.
    pub fn begins(&mut self, producer: &str, term: Term, now: Instant) {
        self.began.insert(producer.to_owned(), (term, now));
    }

    /// A producer has read all that had been written before its term began: it knows what was claimed by then, whichever file
    /// it has.
    pub fn read_to_end(&mut self, producer: &str, term: Term) {
        let Some((_, began)) = self.began.get(producer).filter(|(number, _)| *number == term) else { return };
        let is_its = |revision: &String| revision.split_once('-').is_some_and(|(_, by)| by == producer);
        let of_producer = self.asked.iter_mut().filter(|(revision, _)| is_its(revision));
        of_producer.for_each(|(_, asked)| *asked = (*asked).max(*began));
    }

    /// When the producer of a revision has asked for the runs of a job: for the first of the files in a row by which they may
    /// not overlap. From then on it follows them, and hears of a claim when it reads it.
    fn asked(&self, job: &JobName, revision: &str) -> Option<Instant> {
        let producer = revision.split_once('-')?.1;
        let of_producer =
            |(other, _): &(&String, &Instant)| other.split_once('-').is_some_and(|(_, by)| by == producer);
        let mut files: Vec<(usize, &String, Instant)> = self
            .asked
            .iter()
            .filter(of_producer)
            .map(|(other, at)| (file_number(other), other, *at))
            .collect();
        files.sort_unstable_by_key(|(number, ..)| std::cmp::Reverse(*number));
        let up_to = files.into_iter().skip_while(|(_, other, _)| *other != revision);
        up_to.take_while(|(_, other, _)| is_exclusive(job, other)).map(|(_, _, at)| at).last()
    }

    /// An attempt stands in a topic, written by a request that arrived late or in time.
    pub fn attempt(&mut self, attempt: &Attempt, is_late: bool, now: Instant) {
        let (job, run) = (&attempt.run.job, attempt.run.id);
        if !may_be_exclusive(job) {
            return;
        }
        if let Some(known) = self.runs.get_mut(&run) {
            if known.last < attempt.attempt {
                // The attempt before was lost, and ended after all while the next one was being written.
                known.is_excused |= known.over.is_some();
                (known.last, known.over) = (attempt.attempt, None);
            }
            known.deleted = None;
            return;
        }
        let excludes = is_exclusive(job, &attempt.run.revision);
        let asked = self.asked(job, &attempt.run.revision);
        let file = file_number(&attempt.run.revision);
        let blocks = |known: &Known| {
            // The leader died before the run was on record, and a file without such a job was active since: that leader
            // did not look for the run in the topic.
            let is_lost_sight_of = !known.is_recorded
                && (known.file + 1..file).any(|number| !is_exclusive(job, &number.to_string()));
            let is_known = !(known.is_allowed || is_lost_sight_of)
                || known.claimed.zip(asked).is_some_and(|(claimed, asked)| claimed < asked);
            excludes && known.job == *job && known.over.is_none() && !known.is_excused && is_known
        };
        let blocking = self.runs.iter().find(|(_, known)| blocks(known)).map(|(run, _)| *run);
        if let Some(other) = blocking.filter(|_| !is_late) {
            let at = attempt.run.scheduled_at;
            self.breaks(format!(
                "{job} at {at}, run {run}, is published beside run {other}, which is not over"
            ));
        }
        self.unpublished.remove(&run);
        let (last, over) = (attempt.attempt, None);
        let known = Known {
            job: job.clone(),
            last,
            over,
            is_excused: is_late,
            is_allowed: !excludes,
            file,
            is_recorded: false,
            claimed: None,
            since: now,
            deleted: None,
        };
        self.runs.insert(run, known);
    }

    /// An event is on record.
    pub fn event(&mut self, event: &Event, now: Instant) {
        let (attempt, then) = match event {
            // A producer that is about to lead writes number 0.
            Event::Beat { number, .. } => {
                if *number > 0 {
                    self.beats.push(now);
                }
                return;
            }
            Event::Claimed { attempt, .. } => {
                if let Some(known) = self.runs.get_mut(&attempt.run) {
                    known.claimed.get_or_insert(now);
                }
                return;
            }
            Event::Published { run, .. } => {
                if let Some(known) = self.runs.get_mut(run) {
                    known.is_recorded = true;
                }
                return;
            }
            // It blocks nothing from here on, and a leader that has not read that decides its tick anew.
            Event::Missed { job, from, reason: MissedReason::TooLarge, .. } => {
                self.unpublished.remove(&RunId::of(job, *from));
                return;
            }
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

    /// The message of an attempt was deleted with its topic before it was claimed: its run will never be over, and the
    /// leader has to say so.
    pub fn deleted_unread(&mut self, attempt: AttemptRef, now: Instant) {
        if let Some(known) = self.runs.get_mut(&attempt.run) {
            known.is_excused = true;
            if known.last == attempt.attempt && known.over.is_none() {
                known.deleted = Some(now);
            }
        }
    }

    /// For how long producers have led between two instants, and were at work.
    pub fn led(&self, from: Instant, until: Instant) -> Duration {
        let first = self.beats.partition_point(|beat| *beat <= from);
        let ends = self.beats[first..].iter().copied().chain([until]);
        let since = [from].into_iter().chain(self.beats[first..].iter().copied());
        let gaps = since.zip(ends).map(|(from, to)| to.saturating_duration_since(from));
        gaps.filter(|gap| *gap <= BETWEEN_BEATS).sum()
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
        if !may_be_exclusive(job) {
            return;
        }
        if is_skipped && self.runs.get(&run).is_some_and(|known| !known.is_excused) {
            self.breaks(format!("{job} at {scheduled_at} is skipped, and is published already"));
        }
        if !self.runs.contains_key(blocked_by) {
            let since = *self.unpublished.entry(*blocked_by).or_insert(now);
            if self.led(since, now) > UNPUBLISHED {
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
        let deleted = self.runs.get(blocked_by).and_then(|known| Some((known.since, known.deleted?)));
        let led = deleted.map(|(_, at)| self.led(at, now)).unwrap_or_default();
        // It is looked for later each time, after as long as it has waited.
        let waited = deleted.map(|(since, at)| at.saturating_duration_since(since)).unwrap_or_default();
        if led > DELETED + waited {
            self.breaks(format!(
                "{job} at {scheduled_at} is held back by run {blocked_by}, which was deleted unread: since then, producers have led for {led:?}"
            ));
        }
        if is_skipped {
            self.skipped.insert(run);
        }
    }
}
