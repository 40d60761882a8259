//! What is written, in which order, and what happens when it cannot be.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::*;
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{Broker, ErrorCode, FetchedRecord, TopicPartition, Want};
use crate::common::clock::{Clock, ManualClock};
use crate::common::model::{Outcome, Place, Then};
use crate::common::passing::Fit;
use crate::common::topics::TopicSpec;
use crate::consumer::claiming::machine::Claimed;
use crate::consumer::reporting::reports::Report;

const LEASE: Duration = Duration::from_secs(60);

struct Fixture {
    broker: MemoryBroker,
    clock: Arc<ManualClock>,
    client: Box<dyn Client>,
    reporting: Reporting,
    /// How far our wall clock is ahead of the broker's.
    ahead: TimeDelta,
}

impl Fixture {
    fn new() -> Self {
        Self::with(&[])
    }

    /// With topics that take no batches above so many bytes.
    fn with(limits: &[(&str, &str)]) -> Self {
        let clock = Arc::new(ManualClock::new(at()));
        let broker = MemoryBroker::stepped(Arc::<ManualClock>::clone(&clock));
        let mut client = broker.client("reporter");
        for name in ["a-retry", "a-dead", "cron-runs"] {
            let limit = limits.iter().find(|(of, _)| *of == name);
            let settings = limit.map(|(_, bytes)| ("max.message.bytes", (*bytes).to_owned()));
            let settings = settings.into_iter().collect();
            let spec = TopicSpec { name: name.to_owned(), partitions: 1, replication_factor: 1, settings };
            client.create_topic(&spec, clock.monotonic() + CALL).unwrap();
        }
        let options = Options { consumer: "me".to_owned(), lease: LEASE, workers: 1 };
        let reporting = Reporting::new(options, clock.monotonic());
        Self { broker, clock, client, reporting, ahead: TimeDelta::zero() }.compared()
    }

    /// Lets it compare its clock with the broker's, as it does before anything else.
    fn compared(mut self) -> Self {
        let now = self.now();
        assert!(self.reporting.step(self.client.as_mut(), now).is_empty());
        let effects = self.reporting.step(self.client.as_mut(), now);
        assert!(matches!(effects[..], [Effect::Clock(_)]), "{effects:?}");
        self
    }

    /// One that has just been started, on a host whose clock is off, where `cron-runs` carries the time of that type.
    fn started_off(ahead: TimeDelta, runs: &str) -> Self {
        let mut f = Self::new();
        f.broker.faults().set_topic("cron-runs", "message.timestamp.type", runs);
        f.ahead = ahead;
        f.reporting = Reporting::new(f.reporting.options.clone(), f.clock.monotonic());
        f
    }

    /// What comes of a step, once a second for so many seconds, about our clock: by how many seconds it is ahead.
    fn ahead(&mut self, seconds: u64) -> Vec<i64> {
        let mut told = Vec::new();
        for _ in 0..seconds {
            for _ in 0..2 {
                let now = self.now();
                let effects = self.reporting.step(self.client.as_mut(), now);
                told.extend(effects.iter().filter_map(|effect| match effect {
                    Effect::Clock(skew) => Some(skew.ahead.num_seconds()),
                    _ => None,
                }));
            }
            self.clock.turn(Duration::from_secs(1));
        }
        told
    }

    fn create(&mut self, name: &str, setting: Option<(&'static str, &str)>) {
        let settings = setting.map(|(of, value)| (of, value.to_owned())).into_iter().collect();
        let spec = TopicSpec { name: name.to_owned(), partitions: 1, replication_factor: 1, settings };
        self.client.create_topic(&spec, self.clock.monotonic() + CALL).unwrap();
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.now() + self.ahead, mono: self.clock.monotonic() }
    }

    /// Lets pass what a topic rests at most.
    fn rest(&self) {
        self.clock.turn(LONGEST_REST);
    }

