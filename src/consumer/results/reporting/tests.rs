//! What is written, in which order, and what happens when it cannot be.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::*;
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{Broker, ErrorCode, TopicPartition, Want};
use crate::common::clock::{Clock, ManualClock};
use crate::common::passing::Fit;
use crate::common::topics::TopicSpec;
use crate::common::words::{Outcome, Place, Then};

const LEASE: Duration = Duration::from_secs(60);

struct Fixture {
    broker: MemoryBroker,
    clock: Arc<ManualClock>,
    client: Box<dyn Client>,
    reporting: Reporting,
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
        Self { broker, clock, client, reporting }
    }

    /// One step: whether anything failed, and how many attempts were passed on.
    fn step(&mut self) -> (bool, usize) {
        let now = Now { wall: self.clock.now(), mono: self.clock.monotonic() };
        let acts = self.reporting.step(self.client.as_mut(), now);
        let passed_on = acts.iter().filter(|act| matches!(act, Act::PassedOn(_))).count();
        (acts.iter().any(|act| matches!(act, Act::Failed(_))), passed_on)
    }

    /// What a topic holds.
    fn values(&self, topic: &str) -> Vec<Bytes> {
        let mut client = self.broker.client("test");
        let from = TopicPartition { topic: topic.to_owned(), partition: 0 };
        let want = Want { from, offset: 0, max_bytes: 1 << 20 };
        let by = self.clock.monotonic() + CALL;
        // Nothing can be read where there is no leader.
        let fetched = client.fetch(1, &[want], Duration::ZERO, by).unwrap().remove(0);
        let records = fetched.map(|fetched| fetched.records).unwrap_or_default();
        records.into_iter().filter_map(|record| record.value).collect()
    }

    /// How many records there are: next attempts, letters, `finished`, `alive`.
    fn written(&self) -> [usize; 4] {
        let values = |topic| self.values(topic);
        let events: Vec<Event> = values("cron-runs").iter().map(|v| wire::decode_event(v).unwrap()).collect();
        let finished = events.iter().filter(|event| matches!(event, Event::Finished { .. })).count();
        let alive = events.iter().filter(|event| matches!(event, Event::Alive { .. })).count();
        [values("a-retry").len(), values("a-dead").len(), finished, alive]
    }
}

fn at() -> DateTime<Utc> {
    "2026-11-23T17:00:00Z".parse().unwrap()
}

fn claimed(run: u8, left: u32) -> Claimed {
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

fn ended(claimed: Claimed, outcome: Outcome) -> Tell {
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
fn what_runs_is_said_to_be_alive_while_other_results_cannot_be_written() {
    let mut f = Fixture::new();
    let retry = TopicPartition { topic: "a-retry".to_owned(), partition: 0 };
    f.broker.faults().lead(&retry, None);
    f.reporting.started(started(&claimed(2, 0)));
    f.reporting.take(ended(claimed(1, 1), Outcome::TimedOut));
    for alive in 1..4 {
        assert_eq!(f.step(), (true, 0));
        f.clock.turn(LEASE / 3);
        assert_eq!((f.step(), f.written()), ((false, 0), [0, 0, 0, alive]));
    }
    f.broker.faults().lead(&retry, Some(1));
    f.step();
    assert_eq!((f.step(), f.written()), ((false, 1), [1, 0, 1, 3]));
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
        let Event::Finished { then, output_tail, .. } = wire::decode_event(&value).unwrap() else { panic!() };
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
