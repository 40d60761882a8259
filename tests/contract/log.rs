//! Writing and reading.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_cron::common::broker::{
    BrokerError, Client, ErrorCode, Fetched, NodeId, Position, ProduceBatch, Record, TopicPartition, Want,
    Written,
};

use crate::ends::End;
use crate::support::{soon, unique};

const A_MEGABYTE: i32 = 1 << 20;

pub fn record(value: &str) -> Record {
    Record { key: None, value: Some(Bytes::from(value.to_owned())), timestamp_ms: 1_700_000_000_000 }
}

pub fn batch(to: &TopicPartition, records: &[Record]) -> ProduceBatch {
    ProduceBatch { to: to.clone(), records: records.to_vec() }
}

/// A topic of one partition, who leads it, and a client.
struct One {
    client: Box<dyn Client>,
    of: TopicPartition,
    leader: NodeId,
}

impl One {
    fn new(end: &impl End, settings: &[(&'static str, &str)]) -> Self {
        let (topic, state) = end.topic(1, settings);
        let leader = state.partitions[0].leader.unwrap();
        Self { client: end.client(), of: TopicPartition { topic, partition: 0 }, leader }
    }

    fn write(&mut self, records: &[Record]) -> Result<Written, BrokerError> {
        self.client.produce(&[batch(&self.of, records)], soon()).remove(0)
    }

    fn read(&mut self, offset: i64, max_bytes: i32) -> Result<Fetched, BrokerError> {
        let want = Want { from: self.of.clone(), offset, max_bytes };
        let max_wait = Duration::from_millis(10);
        self.client.fetch(self.leader, &[want], max_wait, soon()).unwrap().remove(0)
    }

    fn values(&mut self) -> Vec<String> {
        let records = self.read(0, A_MEGABYTE).unwrap().records;
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        records.into_iter().map(|record| text(record.value.unwrap())).collect()
    }
}

pub fn keys_values_and_their_absence_come_back(end: &impl End) {
    let mut one = One::new(end, &[]);
    let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let fields = [(bytes("k"), bytes("v")), (None, bytes("")), (bytes(""), None), (None, None)];
    let records: Vec<Record> = (0..)
        .zip(&fields)
        .map(|(i, (key, value))| Record {
            key: key.clone(),
            value: value.clone(),
            timestamp_ms: 1_700_000_000_000 - i,
        })
        .collect();
    let written = one.write(&records).unwrap();
    assert_eq!(written, Written { base_offset: 0, append_time_ms: None });
    let fetched = one.read(0, A_MEGABYTE).unwrap();
    let read: Vec<Record> = fetched
        .records
        .iter()
        .map(|r| Record { key: r.key.clone(), value: r.value.clone(), timestamp_ms: r.timestamp_ms })
        .collect();
    assert_eq!(read, records);
    let offsets: Vec<i64> = fetched.records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3]);
    assert_eq!((fetched.next_offset, fetched.start_offset, fetched.end_offset), (4, 0, 4));
}

pub fn batches_for_one_partition_keep_their_order(end: &impl End) {
    let mut one = One::new(end, &[]);
    let missing = TopicPartition { partition: 7, ..one.of.clone() };
    let batches = [
        batch(&one.of, &[record("a"), record("b")]),
        batch(&missing, &[record("x")]),
        batch(&one.of, &[record("c")]),
        batch(&one.of, &[record("d")]),
    ];
    let answers = one.client.produce(&batches, soon());
    let offsets: Vec<Option<i64>> = answers.iter().map(|a| a.as_ref().ok().map(|w| w.base_offset)).collect();
    assert_eq!(offsets, [Some(0), None, Some(2), Some(3)]);
    assert_eq!(one.values(), ["a", "b", "c", "d"]);
}

