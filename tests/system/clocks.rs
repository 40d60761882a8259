//! Wall clocks that jump, run fast, or are wrong: no tick is published twice, and each has its fate.
//!
//! A program runs on a clock that the test sets (libfaketime, Debian package `libfaketime`); Kafka and the other programs
//! run on the right one. Without the library these tests say so and do nothing.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::common::topics;

use crate::checks::{assert_none_twice, await_leader, await_ready, complete, leads, ticks, verify_with};
use crate::support::programs::{Entry, PATIENCE, World};
use crate::support::wait_until;

const EVERY: &str = "* * * * * *  {a}  [name=NAME]  {note}\n";

/// A wall clock that the test sets, for programs that are started with its environment.
struct SetClock {
    file: PathBuf,
    library: PathBuf,
}

impl SetClock {
    /// The right time at first; `None` where there is no such library.
    fn new(world: &World) -> Option<Self> {
        let library = library();
        if library.is_none() {
            println!("skipped: libfaketime is not installed (apt-get install libfaketime)");
        }
        let clock = Self { file: world.dir().join("clock"), library: library? };
        clock.set("+0");
        Some(clock)
    }

    /// As in the manual of libfaketime: `+3600` is an hour ahead, `+0 x1.0005` runs 500 ppm fast.
    fn set(&self, to: &str) {
        // In one step: it is read at any moment.
        let new = self.file.with_extension("new");
        fs::write(&new, to).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// As [`Self::environment`], of a clock that nobody sets any more.
    fn environment_at(&self, to: &str) -> [(&'static str, String); 4] {
        let file = self.file.with_extension(to);
        fs::write(&file, to).unwrap();
        let mut environment = self.environment();
        environment[1].1 = file.display().to_string();
        environment
    }

    fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

/// Where Debian puts it.
fn library() -> Option<PathBuf> {
    let machines = fs::read_dir("/usr/lib").ok()?;
    let below = |dir: fs::DirEntry| dir.path().join("faketime/libfaketime.so.1");
    machines.flatten().map(below).find(|path| path.exists())
}

fn go_on(duration: Duration) {
    let end = Instant::now() + duration;
    wait_until("time passes", duration * 2, || (Instant::now() >= end).then_some(()));
}

/// Each tick from the first to the last has its fate, by `cronctl verify` on the producer's clock. Returns how many
/// are published and how many are missed.
fn fates(world: &World, clock: &SetClock, jobs: &std::path::Path, all: &[DateTime<Utc>]) -> (u64, u64) {
    let until = all[all.len() - 1] - TimeDelta::seconds(3);
    let (code, report) = verify_with(world, jobs, all[0], until, &clock.environment());
    assert_eq!(code, 0, "{report:#}");
    let published = report["ticks"]["published"].as_u64().unwrap();
    (published, report["ticks"]["named"].as_u64().unwrap() - published)
}

/// The clock of the only producer goes wrong while it leads, for some seconds. It must say so and publish nothing by it,
/// and when it is right again each tick is published once.
fn check_jump(to: &str, said: &str) {
    let world = World::new();
    let Some(clock) = SetClock::new(&world) else { return };
    let name = crate::support::unique("jump");
    let jobs = world.jobs(&EVERY.replace("[name=NAME]", &format!("[name={name} catchup=all]")));
    let mut producer = world.producer_with(&jobs, &[], &clock.environment());
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "8"]);
    world.await_ledger("it works", |ledger| ticks(ledger, &name).len() >= 3);
    clock.set(to);
    producer.await_log(said);
    let (code, page) = producer.get("/readyz").unwrap();
    assert!(code == 503 && page.contains("clock"), "{code} {page}");
    assert!(producer.metric("cron_clock_skew_seconds", &[]).abs() > 3_500.0);
    wait_until("its term is over", PATIENCE, || (!leads(&producer)).then_some(()));
    go_on(Duration::from_secs(2));
    let begun = ticks(&world.ledger(), &name).len();
    go_on(Duration::from_secs(5));
    let ledger = world.ledger();
    let all = ticks(&ledger, &name);
    assert_eq!(all.len(), begun, "it publishes although its clock is wrong");
    assert!(complete(&ledger, &name, 1, begun) && all[begun - 1] < SystemClock.now(), "{all:?}");
    clock.set("+0");
    let ledger = world.await_ledger("no tick is missing", |ledger| complete(ledger, &name, 1, begun + 15));
    await_ready(&producer);
    producer.stop();
    assert_none_twice(&ledger);
    assert_eq!(fates(&world, &clock, &jobs, &ticks(&ledger, &name)).1, 0);
}

#[test]
fn a_clock_that_jumps_an_hour_ahead_stops_the_leader_and_loses_no_tick() {
    check_jump("+3600", "ahead of the broker's: we do not lead");
}

#[test]
fn a_clock_that_jumps_an_hour_back_stops_the_leader_and_publishes_nothing_twice() {
    check_jump("-3600", "behind the broker's: we do not lead");
}

#[test]
fn another_takes_over_from_a_leader_whose_clock_goes_wrong() {
    let world = World::new();
    let Some(clock) = SetClock::new(&world) else { return };
    let name = crate::support::unique("over");
    let jobs = world.jobs(&EVERY.replace("NAME", &name));
    let wrong = world.producer_with(&jobs, &[], &clock.environment());
    await_leader(&wrong);
    let right = world.producer(&jobs, &[]);
    await_ready(&right);
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "8"]);
    world.await_ledger("it works", |ledger| ticks(ledger, &name).len() >= 3);
    clock.set("+3600");
    let after = await_leader(&right);
    assert!(after < Duration::from_secs(8), "after {after:?}");
    assert!(!leads(&wrong));
    let begun = ticks(&world.ledger(), &name).len();
    let ledger = world.await_ledger("no tick is missing", |ledger| complete(ledger, &name, 1, begun + 8));
    assert_none_twice(&ledger);
    clock.set("+0");
    assert_eq!(fates(&world, &clock, &jobs, &ticks(&ledger, &name)).1, 0);
    await_ready(&wrong);
}

