//! A world of one topic, and consumers that are stepped by hand.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::Receiver;
use uuid::Uuid;

use crate::common::broker::memory::{Faults, MemoryBroker};
use crate::common::broker::{
    Broker, Client, Commit, Committed, Deadline, Holder, Position, ProduceBatch, Record, TopicPartition, Want,
};
use crate::common::clock::Clock;
use crate::common::clock::Now;
use crate::common::holes;
use crate::common::model::{Attempt, ClusterName, Event, JobName, RetryPolicy, Run, RunId};
use crate::common::topics::TopicSpec;
use crate::common::wire;
use crate::common::wire::{DeadLetter, DeadRecord};

pub(super) const TOPIC: &str = "c";
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// A clock that stands until it is turned.
#[derive(Debug)]
pub(super) struct StillClock {
    began: Instant,
    turned: Mutex<Duration>,
}

impl Clock for StillClock {
    fn now(&self) -> DateTime<Utc> {
        let turned = TimeDelta::from_std(*self.turned.lock().unwrap()).unwrap();
        DateTime::from_timestamp(1_800_000_000, 0).unwrap() + turned
    }

    fn monotonic(&self) -> Instant {
        self.began + *self.turned.lock().unwrap()
    }

    fn alarm(&self, _: Duration) -> Receiver<Instant> {
        crossbeam_channel::never()
    }
}

