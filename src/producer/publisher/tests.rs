//! The state machine, and the real thread on a clock that the test turns, with a cluster in memory.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::thread::carry_out;
use super::*;
use crate::common::bounds::TICK_BATCHES;
use crate::common::broker::memory::{Call, MemoryBroker};
use crate::common::broker::{Broker, Client, ErrorCode};
use crate::common::clock::{Clock, ManualClock, Now};
use crate::common::http::Health;
use crate::common::membership::Standing;
use crate::common::metrics::{Beats, Metrics};
use crate::common::model::{ClusterName, Event, JobName, MissedReason, RunId};
use crate::common::scan::Scan;
use crate::common::{topics, wire};
use crate::producer::job::{Job, Overlap, sample};
use crate::producer::leadership::{LeaderLease, Term};
use crate::producer::metrics::{ClusterMetrics, ProducerMetrics};
use crate::producer::plan::timetable::Tick;
use crate::producer::plan::{Batch, Missed, Source};
use crate::producer::topics::Missing;

const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster in memory with all topics of `cluster-a`, and a leave to write in term 2.
struct Bench {
    clock: Arc<ManualClock>,
    broker: MemoryBroker,
    client: Box<dyn Client>,
    standing: Standing,
    lease: LeaderLease,
    metrics: Metrics,
    counts: ClusterMetrics,
    cluster: ClusterName,
}

fn bench() -> Bench {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let broker = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>);
    let mut client = broker.client("test");
    let cluster = ClusterName::new("cluster-a").unwrap();
    for spec in topics::all(std::slice::from_ref(&cluster), 1, 1) {
        client.create_topic(&spec, clock.monotonic() + PATIENCE).unwrap();
    }
    let standing = Standing::new(clock.monotonic());
    let lease = LeaderLease::new(standing.clone(), Duration::from_secs(3_600));
    lease.grant(Term::new(2).unwrap(), standing.losses());
    let metrics = Metrics::new();
    let counts = ProducerMetrics::new(&metrics).of(&cluster);
    Bench { clock, broker, client, standing, lease, metrics, counts, cluster }
}

fn batch(term: u64, jobs: Vec<Job>) -> Batch {
    let tick = |job| Tick { job: Arc::new(job), at: DateTime::UNIX_EPOCH };
    Batch {
        term: Term::new(term).unwrap(),
        source: Source::Current,
        ticks: jobs.into_iter().map(tick).collect(),
        events: Vec::new(),
        missed: Vec::new(),
        revision: Arc::from("r"),
    }
}

impl Bench {
    /// The thread, what it is given, and what it confirms.
    fn start(&self) -> (Publisher, Sender<Batch>, Receiver<Confirmed>, Receiver<()>) {
        let (confirming, confirmed) = bounded(TICK_BATCHES);
        let (missing, called) = Missing::new();
        let context = Context {
            client: self.broker.client("publisher"),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            lease: self.lease.clone(),
            confirmed: confirming,
            metrics: self.counts.clone(),
            health: Health::new(&self.metrics),
            missing,
            beat: Beats::new(&self.metrics).thread("publish"),
        };
        let options = Options { cluster: self.cluster.clone(), number: 0 };
        let (publisher, batches) = Publisher::start(options, context).unwrap();
        (publisher, batches, confirmed, called)
    }

    /// Turns the clock until something is confirmed. An alarm that the thread no longer waits for may ring first.
    fn await_confirmed(&self, confirmed: &Receiver<Confirmed>) -> Confirmed {
        let start = std::time::Instant::now();
        loop {
            self.clock.ring_next(Duration::from_millis(10));
            if let Ok(confirmed) = confirmed.recv_timeout(Duration::from_millis(10)) {
                return confirmed;
            }
            assert!(start.elapsed() < PATIENCE, "nothing is confirmed");
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.now(), mono: self.clock.monotonic() }
    }

    /// Makes a step as the thread does.
    fn step(&mut self, publishing: &mut Publishing) -> Progress {
        let now = self.now();
        let (effects, progress) = publishing.step(self.client.as_mut(), &self.lease, now);
        carry_out(effects, &self.cluster, &self.counts, now);
        progress
    }

