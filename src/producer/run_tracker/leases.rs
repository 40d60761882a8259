//! The attempts that are under way, according to `cron-runs`, and when each was last heard of. Pure.
//!
//! All instants are of our own monotonic clock, read after the event was: the rule compares no time stamp of another
//! machine.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::common::model::{AttemptRef, ClusterName, Event, Place, RunId, RunningAttempt};
use crate::common::topics;

/// Shorter leases are taken for this, longer ones for [`LONGEST`]: they come from other machines, and instants are
/// computed with them.
pub const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest wait before an attempt that could not be decided is looked at again.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// What is known of an attempt that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Where its message lies.
    pub place: Place,
    /// Who has it.
    pub consumer: String,
    /// Whether the attempt is surely under way: nothing that was read says that it is over, and its claim was read or
    /// all of `cron-runs` was. An attempt that is known from `alive` alone may have ended before what was read, because
    /// a sign of life can arrive late.
    pub is_sure: bool,
    length: Duration,
    heard: Instant,
    sign: (i32, i64),
    rest: Option<(Instant, Duration)>,
    /// Whether the tracker asked in vain what became of it.
    asked_in_vain: bool,
}

/// Attempts by their last sign of life.
#[derive(Debug, Default)]
pub struct Leases {
    /// The topics whose attempts are watched; `None` means all. Other topics may stand on the same Kafka, with leaders
    /// of their own.
    topics: Option<HashSet<String>>,
    attempts: HashMap<AttemptRef, Lease>,
    /// Attempts that are over, and when that was last heard of: late news of them starts no new lease.
    settled: HashMap<AttemptRef, Instant>,
}

impl Leases {
    /// Creates the leases of attempts in these clusters' topics.
    pub fn of(clusters: &[ClusterName]) -> Self {
        let topics = clusters.iter().flat_map(|cluster| [topics::first(cluster), topics::retry(cluster)]);
        Self { topics: Some(topics.collect()), ..Self::default() }
    }

    fn is_watched(&self, place: &Place) -> bool {
        self.topics.as_ref().is_none_or(|topics| topics.contains(&place.topic))
    }

    /// Takes an event that was read at `now` from the partition and offset `at` of `cron-runs`.
    pub fn take(&mut self, event: &Event, at: (i32, i64), now: Instant) {
        match event {
            Event::Claimed { attempt, place, consumer, lease_ms, .. } => {
                if !self.is_watched(place) || self.is_settled(attempt, now) {
                    return;
                }
                let lease = Lease {
                    place: place.clone(),
                    consumer: consumer.clone(),
                    is_sure: true,
                    length: length(*lease_ms),
                    heard: now,
                    sign: at,
                    rest: None,
                    asked_in_vain: false,
                };
                self.attempts.insert(*attempt, lease);
            }
            Event::Alive { consumer, lease_ms, running, .. } => {
                for running in running {
                    self.alive(consumer, length(*lease_ms), running, at, now);
                }
            }
            Event::Finished { attempt, .. } | Event::Lost { attempt, .. } | Event::Ended { attempt, .. } => {
                self.settle(*attempt, now);
            }
            _ => {}
        }
    }

    fn alive(
        &mut self,
        consumer: &str,
        length: Duration,
        running: &RunningAttempt,
        at: (i32, i64),
        now: Instant,
    ) {
        if !self.is_watched(&running.place) || self.is_settled(&running.attempt, now) {
            return;
        }
        let lease = self.attempts.entry(running.attempt).or_insert_with(|| Lease {
            place: running.place.clone(),
            consumer: consumer.to_owned(),
            is_sure: false,
            length,
            heard: now,
            sign: at,
            rest: None,
            asked_in_vain: false,
        });
        (lease.length, lease.heard, lease.sign, lease.rest) = (length, now, at, None);
        lease.asked_in_vain = false;
    }

    fn is_settled(&mut self, attempt: &AttemptRef, now: Instant) -> bool {
        self.settled.get_mut(attempt).map(|heard| *heard = now).is_some()
    }

