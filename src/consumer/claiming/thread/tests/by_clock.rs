//! What depends on how much time passes, by a clock that the test turns.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::*;
use crate::common::bounds::HELD_BYTES_PER_PARTITION;
use crate::common::clock::ManualClock;
use crate::common::wire;
use crate::consumer::claiming::machine::{FIRST_CLAIM_PATIENCE, LAST_ANSWER};
use crate::consumer::claiming::runs_topic;
use crate::consumer::fetching::reading::Held;

/// A thread that is stepped by hand, and its clock.
struct Still {
    bench: Bench,
    clock: Arc<ManualClock>,
    /// The next offset of partition 0.
    next: i64,
}

impl Still {
    /// A member without a free worker that knows where it goes on.
    fn new() -> Self {
        let (parts, clock) = still_parts();
        Self::with(parts, clock)
    }

    fn with(parts: Parts, clock: Arc<ManualClock>) -> Self {
        let mut bench = Bench::with(parts);
        // It looks up where it goes on, commits that, and has nothing left to do.
        (0..3).for_each(|_| bench.dispatching.turn());
        Self { bench, clock, next: 0 }
    }

    /// The same, and the clock has not been compared yet.
    fn with_unknown_clock() -> Self {
        let (mut parts, clock) = still_parts();
        parts.clock = Arc::new(CorrectedClock::new(Arc::clone(&clock) as Arc<dyn Clock>));
        Self::with(parts, clock)
    }

    /// The thread is given an attempt of so many bytes as if a fetcher had read it.
    fn reads(&mut self, run: u128, due_in: TimeDelta, bytes: usize) {
        let not_before = Some(self.clock.now() + due_in);
        let attempt = wire::decode_attempt(&attempt(run, not_before)).unwrap();
        let held = Read::Attempt(Held { attempt, published_ms: 0, bytes });
        let track = Arc::clone(&self.bench.dispatching.outbox.tracks()[0]);
        let mut client = self.bench.broker.client("test");
        let topic_id = client.topic("c", self.clock.monotonic() + PATIENCE).unwrap().unwrap().id;
        let slice = LogSlice { topic_id, records: vec![(self.next, held)], span: self.next..self.next + 1 };
        self.next += 1;
        let what = What::Records { slice, end: self.next };
        self.bench.reads(Chunk { track, what });
    }

    /// The thread is given an attempt that may start now.
    fn reads_due(&mut self, run: u128) {
        self.reads(run, TimeDelta::zero(), 1);
    }

    fn turn(&mut self) {
        self.bench.dispatching.turn();
    }

    fn frees(&mut self, workers: usize) {
        self.bench.dispatching.handle(Event::WorkersFree(workers));
    }

    fn wait(&self) -> Duration {
        self.bench.dispatching.wait()
    }

    /// Turns until the thread `poll` has taken the plan of what to read, which it does at any time.
    fn settle(&mut self) {
        while self.wait() == FIRST_REST {
            self.turn();
        }
    }

    fn note(&self) -> model::Event {
        let place = Place { topic: "c".to_owned(), topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 };
        model::Event::Truncated { place, end_offset: 0, at: self.clock.now() }
    }

    fn made(&self, call: Asked) -> usize {
        self.bench.faults().made(call)
    }
}

fn still_parts() -> (Parts, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)));
    let as_clock = || Arc::clone(&clock) as Arc<dyn Clock>;
    (parts(as_clock(), MemoryBroker::stepped(as_clock())), clock)
}

#[test]
fn the_thread_sleeps_until_something_is_to_be_done_and_a_second_at_most() {
    let second = Duration::from_secs(1);
    let mut still = Still::new();
    still.settle();
    assert_eq!(still.wait(), second, "nothing is there");
    let plan = still.bench.dispatching.outbox.tracks()[0].plan;
    still.bench.dispatching.handle(Event::LostPosition { plan, partition: 0 });
    assert_eq!(still.wait(), Duration::ZERO, "it looks up where it goes on");
    (0..3).for_each(|_| still.turn());
    still.settle();
    still.reads(1, TimeDelta::milliseconds(300), 1);
    still.reads(2, TimeDelta::seconds(30), 1);
    still.bench.dispatching.claimer.step(still.bench.broker.client("x").as_mut(), now(&still));
    assert_eq!(still.wait(), second, "a worker that becomes free wakes the thread");
    still.frees(1);
    assert_eq!(still.wait(), Duration::from_millis(300), "the first is due");
    still.clock.turn(Duration::from_millis(300));
    still.turn();
    assert_eq!(still.bench.job(), Some(1));
    still.turn();
    still.clock.turn(second);
    still.frees(1);
    assert_eq!(still.wait(), second, "the other one is due much later");
}

