//! The topics and the settings that they are created with.

use super::words::ClusterName;

/// The topic of events.
pub const RUNS: &str = "cron-runs";
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

/// All topics for a set of clusters.
///
/// With a replication factor of 3 or more two copies must confirm each write (`min.insync.replicas=2`).
/// Codecs are undone by the broker (`compression.type=uncompressed`), so that no foreign batch is unreadable.
pub fn all(clusters: &[ClusterName], partitions: i32, replication_factor: i16) -> Vec<TopicSpec> {
    let spec = |name: String, partitions: i32, extra: &[(&'static str, String)]| {
        let mut settings = vec![
            ("compression.type", "uncompressed".to_owned()),
            ("unclean.leader.election.enable", "false".to_owned()),
            ("cleanup.policy", "delete".to_owned()),
        ];
        if replication_factor >= 3 {
            settings.push(("min.insync.replicas", "2".to_owned()));
        }
        settings.extend(extra.iter().cloned());
        TopicSpec { name, partitions, replication_factor, settings }
    };
    let mut topics = Vec::with_capacity(clusters.len() * 3 + 2);
    for cluster in clusters {
        let week = [("retention.ms", (7 * DAY_MS).to_string())];
        topics.push(spec(first(cluster), partitions, &week));
        topics.push(spec(retry(cluster), partitions, &week));
        // A letter carries what it is about in base64, so it may be larger than the message was.
        let letters =
            [("retention.ms", "-1".to_owned()), ("max.message.bytes", (4 * 1024 * 1024).to_string())];
        topics.push(spec(dead(cluster), 1, &letters));
    }
    let events =
        [("retention.ms", (8 * DAY_MS).to_string()), ("message.timestamp.type", "LogAppendTime".to_owned())];
    topics.push(spec(RUNS.to_owned(), 2, &events));
    topics.push(spec(LEADER.to_owned(), 1, &[]));
    topics
}
