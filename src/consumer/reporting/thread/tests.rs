//! The thread: when it writes, what it holds on to, how it ends, and what it tells.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::*;
use crate::common::broker::memory::{Call, Faults, MemoryBroker};
use crate::common::broker::{Broker, BrokerError, ErrorCode, TopicPartition, Want};
use crate::common::clock::{CLOCK_TOLERANCE, CorrectedClock, ManualClock, Now, Skew};
use crate::common::metrics::{Beats, Metrics};
use crate::common::model::{self, Outcome};
use crate::common::topics::TopicSpec;
use crate::common::wire;
use crate::consumer::reporting::machine::tests::fixture::{claimed, ended, note};
use crate::consumer::reporting::messages::started;

/// Generous: nothing here takes a second on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_secs(60);

struct Bench {
    broker: MemoryBroker,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    health: Health,
    /// Stands before `reporter`: dropping that waits for the thread, which ends when nothing more can be told.
    channels: Option<Channels>,
    reporter: Reporter,
}

impl Bench {
    fn new(workers: usize) -> Self {
        let clock = Arc::new(ManualClock::new(now()));
        let broker = MemoryBroker::stepped(Arc::<ManualClock>::clone(&clock));
        for name in ["a-retry", "a-dead", "cron-runs"] {
            let (name, settings) = (name.to_owned(), Vec::new());
            let spec = TopicSpec { name, partitions: 1, replication_factor: 1, settings };
            broker.client("test").create_topic(&spec, clock.monotonic() + PATIENCE).unwrap();
        }
        let metrics = Metrics::new();
        let health = Health::new(&metrics);
        let options = Options { consumer: "me".to_owned(), lease: LEASE, workers };
        let (reporter, channels) = Reporter::start(
            options,
            broker.client("reporter"),
            Arc::new(CorrectedClock::new(Arc::<ManualClock>::clone(&clock))),
            ConsumerMetrics::new(&metrics, "a"),
            &health,
            Beats::new(&metrics).thread("reporter"),
        )
        .unwrap();
        let bench = Self { broker, clock, metrics, health, channels: Some(channels), reporter };
        // The first thing that the thread writes compares the clock with the broker's.
        await_that("the clock is compared", || bench.events().len() == 1);
        bench
    }

    fn faults(&self) -> Faults {
        self.broker.faults()
    }

    fn channels(&self) -> &Channels {
        self.channels.as_ref().unwrap()
    }

    /// Tells something, and waits until the thread has taken it.
    fn tell(&self, event: Event) {
        self.channels().tell.send_timeout(event, PATIENCE).unwrap();
        await_that("it is taken", || self.channels().tell.is_empty());
    }

    /// How many events `cron-runs` holds, but for signs of life: the first compares the clock with the broker's.
    fn written(&self) -> usize {
        self.events().iter().filter(|event| !matches!(event, model::Event::Alive { .. })).count()
    }

    fn events(&self) -> Vec<model::Event> {
        let from = TopicPartition { topic: "cron-runs".to_owned(), partition: 0 };
        let want = Want { from, offset: 0, max_bytes: 1 << 20 };
        let mut client = self.broker.client("test");
        let by = self.clock.monotonic() + PATIENCE;
        let fetched = client.fetch(1, &[want], Duration::ZERO, by).unwrap().remove(0).unwrap();
        let values = fetched.records.into_iter().filter_map(|record| record.value);
        values.map(|value| wire::decode_event(&value).unwrap()).collect()
    }

    /// Rings whatever is waited for until it holds.
    fn ring_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = std::time::Instant::now();
        while start.elapsed() < PATIENCE {
            if holds(self) {
                return;
            }
            self.clock.ring_next(Duration::from_millis(20));
        }
        panic!("in vain: {what}");
    }

    /// No record can be written to the retry topic, or it can again.
    fn retries_are_stuck(&self, are_stuck: bool) {
        let retry = TopicPartition { topic: "a-retry".to_owned(), partition: 0 };
        self.faults().lead(&retry, (!are_stuck).then_some(1));
    }

    fn page(&self) -> String {
        String::from_utf8(self.metrics.page().unwrap()).unwrap()
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// Waits, without turning the clock, until it holds.
fn await_that(what: &str, holds: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::yield_now();
    }
}

fn good(run: u8) -> Event {
    ended(claimed(run, 0), Outcome::Succeeded)
}

