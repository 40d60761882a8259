//! Reading a topic from its start to the end that it has now.

use std::time::{Duration, Instant};

use super::bounds::FETCH_BYTES;
use super::broker::{BrokerError, Client, FetchedRecord, Position, TopicPartition, Want};

/// How long one call may take. The whole may take as long as the topic is large.
const CALL: Duration = Duration::from_secs(5);

/// Reads all records of a topic, partition by partition, up to the ends that the partitions have when their turn
/// comes. `false` when there is no such topic. Batches that cannot be decoded are passed over.
///
/// # Errors
/// When a partition has no leader, or a broker refuses or does not answer.
pub fn scan(
    client: &mut dyn Client,
    topic: &str,
    mut take: impl FnMut(i32, FetchedRecord),
) -> Result<bool, BrokerError> {
    let by = || Instant::now() + CALL;
    let Some(state) = client.topic(topic, by())? else { return Ok(false) };
    for partition in state.partitions {
        let from = TopicPartition { topic: topic.to_owned(), partition: partition.partition };
        let leaderless = || BrokerError::NotSent(format!("{topic}/{} has no leader", partition.partition));
        let leader = partition.leader.ok_or_else(leaderless)?;
        let end = client.offset(&from, Position::End, by())?;
        let mut offset = client.offset(&from, Position::Start, by())?;
        while offset < end {
            let want = Want { from: from.clone(), offset, max_bytes: FETCH_BYTES };
            let fetched = client.fetch(leader, &[want], Duration::from_millis(100), by())?;
            let Some(fetched) = fetched.into_iter().next().transpose()? else { break };
            offset = fetched.next_offset;
            fetched.records.into_iter().for_each(|record| take(partition.partition, record));
        }
    }
    Ok(true)
}
