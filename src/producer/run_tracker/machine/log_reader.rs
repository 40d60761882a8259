//! Following `cron-runs`: where its partitions are and where reading begins, reading on, and the leader's beats.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lost_check::LostCheck;
use super::{Effect, RunTracker};
use crate::common::bounds::FETCH_BYTES;
use crate::common::broker::{
    BrokerError, Client, Deadline, ErrorCode, Fetched, NodeId, Position, ProduceBatch, Record,
    TopicPartition, TopicState, Want,
};
use crate::common::clock::Now;
use crate::common::model::Event;
use crate::common::outgoing::Outgoing;
use crate::common::{topics, wire};
use crate::producer::run_tracker::duties::Duties;
use crate::producer::run_tracker::history::History;

/// How often the tracker looks up who leads the partitions, and whether there are more.
const LOOK_UP: Duration = Duration::from_secs(10);
/// How long all the fetches of a step wait for something to be read.
const WAIT: Duration = Duration::from_millis(100);

/// What a fetch brought for a partition.
pub(super) type Arrived = (i32, Result<Fetched, BrokerError>);

fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: topics::RUNS.to_owned(), partition }
}

/// Offsets of partitions of `cron-runs`.
pub(super) fn offsets(
    client: &mut dyn Client,
    partitions: impl Iterator<Item = i32>,
    position: Position,
    by: Deadline,
) -> Result<BTreeMap<i32, i64>, BrokerError> {
    partitions.map(|partition| Ok((partition, client.offset(&of(partition), position, by)?))).collect()
}

impl RunTracker {
    /// Takes what the fetches of the last step brought. The caller read the instant after they returned, so that no
    /// sign of life seems older than it is.
    pub(super) fn take_arrived(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for (partition, fetched) in std::mem::take(&mut self.arrived) {
            match fetched {
                Ok(fetched) => {
                    for record in &fetched.records {
                        let event = record.value.as_deref().map(wire::decode_event);
                        if let Some(Ok(event)) = event
                            && topics::concerns(&event, &self.options.clusters)
                        {
                            self.take_event(&event, (partition, record.offset), now, effects);
                        }
                    }
                    self.ends.read_to(partition, fetched.next_offset, now.mono);
                }
                Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => self.astray.push(partition),
                Err(error) => {
                    log::debug!("{}/{partition}: {error}", topics::RUNS);
                    effects.push(Effect::Failed(Duties::Following, error));
                    self.look_up_at = None;
                }
            }
        }
    }

    /// Looks up where the partitions are, if that is unknown or was looked up long ago, and begins to follow new ones.
    pub(super) fn look_up(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        by: Deadline,
    ) -> Result<(), BrokerError> {
        let missing = || BrokerError::NotSent(format!("topic {} does not exist", topics::RUNS));
        let state = client.topic(topics::RUNS, by)?.ok_or_else(missing)?;
        let is_first = self.ends.partitions().is_empty();
        if self.topic_id != Some(state.id) && !is_first {
            self.start_anew(client, &state, now, by)?;
        }
        let is_new = |partition: &i32| !self.ends.partitions().contains_key(partition);
        let new = state.partitions.iter().map(|p| p.partition).filter(is_new);
        let begins = if is_first {
            self.begin(client, &state, by)?
        } else {
            // A partition that was added meanwhile is read whole.
            offsets(client, new, Position::Start, by)?
        };
        for (partition, begin) in begins {
            self.ends.follow(partition, begin, now.mono);
        }
        for partition in state.partitions {
            self.ends.led_by(partition.partition, partition.leader);
        }
        (self.topic_id, self.look_up_at) = (Some(state.id), Some(now.mono + LOOK_UP));
        Ok(())
    }

    /// Starts again, because `cron-runs` is not the log that was read so far: it was cut, or made anew. The tracker
    /// reads what it holds now from its start. Events that were never read may be gone, and no known attempt may be
    /// declared lost because of that: the tracker learns again of attempts under way when their consumers say that they
    /// are alive.
    fn start_anew(
        &mut self,
        client: &mut dyn Client,
        state: &TopicState,
        now: Now,
        by: Deadline,
    ) -> Result<(), BrokerError> {
        let all = || state.partitions.iter().map(|p| p.partition);
        let begins = offsets(client, all(), Position::Start, by)?;
        if self.history.is_some() {
            self.history = Some(History::until(offsets(client, all(), Position::End, by)?));
        }
        self.ends_when_asked = None;
        let (what, count) = (topics::RUNS, self.leases.count());
        log::error!(
            "{what} was cut or made anew: it is read from its start, and what became of {count} attempts under way is \
             not known until their consumers tell"
        );
        self.ends.restart(&begins, now.mono);
        self.leases.clear();
        self.miss_later(now.mono);
        (self.round, self.search, self.said_in, self.is_another) = (LostCheck::Idle, None, None, false);
        self.astray.clear();
        Ok(())
    }

    /// Where reading begins: where the last leader said that its successor must, or else with all there is. If no
    /// producer led meanwhile, it cannot be known how long ago an attempt was claimed whose consumer has died since.
    fn begin(
        &self,
        client: &mut dyn Client,
        state: &TopicState,
        by: Deadline,
    ) -> Result<BTreeMap<i32, i64>, BrokerError> {
        let all: Vec<TopicPartition> = state.partitions.iter().map(|p| of(p.partition)).collect();
        let committed = client.committed(&self.options.group, &all, by)?;
        let mut begins = BTreeMap::new();
        for (from, committed) in all.iter().zip(committed) {
            let start = client.offset(from, Position::Start, by)?;
            let end = client.offset(from, Position::End, by)?;
            // An offset beyond the end is of a log that was cut or made anew since.
            let said = committed.map(|committed| committed.offset).filter(|offset| *offset <= end);
            let begin = said.map_or(start, |offset| offset.max(start));
            begins.insert(from.partition, begin);
        }
        Ok(begins)
    }

