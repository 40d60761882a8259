//! A topic: its id, its settings, its partitions' logs, and what of a write it refuses.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Moment;
use super::log::{PartitionLog, batch_bytes};
use crate::common::broker::{ErrorCode, NodeId, PartitionState, Record, TopicState, Written};
use crate::common::topics::TopicSpec;

/// The settings that this end knows, with a broker's defaults.
const DEFAULTS: [(&str, &str); 12] = [
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("max.message.bytes", "1048588"),
    ("message.timestamp.after.max.ms", "3600000"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.type", "CreateTime"),
    ("min.insync.replicas", "1"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
    ("segment.bytes", "1073741824"),
    ("segment.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];

const INVALID_TOPIC_EXCEPTION: ErrorCode = ErrorCode::Other(17);
const INVALID_PARTITIONS: ErrorCode = ErrorCode::Other(37);
const INVALID_CONFIG: ErrorCode = ErrorCode::Other(40);

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    id: Uuid,
    replicas: usize,
    settings: BTreeMap<&'static str, String>,
    partitions: Vec<PartitionLog>,
}

impl Topic {
    /// A topic as `spec` wants it, on the given brokers.
    ///
    /// # Errors
    /// The code with which a broker refuses the wish.
    pub(super) fn new(spec: &TopicSpec, id: Uuid, nodes: &[NodeId]) -> Result<Self, ErrorCode> {
        let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=249).contains(&spec.name.len()) || !spec.name.chars().all(in_name) {
            return Err(INVALID_TOPIC_EXCEPTION);
        }
        // -1 leaves it to the broker, whose default is 1 for both.
        let count = if spec.partitions == -1 { 1 } else { spec.partitions };
        let replicas = if spec.replication_factor == -1 { 1 } else { spec.replication_factor };
        let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(INVALID_PARTITIONS)?;
        let replicas = usize::try_from(replicas).ok().filter(|copies| (1..=nodes.len()).contains(copies));
        let replicas = replicas.ok_or(ErrorCode::InvalidReplicationFactor)?;
        let mut settings: BTreeMap<&str, String> =
            DEFAULTS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        for (name, value) in &spec.settings {
            settings.get_mut(name).ok_or(INVALID_CONFIG)?.clone_from(value);
        }
        let leaders = nodes.iter().copied().cycle().take(count);
        let partitions = leaders.map(|leader| PartitionLog::new(Some(leader))).collect();
        Ok(Self { id, replicas, settings, partitions })
    }

    /// What metadata says about it.
    pub(super) fn state(&self) -> TopicState {
        let partition = |(partition, log): (i32, &PartitionLog)| PartitionState {
            partition,
            leader: log.leader,
            replicas: self.replicas,
        };
        TopicState { id: self.id, partitions: (0..).zip(&self.partitions).map(partition).collect() }
    }

    /// The value of a setting.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Changes a setting.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.settings.insert(name, value.to_owned());
    }

    fn number(&self, name: &str) -> i64 {
        self.setting(name).and_then(|value| value.parse().ok()).unwrap_or(i64::MAX)
    }

    pub(super) fn partition(&self, number: i32) -> Option<&PartitionLog> {
        self.partitions.get(usize::try_from(number).ok()?)
    }

    pub(super) fn partition_mut(&mut self, number: i32) -> Option<&mut PartitionLog> {
        self.partitions.get_mut(usize::try_from(number).ok()?)
    }

    /// Adds partitions until there are `count`.
    pub(super) fn grow(&mut self, count: usize, nodes: &[NodeId]) {
        let leaders = nodes.iter().copied().cycle().take(count).skip(self.partitions.len());
        self.partitions.extend(leaders.map(|leader| PartitionLog::new(Some(leader))));
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// The leader's refusal; nothing is written then.
    pub(super) fn write(
        &mut self,
        partition: i32,
        records: &[Record],
        at: Moment,
    ) -> Result<Written, ErrorCode> {
        let now_ms = at.wall.timestamp_millis();
        let append_time_ms =
            (self.setting("message.timestamp.type") == Some("LogAppendTime")).then_some(now_ms);
        let too_large =
            i64::try_from(batch_bytes(records)).unwrap_or(i64::MAX) > self.number("max.message.bytes");
        let is_compacted = self.setting("cleanup.policy").is_some_and(|policy| policy.contains("compact"));
        let ahead = self.number("message.timestamp.after.max.ms");
        let log = self.partition_mut(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if log.leader.is_none() {
            return Err(ErrorCode::LeaderNotAvailable);
        }
        if append_time_ms.is_none() && records.iter().any(|r| r.timestamp_ms.saturating_sub(now_ms) > ahead) {
            return Err(ErrorCode::InvalidTimestamp);
        }
        if too_large {
            return Err(ErrorCode::MessageTooLarge);
        }
        if is_compacted && records.iter().any(|record| record.key.is_none()) {
            return Err(ErrorCode::InvalidRecord);
        }
        Ok(Written { base_offset: log.append(records, append_time_ms), append_time_ms })
    }
}
