//! What is read of Kafka: the records of the window and those that follow, the offsets of the clusters' topics and groups, and
//! which letters are open.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use chrono::DateTime;
use uuid::Uuid;

use super::messages::{Standing, Told};
use crate::common::bounds::FETCH_PARTITION_BYTES;
use crate::common::broker::{
    BrokerError, Client, Committed, ErrorCode, FetchedRecord, PartitionState, Position, TopicPartition, Want,
};
use crate::common::clock::monotonic;
use crate::common::holes;
use crate::common::model::{Attempt, ClusterName, Event, Place, RunId};
use crate::common::scan::Scan;
use crate::common::topics;
use crate::common::wire;
use crate::cronctl::dead;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(5);

/// How many open letters of a cluster are told apart. Those beyond are counted, and stay counted when they are put back.
const LETTERS: usize = 100_000;

/// A topic that is followed, also when it is deleted and made anew.
#[derive(Debug)]
struct Followed {
    topic: String,
    scan: Scan,
    id: Option<Uuid>,
}

impl Followed {
    fn new(topic: String) -> Self {
        Self { scan: Scan::new(&topic), topic, id: None }
    }

    /// Reads on.
    fn read(
        &mut self,
        client: &mut dyn Client,
        since_ms: Option<i64>,
        take: impl FnMut(i32, FetchedRecord),
    ) -> Result<(), BrokerError> {
        self.look_up(client, since_ms)?;
        self.scan.read(client, take)?;
        Ok(())
    }

    /// Looks the topic up. `true` where it is another one than before, which is then read from its start, or from an instant on.
    fn look_up(&mut self, client: &mut dyn Client, since_ms: Option<i64>) -> Result<bool, BrokerError> {
        let id = self.scan.topic_id(client)?;
        if id == self.id {
            return Ok(false);
        }
        self.scan = Scan::new(&self.topic);
        if let Some(since_ms) = since_ms {
            self.scan.skip_to(client, since_ms)?;
        }
        self.id = id;
        Ok(true)
    }
}

/// The letters of a cluster that were not put back.
#[derive(Debug)]
struct Letters {
    followed: Followed,
    open: BTreeSet<(i32, i64)>,
    beyond: i64,
}

impl Letters {
    fn new(cluster: &ClusterName) -> Self {
        Self { followed: Followed::new(topics::dead(cluster)), open: BTreeSet::new(), beyond: 0 }
    }

    fn count(&mut self, client: &mut dyn Client) -> Result<i64, BrokerError> {
        if self.followed.look_up(client, None)? {
            (self.open, self.beyond) = (BTreeSet::new(), 0);
        }
        let (open, beyond) = (&mut self.open, &mut self.beyond);
        self.followed.scan.read(client, |partition, record| {
            if let Some(mark) = dead::put_back(&record) {
                open.remove(&(partition, mark.letter_offset));
            } else if record.value.is_none() {
                // A tombstone is no letter.
            } else if open.len() < LETTERS {
                open.insert((partition, record.offset));
            } else {
                *beyond += 1;
            }
        })?;
        // An operator may have deleted some.
        if let Some(state) = client.topic(&self.followed.topic, soon())? {
            for PartitionState { partition, .. } in state.partitions {
                let of = TopicPartition { topic: self.followed.topic.clone(), partition };
                let start = client.offset(&of, Position::Start, soon())?;
                self.open.retain(|(lies_in, offset)| *lies_in != partition || *offset >= start);
            }
        }
        Ok(i64::try_from(self.open.len()).unwrap_or(i64::MAX).saturating_add(self.beyond))
    }
}

/// All that is read.
#[derive(Debug)]
pub struct Sources {
    since_ms: i64,
    events: Followed,
    clusters: Vec<(ClusterName, Followed, Letters)>,
    /// The unclaimed messages that were read last at the head of each partition.
    heads: HashMap<TopicPartition, i64>,
}

/// What a topic's offsets and its group's commits say.
#[derive(Debug, Default)]
struct Unclaimed {
    count: i64,
    /// The first message of each partition that no consumer has claimed.
    heads: Vec<(PartitionState, TopicPartition, i64)>,
}

impl Sources {
    /// Everything of these clusters that was written since an instant, in milliseconds since the epoch.
    pub fn new(clusters: &[ClusterName], since_ms: i64) -> Self {
        let followed = |cluster: &ClusterName| {
            (cluster.clone(), Followed::new(topics::first(cluster)), Letters::new(cluster))
        };
        Self {
            since_ms,
            events: Followed::new(topics::RUNS.to_owned()),
            clusters: clusters.iter().map(followed).collect(),
            heads: HashMap::new(),
        }
    }

    /// Reads what was written since the last look.
    ///
    /// # Errors
    /// When Kafka refuses or does not answer. What was taken before is not read again.
    pub fn read(&mut self, client: &mut dyn Client, mut take: impl FnMut(Told)) -> Result<(), BrokerError> {
        let since_ms = self.since_ms;
        for (_, messages, _) in &mut self.clusters {
            messages.read(client, Some(since_ms), |_, record| {
                if let Some(attempt) = attempt_of(&record).filter(|_| record.timestamp_ms >= since_ms) {
                    take(Told::Message(attempt));
                }
            })?;
        }
        self.events.read(client, Some(since_ms), |_, record| {
            let Some(Ok(mut event)) = record.value.as_deref().map(wire::decode_event) else { return };
            if record.timestamp_ms < since_ms {
                return;
            }
            // The output is shown with a run that is open, which is read anew.
            if let Event::Finished { output_tail, .. } = &mut event {
                *output_tail = String::new();
            }
            take(Told::Event(
                event,
                DateTime::from_timestamp_millis(record.timestamp_ms).unwrap_or_default(),
            ));
        })
    }

