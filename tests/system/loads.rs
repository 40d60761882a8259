//! A lot of output, a log that nobody reads, a long backlog.

use std::process::Stdio;

use crate::checks::{assert_none_twice, ticks};
use crate::support::programs::{PATIENCE, World};
use crate::support::wait_until;

#[test]
fn three_hundred_megabytes_of_output_leave_the_consumer_small() {
    let world = World::new();
    let jobs = world.jobs("@every 36500d {a} true\n@every 5s  {a}  [name=loud]  {note}; head -c 300000000 /dev/zero | tr '\\0' x\n");
    let producer = world.producer(&jobs, &[]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "1"]);
    world.await_ledger("it is loud", |ledger| !ledger.is_empty());
    producer.stop();
    let mut peak = 0.0_f64;
    wait_until("it is over", PATIENCE, || {
        peak = peak.max(consumer.metric("process_resident_memory_bytes", &[]));
        (consumer.metric("cron_attempts_total", &["outcome=\"succeeded\""]) >= 1.0).then_some(())
    });
    assert!(peak < 100e6, "{} MB", peak / 1e6);
}

#[test]
fn a_log_that_nobody_reads_delays_nothing() {
    let world = World::new();
    // Five hundred bytes a line, a line each for start and end, and the output: more than pipe and channel hold. Whatever waited
    // for the reader would wait for ever.
    let noise = "head -c 3000 /dev/zero | tr '\\0' x | fold -w 250";
    let line = |n: u32| format!("* * * * * *  {{a}}  [name=n{n}]  {{note}}; {noise}\n");
    let jobs = world.jobs(&(0..15).map(line).collect::<String>());
    let _producer = world.producer(&jobs, &[]);
    let consumer =
        world.consumer_with(world.a.as_str(), &["--workers", "15", "--output", "log"], Stdio::piped());
    world.await_ledger("it works", |ledger| ticks(ledger, "n0").len() >= 3);
    let rebalances = consumer.metric("cron_rebalances_total", &[]);
    let long = std::env::var_os("KAFKA_CRON_TEST_LONG").is_some();
    let seconds = if long { 60 } else { 25 };
    let ledger = world.await_ledger("it works on", |ledger| ticks(ledger, "n0").len() >= seconds);
    assert_none_twice(&ledger);
    assert!(consumer.metric("cron_log_lines_dropped_total", &[]) > 0.0, "the log was never full");
    assert_eq!(consumer.metric("cron_rebalances_total", &[]), rebalances);
}
