//! The thread around the state machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::fixture::{World, followed, name, options};
use crate::common::broker::memory::{Call, Fate};
use crate::common::broker::{Broker, ErrorCode};
use crate::common::clock::ManualClock;
use crate::common::http::Health;
use crate::common::metrics::{Beats, Metrics};
use crate::producer::leadership::{LeaderLease, Term};
use crate::producer::run_tracker::messages::{FollowRequest, RunNews};
use crate::producer::run_tracker::metrics::RunTrackerMetrics;
use crate::producer::run_tracker::thread::{Context, RunTrackerThread};

const PATIENCE: Duration = Duration::from_secs(10);

/// Turns the clock until something is told that is wanted.
fn await_told(clock: &ManualClock, told: &Receiver<RunNews>, wanted: impl Fn(&RunNews) -> bool) -> RunNews {
    for _ in 0..100_000 {
        if let Some(told) = told.try_iter().find(|told| wanted(told)) {
            return told;
        }
        assert!(clock.ring_next(PATIENCE), "the thread does not come round");
    }
    panic!("it is not told");
}

#[test]
fn the_thread_finds_what_is_lost_while_it_leads_and_tells_that_the_run_is_over() {
    let mut world = World::new();
    let metrics = Metrics::new();
    let lease = LeaderLease::of_a_proven_member();
    let context = Context {
        client: world.broker.client("p"),
        clock: Arc::<ManualClock>::clone(&world.clock),
        lease: lease.clone(),
        metrics: RunTrackerMetrics::new(&metrics),
        health: Health::new(&metrics),
        beat: Beats::new(&metrics).thread("runs-tail"),
    };
    let place = world.start(1, 0);
    let (tracker, _asks, told) = RunTrackerThread::start(options("p", &[]), context).unwrap();
    lease.grant(Term::FIRST, 0);
    let read_from = await_told(&world.clock, &told, |told| matches!(told, RunNews::ReadFrom(_)));
    let RunNews::ReadFrom(offsets) = read_from else { unreachable!() };
    assert!(offsets.values().any(|offset| *offset == 0), "the claim is under way: {offsets:?}");
    let over = RunNews::Over { job: Some("j".parse().unwrap()), run: name(1).run };
    await_told(&world.clock, &told, |told| *told == over);
    assert_eq!(world.letters().remove(0).place, place);
    let page = String::from_utf8(metrics.page().unwrap()).unwrap();
    assert!(page.contains("cron_attempts_lost_total{cluster=\"c\"} 1\n"), "{page}");
    assert!(page.contains("cron_runs_given_up_total{cluster=\"c\"} 1\n"), "{page}");
    assert!(page.contains("cron_leases_watched 0\n"), "{page}");
    assert!(!tracker.is_over());
    drop(tracker);
}

/// How often a call is made in a minute in which the broker refuses each of its kind.
fn calls_in_a_minute(call: Call) -> usize {
    let mut world = World::new();
    world.start(1, 0);
    let metrics = Metrics::new();
    let lease = LeaderLease::of_a_proven_member();
    lease.grant(Term::FIRST, 0);
    let context = Context {
        client: world.broker.client("p"),
        clock: Arc::<ManualClock>::clone(&world.clock),
        lease,
        metrics: RunTrackerMetrics::new(&metrics),
        health: Health::new(&metrics),
        beat: Beats::new(&metrics).thread("runs-tail"),
    };
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    world.faults().decide(Box::new(move |client, made| {
        let is_refused = client == "p" && made == call;
        counted.fetch_add(usize::from(is_refused), Ordering::Relaxed);
        is_refused.then_some(Fate::Refused(ErrorCode::TopicAuthorizationFailed))
    }));
    let (_tail, _asks, told) = RunTrackerThread::start(options("p", &["j"]), context).unwrap();
    let begun = world.mono();
    while world.mono() - begun < Duration::from_secs(60) {
        assert!(world.clock.ring_next(PATIENCE), "the thread does not come round");
        told.try_iter().for_each(drop);
    }
    calls.load(Ordering::Relaxed)
}

