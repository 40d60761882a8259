//! What the copied `cron-runs` and the copied retry topic tell about the attempts of one cluster: which of them have begun. An
//! attempt is known by its run and number, for the other Kafka's places mean nothing here.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::common::model::{AttemptRef, ClusterName, Event, Place, RunId, Then};
use crate::common::topics;

/// What is known about the attempts of a cluster.
#[derive(Debug)]
pub struct Known {
    cluster: ClusterName,
    /// Of each run the last attempt that has begun, and those before it with it.
    begun: HashMap<RunId, u32>,
    /// Of each run the attempt that an event says is in the retry topic, and that was not met there.
    owed: HashMap<RunId, u32>,
    /// The highest partition of each topic in which an event says that a message lies.
    partitions: BTreeMap<(String, Uuid), i32>,
    /// When the first event of each partition of `cron-runs` was written.
    first: BTreeMap<i32, DateTime<Utc>>,
    /// When the last event about an attempt of the cluster was written.
    last: Option<DateTime<Utc>>,
}

impl Known {
    /// Creates what is known of a cluster before anything was read.
    pub fn new(cluster: ClusterName) -> Self {
        Self {
            cluster,
            begun: HashMap::new(),
            owed: HashMap::new(),
            partitions: BTreeMap::new(),
            first: BTreeMap::new(),
            last: None,
        }
    }

    /// The cluster.
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Takes an event from a partition of `cron-runs`. A claim may have been refused, and no event tells: such an attempt
    /// counts as begun, and the leader writes a letter about it.
    pub fn event(&mut self, partition: i32, event: &Event) {
        let (at, is_own) = match event {
            Event::Claimed { attempt, place, at, .. } => (at, self.claimed(*attempt, place)),
            Event::Alive { running, at, .. } => {
                let own = running.iter().filter(|running| self.claimed(running.attempt, &running.place));
                (at, own.count() > 0)
            }
            Event::Finished { attempt, cluster, then, ended_at: at, .. }
            | Event::Lost { attempt, cluster, then, at, .. } => {
                let is_own = *cluster == self.cluster;
                if is_own {
                    self.begin(*attempt);
                    if *then == Then::Retried {
                        raise(&mut self.owed, attempt.run, attempt.attempt.saturating_add(1));
                    }
                }
                (at, is_own)
            }
            Event::Ended { attempt, cluster, at, .. } => {
                let is_own = *cluster == self.cluster;
                if is_own {
                    self.begin(*attempt);
                }
                (at, is_own)
            }
            Event::Beat { at, .. } => (at, false),
            _ => return,
        };
        self.first.entry(partition).or_insert(*at);
        if is_own {
            self.last = self.last.max(Some(*at));
        }
    }

    /// Takes where an attempt's message lies. Returns whether it is one of the cluster's.
    fn claimed(&mut self, attempt: AttemptRef, place: &Place) -> bool {
        let is_own = topics::cluster_of(&place.topic).is_some_and(|cluster| cluster == self.cluster);
        if is_own {
            self.begin(attempt);
            let highest =
                self.partitions.entry((place.topic.clone(), place.topic_id)).or_insert(place.partition);
            *highest = (*highest).max(place.partition);
        }
        is_own
    }

    /// Takes an attempt that is in the retry topic: those before it have ended.
    pub fn in_retry_topic(&mut self, attempt: AttemptRef) {
        if attempt.attempt > 1 {
            self.begin(AttemptRef { attempt: attempt.attempt - 1, ..attempt });
        }
        if self.owed.get(&attempt.run).is_some_and(|owed| *owed <= attempt.attempt) {
            self.owed.remove(&attempt.run);
        }
    }

    fn begin(&mut self, attempt: AttemptRef) {
        raise(&mut self.begun, attempt.run, attempt.attempt);
    }

    /// Whether an attempt has begun.
    pub fn has_begun(&self, attempt: AttemptRef) -> bool {
        self.begun.get(&attempt.run).is_some_and(|begun| *begun >= attempt.attempt)
    }

    /// The instant from which on all events are there: before it, events may have been deleted.
    pub fn begins(&self) -> Option<DateTime<Utc>> {
        self.first.values().max().copied()
    }

    /// When the last event about an attempt of the cluster was written: so far the copy reaches at least. Beats and other
    /// clusters' events do not count, for they may be of programs that work on this Kafka.
    pub fn ends(&self) -> Option<DateTime<Utc>> {
        self.last
    }

    /// Attempts that are in no copied topic although an event says that they are in the retry topic.
    pub fn missing(&self) -> Vec<AttemptRef> {
        let owed = self.owed.iter().map(|(run, attempt)| AttemptRef { run: *run, attempt: *attempt });
        let mut missing: Vec<AttemptRef> = owed.filter(|attempt| !self.has_begun(*attempt)).collect();
        missing.sort_unstable();
        missing
    }

    /// How many partitions a topic of another id and this name had at least; 0 where no event tells.
    pub fn partitions_elsewhere(&self, topic: &str, id: Uuid) -> usize {
        let others = self.partitions.iter().filter(|((name, other), _)| name == topic && *other != id);
        others
            .filter_map(|(_, highest)| usize::try_from(*highest).ok())
            .max()
            .map_or(0, |highest| highest + 1)
    }
}

