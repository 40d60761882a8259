//! The topics of a cluster: creates what is missing, never changes what exists, and says where that is not as it
//! should be.

use std::time::{Duration, Instant};

use crate::common::broker::{Admin, BrokerError, Client, ErrorCode};
use crate::common::topics::{self, TopicSpec};
use crate::common::words::ClusterName;

/// How topics are created.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Partitions of a cluster's topic and of its retry topic.
    pub partitions: i32,
    /// Copies of each partition; as many as there are brokers, at most three, where it is not given.
    pub replication_factor: Option<i16>,
}

/// How long one call may take.
const CALL: Duration = Duration::from_secs(5);

/// Sees to it that all topics of a cluster exist. Harmless to repeat.
///
/// # Errors
/// The broker's refusal, or no answer: try again.
pub fn ensure(client: &mut dyn Client, cluster: &ClusterName, options: Options) -> Result<(), BrokerError> {
    let copies = match options.replication_factor {
        Some(copies) => copies,
        None => i16::try_from(client.broker_count(Instant::now() + CALL)?).unwrap_or(3).clamp(1, 3),
    };
    let specs = topics::all(std::slice::from_ref(cluster), options.partitions, copies);
    let mut created = Vec::new();
    for spec in &specs {
        match client.create_topic(spec, Instant::now() + CALL) {
            Ok(()) => created.push(spec.name.as_str()),
            Err(BrokerError::Refused(ErrorCode::TopicAlreadyExists)) => match compare(client, spec) {
                // Somebody creates it at this moment, with the same settings as we would.
                Ok(()) | Err(BrokerError::Refused(ErrorCode::UnknownTopicOrPartition)) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    if !created.is_empty() {
        log::info!("{cluster}: created {} with {copies} copies of each partition", created.join(", "));
        if copies < 3 {
            log::warn!(
                "{cluster}: with {copies} copies of each partition, the loss of a broker's disk loses runs and \
                 results; three brokers or more and --replication-factor 3 keep them"
            );
        }
    }
    Ok(())
}

/// Warns where a topic differs from what it should be, and says how to change it.
fn compare(client: &mut dyn Client, spec: &TopicSpec) -> Result<(), BrokerError> {
    let by = Instant::now() + CALL;
    if let Some(state) = client.topic(&spec.name, by)? {
        let (have, want) = (state.partitions.len(), spec.partitions);
        if i32::try_from(have).is_ok_and(|have| have < want) {
            log::warn!(
                "topic {} has {have} partitions instead of {want} (kafka-topics.sh --alter --topic {} --partitions \
                 {want} adds some; what that means is told under Scaling in docs/OPERATIONS.md)",
                spec.name,
                spec.name
            );
        }
    }
    let settings = present_settings(client, spec, by)?;
    for (name, want) in &spec.settings {
        let have = settings.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str());
        if have != Some(want) {
            log::warn!(
                "topic {} has {name}={} instead of {want} (kafka-configs.sh --alter --entity-type topics \
                 --entity-name {} --add-config {name}={want} changes it)",
                spec.name,
                have.unwrap_or("?"),
                spec.name
            );
        }
    }
    Ok(())
}

fn present_settings(
    client: &mut dyn Admin,
    spec: &TopicSpec,
    by: Instant,
) -> Result<Vec<(String, String)>, BrokerError> {
    let names: Vec<&str> = spec.settings.iter().map(|(name, _)| *name).collect();
    client.topic_settings(&spec.name, &names, by)
}
