//! Writing: each batch to its partition's leader, all leaders at once.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::ProduceResponse;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};

use super::resolve::Address;
use super::routing::{AFTERWARDS, Routes, Sent};
use super::wire::topic_name;
use crate::common::broker::{
    BrokerError, Deadline, ErrorCode, NodeId, ProduceBatch, Record, TopicPartition, Written,
};
use crate::common::clock::monotonic;

type Answer = Result<Written, BrokerError>;

/// How long after its beginning a call still sends something. It may wait longer for answers; but the caller has
/// made sure that it may write *now* (a leader has, by its leader lease), and that holds for seconds only.
const BEGIN: Duration = Duration::from_millis(1_500);

/// By when the parts of a call are over.
#[derive(Clone, Copy)]
struct Limits {
    /// Nothing is sent after this.
    send: Deadline,
    /// No answer is waited for after this.
    answer: Deadline,
}

/// Writes batches and returns their answers in order.
pub(super) fn produce(routes: &mut Routes, batches: &[ProduceBatch], by: Deadline) -> Vec<Answer> {
    let by = Limits { send: by.min(monotonic() + BEGIN), answer: by };
    let mut answers: Vec<Answer> = batches.iter().map(|_| Err(out_of_time())).collect();
    let mut waiting: Vec<usize> = (0..batches.len()).collect();
    // A request holds one batch a partition, so a second one for the same partition waits for the next round.
    while !waiting.is_empty() && monotonic() < by.send {
        let mut taken = HashSet::new();
        let (now, later): (Vec<usize>, Vec<usize>) =
            waiting.iter().partition(|i| taken.insert(&batches[**i].to));
        wave(routes, batches, &now, &mut answers, by);
        waiting = later;
    }
    answers
}

fn out_of_time() -> BrokerError {
    BrokerError::NotSent("the deadline passed before it was its turn".to_owned())
}

/// One batch a partition. What certainly was not written because the leader is elsewhere goes to the new leader.
fn wave(routes: &mut Routes, batches: &[ProduceBatch], wanted: &[usize], answers: &mut [Answer], by: Limits) {
    let first = round(routes, batches, wanted, answers, by);
    let mut again = Vec::new();
    for (i, asked) in wanted.iter().zip(first) {
        let of = &batches[*i].to;
        if asked.is_none() || !is_elsewhere(&answers[*i]) {
            continue;
        }
        routes.forget_leader(of);
        let now = routes.leaders(std::slice::from_ref(of), by.send).pop();
        if now.and_then(Result::ok).is_some_and(|now| Some(now) != asked) {
            again.push(*i);
        }
    }
    if !again.is_empty() {
        round(routes, batches, &again, answers, by);
    }
}

/// Whether an answer proves that nothing was written, and that it is worth looking for another leader.
fn is_elsewhere(answer: &Answer) -> bool {
    use ErrorCode::{LeaderNotAvailable, NotLeader, UnknownTopicOrPartition};
    match answer {
        Err(BrokerError::NotSent(_)) => true,
        Err(BrokerError::Refused(code)) => {
            matches!(code, NotLeader | LeaderNotAvailable | UnknownTopicOrPartition)
        }
        _ => false,
    }
}

/// Sends to every leader, then reads what each says; those that a quota makes us wait for come one by one afterwards.
/// Returns which broker was asked for each, where one was.
fn round(
    routes: &mut Routes,
    batches: &[ProduceBatch],
    wanted: &[usize],
    answers: &mut [Answer],
    by: Limits,
) -> Vec<Option<NodeId>> {
    let partitions: Vec<TopicPartition> = wanted.iter().map(|i| batches[*i].to.clone()).collect();
    let leaders = routes.leaders(&partitions, by.send);
    let mut shares: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (i, leader) in wanted.iter().zip(&leaders) {
        match leader {
            Ok(leader) => shares.entry(*leader).or_default().push(*i),
            Err(error) => answers[*i] = Err(error.clone()),
        }
    }
    let mut held = Vec::new();
    let mut sent = Vec::with_capacity(shares.len());
    for (leader, share) in shares {
        match routes.address(leader, by.send) {
            Ok(address) if routes.held_until(&address).is_some() => held.push((address, share)),
            Ok(address) => sent.extend(send(routes, address, batches, share, answers, by)),
            Err(error) => refuse(answers, &share, &error),
        }
    }
    receive(routes, batches, sent, answers, by);
    for (address, share) in held {
        match routes.await_quota(&address, Duration::ZERO, by.answer.min(by.send + AFTERWARDS)) {
            Ok(()) => {
                let sent = send(routes, address, batches, share, answers, by);
                receive(routes, batches, sent, answers, by);
            }
            Err(error) => refuse(answers, &share, &error),
        }
    }
    leaders.into_iter().map(Result::ok).collect()
}

