//! Wall clocks that jump, run fast, or are wrong: no tick is published twice, and each has its fate.
//!
//! The producer runs on a clock that the test sets (libfaketime, Debian package `libfaketime`); Kafka and the consumers
//! run on the right one. Without the library these tests say so and do nothing.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::checks::{assert_none_twice, await_leader, await_ready, complete, leads, ticks, verify_with};
use crate::support::programs::{PATIENCE, World};
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

#[test]
fn a_clock_that_jumps_an_hour_ahead_loses_no_tick_silently() {
    let world = World::new();
    let Some(clock) = SetClock::new(&world) else { return };
    let name = crate::support::unique("ahead");
    let jobs = world.jobs(&EVERY.replace("NAME", &name));
    let producer = world.producer_with(&jobs, &[], &clock.environment());
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "8"]);
    let before = world.await_ledger("it works", |ledger| ticks(ledger, &name).len() >= 3);
    let jump = ticks(&before, &name)[0] + TimeDelta::seconds(3_600);
    clock.set("+3600");
    let ledger = world.await_ledger("ticks of an hour later", |ledger| {
        ticks(ledger, &name).iter().filter(|tick| **tick > jump).count() >= 8
    });
    producer.stop();
    assert_none_twice(&ledger);
    let (published, missed) = fates(&world, &clock, &jobs, &ticks(&ledger, &name));
    assert!(missed > 3_000 && published < 200, "{published} published, {missed} missed");
}

#[test]
fn a_clock_that_jumps_an_hour_back_publishes_nothing_twice_and_goes_on_when_it_is_right() {
    let world = World::new();
    let Some(clock) = SetClock::new(&world) else { return };
    let name = crate::support::unique("back");
    let jobs = world.jobs(&EVERY.replace("NAME", &name));
    let producer = world.producer_with(&jobs, &[], &clock.environment());
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "8"]);
    world.await_ledger("it works", |ledger| ticks(ledger, &name).len() >= 3);
    clock.set("-3600");
    go_on(Duration::from_secs(2));
    let begun = ticks(&world.ledger(), &name).len();
    go_on(Duration::from_secs(5));
    assert_eq!(ticks(&world.ledger(), &name).len(), begun, "all these instants have had their ticks");
    clock.set("+0");
    let ledger = world.await_ledger("no tick is missing", |ledger| complete(ledger, &name, 1, begun + 10));
    producer.stop();
    assert_none_twice(&ledger);
    assert_eq!(fates(&world, &clock, &jobs, &ticks(&ledger, &name)).1, 0);
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
