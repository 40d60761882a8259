//! The thread around the state machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::fixture::{World, name, options};
use crate::common::broker::memory::{Call, Fate};
use crate::common::broker::{Broker, ErrorCode};
use crate::common::clock::ManualClock;
use crate::common::http::Health;
use crate::common::metrics::{Beats, Metrics};
use crate::producer::leadership::{LeaderLease, Term};
use crate::producer::run_tracker::messages::RunNews;
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
    let around = Context {
        client: world.broker.client("p"),
        clock: Arc::<ManualClock>::clone(&world.clock),
        lease: lease.clone(),
        measures: RunTrackerMetrics::new(&metrics),
        health: Health::new(&metrics),
        beat: Beats::new(&metrics).thread("runs-tail"),
    };
    let place = world.start(1, 0);
    let (tail, _asks, told) = RunTrackerThread::start(options("p", &[]), around).unwrap();
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
    assert!(!tail.is_over());
    drop(tail);
}

/// How often a call is made in a minute in which the broker refuses each of its kind.
fn calls_in_a_minute(call: Call) -> usize {
    let mut world = World::new();
    world.start(1, 0);
    let metrics = Metrics::new();
    let lease = LeaderLease::of_a_proven_member();
    lease.grant(Term::FIRST, 0);
    let around = Context {
        client: world.broker.client("p"),
        clock: Arc::<ManualClock>::clone(&world.clock),
        lease,
        measures: RunTrackerMetrics::new(&metrics),
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
    let (_tail, _asks, told) = RunTrackerThread::start(options("p", &["j"]), around).unwrap();
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
    let around = Context {
        client: world.broker.client("p"),
        clock: Arc::<ManualClock>::clone(&world.clock),
        lease: LeaderLease::of_a_proven_member(),
        measures: RunTrackerMetrics::new(&metrics),
        health: Health::new(&metrics),
        beat: Beats::new(&metrics).thread("runs-tail"),
    };
    let runs = u128::try_from(crate::common::bounds::RUNS_TOLD).unwrap() + 10;
    (0..runs).for_each(|run| world.finish(run, crate::common::model::Then::Done));
    let (tail, _asks, told) = RunTrackerThread::start(options("p", &[]), around).unwrap();
    assert!(world.clock.ring_next(PATIENCE));
    while !told.is_full() {
        std::thread::yield_now();
    }
    drop(tail);
    assert_eq!(told.len(), crate::common::bounds::RUNS_TOLD);
}
