//! Records on their way to Kafka: by topic and key into batches of a size that every broker takes, written once, and
//! what was not confirmed is given back. Whether and when to try again is the caller's to say.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::bounds::PRODUCE_BATCH_BYTES;
use super::broker::{BrokerError, Client, ErrorCode, ProduceBatch, Record, TopicPartition, partition_for};
use super::model::{Event, Order};
use super::{topics, wire};

/// A record for a topic; the partition follows from the key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outgoing {
    /// Where it goes.
    pub topic: Arc<str>,
    /// By which it is found.
    pub key: Bytes,
    /// What it says.
    pub value: Bytes,
}

impl Outgoing {
    /// The record of an event, for `cron-runs`.
    pub fn event(event: &Event) -> Self {
        static RUNS: OnceLock<Arc<str>> = OnceLock::new();
        let topic = Arc::clone(RUNS.get_or_init(|| topics::RUNS.into()));
        Self { topic, key: event.key().into(), value: wire::encode(event) }
    }

    /// The record of an order, for `cron-orders`.
    pub fn order(order: &Order) -> Self {
        Self { topic: topics::ORDERS.into(), key: order.key().into(), value: wire::encode(order) }
    }
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
    /// The records; a single one where the error [`is_final`].
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

/// Whether a refusal is about what the record is, so that no later try can end otherwise.
pub fn is_final(error: &BrokerError) -> bool {
    matches!(error.code(), Some(ErrorCode::MessageTooLarge | ErrorCode::InvalidRecord))
}

/// Writes records, and remembers how many partitions topics have and which size of batches they refuse.
#[derive(Debug, Default)]
pub struct Writer {
    topics: BTreeMap<Arc<str>, Topic>,
    limits: BTreeMap<Arc<str>, Limit>,
    /// What is known where the broker refuses our clock; `None`: such records are not written.
    dating: Option<Dating>,
}

#[derive(Debug, Clone, Copy)]
struct Topic {
    id: Uuid,
    partitions: i32,
    believed_until: Option<Instant>,
}

/// What writes have shown of the broker's clock.
#[derive(Debug, Clone, Copy, Default)]
struct Dating {
    /// What time it was at a broker, in milliseconds since the epoch.
    brokers_ms: Option<i64>,
    /// A record was refused for its time stamp.
    is_refused: bool,
}

/// The largest batch that a topic is asked to take.
#[derive(Debug, Clone, Copy)]
struct Limit {
    bytes: usize,
    believed_until: Option<Instant>,
}

/// A batch on its way.
struct Batch {
    to: TopicPartition,
    topic_id: Uuid,
    records: Vec<Outgoing>,
    is_dated: bool,
}

/// How long a number of partitions is believed: topics are enlarged by hand and seldom.
const BELIEVED: Duration = Duration::from_secs(30);

/// How long it is believed that a topic refuses batches of a size: `max.message.bytes` is raised by hand and seldom.
const LIMIT_BELIEVED: Duration = Duration::from_secs(600);

/// The time stamp of a record without one, which a broker takes whatever limits it has (`RecordBatch.NO_TIMESTAMP`).
const NO_TIMESTAMP: i64 = -1;

impl Writer {
    /// Creates a writer whose records are never refused for long for a wrong clock. The first that is refused for its time
    /// stamp comes back, so that the caller can look at its clock; after that such records are written without one.
    pub fn undated_where_refused() -> Self {
        Self { dating: Some(Dating::default()), ..Self::default() }
    }

    /// What time it was at a broker, in milliseconds since the epoch, where a write since the last call has told it: one to
    /// a topic of `LogAppendTime`.
    pub fn take_brokers_ms(&mut self) -> Option<i64> {
        self.dating.as_mut().and_then(|dating| dating.brokers_ms.take())
    }