    /// The runs that the newest signs of life name, back to the first that names one again.
    fn said_alive(&self) -> Vec<u128> {
        let mut named = Vec::new();
        for value in self.values("cron-runs").iter().rev() {
            if let Event::Alive { running, .. } = wire::decode_event(value).unwrap() {
                let number = |one: &RunningAttempt| format!("{:x}", one.attempt.run.0.as_u128()).parse();
                let runs: Vec<u128> = running.iter().map(|one| number(one).unwrap()).collect();
                if runs.iter().any(|run| named.contains(run)) {
                    break;
                }
                named.extend(runs);
            }
        }
        named.sort_unstable();
        named
    }

    /// One step: whether anything failed, and how many attempts were passed on.
    fn step(&mut self) -> (bool, usize) {
        let now = self.now();
        let effects = self.reporting.step(self.client.as_mut(), now);
        let passed_on = effects.iter().filter(|effect| matches!(effect, Effect::PassedOn(_))).count();
        (effects.iter().any(|effect| matches!(effect, Effect::Failed(..))), passed_on)
    }

    /// What a topic holds.
    fn values(&self, topic: &str) -> Vec<Bytes> {
        self.records(topic).into_iter().filter_map(|record| record.value).collect()
    }

    fn records(&self, topic: &str) -> Vec<FetchedRecord> {
        let mut client = self.broker.client("test");
        let from = TopicPartition { topic: topic.to_owned(), partition: 0 };
        let want = Want { from, offset: 0, max_bytes: 1 << 20 };
        let by = self.clock.monotonic() + CALL;
        // Nothing can be read where there is no leader.
        let fetched = client.fetch(1, &[want], Duration::ZERO, by).unwrap().remove(0);
        fetched.map(|fetched| fetched.records).unwrap_or_default()
    }

    /// How many records there are: next attempts, letters, `finished`, `alive`.
    fn written(&self) -> [usize; 4] {
        let values = |topic| self.values(topic);
        let events: Vec<Event> = values("cron-runs").iter().map(|v| wire::decode_event(v).unwrap()).collect();
        let finished = events.iter().filter(|event| matches!(event, Event::Finished { .. })).count();
        let alive = events
            .iter()
            .filter(|event| matches!(event, Event::Alive { running, .. } if !running.is_empty()));
        let alive = alive.count();
        [values("a-retry").len(), values("a-dead").len(), finished, alive]
    }
}

fn at() -> DateTime<Utc> {
    "2026-11-23T17:00:00Z".parse().unwrap()
}

pub(in super::super) fn claimed(run: u8, left: u32) -> Claimed {
    let text = format!(
        r#"{{"v":1,"run":{{"id":"00000000-0000-0000-0000-0000000000{run:02}","job":"j","cluster":"a",
        "scheduled_at":"2026-11-23T17:00:00Z","command":"false","limits":{{"grace_ms":1}},
        "retry":{{"retries":3,"backoff_ms":1000,"backoff_max_ms":60000}},"revision":"r"}},
        "attempt":1,"attempts_left":{left}}}"#
    );
    let attempt = wire::decode_attempt(text.as_bytes()).unwrap();
    let place = Place { topic: "a".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 4 };
    Claimed { attempt, place, published_ms: 0, claimed_at: at(), start_by: std::time::Instant::now() }
}

pub(in super::super) fn ended(claimed: Claimed, outcome: Outcome) -> Tell {
    let output_tail = String::new();
    let (fit, is_terse) = (Fit::Whole, false);
    let (started_at, ended_at) = (at(), at());
    let report =
        Report { claimed, outcome, started_at, ended_at, output_bytes: 0, output_tail, fit, is_terse };
    Tell::Ended(Box::new(report))
}

