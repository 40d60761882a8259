//! Kafka away: nothing is lost, nothing runs twice, and no process has to be started again by hand.

use std::time::{Duration, Instant};

use kafka_cron::common::clock::{Clock, SystemClock};

use crate::checks::{assert_none_twice, complete, ticks};
use crate::support::broker::{OwnBroker, version};
use crate::support::programs::World;
use crate::support::wait_until;

/// How long the broker is away: long enough for every session and request to run out, longer by hand.
fn away() -> Duration {
    let long = std::env::var_os("KAFKA_CRON_TEST_LONG").is_some();
    Duration::from_secs(if long { 60 } else { 20 })
}

#[test]
fn a_broker_that_is_killed_and_comes_back_costs_no_tick() {
    let own = OwnBroker::start(version());
    let world = World::on(&own.brokers());
    let jobs = world.jobs(
        "* * * * * *    {a}  [name=every]  {note}\n\
         */2 * * * * *  {a}  [name=bad retries=1 backoff=500ms]  {note}; test $CRON_ATTEMPT -gt 1\n",
    );
    let mut programs = vec![
        world.producer(&jobs, &[]),
        world.consumer(world.a.as_str(), &["--workers", "4"]),
        world.consumer(world.a.as_str(), &["--workers", "4"]),
        world.consumer(&format!("{}-retry", world.a), &["--workers", "2"]),
    ];
    world.await_ledger("all work", |ledger| {
        ticks(ledger, "every").len() >= 5 && ledger.iter().any(|entry| entry.attempt == 2)
    });
    own.kill();
    let end = Instant::now() + away();
    wait_until("the outage lasts", away() * 2, || (Instant::now() >= end).then_some(()));
    own.restart();
    let back = SystemClock.now();
    world.await_ledger("ticks of after the outage", |ledger| {
        ticks(ledger, "every").last().is_some_and(|last| *last > back + chrono::TimeDelta::seconds(5))
    });
    assert!(programs.iter_mut().all(crate::support::programs::Program::is_running));
    programs.remove(0).stop();
    let ledger = world.await_ledger("every failed run's second attempt", |ledger| {
        let of = |n: u32| ledger.iter().filter(|entry| entry.job == "bad" && entry.attempt == n).count();
        of(1) == of(2) && complete(ledger, "bad", 2, 10) && complete(ledger, "every", 1, 20)
    });
    assert_none_twice(&ledger);
    programs.into_iter().for_each(crate::support::programs::Program::stop);
}

#[test]
fn programs_that_are_started_before_the_broker_wait_for_it() {
    let own = OwnBroker::start(version());
    own.kill();
    let world = World::on(&own.brokers());
    let jobs = world.jobs("* * * * * *  {a}  [name=every]  {note}\n");
    let mut producer = world.producer(&jobs, &[]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    producer.await_log("trying again");
    assert_eq!(producer.get("/readyz").map(|(code, _)| code), Some(503));
    assert_eq!(producer.get("/healthz").map(|(code, _)| code), Some(200));
    own.restart();
    let ledger = world.await_ledger("ticks without a gap", |ledger| complete(ledger, "every", 1, 10));
    assert_none_twice(&ledger);
    wait_until("both are ready", crate::support::programs::PATIENCE, || {
        [&producer, &consumer]
            .iter()
            .all(|p| p.get("/readyz").is_some_and(|(code, _)| code == 200))
            .then_some(())
    });
    producer.stop();
    consumer.stop();
}

#[test]
fn a_broker_that_is_silent_for_less_than_a_session_costs_no_tick_and_no_term() {
    let own = OwnBroker::start(version());
    let world = World::on(&own.brokers());
    let jobs = world.jobs("* * * * * *  {a}  [name=every]  {note}\n");
    let producer = world.producer(&jobs, &["--session-timeout", "12s"]);
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "4", "--session-timeout", "20s"]);
    world.await_ledger("it works", |ledger| ticks(ledger, "every").len() >= 3);
    own.freeze();
    let end = Instant::now() + Duration::from_secs(10);
    wait_until("the silence lasts", Duration::from_secs(30), || (Instant::now() >= end).then_some(()));
    own.thaw();
    let begun = ticks(&world.ledger(), "every").len();
    let ledger = world.await_ledger("no tick is missing", |ledger| complete(ledger, "every", 1, begun + 15));
    assert_none_twice(&ledger);
    assert!(!producer.log().contains("term 2"), "the term ended:\n{}", producer.log());
}
