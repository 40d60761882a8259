//! The open runs (published and not finished) of the jobs whose ticks wait for them or are skipped. Pure.
//!
//! A run begins with `published` and is over with the end of an attempt that no other attempt follows. The two lie in
//! different partitions of `cron-runs` and are read in either order. Where the job allowed overlaps when the run was
//! published there is no `published`: such a run is known from its first claim on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::common::model::{AttemptRef, ClusterName, Event, JobName, Place, RunId, Then};
use crate::common::topics;

/// The longest wait before a run is looked for again.
const LONGEST_LOOK: Duration = Duration::from_secs(600);

/// The jobs whose runs are followed, with their clusters: names are unique within one job file, and others may stand on
/// the same Kafka.
pub type Followed = Arc<HashMap<JobName, ClusterName>>;

/// An open run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// Its job.
    pub job: JobName,
    /// The run.
    pub run: RunId,
    /// The instant that the schedule named, where it is known: a claim does not say so.
    pub scheduled_at: Option<DateTime<Utc>>,
}

/// What is known of the runs of the followed jobs.
#[derive(Debug, Default)]
pub struct OpenRuns {
    jobs: Followed,
    /// A run that has waited for so long is looked for.
    look_after: Duration,
    open: HashMap<RunId, Open>,
    /// Runs that are over: that may be read before they are known to have begun.
    over: HashMap<RunId, Over>,
}

#[derive(Debug)]
struct Open {
    run: OpenRun,
    cluster: ClusterName,
    /// Whether its `published` was read; otherwise only a claim was, or an end that another attempt follows.
    is_published: bool,
    /// The furthest state that is known of its attempts; none where no consumer has claimed it yet.
    last: Option<(u32, Sign)>,
    /// Where its first message lies, where it was read to be published.
    place: Option<Place>,
    /// When it was said to be published, or the furthest that is known of it.
    since: DateTime<Utc>,
    /// When to look whether a consumer will claim it, and how much later to look again.
    look: (Instant, Duration),
    /// How many signs of it were read: one that is read again may be of another message.
    signs: u64,
}

impl Open {
    /// The topic in which its next message is to be claimed, where these runs have attempts under way.
    fn waits_in(&self, under_way: &HashSet<RunId>) -> Option<String> {
        match self.last {
            Some((_, Sign::Claimed)) if under_way.contains(&self.run.run) => None,
            None | Some((..=1, Sign::Claimed)) => Some(topics::first(&self.cluster)),
            Some(_) => Some(topics::retry(&self.cluster)),
        }
    }
}

/// A run that is over.
#[derive(Debug, Clone, Copy)]
struct Over {
    /// When that was read.
    read: Instant,
    /// The sign after which the run was over. Where more is read, that attempt was lost before, the run was put back,
    /// or a consumer has claimed it after all.
    last: (u32, Sign),
}

/// What an event has said of the runs that are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Nothing, or nothing new.
    Nothing,
    /// A run is open.
    Unfinished(OpenRun),
    /// The event's run is over.
    Over,
    /// An attempt has ended that was lost before: the one that follows says what becomes of the run. Or the run was ended,
    /// and an attempt is known that was not known then.
    LateEnd,
}

/// What is known of an attempt, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Claimed,
    /// It has ended, and the next one is in the retry topic.
    Retried,
}

/// A run whose next message a consumer is to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The run.
    pub run: OpenRun,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Where its next message was read to lie, where that was read.
    pub place: Option<Place>,
    last: Option<(u32, Sign)>,
    signs: u64,
}

impl Waiting {
    /// The last attempt that is known, by number; 0 where none is.
    pub fn last_attempt(&self) -> u32 {
        self.last.map_or(0, |(attempt, _)| attempt)
    }

    /// Whether the last news of it is a claim.
    pub fn is_claimed(&self) -> bool {
        matches!(self.last, Some((_, Sign::Claimed)))
    }
}

