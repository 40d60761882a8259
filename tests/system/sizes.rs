//! Messages of exactly as many bytes as a topic takes, and of one byte more: on the way of a tick, of a retry, and of a dead
//! letter. Whatever does not fit has its fate all the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use kafka_cron::common::broker::{BrokerError, ErrorCode, ProduceBatch, Record, TopicPartition};
use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::common::model::{Attempt, Event, MissedReason, Then};
use kafka_cron::common::scan::scan;
use kafka_cron::common::topics::{self, TopicSpec};
use kafka_cron::common::wire::{self, DeadLetter, DeadRecord};
use kafka_cron::producer::jobfile;

use crate::support::broker::await_topic;
use crate::support::programs::{PATIENCE, World};
use crate::support::{soon, wait_until};

/// `max.message.bytes` of the topic that is small: more than any message here but those that are to fill it.
const SMALL: &str = "12000";

/// The topics of a world's first cluster, of which one takes no more than [`SMALL`].
fn create_topics(world: &World, small: &str) {
    let mut client = world.client();
    for name in [topics::first(&world.a), topics::retry(&world.a), topics::dead(&world.a)] {
        let settings = if name == small { vec![("max.message.bytes", SMALL.to_owned())] } else { vec![] };
        let spec = TopicSpec { name, partitions: 1, replication_factor: 1, settings };
        client.create_topic(&spec, soon()).unwrap();
    }
}

/// How many bytes the largest value has that the topic takes, under a key as runs have it: found by asking the broker.
fn largest(world: &World, small: &str) -> usize {
    // Another topic with the same setting: what is written to find it out is in nobody's way.
    let name = format!("{small}-sizes");
    let settings = vec![("max.message.bytes", SMALL.to_owned())];
    let spec = TopicSpec { name: name.clone(), partitions: 1, replication_factor: 1, settings };
    let mut client = world.client();
    client.create_topic(&spec, soon()).unwrap();
    await_topic(&mut *client, &name);
    let mut takes = |bytes: usize| {
        let record = Record {
            key: Some(Bytes::from(vec![b'k'; 36])),
            value: Some(Bytes::from(vec![b'v'; bytes])),
            timestamp_ms: SystemClock.now().timestamp_millis(),
        };
        let to = TopicPartition { topic: name.clone(), partition: 0 };
        let batch = ProduceBatch { to, records: vec![record] };
        wait_until("an answer", PATIENCE, || {
            match client.produce(std::slice::from_ref(&batch), soon()).remove(0) {
                Ok(_) => Some(true),
                Err(BrokerError::Refused(ErrorCode::MessageTooLarge)) => Some(false),
                Err(_) => None,
            }
        })
    };
    let (mut fits, mut too_large) = (0_usize, SMALL.parse().unwrap());
    while too_large - fits > 1 {
        let half = fits.midpoint(too_large);
        if takes(half) { fits = half } else { too_large = half }
    }
    fits
}

/// The values of a topic.
fn values(world: &World, topic: &str) -> Vec<Bytes> {
    let mut values = Vec::new();
    scan(&mut *world.client(), topic, |_, record| values.extend(record.value)).unwrap();
    values
}

/// Waits for two attempts of a topic, or two letters, of two jobs.
fn await_two<T>(world: &World, topic: &str, read: impl Fn(&Bytes) -> Option<T>) -> Vec<T> {
    wait_until(&format!("two of {topic}"), PATIENCE * 2, || {
        let found: Vec<T> = values(world, topic).iter().filter_map(&read).collect();
        (found.len() >= 2).then_some(found)
    })
}

