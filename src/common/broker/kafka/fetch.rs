//! Reading: fetches from one leader, ends of logs, what a topic is. With [`super::produce`], the log side of the port.

use std::collections::HashMap;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest};
use uuid::Uuid;

use super::produce::{self, millis};
use super::routing::wait_until;
use super::transactions::Aborted;
use super::wire::topic_name;
use super::{KafkaClient, batch};
use crate::common::bounds;
use crate::common::broker::{
    BrokerError, Deadline, ErrorCode, Fetched, Log, NodeId, Position, ProduceBatch, TopicPartition,
    TopicState, Want, Written,
};
use crate::common::clock::monotonic;

/// `ListOffsets` asks by time; these two stand for the ends.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// Isolation levels of a fetch: all records, or those alone whose transaction has been committed.
const UNCOMMITTED: i8 = 0;
const COMMITTED: i8 = 1;
/// How long a fetch waits at least that a quota holds back.
const PAUSE: Duration = Duration::from_millis(100);
/// How long it waits at most. The thread that asks can be stopped only between two fetches.
const HELD: Duration = Duration::from_secs(2);
/// Its answer where no record is of that time or later.
const NO_OFFSET: i64 = -1;

impl Log for KafkaClient {
    fn topic(&mut self, name: &str, by: Deadline) -> Result<Option<TopicState>, BrokerError> {
        match self.routes.metadata(&[name], by)?.remove(name) {
            Some(Ok(state)) => Ok(Some(state)),
            Some(Err(ErrorCode::UnknownTopicOrPartition)) => Ok(None),
            Some(Err(code)) => Err(BrokerError::Refused(code)),
            None => Err(BrokerError::Nonsense(format!("nothing about {name}"))),
        }
    }

    fn produce(&mut self, batches: &[ProduceBatch], by: Deadline) -> Vec<Result<Written, BrokerError>> {
        produce::produce(&mut self.routes, batches, by)
    }

    fn fetch(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        self.fetch_patiently(leader, wants, max_wait, by, UNCOMMITTED)
    }

    fn fetch_committed(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        self.fetch_patiently(leader, wants, max_wait, by, COMMITTED)
    }

    fn offset(&mut self, of: &TopicPartition, at: Position, by: Deadline) -> Result<i64, BrokerError> {
        match at {
            Position::Start => self.offset_at(of, EARLIEST, by),
            Position::End => self.offset_at(of, LATEST, by),
            Position::Since(ms) => {
                // The end comes first: what is written between the two questions lies above it.
                let end = self.offset_at(of, LATEST, by)?;
                let found = self.offset_at(of, ms.max(0), by)?;
                Ok(if found == NO_OFFSET { end } else { found })
            }
        }
    }
}

fn nothing() -> BrokerError {
    BrokerError::Nonsense("nothing about a partition that was asked for".to_owned())
}

impl KafkaClient {
    fn fetch_patiently(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
        isolation: i8,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        let answer = self.fetch_once(leader, wants, max_wait, by, isolation);
        if let Err(BrokerError::Throttled(_)) = answer {
            // As if the broker had nothing to read for so long: a caller that reads on asks again at once.
            wait_until(by.min(monotonic() + max_wait.max(PAUSE)));
        }
        answer
    }

    fn fetch_once(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
        isolation: i8,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        let address = self.routes.address(leader, by)?;
        let ids = self.topic_ids(wants, by)?;
        let asked: Vec<(&Want, Uuid)> =
            wants.iter().zip(&ids).filter_map(|(want, id)| Some((want, *id.as_ref().ok()?))).collect();
        if asked.is_empty() {
            return Ok(ids.into_iter().map(|id| Err(id.err().unwrap_or_else(nothing))).collect());
        }
        // Only the first partition of a request gets a batch that is larger than asked for: take turns.
        self.turn = self.turn.wrapping_add(1);
        let request = request(&asked, self.turn, max_wait).with_isolation_level(isolation);
        self.routes.await_quota(&address, max_wait, by.min(monotonic() + max_wait + HELD))?;
        let answer = self.routes.ask(&address, &request, max_wait, by)?;
        if let Some(code) = ErrorCode::from_wire(answer.error_code) {
            return Err(BrokerError::Refused(code));
        }
        let mut found: HashMap<(Uuid, i32), PartitionData> = HashMap::new();
        for topic in answer.responses {
            found.extend(topic.partitions.into_iter().map(|p| ((topic.topic_id, p.partition_index), p)));
        }
        let mut room = bounds::UNPACKED_ANSWER_BYTES;
        // In turns as well, because those that come last may find no room.
        let mut all: Vec<_> = wants.iter().zip(ids).enumerate().collect();
        all.rotate_left(self.turn % wants.len());
        let mut shares = Vec::with_capacity(wants.len());
        for (at, (want, id)) in all {
            let share = id.and_then(|id| {
                let data = found.remove(&(id, want.from.partition)).ok_or_else(nothing)?;
                fetched(want, id, data, isolation, &mut room)
            });
            if matches!(
                share,
                Err(BrokerError::Refused(ErrorCode::UnknownTopicId | ErrorCode::InconsistentTopicId))
            ) {
                self.routes.forget_topic_id(&want.from.topic);
            }
            shares.push((at, share));
        }
        shares.sort_by_key(|(at, _)| *at);
        Ok(shares.into_iter().map(|(_, share)| share).collect())
    }