    /// What lies in a topic.
    fn read<T>(&mut self, topic: &str, decode: impl Fn(&[u8]) -> T) -> Vec<T> {
        let mut all = Vec::new();
        let mut scan = Scan::new(topic);
        scan.read(self.client.as_mut(), |_, record| all.push(decode(record.value.as_deref().unwrap())))
            .unwrap();
        all
    }

    fn missed(&mut self) -> Vec<(String, DateTime<Utc>, MissedReason)> {
        let events = self.read(topics::RUNS, |value| wire::decode_event(value).unwrap());
        let missed = events.into_iter().filter_map(|event| match event {
            Event::Missed { job, from, reason, .. } => Some((job.to_string(), from, reason)),
            _ => None,
        });
        missed.collect()
    }
}

#[test]
fn a_batch_waits_for_the_proof_of_our_membership_and_is_left_only_when_its_term_is_over() {
    let bench = bench();
    let (_publisher, batches, confirmed, _called) = bench.start();
    // The batch of a term that is over, and one of the current term while our membership is not proven.
    batches.send(batch(1, vec![sample("a", "@hourly")])).unwrap();
    batches.send(batch(2, vec![sample("a", "@hourly")])).unwrap();
    while !batches.is_empty() {
        assert!(bench.clock.ring_next(PATIENCE));
    }
    assert!(bench.clock.ring_next(PATIENCE));
    assert!(confirmed.is_empty(), "nothing is written without a proof");
    bench.standing.set(Some(bench.clock.monotonic()));
    let confirmed = bench.await_confirmed(&confirmed);
    assert_eq!(confirmed.term.number(), 2);
}

#[test]
fn a_tick_that_is_too_large_is_missed_on_record_before_its_batch_is_done_and_holds_up_no_other() {
    let mut bench = bench();
    bench.standing.set(Some(bench.clock.monotonic()));
    bench.broker.faults().set_topic("cluster-a", "max.message.bytes", "1500");
    let large = Job { command: "x".repeat(2_000), ..sample("large", "@hourly") };
    let jobs = vec![sample("a", "@hourly"), large, sample("b", "@hourly")];
    let mut publishing = Publishing::new(&bench.cluster, 0);
    publishing.take(Encoded::new(&Arc::from("cluster-a"), batch(2, jobs)));
    // As long as that cannot be put on record, the batch is not done.
    bench.broker.faults().refuse(Call::Produce, topics::RUNS, ErrorCode::NotEnoughReplicas);
    for _ in 0..3 {
        let progress = bench.step(&mut publishing);
        assert!(matches!(progress, Progress::GoesOn | Progress::Failed { .. }), "{progress:?}");
    }
    let mut published =
        bench.read("cluster-a", |value| wire::decode_attempt(value).unwrap().run.job.to_string());
    published.sort();
    assert_eq!(published, ["a", "b"], "each once");
    assert_eq!(bench.missed(), []);
    bench.broker.faults().allow(Call::Produce, topics::RUNS);
    let progress = bench.step(&mut publishing);
    let Progress::Done(confirmed) = progress else { panic!("{progress:?}") };
    let name: JobName = "large".parse().unwrap();
    assert_eq!(confirmed.refused, [(name.clone(), RunId::of(&name, DateTime::UNIX_EPOCH))]);
    let missed = ("large".to_owned(), DateTime::UNIX_EPOCH, MissedReason::TooLarge);
    assert_eq!(bench.missed(), [missed]);
}

