//! Reading a topic from its start, or from some time on, to the end that it has now; and going on from there.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::bounds::FETCH_BYTES;
use super::broker::{
    BrokerError, Client, Fetched, FetchedRecord, NodeId, PartitionState, Position, TopicPartition, Want,
};
use super::clock::monotonic;

/// How long one call may take. The whole may take as long as the topic is large.
const CALL: Duration = Duration::from_secs(5);

/// How long a fetch waits behind which a transaction may be open.
const OPEN: Duration = Duration::from_secs(1);

/// How often a fetch that a quota holds back is tried again: for half a minute.
const HELD_BACK: u32 = 300;

/// A topic that is being read.
#[derive(Debug, Clone)]
pub struct Scan {
    topic: String,
    /// Where each partition is read on.
    next: BTreeMap<i32, i64>,
    /// Whether what a transaction has not committed is left out.
    committed_only: bool,
}

/// A partition at its leader.
struct Led {
    of: TopicPartition,
    leader: Option<NodeId>,
    committed_only: bool,
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
        Self { topic: topic.to_owned(), next: BTreeMap::new(), committed_only: false }
    }

    /// Creates a scan that reads as consumers do: without what was written in a transaction that was aborted, and in each
    /// partition up to the first one that is still open.
    pub fn of_committed(topic: &str) -> Self {
        Self { committed_only: true, ..Self::new(topic) }
    }

    /// The id of the topic; `None` when there is no such topic.
    ///
    /// # Errors
    /// When a broker refuses or does not answer.
    pub fn topic_id(&self, client: &mut dyn Client) -> Result<Option<Uuid>, BrokerError> {
        Ok(client.topic(&self.topic, soon())?.map(|state| state.id))
    }

    /// Reads the records not read yet, partition by partition, up to the ends that the partitions have when their turn
    /// comes. `false` when there is no such topic. Batches that cannot be decoded are passed over.
    ///
    /// # Errors
    /// When a partition has no leader, or a broker refuses or does not answer.
    pub fn read(
        &mut self,
        client: &mut dyn Client,
        take: impl FnMut(i32, FetchedRecord),
    ) -> Result<bool, BrokerError> {
        self.read_below(client, &BTreeMap::new(), take)
    }

    /// Reads as [`Self::read`] does, and of the partitions that are named here only what lies below these offsets.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_below(
        &mut self,
        client: &mut dyn Client,
        below: &BTreeMap<i32, i64>,
        mut take: impl FnMut(i32, FetchedRecord),
    ) -> Result<bool, BrokerError> {
        self.read_while(client, below, |partition, record| {
            take(partition, record);
            ControlFlow::Continue(())
        })
    }

    /// Reads as [`Self::read_below`] does, until `take` breaks off. What was fetched with the record at which it did is not
    /// read again.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_while(
        &mut self,
        client: &mut dyn Client,
        below: &BTreeMap<i32, i64>,
        mut take: impl FnMut(i32, FetchedRecord) -> ControlFlow<()>,
    ) -> Result<bool, BrokerError> {
        let Some(partitions) = self.partitions(client)? else { return Ok(false) };
        for partition in partitions {
            let led = self.led(&partition);
            let end = client.offset(&led.of, Position::End, soon())?;
            let below = below.get(&partition.partition).copied().unwrap_or(i64::MAX);
            let start = client.offset(&led.of, Position::Start, soon())?;
            let next = self.next.entry(partition.partition).or_insert(start);
            *next = (*next).max(start);
            while *next < end.min(below) {
                let Some((records, after)) = led.fetch(client, *next, FETCH_BYTES)? else { break };
                if after == *next {
                    break; // a transaction is open, or the log was cut
                }
                *next = after;
                let mut records = records.into_iter().filter(|record| record.offset < below);
                if records.try_for_each(|record| take(partition.partition, record)).is_break() {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// The partitions that were not read up to these ends, and where each is read on: behind a transaction that is open.
    pub fn short_of(&self, ends: &BTreeMap<i32, i64>) -> Vec<(i32, i64)> {
        let next = |partition: &i32| self.next.get(partition).copied().unwrap_or(0);
        let short = ends.iter().filter(|(partition, end)| next(partition) < **end);
        short.map(|(partition, _)| (*partition, next(partition))).collect()
    }

    /// Where each partition is read on, as far as that is known.
    pub fn places(&self) -> &BTreeMap<i32, i64> {
        &self.next
    }

    /// Where the partitions end now; none where there is no such topic.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn ends(&self, client: &mut dyn Client) -> Result<BTreeMap<i32, i64>, BrokerError> {
        let partitions = self.partitions(client)?.unwrap_or_default();
        let end = |partition: PartitionState| {
            let end = client.offset(&self.led(&partition).of, Position::End, soon())?;
            Ok((partition.partition, end))
        };
        partitions.into_iter().map(end).collect()
    }

    /// Reads on, and stops after the first fetch that brings something, so that the caller can use the client in between.
    /// Nothing when all records below `ends` have been read. Each record comes with its partition.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_some(
        &mut self,
        client: &mut dyn Client,
        ends: &BTreeMap<i32, i64>,
    ) -> Result<Vec<(i32, FetchedRecord)>, BrokerError> {
        for partition in self.partitions(client)?.unwrap_or_default() {
            let Some(end) = ends.get(&partition.partition) else { continue };
            let led = self.led(&partition);
            if self.next.get(&partition.partition).is_some_and(|next| next >= end) {
                continue;
            }
            let start = client.offset(&led.of, Position::Start, soon())?;
            let next = self.next.entry(partition.partition).or_insert(start);
            *next = (*next).max(start);
            while *next < *end {
                let Some((records, after)) = led.fetch(client, *next, FETCH_BYTES)? else { break };
                if after == *next {
                    break; // the log was cut
                }
                *next = after;
                let below = records.into_iter().filter(|record| record.offset < *end);
                let records: Vec<_> = below.map(|record| (partition.partition, record)).collect();
                if !records.is_empty() {
                    return Ok(records);
                }
            }
        }
        Ok(Vec::new())
    }

    /// Passes over what was written before an instant, in milliseconds since the epoch, as far as the brokers' index
    /// tells: some of it may be read all the same.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn skip_to(&mut self, client: &mut dyn Client, since_ms: i64) -> Result<(), BrokerError> {
        for partition in self.partitions(client)?.unwrap_or_default() {
            let led = self.led(&partition);
            let at = client.offset(&led.of, Position::Since(since_ms), soon())?;
            self.next.insert(partition.partition, at);
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
            let led = self.led(&partition);
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

    fn led(&self, partition: &PartitionState) -> Led {
        let PartitionState { partition, leader, .. } = *partition;
        let of = TopicPartition { topic: self.topic.clone(), partition };
        Led { of, leader, committed_only: self.committed_only }
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
        let mut tries = 0;
        let fetched = loop {
            let want = Want { from: self.of.clone(), offset, max_bytes };
            match self.fetch_once(client, want) {
                // The call has waited for a tenth of a second: a large topic takes as long as a quota makes it take.
                Err(BrokerError::Throttled(_)) if tries < HELD_BACK => tries += 1,
                answer => break answer?,
            }
        };
        Ok(fetched.map(|fetched| (fetched.records, fetched.next_offset)))
    }

    fn fetch_once(&self, client: &mut dyn Client, want: Want) -> Result<Option<Fetched>, BrokerError> {
        match self.leader.filter(|_| self.committed_only) {
            // At an open transaction it waits for as long as it takes to be sure.
            Some(leader) => {
                client.fetch_committed(leader, &[want], OPEN, soon())?.into_iter().next().transpose()
            }
            None => client.fetch_one(self.leader, want, Duration::from_millis(100), soon()),
        }
    }
}

fn soon() -> Instant {
    monotonic() + CALL
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::common::broker::memory::MemoryBroker;
    use crate::common::broker::{Broker, ProduceBatch, Record};
    use crate::common::clock::SystemClock;
    use crate::common::topics::TopicSpec;

    /// A topic of two partitions; record `n` of the first was written at millisecond `10 * n`.
    fn topic(records: i64) -> (MemoryBroker, Box<dyn Client>) {
        let broker = MemoryBroker::new(Arc::new(SystemClock));
        let mut client = broker.client("test");
        let (name, settings) = ("t".to_owned(), Vec::new());
        client
            .create_topic(&TopicSpec { name, partitions: 2, replication_factor: 1, settings }, soon())
            .unwrap();
        write(client.as_mut(), 0..records);
        (broker, client)
    }

    fn write(client: &mut dyn Client, numbers: std::ops::Range<i64>) {
        let to = TopicPartition { topic: "t".to_owned(), partition: 0 };
        let record = |n: i64| Record { key: None, value: Some(n.to_string().into()), timestamp_ms: 10 * n };
        for number in numbers {
            client.produce(&[ProduceBatch { to: to.clone(), records: vec![record(number)] }], soon())[0]
                .as_ref()
                .unwrap();
        }
    }

    fn offsets(scan: &mut Scan, client: &mut dyn Client) -> Vec<i64> {
        let mut offsets = Vec::new();
        assert!(scan.read(client, |_, record| offsets.push(record.offset)).unwrap());
        offsets
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        let (_broker, mut client) = topic(5);
        let mut scan = Scan::new("t");
        assert_eq!(offsets(&mut scan, client.as_mut()), [0, 1, 2, 3, 4]);
        assert_eq!(offsets(&mut scan, client.as_mut()), [0; 0]);
        write(client.as_mut(), 5..7);
        assert_eq!(offsets(&mut scan, client.as_mut()), [5, 6]);
        assert!(!Scan::new("elsewhere").read(client.as_mut(), |_, _| ()).unwrap());
    }

    #[test]
    fn reading_ends_where_it_is_broken_off() {
        let (broker, mut client) = topic(5);
        let mut offsets = Vec::new();
        let broken_off = Scan::new("t").read_while(client.as_mut(), &BTreeMap::new(), |_, record| {
            offsets.push(record.offset);
            if record.offset == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((broken_off, offsets), (Ok(true), vec![0, 1, 2]));
        assert_eq!(broker.faults().made(crate::common::broker::memory::Call::Fetch), 1);
    }

    #[test]
    fn what_is_read_in_parts_ends_where_the_topic_ended_at_first() {
        let (_broker, mut client) = topic(5);
        let mut scan = Scan::new("t");
        let ends = scan.ends(client.as_mut()).unwrap();
        let mut offsets = Vec::new();
        loop {
            let some = scan.read_some(client.as_mut(), &ends).unwrap();
            if some.is_empty() {
                break;
            }
            offsets.extend(some.iter().map(|(_, record)| record.offset));
            write(client.as_mut(), 5..7);
        }
        assert_eq!(offsets, [0, 1, 2, 3, 4]);
        assert_eq!(Scan::new("elsewhere").ends(client.as_mut()).unwrap(), BTreeMap::new());
        assert_eq!(Scan::new("elsewhere").read_some(client.as_mut(), &ends).unwrap(), []);
    }

    #[test]
    fn a_search_for_a_time_passes_over_nothing_younger() {
        let (_broker, mut client) = topic(5_000);
        for number in [0, 1, 499, 2_500, 4_321, 4_999, 6_000] {
            let mut scan = Scan::new("t");
            scan.skip_to(client.as_mut(), 10 * number).unwrap();
            let read = offsets(&mut scan, client.as_mut());
            assert_eq!(read, (number..5_000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_records_say_whether_others_stood_before_them() {
        let (broker, mut client) = topic(3);
        let check = |client: &mut dyn Client, expected: [(bool, Option<i64>); 2]| {
            let firsts = Scan::new("t").firsts(client).unwrap();
            let found: Vec<_> =
                firsts.iter().map(|first| (first.cut, first.record.as_ref().map(|r| r.offset))).collect();
            assert_eq!(found, expected);
        };
        check(client.as_mut(), [(false, Some(0)), (false, None)]);
        let of = TopicPartition { topic: "t".to_owned(), partition: 0 };
        broker.faults().delete_records(&of, 2);
        check(client.as_mut(), [(true, Some(2)), (false, None)]);
    }
}