    /// The ids of the topics that are asked for: what is wrong with one of them is in its place.
    fn topic_ids(
        &mut self,
        wants: &[Want],
        by: Deadline,
    ) -> Result<Vec<Result<Uuid, BrokerError>>, BrokerError> {
        let mut known: HashMap<&str, Result<Uuid, BrokerError>> = HashMap::new();
        for want in wants {
            let name = want.from.topic.as_str();
            if !known.contains_key(name) {
                let id = self.routes.topic_id(name, by);
                if let Err(error) = &id
                    && error.code().is_none()
                {
                    return Err(error.clone());
                }
                known.insert(name, id);
            }
        }
        Ok(wants.iter().map(|want| known[want.from.topic.as_str()].clone()).collect())
    }

    fn offset_at(&mut self, of: &TopicPartition, time: i64, by: Deadline) -> Result<i64, BrokerError> {
        let mut answer = self.offset_once(of, time, by);
        if matches!(
            answer,
            Err(BrokerError::Refused(ErrorCode::NotLeader | ErrorCode::UnknownTopicOrPartition))
        ) {
            self.routes.forget_leader(of);
            answer = self.offset_once(of, time, by);
        }
        answer
    }

    fn offset_once(&mut self, of: &TopicPartition, time: i64, by: Deadline) -> Result<i64, BrokerError> {
        let nobody = || Err(BrokerError::Nonsense("no leader".to_owned()));
        let leader = self.routes.leaders(std::slice::from_ref(of), by).pop().unwrap_or_else(nobody)?;
        let address = self.routes.address(leader, by)?;
        let partition =
            ListOffsetsPartition::default().with_partition_index(of.partition).with_timestamp(time);
        let topic =
            ListOffsetsTopic::default().with_name(topic_name(&of.topic)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let answer = self.routes.ask(&address, &request, Duration::ZERO, by)?;
        let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
        let partition =
            partition.ok_or_else(|| BrokerError::Nonsense(format!("nothing about {}", of.topic)))?;
        ErrorCode::from_wire(partition.error_code)
            .map_or(Ok(partition.offset), |code| Err(BrokerError::Refused(code)))
    }
}

fn request(wants: &[(&Want, Uuid)], turn: usize, max_wait: Duration) -> FetchRequest {
    let first = turn % wants.len().max(1);
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (want, id) in wants[first..].iter().chain(&wants[..first]) {
        let partition = FetchPartition::default()
            .with_partition(want.from.partition)
            .with_fetch_offset(want.offset)
            .with_partition_max_bytes(want.max_bytes);
        // The order of partitions is the order of turns, so topics may come up twice.
        match topics.last_mut().filter(|topic| topic.topic_id == *id) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic::default().with_topic_id(*id).with_partitions(vec![partition])),
        }
    }
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(millis(max_wait))
        .with_min_bytes(1)
        .with_max_bytes(bounds::FETCH_BYTES)
        .with_session_epoch(-1) // no fetch session: each request says all it wants
        .with_topics(topics)
}

/// What a leader sent for a partition, as far as there is room to unpack it.
fn fetched(
    want: &Want,
    topic_id: Uuid,
    data: PartitionData,
    isolation: i8,
    room: &mut usize,
) -> Result<Fetched, BrokerError> {
    if let Some(code) = ErrorCode::from_wire(data.error_code) {
        return Err(BrokerError::Refused(code));
    }
    let set = data.records.unwrap_or_default();
    let mut aborted = Aborted::new(data.aborted_transactions.as_deref().unwrap_or_default());
    let stable = Some(data.last_stable_offset).filter(|offset| isolation == COMMITTED && *offset >= 0);
    let end_offset = stable.map_or(data.high_watermark, |stable| stable.min(data.high_watermark));
    let decoded = batch::decode(set, want.offset, end_offset, &mut aborted, room).map_err(|why| {
        BrokerError::Nonsense(format!("{} {}: {why}", want.from.topic, want.from.partition))
    })?;
    for batch in &decoded.undecodable {
        let (topic, partition) = (&want.from.topic, want.from.partition);
        let (first, last, why) = (batch.first_offset, batch.last_offset, &batch.reason);
        log::error!("{topic}/{partition}: the batch at offsets {first} to {last} cannot be decoded: {why}");
    }
    Ok(Fetched {
        topic_id,
        records: decoded.records,
        undecodable: decoded.undecodable,
        next_offset: decoded.next_offset,
        start_offset: data.log_start_offset,
        end_offset,
        log_end: data.high_watermark,
    })
}