#[test]
fn there_is_room_for_an_end_that_waits_and_one_that_is_written_for_each_worker() {
    for (workers, ends, starts) in [(1, 4, 8), (3, 8, 16)] {
        let bench = Bench::new(workers);
        let Channels { tell, started } = bench.channels();
        assert_eq!((tell.capacity(), started.capacity()), (Some(ends), Some(starts)), "{workers} workers");
    }
}

#[test]
fn all_that_is_told_is_written_and_only_then_the_thread_ends() {
    let mut bench = Bench::new(1);
    bench.tell(good(1));
    await_that("the first is written", || bench.written() == 1);
    assert!(!bench.reporter.is_over(), "more may be told");
    bench.retries_are_stuck(true);
    bench.tell(ended(claimed(2, 1), Outcome::TimedOut));
    await_that("the second was tried", || !bench.health.owed().is_empty());
    bench.channels = None;
    for _ in 0..10 {
        assert!(bench.clock.ring_next(PATIENCE));
    }
    assert!(!bench.reporter.is_over(), "one is not written");
    bench.retries_are_stuck(false);
    bench.ring_until("the second is written", |bench| bench.written() == 2);
    await_that("the thread ends", || bench.reporter.is_over());
}

#[test]
fn whoever_drops_the_handle_gives_up_what_cannot_be_written() {
    let mut bench = Bench::new(1);
    bench.retries_are_stuck(true);
    bench.tell(ended(claimed(1, 1), Outcome::TimedOut));
    bench.channels = None;
    let Bench { reporter, .. } = bench;
    // Dropping joins the thread.
    drop(reporter);
}

#[test]
fn what_comes_close_behind_a_round_trip_waits_for_company_and_goes_with_it() {
    // Four that wait together go at once where there are eight workers.
    let bench = Bench::new(8);
    bench.tell(good(1));
    // The first round trip compares the clock with the broker's.
    let made = |bench: &Bench| bench.faults().made(Call::Produce);
    await_that("what comes alone goes at once", || (bench.written(), made(&bench)) == (1, 2));
    bench.tell(good(2));
    // Meanwhile the thread sleeps: only a glance finds those that follow.
    (3..=5).for_each(|run| bench.channels().tell.send_timeout(good(run), PATIENCE).unwrap());
    bench.ring_until("all are written", |bench| bench.written() == 5 && made(bench) > 2);
    assert_eq!(made(&bench), 3, "in one round trip");
    bench.tell(good(6));
    bench.ring_until("a moment is enough", |bench| bench.written() == 6);
    // The first ring may be one that the thread asked for before.
    assert!(bench.clock.now() - now() < TimeDelta::seconds(10));
}

#[test]
fn what_was_handed_to_a_worker_is_said_to_be_alive_until_its_end_is_told() {
    let bench = Bench::new(2);
    for run in [1, 2] {
        bench.channels().started.send(started(&claimed(run, 0))).unwrap();
    }
    let alive = |bench: &Bench| {
        let count = |event: &model::Event| match event {
            model::Event::Alive { running, .. } if !running.is_empty() => Some(running.len()),
            _ => None,
        };
        bench.events().iter().filter_map(count).collect::<Vec<_>>()
    };
    bench.ring_until("both are", |bench| alive(bench) == [2]);
    // The end of a third is told right behind its start, of which the thread has not heard yet.
    bench.channels().started.send(started(&claimed(3, 0))).unwrap();
    bench.tell(good(3));
    bench.tell(good(1));
    bench.ring_until("one is", |bench| alive(bench) == [2, 1]);
}

#[test]
fn workers_wait_with_their_results_while_too_much_is_held_unless_nothing_more_is_claimed() {
    let bench = Bench::new(1);
    bench.retries_are_stuck(true);
    let Event::Ended(mut large) = ended(claimed(1, 1), Outcome::TimedOut) else { unreachable!() };
    large.output_tail = " ".repeat(crate::common::bounds::RESULTS_WAITING_BYTES);
    bench.tell(Event::Ended(large));
    await_that("it was tried", || !bench.health.owed().is_empty());
    let room = bench.channels().tell.capacity().unwrap();
    for _ in 0..room {
        bench.channels().tell.send_timeout(note(), PATIENCE).unwrap();
    }
    for _ in 0..10 {
        assert!(bench.clock.ring_next(PATIENCE));
    }
    assert_eq!(bench.channels().tell.len(), room, "nothing is taken");
    bench.reporter.take_all();
    bench.ring_until("all is taken and written", |bench| bench.written() == room);
    bench.channels().tell.send_timeout(note(), PATIENCE).unwrap();
    bench.ring_until("so is what follows", |bench| bench.written() == room + 1);
}

