//! What is written, in which order, and what happens when it cannot be.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::*;
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{Broker, ErrorCode, TopicPartition, Want};
use crate::common::clock::{Clock, ManualClock};
use crate::common::topics::TopicSpec;
use crate::common::words::{Outcome, Place};

const LEASE: Duration = Duration::from_secs(60);

struct Fixture {
    broker: MemoryBroker,
    clock: Arc<ManualClock>,
    client: Box<dyn Client>,
    reporting: Reporting,
}

impl Fixture {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(at()));
        let broker = MemoryBroker::stepped(Arc::<ManualClock>::clone(&clock));
        let mut client = broker.client("reporter");
        for name in ["a-retry", "a-dead", "cron-runs"] {
            let spec =
                TopicSpec { name: name.to_owned(), partitions: 1, replication_factor: 1, settings: vec![] };
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

    /// How many records there are: next attempts, letters, `finished`, `alive`.
    fn written(&self) -> [usize; 4] {
        let mut client = self.broker.client("test");
        let mut values = |topic: &str| -> Vec<Bytes> {
            let from = TopicPartition { topic: topic.to_owned(), partition: 0 };
            let want = Want { from, offset: 0, max_bytes: 1 << 20 };
            let by = self.clock.monotonic() + CALL;
            // Nothing can be read where there is no leader.
            let fetched = client.fetch(1, &[want], Duration::ZERO, by).unwrap().remove(0);
            let records = fetched.map(|fetched| fetched.records).unwrap_or_default();
            records.into_iter().filter_map(|record| record.value).collect()
        };
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
    Claimed { attempt, place, published_ms: 0, claimed_at: at() }
}

fn ended(claimed: Claimed, outcome: Outcome) -> Tell {
    let output_tail = String::new();
    let report = Report { claimed, outcome, started_at: at(), ended_at: at(), output_bytes: 0, output_tail };
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
    f.reporting.take(started(&claimed(2, 0)));
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
    f.reporting.take(started(&claimed(1, 0)));
    f.reporting.take(ended(claimed(1, 0), Outcome::Succeeded));
    f.step();
    f.clock.turn(LEASE);
    assert_eq!((f.step(), f.written()), ((false, 0), [0, 0, 1, 0]));
}
