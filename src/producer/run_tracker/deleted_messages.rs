//! Runs whose next message no consumer will claim, so that no tick must wait for them. The message was deleted, by
//! retention or with its topic; or the group's offset has passed it without a claim, because an operator set it forward
//! or the message could not be read.
//!
//! Consumers tell that messages were deleted, but not of which runs; the other cases are not told at all. Therefore the
//! leader looks from time to time for runs that have waited for long. A run may stand in its topic more than once. A
//! run that waits to be claimed, and has no message left that a consumer would claim, is over if `cron-runs`, read
//! after that, says nothing newer of it. The leader puts that on record (`ended`), and every producer takes it from
//! there.
//!
//! The scheduler may still publish ticks that the cluster's cursor had not passed before the search began, again where
//! they were deleted with their topic: the tracker puts off their runs for a lease. It does not wait for the cursor for
//! ever: where a cursor was lost, the tick that holds it may itself wait for such a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::duties::Duties;
use super::ends::Ends;
use super::heartbeat::Heartbeat;
use super::leases::Leases;
use super::log_reader::ends_now;
use super::messages::Effect;
use super::notes::Note;
use super::open_runs::{OpenRun, OpenRuns, Waiting};
use super::passage::{Partition, Passage, passage};
use super::step::Step;
use crate::common::bounds::FETCH_BYTES;
use crate::common::broker::{BrokerError, Committed, ErrorCode, NodeId, Position, TopicPartition, Want};
use crate::common::holes;
use crate::common::model::{AttemptRef, EndReason, Event, Place, RunId};
use crate::common::outgoing::Outgoing;
use crate::common::topics;

/// How often the leader looks which runs have waited for long.
const LOOK_FOR_WAITING: Duration = Duration::from_secs(5);
/// How long a search may take before it starts again: the log may have been cut below the targets.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the tracker waits before it looks again after a call failed.
const AGAIN: Duration = Duration::from_secs(5);

/// The topics in which runs may wait that no consumer will claim, and the search in one of them.
#[derive(Debug)]
pub struct DeletedMessages {
    /// When to look for runs in these topics.
    doubtful: BTreeMap<String, Instant>,
    /// Topics to look at once more when all that is under way is known to be.
    doubtful_later: BTreeSet<String>,
    /// When to look again which runs have waited for long.
    look_for_waiting_at: Instant,
    /// Runs of ticks that the cursor has not passed, and since when they are put off.
    put_off: BTreeMap<RunId, Instant>,
    search: Option<Search>,
    /// Whether a search failed, or what it found was not put on record.
    is_undone: bool,
}

/// Runs of which no message was found so far.
#[derive(Debug)]
struct Search {
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

impl DeletedMessages {
    /// Creates a search of nothing yet.
    pub fn new(now: Instant) -> Self {
        Self {
            doubtful: BTreeMap::new(),
            doubtful_later: BTreeSet::new(),
            look_for_waiting_at: now,
            put_off: BTreeMap::new(),
            search: None,
            is_undone: false,
        }
    }

    /// Takes news of messages that were deleted before a consumer had claimed them, or cut off: some runs may have been
    /// among them, and no tick must wait for those.
    pub fn take(&mut self, event: &Event, now: Instant) {
        if let Event::DeletedUnread { place, .. } | Event::Truncated { place, .. } = event {
            self.doubt(place.topic.clone(), now);
        }
    }

    /// Whether something could not be found out, or put on record, when it was tried last.
    pub fn is_undone(&self) -> bool {
        self.is_undone
    }

    /// Whether a search is under way.
    #[cfg(test)]
    pub fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// Whether it is time to look which runs have waited for long.
    pub fn is_look_due(&mut self, now: Instant) -> bool {
        let is_due = self.look_for_waiting_at <= now;
        if is_due {
            self.look_for_waiting_at = now + LOOK_FOR_WAITING;
        }
        is_due
    }

    /// Has runs looked for in a topic, from an instant on.
    pub fn doubt(&mut self, topic: String, at: Instant) {
        let known = self.doubtful.entry(topic).or_insert(at);
        *known = at.min(*known);
    }

    /// Makes the tracker look again, when this producer leads again, for what it was looking for.
    pub fn look_later(&mut self, now: Instant) {
        self.put_off.clear();
        if let Some(search) = self.search.take() {
            self.doubt(search.topic, now);
        }
    }

    /// Makes the next move, of one fetch at most.
    pub fn look(
        &mut self,
        step: &mut Step<'_>,
        ends: &Ends,
        heartbeat: &Heartbeat,
        runs: &OpenRuns,
        leases: &Leases,
    ) {
        let looked = self.search_on(step, ends, heartbeat, runs, leases);
        if step.attempted(Duties::LostAttempts, "which runs no consumer will run", looked).is_none() {
            self.is_undone = true;
        }
    }

