//! The thread's own part, on a broker in memory: what is told to whom, and in which order. [`by_clock`] has what depends
//! on how much time passes.

mod by_clock;

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::*;
use crate::common::broker::memory::{Call as Asked, Fate, Faults, MemoryBroker};
use crate::common::broker::{Broker, ErrorCode, ProduceBatch, Record, TopicPartition};
use crate::common::clock::{Skew, SystemClock};
use crate::common::http::Health;
use crate::common::membership;
use crate::common::membership::Membership;
use crate::common::metrics::{Beats, Metrics};
use crate::common::model::{self, Place, RunningAttempt};
use crate::common::topics::TopicSpec;
use crate::consumer::claiming::machine::tests::fixture::attempt;
use crate::consumer::fetching::fetcher::Track;
use crate::consumer::fetching::poll::{Poll, PollOptions};
use crate::consumer::fetching::reading::{LogSlice, Read};
use crate::consumer::metrics::ConsumerMetrics;
use crate::consumer::reporting::{messages as reporting, thread as reporter};

/// Generous: nothing here takes a second on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A claiming thread that the test steps by hand, and the other ends of its channels.
struct Bench {
    dispatching: Claiming,
    ends: Ends,
}

/// The other ends of the thread's channels.
struct Ends {
    broker: Arc<MemoryBroker>,
    health: Health,
    metrics: ConsumerMetrics,
    jobs: Receiver<Box<Claimed>>,
    told: Receiver<reporting::Event>,
    started: Option<Receiver<RunningAttempt>>,
    idle: Sender<()>,
}

impl std::ops::Deref for Bench {
    type Target = Ends;

    fn deref(&self) -> &Ends {
        &self.ends
    }
}

/// What the thread is made of, and the first change of its membership.
struct Parts {
    options: Options,
    client: Box<dyn Client>,
    clock: Arc<CorrectedClock>,
    channels: Channels,
    observe: Observe,
    change: Change,
    ends: Ends,
}

/// The parts of a thread with partition 0 of topic `c`, on a broker whose clock the host has.
fn parts(clock: Arc<dyn Clock>, broker: MemoryBroker) -> Parts {
    parts_of(clock, broker, None)
}

/// The same, as a static member.
fn parts_of(clock: Arc<dyn Clock>, broker: MemoryBroker, instance_id: Option<&str>) -> Parts {
    let broker = Arc::new(broker);
    for name in ["c", "c-dead", "cron-runs"] {
        let name = name.to_owned();
        let spec = TopicSpec { name, partitions: 1, replication_factor: 1, settings: Vec::new() };
        broker.client("test").create_topic(&spec, clock.monotonic() + PATIENCE).unwrap();
    }
    let metrics = Metrics::new();
    let (metrics, beats, health) =
        (ConsumerMetrics::new(&metrics, "c"), Beats::new(&metrics), Health::new(&metrics));
    let (group, topic) = ("c".to_owned(), "c".to_owned());
    let member = membership::Options {
        group: group.clone(),
        topic: topic.clone(),
        instance_id: instance_id.map(str::to_owned),
        session_timeout: PATIENCE * 20,
        counts_once_taken_up: false,
    };
    let client = broker.client("membership");
    let (membership, changes, _standing) = Membership::start(
        member,
        client,
        Arc::clone(&clock),
        health.duty("group"),
        beats.thread("membership"),
    )
    .unwrap();
    let options = PollOptions {
        topic: topic.clone(),
        cluster: "c".parse().unwrap(),
        metrics: metrics.clone(),
        beats: beats.clone(),
        reading: health.duty("reading"),
        transactions: health.duty("transactions"),
    };
    let (poll, chunks) =
        Poll::start(options, Arc::clone(&broker) as Arc<dyn Broker>, Arc::clone(&clock)).unwrap();
    let change = changes.recv_timeout(PATIENCE).unwrap();
    let (idle, became_idle) = bounded(4);
    let (give, jobs) = bounded(4);
    let (tell, told) = bounded(1);
    let (start, started) = bounded(4);
    let report = reporter::Channels { tell, started: start };
    // Without a thread of orders, none are waited for.
    let (_, ordered) = bounded(1);
    let channels = Channels {
        changes,
        chunks,
        idle: became_idle,
        orders: ordered,
        jobs: give,
        report,
        poll,
        membership,
    };
    let options = Options {
        cluster: "c".parse().unwrap(),
        topic,
        group,
        consumer: "me".to_owned(),
        lease: PATIENCE * 2,
        waiting_bytes: 1 << 20,
        workers: 4,
    };
    let beat = beats.thread("dispatch");
    let observe = Observe { metrics: metrics.clone(), health: health.clone(), beat, pressure: None };
    let clock = Arc::new(CorrectedClock::new(clock));
    clock.cannot_know();
    let client = broker.client("dispatch");
    let ends = Ends { broker, health, metrics, jobs, told, started: Some(started), idle };
    Parts { options, client, clock, channels, observe, change, ends }
}