#[test]
fn what_is_refused_for_long_is_asked_less_and_less_often() {
    for call in [Call::Topic, Call::Fetch, Call::Produce, Call::Offset, Call::Committed] {
        let calls = calls_in_a_minute(call);
        assert!((5..=150).contains(&calls), "{call:?} was made {calls} times in a minute");
    }
}

#[test]
fn a_thread_whose_news_nobody_takes_ends_all_the_same() {
    let mut world = World::new();
    let metrics = Metrics::new();
    let context = Context {
        client: world.broker.client("p"),
        clock: Arc::<ManualClock>::clone(&world.clock),
        lease: LeaderLease::of_a_proven_member(),
        metrics: RunTrackerMetrics::new(&metrics),
        health: Health::new(&metrics),
        beat: Beats::new(&metrics).thread("runs-tail"),
    };
    let runs = u128::try_from(crate::common::bounds::RUNS_TOLD).unwrap() + 10;
    (0..runs).for_each(|run| world.finish(run, crate::common::model::Then::Done));
    let (tracker, _asks, told) = RunTrackerThread::start(options("p", &[]), context).unwrap();
    assert!(world.clock.ring_next(PATIENCE));
    while !told.is_full() {
        std::thread::yield_now();
    }
    drop(tracker);
    assert_eq!(told.len(), crate::common::bounds::RUNS_TOLD);
}

/// A thread that leads or not, what it is told, and where it shows its state.
struct Bench {
    world: World,
    metrics: Metrics,
    health: Health,
    lease: LeaderLease,
    told: Receiver<RunNews>,
    asks: Sender<FollowRequest>,
    _tail: RunTrackerThread,
}

impl Bench {
    fn new(jobs: &[&str], leads: bool, prepare: impl FnOnce(&mut World)) -> Self {
        let mut world = World::new();
        prepare(&mut world);
        let metrics = Metrics::new();
        let (health, lease) = (Health::new(&metrics), LeaderLease::of_a_proven_member());
        if leads {
            lease.grant(Term::FIRST, 0);
        }
        let context = Context {
            client: world.broker.client("p"),
            clock: Arc::<ManualClock>::clone(&world.clock),
            lease: lease.clone(),
            metrics: RunTrackerMetrics::new(&metrics),
            health: health.clone(),
            beat: Beats::new(&metrics).thread("runs-tail"),
        };
        let (tracker, asks, told) = RunTrackerThread::start(options("p", jobs), context).unwrap();
        Self { world, metrics, health, lease, told, asks, _tail: tracker }
    }

    /// Lets so much time pass, and returns what is told meanwhile.
    fn pass(&self, secs: u64) -> Vec<RunNews> {
        let begun = self.world.mono();
        let mut told = Vec::new();
        while self.world.mono() - begun < Duration::from_secs(secs) {
            assert!(self.world.clock.ring_next(PATIENCE), "the thread does not come round");
            told.extend(self.told.try_iter());
        }
        told
    }

    fn shows(&self, line: &str) -> bool {
        String::from_utf8(self.metrics.page().unwrap()).unwrap().lines().any(|l| l == line)
    }
}

#[test]
fn a_leader_says_every_ten_seconds_from_where_the_next_one_must_read_and_a_standby_never() {
    let bench = Bench::new(&[], false, |_| {});
    let said = |told: Vec<RunNews>| told.iter().filter(|told| matches!(told, RunNews::ReadFrom(_))).count();
    assert_eq!(said(bench.pass(25)), 0);
    bench.lease.grant(Term::FIRST, 0);
    let said = said(bench.pass(60));
    assert!((5..=7).contains(&said), "{said} times in a minute");
    // Nor does it begin with that when it has just been started.
    let bench = Bench::new(&[], true, |_| {});
    let first = bench.pass(9);
    assert!(!first.iter().any(|told| matches!(told, RunNews::ReadFrom(_))), "{first:?}");
}