    /// Whether it is remembered that the attempt is over.
    pub fn has_settled(&self, attempt: &AttemptRef) -> bool {
        self.settled.contains_key(attempt)
    }

    /// Notes that the attempt is over.
    pub fn settle(&mut self, attempt: AttemptRef, now: Instant) {
        self.attempts.remove(&attempt);
        self.settled.insert(attempt, now);
    }

    /// Notes that all of `cron-runs` was read, and nothing says that the attempt is over.
    pub fn make_sure(&mut self, attempt: &AttemptRef) {
        if let Some(lease) = self.attempts.get_mut(attempt) {
            lease.is_sure = true;
        }
    }

    /// Whether an attempt's lease has run out: it runs from its last sign of life, and not before `from`, to `seen`, up
    /// to which nothing was written to `cron-runs` that has not been read.
    pub fn is_over(&self, attempt: &AttemptRef, from: Instant, seen: Instant) -> bool {
        self.attempts.get(attempt).is_some_and(|lease| lease.is_over(from, seen))
    }

    /// The attempts whose leases have run out, as [`Leases::is_over`] has it, and that do not rest, in the order of
    /// their places.
    pub fn over(&self, from: Instant, seen: Instant, now: Instant) -> Vec<AttemptRef> {
        let rests = |lease: &Lease| lease.rest.is_some_and(|(until, _)| now < until);
        let over = |(_, lease): &(&AttemptRef, &Lease)| lease.is_over(from, seen) && !rests(lease);
        let mut all: Vec<(&AttemptRef, &Lease)> = self.attempts.iter().filter(over).collect();
        all.sort_by_key(|(attempt, lease)| {
            (&lease.place.topic, lease.place.partition, lease.place.offset, **attempt)
        });
        all.into_iter().map(|(attempt, _)| *attempt).collect()
    }

    /// Puts off an attempt about which nothing can be decided: it is looked at again later, each time a little later.
    pub fn put_off(&mut self, attempt: &AttemptRef, now: Instant) {
        if let Some(lease) = self.attempts.get_mut(attempt) {
            let wait = lease.rest.map_or(lease.length / 6, |(_, wait)| wait * 2).min(LONGEST_REST);
            (lease.rest, lease.asked_in_vain) = (Some((now + wait, wait)), false);
        }
    }

    /// Notes that a question about the attempt got no answer: it is asked again soon.
    pub fn ask_again(&mut self, attempt: &AttemptRef, now: Instant) {
        if let Some(lease) = self.attempts.get_mut(attempt) {
            let wait = lease.rest.map_or(lease.length / 6, |(_, wait)| wait);
            (lease.rest, lease.asked_in_vain) = (Some((now + SHORTEST * 2, wait)), true);
        }
    }

    /// Whether the tracker asked in vain what became of any attempt.
    pub fn were_asked_in_vain(&self) -> bool {
        self.attempts.values().any(|lease| lease.asked_in_vain)
    }

    /// What is known of an attempt under way.
    pub fn get(&self, attempt: &AttemptRef) -> Option<&Lease> {
        self.attempts.get(attempt)
    }

    /// The runs that have an attempt under way.
    pub fn runs(&self) -> HashSet<RunId> {
        self.attempts.keys().map(|attempt| attempt.run).collect()
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.attempts.len()
    }

    /// The shortest lease under way.
    pub fn shortest(&self) -> Option<Duration> {
        self.attempts.values().map(|lease| lease.length).min()
    }

    /// The lowest offset of a partition of `cron-runs` that a new follower must read, so that it knows all that is
    /// under way. `None` where nothing there matters.
    pub fn oldest_sign(&self, partition: i32) -> Option<i64> {
        self.attempts.values().filter(|lease| lease.sign.0 == partition).map(|lease| lease.sign.1).min()
    }