impl Bench {
    /// A member that has partition 0 of topic `c`, has one free worker, and reads.
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut bench = Self::with(parts(Arc::clone(&clock), MemoryBroker::new(clock)));
        bench.dispatching.handle(Event::WorkersFree(1));
        bench.dispatching.turn();
        bench
    }

    /// A member that has no free worker, and has not come round yet.
    fn with(parts: Parts) -> Self {
        let Parts { options, client, clock, channels, observe, change, ends } = parts;
        let mut dispatching = Claiming::new(options, client, clock, channels, observe);
        dispatching.handle(Event::OrdersKnown);
        dispatching.handle(Event::Changed(change));
        Self { dispatching, ends }
    }

    /// Takes what was read until there is something in it.
    fn take_chunk(&mut self) -> Chunk {
        loop {
            let chunk = self.dispatching.channels.chunks.recv_timeout(PATIENCE).unwrap();
            if matches!(&chunk.what, What::Records { slice, .. } if !slice.records.is_empty()) {
                return chunk;
            }
            self.reads(chunk);
        }
    }

    /// Takes what was read.
    fn reads(&mut self, chunk: Chunk) {
        let event = self.dispatching.read(chunk);
        self.dispatching.handle(event);
    }

    /// Leaves, as the thread does when it is told to.
    fn finish(&mut self) {
        self.dispatching.handle(Event::Leave);
        self.dispatching.turn();
        self.dispatching.tell_the_rest();
    }

    /// The host's clock is found to be so many minutes ahead of the broker's.
    fn finds_ahead(&self, minutes: i64) {
        let clock = &self.dispatching.clock;
        let at = Now { wall: clock.host().now(), mono: clock.monotonic() };
        clock.learn(Skew { ahead: TimeDelta::minutes(minutes), at });
    }
}

impl Ends {
    fn faults(&self) -> Faults {
        self.broker.faults()
    }

    fn publish(&self, run: u128) {
        self.publish_for(run, None);
    }

    /// Publishes an attempt that must not start before an instant.
    fn publish_for(&self, run: u128, not_before: Option<DateTime<Utc>>) {
        let to = TopicPartition { topic: "c".to_owned(), partition: 0 };
        let record = Record { key: None, value: Some(attempt(run, not_before)), timestamp_ms: 0 };
        let batch = ProduceBatch { to, records: vec![record] };
        let by = SystemClock.monotonic() + PATIENCE;
        self.broker.client("test").produce(&[batch], by).remove(0).unwrap();
    }

    fn job(&self) -> Option<u128> {
        self.jobs.try_recv().ok().map(|claimed| claimed.attempt.run.id.0.as_u128())
    }
}

#[test]
fn what_an_older_plan_read_is_not_taken_even_under_the_same_generation() {
    let mut bench = Bench::new();
    bench.publish(7);
    let Chunk { track, what } = bench.take_chunk();
    let older = Track::new(track.of.clone(), track.plan - 1, 0, true);
    let What::Records { slice, end } = what else { panic!("records") };
    let LogSlice { topic_id, records, span } = slice;
    let Read::Attempt(held) = &records[0].1 else { panic!("an attempt") };
    let mut other = held.clone();
    other.published_ms += 1;
    let wrong = LogSlice { topic_id, records: vec![(0, Read::Attempt(other))], span: span.clone() };
    bench.reads(Chunk { track: older, what: What::Records { slice: wrong, end } });
    let right = LogSlice { topic_id, records, span };
    bench.reads(Chunk { track, what: What::Records { slice: right, end } });
    bench.dispatching.turn();
    let claimed = bench.jobs.try_recv().expect("what the newest plan read is claimed");
    assert_eq!(claimed.published_ms, 0, "it is the record of the newest plan that is started");
}

