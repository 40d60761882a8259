//! Batches, their sizes and dates, and what is known of topics.

use super::*;
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{Broker, Want};
use crate::common::clock::{Clock, SystemClock};
use crate::common::topics::TopicSpec;

fn check(sizes: &[usize], expected: &[usize]) {
    let record = |size: &usize| Outgoing {
        topic: Arc::from("t"),
        key: Bytes::from_static(b"k"),
        value: Bytes::from(vec![0; *size]),
    };
    let batches = split(("t", 4), PRODUCE_BATCH_BYTES, sizes.iter().map(record).collect());
    assert_eq!(batches.iter().map(|(_, batch)| batch.len()).collect::<Vec<_>>(), expected);
    let order: Vec<usize> =
        batches.iter().flat_map(|(_, batch)| batch.iter().map(|record| record.value.len())).collect();
    assert_eq!(order, sizes, "records of one key stay in order");
}

#[test]
fn batches_are_of_a_size_that_every_broker_takes() {
    let half = PRODUCE_BATCH_BYTES / 2;
    check(&[], &[]);
    check(&[1, 2, 3], &[3]);
    check(&[half, half, 1], &[1, 2]);
    check(&[1, 2 * PRODUCE_BATCH_BYTES, 2], &[1, 1, 1]);
}

#[test]
fn a_topic_that_was_looked_up_ahead_holds_up_no_record() {
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let (mut client, faults) = (broker.client("test"), broker.faults());
    let spec = TopicSpec { name: "t".to_owned(), partitions: 2, replication_factor: 1, settings: vec![] };
    let start = SystemClock.monotonic() + Duration::from_secs(20);
    client.create_topic(&spec, start).expect("a topic");
    let (topic, mut writer) = (Arc::from("t"), Writer::default());
    let mut check = |ahead_secs, write_secs, lost: usize| {
        writer.look_ahead(client.as_mut(), &topic, start + Duration::from_secs(ahead_secs));
        faults.next(Call::Topic, Fate::NotSent);
        let (key, value) = (Bytes::from_static(b"k"), Bytes::new());
        let records = vec![Outgoing { topic: Arc::clone(&topic), key, value }];
        let by = start + Duration::from_secs(write_secs);
        assert_eq!(writer.write(client.as_mut(), records, 0, by).len(), lost, "{ahead_secs} {write_secs}");
    };
    check(0, 29, 0);
    // The planted failure is met by the look ahead: what was known is believed a little longer.
    check(16, 29, 0);
    check(17, 60, 1);
}

#[test]
fn a_topic_is_looked_up_ahead_only_in_the_last_half_of_the_time_for_which_it_is_believed() {
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let mut client = broker.client("test");
    let spec = TopicSpec { name: "t".to_owned(), partitions: 2, replication_factor: 1, settings: vec![] };
    let start = SystemClock.monotonic() + Duration::from_secs(20);
    client.create_topic(&spec, start).expect("a topic");
    let check = |ahead_ms, expected: bool| {
        let (mut writer, topic) = (Writer::default(), Arc::from("t"));
        let mut client = broker.client("writer");
        writer.look_ahead(client.as_mut(), &topic, start);
        let made = broker.faults().made(Call::Topic);
        writer.look_ahead(client.as_mut(), &topic, start + Duration::from_millis(ahead_ms));
        assert_eq!(broker.faults().made(Call::Topic) > made, expected, "after {ahead_ms} ms");
    };
    check(0, false);
    check(14_999, false);
    check(15_000, false);
    check(15_001, true);
    check(29_999, true);
}

#[test]
fn what_is_confirmed_has_its_topics_id_although_another_batch_failed() {
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let (mut client, faults) = (broker.client("test"), broker.faults());
    let spec = TopicSpec { name: "t".to_owned(), partitions: 2, replication_factor: 1, settings: vec![] };
    let by = SystemClock.monotonic() + Duration::from_secs(20);
    client.create_topic(&spec, by).expect("a topic");
    let topic: Arc<str> = Arc::from("t");
    let of = |key: u8| Outgoing { topic: Arc::clone(&topic), key: vec![key].into(), value: Bytes::new() };
    faults.lead(&TopicPartition { topic: "t".to_owned(), partition: 0 }, None);
    let mut confirmed = Vec::new();
    let records = (0..10).map(of).collect();
    Writer::default().write_and_tell(client.as_mut(), records, 0, by, |written| confirmed.push(written));
    assert!(matches!(&confirmed[..], [one] if one.to.partition == 1 && !one.topic_id.is_nil()));
}

/// A broker with a topic of one partition that takes no batches above `limit` bytes.
fn limited(limit: &str) -> (MemoryBroker, Box<dyn Client>, Instant) {
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let mut client = broker.client("test");
    let settings = vec![("max.message.bytes", limit.to_owned())];
    let spec = TopicSpec { name: "t".to_owned(), partitions: 1, replication_factor: 1, settings };
    let by = SystemClock.monotonic() + Duration::from_secs(20);
    client.create_topic(&spec, by).expect("a topic");
    (broker, client, by)
}

fn sized(bytes: usize, number: u8) -> Outgoing {
    Outgoing { topic: "t".into(), key: Bytes::from_static(b"k"), value: vec![number; bytes].into() }
}

