//! Topics that were copied to another Kafka, with the offsets of their groups, and what `cronctl offsets` makes of these. The
//! copies are made by hand, as MirrorMaker makes them; `scripts/experiments/failover.sh` has MirrorMaker itself.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::broker::{
    BrokerError, Client, Commit, Committed, ErrorCode, Holder, Position, ProduceBatch, Record, TopicPartition,
};
use kafka_cron::common::model::Attempt;
use kafka_cron::common::scan::scan;
use kafka_cron::common::{holes, topics, wire};
use kafka_cron::producer::jobfile;

use crate::checks::{assert_none_twice, await_ready};
use crate::support::broker::{OwnBroker, await_groups, await_topic, version};
use crate::support::programs::{PATIENCE, World};
use crate::support::{raw, soon, wait_until};

/// Jobs that are never due by themselves, so that the test alone says what is published. Each run needs two attempts.
const JOBS: &str = "\
0 0 29 2 *  {a}  [name=late retries=1 backoff=1h]  {note}; test $CRON_ATTEMPT -gt 1
0 0 29 2 *  {a}  [name=soon retries=1 backoff=1s]  {note}; test $CRON_ATTEMPT -gt 1
";
const LATE: usize = 0;
const SOON: usize = 1;

/// By how much offsets differ between the sites.
const SHIFT: i64 = 3;

fn create_topics(world: &World) {
    let mut client = world.client();
    for spec in topics::all(std::slice::from_ref(&world.a), 2, 1) {
        match client.create_topic(&spec, soon()) {
            Ok(()) | Err(BrokerError::Refused(ErrorCode::TopicAlreadyExists)) => {}
            Err(error) => panic!("{}: {error}", spec.name),
        }
        await_topic(client.as_mut(), &spec.name);
    }
}

/// Publishes a job's runs of these seconds, in turn on both partitions.
fn publish(world: &World, jobs: &Path, job: usize, seconds: std::ops::Range<i64>) {
    let content = std::fs::read(jobs).unwrap();
    let file = jobfile::parse("jobs", &content, std::slice::from_ref(&world.a)).unwrap();
    let mut client = world.client();
    for second in seconds {
        let at = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(second);
        let run = Arc::new(file.jobs[job].run(at, &file.revision));
        let value = wire::encode(&Attempt { run, attempt: 1, attempts_left: 1, not_before: None });
        let to = TopicPartition { topic: world.a.to_string(), partition: i32::from(second % 2 == 1) };
        write(client.as_mut(), to, vec![Record { key: None, value: Some(value), timestamp_ms: 0 }]);
    }
}

fn write(client: &mut dyn Client, to: TopicPartition, records: Vec<Record>) {
    let batch = ProduceBatch { to, records };
    wait_until("it is written", PATIENCE, || {
        client.produce(std::slice::from_ref(&batch), soon()).remove(0).ok()
    });
}

fn committed(client: &mut dyn Client, topic: &str) -> [Option<Committed>; 2] {
    let of = [0, 1].map(|partition| TopicPartition { topic: topic.to_owned(), partition });
    client.committed(topic, &of, soon()).unwrap().try_into().unwrap()
}

/// How many messages of a topic its group has not claimed; `None` while it has not committed on both partitions.
fn unclaimed(client: &mut dyn Client, topic: &str) -> Option<i64> {
    let mut count = 0;
    for (partition, committed) in (0..).zip(committed(client, topic)) {
        let Committed { offset, metadata } = committed?;
        let end = client
            .offset(&TopicPartition { topic: topic.to_owned(), partition }, Position::End, soon())
            .unwrap();
        let holes = holes::decode(&metadata, offset).ok()??.offsets.len();
        count += end - offset + i64::try_from(holes).unwrap();
    }
    Some(count)
}

fn await_unclaimed(world: &World, topic: &str, expected: i64) {
    let mut client = world.client();
    wait_until(&format!("{expected} messages of {topic} are unclaimed"), PATIENCE, || {
        (unclaimed(client.as_mut(), topic) == Some(expected)).then_some(())
    });
}

