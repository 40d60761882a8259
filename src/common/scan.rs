//! Reading a topic from its start, or from some time on, to the end that it has now; and going on from there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::bounds::FETCH_BYTES;
use super::broker::{
    BrokerError, Client, FetchedRecord, NodeId, PartitionState, Position, TopicPartition, Want,
};

/// How long one call may take. The whole may take as long as the topic is large.
const CALL: Duration = Duration::from_secs(5);

/// Where a search for a time ends: so many offsets are read faster than they are halved further.
const CLOSE: i64 = 500;

/// A topic that is being read.
#[derive(Debug)]
pub struct Scan {
    topic: String,
    /// Where each partition is read on.
    next: BTreeMap<i32, i64>,
}

/// A partition at its leader.
struct Led {
    of: TopicPartition,
    leader: NodeId,
}

/// The oldest record that a partition still has.
#[derive(Debug)]
pub struct First {
    /// Whether others stood before it that are deleted.
    pub cut: bool,
    /// The record; none where the partition is empty.
    pub record: Option<FetchedRecord>,
}

impl Scan {
    /// A topic, from its start.
    pub fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), next: BTreeMap::new() }
    }

    /// Reads the records not read yet, partition by partition, up to the ends that the partitions have when their turn
    /// comes. `false` when there is no such topic. Batches that cannot be decoded are passed over.
    ///
    /// # Errors
    /// When a partition has no leader, or a broker refuses or does not answer.
    pub fn read(
        &mut self,
        client: &mut dyn Client,
        mut take: impl FnMut(i32, FetchedRecord),
    ) -> Result<bool, BrokerError> {
        let Some(partitions) = self.partitions(client)? else { return Ok(false) };
        for partition in partitions {
            let led = self.led(&partition)?;
            let end = client.offset(&led.of, Position::End, soon())?;
            let start = client.offset(&led.of, Position::Start, soon())?;
            let next = self.next.entry(partition.partition).or_insert(start);
            *next = (*next).max(start);
            while *next < end {
                let Some((records, after)) = led.fetch(client, *next, FETCH_BYTES)? else { break };
                *next = after;
                records.into_iter().for_each(|record| take(partition.partition, record));
            }
        }
        Ok(true)
    }

    /// Passes over what was written before an instant, in milliseconds since the epoch, as far as a search can tell:
    /// some of it may be read all the same.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn skip_to(&mut self, client: &mut dyn Client, since_ms: i64) -> Result<(), BrokerError> {
        for partition in self.partitions(client)?.unwrap_or_default() {
            let led = self.led(&partition)?;
            let mut low = client.offset(&led.of, Position::Start, soon())?;
            let mut high = client.offset(&led.of, Position::End, soon())?;
            while high - low > CLOSE {
                let middle = low + (high - low) / 2;
                let found = led.fetch(client, middle, 1)?;
                match found.and_then(|(records, _)| records.into_iter().next()) {
                    Some(record) if record.timestamp_ms < since_ms => low = middle,
                    _ => high = middle,
                }
            }
            self.next.insert(partition.partition, low);
        }
        Ok(())
    }

    /// The oldest records that are still there.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn firsts(&self, client: &mut dyn Client) -> Result<Vec<First>, BrokerError> {
        let partitions = self.partitions(client)?.unwrap_or_default();
        let first = |partition| {
            let led = self.led(&partition)?;
            let start = client.offset(&led.of, Position::Start, soon())?;
            let end = client.offset(&led.of, Position::End, soon())?;
            let found = if start < end { led.fetch(client, start, 1)? } else { None };
            let record = found.and_then(|(records, _)| records.into_iter().next());
            Ok(First { cut: start > 0, record })
        };
        partitions.into_iter().map(first).collect()
    }

    fn partitions(&self, client: &mut dyn Client) -> Result<Option<Vec<PartitionState>>, BrokerError> {
        Ok(client.topic(&self.topic, soon())?.map(|state| state.partitions))
    }

    fn led(&self, partition: &PartitionState) -> Result<Led, BrokerError> {
        let PartitionState { partition, leader, .. } = *partition;
        let leaderless = || BrokerError::NotSent(format!("{}/{partition} has no leader", self.topic));
        let of = TopicPartition { topic: self.topic.clone(), partition };
        Ok(Led { of, leader: leader.ok_or_else(leaderless)? })
    }
}

impl Led {
    /// Records from an offset on, and where to go on.
    fn fetch(
        &self,
        client: &mut dyn Client,
        offset: i64,
        max_bytes: i32,
    ) -> Result<Option<(Vec<FetchedRecord>, i64)>, BrokerError> {
        let want = Want { from: self.of.clone(), offset, max_bytes };
        let fetched = client.fetch(self.leader, &[want], Duration::from_millis(100), soon())?;
        let fetched = fetched.into_iter().next().transpose()?;
        Ok(fetched.map(|fetched| (fetched.records, fetched.next_offset)))
    }
}

fn soon() -> Instant {
    Instant::now() + CALL
}

/// Reads all records of a topic, as [`Scan::read`] does.
///
/// # Errors
/// As [`Scan::read`].
pub fn scan(
    client: &mut dyn Client,
    topic: &str,
    take: impl FnMut(i32, FetchedRecord),
) -> Result<bool, BrokerError> {
    Scan::new(topic).read(client, take)
}
