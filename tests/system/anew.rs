//! Topics that are deleted and made again, or of which messages are deleted, while consumers look on.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::broker::{BrokerError, ErrorCode, ProduceBatch, Record, TopicPartition};
use kafka_cron::common::model::Attempt;
use kafka_cron::common::topics::{self, TopicSpec};
use kafka_cron::common::wire;
use kafka_cron::producer::jobfile;

use crate::checks::{assert_none_twice, await_ready};
use crate::support::programs::{PATIENCE, World};
use crate::support::{raw, soon, wait_until};

/// A job that is never due by itself, so that the test alone says what is published.
const ONE: &str = "0 0 29 2 *  {a}  [name=one]  {note}\n";

/// Creates what is missing of these topics, and waits until they can be written.
fn create(world: &World, names: &[&str]) {
    let mut client = world.client();
    for spec in topics::all(std::slice::from_ref(&world.a), 2, 1) {
        if names.contains(&spec.name.as_str()) {
            // `cron-runs` is the other tests' as well, and tells producers the broker's time.
            let is_shared = spec.name == topics::RUNS;
            let settings = if is_shared { spec.settings.clone() } else { Vec::new() };
            let spec = TopicSpec { settings, ..spec };
            match client.create_topic(&spec, soon()) {
                Ok(()) | Err(BrokerError::Refused(ErrorCode::TopicAlreadyExists)) => {}
                Err(error) => panic!("{}: {error}", spec.name),
            }
            wait_until("the topic has leaders", PATIENCE, || {
                let state = client.topic(&spec.name, soon()).unwrap()?;
                state.partitions.iter().all(|partition| partition.leader.is_some()).then_some(())
            });
        }
    }
}

/// Publishes the job's runs of these seconds, in turn on both partitions.
fn publish(world: &World, jobs: &Path, seconds: std::ops::Range<i64>) {
    let content = std::fs::read(jobs).unwrap();
    let file = jobfile::parse("jobs", &content, std::slice::from_ref(&world.a)).unwrap();
    let mut client = world.client();
    for second in seconds {
        let at = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(second);
        let run = Arc::new(file.jobs[0].run(at, &file.revision));
        let value = Some(wire::encode(&Attempt { run, attempt: 1, attempts_left: 0, not_before: None }));
        let to = TopicPartition { topic: world.a.to_string(), partition: i32::from(second % 2 == 1) };
        let batch = ProduceBatch { to, records: vec![Record { key: None, value, timestamp_ms: 0 }] };
        let batch = std::slice::from_ref(&batch);
        // A topic that was only just made anew may be refused for a moment.
        wait_until("it is published", PATIENCE, || client.produce(batch, soon()).remove(0).ok());
    }
}

#[test]
fn a_topic_that_is_made_anew_under_a_consumer_is_run_once_and_whole() {
    let world = World::new();
    let jobs = world.jobs(ONE);
    let dead = topics::dead(&world.a);
    create(&world, &[world.a.as_str(), &dead, topics::RUNS]);
    let consumer = || {
        let consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
        await_ready(&consumer);
        consumer
    };
    let first = consumer();
    publish(&world, &jobs, 0..3);
    world.await_ledger("the first runs", |ledger| ledger.len() == 3);
    raw::delete_topic(&world.brokers, world.a.as_str());
    let mut client = world.client();
    wait_until("the topic is gone", PATIENCE, || {
        client.topic(world.a.as_str(), soon()).unwrap().is_none().then_some(())
    });
    create(&world, &[world.a.as_str()]);
    publish(&world, &jobs, 10..25);
    world.await_ledger("the runs of the new topic", |ledger| ledger.len() == 18);
    first.stop();
    let second = consumer();
    publish(&world, &jobs, 30..33);
    let ledger = world.await_ledger("runs after the restart", |ledger| ledger.len() >= 21);
    assert_none_twice(&ledger);
    assert_eq!(ledger.len(), 21);
    second.stop();
}

#[test]
fn what_was_deleted_before_the_first_consumer_came_is_told() {
    let world = World::new();
    let jobs = world.jobs(ONE);
    let dead = topics::dead(&world.a);
    create(&world, &[world.a.as_str(), &dead, topics::RUNS]);
    publish(&world, &jobs, 0..6);
    raw::delete_records(&world.brokers, world.a.as_str(), 0, 3);
    raw::delete_records(&world.brokers, world.a.as_str(), 1, 2);
    let mut consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    consumer.await_log("3 messages from offset 0 on were deleted unread");
    consumer.await_log("2 messages from offset 0 on were deleted unread");
    let ledger = world.await_ledger("what is left", |ledger| ledger.len() == 1);
    assert_eq!(ledger[0].scheduled_at, "1970-01-01T00:00:05Z");
    consumer.stop();
    let mut again = world.consumer(world.a.as_str(), &["--workers", "2"]);
    again.await_log("partitions [0, 1]");
    publish(&world, &jobs, 6..8);
    world.await_ledger("it goes on", |ledger| ledger.len() == 3);
    assert!(!again.log().contains("deleted unread"), "it is told once");
    again.stop();
}