    /// Writes records with the given time stamp, each to the partition of its key, and returns what was not confirmed.
    /// Records of the same key stay in order. A batch that is refused for a record in it is written in halves, so that
    /// this record alone comes back.
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
            let stamp = |batch: &Batch| if batch.is_dated { timestamp_ms } else { NO_TIMESTAMP };
            let batches: Vec<ProduceBatch> =
                queue.iter().map(|batch| produced(&batch.to, &batch.records, stamp(batch))).collect();
            let answers = client.produce(&batches, by.answer);
            let mut again = Vec::new();
            for (mut batch, answer) in queue.drain(..).zip(answers) {
                let error = match answer {
                    Ok(at) => {
                        if let Some(dating) = &mut self.dating {
                            dating.brokers_ms = at.append_time_ms.or(dating.brokers_ms);
                        }
                        let Batch { to, topic_id, records, .. } = batch;
                        confirmed(Written { topic_id, to, base_offset: at.base_offset, records });
                        continue;
                    }
                    Err(BrokerError::Refused(ErrorCode::RecordListTooLarge)) => {
                        BrokerError::Refused(ErrorCode::MessageTooLarge)
                    }
                    Err(error) => error,
                };
                if error.code() == Some(ErrorCode::MessageTooLarge) {
                    self.lower_limit(&batch, by.look_up);
                }
                if is_final(&error) && batch.records.len() > 1 {
                    let records = batch.records.split_off(batch.records.len() / 2);
                    let second = Batch { to: batch.to.clone(), records, ..batch };
                    again.extend([batch, second]);
                } else if error.code() == Some(ErrorCode::InvalidTimestamp) && self.writes_undated(&batch) {
                    again.push(Batch { is_dated: false, ..batch });
                } else {
                    self.topics.remove(batch.to.topic.as_str());
                    unwritten.push(Unwritten { records: batch.records, error });
                }
            }
            queue = again;
        }
        unwritten
    }

    /// Whether a batch that was refused for its time stamp is written without one. The first that is refused comes back
    /// instead, so that the caller can look at its clock.
    fn writes_undated(&mut self, batch: &Batch) -> bool {
        let Some(dating) = &mut self.dating else { return false };
        std::mem::replace(&mut dating.is_refused, true) && batch.is_dated
    }

    fn lower_limit(&mut self, refused: &Batch, by: Instant) {
        let topic: Arc<str> = refused.to.topic.as_str().into();
        let bytes = refused.records.iter().map(size).sum::<usize>() / 2;
        let bytes = bytes.min(self.takes(&topic, by)).max(1);
        self.limits.insert(topic, Limit { bytes, believed_until: by.checked_add(LIMIT_BELIEVED) });
    }

    /// How many bytes of keys and values a batch for a topic may have at most, by what it has refused.
    pub fn takes(&self, topic: &str, by: Instant) -> usize {
        let limit = self.limits.get(topic);
        let limit = limit.filter(|limit| limit.believed_until.is_some_and(|until| by < until));
        limit.map_or(PRODUCE_BATCH_BYTES, |limit| limit.bytes)
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// When it is not known and cannot be looked up.
    pub fn partitions(
        &mut self,
        client: &mut dyn Client,
        topic: &Arc<str>,
        by: Instant,
    ) -> Result<i32, BrokerError> {
        self.known(client, topic, by).map(|known| known.partitions)
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
    ) -> Vec<Batch> {
        let mut by_topic: BTreeMap<Arc<str>, Vec<Outgoing>> = BTreeMap::new();
        for record in records {
            by_topic.entry(Arc::clone(&record.topic)).or_default().push(record);
        }
        let mut batches = Vec::new();
        for (topic, records) in by_topic {
            match self.known(client, &topic, by) {
                Ok(Topic { id, partitions, .. }) => {
                    let split = split((&topic, partitions), self.takes(&topic, by), records);
                    let batch = |(to, records)| Batch { to, topic_id: id, records, is_dated: true };
                    batches.extend(split.into_iter().map(batch));
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

/// Puts items into as few values as they fit into: `encode` makes a value of some of them, and one that is larger than
/// `bytes` is made of half as many. A single item is a value whatever its size. In the order of the items.
pub fn in_pieces<T>(items: &[T], bytes: usize, encode: &impl Fn(&[T]) -> Bytes) -> Vec<Bytes> {
    let value = encode(items);
    if value.len() <= bytes || items.len() < 2 {
        return vec![value];
    }
    let (first, second) = items.split_at(items.len() / 2);
    let mut pieces = in_pieces(first, bytes, encode);
    pieces.extend(in_pieces(second, bytes, encode));
    pieces
}

fn size(record: &Outgoing) -> usize {
    record.key.len() + record.value.len()
}

/// Batches of at most `most` bytes for a topic of `count` partitions, in the order of the records.
fn split(
    (topic, count): (&str, i32),
    most: usize,
    records: Vec<Outgoing>,
) -> Vec<(TopicPartition, Vec<Outgoing>)> {
    let mut open: BTreeMap<i32, (usize, Vec<Outgoing>)> = BTreeMap::new();
    let mut full = Vec::new();
    let to = |partition: i32| TopicPartition { topic: topic.to_owned(), partition };
    for record in records {
        let partition = partition_for(&record.key, count);
        let size = size(&record);
        let (bytes, batch) = open.entry(partition).or_default();
        if *bytes + size > most && !batch.is_empty() {
            full.push((to(partition), std::mem::take(batch)));
            *bytes = 0;
        }
        *bytes += size;
        batch.push(record);
    }
    full.extend(open.into_iter().map(|(partition, (_, batch))| (to(partition), batch)));
    full
}

fn produced(to: &TopicPartition, records: &[Outgoing], timestamp_ms: i64) -> ProduceBatch {
    let record =
        |out: &Outgoing| Record { key: Some(out.key.clone()), value: Some(out.value.clone()), timestamp_ms };
    ProduceBatch { to: to.clone(), records: records.iter().map(record).collect() }
}