    fn search_on(
        &mut self,
        step: &mut Step<'_>,
        ends: &Ends,
        heartbeat: &Heartbeat,
        runs: &OpenRuns,
        leases: &Leases,
    ) -> Result<(), BrokerError> {
        let now = step.now.mono;
        let Some((from, seen)) = heartbeat.seen() else { return Ok(()) };
        // Whether a claim counted is known when each attempt under way must have given a sign of life.
        let is_sure = seen.saturating_duration_since(from) >= step.options.lease;
        let Some(mut search) = self.search.take().or_else(|| self.begin(is_sure, now, runs, leases)) else {
            self.is_undone &= !self.doubtful.is_empty();
            return Ok(());
        };
        match &search.stage {
            Stage::Reading { targets, .. } if ends.has_read(targets) => {
                self.end(step, search, runs, leases);
                return Ok(());
            }
            Stage::Reading { until, .. } if *until <= now => {
                self.doubt(search.topic, now);
                return Ok(());
            }
            Stage::Reading { .. } => {}
            Stage::Looking { .. } => match self.look_on(step, &mut search, ends) {
                Ok(()) if search.runs.is_empty() => {
                    self.is_undone = false;
                    return Ok(());
                }
                Ok(()) => {}
                Err(error) => {
                    self.doubt(search.topic, now + AGAIN);
                    return Err(error);
                }
            },
        }
        self.search = Some(search);
        Ok(())
    }

    fn look_on(&mut self, step: &mut Step<'_>, search: &mut Search, ends: &Ends) -> Result<(), BrokerError> {
        if matches!(&search.stage, Stage::Looking { parts, .. } if parts.is_empty()) {
            self.put_off(step, search)?;
            if search.runs.is_empty() {
                return Ok(());
            }
        }
        search.go_on(step, ends)
    }

    /// Puts off the runs of ticks that the cursor has not passed.
    fn put_off(&mut self, step: &mut Step<'_>, search: &mut Search) -> Result<(), BrokerError> {
        let cursor = cursor(step, &search.topic)?;
        let (now, before) = (step.now.mono, search.runs.len());
        search.runs.retain(|Waiting { run, .. }| {
            let is_passed = run.scheduled_at.is_none_or(|at| Some(at) <= cursor);
            let mut has_waited = || {
                let since = *self.put_off.entry(run.run).or_insert(now);
                now.saturating_duration_since(since) >= step.options.lease
            };
            is_passed || has_waited()
        });
        if search.runs.len() < before {
            self.doubt(search.topic.clone(), now + AGAIN);
        }
        Ok(())
    }

    /// Takes the next doubtful topic, if runs wait in it.
    fn begin(&mut self, is_sure: bool, now: Instant, runs: &OpenRuns, leases: &Leases) -> Option<Search> {
        let under_way = leases.runs();
        if is_sure {
            std::mem::take(&mut self.doubtful_later).into_iter().for_each(|topic| self.doubt(topic, now));
        }
        let topic = self.doubtful.iter().find(|(_, at)| **at <= now).map(|(topic, _)| topic.clone())?;
        self.doubtful.remove(&topic);
        self.put_off.retain(|run, _| runs.is_open(*run));
        let mut runs = runs.waiting_in(&topic, &under_way);
        if !is_sure && runs.iter().any(Waiting::is_claimed) {
            runs.retain(|waiting| !waiting.is_claimed());
            self.doubtful_later.insert(topic.clone());
        }
        let stage = Stage::Looking { topic_id: Uuid::nil(), parts: Vec::new() };
        (!runs.is_empty()).then_some(Search { topic, runs, stage })
    }

