//! Records on their way to Kafka: by topic and key into batches of a size that every broker takes, written once, and
//! what was not confirmed is given back. Whether and when to try again is the caller's to say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::bounds::PRODUCE_BATCH_BYTES;
use super::broker::{BrokerError, Client, ErrorCode, ProduceBatch, Record, TopicPartition, partition_for};

/// A record for a topic; the partition follows from the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it goes.
    pub topic: Arc<str>,
    /// By which it is found.
    pub key: Bytes,
    /// What it says.
    pub value: Bytes,
}

/// A batch that is confirmed.
#[derive(Debug)]
pub struct Written {
    /// The topic's id.
    pub topic_id: Uuid,
    /// Where the records lie.
    pub to: TopicPartition,
    /// The offset of the first.
    pub base_offset: i64,
    /// The records.
    pub records: Vec<Outgoing>,
}

/// Records that were not confirmed, and why.
#[derive(Debug)]
pub struct Unwritten {
    /// The records; a single one where the error is [`ErrorCode::MessageTooLarge`].
    pub records: Vec<Outgoing>,
    /// What came instead of a confirmation.
    pub error: BrokerError,
}

/// By when the parts of a write are over.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nothing is looked up after this.
    pub look_up: Instant,
    /// No answer is waited for after this. A broker that is slow, and not away, needs more time than it takes to begin.
    pub answer: Instant,
}

impl From<Instant> for Limits {
    fn from(by: Instant) -> Self {
        Self { look_up: by, answer: by }
    }
}

/// Writes records, and remembers how many partitions topics have.
#[derive(Debug, Default)]
pub struct Writer {
    topics: BTreeMap<Arc<str>, Topic>,
}

#[derive(Debug, Clone, Copy)]
struct Topic {
    id: Uuid,
    partitions: i32,
    believed_until: Option<Instant>,
}

/// How long a number of partitions is believed: topics are enlarged by hand and seldom.
const BELIEVED: Duration = Duration::from_secs(30);

impl Writer {
    /// Writes records with the given time stamp, each to the partition of its key, and returns what was not confirmed.
    /// Records of the same key stay in order. A batch that is too large for its topic is written in halves.
    pub fn write(
        &mut self,
        client: &mut dyn Client,
        records: Vec<Outgoing>,
        timestamp_ms: i64,
        by: Instant,
    ) -> Vec<Unwritten> {
        self.write_and_tell(client, records, timestamp_ms, by, |_| {})
    }

    /// As [`Self::write`], and tells where what is confirmed lies.
    pub fn write_and_tell(
        &mut self,
        client: &mut dyn Client,
        records: Vec<Outgoing>,
        timestamp_ms: i64,
        by: impl Into<Limits>,
        mut confirmed: impl FnMut(Written),
    ) -> Vec<Unwritten> {
        let by = by.into();
        let mut unwritten = Vec::new();
        let mut queue = self.batches(client, records, by.look_up, &mut unwritten);
        while !queue.is_empty() {
            let batches: Vec<ProduceBatch> =
                queue.iter().map(|(to, _, records)| batch(to, records, timestamp_ms)).collect();
            let answers = client.produce(&batches, by.answer);
            let mut halves = Vec::new();
            for ((to, topic_id, mut records), answer) in queue.drain(..).zip(answers) {
                match answer {
                    Ok(at) => {
                        confirmed(Written { topic_id, to, base_offset: at.base_offset, records });
                    }
                    Err(BrokerError::Refused(ErrorCode::MessageTooLarge)) if records.len() > 1 => {
                        let second = records.split_off(records.len() / 2);
                        halves.extend([(to.clone(), topic_id, records), (to, topic_id, second)]);
                    }
                    Err(error) => {
                        self.topics.remove(to.topic.as_str());
                        unwritten.push(Unwritten { records, error });
                    }
                }
            }
            queue = halves;
        }
        unwritten
    }