#[test]
fn finished_is_not_written_before_what_follows_is_confirmed() {
    let check = |left, then: [usize; 4]| {
        for fate in [Fate::NotSent, Fate::RequestLost, Fate::Refused(ErrorCode::NotEnoughReplicas)] {
            let mut f = Fixture::new();
            f.reporting.take(ended(claimed(1, left), Outcome::Failed { code: 1 }));
            for _ in 0..3 {
                f.broker.faults().next(Call::Produce, fate);
                assert_eq!((f.step(), f.written()), ((true, 0), [0; 4]), "{fate:?}");
                let made = f.broker.faults().made(Call::Produce);
                f.step();
                assert_eq!(
                    f.broker.faults().made(Call::Produce),
                    made,
                    "no second try before its rest is over"
                );
                f.rest();
            }
            assert_eq!((f.step(), f.written()), ((false, 0), then), "{fate:?}");
            assert_eq!((f.step(), f.written()[2]), ((false, 1), 1), "{fate:?}");
            assert!(!f.reporting.is_busy());
        }
    };
    check(1, [1, 0, 0, 0]);
    check(0, [0, 1, 0, 0]);
}

#[test]
fn a_good_end_is_told_in_one_step() {
    let mut f = Fixture::new();
    f.reporting.take(ended(claimed(1, 3), Outcome::Succeeded));
    assert_eq!((f.step(), f.written()), ((false, 1), [0, 0, 1, 0]));
}

#[test]
fn what_runs_or_has_ended_without_a_record_of_it_is_said_to_be_alive() {
    let mut f = Fixture::new();
    let retry = TopicPartition { topic: "a-retry".to_owned(), partition: 0 };
    f.broker.faults().lead(&retry, None);
    (1..=3).for_each(|run| f.reporting.started(started(&claimed(run, 1))));
    f.reporting.take(ended(claimed(1, 1), Outcome::TimedOut));
    f.reporting.take(ended(claimed(3, 1), Outcome::Succeeded));
    assert_eq!((f.step(), f.written()), ((true, 1), [0, 0, 1, 0]), "a good end waits for no other's retry");
    for alive in 1..4 {
        f.clock.turn(LEASE / 3);
        assert_eq!((f.step(), f.written()), ((false, 0), [0, 0, 1, alive]));
        assert_eq!(f.said_alive(), [1, 2], "what has ended, too, until that is on record");
        assert_eq!(f.step(), (true, 0));
    }
    f.broker.faults().lead(&retry, Some(1));
    f.rest();
    f.step();
    assert_eq!((f.step(), f.written()), ((false, 1), [1, 0, 2, 3]));
    f.clock.turn(LEASE / 3);
    f.step();
    assert_eq!(f.said_alive(), [2]);
}

#[test]
fn a_sign_of_life_that_failed_follows_within_a_second() {
    let mut f = Fixture::new();
    f.reporting.started(started(&claimed(1, 1)));
    f.clock.turn(LEASE / 3);
    f.broker.faults().next(Call::Produce, Fate::RequestLost);
    assert_eq!((f.step(), f.reporting.has_failed()), ((true, 0), true));
    let wait = f.reporting.next_alive() - f.clock.monotonic();
    assert!(!wait.is_zero() && wait <= Duration::from_secs(1), "{wait:?}");
    f.clock.turn(wait);
    assert_eq!((f.step(), f.written()), ((false, 0), [0, 0, 0, 1]));
    assert!(!f.reporting.has_failed());
    assert_eq!(f.reporting.next_alive() - f.clock.monotonic(), LEASE / 3);
}