#[test]
fn how_long_a_run_has_waited_to_be_claimed_is_measured_every_five_seconds() {
    let bench = Bench::new(&["j"], true, |world| {
        let place = world.publish(1, 0);
        world.note(1, &place);
    });
    let page = || String::from_utf8(bench.metrics.page().unwrap()).unwrap();
    let shown = || {
        let start = "cron_overlap_blocked_seconds{cluster=\"c\"} ";
        page().lines().find_map(|line| line.strip_prefix(start)?.parse::<f64>().ok())
    };
    bench.pass(30);
    let first = shown().unwrap_or_else(|| panic!("{}", page()));
    assert!((24.0..=31.0).contains(&first), "{first}");
    // Measured now and then, so that it stands still in between.
    let mut values = std::collections::BTreeSet::new();
    for _ in 0..20 {
        bench.pass(1);
        values.insert(shown().unwrap().to_bits());
    }
    assert!((3..=6).contains(&values.len()), "{values:?}");
}

#[test]
fn each_duty_is_owed_under_its_name_with_what_was_attempted() {
    let check = |leads: bool, call: Call, lines: &[&str]| {
        let bench = Bench::new(&[], leads, |world| drop(world.start(1, 0)));
        bench.pass(15);
        let lasting = |owed: Vec<String>| {
            owed.into_iter().filter(|line| !line.starts_with("leader")).collect::<Vec<_>>()
        };
        assert_eq!(lasting(bench.health.owed()), [""; 0], "of a leader: {leads}");
        bench.world.faults().decide(Box::new(move |client, made| {
            (client == "p" && made == call).then_some(Fate::Refused(ErrorCode::TopicAuthorizationFailed))
        }));
        bench.pass(160);
        let owed = lasting(bench.health.owed());
        assert_eq!(owed.len(), lines.len(), "{call:?}: {owed:?}");
        for line in lines {
            assert!(owed.iter().any(|owed| owed.starts_with(line)), "{call:?}: {line}: {owed:?}");
        }
        bench.world.faults().decide(Box::new(|_, _| None));
        bench.pass(60);
        assert_eq!(lasting(bench.health.owed()), [""; 0], "{call:?}: and then no more");
    };
    let following = "following: reading cron-runs: ";
    check(false, Call::Fetch, &[following]);
    check(true, Call::Fetch, &[following, "beats: beats that were written to cron-runs are not read back"]);
    check(true, Call::Produce, &["beats: writing beats to cron-runs: "]);
    check(false, Call::Produce, &["standing by: saying on cron-runs which job file this producer has: "]);
    let lost = "lost attempts: finding out what became of attempts, and passing lost ones on: ";
    check(true, Call::Committed, &[lost]);
}

#[test]
fn a_standby_owes_that_some_producer_leads_and_says_what_to_do() {
    let bench = Bench::new(&[], false, |_| {});
    bench.pass(60);
    let owed = bench.health.owed().concat();
    assert!(
        owed.starts_with("leader: no producer leads: none has written a beat to cron-runs for long"),
        "{owed}"
    );
    assert!(bench.shows("cron_leases_watched 0"));
    bench.lease.grant(Term::FIRST, 0);
    bench.pass(5);
    assert_eq!(bench.health.owed(), [""; 0]);
}

#[test]
fn the_thread_follows_the_jobs_that_it_is_asked_to() {
    let bench = Bench::new(&[], false, |world| {
        let place = world.publish(1, 0);
        world.note(1, &place);
    });
    let told = bench.pass(5);
    assert!(!told.iter().any(|told| matches!(told, RunNews::Unfinished(_))), "{told:?}");
    bench.asks.send(FollowRequest::Follow(followed(&["j"]))).unwrap();
    let told = bench.pass(5);
    assert!(told.iter().any(|told| matches!(told, RunNews::Unfinished(open) if open.run == name(1).run)));
    assert!(
        told.iter().any(|told| matches!(told, RunNews::HistoryRead { of, .. } if *of == followed(&["j"])))
    );
}
