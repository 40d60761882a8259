//! Floods: more than any queue holds. Each test states the bound of what it floods; `KAFKA_CRON_TEST_LONG` floods more.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use kafka_cron::common::broker::{Position, ProduceBatch, Record, TopicPartition};
use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::common::model::{Attempt, Event, JobName, Limits, Outcome, Place, RetryPolicy, Run, RunId};
use kafka_cron::common::scan::scan;
use kafka_cron::common::topics;
use kafka_cron::common::wire::{self, DeadLetter, DeadReason, DeadRecord};
use uuid::Uuid;

use crate::checks::assert_none_twice;
use crate::support::programs::{PATIENCE, Program, World};
use crate::support::{soon, wait_until};

/// As many as a test run has time for, or as a long one is to stand.
fn many(ordinary: usize, long: usize) -> usize {
    if std::env::var_os("KAFKA_CRON_TEST_LONG").is_some() { long } else { ordinary }
}

/// Much longer than on an idle machine, and more where there is more to do.
fn patience(items: usize) -> Duration {
    PATIENCE * 2 + Duration::from_millis(5) * u32::try_from(items).unwrap()
}

/// The topics of a world's first cluster, without a producer.
fn create_topics(world: &World, partitions: i32) {
    let mut client = world.client();
    for spec in topics::all(std::slice::from_ref(&world.a), partitions, 1) {
        // `cron-runs` is there already where another test made it.
        let _there = client.create_topic(&spec, soon());
    }
}

