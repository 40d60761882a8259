//! Runs that are not finished, of the jobs whose ticks wait for them or are skipped. Pure.
//!
//! A run begins with `published` and is over with the end of an attempt that no other follows. The two lie in different
//! partitions of `cron-runs` and are read in either order.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::common::words::{ClusterName, Event, JobName, Place, RunId, Then};

/// A run that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its job.
    pub job: JobName,
    /// The run.
    pub run: RunId,
    /// The instant that the schedule named.
    pub scheduled_at: DateTime<Utc>,
}

/// What is known of the runs of those jobs.
#[derive(Debug, Default)]
pub struct Runs {
    /// Jobs and their clusters: names are unique within one job file, and others may stand on the same Kafka.
    jobs: HashMap<JobName, ClusterName>,
    open: HashMap<RunId, Open>,
    /// Runs that were over before they were read to be published, and when that was read.
    over: HashMap<RunId, Instant>,
}

#[derive(Debug)]
struct Open {
    run: Unfinished,
    place: Place,
    is_claimed: bool,
}

impl Runs {
    /// Of these jobs.
    pub fn new(jobs: HashMap<JobName, ClusterName>) -> Self {
        Self { jobs, open: HashMap::new(), over: HashMap::new() }
    }

    /// Whether there is no job to follow the runs of.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes an event that was read at `now`. Returns the run that it publishes, where that is not known to be over.
    pub fn take(&mut self, event: &Event, now: Instant) -> Option<Unfinished> {
        match event {
            Event::Published { run, job, cluster, scheduled_at, place, .. }
                if self.jobs.get(job) == Some(cluster) =>
            {
                if self.over.contains_key(run) || self.open.contains_key(run) {
                    return None;
                }
                let (job, run, scheduled_at) = (job.clone(), *run, *scheduled_at);
                let unfinished = Unfinished { job, run, scheduled_at };
                let open = Open { run: unfinished.clone(), place: place.clone(), is_claimed: false };
                self.open.insert(run, open);
                return Some(unfinished);
            }
            Event::Claimed { attempt, .. } => {
                if let Some(open) = self.open.get_mut(&attempt.run) {
                    open.is_claimed = true;
                }
            }
            Event::Finished { attempt, job, cluster, then: Then::Done | Then::Dead, .. }
                if self.jobs.get(job) == Some(cluster) =>
            {
                self.end(attempt.run, now);
            }
            Event::Lost { attempt, then: Then::Done | Then::Dead, .. } => self.end(attempt.run, now),
            _ => {}
        }
        None
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
            let of = (open.place.topic_id, open.place.partition);
            of == (place.topic_id, place.partition)
                && (place.offset..*next_offset).contains(&open.place.offset)
                && !open.is_claimed
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
        Event::Lost {
            attempt: AttemptRef { run: RunId(Uuid::from_u128(run)), attempt: 1 },
            job: None,
            cluster: "c".parse().unwrap(),
            scheduled_at: None,
            consumer: "one".to_owned(),
            place: place(0),
            then,
            at: DateTime::UNIX_EPOCH,
        }
    }

    fn claimed(run: u128) -> Event {
        let attempt = AttemptRef { run: RunId(Uuid::from_u128(run)), attempt: 1 };
        let (consumer, at) = ("one".to_owned(), DateTime::UNIX_EPOCH);
        Event::Claimed { attempt, job: "j".parse().unwrap(), place: place(0), consumer, lease_ms: 1, at }
    }

    fn deleted(from: i64, next_offset: i64) -> Event {
        Event::DeletedUnread { place: place(from), next_offset, at: DateTime::UNIX_EPOCH }
    }

    fn check(events: &[Event], expected: &[u128]) {
        let now = Instant::now();
        let mut runs = Runs::new(HashMap::from([("j".parse().unwrap(), "c".parse().unwrap())]));
        for event in events {
            runs.take(event, now);
            runs.deleted(event, now);
        }
        let open: Vec<u128> = runs.open().iter().map(|unfinished| unfinished.run.0.as_u128()).collect();
        assert_eq!(open, expected, "{events:?}");
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
}
