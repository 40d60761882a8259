//! The log reader follows `cron-runs`: it knows where its partitions are and where reading begins, reads on, and notices
//! when the log is not the one that it has read so far.
//!
//! It tells what the other parts must know of that as [`LogChange`]s.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::duties::Duties;
use super::ends::Ends;
use super::leases::Leases;
use super::notes::Note;
use super::step::Step;
use crate::common::bounds::FETCH_BYTES;
use crate::common::broker::{
    BrokerError, Client, Deadline, ErrorCode, Fetched, NodeId, Position, TopicPartition, TopicState, Want,
};
use crate::common::model::Event;
use crate::common::{topics, wire};

/// How often the tracker looks up who leads the partitions, and whether there are more.
const LOOK_UP: Duration = Duration::from_secs(10);
/// How long all the fetches of a step wait for something to be read.
const WAIT: Duration = Duration::from_millis(100);

/// What a fetch brought for a partition.
type Arrived = (i32, Result<Fetched, BrokerError>);

/// What was read from a partition.
#[derive(Debug)]
pub struct Read {
    /// The partition.
    pub partition: i32,
    /// The events that concern the clusters, each with its offset.
    pub events: Vec<(i64, Event)>,
    /// All below this has been read.
    pub next: i64,
}

/// A change of what is read.
#[derive(Debug, PartialEq, Eq)]
pub enum LogChange {
    /// Reading of a partition begins.
    Begun(i32),
    /// Events were deleted before they were read: those of a partition from the first offset up to the second.
    Gap(i32, i64, i64),
    /// `cron-runs` is not the log that was read so far: it was cut, or made anew. What it holds now, up to these ends by
    /// partition, is read from its start. Events that were never read may be gone.
    Another(BTreeMap<i32, i64>),
}

/// The reader of `cron-runs`.
#[derive(Debug, Default)]
pub struct LogReader {
    ends: Ends,
    /// What the last step's fetches brought, not yet taken.
    arrived: Vec<Arrived>,
    /// The id of the `cron-runs` that is followed.
    topic_id: Option<Uuid>,
    /// Partitions whose log does not have the offset where reading was to go on.
    astray: Vec<i32>,
    /// Whether the log turned out to be another one than the one that was read so far.
    is_another: bool,
    /// When to look up the partitions again; `None` means at once.
    look_up_at: Option<Instant>,
    /// What the other parts were not told yet.
    changes: Vec<LogChange>,
}

/// A partition of `cron-runs`.
pub fn partition_of(partition: i32) -> TopicPartition {
    TopicPartition { topic: topics::RUNS.to_owned(), partition }
}

fn offsets(
    step: &mut Step<'_>,
    partitions: impl Iterator<Item = i32>,
    position: Position,
) -> Result<BTreeMap<i32, i64>, BrokerError> {
    let (client, by) = (&mut step.client, step.by);
    partitions
        .map(|partition| Ok((partition, client.offset(&partition_of(partition), position, by)?)))
        .collect()
}

fn state_of_runs(client: &mut dyn Client, by: Deadline) -> Result<TopicState, BrokerError> {
    let missing = || BrokerError::NotSent(format!("topic {} does not exist", topics::RUNS));
    client.topic(topics::RUNS, by)?.ok_or_else(missing)
}

/// Looks up where the partitions that are followed end now.
///
/// # Errors
/// When a partition has no leader, or a broker refuses or does not answer.
pub fn ends_now(step: &mut Step<'_>, ends: &Ends) -> Result<BTreeMap<i32, i64>, BrokerError> {
    offsets(step, ends.partitions().keys().copied(), Position::End)
}

impl LogReader {
    /// How far the log has been read.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Whether the last fetches did not reach the end.
    pub fn is_behind(&self) -> bool {
        let behind = |(_, fetched): &Arrived| fetched.as_ref().is_ok_and(|f| f.next_offset < f.end_offset);
        self.arrived.iter().any(behind)
    }

    /// Takes what has changed since it was taken last.
    pub fn take_changes(&mut self) -> Vec<LogChange> {
        std::mem::take(&mut self.changes)
    }

    /// Takes what the fetches of the last step brought. The step began after they returned, so that no sign of life seems
    /// older than it is.
    pub fn take_arrived(&mut self, step: &mut Step<'_>) -> Vec<Read> {
        let mut all = Vec::new();
        for (partition, fetched) in std::mem::take(&mut self.arrived) {
            match fetched {
                Ok(fetched) => {
                    let mut events = Vec::new();
                    for record in &fetched.records {
                        let event = record.value.as_deref().map(wire::decode_event);
                        if let Some(Ok(event)) = event
                            && topics::concerns(&event, &step.options.clusters)
                        {
                            events.push((record.offset, event));
                        }
                    }
                    self.ends.read_to(partition, fetched.next_offset);
                    all.push(Read { partition, events, next: fetched.next_offset });
                }
                Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => self.astray.push(partition),
                Err(error) => {
                    step.note(Note::PartitionFailed { partition, error: error.clone() });
                    step.failed(Duties::Following, error);
                    self.look_up_soon();
                }
            }
        }
        all
    }

    /// Whether it is time to look up where the partitions are.
    pub fn is_look_up_due(&self, now: Instant) -> bool {
        self.look_up_at.is_none_or(|at| at <= now)
    }

    /// Has the partitions looked up in the next step.
    pub fn look_up_soon(&mut self) {
        self.look_up_at = None;
    }