#[test]
fn a_batch_that_is_too_large_is_written_in_parts_in_the_order_of_its_records() {
    let (broker, mut client, by) = limited("400");
    let mut writer = Writer::default();
    for turn in 0..2_u8 {
        let records = (0..8).map(|number| sized(100, turn * 8 + number)).collect();
        let before = broker.faults().made(Call::Produce);
        assert!(writer.write(client.as_mut(), records, 0, by).is_empty());
        let tries = broker.faults().made(Call::Produce) - before;
        assert_eq!(tries <= 4, turn == 1, "what was refused once is not tried again: {tries}");
    }
    let from = TopicPartition { topic: "t".to_owned(), partition: 0 };
    let want = Want { from, offset: 0, max_bytes: 1 << 20 };
    let fetched =
        client.fetch(1, &[want], Duration::ZERO, by).expect("an answer").remove(0).expect("records");
    let order: Vec<u8> =
        fetched.records.iter().filter_map(|record| record.value.as_ref().map(|value| value[0])).collect();
    assert_eq!(order, (0..16).collect::<Vec<u8>>());
    assert_eq!(writer.takes("t", by + LIMIT_BELIEVED), PRODUCE_BATCH_BYTES, "it may have been raised");
}

#[test]
fn a_record_that_no_topic_takes_comes_back_alone() {
    let (_broker, mut client, by) = limited("400");
    let records = vec![sized(10, 0), sized(500, 1), sized(10, 2)];
    let unwritten = Writer::default().write(client.as_mut(), records, 0, by);
    assert!(matches!(&unwritten[..], [one] if is_final(&one.error) && one.records == [sized(500, 1)]));
}

#[test]
fn items_are_put_into_as_few_values_as_they_fit_into() {
    let check = |items: &[u8], bytes: usize, expected: &[&[u8]]| {
        let pieces = in_pieces(items, bytes, &|part: &[u8]| Bytes::copy_from_slice(part));
        assert_eq!(pieces, expected, "{items:?} {bytes}");
    };
    check(&[], 4, &[&[]]);
    check(&[1, 2, 3, 4], 4, &[&[1, 2, 3, 4]]);
    check(&[1, 2, 3, 4, 5], 4, &[&[1, 2], &[3, 4, 5]]);
    check(&[1, 2, 3], 0, &[&[1], &[2], &[3]]);
}

#[test]
fn the_first_batch_that_is_refused_for_its_time_comes_back_and_later_ones_are_written_without_it() {
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let (mut client, faults) = (broker.client("test"), broker.faults());
    let (name, settings) = ("t".to_owned(), vec![("message.timestamp.type", "LogAppendTime".to_owned())]);
    let by = SystemClock.monotonic() + Duration::from_secs(20);
    client.create_topic(&TopicSpec { name, partitions: 1, replication_factor: 1, settings }, by).unwrap();
    let mut write = |writer: &mut Writer| {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::new());
        let records = vec![Outgoing { topic: Arc::from("t"), key, value }];
        let unwritten = writer.write(client.as_mut(), records, 0, by);
        unwritten.into_iter().map(|unwritten| unwritten.error.code()).collect::<Vec<_>>()
    };
    let mut writer = Writer::undated_where_refused();
    let refused = Some(ErrorCode::InvalidTimestamp);
    faults.next(Call::Produce, Fate::Refused(ErrorCode::InvalidTimestamp));
    assert_eq!((write(&mut writer), writer.take_brokers_ms()), (vec![refused], None));
    faults.next(Call::Produce, Fate::Refused(ErrorCode::InvalidTimestamp));
    let before = SystemClock.now().timestamp_millis();
    assert_eq!(write(&mut writer), []);
    let told = writer.take_brokers_ms().expect("the topic carries the broker's time");
    assert!((before..=SystemClock.now().timestamp_millis()).contains(&told), "{told}");
    assert_eq!(writer.take_brokers_ms(), None, "once");
    // A topic that refuses records without a time as well is not asked for ever.
    faults.refuse(Call::Produce, "t", ErrorCode::InvalidTimestamp);
    assert_eq!(write(&mut writer), [refused]);
    assert_eq!(write(&mut Writer::default()), [refused], "others are told each time");
}

#[test]
fn a_record_that_is_refused_for_its_time_is_written_with_the_stamp_that_stands_for_none() {
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let (mut client, faults) = (broker.client("test"), broker.faults());
    let (name, settings) = ("t".to_owned(), vec![("message.timestamp.type", "CreateTime".to_owned())]);
    let by = SystemClock.monotonic() + Duration::from_secs(20);
    client.create_topic(&TopicSpec { name, partitions: 1, replication_factor: 1, settings }, by).unwrap();
    let mut writer = Writer::undated_where_refused();
    let lost = [1, 0].map(|expected_lost: usize| {
        faults.next(Call::Produce, Fate::Refused(ErrorCode::InvalidTimestamp));
        let (key, value) = (Bytes::from_static(b"k"), Bytes::new());
        let records = vec![Outgoing { topic: Arc::from("t"), key, value }];
        writer.write(client.as_mut(), records, 7, by).len() == expected_lost
    });
    assert_eq!(lost, [true, true]);
    let from = TopicPartition { topic: "t".to_owned(), partition: 0 };
    let want = Want { from, offset: 0, max_bytes: 1 << 20 };
    let fetched = client.fetch(1, &[want], Duration::ZERO, by).unwrap().remove(0).unwrap();
    assert_eq!(fetched.records.iter().map(|record| record.timestamp_ms).collect::<Vec<_>>(), [-1]);
}