fn write(world: &World, topic: &str, partition: i32, values: impl Iterator<Item = Bytes>) {
    let mut client = world.client();
    let timestamp_ms = SystemClock.now().timestamp_millis();
    let mut send = |values: &mut Vec<Bytes>| {
        let to = TopicPartition { topic: topic.to_owned(), partition };
        let record = |value| Record { key: None, value: Some(value), timestamp_ms };
        let batch = ProduceBatch { to, records: values.drain(..).map(record).collect() };
        wait_until("the records are written", PATIENCE, || {
            client.produce(std::slice::from_ref(&batch), soon())[0].as_ref().ok().copied()
        });
    };
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for value in values {
        bytes += value.len();
        batch.push(value);
        if bytes > 400_000 {
            send(&mut batch);
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        send(&mut batch);
    }
}

/// The first attempt of a run that was due long ago, of one of two thousand jobs.
fn stale(world: &World, number: usize, command: &str, deadline_ms: Option<u64>) -> Attempt {
    let id = RunId(Uuid::new_v4());
    let job: JobName = format!("stale-{}", number % 2_000).parse().unwrap();
    let sample = Run::sample(id, job, world.a.clone());
    let run = Run {
        scheduled_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        command: command.to_owned(),
        limits: Limits { deadline_ms, ..sample.limits },
        ..sample
    };
    Attempt { run: Arc::new(run), attempt: 1, attempts_left: 0, not_before: None }
}

/// The page has no series for each of thousands of jobs.
fn assert_small_page(program: &Program, what: &str) {
    let (code, page) = program.get("/metrics").unwrap();
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    assert!(code == 200 && series < 5_000 && page.len() < 500_000, "{what}: {series} series, {}", page.len());
}

/// Less than so many MiB at any time.
fn assert_small(program: &Program, mib: u64) {
    let most = program.of_process("VmHWM");
    assert!(most < mib * 1_024, "{most} KiB");
}

#[test]
fn all_of_ten_thousand_jobs_of_one_second_are_published_with_64_mib_and_a_page_of_half_a_megabyte() {
    let count = many(10_000, 100_000);
    let world = World::new();
    let line = |n: usize| format!("@every 10s {{a}} [name=job-{n}] true {n}\n");
    let jobs = world.jobs(&(0..count).map(line).collect::<String>());
    let producer = world.producer(&jobs, &["--partitions", "2"]);
    let published = || producer.metric("cron_ticks_published_total", &[]) >= 1.0;
    wait_until("they are due", patience(count), || published().then_some(()));
    assert_small_page(&producer, "while it publishes");
    let all = f64::from(u32::try_from(count).unwrap());
    wait_until("all are published", patience(count), || {
        (producer.metric("cron_ticks_published_total", &[]) >= all).then_some(())
    });
    assert_small_page(&producer, "when all are published");
    assert_small(&producer, 64 + 64 * u64::try_from(count / 50_000).unwrap());
    producer.stop();
    let mut found: BTreeMap<DateTime<Utc>, BTreeSet<String>> = BTreeMap::new();
    let read = scan(&mut *world.client(), world.a.as_str(), |_, record| {
        let attempt = wire::decode_attempt(&record.value.unwrap()).unwrap();
        let is_new = found.entry(attempt.run.scheduled_at).or_default().insert(attempt.run.job.to_string());
        assert!(is_new, "{} twice", attempt.run.job);
    });
    assert_eq!(read, Ok(true));
    let (first, jobs) = found.first_key_value().unwrap();
    assert_eq!(jobs.len(), count, "of {first}");
}

/// Ends of a world's attempts as `cron-runs` has them, by run.
fn ends(world: &World) -> BTreeMap<RunId, Vec<Outcome>> {
    let (mut ends, sign) = (BTreeMap::<RunId, Vec<Outcome>>::new(), world.a.as_str().as_bytes().to_vec());
    let read = scan(&mut *world.client(), topics::RUNS, |_, record| {
        let value = record.value.unwrap_or_default();
        // All worlds of the test share the topic.
        if !value.windows(sign.len()).any(|window| window == sign) {
            return;
        }
        if let Ok(Event::Finished { attempt, outcome, .. }) = wire::decode_event(&value) {
            ends.entry(attempt.run).or_default().push(outcome);
        }
    });
    assert_eq!(read, Ok(true));
    ends
}

#[test]
fn twenty_thousand_stale_attempts_expire_with_96_mib_and_hold_up_no_run_of_another_partition_by_ten_seconds()
{
    let count = many(20_000, 1_000_000);
    let world = World::new();
    create_topics(&world, 2);
    let mut ids = BTreeSet::new();
    let stale = (0..count).map(|number| {
        let attempt = stale(&world, number, "echo started", Some(60_000));
        ids.insert(attempt.run.id);
        wire::encode(&attempt)
    });
    write(&world, world.a.as_str(), 0, stale);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "16"]);
    let expired = || consumer.metric("cron_attempts_total", &["outcome=\"expired\""]);
    let note = std::fs::read_to_string(world.jobs("{note}")).unwrap();
    let all = f64::from(u32::try_from(count).unwrap());
    let mut fresh = 0;
    wait_until("all have expired", patience(count), || {
        let job: JobName = format!("fresh-{fresh}").parse().unwrap();
        let sample = Run::sample(RunId(Uuid::new_v4()), job, world.a.clone());
        let scheduled_at = SystemClock.now();
        let run = Arc::new(Run { scheduled_at, command: note.trim().to_owned(), ..sample });
        let attempt = Attempt { run, attempt: 1, attempts_left: 0, not_before: None };
        write(&world, world.a.as_str(), 1, [wire::encode(&attempt)].into_iter());
        fresh += 1;
        // Not more than some of these a second.
        std::thread::park_timeout(Duration::from_millis(200));
        (expired() >= all).then_some(())
    });
    let ledger = world.await_ledger("all fresh ones are run", |ledger| ledger.len() >= fresh);
    assert_none_twice(&ledger);
    for entry in &ledger {
        let due: DateTime<Utc> = entry.scheduled_at.parse().unwrap();
        let late = i64::try_from(entry.at_ms).unwrap() - due.timestamp_millis();
        assert!(late < 10_000, "{} {late} ms late", entry.job);
    }
    let started = consumer.metric("cron_attempts_started_total", &[]);
    assert_eq!(started, f64::from(u32::try_from(fresh).unwrap()), "only fresh ones are started");
    assert_small_page(&consumer, "of two thousand jobs");
    assert_small(&consumer, 96);
    consumer.stop();
    let ends = ends(&world);
    let expired_once = |id: &RunId| ends.get(id).is_some_and(|ends| ends[..] == [Outcome::Expired]);
    assert_eq!(ids.iter().filter(|id| !expired_once(id)).count(), 0, "each expires once, on record");
}

#[test]
fn two_thousand_stale_attempts_without_a_deadline_whose_program_is_gone_fail_once_each_with_96_mib() {
    let count = many(2_000, 100_000);
    let world = World::new();
    create_topics(&world, 1);
    let stale = (0..count).map(|number| wire::encode(&stale(&world, number, "/no/such/program", None)));
    write(&world, world.a.as_str(), 0, stale);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "16"]);
    let failed = || consumer.metric("cron_attempts_total", &["outcome=\"failed\""]);
    let all = f64::from(u32::try_from(count).unwrap());
    wait_until("all have failed", patience(4 * count), || (failed() >= all).then_some(()));
    assert_small_page(&consumer, "of two thousand jobs");
    assert_small(&consumer, 96);
    consumer.stop();
    let ends = ends(&world);
    assert_eq!(ends.len(), count);
    assert!(ends.values().all(|ends| ends[..] == [Outcome::Failed { code: 127 }]), "{ends:?}");
    let dead = TopicPartition { topic: topics::dead(&world.a), partition: 0 };
    assert_eq!(world.client().offset(&dead, Position::End, soon()), Ok(i64::try_from(count).unwrap()));
}

