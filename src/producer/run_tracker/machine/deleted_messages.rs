//! Runs whose next message no consumer will claim, so that no tick must wait for them. The message was deleted, by
//! retention or with its topic; or the group's offset has passed it without a claim, because an operator set it forward
//! or the message could not be read.
//!
//! Consumers tell that messages were deleted, but not of which runs; the other cases are not told at all. Therefore the
//! leader looks from time to time for runs that have waited for long. A run may stand in its topic more than once. A
//! run that waits to be claimed, and has no message left that a consumer would claim, is over if `cron-runs`, read
//! after that, says nothing newer of it. The leader puts that on record (`ended`), and every producer takes it from
//! there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Effect, RunTracker};
use crate::common::bounds::FETCH_BYTES;
use crate::common::broker::{
    BrokerError, Client, Committed, Deadline, ErrorCode, NodeId, Position, TopicPartition, Want,
};
use crate::common::clock::Now;
use crate::common::model::{AttemptRef, EndReason, Event, Place, RunId};
use crate::common::outgoing::Outgoing;
use crate::common::{holes, topics};
use crate::producer::run_tracker::open_runs::{OpenRun, Waiting};
use crate::producer::run_tracker::verdict::{Present, Verdict, verdict};

/// How long a search may take before it starts again: the log may have been cut below the targets.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the tracker waits before it looks again after a call failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs of which no message was found so far.
#[derive(Debug)]
pub(in crate::producer::run_tracker) struct DeletedMessages {
    topic: String,
    runs: Vec<Waiting>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The tracker looks through the messages that the topic's group has not passed. It asked for the group's offsets
    /// before: a message that is claimed meanwhile counts as left.
    Looking { topic_id: Uuid, parts: Vec<Part> },
    /// The tracker must read `cron-runs` up to these targets before the finding counts.
    Reading { targets: BTreeMap<i32, i64>, until: Instant },
}

#[derive(Debug)]
struct Part {
    of: TopicPartition,
    leader: Option<NodeId>,
    start: i64,
    next: i64,
    end: i64,
    committed: Option<Committed>,
}

impl RunTracker {
    /// Makes the next move, of one fetch at most.
    pub(super) fn look_for_missing(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        by: Deadline,
        effects: &mut Vec<Effect>,
    ) -> Result<(), BrokerError> {
        if self.history.is_some() || self.ends.seen().is_none() {
            return Ok(());
        }
        let Some(mut missing) = self.missing.take().or_else(|| self.doubtful(now.mono)) else {
            self.undone.looking_for_runs &= self.runs.is_doubtful();
            return Ok(());
        };
        match &missing.stage {
            Stage::Reading { targets, .. } if self.ends.has_read(targets) => {
                self.are_missing(client, missing, now, by, effects);
                return Ok(());
            }
            Stage::Reading { until, .. } if *until <= now.mono => {
                self.runs.doubt(missing.topic, now.mono);
                return Ok(());
            }
            Stage::Reading { .. } => {}
            Stage::Looking { .. } => match self.look(client, &mut missing, now, by) {
                Ok(()) if missing.runs.is_empty() => {
                    self.undone.looking_for_runs = false;
                    return Ok(());
                }
                Ok(()) => {}
                Err(error) => {
                    self.runs.doubt(missing.topic, now.mono + AGAIN);
                    return Err(error);
                }
            },
        }
        self.missing = Some(missing);
        Ok(())
    }

    /// Makes the tracker look again, when this producer leads again, for what it was looking for.
    pub(super) fn miss_later(&mut self, now: Instant) {
        if let Some(missing) = self.missing.take() {
            self.runs.doubt(missing.topic, now);
        }
    }

    fn doubtful(&mut self, now: Instant) -> Option<DeletedMessages> {
        let under_way = self.leases.runs();
        // Whether a claim counted is known when each attempt under way must have given a sign of life.
        let sees = self.ends.seen().map(|(from, seen)| seen.saturating_duration_since(from));
        let is_sure = sees.is_some_and(|sees| sees >= self.options.lease);
        if is_sure {
            self.runs.doubt_again(now);
        }
        let topic = self.runs.take_doubtful(now)?;
        let mut runs = self.runs.waiting_in(&topic, &under_way);
        if !is_sure && runs.iter().any(Waiting::is_claimed) {
            runs.retain(|waiting| !waiting.is_claimed());
            self.runs.doubt_later(topic.clone());
        }
        let stage = Stage::Looking { topic_id: Uuid::nil(), parts: Vec::new() };
        (!runs.is_empty()).then_some(DeletedMessages { topic, runs, stage })
    }

    /// Puts on record that runs are over. They are over once that is read, by us and by the next leader.
    fn are_missing(
        &mut self,
        client: &mut dyn Client,
        missing: DeletedMessages,
        now: Now,
        by: Deadline,
        effects: &mut Vec<Effect>,
    ) {
        let under_way = self.leases.runs();
        let mut records = Vec::new();
        for waiting in missing.runs {
            if !self.runs.still_waits(&waiting, &under_way) {
                continue;
            }
            let attempt = AttemptRef { run: waiting.run.run, attempt: waiting.last_attempt() };
            let Waiting { run: OpenRun { job, run, scheduled_at }, cluster, .. } = waiting;
            let detail = format!(
                "no message of it is left in {} that a consumer would claim: it was deleted, or the group's offset has \
                 passed it without a claim",
                missing.topic
            );
            log::warn!("{cluster}: run {run} of {job} will not be run: {detail}");
            effects.push(Effect::Unclaimable(cluster.clone()));
            let (reason, at) = (EndReason::Unclaimable, now.wall);
            let by = self.options.name.clone();
            let event = Event::Ended { attempt, job, cluster, scheduled_at, reason, detail, by, at };
            records.push(Outgoing::event(&event));
        }
        let (unwritten, _) = self.write(client, records, now, by, effects);
        self.undone.looking_for_runs = !unwritten.is_empty();
        if !unwritten.is_empty() {
            self.runs.doubt(missing.topic, now.mono + AGAIN);
        }
    }

