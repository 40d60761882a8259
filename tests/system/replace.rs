//! Jobs with `overlap=replace`: each tick ends the run before it, and then its own run starts.

use std::collections::BTreeMap;
use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::topics;
use serde_json::Value;

use crate::checks::{assert_none_twice, await_leader, ticks, verify};
use crate::support::programs::{Entry, PATIENCE, World};
use crate::support::wait_until;

/// A job that would never end by itself. When it is sent TERM it writes its instant and the time.
const ENDLESS: &str = r#"{note}; trap 'echo "$CRON_SCHEDULED_AT $(date +%s%3N)" >> {dir}/ended; exit 1' TERM; sleep 600 & wait"#;

/// When each run of the job had ended, by its instant.
fn ended(world: &World) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(world.dir().join("ended")).unwrap_or_default();
    let pair = |line: &str| {
        let (scheduled_at, at_ms) = line.split_once(' ')?;
        Some((scheduled_at.to_owned(), at_ms.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn started_within(entry: &Entry, seconds: i64) -> bool {
    let due: DateTime<Utc> = entry.scheduled_at.parse().unwrap();
    let started = DateTime::from_timestamp_millis(i64::try_from(entry.at_ms).unwrap()).unwrap();
    started - due < TimeDelta::seconds(seconds)
}

/// Stops the clock of what is to be verified: the last instant that was run.
fn last(world: &World, job: &str) -> DateTime<Utc> {
    *ticks(&world.ledger(), job).last().unwrap()
}

#[test]
fn each_tick_ends_the_run_before_it_and_its_own_run_starts_within_seconds() {
    let world = World::new();
    let line =
        format!("*/5 * * * * *  {{a}}  [name=state overlap=replace retries=3 backoff=1h]  {ENDLESS}\n");
    let jobs = world.jobs(&line);
    let producer = world.producer(&jobs, &[]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    let _retry = world.consumer(&topics::retry(&world.a), &["--workers", "1"]);
    let ledger = world.await_ledger("six runs start within three seconds of their ticks", |ledger| {
        ledger.iter().filter(|entry| started_within(entry, 3)).count() >= 6
    });
    let until = last(&world, "state");
    producer.stop();
    assert_none_twice(&ledger);
    assert!(ledger.iter().all(|entry| entry.attempt == 1), "none is tried again: {ledger:?}");
    let ended = ended(&world);
    for pair in ledger.windows(2) {
        let end = ended.get(&pair[0].scheduled_at).copied();
        assert!(end.is_some_and(|end| end <= pair[1].at_ms), "{end:?}: {pair:?} ran side by side");
    }
    let replaced = consumer.metric("cron_runs_total", &["outcome=\"replaced\""]);
    assert!(replaced >= 5.0, "{replaced}");
    let since = ticks(&ledger, "state")[0];
    let (code, report) = verify(&world, &jobs, since, until);
    assert_eq!((code, &report["ticks"]["unaccounted"]), (0, &Value::from(0)), "{report:#}");
    let (code, out, err) = world.cronctl(&["runs", "--since", "1h", "--cluster", world.a.as_str()]);
    assert_eq!(code, 0, "{err}");
    assert!(out.lines().filter(|line| line.contains(" replaced ")).count() >= 5, "{out}");
    let (_, letters, _) = world.cronctl(&["dead", "list", "--cluster", world.a.as_str(), "--json"]);
    assert_eq!(letters, "", "no dead letter follows");
}

#[test]
fn a_run_is_replaced_although_its_consumer_or_the_leader_is_killed() {
    let world = World::new();
    let line =
        format!("*/5 * * * * *  {{a}}  [name=state overlap=replace retries=3 backoff=1s]  {ENDLESS}\n");
    let jobs = world.jobs(&line);
    let lease = ["--lease", "8s"];
    let first = world.producer(&jobs, &lease);
    await_leader(&first);
    let second = world.producer(&jobs, &lease);
    let flags = ["--workers", "2", "--lease", "8s", "--session-timeout", "6s"];
    let consumer = |topic: &str| world.consumer(topic, &flags);
    let killed = consumer(world.a.as_str());
    world.await_ledger("it works", |ledger| ledger.len() >= 2);
    let _other = consumer(world.a.as_str());
    let retry = consumer(&topics::retry(&world.a));
    killed.kill();
    let begun = world.ledger().len();
    world.await_ledger("another consumer goes on", |ledger| ledger.len() >= begun + 2);
    first.kill();
    await_leader(&second);
    let begun = world.ledger().len();
    let ledger = world.await_ledger("the next leader goes on", |ledger| ledger.len() >= begun + 2);
    let until = last(&world, "state");
    assert_none_twice(&ledger);
    assert!(ledger.iter().all(|entry| entry.attempt == 1), "a retry was started: {ledger:?}");
    second.stop();
    let since = ticks(&ledger, "state")[0];
    wait_until("every tick is accounted for", PATIENCE, || {
        (verify(&world, &jobs, since, until).0 == 0).then_some(())
    });
    drop(retry);
}

#[test]
fn a_consumer_that_was_frozen_ends_the_run_when_it_wakes_up() {
    let world = World::new();
    let line = format!("*/5 * * * * *  {{a}}  [name=state overlap=replace]  {ENDLESS}\n");
    let jobs = world.jobs(&line);
    let _producer = world.producer(&jobs, &[]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    world.await_ledger("it works", |ledger| ledger.len() >= 2);
    consumer.signal("STOP");
    let frozen = world.ledger().len();
    let log = wait_until("a newer tick waits", PATIENCE, || {
        let (_, out, _) = world.cronctl(&["runs", "--since", "1h", "--cluster", world.a.as_str()]);
        // Of two that came due meanwhile, one has taken the place of the other.
        out.lines().any(|line| line.contains(" skipped ")).then_some(out)
    });
    assert_eq!(world.ledger().len(), frozen, "no run starts beside it: {log}");
    consumer.signal("CONT");
    let ledger = world.await_ledger("the newest tick runs", |ledger| ledger.len() >= frozen + 2);
    let ended = ended(&world);
    let (before, after) = (&ledger[frozen - 1], &ledger[frozen]);
    let end = ended.get(&before.scheduled_at).copied();
    assert!(end.is_some_and(|end| end <= after.at_ms), "{end:?}: {before:?}, {after:?}");
}
