//! The topics and the settings that they are created with.

use bytes::Bytes;

use super::model::{ClusterName, Event};

/// The topic of events.
pub const RUNS: &str = "cron-runs";
/// The topic of the leader's orders to consumers. It has one partition, because the order of its records counts: a consumer
/// that starts reads back the newest of them.
pub const ORDERS: &str = "cron-orders";
/// The topic whose one partition elects the leader of the producers.
pub const LEADER: &str = "cron-leader";

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Where first attempts of a cluster lie.
pub fn first(cluster: &ClusterName) -> String {
    cluster.to_string()
}

/// Where later attempts of a cluster lie.
pub fn retry(cluster: &ClusterName) -> String {
    format!("{cluster}-retry")
}

/// Where what will not be tried again lies.
pub fn dead(cluster: &ClusterName) -> String {
    format!("{cluster}-dead")
}

/// The cluster that a topic of attempts belongs to: `cluster-a` for `cluster-a` and `cluster-a-retry`.
///
/// `None` when the topic is neither.
pub fn cluster_of(topic: &str) -> Option<ClusterName> {
    ClusterName::new(topic.strip_suffix("-retry").unwrap_or(topic)).ok()
}

/// The key of a leader's beats on a partition of `cron-runs`. A topic that is compacted by mistake refuses records without
/// a key; with this one it keeps the newest beat of each.
pub fn beat_key(leader: &str, partition: i32) -> Bytes {
    format!("beat/{partition}/{leader}").into()
}

/// Whether an event is about one of these clusters, or about none in particular. Others may stand on the same Kafka, and
/// have jobs of the same names: then their runs have the same ids, and only the cluster tells them apart.
///
/// A consumer's `alive` may name attempts of any cluster; each says where its message lies.
pub fn concerns(event: &Event, clusters: &[ClusterName]) -> bool {
    match event {
        Event::Finished { cluster, .. }
        | Event::Published { cluster, .. }
        | Event::Queued { cluster, .. }
        | Event::Skipped { cluster, .. }
        | Event::Lost { cluster, .. }
        | Event::Ended { cluster, .. }
        | Event::Revision { cluster, .. }
        | Event::Missed { cluster, .. } => clusters.contains(cluster),
        Event::Claimed { place, .. }
        | Event::Unreadable { place, .. }
        | Event::DeletedUnread { place, .. }
        | Event::Truncated { place, .. } => {
            cluster_of(&place.topic).is_some_and(|cluster| clusters.contains(&cluster))
        }
        Event::Alive { .. } | Event::Beat { .. } | Event::Standby { .. } => true,
    }
}

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it is created with.
    pub partitions: i32,
    /// Copies of each partition; `-1` leaves it to the broker's default.
    pub replication_factor: i16,
    /// Settings by Kafka's own names.
    pub settings: Vec<(&'static str, String)>,
}

/// All topics for a set of clusters, each with every setting that a promise stands on: what is not named here, a topic
/// takes over from its broker, whose operator may have set it for other topics.
///
/// With a replication factor of 3 or more two copies must confirm each write (`min.insync.replicas=2`).
/// Codecs are undone by the broker (`compression.type=uncompressed`), so that no foreign batch is unreadable.
/// Records have the broker's time (`LogAppendTime`): no writer's clock decides what retention deletes, and none is
/// refused for it.
pub fn all(clusters: &[ClusterName], partitions: i32, replication_factor: i16) -> Vec<TopicSpec> {
    let confirming = if replication_factor >= 3 { "2" } else { "1" };
    let spec = |name: String, partitions: i32, retention_ms: i64, max_message_bytes: i64| {
        let settings = vec![
            ("cleanup.policy", "delete".to_owned()),
            ("compression.type", "uncompressed".to_owned()),
            ("max.message.bytes", max_message_bytes.to_string()),
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("min.insync.replicas", confirming.to_owned()),
            ("retention.bytes", "-1".to_owned()),
            ("retention.ms", retention_ms.to_string()),
            ("segment.bytes", SEGMENT_BYTES.to_string()),
            ("segment.ms", (7 * DAY_MS).to_string()),
            ("unclean.leader.election.enable", "false".to_owned()),
        ];
        TopicSpec { name, partitions, replication_factor, settings }
    };
    let mut topics = Vec::with_capacity(clusters.len() * 3 + 3);
    for cluster in clusters {
        topics.push(spec(first(cluster), partitions, 7 * DAY_MS, MESSAGE_BYTES));
        topics.push(spec(retry(cluster), partitions, 7 * DAY_MS, MESSAGE_BYTES));
        topics.push(spec(dead(cluster), 1, -1, LETTER_BYTES));
    }
    topics.push(spec(RUNS.to_owned(), 2, 8 * DAY_MS, MESSAGE_BYTES));
    topics.push(spec(ORDERS.to_owned(), 1, DAY_MS, MESSAGE_BYTES));
    topics.push(spec(LEADER.to_owned(), 1, 7 * DAY_MS, MESSAGE_BYTES));
    topics
}

/// The largest batch that a topic takes: Kafka's own default.
const MESSAGE_BYTES: i64 = 1_048_588;

/// The largest letter: it carries what it is about in base64, so it may be larger than the message was.
const LETTER_BYTES: i64 = 4 * 1024 * 1024;

/// Kafka's own default. No batch may be larger than a segment.
const SEGMENT_BYTES: i64 = 1024 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::common::model::Place;

    fn check(event: &Event, expected: bool) {
        assert_eq!(concerns(event, &["c".parse().unwrap(), "d".parse().unwrap()]), expected, "{event:?}");
    }

    fn cut(topic: &str) -> Event {
        let place = Place { topic: topic.to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 0 };
        Event::Truncated { place, end_offset: 0, at: DateTime::UNIX_EPOCH }
    }

    fn revision(cluster: &str) -> Event {
        let (cluster, from, at) = (cluster.parse().unwrap(), DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        Event::Revision { cluster, revision: String::new(), tzdata: None, leader: String::new(), from, at }
    }

    #[test]
    fn an_event_concerns_the_cluster_that_it_names_or_in_whose_topics_its_message_lies() {
        check(&revision("c"), true);
        check(&revision("e"), false);
        ["c", "c-retry", "d"].iter().for_each(|topic| check(&cut(topic), true));
        ["e", "e-retry", "c-dead", "c-retry-retry"].iter().for_each(|topic| check(&cut(topic), false));
        check(&Event::Beat { leader: String::new(), number: 1, at: DateTime::UNIX_EPOCH }, true);
    }
}
