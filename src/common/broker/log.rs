//! The log side of the port: topics, producing, fetching.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::{BrokerError, Deadline};

/// A broker's number.
pub type NodeId = i32;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
}

/// What a broker says about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Its id, new with each topic that is created under the name.
    pub id: Uuid,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionState>,
}

/// What a broker says about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    /// Number.
    pub partition: i32,
    /// The broker that leads it; `None` while there is none.
    pub leader: Option<NodeId>,
    /// How many copies it should have.
    pub replicas: usize,
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Key, by which consumers of other kinds may partition or compact.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Milliseconds since the epoch, by the writer's clock (`CreateTime`).
    pub timestamp_ms: i64,
}

/// Records for one partition, written together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceBatch {
    /// Where they go.
    pub to: TopicPartition,
    /// What goes there, in order. Never empty.
    pub records: Vec<Record>,
}

/// A confirmed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Offset of the first record.
    pub base_offset: i64,
    /// The broker's time in milliseconds since the epoch, where the topic is one of `LogAppendTime`.
    pub append_time_ms: Option<i64>,
}

/// What is asked of a leader for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// From where.
    pub from: TopicPartition,
    /// The first offset wanted.
    pub offset: i64,
    /// About how many bytes; a batch larger than that is sent whole.
    pub max_bytes: i32,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedRecord {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since the epoch: the writer's clock, or the broker's with `LogAppendTime`.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
}

/// A batch whose bytes are whole and make no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// The first offset that it covers (not below the one asked for).
    pub first_offset: i64,
    /// The last offset that it covers.
    pub last_offset: i64,
    /// What is wrong with it.
    pub reason: String,
}

/// What a leader sent for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The id of the topic that was read: another one than before where it was deleted and made anew.
    pub topic_id: Uuid,
    /// Records from the offset asked for on, in order. A last batch that was cut is not here yet.
    pub records: Vec<FetchedRecord>,
    /// Batches that could not be decoded; never standing in the way of those behind them.
    pub undecodable: Vec<Undecodable>,
    /// Where to go on: past records, undecodable and control batches.
    pub next_offset: i64,
    /// The log's first offset.
    pub start_offset: i64,
    /// The end of what may be read.
    pub end_offset: i64,
    /// The end of the log (the high watermark). What lies between the two, where only what is committed may be read, waits
    /// for the end of a transaction (KIP-98, "last stable offset").
    pub log_end: i64,
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The first offset that has not been deleted.
    Start,
    /// The offset that the next record will get.
    End,
    /// The first record whose time is this or later, in milliseconds since the epoch; the log's end where there is
    /// none. With `LogAppendTime` that is the broker's clock: compare it with another record's time, never with ours.
    Since(i64),
}

/// Reading and writing.
pub trait Log: Send {
    /// What the cluster says about a topic; `None` when there is no such topic.
    /// Asked of every known broker in turn, of the one that failed last at last.
    ///
    /// # Errors
    /// When no broker answers.
    fn topic(&mut self, name: &str, by: Deadline) -> Result<Option<TopicState>, BrokerError>;

    /// Writes batches, each to its partition's leader, with `acks=all`, and returns one answer for each, in order.
    /// Leaders are looked up where they are not known, and looked up again after a refusal that says so; nothing is
    /// repeated by itself after [`BrokerError::NoAnswer`].
    fn produce(&mut self, batches: &[ProduceBatch], by: Deadline) -> Vec<Result<Written, BrokerError>>;

    /// Reads from one leader, waiting up to `max_wait` where there is nothing, and returns one answer for each
    /// want, in order. Topics go by their ids, and each answer names the one that was read: a topic that was made anew is
    /// refused once with [`ErrorCode::UnknownTopicId`](super::ErrorCode::UnknownTopicId) and read under its new id from
    /// then on.
    ///
    /// # Errors
    /// When that broker does not answer; what is wrong with a single partition is in its own answer.
    fn fetch(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError>;

    /// Reads from one partition, by one fetch; `None` when the broker says nothing about it.
    ///
    /// # Errors
    /// As of [`Self::fetch`], the partition's own refusal, or that it has no leader.
    fn fetch_one(
        &mut self,
        leader: Option<NodeId>,
        want: Want,
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Option<Fetched>, BrokerError> {
        let TopicPartition { topic, partition } = &want.from;
        let leader =
            leader.ok_or_else(|| BrokerError::NotSent(format!("{topic}/{partition} has no leader")))?;
        self.fetch(leader, &[want], max_wait, by)?.into_iter().next().transpose()
    }

    /// As [`Self::fetch`], but without what another program wrote in a transaction that it has not committed: nothing from
    /// an open one on, and not the records of one that was aborted.
    ///
    /// # Errors
    /// As of [`Self::fetch`].
    fn fetch_committed(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        self.fetch(leader, wants, max_wait, by) // for a client that meets no transactions
    }

    /// The offset of a place in a partition, from its leader. Nothing that is written after the call lies below it,
    /// and with [`Position::Since`] nothing of that time or later does.
    ///
    /// # Errors
    /// The leader's refusal, or no answer.
    fn offset(&mut self, of: &TopicPartition, at: Position, by: Deadline) -> Result<i64, BrokerError>;
}