fn raise(numbers: &mut HashMap<RunId, u32>, run: RunId, to: u32) {
    let number = numbers.entry(run).or_insert(to);
    *number = (*number).max(to);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::common::model::{Outcome, RunningAttempt};

    pub(in crate::cronctl::offsets) fn attempt(run: u128, attempt: u32) -> AttemptRef {
        AttemptRef { run: RunId(Uuid::from_u128(run)), attempt }
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn place(topic: &str, partition: i32) -> Place {
        Place { topic: topic.to_owned(), topic_id: Uuid::from_u128(7), partition, offset: 40 }
    }

    pub(in crate::cronctl::offsets) fn claimed(attempt: AttemptRef, place: Place, second: i64) -> Event {
        let (job, consumer) = ("job".parse().unwrap(), "one".to_owned());
        Event::Claimed { attempt, job, place, consumer, lease_ms: 1, at: at(second) }
    }

    fn finished(attempt: AttemptRef, cluster: &str, then: Then, second: i64) -> Event {
        Event::Finished {
            attempt,
            job: "job".parse().unwrap(),
            cluster: cluster.parse().unwrap(),
            scheduled_at: at(0),
            consumer: "one".to_owned(),
            outcome: Outcome::TimedOut,
            then,
            started_at: at(0),
            ended_at: at(second),
            output_bytes: 0,
            output_tail: String::new(),
        }
    }

    fn known(events: &[Event]) -> Known {
        let mut known = Known::new("c".parse().unwrap());
        events.iter().for_each(|event| known.event(0, event));
        known
    }

    #[test]
    fn an_attempt_has_begun_where_an_event_names_it_or_a_later_one_of_its_run() {
        let check = |events: &[Event], last: u32| {
            let known = known(events);
            for number in 1..5 {
                assert_eq!(known.has_begun(attempt(1, number)), number <= last, "{number} of {events:?}");
            }
            assert!(!known.has_begun(attempt(2, 1)));
        };
        check(&[], 0);
        check(&[claimed(attempt(1, 1), place("c", 0), 1)], 1);
        check(&[claimed(attempt(1, 3), place("c-retry", 0), 1)], 3);
        check(&[finished(attempt(1, 2), "c", Then::Dead, 1)], 2);
        let running = vec![RunningAttempt { attempt: attempt(1, 2), place: place("c-retry", 0) }];
        check(&[Event::Alive { consumer: "one".to_owned(), lease_ms: 1, running, at: at(1) }], 2);
        // Another cluster may have a job of the same name, and so runs of the same ids.
        check(&[claimed(attempt(1, 1), place("d", 0), 1), finished(attempt(1, 1), "d", Then::Done, 2)], 0);
    }

    #[test]
    fn an_attempt_in_the_retry_topic_proves_that_the_one_before_has_ended() {
        let mut known = known(&[]);
        known.in_retry_topic(attempt(1, 3));
        assert!(known.has_begun(attempt(1, 2)) && !known.has_begun(attempt(1, 3)));
        known.in_retry_topic(attempt(2, 1));
        assert!(!known.has_begun(attempt(2, 1)));
    }

    #[test]
    fn a_retry_that_an_event_tells_of_and_no_topic_holds_is_missing() {
        let retried = |run| finished(attempt(run, 1), "c", Then::Retried, 1);
        let begun = claimed(attempt(3, 2), place("c-retry", 0), 1);
        let mut known =
            known(&[retried(1), retried(2), retried(3), begun, finished(attempt(4, 1), "c", Then::Dead, 1)]);
        known.in_retry_topic(attempt(2, 2));
        assert_eq!(known.missing(), [attempt(1, 2)]);
    }

    #[test]
    fn the_copy_reaches_from_where_all_partitions_have_events_to_the_last_event_about_the_cluster() {
        let mut known = known(&[claimed(attempt(1, 1), place("c", 4), 5)]);
        known.event(1, &finished(attempt(1, 1), "d", Then::Done, 9));
        assert_eq!((known.begins(), known.ends()), (Some(at(9)), Some(at(5))));
        known.event(1, &finished(attempt(1, 1), "c", Then::Done, 8));
        known.event(1, &finished(attempt(1, 1), "c", Then::Done, 7));
        assert_eq!((known.begins(), known.ends()), (Some(at(9)), Some(at(8))));
        assert_eq!(known.partitions_elsewhere("c", Uuid::from_u128(8)), 5);
        assert_eq!(known.partitions_elsewhere("c", Uuid::from_u128(7)), 0, "that is the topic itself");
        assert_eq!(known.partitions_elsewhere("c-retry", Uuid::from_u128(8)), 0);
    }

    #[test]
    fn events_of_programs_that_work_for_other_clusters_do_not_make_the_copy_fresh() {
        let alive = |topics: &[&str], second| {
            let running = topics
                .iter()
                .map(|topic| RunningAttempt { attempt: attempt(1, 1), place: place(topic, 0) })
                .collect();
            Event::Alive { consumer: "one".to_owned(), lease_ms: 1, running, at: at(second) }
        };
        let check = |event: Event, ends: i64| {
            let known = known(&[claimed(attempt(1, 1), place("c", 0), 5), event.clone()]);
            assert_eq!(known.ends(), Some(at(ends)), "{event:?}");
        };
        check(claimed(attempt(2, 1), place("d", 0), 9), 5);
        check(alive(&[], 9), 5);
        check(alive(&["d"], 9), 5);
        check(alive(&["d", "c-retry"], 9), 9);
        let beat = include_bytes!("../../../tests/data/wire/v1/event-beat.json");
        check(crate::common::wire::decode_event(beat).unwrap(), 5);
    }
}