fn now(still: &Still) -> Now {
    Now { wall: still.clock.now(), mono: still.clock.monotonic() }
}

#[test]
fn a_claim_that_could_have_company_waits_for_it_a_moment() {
    let mut still = Still::new();
    still.turn();
    still.frees(1);
    still.reads_due(1);
    still.turn();
    assert_eq!(still.bench.job(), Some(1));
    still.turn();
    still.frees(1);
    assert_eq!(still.wait(), crate::consumer::claiming::linger::MOMENT);
    still.reads_due(2);
    still.turn();
    assert_eq!(still.bench.job(), None);
    still.clock.turn(crate::consumer::claiming::linger::MOMENT);
    still.turn();
    assert_eq!(still.bench.job(), Some(2));
}

#[test]
fn the_rest_after_failures_doubles_up_to_its_bound_and_ends_with_the_first_success() {
    let mut still = Still::new();
    still.frees(1);
    still.reads_due(1);
    still.bench.faults().decide(Box::new(|name, call| {
        ((name, call) == ("dispatch", Asked::Commit)).then_some(Fate::NotSent)
    }));
    let mut rests = Vec::new();
    for _ in 0..7 {
        still.turn();
        rests.push(still.wait().as_millis());
    }
    assert_eq!(rests, [20, 40, 80, 160, 320, 500, 500]);
    still.bench.faults().decide(Box::new(|_, _| None));
    still.turn();
    assert_eq!(still.bench.job(), Some(1));
    assert!(!still.bench.dispatching.claimer.is_resting());
}

#[test]
fn the_clock_is_waited_for_from_the_first_free_worker_on_and_not_for_ever() {
    let mut still = Still::with_unknown_clock();
    still.turn();
    assert!(still.wait() > FIRST_REST, "nothing is claimed without a worker");
    still.clock.turn(FIRST_CLAIM_PATIENCE * 2);
    still.frees(1);
    still.reads_due(1);
    still.turn();
    assert_eq!((still.bench.job(), still.wait()), (None, FIRST_REST));
    still.clock.turn(FIRST_CLAIM_PATIENCE - Duration::from_millis(1));
    still.turn();
    assert_eq!(still.bench.job(), None);
    still.clock.turn(Duration::from_millis(1));
    still.turn();
    assert_eq!(still.bench.job(), Some(1));
}

#[test]
fn each_worker_that_has_become_free_gets_an_attempt() {
    let mut still = Still::new();
    for run in 1..=3 {
        still.reads_due(run);
    }
    for _ in 0..2 {
        still.bench.idle.send(()).unwrap();
    }
    still.turn();
    let jobs: Vec<_> = std::iter::from_fn(|| still.bench.job()).collect();
    assert_eq!(jobs, [1, 2]);
}

#[test]
fn a_topic_of_claims_that_is_gone_is_told_within_seconds_and_asked_for_no_more_often() {
    let mut still = Still::new();
    still.bench.faults().delete_topic("cron-runs");
    let asked = Arc::new(AtomicI64::new(0));
    let counted = Arc::clone(&asked);
    still.bench.faults().decide(Box::new(move |name, call| {
        counted.fetch_add(i64::from((name, call) == ("dispatch", Asked::Topic)), Ordering::Relaxed);
        None
    }));
    (0..10).for_each(|_| still.turn());
    assert_eq!((asked.load(Ordering::Relaxed), still.bench.health.owed()), (0, vec![]));
    still.clock.turn(runs_topic::LOOK);
    (0..10).for_each(|_| still.turn());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let owed = still.bench.health.owed().concat();
    assert!(owed.starts_with("runs-topic: there is no topic cron-runs"), "{owed}");
}

#[test]
fn reading_pauses_while_a_partition_is_full() {
    let mut still = Still::new();
    let is_open = |still: &Still| still.bench.dispatching.outbox.tracks()[0].open.load(Ordering::Acquire);
    still.turn();
    assert!(is_open(&still));
    still.reads(1, TimeDelta::zero(), HELD_BYTES_PER_PARTITION);
    still.turn();
    assert!(!is_open(&still));
    still.frees(1);
    still.turn();
    assert_eq!(still.bench.job(), Some(1));
    assert!(is_open(&still));
}

