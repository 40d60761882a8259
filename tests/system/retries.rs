//! Failing, coming back, being given up, being put back.

use std::sync::Arc;

use bytes::Bytes;
use kafka_cron::common::broker::{ProduceBatch, Record, TopicPartition};
use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::common::model::{Attempt, Event, JobName, Limits, Outcome, RetryPolicy, Run, RunId, Then};
use kafka_cron::common::scan::scan;
use kafka_cron::common::{topics, wire};
use serde_json::Value;

use crate::checks::{assert_none_twice, starts};
use crate::support::broker::await_topic;
use crate::support::programs::{Entry, PATIENCE, World};
use crate::support::{soon, wait_until};

/// The dead letters of the first cluster, as `cronctl` lists them.
fn letters(world: &World) -> Vec<Value> {
    let (code, out, err) = world.cronctl(&["dead", "list", "--cluster", world.a.as_str(), "--json"]);
    assert_eq!(code, 0, "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn await_letters(world: &World, what: &str, ready: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    wait_until(what, PATIENCE, || Some(letters(world)).filter(|letters| ready(letters)))
}

fn attempts(ledger: &[Entry], run: &str) -> Vec<u32> {
    ledger.iter().filter(|entry| entry.run == run).map(|entry| entry.attempt).collect()
}

#[test]
fn a_job_that_always_fails_is_started_once_and_retries_times_and_then_given_up() {
    let world = World::new();
    let jobs = world.jobs("@every 4s  {a}  [name=bad retries=3 backoff=100ms]  {note}; echo why; exit 7\n");
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    let _retry = world.consumer(&topics::retry(&world.a), &["--workers", "2"]);
    let producer = world.producer(&jobs, &[]);
    let letters = await_letters(&world, "two letters", |letters| letters.len() >= 2);
    producer.stop();
    let ledger = world.ledger();
    for letter in &letters {
        assert_eq!(attempts(&ledger, letter["run"].as_str().unwrap()), [1, 2, 3, 4]);
        assert_eq!(letter["job"], "bad");
        assert_eq!(letter["attempt"], 4);
        assert_eq!(letter["reason"], "attempts_exhausted");
        assert!(letter["scheduled_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{letter}");
    }
    assert_none_twice(&ledger);
}

#[test]
fn a_job_that_fails_at_first_completes() {
    let world = World::new();
    let jobs = world
        .jobs("@every 3s  {a}  [name=flaky retries=5 backoff=100ms]  {note}; test $CRON_ATTEMPT -eq 3\n");
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    let retry = world.consumer(&topics::retry(&world.a), &["--workers", "2"]);
    let producer = world.producer(&jobs, &[]);
    world.await_ledger("a third attempt", |ledger| ledger.iter().any(|entry| entry.attempt == 3));
    producer.stop();
    wait_until("the success is counted", PATIENCE, || {
        let succeeded = ["outcome=\"succeeded\"", "job=\"flaky\""];
        (retry.metric("cron_attempts_total", &succeeded) >= 1.0).then_some(())
    });
    assert!(world.ledger().iter().all(|entry| entry.attempt <= 3), "it goes on after its success");
    assert_eq!(letters(&world), Vec::<Value>::new());
}

#[test]
fn a_retry_whose_wait_ends_after_the_deadline_expires() {
    let world = World::new();
    // The shortest wait is 8 s, so that the deadline leaves a loaded machine all the time that there is.
    let jobs = world.jobs("@every 5s  {a}  [name=late retries=3 backoff=10s deadline=7s]  {note}; false\n");
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    let retry_topic = topics::retry(&world.a);
    let mut retry = world.consumer(&retry_topic, &["--workers", "2"]);
    let producer = world.producer(&jobs, &[]);
    let ledger = world.await_ledger("a first attempt", |ledger| !ledger.is_empty());
    producer.stop();
    let expired = ["job=\"late\"", "outcome=\"expired\""];
    let due = &ledger[0].scheduled_at;
    retry.await_log(&format!("{retry_topic}: late due {due}, attempt 2: expired, found "));
    assert!(retry.metric("cron_attempts_total", &expired) >= 1.0);
    assert!(world.ledger().iter().all(|entry| entry.attempt == 1), "{:?}", world.ledger());
    assert_eq!(letters(&world), Vec::<Value>::new());
    let finished = finished(&world, &ledger[0].run);
    let ends: Vec<_> = finished.iter().map(|(attempt, outcome, then)| (*attempt, outcome, *then)).collect();
    let failed = Outcome::Failed { code: 1 };
    assert_eq!(ends, [(1, &failed, Then::Retried), (2, &Outcome::Expired, Then::Done)]);
}

/// How the attempts of a run ended, as `cron-runs` has it.
fn finished(world: &World, run: &str) -> Vec<(u32, Outcome, Then)> {
    let mut found = Vec::new();
    let read = scan(&mut *world.client(), topics::RUNS, |_, record| {
        let event = wire::decode_event(&record.value.unwrap()).unwrap();
        if let Event::Finished { attempt, outcome, then, .. } = event
            && attempt.run.to_string() == run
        {
            found.push((attempt.attempt, outcome, then));
        }
    });
    assert_eq!(read, Ok(true));
    found.sort_by_key(|(attempt, ..)| *attempt);
    found
}

#[test]
fn a_long_wait_holds_up_no_short_one_and_survives_the_death_of_who_held_it() {
    let world = World::new();
    let _producer = world.producer(&world.jobs("0 0 1 1 *  {a}  true\n"), &["--partitions", "1"]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "1"]);
    let topic = topics::retry(&world.a);
    let mut retry = world.consumer(&topic, &["--workers", "1"]);
    retry.await_log("partitions [0]");
    let long = publish(&world, "long", 12_000);
    world.await_ledger("the first attempt", |ledger| !ledger.is_empty());
    let short = publish(&world, "short", 100);
    let ledger = world.await_ledger("the short wait is over", |ledger| attempts(ledger, &short).len() == 2);
    assert_eq!(attempts(&ledger, &long), [1], "the long wait is not over");
    assert!(retry.metric("cron_held_attempts", &[]) >= 1.0);
    retry.kill();
    let _retry = world.consumer(&topic, &["--workers", "1"]);
    let ledger = world.await_ledger("the long wait is over", |ledger| attempts(ledger, &long).len() == 2);
    let at = |attempt: u32| ledger.iter().find(|e| e.run == long && e.attempt == attempt).unwrap().at_ms;
    let waited = at(2) - at(1);
    assert!((9_600..30_000).contains(&waited), "after {waited} ms");
    assert_none_twice(&ledger);
    consumer.stop();
}

/// Writes a run of one retry to the first cluster's topic, whose first attempt fails; returns its id.
fn publish(world: &World, name: &str, backoff_ms: u64) -> String {
    let note = std::fs::read_to_string(world.jobs("{note}")).unwrap();
    let job = JobName::new(name).unwrap();
    let scheduled_at = "2026-01-01T00:00:00Z".parse().unwrap();
    let sample = Run::sample(RunId(uuid::Uuid::new_v4()), job, world.a.clone());
    let run = Run {
        scheduled_at,
        command: format!("{}; test $CRON_ATTEMPT -gt 1", note.trim()),
        limits: Limits { grace_ms: 1_000, ..sample.limits },
        retry: RetryPolicy { retries: 1, backoff_ms, backoff_max_ms: 60_000 },
        ..sample
    };
    let id = run.id.to_string();
    let attempt = Attempt { run: Arc::new(run), attempt: 1, attempts_left: 1, not_before: None };
    produce(world, &[Some(wire::encode(&attempt))]);
    id
}

fn produce(world: &World, values: &[Option<Bytes>]) {
    let mut client = world.client();
    await_topic(&mut *client, world.a.as_str());
    let to = TopicPartition { topic: world.a.to_string(), partition: 0 };
    let timestamp_ms = SystemClock.now().timestamp_millis();
    let record = |value: &Option<Bytes>| Record { key: None, value: value.clone(), timestamp_ms };
    let batch = ProduceBatch { to, records: values.iter().map(record).collect() };
    // A leader that was elected a moment ago may not know it yet.
    wait_until("the records are written", PATIENCE, || {
        client.produce(std::slice::from_ref(&batch), soon())[0].as_ref().ok().copied()
    });
}

#[test]
fn what_cannot_be_read_is_given_up_with_the_reason_and_the_partition_goes_on() {
    let world = World::new();
    let _producer = world.producer(&world.jobs("0 0 1 1 *  {a}  true\n"), &["--partitions", "1"]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "1"]);
    let whole = br#"{"v":1,"run":{"id":"00000000-0000-0000-0000-000000000001","job":"j","cluster":"elsewhere",
        "scheduled_at":"2026-11-23T17:00:00Z","command":"true","limits":{"grace_ms":1},
        "retry":{"retries":0,"backoff_ms":1,"backoff_max_ms":1},"revision":"r"},"attempt":1,"attempts_left":0}"#;
    produce(
        &world,
        &[
            Some(Bytes::from_static(&whole[..whole.len() / 2])),
            Some(Bytes::from_static(br#"{"v":99}"#)),
            Some(Bytes::from_static(whole)),
            None,
        ],
    );
    let good = publish(&world, "good", 100);
    world.await_ledger("the run behind them", |ledger| attempts(ledger, &good) == [1]);
    let letters = await_letters(&world, "four letters", |letters| letters.len() >= 4);
    let reasons: Vec<&str> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["malformed", "unknown_version", "wrong_cluster", "malformed"]);
    assert_eq!(consumer.metric("cron_dead_letters_total", &[]), 4.0);
    consumer.stop();
}