    /// Looks up where the clusters stand. Messages that no consumer has claimed since before the window are told.
    ///
    /// # Errors
    /// When Kafka refuses or does not answer.
    pub fn stand(
        &mut self,
        client: &mut dyn Client,
        mut take: impl FnMut(Told),
    ) -> Result<BTreeMap<ClusterName, Standing>, BrokerError> {
        let mut standings = BTreeMap::new();
        for (cluster, _, letters) in &mut self.clusters {
            let first = unclaimed(client, &topics::first(cluster))?;
            let retry = unclaimed(client, &topics::retry(cluster))?.unwrap_or_default();
            let standing = Standing {
                lag: first.as_ref().map_or(0, |first| first.count),
                retry_lag: retry.count,
                letters: letters.count(client)?,
                is_missing: first.is_none(),
                next: None,
            };
            standings.insert(cluster.clone(), standing);
            for (state, of, offset) in first.unwrap_or_default().heads {
                if self.heads.get(&of) != Some(&offset) {
                    let found = fetch(client, state, of.clone(), offset)?;
                    self.heads.insert(of, offset);
                    found
                        .as_ref()
                        .and_then(attempt_of)
                        .into_iter()
                        .for_each(|found| take(Told::Message(found)));
                }
            }
        }
        Ok(standings)
    }
}

/// The message of an attempt at its place; none where it is gone.
///
/// # Errors
/// When Kafka refuses or does not answer.
pub fn find(client: &mut dyn Client, run: RunId, place: &Place) -> Result<Told, BrokerError> {
    let of = TopicPartition { topic: place.topic.clone(), partition: place.partition };
    let state = client.topic(&place.topic, soon())?.filter(|state| state.id == place.topic_id);
    let state = state.and_then(|state| {
        state.partitions.into_iter().find(|partition| partition.partition == place.partition)
    });
    let Some(state) = state else { return Ok(Told::Found(run, None)) };
    let record = fetch(client, state, of, place.offset)?;
    Ok(Told::Found(run, record.as_ref().and_then(attempt_of)))
}

fn attempt_of(record: &FetchedRecord) -> Option<Attempt> {
    record.value.as_deref().and_then(|value| wire::decode_attempt(value).ok())
}

/// The record of an offset; none where it was deleted.
fn fetch(
    client: &mut dyn Client,
    state: PartitionState,
    from: TopicPartition,
    offset: i64,
) -> Result<Option<FetchedRecord>, BrokerError> {
    let want = Want { from, offset, max_bytes: FETCH_PARTITION_BYTES };
    match client.fetch_one(state.leader, want, Duration::from_millis(100), soon()) {
        Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => Ok(None),
        fetched => {
            let records = fetched?.map(|fetched| fetched.records).unwrap_or_default();
            Ok(records.into_iter().find(|record| record.offset == offset))
        }
    }
}

/// What no consumer of a topic has claimed; none where there is no such topic. Its consumers' group has its name.
fn unclaimed(client: &mut dyn Client, topic: &str) -> Result<Option<Unclaimed>, BrokerError> {
    let Some(state) = client.topic(topic, soon())? else { return Ok(None) };
    let of: Vec<TopicPartition> = state
        .partitions
        .iter()
        .map(|partition| TopicPartition { topic: topic.to_owned(), partition: partition.partition })
        .collect();
    let committed = client.committed(topic, &of, soon())?;
    let mut unclaimed = Unclaimed::default();
    for ((partition, of), committed) in state.partitions.iter().zip(of).zip(committed) {
        let end = client.offset(&of, Position::End, soon())?;
        let start = client.offset(&of, Position::Start, soon())?;
        let (count, head) = between(committed.as_ref(), state.id, start, end);
        unclaimed.count += count;
        unclaimed.heads.extend(head.map(|head| (*partition, of, head)));
    }
    Ok(Some(unclaimed))
}

/// How many messages of a partition are not claimed, and the first of them.
fn between(committed: Option<&Committed>, topic: Uuid, start: i64, end: i64) -> (i64, Option<i64>) {
    let Some(committed) = committed else { return (end - start, Some(start).filter(|start| *start < end)) };
    let holes = holes::decode(&committed.metadata, committed.offset).ok().flatten();
    // An offset of a topic that was made anew under its name means nothing.
    if holes.as_ref().is_some_and(|holes| holes.topic_id != topic) {
        return between(None, topic, start, end);
    }
    let from = committed.offset.clamp(start, end.max(start));
    let holes = holes.map(|holes| holes.offsets).unwrap_or_default();
    let count = i64::try_from(holes.range(start..).count()).unwrap_or(i64::MAX);
    let first = holes.range(start..).next().copied();
    ((end - from).saturating_add(count), first.or(Some(from).filter(|from| *from < end)))
}

fn soon() -> Instant {
    monotonic() + CALL
}

#[cfg(test)]
mod tests;