fn refuse(answers: &mut [Answer], share: &[usize], error: &BrokerError) {
    share.iter().for_each(|i| answers[*i] = Err(error.clone()));
}

/// A leader, the request that it was sent, and the batches that this carries.
type OnTheWay = (Address, Sent, Vec<usize>);

/// Reads the answers of leaders.
fn receive(
    routes: &mut Routes,
    batches: &[ProduceBatch],
    sent: impl IntoIterator<Item = OnTheWay>,
    answers: &mut [Answer],
    by: Limits,
) {
    for (address, sent, share) in sent {
        let answer = routes.receive::<ProduceRequest>(&address, sent, Duration::ZERO, by.answer);
        let answer = answer.map_err(BrokerError::from);
        for i in share {
            answers[i] =
                answer.as_ref().map_err(Clone::clone).and_then(|answer| written(answer, &batches[i].to));
            if is_elsewhere(&answers[i]) {
                routes.forget_leader(&batches[i].to);
            }
        }
    }
}

/// Sends a leader its batches; what cannot be sent has its answer at once.
fn send(
    routes: &mut Routes,
    to: Address,
    batches: &[ProduceBatch],
    share: Vec<usize>,
    answers: &mut [Answer],
    by: Limits,
) -> Option<OnTheWay> {
    let sent = request(routes, &to, batches, &share, by.answer)
        .and_then(|request| routes.send(&to, &request, by.send))
        .inspect_err(|error| refuse(answers, &share, error));
    Some((to, sent.ok()?, share))
}

fn request(
    routes: &Routes,
    to: &Address,
    batches: &[ProduceBatch],
    share: &[usize],
    by: Deadline,
) -> Result<ProduceRequest, BrokerError> {
    let mut topics: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
    for i in share {
        let batch = &batches[*i];
        let records = encode(&batch.records)?;
        let data = PartitionProduceData::default().with_index(batch.to.partition).with_records(Some(records));
        topics.entry(&batch.to.topic).or_default().push(data);
    }
    let topics = topics.into_iter().map(|(name, data)| {
        TopicProduceData::default().with_name(topic_name(name)).with_partition_data(data)
    });
    // The broker waits for the other copies for less than we wait for the broker, so that it can still say that they
    // did not come.
    let patience = by.saturating_duration_since(monotonic()).min(routes.patience::<ProduceRequest>(to));
    Ok(ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(millis(patience * 4 / 5))
        .with_topic_data(topics.collect()))
}

/// Milliseconds of the wire.
pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn written(answer: &ProduceResponse, to: &TopicPartition) -> Answer {
    let topic = answer.responses.iter().find(|topic| *topic.name.0 == *to.topic);
    let partition = topic.and_then(|t| t.partition_responses.iter().find(|p| p.index == to.partition));
    let partition = partition.ok_or_else(|| BrokerError::Nonsense(format!("nothing about {}", to.topic)))?;
    match ErrorCode::from_wire(partition.error_code) {
        Some(code) => Err(BrokerError::Refused(code)),
        None => Ok(Written {
            base_offset: partition.base_offset,
            append_time_ms: Some(partition.log_append_time_ms).filter(|ms| *ms >= 0),
        }),
    }
}

/// One batch in Kafka's format (magic 2, KIP-98), uncompressed, of no idempotent producer.
pub(super) fn encode(records: &[Record]) -> Result<Bytes, BrokerError> {
    let encoded = |(i, record): (i64, &Record)| kafka_protocol::records::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: i,
        // In step with the offset: the encoder begins a new batch where the difference changes.
        sequence: i32::try_from(i).unwrap_or(0) - 1,
        timestamp: record.timestamp_ms,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: kafka_protocol::indexmap::IndexMap::new(),
    };
    let records: Vec<_> = (0..).zip(records).map(encoded).collect();
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut batch, &records, &options)
        .map_err(|e| BrokerError::NotSent(format!("the batch cannot be encoded: {e}")))?;
    Ok(batch.freeze())
}
