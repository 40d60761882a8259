//! Runs that are not finished, of the jobs whose ticks wait for them or are skipped. Pure.
//!
//! A run begins with `published` and is over with the end of an attempt that no other follows. The two lie in different
//! partitions of `cron-runs` and are read in either order. Of a job that allowed overlaps when the run was published there
//! is no `published`: such a run is known from its first claim on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::common::topics;
use crate::common::words::{AttemptRef, ClusterName, Event, JobName, Place, RunId, Then};

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
    /// Runs that were over before they were read to be published, and when that was read.
    over: HashMap<RunId, Instant>,
}

#[derive(Debug)]
struct Open {
    run: Unfinished,
    /// Where its first message lies; `None` where it was not read to be published.
    place: Option<Place>,
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

impl Runs {
    /// Of these jobs.
    pub fn new(jobs: Followed) -> Self {
        Self { jobs, open: HashMap::new(), over: HashMap::new() }
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
            Event::Published { run, job, cluster, scheduled_at, place, .. } if self.follows(job, cluster) => {
                let unfinished =
                    Unfinished { job: job.clone(), run: *run, scheduled_at: Some(*scheduled_at) };
                let (news, open) = self.open_of(unfinished)?;
                open.place = Some(place.clone());
                news
            }
            Event::Claimed { attempt, job, place, .. }
                if topics::cluster_of(&place.topic).is_some_and(|cluster| self.follows(job, &cluster)) =>
            {
                self.sign(*attempt, Sign::Claimed, job, None)
            }
            Event::Finished { attempt, job, cluster, scheduled_at, then, .. }
                if self.follows(job, cluster) =>
            {
                match then {
                    Then::Done | Then::Dead => self.end(attempt.run, now),
                    Then::Retried => return self.sign(*attempt, Sign::Retried, job, Some(*scheduled_at)),
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
                self.sign(*attempt, Sign::Retried, job, *scheduled_at)
            }
            _ => None,
        }
    }

    fn sign(
        &mut self,
        attempt: AttemptRef,
        sign: Sign,
        job: &JobName,
        scheduled_at: Option<DateTime<Utc>>,
    ) -> Option<Unfinished> {
        let (news, open) = self.open_of(Unfinished { job: job.clone(), run: attempt.run, scheduled_at })?;
        open.last = open.last.max(Some((attempt.attempt, sign)));
        news
    }

    /// What is known of a run that is not over, and the run itself where it was not known.
    fn open_of(&mut self, run: Unfinished) -> Option<(Option<Unfinished>, &mut Open)> {
        if self.over.contains_key(&run.run) {
            return None;
        }
        let news = (!self.open.contains_key(&run.run)).then(|| run.clone());
        Some((news, self.open.entry(run.run).or_insert(Open { run, place: None, last: None })))
    }