    /// Puts on record that runs are over. They are over once that is read, by us and by the next leader.
    fn end(&mut self, step: &mut Step<'_>, search: Search, runs: &OpenRuns, leases: &Leases) {
        let under_way = leases.runs();
        let mut records = Vec::new();
        for waiting in search.runs {
            if !runs.still_waits(&waiting, &under_way) {
                continue;
            }
            let attempt = AttemptRef { run: waiting.run.run, attempt: waiting.last_attempt() };
            let Waiting { run: OpenRun { job, run, scheduled_at }, cluster, .. } = waiting;
            let detail = format!(
                "no message of it is left in {} that a consumer would claim: it was deleted, or the group's offset has \
                 passed it without a claim",
                search.topic
            );
            step.note(Note::Unclaimable {
                cluster: cluster.clone(),
                run,
                job: job.clone(),
                detail: detail.clone(),
            });
            step.effects.push(Effect::Unclaimable(cluster.clone()));
            let (reason, at) = (EndReason::Unclaimable, step.now.wall);
            let by = step.options.name.clone();
            let event = Event::Ended { attempt, job, cluster, scheduled_at, reason, detail, by, at };
            records.push(Outgoing::event(&event));
        }
        let (unwritten, _) = step.write(records);
        self.is_undone = !unwritten.is_empty();
        if self.is_undone {
            self.doubt(search.topic, step.now.mono + AGAIN);
        }
    }
}

impl Search {
    /// Looks on, by one fetch.
    fn go_on(&mut self, step: &mut Step<'_>, ends: &Ends) -> Result<(), BrokerError> {
        let Stage::Looking { topic_id, parts } = &mut self.stage else { return Ok(()) };
        if parts.is_empty() {
            (*topic_id, *parts) = find(step, &self.topic)?;
            // Most runs that wait for long have their messages where they were read to lie, and their consumers are
            // away.
            self.runs
                .retain(|waiting| !waiting.place.as_ref().is_some_and(|at| is_left(at, *topic_id, parts)));
            if self.runs.is_empty() {
                return Ok(());
            }
        }
        if let Some(part) = parts.iter_mut().find(|part| part.next < part.end) {
            let found = part.read(step, *topic_id)?;
            self.runs.retain(|waiting| !found.contains(&waiting.run.run));
            return Ok(());
        }
        let targets = ends_now(step, ends)?;
        self.stage = Stage::Reading { targets, until: step.now.mono + PATIENCE };
        Ok(())
    }
}

/// Whether a message waits where it was read to lie.
fn is_left(place: &Place, topic_id: Uuid, parts: &[Part]) -> bool {
    let part = parts.iter().find(|part| part.of.partition == place.partition);
    part.is_some_and(|part| {
        let present = Partition { topic_id, start: part.start, committed: part.committed.as_ref() };
        place.offset < part.end && passage(place, present) == Passage::Left
    })
}

/// The cursor of the cluster that a topic belongs to, or the copy of it: all ticks up to there have their fate on record, and
/// none of them is published any more. None where neither is there.
fn cursor(step: &mut Step<'_>, topic: &str) -> Result<Option<DateTime<Utc>>, BrokerError> {
    let Some(cluster) = topics::cluster_of(topic) else { return Ok(None) };
    let of = [topics::first(&cluster), topics::retry(&cluster)];
    let of = of.map(|topic| TopicPartition { topic, partition: 0 });
    let committed = step.client.committed(&step.options.group, &of, step.by)?;
    let committed = committed.into_iter().flatten().next();
    Ok(committed.and_then(|committed| DateTime::from_timestamp_millis(committed.offset)))
}

/// Finds which part of a topic is to be searched, and the topic's id: the messages that the group has not passed.
fn find(step: &mut Step<'_>, topic: &str) -> Result<(Uuid, Vec<Part>), BrokerError> {
    // A topic that is missing may only be out of sight, and is made anew before long.
    let missing = || BrokerError::NotSent(format!("topic {topic} does not exist"));
    let state = step.client.topic(topic, step.by)?.ok_or_else(missing)?;
    let of = |partition| TopicPartition { topic: topic.to_owned(), partition };
    let all: Vec<TopicPartition> = state.partitions.iter().map(|p| of(p.partition)).collect();
    let committed = step.client.committed(topic, &all, step.by)?;
    let mut parts = Vec::with_capacity(all.len());
    for ((of, committed), partition) in all.into_iter().zip(committed).zip(state.partitions) {
        let start = step.client.offset(&of, Position::Start, step.by)?;
        let end = step.client.offset(&of, Position::End, step.by)?;
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
    fn read(&mut self, step: &mut Step<'_>, topic_id: Uuid) -> Result<Vec<RunId>, BrokerError> {
        let TopicPartition { topic, partition } = &self.of;
        let want = Want { from: self.of.clone(), offset: self.next, max_bytes: FETCH_BYTES };
        let fetched = match step.client.fetch_one(self.leader, want, Duration::ZERO, step.by) {
            // Retention may have deleted more meanwhile.
            Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => {
                self.next = step.client.offset(&self.of, Position::Start, step.by)?;
                return Ok(Vec::new());
            }
            fetched => fetched?,
        };
        let Some(fetched) = fetched else { return Ok(Vec::new()) };
        self.next = fetched.next_offset;
        let committed = self.committed.as_ref();
        let is_left = |offset| {
            let place = Place { topic: topic.clone(), topic_id, partition: *partition, offset };
            passage(&place, Partition { topic_id, start: 0, committed }) == Passage::Left
        };
        let left = fetched.records.into_iter().filter(|record| is_left(record.offset));
        let run = |key: &[u8]| std::str::from_utf8(key).ok()?.parse().ok();
        Ok(left.filter_map(|record| run(record.key.as_deref()?)).collect())
    }
}

#[cfg(test)]
mod tests;
