//! Reporting on a broker in memory, by a clock that the test turns.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::super::*;
use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{Broker, FetchedRecord, TopicPartition, Want};
use crate::common::clock::{Clock, ManualClock};
use crate::common::model::{Outcome, Place};
use crate::common::passing::Fit;
use crate::common::topics::TopicSpec;
use crate::consumer::claiming::machine::Claimed;
use crate::consumer::reporting::reports::Report;

pub(super) const LEASE: Duration = Duration::from_secs(60);

/// A broker with the topics that are written to, and reporting on it.
pub(super) struct Fixture {
    pub(super) broker: MemoryBroker,
    pub(super) clock: Arc<ManualClock>,
    pub(super) client: Box<dyn Client>,
    pub(super) reporting: Reporting,
    /// How far our wall clock is ahead of the broker's.
    pub(super) ahead: TimeDelta,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(&[])
    }

    /// With topics that take no batches above so many bytes.
    pub(super) fn with(limits: &[(&str, &str)]) -> Self {
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
    pub(super) fn compared(mut self) -> Self {
        let now = self.now();
        assert!(self.reporting.step(self.client.as_mut(), now).is_empty());
        let effects = self.reporting.step(self.client.as_mut(), now);
        assert!(matches!(effects[..], [Effect::Clock(_)]), "{effects:?}");
        self
    }

    /// One that has just been started, on a host whose clock is off, where `cron-runs` carries the time of that type.
    pub(super) fn started_off(ahead: TimeDelta, runs: &str) -> Self {
        let mut f = Self::new();
        f.broker.faults().set_topic("cron-runs", "message.timestamp.type", runs);
        f.ahead = ahead;
        f.reporting = Reporting::new(f.reporting.options.clone(), f.clock.monotonic());
        f
    }

    /// What comes of a step, once a second for so many seconds, about our clock: by how many seconds it is ahead.
    pub(super) fn ahead(&mut self, seconds: u64) -> Vec<i64> {
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

    pub(super) fn create(&mut self, name: &str, setting: Option<(&'static str, &str)>) {
        let settings = setting.map(|(of, value)| (of, value.to_owned())).into_iter().collect();
        let spec = TopicSpec { name: name.to_owned(), partitions: 1, replication_factor: 1, settings };
        self.client.create_topic(&spec, self.clock.monotonic() + CALL).unwrap();
    }

    /// Takes an event, from which nothing follows at once.
    pub(super) fn handle(&mut self, event: Event) {
        assert!(self.reporting.handle(event).is_empty());
    }

    pub(super) fn now(&self) -> Now {
        Now { wall: self.clock.now() + self.ahead, mono: self.clock.monotonic() }
    }

    /// Lets pass what a topic rests at most.
    pub(super) fn rest(&self) {
        self.clock.turn(LONGEST_REST);
    }

    /// The runs that the newest signs of life name, back to the first that names one again.
    pub(super) fn said_alive(&self) -> Vec<u128> {
        let mut named = Vec::new();
        for value in self.values("cron-runs").iter().rev() {
            if let model::Event::Alive { running, .. } = wire::decode_event(value).unwrap() {
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
    pub(super) fn step(&mut self) -> (bool, usize) {
        let now = self.now();
        let effects = self.reporting.step(self.client.as_mut(), now);
        let passed_on = effects.iter().filter(|effect| matches!(effect, Effect::PassedOn(_))).count();
        (effects.iter().any(|effect| matches!(effect, Effect::Failed(..))), passed_on)
    }

    /// What a topic holds.
    pub(super) fn values(&self, topic: &str) -> Vec<Bytes> {
        self.records(topic).into_iter().filter_map(|record| record.value).collect()
    }

    pub(super) fn records(&self, topic: &str) -> Vec<FetchedRecord> {
        let mut client = self.broker.client("test");
        let from = TopicPartition { topic: topic.to_owned(), partition: 0 };
        let want = Want { from, offset: 0, max_bytes: 1 << 20 };
        let by = self.clock.monotonic() + CALL;
        // Nothing can be read where there is no leader.
        let fetched = client.fetch(1, &[want], Duration::ZERO, by).unwrap().remove(0);
        fetched.map(|fetched| fetched.records).unwrap_or_default()
    }

    /// How many records there are: next attempts, letters, `finished`, `alive`.
    pub(super) fn written(&self) -> [usize; 4] {
        let values = |topic| self.values(topic);
        let events: Vec<model::Event> =
            values("cron-runs").iter().map(|v| wire::decode_event(v).unwrap()).collect();
        let finished = events.iter().filter(|event| matches!(event, model::Event::Finished { .. })).count();
        let alive = events
            .iter()
            .filter(|event| matches!(event, model::Event::Alive { running, .. } if !running.is_empty()));
        let alive = alive.count();
        [values("a-retry").len(), values("a-dead").len(), finished, alive]
    }
}

pub(super) fn at() -> DateTime<Utc> {
    "2026-11-23T17:00:00Z".parse().unwrap()
}

/// A claimed attempt of a run, with so many left.
pub(in crate::consumer::reporting) fn claimed(run: u8, left: u32) -> Claimed {
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

/// An attempt has ended so.
pub(in crate::consumer::reporting) fn ended(claimed: Claimed, outcome: Outcome) -> Event {
    let output_tail = String::new();
    let (fit, is_terse) = (Fit::Whole, false);
    let (started_at, ended_at) = (at(), at());
    let report =
        Report { claimed, outcome, started_at, ended_at, output_bytes: 0, output_tail, fit, is_terse };
    Event::Ended(Box::new(report))
}

/// Something else that is told.
pub(in crate::consumer::reporting) fn note() -> Event {
    let place = Place { topic: "a".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 4 };
    Event::Note(model::Event::DeletedUnread { place, next_offset: 5, at: at() })
}