    /// Finds the way back into a log that does not have the offset where reading was to go on.
    pub(super) fn find_back(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        by: Deadline,
    ) -> Result<(), BrokerError> {
        while let Some(partition) = self.astray.last().copied().filter(|_| !self.is_another) {
            let start = client.offset(&of(partition), Position::Start, by)?;
            let end = client.offset(&of(partition), Position::End, by)?;
            let next = self.ends.partitions().get(&partition).map_or(start, |end| end.next);
            if next < start {
                let gap = format!("offsets {next} to {start} of {}/{partition}", topics::RUNS);
                log::error!(
                    "{gap} were deleted before they were read; attempts under way may have ended there"
                );
                self.leases.clear();
                self.ends.skip_to(partition, start, now.mono);
            }
            self.is_another |= next > end;
            self.astray.pop();
        }
        if self.is_another {
            let missing = || BrokerError::NotSent(format!("topic {} does not exist", topics::RUNS));
            let state = client.topic(topics::RUNS, by)?.ok_or_else(missing)?;
            self.start_anew(client, &state, now, by)?;
            self.topic_id = Some(state.id);
        }
        Ok(())
    }

    /// Writes the beats that are due.
    pub(super) fn say_beats(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        by: Deadline,
        effects: &mut Vec<Effect>,
    ) {
        let due = self.ends.due(now.mono, self.beat_every());
        if due.is_empty() {
            return;
        }
        let batch = |(partition, number): &(i32, u64)| {
            let beat = Event::Beat { leader: self.options.name.clone(), number: *number, at: now.wall };
            let timestamp_ms = now.wall.timestamp_millis();
            let key = Some(topics::beat_key(&self.options.name, *partition));
            let record = Record { key, value: Some(wire::encode(&beat)), timestamp_ms };
            ProduceBatch { to: of(*partition), records: vec![record] }
        };
        let batches: Vec<ProduceBatch> = due.iter().map(batch).collect();
        for ((partition, _), written) in due.iter().zip(client.produce(&batches, by)) {
            match written {
                Ok(written) => {
                    // A beat that is appended below what was read shows that this is another log.
                    let next = self.ends.partitions().get(partition).map_or(0, |end| end.next);
                    self.is_another |= written.base_offset < next;
                    self.ends.beat(*partition, Some(written.base_offset), now.mono);
                }
                Err(error) => {
                    // The duty reports it if it lasts.
                    if self.ends.partitions().get(partition).is_some_and(|end| !end.failed) {
                        log::warn!("a beat on {}/{partition}: {error}; leases start anew", topics::RUNS);
                    }
                    effects.push(Effect::Failed(Duties::Beats, error));
                    self.ends.beat(*partition, None, now.mono);
                    self.look_up_at = None;
                }
            }
        }
    }

    /// Says which job file we have, for the leader to compare. If one message is not confirmed, the next follows.
    pub(super) fn say_file(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        by: Deadline,
        effects: &mut Vec<Effect>,
    ) {
        let (producer, revision) = (self.options.name.clone(), self.options.revision.to_string());
        let event = Event::Standby {
            producer,
            group: self.options.group.clone(),
            revision,
            tzdata: Some(self.options.tzdata.to_string()),
            at: now.wall,
        };
        let record = Outgoing::event(&event);
        self.undone.saying_file = false;
        for unwritten in self.writer.write(client, vec![record], now.wall.timestamp_millis(), by) {
            log::debug!("saying which job file we have: {}", unwritten.error);
            self.undone.saying_file = true;
            effects.push(Effect::Failed(Duties::StandingBy, unwritten.error));
        }
    }

    /// Reads on. What arrives is taken by the next step.
    pub(super) fn fetch(&mut self, client: &mut dyn Client, by: Deadline, effects: &mut Vec<Effect>) {
        let mut by_leader: BTreeMap<NodeId, Vec<Want>> = BTreeMap::new();
        for (partition, end) in self.ends.partitions() {
            if let Some(leader) = end.leader {
                let want = Want { from: of(*partition), offset: end.next, max_bytes: FETCH_BYTES };
                by_leader.entry(leader).or_default().push(want);
            } else {
                let why = format!("{}/{partition} has no leader", topics::RUNS);
                effects.push(Effect::Failed(Duties::Following, BrokerError::NotSent(why)));
                self.look_up_at = self.look_up_at.map(|at| at.min(by));
            }
        }
        // Reading the history must not wait for messages that are still to come.
        let wait = if self.history.is_some() { Duration::ZERO } else { WAIT };
        let wait = wait / u32::try_from(by_leader.len()).unwrap_or(1).max(1);
        for (leader, wants) in by_leader {
            match client.fetch(leader, &wants, wait, by) {
                Ok(answers) => {
                    self.arrived.extend(wants.iter().map(|want| want.from.partition).zip(answers));
                }
                Err(error) => {
                    log::debug!("reading {} from broker {leader}: {error}", topics::RUNS);
                    effects.push(Effect::Failed(Duties::Following, error));
                    self.look_up_at = None;
                }
            }
        }
    }
}