/// A failed attempt of run 1 whose retry topic is not written to, and ten good ends: those are on record in one step,
/// and when the topic can be written to again, run 1's is in two.
fn check_waits_alone(break_it: impl Fn(&Fixture), mend: impl Fn(&mut Fixture)) {
    let mut f = Fixture::new();
    break_it(&f);
    f.reporting.take(ended(claimed(1, 1), Outcome::TimedOut));
    f.step();
    assert!(f.reporting.has_failed() && f.reporting.has_room());
    let tries = f.broker.faults().made(Call::Produce) + f.broker.faults().made(Call::Topic);
    for run in 2..12 {
        f.reporting.take(ended(claimed(run, 1), Outcome::Succeeded));
        assert_eq!((f.step().1, f.written()[2]), (1, usize::from(run) - 1));
    }
    (0..60).for_each(|_| {
        f.step();
        f.clock.turn(Duration::from_secs(1));
    });
    let tries = f.broker.faults().made(Call::Produce) + f.broker.faults().made(Call::Topic) - tries;
    assert!((30..110).contains(&tries), "{tries} calls in a minute");
    mend(&mut f);
    f.rest();
    let passed_on: usize = (0..4).map(|_| f.step().1).sum();
    assert_eq!((passed_on, f.written()), (1, [1, 0, 11, 0]));
    assert!(!f.reporting.is_busy() && !f.reporting.has_failed());
}

#[test]
fn a_topic_that_cannot_be_written_to_holds_up_no_other_and_is_tried_every_two_seconds() {
    let denied = ErrorCode::TopicAuthorizationFailed;
    check_waits_alone(
        |f| f.broker.faults().refuse(Call::Produce, "a-retry", denied),
        |f| f.broker.faults().allow(Call::Produce, "a-retry"),
    );
    check_waits_alone(|f| f.broker.faults().delete_topic("a-retry"), |f| f.create("a-retry", None));
}

#[test]
fn new_failures_do_not_put_off_those_that_wait() {
    let mut f = Fixture::new();
    let retry = TopicPartition { topic: "a-retry".to_owned(), partition: 0 };
    f.broker.faults().lead(&retry, None);
    for run in 1..20 {
        f.reporting.take(ended(claimed(run, 1), Outcome::TimedOut));
        f.step();
        f.clock.turn(Duration::from_millis(900));
    }
    f.broker.faults().lead(&retry, Some(1));
    f.reporting.take(ended(claimed(20, 1), Outcome::TimedOut));
    f.step();
    f.rest();
    f.step();
    assert_eq!(f.written()[0], 20);
}

#[test]
fn results_that_wait_have_a_bound() {
    let mut f = Fixture::new();
    f.broker.faults().delete_topic("a-retry");
    let mut taken = 0;
    while f.reporting.has_room() {
        let Tell::Ended(mut report) = ended(claimed(1, 1), Outcome::TimedOut) else { panic!() };
        report.output_tail = "x".repeat(8_192);
        f.reporting.take(Tell::Ended(report));
        taken += 1;
    }
    assert!((1_000..10_000).contains(&taken), "{taken}");
}

/// Our clock is so many seconds ahead of the broker's. A failed attempt that was handed to a worker is passed on, dated
/// as the broker's clock is within a second (`None`: without a date), and said to be off where it is.
fn check_clock(ahead_secs: i64, runs: &str, dated_ahead: Option<i64>) {
    let mut f = Fixture::started_off(TimeDelta::seconds(ahead_secs), runs);
    if dated_ahead.is_none() {
        f.broker.faults().refuse(Call::ClusterTime, "", ErrorCode::Other(31));
    }
    f.reporting.started(started(&claimed(1, 1)));
    f.reporting.take(ended(claimed(1, 1), Outcome::Failed { code: 1 }));
    f.reporting.take(ended(claimed(2, 1), Outcome::Succeeded));
    let mut clock = None;
    for _ in 0..8 {
        let now = f.now();
        for effect in f.reporting.step(f.client.as_mut(), now) {
            match effect {
                Effect::Clock(skew) => clock = Some(Some(skew.ahead)),
                Effect::ClockUnknown(_) => clock = Some(None),
                Effect::Failed(topic, error) => {
                    assert_eq!(error.code(), Some(ErrorCode::InvalidTimestamp), "{topic}");
                }
                Effect::PassedOn(_) | Effect::Refused(..) | Effect::NotCompared(_) => {}
            }
        }
        f.clock.turn(Duration::from_secs(1));
    }
    let [retries, dead, finished, _] = f.written();
    assert_eq!(([retries, dead, finished], f.reporting.is_busy()), ([1, 0, 2], false), "{ahead_secs} {runs}");
    let dated = f.records("a-retry")[0].timestamp_ms;
    let expected = dated_ahead.map_or(-1, |secs| (at() + TimeDelta::seconds(secs)).timestamp_millis());
    assert!((expected..=expected + 8_000).contains(&dated), "{ahead_secs} {runs}: {dated}");
    let found = clock.expect("something is told of the clock");
    assert_eq!(found.is_some(), dated_ahead.is_some(), "{ahead_secs} {runs}");
    // A step takes a second here.
    assert!(found.is_none_or(|found| (found - f.ahead).abs() <= TimeDelta::seconds(1)), "{found:?} {runs}");
}

