//! Writing: each batch to its partition's leader, all leaders at once.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::ProduceResponse;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};

use super::connection::REQUEST;
use super::resolve::Address;
use super::routing::Routes;
use super::wire::topic_name;
use crate::common::broker::{
    BrokerError, Deadline, ErrorCode, NodeId, ProduceBatch, Record, TopicPartition, Written,
};

type Answer = Result<Written, BrokerError>;

/// Writes batches and returns their answers in order.
pub(super) fn produce(routes: &mut Routes, batches: &[ProduceBatch], by: Deadline) -> Vec<Answer> {
    let mut answers: Vec<Answer> = batches.iter().map(|_| Err(out_of_time())).collect();
    let mut waiting: Vec<usize> = (0..batches.len()).collect();
    // A request holds one batch a partition, so a second one for the same partition waits for the next round.
    while !waiting.is_empty() && Instant::now() < by {
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
fn wave(
    routes: &mut Routes,
    batches: &[ProduceBatch],
    wanted: &[usize],
    answers: &mut [Answer],
    by: Deadline,
) {
    let first = round(routes, batches, wanted, answers, by);
    let mut again = Vec::new();
    for (i, asked) in wanted.iter().zip(first) {
        let of = &batches[*i].to;
        if asked.is_none() || !is_elsewhere(&answers[*i]) {
            continue;
        }
        routes.forget_leader(of);
        let now = routes.leaders(std::slice::from_ref(of), by).pop();
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

/// Sends to every leader, then reads what each says. Returns who was asked for each, where anybody was.
fn round(
    routes: &mut Routes,
    batches: &[ProduceBatch],
    wanted: &[usize],
    answers: &mut [Answer],
    by: Deadline,
) -> Vec<Option<NodeId>> {
    let partitions: Vec<TopicPartition> = wanted.iter().map(|i| batches[*i].to.clone()).collect();
    let leaders = routes.leaders(&partitions, by);
    let mut shares: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (i, leader) in wanted.iter().zip(&leaders) {
        match leader {
            Ok(leader) => shares.entry(*leader).or_default().push(*i),
            Err(error) => answers[*i] = Err(error.clone()),
        }
    }
    let mut sent = Vec::with_capacity(shares.len());
    for (leader, share) in shares {
        match send(routes, leader, batches, &share, by) {
            Ok((address, correlation)) => sent.push((address, correlation, share)),
            Err(error) => share.iter().for_each(|i| answers[*i] = Err(error.clone())),
        }
    }
    let patience = Instant::now() + REQUEST;
    for (address, correlation, share) in sent {
        let answer = routes.receive::<ProduceRequest>(&address, correlation, patience, by);
        let answer = answer.map_err(BrokerError::from);
        for i in share {
            answers[i] =
                answer.as_ref().map_err(Clone::clone).and_then(|answer| written(answer, &batches[i].to));
            if is_elsewhere(&answers[i]) {
                routes.forget_leader(&batches[i].to);
            }
        }
    }
    leaders.into_iter().map(Result::ok).collect()
}

fn send(
    routes: &mut Routes,
    leader: NodeId,
    batches: &[ProduceBatch],
    share: &[usize],
    by: Deadline,
) -> Result<(Address, i32), BrokerError> {
    let address = routes.address(leader, by)?;
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
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(millis(broker_patience(by)))
        .with_topic_data(topics.collect());
    let (correlation, _) = routes.send(&address, &request, by)?;
    Ok((address, correlation))
}

/// How long the broker may wait for the other copies: less than we wait for the broker, so that it can still say
/// that they did not come.
fn broker_patience(by: Deadline) -> Duration {
    by.saturating_duration_since(Instant::now()).min(REQUEST) * 4 / 5
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