    /// Looks a topic up before it is needed, so that no record waits for that. What cannot be known now is asked for
    /// when something is written.
    pub fn look_ahead(&mut self, client: &mut dyn Client, topic: &Arc<str>, by: Instant) {
        let soon = by + BELIEVED / 2;
        if self.topics.get(topic).and_then(|known| known.believed_until).is_none_or(|until| until < soon) {
            let known = self.topics.remove(topic);
            if self.known(client, topic, by).is_err() {
                self.topics.extend(known.map(|known| (Arc::clone(topic), known)));
            }
        }
    }

    fn batches(
        &mut self,
        client: &mut dyn Client,
        records: Vec<Outgoing>,
        by: Instant,
        unwritten: &mut Vec<Unwritten>,
    ) -> Vec<(TopicPartition, Uuid, Vec<Outgoing>)> {
        let mut by_topic: BTreeMap<Arc<str>, Vec<Outgoing>> = BTreeMap::new();
        for record in records {
            by_topic.entry(Arc::clone(&record.topic)).or_default().push(record);
        }
        let mut batches = Vec::new();
        for (topic, records) in by_topic {
            match self.known(client, &topic, by) {
                Ok(Topic { id, partitions, .. }) => {
                    let split = split(&topic, partitions, records);
                    batches.extend(split.into_iter().map(|(to, records)| (to, id, records)));
                }
                Err(error) => unwritten.push(Unwritten { records, error }),
            }
        }
        batches
    }

    fn known(
        &mut self,
        client: &mut dyn Client,
        topic: &Arc<str>,
        by: Instant,
    ) -> Result<Topic, BrokerError> {
        // Deadlines stand for the time of the call, so that no clock is needed here.
        if let Some(known) = self.topics.get(topic)
            && known.believed_until.is_some_and(|until| by < until)
        {
            return Ok(*known);
        }
        let missing = || BrokerError::Refused(ErrorCode::UnknownTopicOrPartition);
        let state = client.topic(topic, by)?.ok_or_else(missing)?;
        let partitions = i32::try_from(state.partitions.len()).unwrap_or(1);
        let known = Topic { id: state.id, partitions, believed_until: by.checked_add(BELIEVED) };
        self.topics.insert(Arc::clone(topic), known);
        Ok(known)
    }
}

/// Batches of at most [`PRODUCE_BATCH_BYTES`], in the order of the records.
fn split(topic: &str, count: i32, records: Vec<Outgoing>) -> Vec<(TopicPartition, Vec<Outgoing>)> {
    let mut open: BTreeMap<i32, (usize, Vec<Outgoing>)> = BTreeMap::new();
    let mut full = Vec::new();
    let to = |partition: i32| TopicPartition { topic: topic.to_owned(), partition };
    for record in records {
        let partition = partition_for(&record.key, count);
        let size = record.key.len() + record.value.len();
        let (bytes, batch) = open.entry(partition).or_default();
        if *bytes + size > PRODUCE_BATCH_BYTES && !batch.is_empty() {
            full.push((to(partition), std::mem::take(batch)));
            *bytes = 0;
        }
        *bytes += size;
        batch.push(record);
    }
    full.extend(open.into_iter().map(|(partition, (_, batch))| (to(partition), batch)));
    full
}

fn batch(to: &TopicPartition, records: &[Outgoing], timestamp_ms: i64) -> ProduceBatch {
    let record =
        |out: &Outgoing| Record { key: Some(out.key.clone()), value: Some(out.value.clone()), timestamp_ms };
    ProduceBatch { to: to.clone(), records: records.iter().map(record).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::broker::Broker;
    use crate::common::broker::memory::{Call, Fate, MemoryBroker};
    use crate::common::clock::{Clock, SystemClock};
    use crate::common::topics::TopicSpec;

    fn check(sizes: &[usize], expected: &[usize]) {
        let record = |size: &usize| Outgoing {
            topic: Arc::from("t"),
            key: Bytes::from_static(b"k"),
            value: Bytes::from(vec![0; *size]),
        };
        let batches = split("t", 4, sizes.iter().map(record).collect());
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
            assert_eq!(
                writer.write(client.as_mut(), records, 0, by).len(),
                lost,
                "{ahead_secs} {write_secs}"
            );
        };
        check(0, 29, 0);
        // The planted failure is met by the look ahead: what was known is believed a little longer.
        check(16, 29, 0);
        check(17, 60, 1);
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
}
