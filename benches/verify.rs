//! What a verdict on a million events costs: time, and memory beyond that of the topics, which lie in memory here.
//!
//! `cargo bench --bench verify` prints both; nothing is asserted, for machines differ.
#![expect(clippy::print_stdout, reason = "a measurement that is read by people")]
#![expect(clippy::expect_used, reason = "the words are the benchmark's own")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::broker::memory::MemoryBroker;
use kafka_cron::common::broker::{Broker, Client, ProduceBatch, Record, TopicPartition};
use kafka_cron::common::clock::SystemClock;
use kafka_cron::common::model::{Attempt, AttemptRef, ClusterName, Event, Outcome, Place, Then};
use kafka_cron::common::{topics, wire};
use kafka_cron::cronctl::verify::{Asked, KEEP_TICKS, verify};
use kafka_cron::producer::job::Job;
use kafka_cron::producer::jobfile::{self, JobFile};
use uuid::Uuid;

/// Each tick has a message and two events.
const TICKS: i64 = 334_000;
/// Jobs, all due each minute.
const JOBS: i64 = 500;

fn main() {
    let clusters = [ClusterName::new("cluster-a").expect("a name")];
    let text: String = (0..JOBS).map(|n| format!("* * * * * cluster-a [name=job-{n}] run {n}\n")).collect();
    let file = jobfile::parse("jobs", text.as_bytes(), &clusters).expect("a file");
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let mut client = broker.client("bench");
    for spec in topics::all(&clusters, 2, 1) {
        client.create_topic(&spec, soon()).expect("a topic");
    }
    let since: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().expect("an instant");
    let minutes = TICKS / JOBS;
    for minute in 0..minutes {
        write(client.as_mut(), &file, since + TimeDelta::minutes(minute));
    }
    let until = since + TimeDelta::minutes(minutes - 1);
    let before = kib("VmRSS");
    let began = Instant::now();
    let begun_within = std::time::Duration::from_secs(600);
    let asked = Asked { since: Some(since), until, begun_within, keep_ticks: KEEP_TICKS };
    let report =
        verify(client.as_mut(), &file, &clusters, asked, until + TimeDelta::hours(1)).expect("a verdict");
    let took = began.elapsed();
    println!(
        "{} records about {} ticks: {:.1} s, {} MiB more at most; ok: {}",
        report.ticks.named * 3,
        report.ticks.named,
        took.as_secs_f64(),
        kib("VmHWM").saturating_sub(before) / 1024,
        report.ok
    );
}

/// A minute's runs: published, claimed, finished.
fn write(client: &mut dyn Client, file: &JobFile, tick: DateTime<Utc>) {
    let message = |job: &Arc<Job>| {
        let run = Arc::new(job.run(tick, &file.revision));
        wire::encode(&Attempt { run, attempt: 1, attempts_left: 0, not_before: None })
    };
    let events = |job: &Arc<Job>| {
        let run = job.run(tick, &file.revision);
        let attempt = AttemptRef { run: run.id, attempt: 1 };
        let place = Place { topic: "cluster-a".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 1 };
        let (job, consumer) = (run.job, format!("host-{}/1", tick.timestamp() % 7));
        let claimed = Event::Claimed {
            attempt,
            job: job.clone(),
            place,
            consumer: consumer.clone(),
            lease_ms: 60_000,
            at: tick,
        };
        let finished = Event::Finished {
            attempt,
            job,
            cluster: run.cluster,
            scheduled_at: tick,
            consumer,
            outcome: Outcome::Succeeded,
            then: Then::Done,
            started_at: tick,
            ended_at: tick,
            output_bytes: 0,
            output_tail: String::new(),
        };
        [wire::encode(&claimed), wire::encode(&finished)]
    };
    let messages = file.jobs.iter().map(message).collect();
    let events = file.jobs.iter().flat_map(events).collect();
    for (topic, values) in [("cluster-a", messages), (topics::RUNS, events)] {
        let values: Vec<_> = values;
        let to = TopicPartition { topic: topic.to_owned(), partition: 0 };
        let record = |value| Record { key: None, value: Some(value), timestamp_ms: tick.timestamp_millis() };
        let batch = ProduceBatch { to, records: values.into_iter().map(record).collect() };
        client.produce(&[batch], soon()).remove(0).expect("written");
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A line of `/proc/self/status`, in KiB; 0 where there is none.
fn kib(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
