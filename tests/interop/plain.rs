//! Writing and reading by our own client, in as few words as these tests need.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_cron::common::broker::{
    Client, FetchedRecord, Position, ProduceBatch, Record, TopicPartition, Undecodable, Want,
};

use crate::support::soon;

/// When the records of these tests were written, in milliseconds since the epoch: a time that no clock shows.
pub const WRITTEN_MS: i64 = 1_700_000_000_123;

pub fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

pub fn record(key: Option<&str>, value: Option<&str>) -> Record {
    let bytes = |text: &str| Bytes::from(text.to_owned());
    Record { key: key.map(bytes), value: value.map(bytes), timestamp_ms: WRITTEN_MS }
}

/// Writes one batch and returns the offset of its first record.
pub fn write(client: &mut dyn Client, to: &TopicPartition, records: Vec<Record>) -> i64 {
    let answers = client.produce(&[ProduceBatch { to: to.clone(), records }], soon());
    answers[0].as_ref().expect("it is written").base_offset
}

/// A partition from its start to its end.
#[derive(Debug, Default)]
pub struct Whole {
    pub records: Vec<FetchedRecord>,
    pub undecodable: Vec<Undecodable>,
    pub fetches: usize,
}

/// Reads a partition to its end, asking for so many bytes at a time.
pub fn read_all(client: &mut dyn Client, from: &TopicPartition, max_bytes: i32) -> Whole {
    let state = client.topic(&from.topic, soon()).unwrap().expect("there is such a topic");
    let leader = state.partitions.iter().find(|p| p.partition == from.partition).unwrap().leader.unwrap();
    let end = client.offset(from, Position::End, soon()).unwrap();
    let mut offset = client.offset(from, Position::Start, soon()).unwrap();
    let mut whole = Whole::default();
    let patience = Instant::now() + Duration::from_secs(60);
    while offset < end {
        assert!(Instant::now() < patience, "reading stands still at {offset}, and the end is {end}");
        let want = Want { from: from.clone(), offset, max_bytes };
        let answers = client.fetch(leader, &[want], Duration::from_millis(500), soon()).unwrap();
        let fetched = answers.into_iter().next().unwrap().unwrap();
        offset = fetched.next_offset;
        whole.records.extend(fetched.records);
        whole.undecodable.extend(fetched.undecodable);
        whole.fetches += 1;
    }
    whole
}

/// Key and value as text.
pub fn text_of(record: &FetchedRecord) -> (Option<String>, Option<String>) {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    (record.key.as_ref().map(text), record.value.as_ref().map(text))
}