#[test]
fn a_worker_gets_no_attempt_that_the_reporter_has_not_heard_of() {
    let mut bench = Bench::new();
    bench.publish(7);
    let chunk = bench.take_chunk();
    bench.reads(chunk);
    // The reporting thread has ended: from here on no thread says that an attempt is alive.
    bench.ends.started = None;
    bench.dispatching.turn();
    assert_eq!(bench.faults().made(Asked::Commit), 2, "it was claimed");
    assert_eq!(bench.job(), None);
}

#[test]
fn a_claim_under_way_at_the_end_is_waited_for_and_started() {
    let mut bench = Bench::new();
    bench.publish(7);
    let chunk = bench.take_chunk();
    bench.reads(chunk);
    bench.faults().next(Asked::Commit, Fate::AppliedButRefused(ErrorCode::RequestTimedOut));
    bench.dispatching.turn();
    assert!(bench.dispatching.claimer.has_pending());
    assert_eq!(bench.job(), None);
    bench.finish();
    assert_eq!(bench.job(), Some(7));
    assert!(bench.started.as_ref().unwrap().try_recv().is_ok());
}

#[test]
fn the_partitions_of_a_static_member_wait_for_its_return_unless_its_jobs_still_run() {
    for (free, leaves) in [(4, 0), (3, 1), (0, 1)] {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let parts = parts_of(Arc::clone(&clock), MemoryBroker::new(clock), Some("pod-0"));
        let Bench { mut dispatching, ends } = Bench::with(parts);
        (0..free).for_each(|_| ends.idle.send(()).unwrap());
        let (stop, stopped) = bounded(0);
        drop(stop);
        dispatching.run(&stopped);
        // Ends its membership.
        drop(dispatching);
        assert_eq!(ends.faults().made(Asked::Leave), leaves, "{free} of 4 workers are free");
    }
}

#[test]
fn nothing_more_is_claimed_while_what_was_met_cannot_be_told() {
    let mut bench = Bench::new();
    bench.publish(7);
    let chunk = bench.take_chunk();
    let place = Place { topic: "c".to_owned(), topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 };
    let note = model::Event::Truncated { place, end_offset: 0, at: SystemClock.now() };
    for note in [note.clone(), note] {
        assert_eq!(bench.dispatching.outbox.take(Effect::Note(note)), None);
    }
    bench.reads(chunk);
    let before = bench.faults().made(Asked::Commit);
    for _ in 0..3 {
        bench.dispatching.turn();
    }
    assert_eq!((bench.job(), bench.faults().made(Asked::Commit)), (None, before));
    assert!(bench.told.try_recv().is_ok());
    bench.dispatching.turn();
    assert_eq!(bench.job(), Some(7));
}

#[test]
fn what_waits_is_started_by_the_brokers_clock_where_the_hosts_is_wrong() {
    let check = |ahead: i64, due: i64, starts: bool| {
        let mut bench = Bench::new();
        bench.finds_ahead(ahead);
        bench.publish_for(7, Some(SystemClock.now() + TimeDelta::minutes(due)));
        let chunk = bench.take_chunk();
        bench.reads(chunk);
        bench.dispatching.turn();
        assert_eq!(bench.job(), starts.then_some(7), "{ahead} min ahead, due in {due} min");
    };
    check(40, -20, false);
    check(40, -50, true);
    check(-40, 20, true);
    check(-40, 50, false);
    check(0, 20, false);
}

#[test]
fn nothing_is_claimed_before_the_clock_was_compared() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut parts = parts(Arc::clone(&clock), MemoryBroker::new(Arc::clone(&clock)));
    parts.clock = Arc::new(CorrectedClock::new(clock));
    let mut bench = Bench::with(parts);
    bench.dispatching.handle(Event::WorkersFree(1));
    bench.dispatching.turn();
    bench.publish(7);
    let chunk = bench.take_chunk();
    bench.reads(chunk);
    bench.dispatching.turn();
    assert_eq!((bench.job(), bench.dispatching.wait()), (None, FIRST_REST));
    bench.finds_ahead(0);
    bench.dispatching.turn();
    assert_eq!(bench.job(), Some(7));
}