#[test]
fn what_became_of_messages_and_claims_is_counted_once() {
    let mut still = Still::new();
    let shown = |still: &Still| {
        let metrics = &still.bench.metrics;
        let lag = metrics.lag.with_label_values(&["c", "0"]).get();
        (metrics.duplicates.get(), metrics.claims_too_late.get(), metrics.held.get(), lag)
    };
    still.reads_due(1);
    still.reads_due(1);
    still.reads(2, TimeDelta::seconds(30), 1);
    still.turn();
    assert_eq!(shown(&still), (1, 0, 1, 2));
    // A second copy, and a claim whose answer comes after its lease.
    still.reads_due(1);
    still.frees(1);
    still.bench.faults().next(Asked::Commit, Fate::NotSent);
    still.turn();
    still.clock.turn(PATIENCE * 2);
    still.turn();
    still.turn();
    assert_eq!(still.bench.job(), None);
    assert_eq!(shown(&still).0, 2);
    assert_eq!(shown(&still).1, 1);
    still.turn();
    assert_eq!((shown(&still).0, shown(&still).1), (2, 1));
    // The next claim is refused, and so is the one after the next generation.
    still.frees(3);
    still.reads_due(4);
    still.bench.faults().next(Asked::Commit, Fate::Refused(ErrorCode::IllegalGeneration));
    still.turn();
    let refused = still.bench.metrics.claims_refused.get();
    assert!(refused > 0);
    still.turn();
    assert_eq!(still.bench.metrics.claims_refused.get(), refused);
}

#[test]
fn a_lag_is_shown_of_no_partition_that_is_not_ours() {
    let mut still = Still::new();
    still.reads_due(1);
    still.turn();
    assert_eq!(still.bench.metrics.lag.with_label_values(&["c", "0"]).get(), 1);
    still.bench.dispatching.handle(Event::Changed(Change::Lost));
    still.turn();
    let shown = prometheus::core::Collector::collect(&still.bench.metrics.lag);
    assert!(shown.iter().all(|family| family.get_metric().is_empty()), "{shown:?}");
}

#[test]
fn the_last_answer_is_waited_for_three_seconds_and_no_longer() {
    let mut still = Still::new();
    still.frees(1);
    still.reads_due(1);
    still.bench.faults().next(Asked::Commit, Fate::NotSent);
    still.turn();
    assert!(still.bench.dispatching.claimer.has_pending());
    let clock = Arc::clone(&still.clock);
    still.bench.faults().decide(Box::new(move |name, call| {
        ((name, call) == ("dispatch", Asked::Commit)).then(|| clock.turn(Duration::from_secs(1)))?;
        Some(Fate::NotSent)
    }));
    let before = still.made(Asked::Commit);
    still.bench.finish();
    assert_eq!((still.made(Asked::Commit) - before, still.bench.job()), (3, None));
}

#[test]
fn what_was_found_is_told_before_the_thread_ends_where_the_reporter_takes_it() {
    for takes in [true, false] {
        let mut still = Still::new();
        for note in [still.note(), still.note(), still.note()] {
            assert_eq!(still.bench.dispatching.outbox.take(Effect::Note(note)), None);
        }
        // No other thread waits for this clock.
        let clock = Arc::new(ManualClock::new(still.clock.now()));
        still.bench.dispatching.clock = Arc::new(CorrectedClock::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let told = still.bench.told.clone();
        let start = clock.monotonic();
        let is_over = AtomicBool::new(false);
        let heard = std::thread::scope(|scope| {
            let reporter = scope.spawn(|| {
                let mut heard = 0;
                while !is_over.load(Ordering::Acquire) {
                    heard += if takes { told.try_iter().count() } else { 0 };
                    clock.ring_next(Duration::from_millis(1));
                }
                heard + told.try_iter().count()
            });
            still.bench.finish();
            is_over.store(true, Ordering::Release);
            reporter.join().unwrap()
        });
        assert_eq!(heard, if takes { 3 } else { 1 });
        assert!(takes || clock.monotonic() - start == LAST_ANSWER);
    }
}

#[test]
fn the_thread_claims_for_a_free_worker_until_it_is_fenced() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Parts { options, client, clock, mut channels, observe, change, ends } =
        parts(Arc::clone(&clock), MemoryBroker::new(clock));
    let (tell, changes) = bounded(1);
    channels.changes = changes;
    let thread = ClaimingThread::start(options, client, clock, channels, observe).unwrap();
    tell.send(change).unwrap();
    let bench = ends;
    bench.publish(7);
    bench.idle.send(()).unwrap();
    let claimed = bench.jobs.recv_timeout(PATIENCE).unwrap();
    assert_eq!(claimed.attempt.run.id.0.as_u128(), 7);
    assert!(!thread.is_over());
    tell.send(Change::Fenced).unwrap();
    let start = Instant::now();
    while !thread.is_over() {
        assert!(start.elapsed() < PATIENCE, "another process has its place");
        std::thread::yield_now();
    }
}