/// Two partitions of attempts, and the topics around them.
pub(super) struct World {
    pub(super) broker: MemoryBroker,
    pub(super) clock: Arc<StillClock>,
    /// How much a consumer keeps of what waits.
    pub(super) waiting_bytes: usize,
    client: Box<dyn Client>,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = Arc::new(StillClock { began: Instant::now(), turned: Mutex::default() });
        let broker = MemoryBroker::stepped(Arc::<StillClock>::clone(&clock));
        let mut world = Self { waiting_bytes: 1 << 20, client: broker.client("test"), broker, clock };
        for (name, partitions) in [(TOPIC, 2), ("c-dead", 1), ("cron-runs", 2)] {
            world.create(name, partitions);
        }
        world
    }

    pub(super) fn create(&mut self, name: &str, partitions: i32) {
        let spec =
            TopicSpec { name: name.to_owned(), partitions, replication_factor: 1, settings: Vec::new() };
        self.client.create_topic(&spec, self.soon()).unwrap();
    }

    /// The present id of the attempts' topic.
    pub(super) fn topic_id(&mut self) -> Uuid {
        self.client.topic(TOPIC, self.soon()).unwrap().unwrap().id
    }

    /// Deletes the attempts' topic and makes it anew, with as many partitions.
    pub(super) fn make_topic_anew(&mut self) {
        self.faults().delete_topic(TOPIC);
        self.create(TOPIC, 2);
    }

    /// Makes `cron-runs` anew, with other settings.
    pub(super) fn make_runs_anew(&mut self, settings: &[(&'static str, &str)]) {
        self.faults().delete_topic("cron-runs");
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let name = "cron-runs".to_owned();
        let spec = TopicSpec { name, partitions: 2, replication_factor: 1, settings };
        self.client.create_topic(&spec, self.soon()).unwrap();
    }

    pub(super) fn faults(&self) -> Faults {
        self.broker.faults()
    }

    pub(super) fn turn_clock(&self, by: Duration) {
        *self.clock.turned.lock().unwrap() += by;
    }

    pub(super) fn now(&self) -> Now {
        Now { wall: self.clock.now(), mono: self.clock.monotonic() }
    }

    pub(super) fn soon(&self) -> Deadline {
        self.clock.monotonic() + Duration::from_secs(10)
    }

    pub(super) fn write(&mut self, partition: i32, values: &[Bytes]) -> i64 {
        let timestamp_ms = self.clock.now().timestamp_millis();
        let record = |value: &Bytes| Record { key: None, value: Some(value.clone()), timestamp_ms };
        let batch = ProduceBatch { to: of(partition), records: values.iter().map(record).collect() };
        self.client.produce(&[batch], self.soon()).remove(0).unwrap().base_offset
    }

    /// Writes the first attempt of a run by its number.
    pub(super) fn publish(&mut self, partition: i32, run: u128) -> i64 {
        self.write(partition, &[attempt(run, None)])
    }

    /// Writes an attempt that must not start for so many seconds yet.
    pub(super) fn publish_for_later(&mut self, partition: i32, run: u128, secs: i64) -> i64 {
        let at = self.clock.now() + TimeDelta::seconds(secs);
        self.write(partition, &[attempt(run, Some(at))])
    }

    /// Where the log of a partition ends.
    pub(super) fn end(&mut self, of: &TopicPartition) -> i64 {
        self.client.offset(of, Position::End, self.soon()).unwrap()
    }

    fn values(&mut self, of: &TopicPartition) -> Vec<Bytes> {
        let offset = self.client.offset(of, Position::Start, self.soon()).unwrap();
        let want = Want { from: of.clone(), offset, max_bytes: 1 << 20 };
        let fetched = self.client.fetch(1, &[want], Duration::ZERO, self.soon()).unwrap().remove(0).unwrap();
        fetched.records.into_iter().filter_map(|record| record.value).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        let of = |partition| TopicPartition { topic: "cron-runs".to_owned(), partition };
        let values = (0..2).flat_map(|partition| self.values(&of(partition))).collect::<Vec<_>>();
        values.iter().map(|value| wire::decode_event(value).unwrap()).collect()
    }

    /// What `cron-runs` says but claims.
    pub(super) fn told(&mut self) -> Vec<Event> {
        self.events().into_iter().filter(|event| !matches!(event, Event::Claimed { .. })).collect()
    }

    /// The offsets that `cron-runs` says were claimed, as often as it says so.
    pub(super) fn claimed(&mut self) -> Vec<(i32, i64)> {
        let claim = |event| match event {
            Event::Claimed { place, .. } => Some((place.partition, place.offset)),
            _ => None,
        };
        let mut all: Vec<(i32, i64)> = self.events().into_iter().filter_map(claim).collect();
        all.sort_unstable();
        all
    }

    pub(super) fn letters(&mut self) -> Vec<DeadLetter> {
        let of = TopicPartition { topic: "c-dead".to_owned(), partition: 0 };
        let letter = |value: Bytes| match wire::decode_dead(&value).unwrap() {
            DeadRecord::Letter(letter) => *letter,
            DeadRecord::Replayed(_) => panic!("nobody replays here"),
        };
        self.values(&of).into_iter().map(letter).collect()
    }

    /// Committed offset and holes.
    pub(super) fn committed(&mut self, partition: i32) -> Option<(i64, Vec<i64>)> {
        let committed = self.client.committed("g", &[of(partition)], self.soon()).unwrap().remove(0);
        committed.map(|Committed { offset, metadata }| {
            let holes = holes::decode(&metadata, offset).unwrap().map(|holes| holes.offsets);
            (offset, holes.unwrap_or_default().into_iter().collect())
        })
    }

    /// The topic's id beside the committed offset.
    pub(super) fn committed_topic(&mut self, partition: i32) -> Option<Uuid> {
        let committed = self.client.committed("g", &[of(partition)], self.soon()).unwrap().remove(0)?;
        holes::decode(&committed.metadata, committed.offset).unwrap().map(|holes| holes.topic_id)
    }

    /// Commits in a member's name, for a topic of an id.
    pub(super) fn commit_of(&mut self, holder: &Holder, partition: i32, offset: i64, topic_id: Uuid) {
        let metadata = holes::encode(topic_id, offset, &BTreeSet::new()).unwrap();
        let commit = Commit { of: of(partition), offset, metadata };
        assert_eq!(self.client.commit(holder, &[commit], self.soon()).unwrap(), [None]);
    }

    /// Commits in a member's name.
    pub(super) fn commit(&mut self, holder: &Holder, partition: i32, offset: i64) {
        let commit = Commit { of: of(partition), offset, metadata: String::new() };
        assert_eq!(self.client.commit(holder, &[commit], self.soon()).unwrap(), [None]);
    }
}

pub(super) fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: TOPIC.to_owned(), partition }
}

/// An attempt on the wire.
pub(in crate::consumer::claiming) fn attempt(run: u128, not_before: Option<DateTime<Utc>>) -> Bytes {
    let (id, job) = (RunId(Uuid::from_u128(run)), JobName::new("j").unwrap());
    let retry = RetryPolicy { retries: 0, backoff_ms: 3_600_000, backoff_max_ms: 3_600_000 };
    let run = Run { retry, ..Run::sample(id, job, ClusterName::new(TOPIC).unwrap()) };
    wire::encode(&Attempt { run: Arc::new(run), attempt: 1, attempts_left: 0, not_before })
}