    /// Forgets attempts that are over and of which nothing was heard for so long.
    pub fn forget_settled(&mut self, now: Instant, after: Duration) {
        self.settled.retain(|_, heard| now.saturating_duration_since(*heard) < after);
    }

    /// Forgets everything under way: events were missed, and with them perhaps the end of any of it.
    pub fn clear(&mut self) {
        self.attempts.clear();
    }
}

impl Lease {
    fn is_over(&self, from: Instant, seen: Instant) -> bool {
        self.heard.max(from) + self.length <= seen
    }
}

fn length(lease_ms: u64) -> Duration {
    Duration::from_millis(lease_ms).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::{JobName, Outcome, Then};
    use chrono::DateTime;
    use uuid::Uuid;

    const NAME: AttemptRef = AttemptRef { run: RunId(Uuid::from_u128(1)), attempt: 1 };

    fn place(offset: i64) -> Place {
        Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset }
    }

    fn claimed(consumer: &str, offset: i64) -> Event {
        let (job, at) = (JobName::new("j").unwrap(), DateTime::UNIX_EPOCH);
        let consumer = consumer.to_owned();
        Event::Claimed { attempt: NAME, job, place: place(offset), consumer, lease_ms: 60_000, at }
    }

    fn alive() -> Event {
        let running = vec![RunningAttempt { attempt: NAME, place: place(0) }];
        let at = DateTime::UNIX_EPOCH;
        Event::Alive { consumer: "one".to_owned(), lease_ms: 60_000, running, at }
    }

    fn finished() -> Event {
        Event::Finished {
            attempt: NAME,
            job: JobName::new("j").unwrap(),
            cluster: "c".parse().unwrap(),
            scheduled_at: DateTime::UNIX_EPOCH,
            consumer: "one".to_owned(),
            outcome: Outcome::Succeeded,
            then: Then::Done,
            started_at: DateTime::UNIX_EPOCH,
            ended_at: DateTime::UNIX_EPOCH,
            output_bytes: 0,
            output_tail: String::new(),
        }
    }

    /// The second, if any up to 300, at which the attempt's lease is found to have run out.
    fn runs_out(events: &[(u64, Event)], from: u64) -> Option<u64> {
        let zero = Instant::now();
        let at = |secs: u64| zero + Duration::from_secs(secs);
        let mut leases = Leases::default();
        (0..300).find(|secs| {
            for (offset, (_, event)) in (0..).zip(events).filter(|(_, (when, _))| when == secs) {
                leases.take(event, (0, offset), at(*secs));
            }
            leases.is_over(&NAME, at(from), at(*secs))
        })
    }

    fn check(events: &[(u64, Event)], from: u64, expected: Option<u64>) {
        assert_eq!(runs_out(events, from), expected, "{events:?} from {from}");
    }

    #[test]
    fn a_lease_runs_from_the_last_sign_that_was_read() {
        check(&[], 0, None);
        check(&[(5, claimed("one", 0))], 0, Some(65));
        check(&[(5, claimed("one", 0)), (60, alive())], 0, Some(120));
        check(&[(5, claimed("one", 0)), (64, claimed("two", 0))], 0, Some(124));
        check(&[(5, alive())], 0, Some(65));
        check(&[(5, claimed("one", 0))], 30, Some(90));
    }

    #[test]
    fn attempts_of_clusters_that_are_not_ours_are_somebody_elses() {
        let now = Instant::now();
        let count = |ours: &str| {
            let mut leases = Leases::of(&[ours.parse().unwrap()]);
            leases.take(&claimed("one", 0), (0, 0), now);
            leases.take(&alive(), (0, 1), now);
            leases.count()
        };
        let theirs = topics::cluster_of(&place(0).topic).unwrap();
        assert_eq!((count(theirs.as_str()), count("another")), (1, 0));
    }

    #[test]
    fn only_its_end_ends_it_and_nothing_begins_it_again() {
        check(&[(5, claimed("one", 0)), (64, finished())], 0, None);
        check(&[(5, claimed("one", 0)), (9, finished()), (10, alive())], 0, None);
        check(&[(5, finished()), (6, claimed("one", 0))], 0, None);
    }

    #[test]
    fn what_is_known_from_a_sign_of_life_alone_is_not_sure() {
        let (now, mut leases) = (Instant::now(), Leases::default());
        leases.take(&alive(), (0, 7), now);
        assert!(!leases.get(&NAME).unwrap().is_sure);
        leases.take(&claimed("two", 3), (0, 9), now);
        let lease = leases.get(&NAME).unwrap();
        assert_eq!((lease.is_sure, lease.consumer.as_str(), lease.place.offset), (true, "two", 3));
        leases.take(&alive(), (1, 4), now);
        assert!(leases.get(&NAME).unwrap().is_sure);
        assert_eq!((leases.oldest_sign(0), leases.oldest_sign(1)), (None, Some(4)));
    }

    #[test]
    fn what_cannot_be_decided_rests_longer_each_time_until_it_is_heard_of() {
        let (zero, mut leases) = (Instant::now(), Leases::default());
        let at = |secs: u64| zero + Duration::from_secs(secs);
        leases.take(&claimed("one", 0), (0, 0), zero);
        let over = |leases: &Leases, secs| !leases.over(zero, at(secs), at(secs)).is_empty();
        assert!(!over(&leases, 59) && over(&leases, 60));
        leases.put_off(&NAME, at(60));
        assert!(!over(&leases, 69) && over(&leases, 70));
        leases.put_off(&NAME, at(70));
        assert!(!over(&leases, 89) && over(&leases, 90));
        leases.take(&alive(), (0, 1), at(90));
        assert!(over(&leases, 150));
    }

    #[test]
    fn a_lease_that_makes_no_sense_is_one_that_does() {
        assert_eq!((length(0), length(u64::MAX)), (SHORTEST, LONGEST));
    }

    #[test]
    fn what_was_asked_in_vain_is_asked_again_soon_and_what_cannot_be_decided_later_and_later() {
        let zero = Instant::now();
        let mut leases = Leases::default();
        leases.take(&claimed("one", 0), (0, 0), zero);
        let over = |leases: &Leases, secs| {
            !leases.over(zero, zero + Duration::from_secs(100), zero + Duration::from_secs(secs)).is_empty()
        };
        let rest = |leases: &Leases| (0..300).find(|secs| over(leases, *secs)).unwrap();
        assert_eq!(rest(&leases), 0);
        leases.ask_again(&NAME, zero);
        let soon = rest(&leases);
        assert_eq!(soon, 2 * SHORTEST.as_secs());
        assert!(leases.were_asked_in_vain());
        leases.put_off(&NAME, zero);
        assert!(!leases.were_asked_in_vain());
        assert_eq!(rest(&leases), 20, "twice a sixth of its lease, because it was looked at before");
    }

    #[test]
    fn an_end_is_remembered_for_as_long_as_something_of_the_attempt_is_heard() {
        let zero = Instant::now();
        let at = |secs: u64| zero + Duration::from_secs(secs);
        let mut leases = Leases::default();
        leases.take(&finished(), (0, 0), zero);
        let after = Duration::from_secs(100);
        let mut check = |secs: u64, expected: bool| {
            leases.forget_settled(at(secs), after);
            assert_eq!(leases.has_settled(&NAME), expected, "{secs}");
            if secs == 90 {
                leases.take(&alive(), (0, 1), at(90));
            }
        };
        check(90, true);
        check(189, true);
        check(190, false);
    }

    #[test]
    fn a_lease_lasts_a_second_at_least_and_a_day_at_most() {
        let day_ms = 24 * 3_600 * 1_000;
        let lengths = [0, 999, 1_001, day_ms - 1, day_ms, u64::MAX].map(|ms| length(ms).as_millis());
        assert_eq!(
            lengths,
            [1_000, 1_000, 1_001, u128::from(day_ms) - 1, u128::from(day_ms), u128::from(day_ms)]
        );
    }
}
