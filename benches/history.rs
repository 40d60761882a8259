//! Writes a long history to a real broker, so that what `cronctl` takes for it can be measured. Nothing is asserted.
//!
//! `cargo bench --bench history -- localhost:9092 jobs.cron 500000` creates the topics where they are not there, writes the job
//! file of 500 jobs that are due each minute, and then the message and the events of so many of their ticks: a claim and an end
//! for each, and for every hundredth a failure and a retry besides. Kafka must keep old records (`log.retention.ms=-1`).
#![expect(clippy::print_stdout, reason = "a measurement that is read by people")]
#![expect(clippy::expect_used, reason = "the words are the benchmark's own")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::broker::Broker;
use kafka_cron::common::broker::kafka::KafkaBroker;
use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::common::model::{Attempt, AttemptRef, ClusterName, Event, Outcome, Place, Run, Then};
use kafka_cron::common::outgoing::{Outgoing, Writer};
use kafka_cron::common::{topics, wire};
use kafka_cron::producer::jobfile;
use uuid::Uuid;

/// Jobs, all due each minute.
const JOBS: i64 = 500;
/// Of how many runs one fails at first.
const FAILING: u64 = 100;

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [brokers, path, ticks] = &words[..] else {
        println!("usage: cargo bench --bench history -- BROKER FILE TICKS");
        return;
    };
    let ticks: i64 = ticks.parse().expect("a number of ticks");
    let clusters = [ClusterName::new("cluster-a").expect("a name")];
    let text: String = (0..JOBS).map(|n| format!("* * * * * cluster-a [name=job-{n}] run {n}\n")).collect();
    let file = jobfile::parse("jobs", text.as_bytes(), &clusters).expect("a file");
    std::fs::write(path, text).expect("a place for the file");
    let broker = KafkaBroker::new(std::slice::from_ref(brokers), None).expect("a broker's address");
    let mut client = broker.client("bench");
    for spec in topics::all(&clusters, 2, 1) {
        // It may be there from the last time.
        let _there = client.create_topic(&spec, soon());
    }
    let since: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().expect("an instant");
    let minutes = ticks / JOBS;
    let (mut writer, mut number, mut events, began) = (Writer::default(), 0, 0, Instant::now());
    for minute in 0..minutes {
        let tick = since + TimeDelta::minutes(minute);
        let mut records = Vec::new();
        for job in &file.jobs {
            number += 1;
            let run = Arc::new(job.run(tick, &file.revision));
            records.push(message(&run));
            let told = events_of(&run, number);
            events += told.len();
            records.extend(told.iter().map(Outgoing::event));
        }
        let unwritten = writer.write(client.as_mut(), records, SystemClock.now().timestamp_millis(), soon());
        assert!(unwritten.is_empty(), "{:?}", unwritten.first().map(|unwritten| &unwritten.error));
    }
    let until = since + TimeDelta::minutes(minutes - 1);
    println!("{number} ticks up to {until}, {events} events: {:.0} s", began.elapsed().as_secs_f64());
}

fn message(run: &Arc<Run>) -> Outgoing {
    let attempt = Attempt { run: Arc::clone(run), attempt: 1, attempts_left: 1, not_before: None };
    Outgoing { topic: "cluster-a".into(), key: run.id.to_string().into(), value: wire::encode(&attempt) }
}

/// The events of a run, in their order.
fn events_of(run: &Run, number: u64) -> Vec<Event> {
    let consumer = format!("host-{}/1", number % 7);
    let claimed = |attempt| Event::Claimed {
        attempt: AttemptRef { run: run.id, attempt },
        job: run.job.clone(),
        place: Place { topic: "cluster-a".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 1 },
        consumer: consumer.clone(),
        lease_ms: 60_000,
        at: run.scheduled_at,
    };
    let finished = |attempt, outcome, then| Event::Finished {
        attempt: AttemptRef { run: run.id, attempt },
        job: run.job.clone(),
        cluster: run.cluster.clone(),
        scheduled_at: run.scheduled_at,
        consumer: consumer.clone(),
        outcome,
        then,
        started_at: run.scheduled_at + TimeDelta::milliseconds(20),
        ended_at: run.scheduled_at + TimeDelta::milliseconds(80),
        output_bytes: 100,
        output_tail: "a line of output\n".repeat(6),
    };
    let done = |attempt| [claimed(attempt), finished(attempt, Outcome::Succeeded, Then::Done)];
    if number.is_multiple_of(FAILING) {
        let failed = finished(1, Outcome::Failed { code: 1 }, Then::Retried);
        [claimed(1), failed].into_iter().chain(done(2)).collect()
    } else {
        done(1).into()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