impl OpenRuns {
    /// Creates the open runs of these jobs. A run that has waited for `look_after` is looked for.
    pub fn new(jobs: Followed, look_after: Duration) -> Self {
        Self { jobs, look_after, ..Self::default() }
    }

    /// Whether there is no job to follow the runs of.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The jobs whose runs are followed.
    pub fn followed(&self) -> &Followed {
        &self.jobs
    }

    /// Follows other jobs from now on. An open run of the former jobs stays known until it is over.
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
            Event::Published { run, job, cluster, scheduled_at, place, at } if self.follows(job, cluster) => {
                let run = OpenRun { job: job.clone(), run: *run, scheduled_at: Some(*scheduled_at) };
                let Some((news, open)) = self.open_of(run, cluster, None, (now, *at)) else {
                    return Said::Nothing;
                };
                (open.is_published, open.place) = (true, Some(place.clone()));
                news
            }
            Event::Claimed { attempt, job, place, at, .. } => match topics::cluster_of(&place.topic) {
                Some(cluster) if self.follows(job, &cluster) || self.has_open(attempt.run, &cluster) => {
                    self.sign((*attempt, Sign::Claimed), (job, &cluster), None, (now, *at))
                }
                _ => Said::Nothing,
            },
            Event::Finished { attempt, job, cluster, then: Then::Done | Then::Dead, .. } => {
                // A known run stays known until it is over, even when the scheduler no longer asks for its job.
                if self.follows(job, cluster) || self.has_open(attempt.run, cluster) {
                    self.ended(attempt.run, (attempt.attempt, Sign::Claimed), now)
                } else {
                    Said::Nothing
                }
            }
            Event::Finished { attempt, job, cluster, scheduled_at, ended_at, .. }
                if self.follows(job, cluster) || self.has_open(attempt.run, cluster) =>
            {
                let (sign, scheduled_at) = ((*attempt, Sign::Retried), Some(*scheduled_at));
                self.sign(sign, (job, cluster), scheduled_at, (now, *ended_at))
            }
            Event::Lost { attempt, then: Then::Done | Then::Dead, .. } => {
                self.ended(attempt.run, (attempt.attempt, Sign::Claimed), now)
            }
            Event::Lost { attempt, job: Some(job), cluster, scheduled_at, at, .. }
                if self.follows(job, cluster) || self.has_open(attempt.run, cluster) =>
            {
                self.sign((*attempt, Sign::Retried), (job, cluster), *scheduled_at, (now, *at))
            }
            Event::Ended { attempt, .. } => self.ended(attempt.run, (attempt.attempt, Sign::Retried), now),
            _ => Said::Nothing,
        }
    }

    fn sign(
        &mut self,
        (attempt, sign): (AttemptRef, Sign),
        (job, cluster): (&JobName, &ClusterName),
        scheduled_at: Option<DateTime<Utc>>,
        at: (Instant, DateTime<Utc>),
    ) -> Said {
        let unfinished = OpenRun { job: job.clone(), run: attempt.run, scheduled_at };
        let (last, look_after) = (Some((attempt.attempt, sign)), self.look_after);
        let Some((news, open)) = self.open_of(unfinished, cluster, last, at) else { return Said::Nothing };
        if open.last < last {
            (open.last, open.since, open.look) = (last, at.1, (at.0 + look_after, look_after));
        }
        news
    }

    /// What is known of a run that is not over, and the run itself where it was not known. An attempt that follows the one
    /// whose end was taken for that of the run shows that it is not over.
    fn open_of(
        &mut self,
        run: OpenRun,
        cluster: &ClusterName,
        last: Option<(u32, Sign)>,
        (now, since): (Instant, DateTime<Utc>),
    ) -> Option<(Said, &mut Open)> {
        if let Some(over) = self.over.get(&run.run) {
            last.filter(|last| *last > over.last)?;
            self.over.remove(&run.run);
        }
        let is_new = !self.open.contains_key(&run.run);
        let news = if is_new { Said::Unfinished(run.clone()) } else { Said::Nothing };
        let (id, cluster) = (run.run, cluster.clone());
        let look = (now + self.look_after, self.look_after);
        let begins =
            || Open { run, cluster, is_published: false, last: None, place: None, since, look, signs: 0 };
        let open = self.open.entry(id).or_insert_with(begins);
        open.signs += 1;
        Some((news, open))
    }

    /// A run is over after what is known of its attempts, unless more is known of them.
    fn ended(&mut self, run: RunId, last: (u32, Sign), now: Instant) -> Said {
        if let Some(over) = self.over.get_mut(&run) {
            over.last = over.last.max(last);
            return Said::Nothing;
        }
        let known = self.open.get(&run).and_then(|open| open.last);
        if known.is_some_and(|known| known > last) {
            return Said::LateEnd;
        }
        self.open.remove(&run);
        self.over.insert(run, Over { read: now, last });
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

    /// The topics in which runs have waited for long. Each run is looked for again, later each time: the topic may have
    /// been made anew, the group's offsets set forward, or the batch may be one that no consumer can decode.
    pub fn take_long_waiting(&mut self, under_way: &HashSet<RunId>, now: Instant) -> BTreeSet<String> {
        let mut topics = BTreeSet::new();
        for open in self.open.values_mut().filter(|open| open.look.0 <= now) {
            let Some(topic) = open.waits_in(under_way) else { continue };
            topics.insert(topic);
            let wait = (open.look.1 * 2).min(LONGEST_LOOK);
            open.look = (now + wait, wait);
        }
        topics
    }

    /// How long runs have waited for their first attempt to be claimed, the longest of each cluster. The times come
    /// from the wall clocks of the producers that published them, and ours.
    pub fn longest_waits(
        &self,
        under_way: &HashSet<RunId>,
        now: DateTime<Utc>,
    ) -> BTreeMap<ClusterName, Duration> {
        let mut longest = BTreeMap::new();
        for open in self.open.values() {
            let is_first = !matches!(open.last, Some((_, Sign::Retried)) | Some((2.., _)));
            if is_first && open.waits_in(under_way).is_some() {
                let waits = (now - open.since).to_std().unwrap_or_default();
                let known: &mut Duration = longest.entry(open.cluster.clone()).or_default();
                *known = waits.max(*known);
            }
        }
        longest
    }

    /// The runs whose next message a consumer is to claim in a topic, where these runs have attempts under way. A claim
    /// of another one did not count: its message is to be claimed again. In the order of their ids.
    pub fn waiting_in(&self, topic: &str, under_way: &HashSet<RunId>) -> Vec<Waiting> {
        let is_there = |open: &&Open| open.waits_in(under_way).is_some_and(|there| there == topic);
        let waiting = |open: &Open| Waiting {
            run: open.run.clone(),
            cluster: open.cluster.clone(),
            place: open.place.clone().filter(|place| place.topic == topic),
            last: open.last,
            signs: open.signs,
        };
        let mut all: Vec<Waiting> = self.open.values().filter(is_there).map(waiting).collect();
        all.sort_unstable_by_key(|waiting| waiting.run.run);
        all
    }

    /// Whether the tracker has heard nothing of the run since, where these runs have attempts under way.
    pub fn still_waits(&self, waiting: &Waiting, under_way: &HashSet<RunId>) -> bool {
        let is_same = self.open.get(&waiting.run.run).is_some_and(|open| open.signs == waiting.signs);
        is_same && !(waiting.is_claimed() && under_way.contains(&waiting.run.run))
    }

    /// The runs that are known to be over.
    pub fn over(&self) -> Arc<HashSet<RunId>> {
        Arc::new(self.over.keys().copied().collect())
    }

    /// Whether a run is known to be open.
    pub fn is_open(&self, run: RunId) -> bool {
        self.open.contains_key(&run)
    }

    /// All open runs, in the order of their instants.
    pub fn open(&self) -> Vec<OpenRun> {
        let mut all: Vec<OpenRun> = self.open.values().map(|open| open.run.clone()).collect();
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