#[test]
fn a_letter_that_is_put_back_twice_runs_once() {
    let world = World::new();
    let marker = world.dir().join("mended");
    let jobs =
        world.jobs(&format!("@every 3s  {{a}}  [name=broken]  {{note}}; test -e {}\n", marker.display()));
    let producer = world.producer(&jobs, &[]);
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "1"]);
    let _retry = world.consumer(&topics::retry(&world.a), &["--workers", "1"]);
    let letters = await_letters(&world, "a letter", |letters| !letters.is_empty());
    producer.stop();
    std::fs::write(&marker, "").unwrap();
    let run = letters[0]["run"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let (code, _, err) =
            world.cronctl(&["dead", "replay", "--cluster", world.a.as_str(), "--run", run.as_str()]);
        assert_eq!(code, 0, "{err}");
    }
    world.await_ledger("the second attempt", |ledger| attempts(ledger, &run).len() == 2);
    let (code, _, err) = world.cronctl(&["dead", "replay", "--cluster", world.a.as_str(), "--all"]);
    assert_eq!(code, 0, "{err}");
    // Whatever else was given up runs too; when that is over, a second copy would have been.
    let given_up: Vec<String> =
        self::letters(&world).iter().map(|l| l["run"].as_str().unwrap().to_owned()).collect();
    let ledger = world.await_ledger("all that was put back", |ledger| {
        given_up.iter().all(|run| starts(ledger).contains_key(&(run.clone(), 2)))
    });
    assert_none_twice(&ledger);
    assert!(
        self::letters(&world).iter().all(|letter| letter["replayed"] == true),
        "{:?}",
        self::letters(&world)
    );
    let (code, _, _) = world.cronctl(&["dead", "replay", "--cluster", world.a.as_str(), "--run", "no-run"]);
    assert_eq!(code, 2);
}
