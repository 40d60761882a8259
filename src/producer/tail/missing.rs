//! Runs whose message was deleted before anybody had claimed it: nobody is to wait for them. That messages were deleted is
//! told by consumers, and not of which runs; and a run may stand in its topic more than once. So it is looked for: what
//! waits to be claimed, and has no message left that anybody would claim, is over – if, read after that, `cron-runs` says
//! nothing newer of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Act;
use super::machine::Tail;
use super::unfinished::Waiting;
use super::verdict::{Present, Verdict, verdict};
use crate::common::bounds::FETCH_BYTES;
use crate::common::broker::{
    BrokerError, Client, Committed, Deadline, ErrorCode, NodeId, Position, TopicPartition, Want,
};
use crate::common::clock::Now;
use crate::common::topics;
use crate::common::words::{Place, RunId};

/// After so long it is looked again: the log may have been cut below the targets.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs of which no message was found so far.
#[derive(Debug)]
pub(super) struct Missing {
    topic: String,
    runs: Vec<Waiting>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// In what the group of the topic has not passed. Its offsets were asked for before: what is claimed meanwhile counts
    /// as left.
    Looking { topic_id: Uuid, parts: Vec<Part> },
    /// `cron-runs` is to be read up to here before it counts.
    Reading { targets: BTreeMap<i32, i64>, until: Instant },
}

#[derive(Debug)]
struct Part {
    of: TopicPartition,
    leader: Option<NodeId>,
    next: i64,
    end: i64,
    committed: Option<Committed>,
}

impl Tail {
    /// Makes the next move, of one fetch at most.
    pub(super) fn look_for_missing(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        by: Deadline,
        acts: &mut Vec<Act>,
    ) -> Result<(), BrokerError> {
        if self.history.is_some() || self.ends.seen().is_none() {
            return Ok(());
        }
        let Some(mut missing) = self.missing.take().or_else(|| self.doubtful()) else { return Ok(()) };
        match missing.stage {
            Stage::Reading { targets, .. } if self.ends.has_read(&targets) => {
                self.are_missing(&missing.topic, missing.runs, now, acts);
                return Ok(());
            }
            Stage::Reading { until, .. } if until <= now.mono => {
                self.runs.doubt(missing.topic);
                return Ok(());
            }
            Stage::Reading { .. } => {}
            Stage::Looking { .. } => match self.look(client, &mut missing, now, by) {
                Ok(()) if missing.runs.is_empty() => return Ok(()),
                Ok(()) => {}
                Err(error) => {
                    self.runs.doubt(missing.topic);
                    return Err(error);
                }
            },
        }
        self.missing = Some(missing);
        Ok(())
    }

    /// What was looked for is looked for anew when this producer leads again.
    pub(super) fn miss_later(&mut self) {
        if let Some(missing) = self.missing.take() {
            self.runs.doubt(missing.topic);
        }
    }

    fn doubtful(&mut self) -> Option<Missing> {
        // Whether a claim counted is known when each attempt under way must have given a sign of life.
        let sees = self.ends.seen().map(|(from, seen)| seen.saturating_duration_since(from));
        let is_sure = sees.is_some_and(|sees| sees >= self.options.lease);
        if is_sure {
            self.runs.doubt_again();
        }
        let topic = self.runs.take_doubtful()?;
        let mut runs = self.runs.waiting_in(&topic, &self.leases.runs());
        if !is_sure && runs.iter().any(Waiting::is_claimed) {
            runs.retain(|waiting| !waiting.is_claimed());
            self.runs.doubt_later(topic.clone());
        }
        let stage = Stage::Looking { topic_id: Uuid::nil(), parts: Vec::new() };
        (!runs.is_empty()).then_some(Missing { topic, runs, stage })
    }