#[test]
fn results_are_owed_while_they_cannot_be_written() {
    let bench = Bench::new(1);
    bench.retries_are_stuck(true);
    bench.tell(ended(claimed(1, 1), Outcome::TimedOut));
    let is_stuck = |bench: &Bench| matches!(&bench.health.owed()[..], [one] if one.starts_with("results: writing results to a-retry: "));
    await_that("the retry topic is named", || is_stuck(&bench));
    for _ in 0..10 {
        assert!(bench.clock.ring_next(PATIENCE));
    }
    assert!(is_stuck(&bench), "still");
    assert!(bench.page().contains("cron_report_failures_total{"), "{}", bench.page());
    bench.retries_are_stuck(false);
    bench.ring_until("it is written", |bench| bench.written() == 1);
    await_that("nothing is owed", || bench.health.owed().is_empty());
    await_that("it is counted", || bench.page().contains("cron_retries_total{topic=\"a\"} 1\n"));
}

/// What hears of failures, and where that shows.
fn observed(metrics: &Metrics) -> (Health, Observed) {
    let health = Health::new(metrics);
    let corrected = Arc::new(CorrectedClock::new(Arc::new(ManualClock::new(now()))));
    let observed = Observed::new(ConsumerMetrics::new(metrics, "a"), &health, 1, corrected);
    (health, observed)
}

#[test]
fn a_clock_that_is_off_is_told_with_its_side() {
    let (metrics, ahead_of) = (Metrics::new(), "clock: this host's clock is 31 s ahead of the broker's");
    let (health, mut observed) = observed(&metrics);
    let at = Now { wall: now(), mono: Instant::now() };
    let mut check = |ahead: TimeDelta, skew: &str, expected: &str| {
        observed.carry_out(Effect::Clock(Skew { ahead, at }));
        let owed = health.owed().concat();
        assert!(owed.starts_with(expected) && owed.is_empty() == expected.is_empty(), "{owed}");
        let page = String::from_utf8(metrics.page().unwrap()).unwrap();
        let line = page.lines().find(|line| line.starts_with("cron_clock_skew_seconds")).unwrap();
        assert!(line.ends_with(skew), "{line}");
    };
    let millisecond = TimeDelta::milliseconds(1);
    check(CLOCK_TOLERANCE + TimeDelta::seconds(1), " 31", ahead_of);
    check(CLOCK_TOLERANCE, " 30", "");
    check(CLOCK_TOLERANCE + millisecond, " 30.001", "clock: this host's clock is 30 s ahead of");
    check(-CLOCK_TOLERANCE - TimeDelta::seconds(1), " -31", "clock: this host's clock is 31 s behind");
    check(-CLOCK_TOLERANCE, " -30", "");
}

#[test]
fn a_clock_that_cannot_be_compared_keeps_no_claim_waiting_and_is_owed_by_nobody() {
    let metrics = Metrics::new();
    let (health, mut observed) = observed(&metrics);
    let error = || BrokerError::NotSent("refused".to_owned());
    observed.carry_out(Effect::NotCompared(error()));
    assert_eq!((health.owed().len(), observed.corrected.is_settled()), (1, false));
    observed.carry_out(Effect::ClockUnknown(error()));
    assert_eq!((health.owed().len(), observed.corrected.is_settled()), (0, true));
}

#[test]
fn a_record_that_a_topic_never_takes_is_counted_and_troubles_nobody() {
    let metrics = Metrics::new();
    let (health, mut observed) = observed(&metrics);
    let error = BrokerError::Refused(ErrorCode::MessageTooLarge);
    observed.carry_out(Effect::Refused("a-retry".into(), error, Instead::NoEvent(7)));
    let page = String::from_utf8(metrics.page().unwrap()).unwrap();
    assert!(
        page.contains("cron_report_failures_total{reason=\"message_too_large\",topic=\"a\"} 1\n"),
        "{page}"
    );
    assert!(health.owed().is_empty());
}