#[test]
fn a_wrong_clock_holds_up_no_result_and_is_noticed() {
    check_clock(0, "LogAppendTime", Some(0));
    check_clock(20, "LogAppendTime", Some(20));
    check_clock(7_200, "LogAppendTime", Some(0));
    check_clock(-7_200, "LogAppendTime", Some(0));
    check_clock(7_200, "CreateTime", Some(0));
    check_clock(-7_200, "CreateTime", Some(0));
    check_clock(7_200, "CreateTime", None);
}

#[test]
fn a_clock_is_compared_at_the_start_and_regularly_although_nothing_is_written() {
    for runs in ["LogAppendTime", "CreateTime"] {
        let mut f = Fixture::started_off(TimeDelta::hours(2), runs);
        assert_eq!(f.ahead(1), [7_200], "{runs}: before anything else");
        // As long as it is wrong every 15 s, and then every minute.
        assert_eq!(f.ahead(44), [7_200; 2], "{runs}");
        f.ahead = TimeDelta::zero();
        assert_eq!(f.ahead(1), [0], "{runs}: at once when it jumps");
        assert_eq!(f.ahead(121), [0; 2], "{runs}");
        f.ahead = TimeDelta::seconds(-31);
        assert_eq!(f.ahead(2), [-31], "{runs}: at once when it jumps");
    }
}

#[test]
fn writes_that_are_made_anyway_compare_the_clock_every_ten_seconds() {
    let mut f = Fixture::started_off(TimeDelta::zero(), "LogAppendTime");
    assert_eq!(f.ahead(1), [0]);
    let mut compared_at = Vec::new();
    for second in 1..50 {
        // Too small a jump to be noticed by itself.
        f.ahead = TimeDelta::milliseconds(second);
        f.reporting.take(note());
        if !f.ahead(1).is_empty() {
            compared_at.push(second);
        }
    }
    // A second in which a sign of life is due has no other write.
    let apart = |two: &[i64]| (9..=12).contains(&(two[1] - two[0]));
    assert!(compared_at.len() > 3 && compared_at[0] == 10, "{compared_at:?}");
    assert!(compared_at.windows(2).all(apart), "{compared_at:?}");
}

#[test]
fn a_clock_that_nobody_can_compare_is_said_to_be_unknown_and_asked_about_every_minute() {
    let mut f = Fixture::started_off(TimeDelta::zero(), "CreateTime");
    f.broker.faults().refuse(Call::ClusterTime, "", ErrorCode::Other(31));
    let mut told = 0;
    for _ in 0..130 {
        let now = f.now();
        let effects = f.reporting.step(f.client.as_mut(), now);
        told += effects.iter().filter(|effect| matches!(effect, Effect::ClockUnknown(_))).count();
        f.clock.turn(Duration::from_secs(1));
    }
    assert_eq!(told, 3);
}