pub fn a_backlog_larger_than_a_fetch_is_read_to_its_end(end: &impl End) {
    let mut one = One::new(end, &[]);
    let records: Vec<Record> = (0..10).map(|_| record(&"x".repeat(1000))).collect();
    for _ in 0..30 {
        one.write(&records).unwrap();
    }
    // Two batches and a half; and less than one, of which the first is sent whole.
    for (max_bytes, at_least) in [(25_000, 20), (100, 10)] {
        let mut next = 0;
        let mut fetches = 0;
        while next < 300 {
            let fetched = one.read(next, max_bytes).unwrap();
            let offsets: Vec<i64> = fetched.records.iter().map(|record| record.offset).collect();
            assert_eq!(offsets, (next..fetched.next_offset).collect::<Vec<_>>());
            assert!(offsets.len() >= at_least.min(300 - usize::try_from(next).unwrap()));
            assert_eq!(fetched.end_offset, 300);
            next = fetched.next_offset;
            fetches += 1;
        }
        assert_eq!(fetches, 300_usize.div_ceil(at_least), "whole batches, as many as fit");
    }
    // From inside a batch: what lies before is not given back.
    assert_eq!(one.read(13, 100).unwrap().records[0].offset, 13);
}

pub fn an_offset_outside_the_log_is_refused(end: &impl End) {
    let mut one = One::new(end, &[]);
    for value in ["a", "b", "c"] {
        one.write(&[record(value), record(value)]).unwrap();
    }
    end.delete_records(&one.of, 3);
    let refused = Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange));
    assert_eq!(one.read(2, A_MEGABYTE), refused);
    assert_eq!(one.read(7, A_MEGABYTE), refused);
    assert_eq!(one.read(-1, A_MEGABYTE), refused);
    let rest = one.read(3, A_MEGABYTE).unwrap();
    let offsets: Vec<i64> = rest.records.iter().map(|record| record.offset).collect();
    assert_eq!((offsets, rest.start_offset, rest.end_offset), (vec![3, 4, 5], 3, 6));
    let none = one.read(6, A_MEGABYTE).unwrap();
    assert_eq!((none.records.len(), none.next_offset), (0, 6));
    let of = one.of.clone();
    assert_eq!(one.client.offset(&of, Position::Start, soon()).unwrap(), 3);
    assert_eq!(one.client.offset(&of, Position::End, soon()).unwrap(), 6);
}

pub fn a_fetch_waits_for_a_write_and_no_longer(end: &impl End) {
    let mut one = One::new(end, &[]);
    let want = Want { from: one.of.clone(), offset: 0, max_bytes: A_MEGABYTE };
    let began = Instant::now();
    let wait = Duration::from_millis(300);
    let nothing = one.client.fetch(one.leader, std::slice::from_ref(&want), wait, soon()).unwrap();
    assert!(began.elapsed() >= wait);
    assert_eq!(nothing[0].as_ref().unwrap().records, []);
    std::thread::scope(|scope| {
        let long = Duration::from_secs(15);
        let mut reader = end.client();
        let (leader, wants) = (one.leader, [want]);
        // Dialled and known before the clock runs.
        reader.topic(&one.of.topic, soon()).unwrap();
        let reading = scope.spawn(move || {
            let began = Instant::now();
            let fetched = reader.fetch(leader, &wants, long, soon()).unwrap().remove(0).unwrap();
            (fetched.records.len(), began.elapsed())
        });
        one.write(&[record("v")]).unwrap();
        let (count, waited) = reading.join().unwrap();
        assert_eq!(count, 1);
        assert!(waited < long / 2, "it took {waited:?} to notice a write");
    });
    // What is wrong with one partition is told at once and does not hide the others.
    let missing = TopicPartition { partition: 7, ..one.of.clone() };
    let both = [&missing, &one.of].map(|of| Want { from: of.clone(), offset: 0, max_bytes: A_MEGABYTE });
    let answers = one.client.fetch(one.leader, &both, Duration::from_secs(15), soon()).unwrap();
    assert_eq!(answers[0], Err(BrokerError::Refused(ErrorCode::UnknownTopicOrPartition)));
    assert_eq!(answers[1].as_ref().unwrap().records.len(), 1);
}

pub fn a_batch_that_is_too_large_is_refused_whole(end: &impl End) {
    let mut one = One::new(end, &[("max.message.bytes", "2000")]);
    // A batch of one such record takes 70 bytes more than its value.
    let fits = record(&"x".repeat(1930));
    assert_eq!(one.write(std::slice::from_ref(&fits)).unwrap().base_offset, 0);
    let refused = Err(BrokerError::Refused(ErrorCode::MessageTooLarge));
    assert_eq!(one.write(&[record(&"x".repeat(1931))]), refused);
    assert_eq!(one.write(&[record("small"), fits]), refused);
    let of = one.of.clone();
    assert_eq!(one.client.offset(&of, Position::End, soon()).unwrap(), 1);
}