#[test]
fn missed_and_skipped_ticks_are_counted_once_they_are_on_record_and_in_one_term_of_several() {
    let mut bench = bench();
    bench.standing.set(Some(bench.clock.monotonic()));
    let mut publishing = Publishing::new(&bench.cluster, 0);
    let job = Arc::new(sample("a", "* * * * * *"));
    let at = |second: i64| DateTime::from_timestamp(second, 0).unwrap();
    let told = |term: u64, last: u64| {
        let (from, to, reason) = (at(1), at(i64::try_from(last).unwrap()), MissedReason::NotCaughtUp);
        let (name, cluster) = (job.name.clone(), job.cluster.clone());
        let missed = Missed { job: Arc::clone(&job), from, to, count: last, reason };
        let event = Event::Missed { job: name, cluster, from, to, count: last, reason, at: to };
        let (name, cluster, blocked_by) = (job.name.clone(), job.cluster.clone(), RunId::of(&job.name, from));
        let skipped = Event::Skipped { job: name, cluster, scheduled_at: at(0), blocked_by, at: to };
        let batch = batch(term, Vec::new());
        Encoded::new(
            &Arc::from("cluster-a"),
            Batch { events: vec![event, skipped], missed: vec![missed], ..batch },
        )
    };
    let counted = |bench: &Bench| {
        let page = String::from_utf8(bench.metrics.page().unwrap()).unwrap();
        let value = |name: &str| {
            let line = page.lines().find(|line| line.starts_with(name));
            line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        };
        (value("cron_ticks_missed_total{"), value("cron_ticks_skipped_total{"))
    };
    publishing.take(told(2, 100));
    bench.broker.faults().refuse(Call::Produce, topics::RUNS, ErrorCode::NotEnoughReplicas);
    assert!(matches!(bench.step(&mut publishing), Progress::Failed { .. }));
    assert_eq!(counted(&bench), (0, 0), "nothing is on record");
    // The term ends, and another one begins where the cursor was.
    bench.lease.grant(Term::new(3).unwrap(), bench.standing.losses());
    bench.broker.faults().allow(Call::Produce, topics::RUNS);
    assert!(matches!(bench.step(&mut publishing), Progress::Abandoned));
    assert_eq!((counted(&bench), bench.missed().len()), ((0, 0), 0));
    for (term, last, expected) in [(3, 120, 120), (4, 120, 120), (5, 150, 150)] {
        bench.lease.grant(Term::new(term).unwrap(), bench.standing.losses());
        publishing.take(told(term, last));
        assert!(matches!(bench.step(&mut publishing), Progress::Done(_)));
        assert_eq!(counted(&bench), (expected, 1), "term {term}");
    }
    assert_eq!(bench.missed().len(), 3, "each term records what it decides");
}

/// A batch that has a tick and an event, and is refused for a minute as `refuse` says; the events are told about once it is
/// over. Nothing may be asked for without rests.
fn check_rests(refuse: impl Fn(&MemoryBroker), mend: impl Fn(&MemoryBroker), calls_for_topics: bool) {
    let bench = bench();
    bench.standing.set(Some(bench.clock.monotonic()));
    let (_publisher, batches, confirmed, called) = bench.start();
    refuse(&bench.broker);
    let event = Event::Revision {
        cluster: bench.cluster.clone(),
        revision: "r".to_owned(),
        tzdata: None,
        leader: "me".to_owned(),
        from: DateTime::UNIX_EPOCH,
        at: DateTime::UNIX_EPOCH,
    };
    batches.send(Batch { events: vec![event], ..batch(2, vec![sample("a", "@hourly")]) }).unwrap();
    let fails = || {
        let page = String::from_utf8(bench.metrics.page().unwrap()).unwrap();
        page.lines().any(|line| line == "cron_ready{fact=\"cluster-a\"} 0")
    };
    while !fails() {
        assert!(bench.clock.ring_next(PATIENCE));
    }
    let end = bench.clock.monotonic() + Duration::from_secs(60);
    while bench.clock.monotonic() < end {
        assert!(bench.clock.ring_next(PATIENCE));
    }
    let faults = bench.broker.faults();
    let made = [Call::Produce, Call::Topic].map(|call| faults.made(call));
    assert!(made.iter().all(|made| *made < 100), "{made:?} calls in a minute");
    assert!(confirmed.is_empty());
    assert_eq!(!called.is_empty(), calls_for_topics);
    mend(&bench.broker);
    while confirmed.is_empty() {
        assert!(bench.clock.ring_next(PATIENCE));
    }
    assert_eq!(confirmed.recv().unwrap().refused, []);
    let page = String::from_utf8(bench.metrics.page().unwrap()).unwrap();
    assert!(page.contains("cron_ready{fact=\"cluster-a\"} 1\n"), "it is ready again: {page}");
}