#[test]
fn a_comparison_that_fails_is_made_again_every_second_and_keeps_no_result_waiting() {
    let mut f = Fixture::started_off(TimeDelta::zero(), "LogAppendTime");
    let runs = TopicPartition { topic: "cron-runs".to_owned(), partition: 0 };
    f.broker.faults().lead(&runs, None);
    f.broker.faults().refuse(Call::ClusterTime, "", ErrorCode::Other(31));
    f.reporting.take(ended(claimed(1, 1), Outcome::TimedOut));
    let mut failed = 0;
    for _ in 0..100 {
        let now = f.now();
        let effects = f.reporting.step(f.client.as_mut(), now);
        failed += effects.iter().filter(|effect| matches!(effect, Effect::NotCompared(_))).count();
        f.clock.turn(Duration::from_millis(100));
    }
    assert_eq!((failed, f.written()[0]), (10, 1));
}

#[test]
fn what_a_topic_never_takes_becomes_a_letter_and_holds_up_nothing() {
    let mut f = Fixture::new();
    f.broker.faults().refuse(Call::Produce, "a-retry", ErrorCode::InvalidRecord);
    f.reporting.take(ended(claimed(1, 1), Outcome::TimedOut));
    f.step();
    f.step();
    assert_eq!((f.step().1, f.written()), (1, [0, 1, 1, 0]));
}

#[test]
fn signs_of_life_of_many_workers_are_split_into_what_the_topic_takes() {
    let mut f = Fixture::with(&[("cron-runs", "2000")]);
    (0..60).for_each(|run| f.reporting.started(started(&claimed(run, 1))));
    for turn in 0..2 {
        f.clock.turn(LEASE / 3);
        let before = f.written()[3];
        let steps = (1..9).find(|_| !f.step().0);
        assert!(steps.is_some_and(|steps| turn == 0 || steps == 1), "{steps:?}");
        assert!((5..20).contains(&(f.written()[3] - before)));
        assert_eq!(f.said_alive(), (0..60).collect::<Vec<u128>>());
    }
}

#[test]
fn nothing_is_said_to_be_alive_when_nothing_runs() {
    let mut f = Fixture::new();
    f.reporting.started(started(&claimed(1, 0)));
    f.reporting.take(ended(claimed(1, 0), Outcome::Succeeded));
    f.step();
    f.clock.turn(LEASE);
    assert_eq!((f.step(), f.written()), ((false, 0), [0, 0, 1, 0]));
}

/// A failed attempt with one left and an output of 8 KiB, until it is passed on; what there is then of it, as
/// [`Fixture::written`] has it, whether the letter has output and attempt, and the length of the output in `finished`.
fn check_large(limits: &[(&str, &str)], written: [usize; 4], letter: Option<(bool, bool)>, output: usize) {
    let mut f = Fixture::with(limits);
    let Tell::Ended(mut report) = ended(claimed(1, 1), Outcome::Failed { code: 1 }) else { panic!() };
    report.output_tail = "x".repeat(8_192);
    f.reporting.take(Tell::Ended(report));
    let steps = (1..20).find(|_| f.step().1 == 1);
    assert!(steps.is_some(), "{limits:?}: it is never passed on");
    assert_eq!((f.written(), f.reporting.is_busy()), (written, false), "{limits:?}");
    let found = f.values("a-dead").first().map(|value| match wire::decode_dead(value).unwrap() {
        wire::DeadRecord::Letter(letter) => (!letter.output_tail.is_empty(), letter.attempt.is_some()),
        wire::DeadRecord::Replayed(_) => panic!("a letter"),
    });
    assert_eq!(found, letter, "{limits:?}");
    for value in f.values("cron-runs") {
        let Event::Finished { then, output_tail, .. } = wire::decode_event(&value).unwrap() else { continue };
        let expected = if written[0] == 1 { Then::Retried } else { Then::Dead };
        assert_eq!((then, output_tail.len()), (expected, output), "{limits:?}");
    }
}

