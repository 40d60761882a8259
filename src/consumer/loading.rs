//! Where each assigned partition goes on: asks the broker, and `cron-runs` where the broker has forgotten.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::position::{Finding, LogEnds, Position, resume, without_claimed};
use crate::common::broker::{BrokerError, Client, Deadline, Position as End, TopicPartition};
use crate::common::scan::scan;
use crate::common::words::{Event, Place};
use crate::common::{topics, wire};

/// A partition and where it goes on.
#[derive(Debug)]
pub struct Loaded {
    /// Its number.
    pub partition: i32,
    /// Its log.
    pub log: LogEnds,
    /// Where to go on.
    pub position: Position,
}

/// Looks up where partitions of `(topic, group)` go on. The committed offsets are read first and the logs' ends after
/// them, so that an end below an offset really means a log that was cut.
///
/// # Errors
/// The broker's refusal, or no answer: ask again.
pub fn load(
    client: &mut dyn Client,
    (topic, group): (&str, &str),
    partitions: &[i32],
    by: Deadline,
) -> Result<Vec<Loaded>, BrokerError> {
    let of: Vec<TopicPartition> =
        partitions.iter().map(|p| TopicPartition { topic: topic.to_owned(), partition: *p }).collect();
    let committed = client.committed(group, &of, by)?;
    let missing = || BrokerError::NotSent(format!("topic {topic} does not exist"));
    let topic_id = client.topic(topic, by)?.ok_or_else(missing)?.id;
    let mut all = Vec::with_capacity(of.len());
    for (of, committed) in of.iter().zip(committed) {
        let start = client.offset(of, End::Start, by)?;
        let end = client.offset(of, End::End, by)?;
        let log = LogEnds { topic_id, start, end };
        all.push(Loaded { partition: of.partition, log, position: resume(committed.as_ref(), log) });
    }
    if all.iter().any(|loaded| loaded.position.finding == Some(Finding::NoOffset)) {
        let claimed = claims_on_record(client, topic, topic_id)?;
        let none = BTreeSet::new();
        for loaded in all.iter_mut().filter(|loaded| loaded.position.finding == Some(Finding::NoOffset)) {
            loaded.position = without_claimed(loaded.log, claimed.get(&loaded.partition).unwrap_or(&none));
        }
    }
    Ok(all)
}

/// All claims of a topic that `cron-runs` knows, by partition.
fn claims_on_record(
    client: &mut dyn Client,
    topic: &str,
    topic_id: Uuid,
) -> Result<BTreeMap<i32, BTreeSet<i64>>, BrokerError> {
    let mut claims: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
    scan(client, topics::RUNS, |_, record| {
        if let Some(Ok(Event::Claimed { place, .. })) = record.value.as_deref().map(wire::decode_event)
            && (place.topic.as_str(), place.topic_id) == (topic, topic_id)
        {
            claims.entry(place.partition).or_default().insert(place.offset);
        }
    })?;
    Ok(claims)
}

/// The event for a finding at `place`, where it has one; the rest is told in the log.
pub fn event(finding: &Finding, place: Place, at: DateTime<Utc>) -> Option<Event> {
    let Place { topic, partition, .. } = &place;
    match finding {
        Finding::DeletedUnread { from, to, count } => {
            log::error!("{topic}/{partition}: {count} messages from offset {from} on were deleted unread");
            let place = Place { offset: *from, ..place };
            Some(Event::DeletedUnread { place, next_offset: *to, at })
        }
        Finding::Truncated { committed, end } => {
            log::error!("{topic}/{partition}: the log ends at {end}, below the committed offset {committed}");
            let place = Place { offset: *committed, ..place };
            Some(Event::Truncated { place, end_offset: *end, at })
        }
        Finding::TopicMadeAnew => {
            log::warn!("{topic}/{partition}: the topic was made anew; reading it from its start");
            None
        }
        Finding::NoOffset => {
            log::info!(
                "{topic}/{partition}: no committed offset; what cron-runs shows as claimed is left out"
            );
            None
        }
        Finding::UnreadableHoles(error) => {
            log::warn!("{topic}/{partition}: {error}; going on from the offset alone");
            None
        }
    }
}
