//! The history: the part of `cron-runs` before the offset where following began, or has come to. It is read once and
//! piece by piece.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::ends::Ends;
use crate::common::bounds::FETCH_BYTES;
use crate::common::broker::{BrokerError, Client, Deadline, ErrorCode, Position, TopicPartition, Want};
use crate::common::model::{AttemptRef, ClusterName, Event};
use crate::common::{topics, wire};

/// A reader of the history.
#[derive(Debug, Default)]
pub struct History {
    next: BTreeMap<i32, i64>,
    /// The end of the history by partition; where there is none, the history ends where following began.
    until: BTreeMap<i32, i64>,
}

impl History {
    /// Creates a reader that also reads what was followed so far. The default reader leaves that out.
    pub fn until_now(ends: &Ends) -> Self {
        Self::until(ends.partitions().iter().map(|(partition, end)| (*partition, end.next)).collect())
    }

    /// Creates a reader of all below these offsets.
    pub fn until(until: BTreeMap<i32, i64>) -> Self {
        Self { next: BTreeMap::new(), until }
    }

    /// Reads on by one fetch, and returns what it says of these clusters. `None` when all has been read.
    ///
    /// # Errors
    /// When a partition has no leader, or a broker refuses or does not answer: ask again.
    pub fn read(
        &mut self,
        client: &mut dyn Client,
        ends: &Ends,
        clusters: &[ClusterName],
        by: Deadline,
    ) -> Result<Option<Vec<Event>>, BrokerError> {
        for (partition, end) in ends.partitions() {
            let from = TopicPartition { topic: topics::RUNS.to_owned(), partition: *partition };
            let next = match self.next.get(partition) {
                Some(next) => *next,
                None => client.offset(&from, Position::Start, by)?,
            };
            self.next.insert(*partition, next);
            let until = self.until.get(partition).copied().unwrap_or(end.began);
            if next >= until {
                continue;
            }
            let want = Want { from, offset: next, max_bytes: FETCH_BYTES };
            let fetched = match client.fetch_one(end.leader, want, Duration::ZERO, by) {
                // Retention may have deleted more meanwhile.
                Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => {
                    self.next.remove(partition);
                    return Ok(Some(Vec::new()));
                }
                fetched => fetched?,
            };
            let Some(fetched) = fetched else { continue };
            self.next.insert(*partition, fetched.next_offset);
            let below = fetched.records.into_iter().filter(|record| record.offset < until);
            let events = below.filter_map(|record| wire::decode_event(record.value.as_deref()?).ok());
            return Ok(Some(events.filter(|event| topics::concerns(event, clusters)).collect()));
        }
        Ok(None)
    }
}

/// Reads older parts of `cron-runs` for the ends of attempts of which only signs of life are known.
#[derive(Debug)]
pub struct Search {
    past: History,
    /// The attempts for which no end was found yet.
    pub open: HashSet<AttemptRef>,
    /// The attempts that have ended.
    pub ended: Vec<AttemptRef>,
}

impl Search {
    /// Creates a search for the ends of these attempts.
    pub fn new(attempts: impl IntoIterator<Item = AttemptRef>) -> Self {
        Self { past: History::default(), open: attempts.into_iter().collect(), ended: Vec::new() }
    }

    /// Looks on by one fetch. Returns whether all has been looked through.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn go_on(
        &mut self,
        client: &mut dyn Client,
        ends: &Ends,
        clusters: &[ClusterName],
        by: Deadline,
    ) -> Result<bool, BrokerError> {
        let Some(events) = self.past.read(client, ends, clusters, by)? else { return Ok(true) };
        for event in events {
            if let Event::Finished { attempt, .. }
            | Event::Lost { attempt, .. }
            | Event::Ended { attempt, .. } = event
                && self.open.remove(&attempt)
            {
                self.ended.push(attempt);
            }
        }
        Ok(self.open.is_empty())
    }
}