#[test]
fn what_is_too_large_for_its_topic_is_passed_on_as_less_and_holds_up_nothing() {
    check_large(&[], [1, 0, 1, 0], None, 8_192);
    let retry = ("a-retry", "300");
    check_large(&[retry], [0, 1, 1, 0], Some((true, true)), 8_192);
    check_large(&[retry, ("a-dead", "2000")], [0, 1, 1, 0], Some((false, true)), 8_192);
    check_large(&[retry, ("a-dead", "600")], [0, 1, 1, 0], Some((false, false)), 8_192);
    check_large(&[retry, ("a-dead", "100")], [0, 0, 1, 0], None, 8_192);
    check_large(&[("cron-runs", "1000")], [1, 0, 1, 0], None, 0);
    check_large(&[("cron-runs", "100")], [1, 0, 0, 0], None, 0);
}

/// Something else that is told.
pub(in super::super) fn note() -> Tell {
    let place = Place { topic: "a".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 4 };
    Tell::Note(Event::DeletedUnread { place, next_offset: 5, at: at() })
}

#[test]
fn a_sign_of_life_that_fails_rests_a_second_or_a_sixth_of_a_short_lease() {
    let check = |lease, limit: &str, fate: Option<Fate>, running: u8, rest_ms| {
        let mut f = Fixture::with(&[("cron-runs", limit)]);
        let options = Options { consumer: "me".to_owned(), lease, workers: 1 };
        f.reporting = Reporting::new(options, f.clock.monotonic());
        (1..=running).for_each(|run| f.reporting.started(started(&claimed(run, 0))));
        f.clock.turn(lease / 3);
        f.broker.faults().decide(Box::new(move |_, call| fate.filter(|_| call == Call::Produce)));
        let now = f.clock.monotonic();
        let mut steps = 0;
        // What is too large is written in parts at once, down to a part for each attempt.
        while f.reporting.next_alive() <= now {
            steps += 1;
            assert!(steps < 20, "it spins");
            f.step();
        }
        let rest = f.reporting.next_alive() - now;
        assert_eq!(rest, Duration::from_millis(rest_ms), "{lease:?} {limit} {fate:?} {running}");
    };
    let short = Duration::from_secs(3);
    check(LEASE, "1000000", Some(Fate::NotSent), 2, 1_000);
    check(short, "1000000", Some(Fate::NotSent), 2, 500);
    check(LEASE, "1", None, 1, 1_000);
    check(LEASE, "1", None, 3, 1_000);
}

#[test]
fn a_write_may_take_a_quarter_of_the_lease_or_two_seconds_if_that_is_less() {
    for (lease_secs, expected_ms) in [(60, 15_000), (10, 2_500), (8, 2_000), (2, 2_000)] {
        let f = Fixture::new();
        let lease = Duration::from_secs(lease_secs);
        let options = Options { consumer: "me".to_owned(), lease, workers: 1 };
        let now = f.now();
        let reporting = Reporting::new(options, now.mono);
        assert_eq!(reporting.patience(now) - now.mono, Duration::from_millis(expected_ms), "{lease_secs} s");
    }
}

#[test]
fn what_waits_counts_with_its_record_its_output_and_a_kilobyte() {
    let mut f = Fixture::new();
    let Tell::Ended(mut report) = ended(claimed(1, 1), Outcome::TimedOut) else { unreachable!() };
    report.claimed.attempt.attempts_left = 1;
    report.output_tail = "x".repeat(5_000);
    f.reporting.take(Tell::Ended(report));
    f.reporting.take(note());
    assert_eq!(f.reporting.waiting(), 2);
    for (waiting, output) in f.reporting.waiting.iter().zip([5_000, 0]) {
        assert_eq!(waiting.bytes, 1_024 + waiting.record.value.len() + output);
    }
    assert_eq!(f.reporting.due(f.clock.monotonic()), 2);
}