#[test]
fn a_clock_that_runs_fast_doubles_and_loses_nothing() {
    let world = World::new();
    let Some(clock) = SetClock::new(&world) else { return };
    let name = crate::support::unique("fast");
    let jobs = world.jobs(&EVERY.replace("NAME", &name));
    clock.set("+0 x1.0005");
    let producer = world.producer_with(&jobs, &[], &clock.environment());
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "8"]);
    let ledger = world.await_ledger("15 s of ticks", |ledger| complete(ledger, &name, 1, 15));
    producer.stop();
    assert_none_twice(&ledger);
    assert_eq!(fates(&world, &clock, &jobs, &ticks(&ledger, &name)).1, 0);
}

#[test]
fn a_host_whose_clock_is_wrong_does_not_lead_and_says_so_until_it_is_right() {
    let world = World::new();
    let Some(clock) = SetClock::new(&world) else { return };
    let jobs = world.jobs(&EVERY.replace("NAME", "every"));
    clock.set("+40");
    let mut wrong = world.producer_with(&jobs, &[], &clock.environment());
    wrong.await_log("ahead of the broker's");
    let (code, page) = wrong.get("/readyz").unwrap();
    assert!(code == 503 && page.contains("clock"), "{code} {page}");
    assert!(wrong.metric("cron_clock_skew_seconds", &[]) > 35.0);
    let right = world.producer(&jobs, &[]);
    await_leader(&right);
    assert!(!leads(&wrong));
    clock.set("+0");
    wait_until("its clock is right", PATIENCE, || {
        (wrong.metric("cron_clock_skew_seconds", &[]).abs() < 5.0).then_some(())
    });
    await_ready(&wrong);
    right.stop();
    await_leader(&wrong);
}

/// The consumers of first attempts and of retries have clocks that are so wrong from the start. A job fails once; its
/// deadline has not passed, its retry is not due before its backoff is over (8 s at least), and waits for no longer.
fn check_consumers(of_first: &str, of_retries: &str) {
    let world = World::new();
    let Some(clock) = SetClock::new(&world) else { return };
    let name = crate::support::unique("wrong");
    let line =
        "@every 5s  {a}  [name=NAME retries=1 backoff=10s deadline=30m]  {note}; test $CRON_ATTEMPT -eq 2\n";
    let jobs = world.jobs(&line.replace("NAME", &name));
    let start = |topic: &str, to: &str| {
        let consumer = world.consumer_in(topic, &["--workers", "4"], &clock.environment_at(to));
        wait_until("its clock is compared", PATIENCE, || {
            consumer.metrics().contains_key("cron_clock_skew_seconds").then_some(())
        });
        consumer
    };
    let producer = world.producer(&jobs, &[]);
    await_leader(&producer);
    let mut first = start(world.a.as_str(), of_first);
    let retries = start(&topics::retry(&world.a), of_retries);
    first.await_log("this host's clock is 7");
    let second = |ledger: &[Entry]| ledger.iter().filter(|entry| entry.attempt == 2).count();
    let ledger = world.await_ledger("two retries", |ledger| second(ledger) >= 2);
    producer.stop();
    let at = |run: &str, attempt: u32| {
        ledger.iter().find(|entry| entry.run == run && entry.attempt == attempt).map(|entry| entry.at_ms)
    };
    for entry in ledger.iter().filter(|entry| entry.attempt == 2) {
        let waited_ms = entry.at_ms - at(&entry.run, 1).unwrap();
        assert!(waited_ms >= 8_000, "{of_first} {of_retries}: started after {waited_ms} ms");
    }
    for consumer in [&first, &retries] {
        let expired = consumer.metric("cron_attempts_total", &["outcome=\"expired\""]);
        assert!(expired == 0.0, "{of_first} {of_retries}: {expired} expired");
    }
    let (code, page) = first.get("/readyz").unwrap();
    assert!(code == 503 && page.contains("go by the broker's clock"), "{code} {page}");
}

#[test]
fn consumers_whose_clocks_are_wrong_start_no_retry_early_and_let_no_deadline_pass() {
    check_consumers("+7200", "+7200");
    check_consumers("-7200", "+0");
}
