//! Runs that are not finished, of the jobs whose ticks wait for them or are skipped. Pure.
//!
//! A run begins with `published` and is over with the end of an attempt that no other follows. The two lie in different
//! partitions of `cron-runs` and are read in either order. Of a job that allowed overlaps when the run was published there
//! is no `published`: such a run is known from its first claim on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::common::topics;
use crate::common::words::{AttemptRef, ClusterName, Event, JobName, RunId, Then};

/// The jobs whose runs are followed, with their clusters: names are unique within one job file, and others may stand on
/// the same Kafka.
pub type Followed = Arc<HashMap<JobName, ClusterName>>;

/// A run that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its job.
    pub job: JobName,
    /// The run.
    pub run: RunId,
    /// The instant that the schedule named, where it is known: a claim does not say so.
    pub scheduled_at: Option<DateTime<Utc>>,
}

/// What is known of the runs of those jobs.
#[derive(Debug, Default)]
pub struct Runs {
    jobs: Followed,
    open: HashMap<RunId, Open>,
    /// Runs that are over: that may be read before they are known to have begun.
    over: HashMap<RunId, Over>,
    /// Topics of which messages were deleted that nobody had claimed.
    doubtful: BTreeSet<String>,
    doubtful_later: BTreeSet<String>,
}

#[derive(Debug)]
struct Open {
    run: Unfinished,
    cluster: ClusterName,
    /// It was read to be published; otherwise only a claim, or an end that another attempt follows.
    is_published: bool,
    /// The furthest that is known of its attempts; none where nobody has claimed it yet.
    last: Option<(u32, Sign)>,
}

/// A run that is over.
#[derive(Debug, Clone, Copy)]
struct Over {
    /// When that was read.
    read: Instant,
    /// With the end of this attempt. That one was lost before, or the run was put back, where more is read of another one.
    attempt: u32,
}

/// What an event has said of the runs that are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Nothing, or nothing new.
    Nothing,
    /// One is not finished.
    Unfinished(Unfinished),
    /// That of the event is over.
    Over,
    /// An attempt has ended that was lost before: the one that follows says what becomes of the run.
    LateEnd,
}

/// What is known of an attempt, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Claimed,
    /// It has ended, and the next one is in the retry topic.
    Retried,
}

/// A run whose next message somebody is to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its job.
    pub job: JobName,
    /// The run.
    pub run: RunId,
    last: Option<(u32, Sign)>,
}

impl Waiting {
    /// The last that was heard of it is a claim.
    pub fn is_claimed(&self) -> bool {
        matches!(self.last, Some((_, Sign::Claimed)))
    }
}

impl Runs {
    /// Of these jobs.
    pub fn new(jobs: Followed) -> Self {
        Self { jobs, ..Self::default() }
    }

    /// Whether there is no job to follow the runs of.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The jobs whose runs are followed.
    pub fn followed(&self) -> &Followed {
        &self.jobs
    }

    /// From now on those of other jobs. What is not finished of the others stays known until it is.
    pub fn follow(&mut self, jobs: Followed) {
        self.jobs = jobs;
    }

    fn follows(&self, job: &JobName, cluster: &ClusterName) -> bool {
        self.jobs.get(job) == Some(cluster)
    }

    /// Whether a run is known that is not over.
    fn has_open(&self, run: RunId, cluster: &ClusterName) -> bool {
        self.open.get(&run).is_some_and(|open| open.cluster == *cluster)
    }

    /// Takes an event that was read at `now`.
    pub fn take(&mut self, event: &Event, now: Instant) -> Said {
        match event {
            Event::Published { run, job, cluster, scheduled_at, .. } if self.follows(job, cluster) => {
                let run = Unfinished { job: job.clone(), run: *run, scheduled_at: Some(*scheduled_at) };
                let Some((news, open)) = self.open_of(run, cluster, None) else { return Said::Nothing };
                open.is_published = true;
                news
            }
            Event::Claimed { attempt, job, place, .. } => match topics::cluster_of(&place.topic) {
                Some(cluster) if self.follows(job, &cluster) => {
                    self.sign(*attempt, Sign::Claimed, (job, &cluster), None)
                }
                _ => Said::Nothing,
            },
            Event::Finished { attempt, job, cluster, then: Then::Done | Then::Dead, .. } => {
                // What is known is known until it is over, also where nobody asks for its job any more.
                if self.follows(job, cluster) || self.has_open(attempt.run, cluster) {
                    self.ended(*attempt, now)
                } else {
                    Said::Nothing
                }
            }
            Event::Finished { attempt, job, cluster, scheduled_at, .. } if self.follows(job, cluster) => {
                self.sign(*attempt, Sign::Retried, (job, cluster), Some(*scheduled_at))
            }
            Event::Lost { attempt, then: Then::Done | Then::Dead, .. } => self.ended(*attempt, now),
            Event::Lost { attempt, job: Some(job), cluster, scheduled_at, .. }
                if self.follows(job, cluster) =>
            {
                self.sign(*attempt, Sign::Retried, (job, cluster), *scheduled_at)
            }
            _ => Said::Nothing,
        }
    }

    fn sign(
        &mut self,
        attempt: AttemptRef,
        sign: Sign,
        (job, cluster): (&JobName, &ClusterName),
        scheduled_at: Option<DateTime<Utc>>,
    ) -> Said {
        let unfinished = Unfinished { job: job.clone(), run: attempt.run, scheduled_at };
        let last = Some((attempt.attempt, sign));
        let Some((news, open)) = self.open_of(unfinished, cluster, last) else { return Said::Nothing };
        open.last = open.last.max(last);
        news
    }