/// Copies a topic. What waits for an hour is dated back, as if the hour had passed.
fn copy_topic(from: &World, to: &World, topic: &str, shift: i64) {
    let mut there = to.client();
    let mut records: [Vec<Record>; 2] = Default::default();
    scan(from.client().as_mut(), topic, |partition, record| {
        let mut value = record.value.unwrap();
        if topic == topics::RUNS {
            // Other tests write there as well.
            let event = wire::decode_event(&value);
            if !event.is_ok_and(|event| topics::concerns(&event, std::slice::from_ref(&from.a))) {
                return;
            }
        } else if let Ok(mut attempt) = wire::decode_attempt(&value) {
            attempt.not_before = attempt.not_before.map(|at| at - TimeDelta::hours(2));
            value = wire::encode(&attempt);
        }
        let index = usize::try_from(partition).unwrap();
        records[index].push(Record { key: record.key, value: Some(value), timestamp_ms: 0 });
    })
    .unwrap();
    for (partition, records) in (0..).zip(records) {
        let of = TopicPartition { topic: topic.to_owned(), partition };
        for _ in 0..shift {
            let record = Record { key: None, value: Some("gone".into()), timestamp_ms: 0 };
            write(there.as_mut(), of.clone(), vec![record]);
        }
        if shift > 0 {
            raw::delete_records(&to.brokers, topic, partition, shift);
        }
        if !records.is_empty() {
            write(there.as_mut(), of, records);
        }
    }
}

/// Copies what a group has committed, as it was so many messages ago on the first partition.
fn copy_offsets(from: &World, to: &World, topic: &str, behind: i64) {
    let offsets = committed(from.client().as_mut(), topic);
    let commit = |(partition, committed): (i32, Option<Committed>)| {
        let Committed { offset, metadata } = committed.unwrap();
        let of = TopicPartition { topic: topic.to_owned(), partition };
        Commit { of, offset: offset + SHIFT - if partition == 0 { behind } else { 0 }, metadata }
    };
    let commits: Vec<Commit> = (0..).zip(offsets).map(commit).collect();
    let (group, member_id) = (topic.to_owned(), String::new());
    let holder = Holder { group, member_id, instance_id: None, generation: -1 };
    assert_eq!(to.client().commit(&holder, &commits, soon()).unwrap(), [None, None]);
}

#[test]
fn copied_topics_are_taken_over_and_nothing_runs_twice_and_all_that_waits_runs() {
    let own = OwnBroker::start(version());
    let (here, mut there) = (World::new(), World::on(&own.brokers()));
    there.a = here.a.clone();
    await_groups(there.client().as_mut());
    let (first, retry) = (topics::first(&here.a), topics::retry(&here.a));
    let jobs = here.jobs(JOBS);

    create_topics(&here);
    let consumers = [&first, &retry].map(|topic| here.consumer(topic, &["--workers", "2"]));
    consumers.iter().for_each(await_ready);
    publish(&here, &jobs, LATE, 0..8);
    // Their retries lie before the others, which pass them.
    await_unclaimed(&here, &retry, 8);
    publish(&here, &jobs, SOON, 0..8);
    here.await_ledger("all has run that is due", |ledger| ledger.len() == 24);
    await_unclaimed(&here, &first, 0);
    await_unclaimed(&here, &retry, 8);
    consumers.into_iter().for_each(|consumer| consumer.kill());

    create_topics(&there);
    for (topic, shift) in [(first.as_str(), SHIFT), (&retry, SHIFT), (topics::RUNS, 0)] {
        copy_topic(&here, &there, topic, shift);
    }
    copy_offsets(&here, &there, &first, 2);
    copy_offsets(&here, &there, &retry, 0);
    let before = committed(there.client().as_mut(), &retry);

    let offsets = ["offsets", "--clusters", there.a.as_str()];
    let (code, out, err) = there.cronctl(&offsets);
    assert!((code, err.as_str()) == (0, "") && out.ends_with("--execute commits this\n"), "{out}{err}");
    assert_eq!(committed(there.client().as_mut(), &retry), before, "{out}");
    let (code, out, err) = there.cronctl(&[&offsets[..], &["--execute"]].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(unclaimed(there.client().as_mut(), &first), Some(0), "{out}");
    assert_eq!(unclaimed(there.client().as_mut(), &retry), Some(8), "{out}");

    let consumers = [&first, &retry].map(|topic| there.consumer(topic, &["--workers", "2"]));
    consumers.iter().for_each(await_ready);
    publish(&there, &jobs, SOON, 8..10);
    let done = here.await_ledger("what waited, and what is new", |ledger| ledger.len() >= 36);
    await_unclaimed(&there, &first, 0);
    await_unclaimed(&there, &retry, 0);
    assert_none_twice(&here.ledger());
    assert_eq!(done.len(), 36, "{done:#?}");
    let (code, out, err) = there.cronctl(&offsets);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains(&format!("the group {retry} has members (")), "{err}");
    consumers.into_iter().for_each(|consumer| consumer.stop());
}