    fn are_missing(&mut self, topic: &str, runs: Vec<Waiting>, now: Now, acts: &mut Vec<Act>) {
        let under_way = self.leases.runs();
        for waiting in runs {
            if !self.runs.still_waits(&waiting, &under_way) {
                continue;
            }
            let Waiting { job, run, .. } = waiting;
            log::warn!("{topic}: run {run} of {job} was deleted before anybody had claimed it");
            self.runs.end(run, now.mono);
            acts.push(Act::Over { job: Some(job), run });
        }
    }

    /// Looks on, by one fetch.
    fn look(
        &self,
        client: &mut dyn Client,
        missing: &mut Missing,
        now: Now,
        by: Deadline,
    ) -> Result<(), BrokerError> {
        let Stage::Looking { topic_id, parts } = &mut missing.stage else { return Ok(()) };
        if parts.is_empty() {
            (*topic_id, *parts) = find(client, &missing.topic, by)?;
        }
        if let Some(part) = parts.iter_mut().find(|part| part.next < part.end) {
            let found = part.read(client, *topic_id, by)?;
            missing.runs.retain(|waiting| !found.contains(&waiting.run));
            return Ok(());
        }
        let mut targets = BTreeMap::new();
        for partition in self.ends.partitions().keys() {
            let of = TopicPartition { topic: topics::RUNS.to_owned(), partition: *partition };
            targets.insert(*partition, client.offset(&of, Position::End, by)?);
        }
        missing.stage = Stage::Reading { targets, until: now.mono + PATIENCE };
        Ok(())
    }
}

/// What is to be looked through of a topic, with its id; nothing where there is no such topic.
fn find(client: &mut dyn Client, topic: &str, by: Deadline) -> Result<(Uuid, Vec<Part>), BrokerError> {
    let Some(state) = client.topic(topic, by)? else { return Ok((Uuid::nil(), Vec::new())) };
    let of = |partition| TopicPartition { topic: topic.to_owned(), partition };
    let all: Vec<TopicPartition> = state.partitions.iter().map(|p| of(p.partition)).collect();
    let committed = client.committed(topic, &all, by)?;
    let mut parts = Vec::with_capacity(all.len());
    for ((of, committed), partition) in all.into_iter().zip(committed).zip(state.partitions) {
        let next = client.offset(&of, Position::Start, by)?;
        let end = client.offset(&of, Position::End, by)?;
        parts.push(Part { of, leader: partition.leader, next, end, committed });
    }
    Ok((state.id, parts))
}

impl Part {
    /// The runs of some messages that the group has not passed.
    fn read(
        &mut self,
        client: &mut dyn Client,
        topic_id: Uuid,
        by: Deadline,
    ) -> Result<Vec<RunId>, BrokerError> {
        let TopicPartition { topic, partition } = &self.of;
        let leaderless = || BrokerError::NotSent(format!("{topic}/{partition} has no leader"));
        let leader = self.leader.ok_or_else(leaderless)?;
        let want = Want { from: self.of.clone(), offset: self.next, max_bytes: FETCH_BYTES };
        let fetched = client.fetch(leader, &[want], Duration::ZERO, by)?.into_iter().next();
        let fetched = match fetched.transpose() {
            // Retention goes on meanwhile.
            Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => {
                self.next = client.offset(&self.of, Position::Start, by)?;
                return Ok(Vec::new());
            }
            fetched => fetched?,
        };
        let Some(fetched) = fetched else { return Ok(Vec::new()) };
        self.next = fetched.next_offset;
        let committed = self.committed.as_ref();
        let is_left = |offset| {
            let place = Place { topic: topic.clone(), topic_id, partition: *partition, offset };
            verdict(&place, Present { topic_id, start: 0, committed }) == Verdict::Open
        };
        let left = fetched.records.into_iter().filter(|record| is_left(record.offset));
        let run = |key: &[u8]| std::str::from_utf8(key).ok()?.parse().ok();
        Ok(left.filter_map(|record| run(record.key.as_deref()?)).collect())
    }
}