    /// All of `cron-runs` was read, and these runs have attempts under way. A run that was only read to be claimed, and is
    /// not among them, has not begun: the claim did not count.
    pub fn all_was_read(&mut self, under_way: &HashSet<RunId>) {
        let is_certain = |open: &Open| {
            open.place.is_some()
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

    /// The runs whose first message was deleted before anybody claimed it: nobody waits for them.
    pub fn deleted(&mut self, event: &Event, now: Instant) -> Vec<Unfinished> {
        let Event::DeletedUnread { place, next_offset, .. } = event else { return Vec::new() };
        let is_gone = |open: &&Open| {
            let is_place = |of: &Place| {
                (of.topic_id, of.partition) == (place.topic_id, place.partition)
                    && (place.offset..*next_offset).contains(&of.offset)
            };
            open.place.as_ref().is_some_and(is_place) && open.last.is_none()
        };
        let gone: Vec<Unfinished> = self.open.values().filter(is_gone).map(|open| open.run.clone()).collect();
        gone.iter().for_each(|unfinished| self.end(unfinished.run, now));
        gone
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
mod tests {
    use super::*;
    use crate::common::words::AttemptRef;
    use uuid::Uuid;

    fn place(offset: i64) -> Place {
        Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset }
    }

    fn published(job: &str, run: u128) -> Event {
        Event::Published {
            run: RunId(Uuid::from_u128(run)),
            job: job.parse().unwrap(),
            cluster: "c".parse().unwrap(),
            scheduled_at: DateTime::from_timestamp(i64::try_from(run).unwrap(), 0).unwrap(),
            place: place(i64::try_from(run).unwrap()),
            at: DateTime::UNIX_EPOCH,
        }
    }

    fn lost(run: u128, then: Then) -> Event {
        lost_of(None, run, then)
    }

    fn lost_of(job: Option<&str>, run: u128, then: Then) -> Event {
        Event::Lost {
            attempt: AttemptRef { run: RunId(Uuid::from_u128(run)), attempt: 1 },
            job: job.map(|job| job.parse().unwrap()),
            cluster: "c".parse().unwrap(),
            scheduled_at: None,
            consumer: "one".to_owned(),
            place: place(0),
            then,
            at: DateTime::UNIX_EPOCH,
        }
    }

    fn claimed(run: u128) -> Event {
        claimed_as(run, 1)
    }

    fn claimed_as(run: u128, attempt: u32) -> Event {
        let attempt = AttemptRef { run: RunId(Uuid::from_u128(run)), attempt };
        let (consumer, at) = ("one".to_owned(), DateTime::UNIX_EPOCH);
        Event::Claimed { attempt, job: "j".parse().unwrap(), place: place(0), consumer, lease_ms: 1, at }
    }

    fn deleted(from: i64, next_offset: i64) -> Event {
        Event::DeletedUnread { place: place(from), next_offset, at: DateTime::UNIX_EPOCH }
    }

    fn jobs(names: &[&str]) -> Followed {
        Arc::new(names.iter().map(|name| (name.parse().unwrap(), "c".parse().unwrap())).collect())
    }

    fn check(events: &[Event], expected: &[u128]) {
        let now = Instant::now();
        let mut runs = Runs::new(jobs(&["j"]));
        for event in events {
            runs.take(event, now);
            runs.deleted(event, now);
        }
        assert_eq!(open(&runs), expected, "{events:?}");
    }

    fn open(runs: &Runs) -> Vec<u128> {
        runs.open().iter().map(|unfinished| unfinished.run.0.as_u128()).collect()
    }

    #[test]
    fn a_run_is_open_from_published_until_nothing_follows_in_whatever_order_that_is_read() {
        check(&[published("j", 2), published("j", 1), published("other", 3)], &[1, 2]);
        check(&[published("j", 1), lost(1, Then::Retried)], &[1]);
        check(&[published("j", 1), lost(1, Then::Dead)], &[]);
        check(&[lost(1, Then::Dead), published("j", 1)], &[]);
        check(&[published("j", 1), lost(1, Then::Dead), published("j", 1)], &[]);
    }

    #[test]
    fn a_run_that_was_deleted_unread_is_not_waited_for() {
        check(&[published("j", 1), published("j", 5), deleted(0, 5)], &[5]);
        check(&[published("j", 1), claimed(1), deleted(0, 5)], &[1]);
    }

    #[test]
    fn a_run_that_nobody_said_was_published_is_open_from_its_first_claim_on() {
        check(&[claimed(1)], &[1]);
        check(&[claimed(1), lost_of(Some("j"), 1, Then::Retried), claimed_as(1, 2)], &[1]);
        check(&[lost_of(Some("j"), 1, Then::Retried)], &[1]);
        check(&[lost_of(Some("other"), 1, Then::Retried)], &[]);
        check(&[claimed(1), lost(1, Then::Dead)], &[]);
        check(&[lost(1, Then::Dead), claimed(1)], &[]);
    }

    /// Once all of `cron-runs` was read, with nothing under way but run 9.
    fn check_read(events: &[Event], expected: &[u128]) {
        let mut runs = Runs::new(jobs(&["j"]));
        for event in events {
            runs.take(event, Instant::now());
        }
        runs.all_was_read(&HashSet::from([RunId(Uuid::from_u128(9))]));
        assert_eq!(open(&runs), expected, "{events:?}");
    }

    #[test]
    fn a_claim_that_did_not_count_keeps_no_run_open() {
        check_read(&[claimed(1), claimed(9)], &[9]);
        check_read(&[published("j", 1), claimed(1)], &[1]);
        let retried = lost_of(Some("j"), 1, Then::Retried);
        check_read(&[claimed(1), retried.clone()], &[1]);
        check_read(&[retried.clone(), claimed(1)], &[1]);
        check_read(&[claimed(1), retried, claimed_as(1, 2)], &[]);
    }

    #[test]
    fn a_job_that_is_followed_later_is_known_by_what_is_read_again() {
        let (now, mut runs) = (Instant::now(), Runs::new(jobs(&[])));
        let events = [published("j", 1), claimed(2)];
        events.iter().for_each(|event| drop(runs.take(event, now)));
        assert_eq!(open(&runs), [0; 0]);
        runs.follow(jobs(&["j"]));
        events.iter().for_each(|event| drop(runs.take(event, now)));
        assert_eq!(open(&runs), [2, 1], "those whose instants are not known first");
        runs.follow(jobs(&[]));
        assert_eq!(open(&runs), [2, 1]);
    }
}