#[test]
fn a_tick_of_as_many_bytes_as_the_topic_takes_is_published_and_one_of_a_byte_more_is_missed_on_record() {
    let world = World::new();
    let topic = topics::first(&world.a);
    create_topics(&world, &topic);
    let most = largest(&world, &topic);
    let line =
        |name: &str, bytes: usize| format!("@every 3s {{a}} [name={name}] true {}\n", "x".repeat(bytes));
    // The revision has as many digits whatever the file says.
    let encoded = |bytes: usize| {
        let text = std::fs::read(world.jobs(&line("same", bytes))).unwrap();
        let file = jobfile::parse("jobs", &text, &[world.a.clone(), world.b.clone()]).unwrap();
        let run = Arc::new(file.jobs[0].run("2026-11-23T17:00:00Z".parse().unwrap(), &file.revision));
        wire::encode(&Attempt { run, attempt: 1, attempts_left: 0, not_before: None }).len()
    };
    let bytes = 1 + most - encoded(1);
    let jobs = world.jobs(&[line("fits", bytes), line("over", bytes + 1), line("tiny", 1)].concat());
    let producer = world.producer(&jobs, &["--partitions", "1"]);
    let attempts = wait_until("ticks are published", PATIENCE * 2, || {
        let read = |value: &Bytes| wire::decode_attempt(value).unwrap();
        let attempts: Vec<Attempt> = values(&world, &topic).iter().map(read).collect();
        let of = |job: &str| attempts.iter().filter(|attempt| attempt.run.job.as_str() == job).count();
        (of("fits") >= 2 && of("tiny") >= 2).then_some(attempts)
    });
    producer.stop();
    let of = |job: &'static str| attempts.iter().filter(move |attempt| attempt.run.job.as_str() == job);
    assert_eq!(of("over").count(), 0);
    assert!(of("fits").all(|attempt| wire::encode(attempt).len() == most));
    let mut missed = Vec::new();
    scan(&mut *world.client(), topics::RUNS, |_, record| {
        if let Ok(Event::Missed { job, cluster, reason, count, from, .. }) =
            wire::decode_event(&record.value.unwrap())
            && cluster == world.a
        {
            assert_eq!((job.as_str(), reason, count), ("over", MissedReason::TooLarge, 1));
            missed.push(from);
        }
    })
    .unwrap();
    for attempt in of("fits") {
        assert!(
            missed.contains(&attempt.run.scheduled_at),
            "{missed:?} without {:?}",
            attempt.run.scheduled_at
        );
    }
}

#[test]
fn a_retry_of_as_many_bytes_as_its_topic_takes_is_tried_again_and_one_of_a_byte_more_is_a_letter() {
    let world = World::new();
    let topic = topics::retry(&world.a);
    create_topics(&world, &topic);
    let most = largest(&world, &topic);
    let jobs = |bytes: [usize; 2]| {
        let line = |(name, bytes): (&str, usize)| {
            let tail = "x".repeat(bytes);
            format!("@every 3s {{a}} [name={name} retries=1 backoff=1s] exit 9 # {tail}\n")
        };
        world.jobs(&["fits", "over"].into_iter().zip(bytes).map(line).collect::<String>())
    };
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    let decode = |value: &Bytes| wire::decode_attempt(value).ok();
    let producer = world.producer(&jobs([10, 10]), &["--partitions", "1"]);
    let small = await_two(&world, &topic, decode);
    producer.stop();
    let measured = small.iter().map(|attempt| wire::encode(attempt).len()).max().unwrap();
    // Instants have nine digits behind their point. One of a thousand has fewer, and leaves a few bytes.
    let full = most - measured + 10;
    let producer = world.producer(&jobs([full, full + 1]), &["--partitions", "1"]);
    let is_large = |attempt: &Attempt| attempt.run.command.len() > 1_000;
    // One job after the other may fill the topic; a letter comes of whatever does not fit.
    let letters = await_two(&world, &topics::dead(&world.a), |value| match wire::decode_dead(value) {
        Ok(DeadRecord::Letter(letter)) => letter.attempt.as_ref().is_some_and(&is_large).then_some(letter),
        _ => None,
    });
    producer.stop();
    for letter in &letters {
        let failed = letter.attempt.clone().unwrap();
        assert_eq!((failed.run.job.as_str(), failed.attempt), ("over", 1), "{}", letter.detail);
        assert!(letter.detail.contains("too large") || letter.detail.contains("larger"), "{}", letter.detail);
    }
    let retried = await_two(&world, &topic, |value| decode(value).filter(&is_large));
    assert!(retried.iter().any(|attempt| wire::encode(attempt).len() == most), "none fills it");
    for attempt in retried.iter().filter(|attempt| attempt.run.job.as_str() == "over") {
        assert!(wire::encode(attempt).len() < most, "only an instant of fewer digits leaves room for it");
    }
    let mut fates = Vec::new();
    scan(&mut *world.client(), topics::RUNS, |_, record| {
        if let Ok(Event::Finished { attempt, job, cluster, then, .. }) =
            wire::decode_event(&record.value.unwrap())
            && cluster == world.a
            && attempt.attempt == 1
            && letters.iter().any(|letter| letter.attempt.as_ref().unwrap().run.id == attempt.run)
        {
            fates.push((job.to_string(), then));
        }
    })
    .unwrap();
    assert!(fates.len() == letters.len() && fates.iter().all(|(_, then)| *then == Then::Dead), "{fates:?}");
}

