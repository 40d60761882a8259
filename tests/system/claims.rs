//! Consumers that are frozen, cut off or killed while they have work: no attempt starts twice.

use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiKey;

use crate::checks::{assert_none_twice, ticks};
use crate::support::broker::{OwnBroker, free_port, version};
use crate::support::programs::{PATIENCE, Program, World};
use crate::support::proxy::Proxy;
use crate::support::wait_until;

/// The shortest session that brokers allow (`group.min.session.timeout.ms`).
const SESSION: [&str; 2] = ["--session-timeout", "6s"];

/// Lets the world go on for a while. What is tested is that nothing happens in it.
fn go_on(duration: Duration) {
    let end = Instant::now() + duration;
    wait_until("time passes", duration * 2, || (Instant::now() >= end).then_some(()));
}

/// Waits until a consumer is given both partitions. What it said before a point of its log does not count: it may have
/// had both before the other one joined.
fn await_all(consumer: &Program, said: usize) {
    wait_until("it has all partitions", PATIENCE, || {
        consumer.log()[said..].contains("partitions [0, 1]").then_some(())
    });
}

#[test]
fn a_consumer_that_was_frozen_past_its_session_starts_nothing_twice() {
    let world = World::new();
    let jobs = world.jobs(
        "* * * * * *  {a}  [name=one]    {note}; sleep 1\n\
         * * * * * *  {a}  [name=two]    {note}\n\
         * * * * * *  {a}  [name=three]  {note}; sleep 3\n",
    );
    let _producer = world.producer(&jobs, &[]);
    let consumer = || world.consumer(world.a.as_str(), &[&["--workers", "6"], &SESSION[..]].concat());
    let frozen = consumer();
    let other = consumer();
    world.await_ledger("both work", |_| {
        [&frozen, &other].iter().all(|c| c.metric("cron_attempts_started_total", &[]) >= 6.0)
    });
    let before = frozen.metric("cron_rebalances_total", &[]);
    let said = other.log().len();
    frozen.signal("STOP");
    await_all(&other, said);
    go_on(Duration::from_secs(5));
    frozen.signal("CONT");
    wait_until("it is a member again", PATIENCE, || {
        (frozen.metric("cron_rebalances_total", &[]) > before).then_some(())
    });
    let begun = ticks(&world.ledger(), "two").len();
    let ledger = world.await_ledger("5 more ticks", |ledger| ticks(ledger, "two").len() >= begun + 5);
    assert_none_twice(&ledger);
    // Nothing was lost either: who was frozen had nothing under way that was not started.
    let ticks = ticks(&ledger, "two");
    let span = ticks[ticks.len() - 1] - ticks[0];
    assert!(ticks.len() as i64 >= span.num_seconds() - 2, "{} ticks in {span}", ticks.len());
}

#[test]
fn a_commit_that_is_cut_in_the_middle_and_arrives_late_starts_nothing_twice() {
    // Two doors to one broker: one straight, one through the proxy that holds requests back.
    let (door, behind) = (free_port(), free_port());
    let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{{port}},LATE://127.0.0.1:{behind}");
    let own = OwnBroker::start_with_port(version(), |port, controller| {
        vec![
            format!("{},CONTROLLER://127.0.0.1:{controller}", listeners.replace("{port}", &port.to_string())),
            format!("advertised.listeners=PLAINTEXT://localhost:{port},LATE://localhost:{door}"),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,LATE:PLAINTEXT,CONTROLLER:PLAINTEXT"
                .to_owned(),
            "inter.broker.listener.name=PLAINTEXT".to_owned(),
        ]
    });
    let proxy = Proxy::start(door, behind);
    let world = World::on(&own.brokers());
    let jobs = world.jobs(
        "* * * * * *  {a}  [name=one]  {note}\n\
         * * * * * *  {a}  [name=two]  {note}; sleep 2\n",
    );
    let _producer = world.producer(&jobs, &[]);
    // The first to join is the group's leader; the one behind the proxy is therefore not.
    let mut leader = world.consumer(world.a.as_str(), &["--workers", "4"]);
    leader.await_log("partitions [0, 1]");
    let late = format!("localhost:{door}");
    let mut other = world.consumer(world.a.as_str(), &["--workers", "4", "--brokers", &late]);
    other.await_log("partitions [");
    let started = |at_least: f64| {
        wait_until("the one behind the proxy works", PATIENCE, || {
            (other.metric("cron_attempts_started_total", &[]) >= at_least).then_some(())
        });
    };
    started(3.0);
    for _ in 0..3 {
        let before = other.metric("cron_attempts_started_total", &[]);
        proxy.hold_only(ApiKey::OffsetCommit);
        wait_until("a commit is held back", PATIENCE, || (proxy.held() > 0).then_some(()));
        // Longer than a request may take (2 s), shorter than the session (10 s).
        go_on(Duration::from_millis(2_500));
        proxy.pass();
        started(before + 2.0);
        proxy.deliver();
    }
    let begun = ticks(&world.ledger(), "one").len();
    let ledger = world.await_ledger("8 more ticks", |ledger| ticks(ledger, "one").len() >= begun + 8);
    assert_none_twice(&ledger);
    assert!(other.log().contains("joining under a new member id"), "no commit was cut:\n{}", other.log());
}

#[test]
fn what_a_killed_consumer_had_not_claimed_is_run_by_another() {
    let world = World::new();
    let jobs = world.jobs("* * * * * *  {a}  [name=every]  {note}\n");
    let _producer = world.producer(&jobs, &[]);
    let killed = world.consumer(world.a.as_str(), &[&["--workers", "2"], &SESSION[..]].concat());
    let other = world.consumer(world.a.as_str(), &[&["--workers", "2"], &SESSION[..]].concat());
    world.await_ledger("both work", |_| {
        [&killed, &other].iter().all(|c| c.metric("cron_attempts_started_total", &[]) >= 2.0)
    });
    let said = other.log().len();
    killed.kill();
    await_all(&other, said);
    let begun = ticks(&world.ledger(), "every").len();
    let ledger = world.await_ledger("5 more ticks", |ledger| ticks(ledger, "every").len() >= begun + 5);
    assert_none_twice(&ledger);
    let ticks = ticks(&ledger, "every");
    let owed = (ticks[ticks.len() - 1] - ticks[0]).num_seconds() + 1;
    let missing = owed - i64::try_from(ticks.len()).unwrap();
    assert!(
        missing <= 2,
        "{missing} ticks are missing: more than could be claimed at the moment of the kill"
    );
}
