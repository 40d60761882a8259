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
    /// Runs that are over, and when that was read: it may be read before they are known to have begun.
    over: HashMap<RunId, Instant>,
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

    /// Takes an event that was read at `now`. Returns the run that it shows to be unfinished, where that is news and it
    /// is not known to be over.
    pub fn take(&mut self, event: &Event, now: Instant) -> Option<Unfinished> {
        match event {
            Event::Published { run, job, cluster, scheduled_at, .. } if self.follows(job, cluster) => {
                let unfinished =
                    Unfinished { job: job.clone(), run: *run, scheduled_at: Some(*scheduled_at) };
                let (news, open) = self.open_of(unfinished, cluster)?;
                open.is_published = true;
                news
            }
            Event::Claimed { attempt, job, place, .. } => {
                let cluster =
                    topics::cluster_of(&place.topic).filter(|cluster| self.follows(job, cluster))?;
                self.sign(*attempt, Sign::Claimed, (job, &cluster), None)
            }
            Event::Finished { attempt, job, cluster, scheduled_at, then, .. }
                if self.follows(job, cluster) =>
            {
                match then {
                    Then::Done | Then::Dead => self.end(attempt.run, now),
                    Then::Retried => {
                        return self.sign(*attempt, Sign::Retried, (job, cluster), Some(*scheduled_at));
                    }
                }
                None
            }
            Event::Lost { attempt, then: Then::Done | Then::Dead, .. } => {
                self.end(attempt.run, now);
                None
            }
            Event::Lost { attempt, job: Some(job), cluster, scheduled_at, .. }
                if self.follows(job, cluster) =>
            {
                self.sign(*attempt, Sign::Retried, (job, cluster), *scheduled_at)
            }
            _ => None,
        }
    }

    fn sign(
        &mut self,
        attempt: AttemptRef,
        sign: Sign,
        (job, cluster): (&JobName, &ClusterName),
        scheduled_at: Option<DateTime<Utc>>,
    ) -> Option<Unfinished> {
        let unfinished = Unfinished { job: job.clone(), run: attempt.run, scheduled_at };
        let (news, open) = self.open_of(unfinished, cluster)?;
        open.last = open.last.max(Some((attempt.attempt, sign)));
        news
    }

    /// What is known of a run that is not over, and the run itself where it was not known.
    fn open_of(&mut self, run: Unfinished, cluster: &ClusterName) -> Option<(Option<Unfinished>, &mut Open)> {
        if self.over.contains_key(&run.run) {
            return None;
        }
        let news = (!self.open.contains_key(&run.run)).then(|| run.clone());
        let (id, cluster) = (run.run, cluster.clone());
        let begins = || Open { run, cluster, is_published: false, last: None };
        Some((news, self.open.entry(id).or_insert_with(begins)))
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

    /// The run is over.
    pub fn end(&mut self, run: RunId, now: Instant) {
        self.open.remove(&run);
        self.over.insert(run, now);
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
        self.over.retain(|_, heard| now.saturating_duration_since(*heard) < after);
    }
}

#[cfg(test)]
mod tests;
