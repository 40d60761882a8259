//! A world of one cluster: consumers that write what real ones write, and tails that are stepped by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::common::broker::memory::{Faults, MemoryBroker};
use crate::common::broker::{
    Broker, Client, Commit, Deadline, Holder, Position, ProduceBatch, Record, TopicPartition, Want,
    partition_for,
};
use crate::common::clock::{Clock, ManualClock, Now};
use crate::common::holes;
use crate::common::model::ClusterName;
use crate::common::model::{
    Attempt, AttemptRef, Event, JobName, Outcome, Place, RetryPolicy, Run, RunId, RunningAttempt, Then,
};
use crate::common::outgoing::Writer;
use crate::common::topics;
use crate::common::topics::TopicSpec;
use crate::common::wire;
use crate::common::wire::{DeadLetter, DeadRecord};
use crate::producer::leadership::Term;
use crate::producer::run_tracker::duties::{Hindrance, Standing};
use crate::producer::run_tracker::messages::RunNews;
use crate::producer::run_tracker::notes::Note;
use crate::producer::run_tracker::open_runs::Followed;
use crate::producer::run_tracker::step::Step;
use crate::producer::run_tracker::{Duties, Effect, Options, RunTracker};

pub(in crate::producer::run_tracker) const LEASE: u64 = 60;
/// The lease and what it takes to notice: a beat behind it, and a look.
pub(in crate::producer::run_tracker) const LEASE_AND_A_BIT: u64 = 75;

pub(in crate::producer::run_tracker) struct World {
    pub(in crate::producer::run_tracker) broker: MemoryBroker,
    pub(in crate::producer::run_tracker) clock: Arc<ManualClock>,
    client: Box<dyn Client>,
}

/// A producer's run tracker with its connection.
pub(in crate::producer::run_tracker) struct Producer {
    pub(in crate::producer::run_tracker) tracker: RunTracker,
    client: Box<dyn Client>,
    pub(in crate::producer::run_tracker) leads: bool,
    pub(in crate::producer::run_tracker) term: Term,
    pub(in crate::producer::run_tracker) effects: Vec<Effect>,
    /// What it has said in the log.
    pub(in crate::producer::run_tracker) notes: Vec<Note>,
}

impl Producer {
    pub(in crate::producer::run_tracker) fn is_done(&self, work: Duties) -> bool {
        self.tracker.standing(work) == Standing::Done
    }

    /// Whether beats were written and are not read back, although that is long overdue.
    pub(in crate::producer::run_tracker) fn misses_beats(&self) -> bool {
        self.tracker.standing(Duties::Beats) == Standing::Hindered(Hindrance::OutOfSight)
    }

    /// The partitions to which a beat is to be written, each with the beat's number.
    pub(in crate::producer::run_tracker) fn beats_due(&self, now: Instant) -> Vec<(i32, u64)> {
        let parts = &self.tracker.parts;
        parts.heartbeat.due(now, parts.beat_every(Duration::from_secs(LEASE)))
    }
}

