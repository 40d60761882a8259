//! The thread around the state machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::fixture::{World, name, options};
use crate::common::broker::Broker;
use crate::common::clock::ManualClock;
use crate::common::http::Health;
use crate::common::metrics::{Beats, Metrics};
use crate::producer::tail::measures::TailMeasures;
use crate::producer::tail::thread::{Around, RunsTail, Told};

const PATIENCE: Duration = Duration::from_secs(10);

/// Turns the clock until something is told that is wanted.
fn await_told(clock: &ManualClock, told: &Receiver<Told>, wanted: impl Fn(&Told) -> bool) -> Told {
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
    let leads = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&leads);
    let around = Around {
        client: world.broker.client("p"),
        clock: Arc::<ManualClock>::clone(&world.clock),
        leads: Box::new(move || asked.load(Ordering::Relaxed).then_some(1)),
        measures: TailMeasures::new(&metrics),
        health: Health::new(&metrics),
        beat: Beats::new(&metrics).thread("runs-tail"),
    };
    let place = world.start(1, 0);
    let (tail, _asks, told) = RunsTail::start(options("p", &[]), around).unwrap();
    leads.store(true, Ordering::Relaxed);
    let read_from = await_told(&world.clock, &told, |told| matches!(told, Told::ReadFrom(_)));
    let Told::ReadFrom(offsets) = read_from else { unreachable!() };
    assert!(offsets.values().any(|offset| *offset == 0), "the claim is under way: {offsets:?}");
    let over = Told::Over { job: Some("j".parse().unwrap()), run: name(1).run };
    await_told(&world.clock, &told, |told| *told == over);
    assert_eq!(world.letters().remove(0).place, place);
    let page = String::from_utf8(metrics.page().unwrap()).unwrap();
    assert!(page.contains("cron_attempts_lost_total{cluster=\"c\"} 1\n"), "{page}");
    assert!(page.contains("cron_runs_given_up_total{cluster=\"c\"} 1\n"), "{page}");
    assert!(page.contains("cron_leases_watched 0\n"), "{page}");
    assert!(!tail.is_over());
    drop(tail);
}

#[test]
fn a_thread_whose_news_nobody_takes_ends_all_the_same() {
    let mut world = World::new();
    let metrics = Metrics::new();
    let around = Around {
        client: world.broker.client("p"),
        clock: Arc::<ManualClock>::clone(&world.clock),
        leads: Box::new(|| None),
        measures: TailMeasures::new(&metrics),
        health: Health::new(&metrics),
        beat: Beats::new(&metrics).thread("runs-tail"),
    };
    let runs = u128::try_from(crate::common::bounds::RUNS_TOLD).unwrap() + 10;
    (0..runs).for_each(|run| world.finish(run, crate::common::words::Then::Done));
    let (tail, _asks, told) = RunsTail::start(options("p", &[]), around).unwrap();
    assert!(world.clock.ring_next(PATIENCE));
    while !told.is_full() {
        std::thread::yield_now();
    }
    drop(tail);
    assert_eq!(told.len(), crate::common::bounds::RUNS_TOLD);
}
