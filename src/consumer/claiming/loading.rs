//! Where each assigned partition goes on: asks the broker, and `cron-runs` where the broker has forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::position::{Finding, LogEnds, Position, resume, without_claimed};
use crate::common::broker::{
    BrokerError, Client, Deadline, ErrorCode, Position as End, TopicPartition, Want,
};
use crate::common::words::{Event, Place};
use crate::common::{bounds, topics, wire};

/// A partition and where it goes on.
#[derive(Debug)]
pub struct Loaded {
    /// Its number.
    pub partition: i32,
    /// Whether the group has no offset for this log.
    pub is_new: bool,
    /// Its log.
    pub log: LogEnds,
    /// Where to go on.
    pub position: Position,
}

/// Looks up where partitions of `(topic, group)` go on. The committed offsets are read first and the logs' ends after
/// them, so that an end below an offset really means a log that was cut. A partition whose ends cannot be had now, for
/// it has no leader, is left out of the answer and holds up no other.
///
/// # Errors
/// The coordinator's refusal, or no answer about anything: ask again.
pub fn load(
    client: &mut dyn Client,
    (topic, group): (&str, &str),
    partitions: &[i32],
    on_record: &mut OnRecord,
    by: Deadline,
) -> Result<Vec<Loaded>, BrokerError> {
    let of: Vec<TopicPartition> =
        partitions.iter().map(|p| TopicPartition { topic: topic.to_owned(), partition: *p }).collect();
    let committed = client.committed(group, &of, by)?;
    let missing = || BrokerError::NotSent(format!("topic {topic} does not exist"));
    let topic_id = client.topic(topic, by)?.ok_or_else(missing)?.id;
    let mut all = Vec::with_capacity(of.len());
    for (of, committed) in of.iter().zip(committed) {
        match ends(client, of, by) {
            Ok((start, end)) => {
                let log = LogEnds { topic_id, start, end };
                let position = resume(committed.as_ref(), log);
                let made_anew = position.finding == Some(Finding::TopicMadeAnew);
                let is_new = committed.is_none() || made_anew;
                all.push(Loaded { partition: of.partition, is_new, log, position });
            }
            Err(error) => log::warn!("{topic}/{}: where it goes on: {error}; trying again", of.partition),
        }
    }
    // Ends are asked for by the topic's name: were they those of another topic by now, the id would be another, too.
    if client.topic(topic, by)?.ok_or_else(missing)?.id != topic_id {
        return Err(BrokerError::Refused(ErrorCode::InconsistentTopicId));
    }
    let forgotten = |loaded: &Loaded| loaded.position.finding.as_ref().is_some_and(Finding::has_no_offset);
    if all.iter().any(forgotten) {
        match on_record.read(client, topic, topic_id, by) {
            Ok(()) => {
                let none = BTreeSet::new();
                for loaded in all.iter_mut().filter(|loaded| forgotten(loaded)) {
                    let claimed = on_record.claims.get(&loaded.partition).unwrap_or(&none);
                    let finding = loaded.position.finding.take();
                    loaded.position = without_claimed(loaded.log, claimed, on_record.is_whole(), finding);
                }
            }
            Err(error) => {
                log::warn!("{topic}: what was claimed before: {error}; trying again");
                all.retain(|loaded| !forgotten(loaded));
            }
        }
    }
    Ok(all)
}

fn ends(client: &mut dyn Client, of: &TopicPartition, by: Deadline) -> Result<(i64, i64), BrokerError> {
    Ok((client.offset(of, End::Start, by)?, client.offset(of, End::End, by)?))
}

/// The claims that `cron-runs` knows of one topic, as far as they have been read. It may hold more than can be read
/// before a deadline: whoever asks again goes on where it stopped.
#[derive(Debug, Default)]
pub struct OnRecord {
    topic_id: Uuid,
    /// Where reading each partition of `cron-runs` goes on.
    next: BTreeMap<i32, i64>,
    /// Whether retention has deleted something of it before it was read.
    lacks_some: bool,
    claims: BTreeMap<i32, BTreeSet<i64>>,
}

impl OnRecord {
    /// Whether every claim that was ever written is known.
    fn is_whole(&self) -> bool {
        !self.lacks_some
    }

    /// Reads on to the end.
    fn read(
        &mut self,
        client: &mut dyn Client,
        topic: &str,
        topic_id: Uuid,
        by: Deadline,
    ) -> Result<(), BrokerError> {
        if self.topic_id != topic_id {
            *self = Self { topic_id, ..Self::default() };
        }
        let runs = client.topic(topics::RUNS, by)?;
        for state in runs.map(|runs| runs.partitions).unwrap_or_default() {
            let from = TopicPartition { topic: topics::RUNS.to_owned(), partition: state.partition };
            let leaderless = || BrokerError::NotSent(format!("{} has no leader", from.topic));
            let leader = state.leader.ok_or_else(leaderless)?;
            let (start, end) = ends(client, &from, by)?;
            let next = self.next.entry(state.partition).or_insert(0);
            self.lacks_some |= *next < start;
            *next = start.max(*next);
            while *next < end {
                let want = Want { from: from.clone(), offset: *next, max_bytes: bounds::FETCH_BYTES };
                let fetched = client.fetch(leader, &[want], Duration::from_millis(100), by)?;
                let Some(fetched) = fetched.into_iter().next().transpose()? else { break };
                for value in fetched.records.iter().filter_map(|record| record.value.as_deref()) {
                    if let Ok(Event::Claimed { place, .. }) = wire::decode_event(value)
                        && (place.topic.as_str(), place.topic_id) == (topic, topic_id)
                    {
                        self.claims.entry(place.partition).or_default().insert(place.offset);
                    }
                }
                *next = fetched.next_offset;
            }
        }
        Ok(())
    }
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
            log::warn!("{topic}/{partition}: the topic was made anew; reading what nobody has claimed of it");
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