pub(in crate::producer::run_tracker) fn of(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

pub(in crate::producer::run_tracker) fn name(run: u128) -> AttemptRef {
    AttemptRef { run: RunId(Uuid::from_u128(run)), attempt: 1 }
}

pub(in crate::producer::run_tracker) fn followed(jobs: &[&str]) -> Followed {
    Arc::new(jobs.iter().map(|job| (job.parse().unwrap(), ClusterName::new("c").unwrap())).collect())
}

/// Whether it was told that all open runs of these jobs are told.
pub(in crate::producer::run_tracker) fn has_read_history(effects: &[Effect], jobs: &[&str]) -> bool {
    let is_of_these = |effect: &Effect| matches!(effect, Effect::Tell(RunNews::HistoryRead { of, .. }) if *of == followed(jobs));
    effects.iter().any(is_of_these)
}

pub(in crate::producer::run_tracker) fn options(name: &str, overlapping: &[&str]) -> Options {
    let overlapping = followed(overlapping);
    let clusters = vec![ClusterName::new("c").unwrap()];
    let group = crate::common::topics::LEADER.to_owned();
    let (name, lease, revision) = (name.to_owned(), Duration::from_secs(LEASE), Arc::from("r"));
    Options { name, group, clusters, lease, overlapping, revision, tzdata: "2026f".into() }
}

impl World {
    pub(in crate::producer::run_tracker) fn new() -> Self {
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        let broker = MemoryBroker::stepped(Arc::<ManualClock>::clone(&clock));
        let mut world = Self { client: broker.client("world"), broker, clock };
        for topic in ["c", "c-retry", "c-dead", "cron-leader"] {
            world.create(topic, 1);
        }
        world.create(topics::RUNS, 2);
        world.keep_cursor(world.clock.now());
        world
    }

    /// Commits the cursor of the cluster, and its copy.
    pub(in crate::producer::run_tracker) fn keep_cursor(&mut self, at: DateTime<Utc>) {
        for topic in ["c", "c-retry"] {
            self.commit_for("cron-leader", of(topic, 0), at.timestamp_millis(), "1;".to_owned());
        }
    }

    pub(in crate::producer::run_tracker) fn create(&mut self, name: &str, partitions: i32) {
        let settings = match name {
            topics::RUNS => vec![("message.timestamp.type", "LogAppendTime".to_owned())],
            _ => Vec::new(),
        };
        self.create_as(name, partitions, settings);
    }

    pub(in crate::producer::run_tracker) fn create_as(
        &mut self,
        name: &str,
        partitions: i32,
        settings: Vec<(&'static str, String)>,
    ) {
        let spec = TopicSpec { name: name.to_owned(), partitions, replication_factor: 1, settings };
        self.client.create_topic(&spec, self.soon()).unwrap();
    }

    pub(in crate::producer::run_tracker) fn producer(&self, name: &str, leads: bool) -> Producer {
        let options = options(name, &[]);
        let tracker = RunTracker::new(options, self.clock.monotonic());
        let client = self.broker.client(name);
        Producer { tracker, client, leads, term: Term::FIRST, effects: Vec::new(), notes: Vec::new() }
    }

    pub(in crate::producer::run_tracker) fn faults(&self) -> Faults {
        self.broker.faults()
    }

    fn soon(&self) -> Deadline {
        self.clock.monotonic() + Duration::from_secs(10)
    }

    pub(in crate::producer::run_tracker) fn mono(&self) -> Instant {
        self.clock.monotonic()
    }

    /// Lets seconds pass, in each of which the producers make their steps.
    pub(in crate::producer::run_tracker) fn pass(&mut self, secs: u64, producers: &mut [&mut Producer]) {
        for _ in 0..secs {
            self.clock.turn(Duration::from_secs(1));
            for producer in &mut *producers {
                (0..4).for_each(|_| self.step(producer));
            }
        }
    }

    pub(in crate::producer::run_tracker) fn step(&self, producer: &mut Producer) {
        let now = Now { wall: self.clock.now(), mono: self.clock.monotonic() };
        let (effects, _) =
            producer.tracker.step(producer.client.as_mut(), now, producer.leads.then_some(producer.term));
        let (notes, effects): (Vec<Effect>, Vec<Effect>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Note(_)));
        producer.notes.extend(notes.into_iter().filter_map(|effect| match effect {
            Effect::Note(note) => Some(note),
            _ => None,
        }));
        // Most tests are not about where the next leader must read, nor that all was read where no runs are followed.
        let is_asked = |effect: &Effect| match effect {
            Effect::Tell(RunNews::ReadFrom(_)) => false,
            Effect::Tell(RunNews::ReadToEnd { .. }) => !producer.tracker.parts.runs.known().is_idle(),
            _ => true,
        };
        producer.effects.extend(effects.into_iter().filter(is_asked));
    }

    /// Lets a part make a move in a step of a producer that leads or not, and returns what follows.
    pub(in crate::producer::run_tracker) fn in_step<T>(
        &mut self,
        leads: Option<Term>,
        act: impl FnOnce(&mut Step<'_>) -> T,
    ) -> (T, Vec<Effect>) {
        let now = Now { wall: self.clock.now(), mono: self.clock.monotonic() };
        let (options, mut writer, by) = (options("p", &["j"]), Writer::default(), self.soon());
        let client = self.client.as_mut();
        let mut step =
            Step { client, writer: &mut writer, options: &options, now, by, leads, effects: Vec::new() };
        let answer = act(&mut step);
        (answer, step.effects)
    }

    fn write(&mut self, to: TopicPartition, value: Bytes) -> i64 {
        self.write_as(to, None, value)
    }

    fn write_as(&mut self, to: TopicPartition, key: Option<Bytes>, value: Bytes) -> i64 {
        let timestamp_ms = self.clock.now().timestamp_millis();
        let records = vec![Record { key, value: Some(value), timestamp_ms }];
        let written = self.client.produce(&[ProduceBatch { to, records }], self.soon()).remove(0);
        written.unwrap().base_offset
    }

    /// Writes the first attempt of a run, which may be tried again so many times.
    pub(in crate::producer::run_tracker) fn publish(&mut self, run: u128, retries: u32) -> Place {
        let (job, cluster) = (JobName::new("j").unwrap(), ClusterName::new("c").unwrap());
        let retry = RetryPolicy { retries, backoff_ms: 1000, backoff_max_ms: 1000 };
        let run = Run { retry, ..Run::sample(name(run).run, job, cluster) };
        let attempt = Attempt { run: Arc::new(run), attempt: 1, attempts_left: retries, not_before: None };
        let key = Some(attempt.run.id.to_string().into());
        let offset = self.write_as(of("c", 0), key, wire::encode(&attempt));
        let topic_id = self.client.topic("c", self.soon()).unwrap().unwrap().id;
        Place { topic: "c".to_owned(), topic_id, partition: 0, offset }
    }

    /// Writes an event to the partition of its key.
    fn say(&mut self, key: &str, event: &Event) {
        let partition = partition_for(key.as_bytes(), 2);
        self.write(of(topics::RUNS, partition), wire::encode(event));
    }

    /// Says that a run is published.
    pub(in crate::producer::run_tracker) fn note(&mut self, run: u128, place: &Place) {
        let event = Event::Published {
            run: name(run).run,
            job: JobName::new("j").unwrap(),
            cluster: ClusterName::new("c").unwrap(),
            scheduled_at: DateTime::UNIX_EPOCH,
            place: place.clone(),
            at: self.clock.now(),
        };
        self.say("j", &event);
    }

    /// Writes the second attempt of a run to the retry topic.
    pub(in crate::producer::run_tracker) fn retry(&mut self, run: u128) -> Place {
        let (key, timestamp_ms) =
            (Some(name(run).run.to_string().into()), self.clock.now().timestamp_millis());
        let to = of("c-retry", 0);
        let records = vec![Record { key, value: None, timestamp_ms }];
        let written = self.client.produce(&[ProduceBatch { to, records }], self.soon()).remove(0);
        let topic_id = self.client.topic("c-retry", self.soon()).unwrap().unwrap().id;
        Place { topic: "c-retry".to_owned(), topic_id, partition: 0, offset: written.unwrap().base_offset }
    }

    /// Says that messages were deleted before they were read.
    pub(in crate::producer::run_tracker) fn deleted_unread(&mut self, place: &Place, next_offset: i64) {
        let event = Event::DeletedUnread { place: place.clone(), next_offset, at: self.clock.now() };
        self.say(&place.topic.clone(), &event);
    }

    pub(in crate::producer::run_tracker) fn claim(&mut self, run: u128, place: &Place, consumer: &str) {
        let event = Event::Claimed {
            attempt: name(run),
            job: JobName::new("j").unwrap(),
            place: place.clone(),
            consumer: consumer.to_owned(),
            lease_ms: LEASE * 1000,
            at: self.clock.now(),
        };
        self.say(&name(run).run.to_string(), &event);
    }

    pub(in crate::producer::run_tracker) fn alive(&mut self, run: u128, place: &Place, consumer: &str) {
        self.alive_in(partition_for(consumer.as_bytes(), 2), run, place);
    }

    /// A sign of life in a partition of `cron-runs`.
    pub(in crate::producer::run_tracker) fn alive_in(&mut self, partition: i32, run: u128, place: &Place) {
        let running = vec![RunningAttempt { attempt: name(run), place: place.clone() }];
        let (consumer, lease_ms, at) = ("one".to_owned(), LEASE * 1000, self.clock.now());
        let event = Event::Alive { consumer, lease_ms, running, at };
        self.write(of(topics::RUNS, partition), wire::encode(&event));
    }

    pub(in crate::producer::run_tracker) fn finish(&mut self, run: u128, then: Then) {
        self.finish_in("c", run, then);
    }

    /// An end that a consumer of a cluster tells of.
    pub(in crate::producer::run_tracker) fn finish_in(&mut self, cluster: &str, run: u128, then: Then) {
        let event = Event::Finished {
            attempt: name(run),
            job: JobName::new("j").unwrap(),
            cluster: ClusterName::new(cluster).unwrap(),
            scheduled_at: DateTime::UNIX_EPOCH,
            consumer: "one".to_owned(),
            outcome: if then == Then::Done { Outcome::Succeeded } else { Outcome::TimedOut },
            then,
            started_at: DateTime::UNIX_EPOCH,
            ended_at: DateTime::UNIX_EPOCH,
            output_bytes: 0,
            output_tail: String::new(),
        };
        self.say(&name(run).run.to_string(), &event);
    }

    /// A loss that the leader of a cluster tells of.
    pub(in crate::producer::run_tracker) fn lose_in(&mut self, cluster: &str, run: u128, place: &Place) {
        let event = Event::Lost {
            attempt: name(run),
            job: Some(JobName::new("j").unwrap()),
            cluster: ClusterName::new(cluster).unwrap(),
            scheduled_at: Some(DateTime::UNIX_EPOCH),
            consumer: "one".to_owned(),
            place: Place { topic: cluster.to_owned(), ..place.clone() },
            then: Then::Dead,
            at: self.clock.now(),
        };
        self.say(&name(run).run.to_string(), &event);
    }

    /// Commits for the cluster's group, which has no members.
    pub(in crate::producer::run_tracker) fn commit(&mut self, place: &Place, offset: i64, left_out: &[i64]) {
        let metadata = holes::encode(place.topic_id, offset, &left_out.iter().copied().collect()).unwrap();
        self.commit_for("c", of("c", 0), offset, metadata);
    }

    pub(in crate::producer::run_tracker) fn commit_for(
        &mut self,
        group: &str,
        of: TopicPartition,
        offset: i64,
        metadata: String,
    ) {
        let holder =
            Holder { group: group.to_owned(), member_id: String::new(), instance_id: None, generation: -1 };
        let commit = Commit { of, offset, metadata };
        assert_eq!(self.client.commit(&holder, &[commit], self.soon()).unwrap(), [None]);
    }

    /// A run that is published, claimed and passed.
    pub(in crate::producer::run_tracker) fn start(&mut self, run: u128, retries: u32) -> Place {
        let place = self.publish(run, retries);
        self.claim(run, &place, "one");
        self.commit(&place, place.offset + 1, &[]);
        place
    }

    /// Where a partition of `cron-runs` ends.
    pub(in crate::producer::run_tracker) fn end_of_runs(&mut self, partition: i32) -> i64 {
        self.client.offset(&of(topics::RUNS, partition), Position::End, self.soon()).unwrap()
    }

    /// The time by both clocks.
    pub(in crate::producer::run_tracker) fn now(&self) -> Now {
        Now { wall: self.clock.now(), mono: self.clock.monotonic() }
    }

    /// What a partition holds.
    pub(in crate::producer::run_tracker) fn values(&mut self, of: TopicPartition) -> Vec<Bytes> {
        let offset = self.client.offset(&of, Position::Start, self.soon()).unwrap();
        let want = Want { from: of, offset, max_bytes: 1 << 20 };
        let fetched = self.client.fetch(1, &[want], Duration::ZERO, self.soon()).unwrap().remove(0).unwrap();
        fetched.records.into_iter().filter_map(|record| record.value).collect()
    }

    pub(in crate::producer::run_tracker) fn retried(&mut self) -> Vec<Attempt> {
        let values = self.values(of("c-retry", 0));
        values.iter().map(|value| wire::decode_attempt(value).unwrap()).collect()
    }

    pub(in crate::producer::run_tracker) fn letters(&mut self) -> Vec<DeadLetter> {
        let letter = |value: &Bytes| match wire::decode_dead(value).unwrap() {
            DeadRecord::Letter(letter) => *letter,
            DeadRecord::Replayed(_) => panic!("nobody replays here"),
        };
        self.values(of("c-dead", 0)).iter().map(letter).collect()
    }

    /// The events `lost`.
    pub(in crate::producer::run_tracker) fn lost(&mut self) -> Vec<Event> {
        self.said(|event| matches!(event, Event::Lost { .. }))
    }

    /// The events of `cron-runs` that are wanted.
    pub(in crate::producer::run_tracker) fn said(&mut self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let state = self.client.topic(topics::RUNS, self.soon()).unwrap().unwrap();
        let all = state.partitions.iter().flat_map(|p| self.values(of(topics::RUNS, p.partition)));
        let all: Vec<Event> = all.map(|value| wire::decode_event(&value).unwrap()).collect();
        all.into_iter().filter(wanted).collect()
    }

    /// How many next attempts, letters and events `lost` there are.
    pub(in crate::producer::run_tracker) fn fates(&mut self) -> (usize, usize, usize) {
        (self.retried().len(), self.letters().len(), self.lost().len())
    }
}
