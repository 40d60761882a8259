//! A world of one topic, and consumers that are stepped by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::Receiver;
use uuid::Uuid;

use crate::common::broker::memory::{Faults, MemoryBroker};
use crate::common::broker::{
    Broker, BrokerError, Client, Commit, Committed, Deadline, Holder, ProduceBatch, Record, TopicPartition,
    Want,
};
use crate::common::clock::Clock;
use crate::common::membership::{self, Change, Member};
use crate::common::topics::TopicSpec;
use crate::common::wire::{self, DeadLetter, DeadReason, DeadRecord};
use crate::common::words::{Attempt, ClusterName, Event, JobName, Limits, RetryPolicy, Run, RunId};
use crate::consumer::dispatcher::{Act, Dispatcher, Now, Options};
use crate::consumer::holes;
use crate::consumer::reading::read_all;

pub(super) const TOPIC: &str = "c";
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// A clock that stands until it is turned.
#[derive(Debug)]
struct StillClock {
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
    broker: MemoryBroker,
    clock: Arc<StillClock>,
    client: Box<dyn Client>,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = Arc::new(StillClock { began: Instant::now(), turned: Mutex::default() });
        let broker = MemoryBroker::stepped(Arc::<StillClock>::clone(&clock));
        let mut world = Self { client: broker.client("test"), broker, clock };
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

    pub(super) fn faults(&self) -> Faults {
        self.broker.faults()
    }

    pub(super) fn turn_clock(&self, by: Duration) {
        *self.clock.turned.lock().unwrap() += by;
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.now(), mono: self.clock.monotonic() }
    }

    fn soon(&self) -> Deadline {
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

    fn values(&mut self, of: &TopicPartition) -> Vec<Bytes> {
        let want = Want { from: of.clone(), offset: 0, max_bytes: 1 << 20 };
        let fetched = self.client.fetch(1, &[want], Duration::ZERO, self.soon()).unwrap().remove(0).unwrap();
        fetched.records.into_iter().filter_map(|record| record.value).collect()
    }

    /// The offsets that `cron-runs` says were claimed, as often as it says so.
    pub(super) fn claimed(&mut self) -> Vec<(i32, i64)> {
        let mut all = Vec::new();
        for partition in 0..2 {
            let of = TopicPartition { topic: "cron-runs".to_owned(), partition };
            for value in self.values(&of) {
                if let Event::Claimed { place, .. } = wire::decode_event(&value).unwrap() {
                    all.push((place.partition, place.offset));
                }
            }
        }
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

    /// Commits in somebody's name.
    pub(super) fn commit(&mut self, holder: &Holder, partition: i32, offset: i64) {
        let commit = Commit { of: of(partition), offset, metadata: String::new() };
        assert_eq!(self.client.commit(holder, &[commit], self.soon()).unwrap(), [None]);
    }
}

pub(super) fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: TOPIC.to_owned(), partition }
}

/// An attempt on the wire.
pub(super) fn attempt(run: u128, not_before: Option<DateTime<Utc>>) -> Bytes {
    let run = Run {
        id: RunId(Uuid::from_u128(run)),
        job: JobName::new("j").unwrap(),
        cluster: ClusterName::new(TOPIC).unwrap(),
        scheduled_at: DateTime::UNIX_EPOCH,
        command: "true".to_owned(),
        environment: Arc::default(),
        cwd: None,
        user: None,
        limits: Limits { timeout_ms: None, grace_ms: 0 },
        retry: RetryPolicy { retries: 0, backoff_ms: 0, backoff_max_ms: 0 },
        revision: String::new(),
    };
    wire::encode(&Attempt { run: Arc::new(run), attempt: 1, attempts_left: 0, not_before })
}

/// A consumer without its threads.
pub(super) struct Consumer {
    pub(super) member: Member,
    members_client: Box<dyn Client>,
    client: Box<dyn Client>,
    pub(super) dispatcher: Dispatcher,
    pub(super) holder: Option<Holder>,
    plan: BTreeMap<i32, i64>,
    /// The runs that were started, by number.
    pub(super) started: Vec<u128>,
    pub(super) notes: Vec<Event>,
    pub(super) letters: Vec<DeadReason>,
    pub(super) new_ids_asked_for: usize,
}

impl Consumer {
    /// One that has joined and knows its share, and has stepped no further.
    pub(super) fn join(world: &World) -> Self {
        let group = "g".to_owned();
        let consumer = "me".to_owned();
        let session_timeout = Duration::from_secs(600);
        let topic = TOPIC.to_owned();
        let cluster = ClusterName::new(TOPIC).unwrap();
        let options = membership::Options {
            group: group.clone(),
            topic: topic.clone(),
            instance_id: None,
            session_timeout,
        };
        let dispatcher = Dispatcher::new(Options { cluster, topic, group, consumer, lease: LEASE });
        let mut new = Self {
            member: Member::new(options),
            members_client: world.broker.client("membership"),
            client: world.broker.client("dispatch"),
            dispatcher,
            holder: None,
            plan: BTreeMap::new(),
            started: Vec::new(),
            notes: Vec::new(),
            letters: Vec::new(),
            new_ids_asked_for: 0,
        };
        new.next_generation(world);
        new
    }

    /// Steps the membership, in which nobody else is, until it has a share.
    pub(super) fn next_generation(&mut self, world: &World) {
        for _ in 0..3 {
            let (change, _) = self.member.step(self.members_client.as_mut(), world.clock.monotonic());
            if let Some(change) = change {
                self.dispatcher.changed(&change);
                if let Change::Assigned { holder, .. } = change {
                    self.holder = Some(holder);
                    return;
                }
            }
        }
        panic!("no share");
    }

    /// Leaves, and comes back in another generation.
    pub(super) fn next_generation_by_leaving(&mut self, world: &World) {
        self.member.join_as_new();
        self.next_generation(world);
    }

    pub(super) fn leave(mut self, world: &World) {
        self.member.leave(self.members_client.as_mut(), world.clock.monotonic());
    }

    /// One step with so many free workers.
    pub(super) fn step(&mut self, world: &World, free: usize) {
        for act in self.dispatcher.step(self.client.as_mut(), world.now(), free) {
            match act {
                Act::Start(claimed) => self.started.push(claimed.attempt.run.id.0.as_u128()),
                Act::JoinAsNew => self.new_ids_asked_for += 1,
                Act::Read(plan) => self.plan = plan.into_iter().collect(),
                Act::Note(event) => self.notes.push(event),
                Act::Letter(reason) => self.letters.push(reason),
                Act::Failed(_) => {}
            }
        }
    }

    /// Reads what there is, as planned.
    pub(super) fn poll(&mut self, world: &World) {
        let generation = self.holder.as_ref().unwrap().generation;
        for (partition, next) in &mut self.plan {
            let want = Want { from: of(*partition), offset: *next, max_bytes: 1 << 20 };
            let fetched = self.client.fetch(1, &[want], Duration::ZERO, world.soon()).unwrap().remove(0);
            match fetched {
                Ok(fetched) => {
                    *next = fetched.next_offset;
                    let records = read_all(fetched, &ClusterName::new(TOPIC).unwrap());
                    self.dispatcher.read(generation, *partition, records, *next);
                }
                Err(BrokerError::Refused(_)) => self.dispatcher.lost_position(generation, *partition),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads and steps until nothing more comes of it.
    pub(super) fn run(&mut self, world: &World, free: usize) {
        for _ in 0..6 {
            self.step(world, free);
            self.poll(world);
        }
    }
}