    /// Looks up where the partitions are, and begins to follow new ones.
    ///
    /// # Errors
    /// When there is no such topic, or a broker refuses or does not answer.
    pub fn look_up(&mut self, step: &mut Step<'_>) -> Result<(), BrokerError> {
        let state = state_of_runs(step.client, step.by)?;
        let is_first = self.ends.is_empty();
        if self.topic_id != Some(state.id) && !is_first {
            self.start_anew(step, &state)?;
        }
        let begins = if is_first {
            begin(step, &state)?
        } else {
            // A partition that was added meanwhile is read whole.
            let is_new = |partition: &i32| !self.ends.partitions().contains_key(partition);
            offsets(step, state.partitions.iter().map(|p| p.partition).filter(is_new), Position::Start)?
        };
        for (partition, begin) in begins {
            self.ends.follow(partition, begin);
            self.changes.push(LogChange::Begun(partition));
        }
        for partition in state.partitions {
            self.ends.led_by(partition.partition, partition.leader);
        }
        (self.topic_id, self.look_up_at) = (Some(state.id), Some(step.now.mono + LOOK_UP));
        Ok(())
    }

    /// Starts again, because `cron-runs` is not the log that was read so far.
    fn start_anew(&mut self, step: &mut Step<'_>, state: &TopicState) -> Result<(), BrokerError> {
        let all = || state.partitions.iter().map(|p| p.partition);
        let begins = offsets(step, all(), Position::Start)?;
        let ends = offsets(step, all(), Position::End)?;
        self.ends.restart(&begins);
        self.changes.push(LogChange::Another(ends));
        self.is_another = false;
        self.astray.clear();
        Ok(())
    }

    /// Finds the way back into a log that does not have the offset where reading was to go on.
    ///
    /// # Errors
    /// When a partition has no leader, or a broker refuses or does not answer.
    pub fn find_back(&mut self, step: &mut Step<'_>) -> Result<(), BrokerError> {
        while let Some(partition) = self.astray.last().copied().filter(|_| !self.is_another) {
            let start = step.client.offset(&partition_of(partition), Position::Start, step.by)?;
            let end = step.client.offset(&partition_of(partition), Position::End, step.by)?;
            let next = self.ends.next(partition).unwrap_or(start);
            if next < start {
                self.ends.skip_to(partition, start);
                self.changes.push(LogChange::Gap(partition, next, start));
            }
            self.is_another |= next > end;
            self.astray.pop();
        }
        if self.is_another {
            let state = state_of_runs(step.client, step.by)?;
            self.start_anew(step, &state)?;
            self.topic_id = Some(state.id);
        }
        Ok(())
    }

    /// Notes where a record of ours was appended. One that lies below what was read shows that this is another log.
    pub fn was_appended(&mut self, partition: i32, offset: i64) {
        self.is_another |= offset < self.ends.next(partition).unwrap_or(0);
    }

    /// Reads on. What arrives is taken by the next step. `waits` says whether the fetches wait for messages that are still
    /// to come.
    pub fn fetch(&mut self, step: &mut Step<'_>, waits: bool) {
        let mut by_leader: BTreeMap<NodeId, Vec<Want>> = BTreeMap::new();
        for (partition, end) in self.ends.partitions() {
            if let Some(leader) = end.leader {
                let want = Want { from: partition_of(*partition), offset: end.next, max_bytes: FETCH_BYTES };
                by_leader.entry(leader).or_default().push(want);
            } else {
                let why = format!("{}/{partition} has no leader", topics::RUNS);
                step.failed(Duties::Following, BrokerError::NotSent(why));
                self.look_up_at = self.look_up_at.map(|at| at.min(step.by));
            }
        }
        let wait = if waits { WAIT } else { Duration::ZERO };
        let wait = wait / u32::try_from(by_leader.len()).unwrap_or(1).max(1);
        for (leader, wants) in by_leader {
            match step.client.fetch(leader, &wants, wait, step.by) {
                Ok(answers) => {
                    self.arrived.extend(wants.iter().map(|want| want.from.partition).zip(answers));
                }
                Err(error) => {
                    step.note(Note::FetchFailed { broker: leader, error: error.clone() });
                    step.failed(Duties::Following, error);
                    self.look_up_at = None;
                }
            }
        }
    }

    /// The offsets of `cron-runs` from which the next leader must read, so that it knows all that is under way. They
    /// are to be committed for the group `cron-leader` together with the cursors.
    pub fn must_be_read_from(&self, leases: &Leases) -> BTreeMap<i32, i64> {
        let from = |(partition, next): (&i32, i64)| {
            (*partition, leases.oldest_sign(*partition).map_or(next, |sign| sign.min(next)))
        };
        self.ends.partitions().iter().map(|(partition, end)| from((partition, end.next))).collect()
    }
}

/// Where reading begins: where the last leader said that its successor must, or else with all there is. If no
/// producer led meanwhile, it cannot be known how long ago an attempt was claimed whose consumer has died since.
fn begin(step: &mut Step<'_>, state: &TopicState) -> Result<BTreeMap<i32, i64>, BrokerError> {
    let all: Vec<TopicPartition> = state.partitions.iter().map(|p| partition_of(p.partition)).collect();
    let committed = step.client.committed(&step.options.group, &all, step.by)?;
    let mut begins = BTreeMap::new();
    for (from, committed) in all.iter().zip(committed) {
        let start = step.client.offset(from, Position::Start, step.by)?;
        let end = step.client.offset(from, Position::End, step.by)?;
        // An offset beyond the end is of a log that was cut or made anew since.
        let said = committed.map(|committed| committed.offset).filter(|offset| *offset <= end);
        let begin = said.map_or(start, |offset| offset.max(start));
        begins.insert(from.partition, begin);
    }
    Ok(begins)
}

#[cfg(test)]
mod tests;