#[test]
fn a_letter_of_as_many_bytes_as_its_topic_takes_is_whole_and_one_of_a_byte_more_says_less() {
    let world = World::new();
    let topic = topics::dead(&world.a);
    create_topics(&world, &topic);
    let most = largest(&world, &topic);
    // The command and what it prints are both in the letter.
    let jobs = |bytes: &[usize]| {
        let line = |(number, bytes): (usize, &usize)| {
            let (tail, said) = ("x".repeat(bytes - 1_000), "y".repeat(1_000));
            format!("@every 3s {{a}} [name=n{number}] printf {said}; exit 9 # {tail}\n")
        };
        world.jobs(&bytes.iter().enumerate().map(line).collect::<String>())
    };
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    let decode = |value: &Bytes| match wire::decode_dead(value) {
        Ok(DeadRecord::Letter(letter)) => Some(*letter),
        _ => None,
    };
    let encoded = |letter: &DeadLetter| wire::encode(&DeadRecord::Letter(Box::new(letter.clone()))).len();
    let producer = world.producer(&jobs(&[1_010, 1_010]), &["--partitions", "1"]);
    let small = await_two(&world, &topic, decode);
    producer.stop();
    let measured = small.iter().map(encoded).max().unwrap();
    // Offsets have more digits later on, so some sizes more than two are tried.
    let full = most - measured + 1_010;
    let sizes: Vec<usize> = (full - 3..=full + 2).collect();
    let producer = world.producer(&jobs(&sizes), &["--partitions", "1"]);
    let is_large =
        |letter: &DeadLetter| letter.attempt.as_ref().is_none_or(|attempt| attempt.run.command.len() > 3_000);
    let large = wait_until("letters of all", PATIENCE * 2, || {
        let large = await_two(&world, &topic, |value| decode(value).filter(&is_large));
        let job = |letter: &DeadLetter| letter.attempt.as_ref().map(|attempt| attempt.run.job.clone());
        let jobs: BTreeSet<_> = large.iter().filter_map(job).collect();
        (jobs.len() == sizes.len()).then_some(large)
    });
    producer.stop();
    let whole = |letter: &DeadLetter| DeadLetter { output_tail: "y".repeat(1_000), ..letter.clone() };
    for letter in &large {
        // What says less would have been too large whole, and says at least whose it is.
        let is_whole = letter.output_tail.len() == 1_000;
        assert_eq!(is_whole, encoded(&whole(letter)) <= most, "{}", letter.detail);
        assert!(letter.attempt.is_some(), "{}", letter.detail);
    }
    for bytes in [most, most + 1] {
        assert!(large.iter().any(|letter| encoded(&whole(letter)) == bytes), "none would take {bytes} bytes");
    }
}