#[test]
fn whatever_refuses_a_batch_for_long_is_asked_with_rests() {
    let codes = [
        ErrorCode::TopicAuthorizationFailed,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::NotEnoughReplicas,
        ErrorCode::NotLeader,
        ErrorCode::Other(87),
    ];
    for topic in ["cluster-a", topics::RUNS] {
        for code in codes {
            check_rests(
                |broker| broker.faults().refuse(Call::Produce, topic, code),
                |broker| broker.faults().allow(Call::Produce, topic),
                code == ErrorCode::UnknownTopicOrPartition,
            );
        }
        check_rests(
            |broker| broker.faults().refuse(Call::Topic, topic, ErrorCode::TopicAuthorizationFailed),
            |broker| broker.faults().allow(Call::Topic, topic),
            false,
        );
    }
    check_rests(|broker| broker.faults().away(), |broker| broker.faults().back(), false);
    // An event that its topic does not take, too: it cannot become anything smaller.
    check_rests(
        |broker| broker.faults().set_topic(topics::RUNS, "max.message.bytes", "70"),
        |broker| broker.faults().set_topic(topics::RUNS, "max.message.bytes", "1048588"),
        false,
    );
}

#[test]
fn where_a_run_lies_is_on_record_before_its_tick_is_confirmed_if_the_runs_of_its_job_may_not_overlap() {
    let mut bench = bench();
    bench.standing.set(Some(bench.clock.monotonic()));
    let mut publishing = Publishing::new(&bench.cluster, 0);
    let jobs = vec![
        sample("free", "@hourly"),
        Job { overlap: Overlap::Skip, ..sample("skips", "@hourly") },
        Job { overlap: Overlap::Queue, ..sample("queues", "@hourly") },
    ];
    publishing.take(Encoded::new(&Arc::from("cluster-a"), batch(2, jobs)));
    let progress = bench.step(&mut publishing);
    assert!(matches!(progress, Progress::GoesOn), "{progress:?}");
    let progress = bench.step(&mut publishing);
    assert!(matches!(progress, Progress::Done(_)), "{progress:?}");
    let published = bench.read("cluster-a", |value| wire::decode_attempt(value).unwrap().run.job.to_string());
    let mut lies: Vec<(String, i64)> =
        published.into_iter().zip(0..).filter(|(job, _)| job != "free").collect();
    let mut told = bench.read(topics::RUNS, |value| match wire::decode_event(value).unwrap() {
        Event::Published { job, place, .. } => (job.to_string(), place.offset),
        event => panic!("{event:?}"),
    });
    lies.sort();
    told.sort();
    assert_eq!((told.len(), told), (2, lies));
    let page = String::from_utf8(bench.metrics.page().unwrap()).unwrap();
    assert!(page.contains("cron_ticks_published_total{cluster=\"cluster-a\"} 3\n"), "{page}");
}

#[test]
fn the_topic_is_looked_up_while_nothing_is_due() {
    let bench = bench();
    let (_publisher, _batches, _confirmed, _called) = bench.start();
    let made = bench.broker.faults().made(Call::Topic);
    for _ in 0..3 {
        assert!(bench.clock.ring_next(PATIENCE));
    }
    assert_eq!(bench.broker.faults().made(Call::Topic) - made, 1, "once, as long as it is believed");
}

#[test]
fn a_publisher_is_over_when_nobody_has_batches_any_more_and_all_is_written() {
    let bench = bench();
    let (publisher, batches, confirmed, _called) = bench.start();
    batches.send(batch(2, vec![sample("a", "@hourly")])).unwrap();
    drop(batches);
    for _ in 0..3 {
        assert!(bench.clock.ring_next(PATIENCE));
    }
    assert!(!publisher.is_over(), "its batch waits for the proof of our membership");
    bench.standing.set(Some(bench.clock.monotonic()));
    bench.await_confirmed(&confirmed);
    let start = std::time::Instant::now();
    while !publisher.is_over() {
        assert!(start.elapsed() < PATIENCE, "it ends");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_left_of_a_batch_is_known_until_it_is_written() {
    let mut bench = bench();
    let mut publishing = Publishing::new(&bench.cluster, 0);
    assert_eq!(publishing.left(), 0);
    let topic = topics::first(&bench.cluster).into();
    let jobs = vec![sample("a", "@hourly"), sample("b", "@hourly"), sample("c", "@hourly")];
    publishing.take(Encoded::new(&topic, batch(2, jobs)));
    assert_eq!(publishing.left(), 3);
    bench.standing.set(Some(bench.clock.monotonic()));
    bench.step(&mut publishing);
    assert_eq!(publishing.left(), 0);
}