    /// What is known of a run that is not over, and the run itself where it was not known. An attempt that follows the one
    /// whose end was taken for that of the run shows that it is not over.
    fn open_of(
        &mut self,
        run: Unfinished,
        cluster: &ClusterName,
        last: Option<(u32, Sign)>,
    ) -> Option<(Said, &mut Open)> {
        if let Some(over) = self.over.get(&run.run) {
            last.filter(|last| *last > (over.attempt, Sign::Claimed))?;
            self.over.remove(&run.run);
        }
        let is_new = !self.open.contains_key(&run.run);
        let news = if is_new { Said::Unfinished(run.clone()) } else { Said::Nothing };
        let (id, cluster) = (run.run, cluster.clone());
        let begins = || Open { run, cluster, is_published: false, last: None };
        Some((news, self.open.entry(id).or_insert_with(begins)))
    }

    /// An attempt has ended that none follows, unless it was lost before.
    fn ended(&mut self, attempt: AttemptRef, now: Instant) -> Said {
        let AttemptRef { run, attempt } = attempt;
        if let Some(over) = self.over.get_mut(&run) {
            over.attempt = over.attempt.max(attempt);
            return Said::Nothing;
        }
        let last = self.open.get(&run).and_then(|open| open.last);
        if last.is_some_and(|last| last > (attempt, Sign::Claimed)) {
            return Said::LateEnd;
        }
        self.open.remove(&run);
        self.over.insert(run, Over { read: now, attempt });
        Said::Over
    }

    /// All of `cron-runs` was read, and these runs have attempts under way. A run that was only read to be claimed, and is
    /// not among them, has not begun: the claim did not count.
    pub fn all_was_read(&mut self, under_way: &HashSet<RunId>) {
        let is_certain = |open: &Open| {
            open.is_published
                || under_way.contains(&open.run.run)
                || open.last.is_none_or(|(_, sign)| sign == Sign::Retried)
        };
        self.open.retain(|_, open| is_certain(open));
    }

    /// The run is over, whatever is read of it.
    pub fn end(&mut self, run: RunId, now: Instant) {
        self.open.remove(&run);
        self.over.insert(run, Over { read: now, attempt: u32::MAX });
    }

    /// Takes word of messages that were deleted before anybody had claimed them, or cut off: some runs may have been among
    /// them, and nobody is to wait for those.
    pub fn deleted(&mut self, event: &Event) {
        if let Event::DeletedUnread { place, .. } | Event::Truncated { place, .. } = event {
            self.doubtful.insert(place.topic.clone());
        }
    }

    /// A topic of which messages were deleted unread, taken off the list.
    pub fn take_doubtful(&mut self) -> Option<String> {
        self.doubtful.pop_first()
    }

    /// Puts a topic on that list.
    pub fn doubt(&mut self, topic: String) {
        self.doubtful.insert(topic);
    }

    /// The runs whose next message somebody is to claim in a topic, where these runs have attempts under way. A claim of
    /// another one did not count: its message is to be claimed again.
    pub fn waiting_in(&self, topic: &str, under_way: &HashSet<RunId>) -> Vec<Waiting> {
        let is_there = |open: &&Open| match open.last {
            None => topics::first(&open.cluster) == topic,
            Some((_, Sign::Retried)) => topics::retry(&open.cluster) == topic,
            Some((_, Sign::Claimed)) if under_way.contains(&open.run.run) => false,
            Some((1, Sign::Claimed)) => topics::first(&open.cluster) == topic,
            Some((_, Sign::Claimed)) => topics::retry(&open.cluster) == topic,
        };
        let waiting = |open: &Open| Waiting { job: open.run.job.clone(), run: open.run.run, last: open.last };
        self.open.values().filter(is_there).map(waiting).collect()
    }

    /// Puts a topic on that list once more when all that is under way is known to be.
    pub fn doubt_later(&mut self, topic: String) {
        self.doubtful_later.insert(topic);
    }

    /// All that is under way is known to be.
    pub fn doubt_again(&mut self) {
        self.doubtful.append(&mut self.doubtful_later);
    }

    /// Whether nothing was heard of the run since, where these have attempts under way.
    pub fn still_waits(&self, waiting: &Waiting, under_way: &HashSet<RunId>) -> bool {
        let is_same = self.open.get(&waiting.run).is_some_and(|open| open.last == waiting.last);
        is_same && !(waiting.is_claimed() && under_way.contains(&waiting.run))
    }

    /// Those that are known to be over.
    pub fn over(&self) -> Arc<HashSet<RunId>> {
        Arc::new(self.over.keys().copied().collect())
    }

    /// All that are not finished, in the order of their instants.
    pub fn open(&self) -> Vec<Unfinished> {
        let mut all: Vec<Unfinished> = self.open.values().map(|open| open.run.clone()).collect();
        all.sort_by_key(|unfinished| (unfinished.scheduled_at, unfinished.run));
        all
    }

    /// Forgets what was over so long ago that it is not read to be published any more.
    pub fn forget(&mut self, now: Instant, after: Duration) {
        self.over.retain(|_, over| now.saturating_duration_since(over.read) < after);
    }
}

#[cfg(test)]
mod tests;