    /// Looks on, by one fetch.
    fn look(
        &self,
        client: &mut dyn Client,
        missing: &mut DeletedMessages,
        now: Now,
        by: Deadline,
    ) -> Result<(), BrokerError> {
        let Stage::Looking { topic_id, parts } = &mut missing.stage else { return Ok(()) };
        if parts.is_empty() {
            (*topic_id, *parts) = find(client, &missing.topic, by)?;
            // Most runs that wait for long have their messages where they were read to lie, and their consumers are
            // away.
            missing
                .runs
                .retain(|waiting| !waiting.place.as_ref().is_some_and(|at| is_left(at, *topic_id, parts)));
            if missing.runs.is_empty() {
                return Ok(());
            }
        }
        if let Some(part) = parts.iter_mut().find(|part| part.next < part.end) {
            let found = part.read(client, *topic_id, by)?;
            missing.runs.retain(|waiting| !found.contains(&waiting.run.run));
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

/// Whether a message waits where it was read to lie.
fn is_left(place: &Place, topic_id: Uuid, parts: &[Part]) -> bool {
    let part = parts.iter().find(|part| part.of.partition == place.partition);
    part.is_some_and(|part| {
        let present = Present { topic_id, start: part.start, committed: part.committed.as_ref() };
        place.offset < part.end && verdict(place, present) == Verdict::Open
    })
}

/// Finds which part of a topic is to be searched, and the topic's id: the messages that the group has not passed.
fn find(client: &mut dyn Client, topic: &str, by: Deadline) -> Result<(Uuid, Vec<Part>), BrokerError> {
    // A topic that is missing may only be out of sight, and is made anew before long.
    let missing = || BrokerError::NotSent(format!("topic {topic} does not exist"));
    let state = client.topic(topic, by)?.ok_or_else(missing)?;
    let of = |partition| TopicPartition { topic: topic.to_owned(), partition };
    let all: Vec<TopicPartition> = state.partitions.iter().map(|p| of(p.partition)).collect();
    let committed = client.committed(topic, &all, by)?;
    let mut parts = Vec::with_capacity(all.len());
    for ((of, committed), partition) in all.into_iter().zip(committed).zip(state.partitions) {
        let start = client.offset(&of, Position::Start, by)?;
        let end = client.offset(&of, Position::End, by)?;
        let next = committed.as_ref().map_or(start, |committed| first_left(committed, state.id)).max(start);
        parts.push(Part { of, leader: partition.leader, start, next, end, committed });
    }
    Ok((state.id, parts))
}

/// The first offset that the group has not passed.
fn first_left(committed: &Committed, topic_id: Uuid) -> i64 {
    match holes::decode(&committed.metadata, committed.offset) {
        Ok(Some(holes)) if holes.topic_id != topic_id => 0,
        Ok(Some(holes)) => holes.offsets.first().copied().unwrap_or(committed.offset),
        Ok(None) | Err(_) => committed.offset,
    }
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
        let want = Want { from: self.of.clone(), offset: self.next, max_bytes: FETCH_BYTES };
        let fetched = match client.fetch_one(self.leader, want, Duration::ZERO, by) {
            // Retention may have deleted more meanwhile.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_that_a_group_has_not_passed_begin_with_its_first_hole_or_at_its_offset() {
        let (ours, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let text = |id: Uuid, holes: &[i64]| holes::encode(id, 9, &holes.iter().copied().collect()).unwrap();
        let check = |metadata: String, expected: i64| {
            let committed = Committed { offset: 9, metadata };
            assert_eq!(first_left(&committed, ours), expected, "{committed:?}");
        };
        check(String::new(), 9);
        check("what nobody can read".to_owned(), 9);
        check(text(ours, &[]), 9);
        check(text(ours, &[3, 5]), 3);
        // Of a topic that was made anew nothing is passed.
        check(text(other, &[]), 0);
        check(text(other, &[3, 5]), 0);
    }

    #[test]
    fn a_message_is_left_where_the_log_has_it_and_the_group_has_not_passed_it() {
        let id = Uuid::from_u128(1);
        let part = |partition, end, passed: Option<i64>| Part {
            of: TopicPartition { topic: "c".to_owned(), partition },
            leader: Some(1),
            start: 2,
            next: 2,
            end,
            committed: passed.map(|offset| Committed { offset, metadata: String::new() }),
        };
        let parts = [part(0, 5, None), part(1, 9, Some(7))];
        let check = |partition: i32, offset: i64, expected: bool| {
            let place = Place { topic: "c".to_owned(), topic_id: id, partition, offset };
            assert_eq!(is_left(&place, id, &parts), expected, "{partition}/{offset}");
        };
        check(0, 1, false);
        check(0, 2, true);
        check(0, 4, true);
        check(0, 5, false);
        check(0, 6, false);
        check(1, 6, false);
        check(1, 7, true);
        check(2, 4, false);
    }
}