pub fn the_brokers_time_is_given_back_where_the_topic_wants_it(end: &impl End) {
    let mut one = One::new(end, &[("message.timestamp.type", "LogAppendTime")]);
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let written = one.write(&[record("a"), record("b")]).unwrap();
    let at = written.append_time_ms.expect("a time");
    assert!(u128::try_from(at).unwrap().abs_diff(before) < 20_000, "{at} is not now ({before})");
    let read: Vec<i64> = one.read(0, A_MEGABYTE).unwrap().records.iter().map(|r| r.timestamp_ms).collect();
    assert_eq!(read, [at, at]);
}

pub fn the_clusters_time_is_told_whatever_topics_want(end: &impl End) {
    let mut client = end.broker().client("contract");
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let at = client.cluster_time(soon()).unwrap();
    assert!(u128::try_from(at).unwrap().abs_diff(before) < 20_000, "{at} is not now ({before})");
}

pub fn a_place_is_found_by_the_time_of_its_record(end: &impl End) {
    let mut one = One::new(end, &[]);
    let of = one.of.clone();
    let dated = |secs: i64| Record { timestamp_ms: 1_700_000_000_000 + secs * 1000, ..record("v") };
    let since = |one: &mut One, secs: i64| {
        one.client.offset(&of, Position::Since(1_700_000_000_000 + secs * 1000), soon()).unwrap()
    };
    assert_eq!(since(&mut one, 0), 0, "nothing is there, and the next is the first");
    one.write(&[dated(10), dated(20)]).unwrap();
    one.write(&[dated(40)]).unwrap();
    one.write(&[dated(30), dated(50)]).unwrap();
    let found: Vec<i64> = [0, 10, 11, 20, 21, 40, 41, 51].iter().map(|secs| since(&mut one, *secs)).collect();
    assert_eq!(found, [0, 0, 1, 1, 2, 2, 4, 5], "the first of that time or later, or the end");
    end.delete_records(&one.of, 1);
    assert_eq!(since(&mut one, 0), 1, "what is deleted is not found");
}

pub fn a_record_dated_far_ahead_is_refused(end: &impl End) {
    // Kafka's default since 4.0 (KIP-1030); before, any date was taken.
    let mut one = One::new(end, &[("message.timestamp.after.max.ms", "3600000")]);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let dated = |ahead_secs: i64| Record {
        timestamp_ms: i64::try_from(now).unwrap() + ahead_secs * 1000,
        ..record("v")
    };
    assert!(one.write(&[dated(3000)]).is_ok());
    let refused = one.write(&[record("v"), dated(4000)]);
    assert_eq!(refused, Err(BrokerError::Refused(ErrorCode::InvalidTimestamp)), "INVALID_TIMESTAMP");
    assert_eq!(one.values().len(), 1);
}

pub fn a_compacted_topic_takes_no_record_without_a_key(end: &impl End) {
    let mut one = One::new(end, &[("cleanup.policy", "compact")]);
    let refused = Err(BrokerError::Refused(ErrorCode::InvalidRecord));
    let keyed = Record { key: Some(Bytes::from_static(b"k")), ..record("v") };
    assert_eq!(one.write(&[keyed.clone(), record("v")]), refused, "INVALID_RECORD");
    assert_eq!(one.write(&[keyed]).unwrap().base_offset, 0);
}

pub fn what_does_not_exist_is_told(end: &impl End) {
    let mut client = end.client();
    let of = TopicPartition { topic: unique("missing"), partition: 0 };
    let refused = BrokerError::Refused(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(client.topic(&of.topic, soon()).unwrap(), None);
    assert_eq!(client.produce(&[batch(&of, &[record("v")])], soon()), [Err(refused.clone())]);
    assert_eq!(client.offset(&of, Position::End, soon()), Err(refused));
    let late = client.topic(&of.topic, Instant::now());
    assert!(matches!(late, Err(BrokerError::NotSent(_))), "{late:?}: the deadline had passed");
}