/// Retries that wait for an hour, and one that is due, in partition 0 of the retry topic.
fn write_waiting(world: &World, count: usize, due: &str) {
    let not_before = Some(SystemClock.now() + TimeDelta::hours(1));
    let hour = RetryPolicy { retries: 1, backoff_ms: 3_600_000, backoff_max_ms: 3_600_000 };
    let waiting = (0..count).map(|number| {
        let mut attempt = stale(world, number, "true", None);
        Arc::make_mut(&mut attempt.run).retry = hour;
        wire::encode(&Attempt { attempt: 2, not_before, ..attempt })
    });
    write(world, &topics::retry(&world.a), 0, waiting);
    let attempt = stale(world, 0, due, None);
    let not_before = Some(SystemClock.now());
    let value = wire::encode(&Attempt { attempt: 2, not_before, ..attempt });
    write(world, &topics::retry(&world.a), 0, [value].into_iter());
}

#[test]
fn a_retry_that_is_due_is_found_behind_59_999_that_wait_and_behind_60_000_the_consumer_is_not_ready() {
    let world = World::new();
    create_topics(&world, 1);
    let note = std::fs::read_to_string(world.jobs("{note}")).unwrap();
    let consumer = world.consumer(&topics::retry(&world.a), &["--workers", "2"]);
    write_waiting(&world, 59_000, note.trim());
    let found = |count: usize| {
        let end = PATIENCE * 3;
        wait_until("what is due is found", end, || (world.ledger().len() >= count).then_some(()));
    };
    found(1);
    write_waiting(&world, 999, note.trim());
    found(2);
    assert_eq!(consumer.get("/readyz").unwrap().0, 200);
    // More than one that is busy can have fetched before it comes to the bound.
    write_waiting(&world, 30_000, note.trim());
    let told = wait_until("it says what it cannot do", PATIENCE * 2, || {
        consumer.get("/readyz").filter(|(code, page)| *code == 503 && page.contains("waiting: not done for"))
    });
    assert!(told.1.contains("add partitions"), "{}", told.1);
    assert_eq!(consumer.metric("cron_failing", &["duty=\"waiting\""]), 1.0);
    assert_small(&consumer, 96);
    assert_eq!(world.ledger().len(), 2, "what lies behind the bound is not read");
}

/// Runs `cronctl` with so much memory for its data (setrlimit(2), `RLIMIT_DATA`); it must end well.
fn cronctl_within(world: &World, mib: u64, args: &[&str]) -> String {
    let limit = format!("ulimit -d {} && exec \"$@\"", mib * 1_024);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &limit, "sh", env!("CARGO_BIN_EXE_cronctl")]).args(args);
    let output = command.env("KAFKA_BROKERS", &world.brokers).output().unwrap();
    assert!(output.status.success(), "{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sixty_megabytes_of_dead_letters_are_listed_and_put_back_once_each_with_48_mib_of_data() {
    // The program's data before it does anything is some 10 MiB, and a fetch takes 8 MiB, raw and decoded.
    const BYTES: usize = 30_000;
    let count = many(2_000, 30_000);
    let world = World::new();
    create_topics(&world, 2);
    let at = SystemClock.now();
    let letters = (0..count).map(|number| {
        let attempt = stale(&world, number, &format!("true # {}", "x".repeat(BYTES)), None);
        let topic = world.a.to_string();
        let place = Place { topic, topic_id: Uuid::nil(), partition: 0, offset: 0 };
        wire::encode(&DeadRecord::Letter(Box::new(DeadLetter {
            reason: DeadReason::AttemptsExhausted,
            detail: "the last: failed (exit code 1)".to_owned(),
            place,
            last_offset: 0,
            attempt: Some(attempt),
            outcome: Some(Outcome::Failed { code: 1 }),
            output_tail: String::new(),
            original: None,
            consumer: "me".to_owned(),
            at,
        })))
    });
    write(&world, &topics::dead(&world.a), 0, letters);
    let cluster = ["--cluster", world.a.as_str()];
    let listed = cronctl_within(&world, 48, &[&["dead", "list", "--open"][..], &cluster].concat());
    let time = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    assert_eq!(listed.lines().filter(|line| line.starts_with(&time)).count(), count);
    for put_back in [count, 0] {
        let said = cronctl_within(&world, 48, &[&["dead", "replay", "--all"][..], &cluster].concat());
        assert_eq!(said.lines().count(), put_back);
        let mut retried = BTreeSet::new();
        scan(&mut *world.client(), &topics::retry(&world.a), |_, record| {
            let attempt = wire::decode_attempt(&record.value.unwrap()).unwrap();
            assert!(retried.insert(attempt.run.id) && attempt.attempt == 2, "{attempt:?}");
        })
        .unwrap();
        assert_eq!(retried.len(), count);
    }
    let open = cronctl_within(&world, 48, &[&["dead", "list", "--open"][..], &cluster].concat());
    assert_eq!(open, "");
}
