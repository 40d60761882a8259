//! Dispatch as a state machine: takes assignments and what was read, claims for the workers that are free, and says
//! what to start. It is the only one that commits. Each call of [`Dispatcher::step`] makes at most one round trip of
//! each kind; the thread and the simulation both do nothing but call it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::claims::{Decided, Pending};
use super::loading::{self, Loaded};
use super::partition::{Held, Partition, Taken};
use super::reading::{Read, Unreadable};
use crate::common::broker::{
    BrokerError, Client, Commit, Holder, ProduceBatch, Record, TopicPartition, partition_for,
};
use crate::common::membership::Change;
use crate::common::words::{Attempt, AttemptRef, ClusterName, Event, Place};
use crate::common::{bounds, topics, wire};

/// What a dispatcher is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster whose attempts may be run.
    pub cluster: ClusterName,
    /// The topic that they are read from.
    pub topic: String,
    /// The group.
    pub group: String,
    /// Our name in events.
    pub consumer: String,
    /// How long a claim counts without a sign of life.
    pub lease: Duration,
}

/// An attempt that is ours to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// What to run.
    pub attempt: Attempt,
    /// Where its message lies.
    pub place: Place,
    /// When the message was written, milliseconds since the epoch by its writer's clock.
    pub published_ms: i64,
    /// When the claim was confirmed.
    pub claimed_at: DateTime<Utc>,
}

/// What follows from a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Hand it to a worker.
    Start(Box<Claimed>),
    /// Have the membership join under a new member id; nothing is claimed before.
    JoinAsNew,
    /// Read these partitions, each from its offset; nothing else is ours.
    Read(Vec<(i32, i64)>),
    /// A fact for log, metrics and `cron-runs`.
    Note(Event),
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Copies that were dropped.
    pub copies: u64,
    /// Claims that were refused.
    pub refused: u64,
    /// Claims that were confirmed after their lease and not started.
    pub too_late: u64,
    /// Letters written for what could not be read.
    pub unreadable: u64,
}

/// The instant of a step, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The wall clock.
    pub wall: DateTime<Utc>,
    /// The monotonic clock.
    pub mono: Instant,
}

const CALL: Duration = Duration::from_secs(2);

/// The state of dispatch.
#[derive(Debug)]
pub struct Dispatcher {
    options: Options,
    holder: Option<Holder>,
    partitions: BTreeMap<i32, Partition>,
    to_load: Vec<i32>,
    pending: Option<Pending>,
    unreadable: VecDeque<(i32, i64, Unreadable)>,
    waits_for_new_id: bool,
    counts: Counts,
    runs_partitions: Option<i32>,
}

impl Dispatcher {
    /// One that owns nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            holder: None,
            partitions: BTreeMap::new(),
            to_load: Vec::new(),
            pending: None,
            unreadable: VecDeque::new(),
            waits_for_new_id: false,
            counts: Counts::default(),
            runs_partitions: None,
        }
    }

    /// A change of the membership. Everything that is held unclaimed is let go and read anew from the committed
    /// offsets, also for partitions that stayed: under the old generation somebody else may have moved them.
    pub fn changed(&mut self, change: &Change) {
        self.partitions.clear();
        self.unreadable.clear();
        // Whatever is still unanswered was claimed under the old generation: nobody starts it, and its lease ends it.
        if let Some(pending) = self.pending.take() {
            self.counts.refused += pending.claims.values().map(Vec::len).sum::<usize>() as u64;
        }
        match change {
            Change::Assigned { holder, partitions } => {
                self.to_load = partitions.iter().map(|p| p.partition).collect();
                self.holder = Some(holder.clone());
                self.waits_for_new_id = false;
            }
            Change::Lost | Change::Fenced => {
                self.to_load.clear();
                self.holder = None;
            }
        }
    }

    /// Takes what was read from a partition under a generation; `next` is where reading goes on.
    pub fn read(&mut self, generation: i32, partition: i32, records: Vec<(i64, Read)>, next: i64) {
        let current = self.holder.as_ref().is_some_and(|holder| holder.generation == generation);
        let Some(held) = self.partitions.get_mut(&partition).filter(|_| current) else { return };
        for (offset, read) in records {
            match read {
                Read::Attempt(message) => {
                    if held.take(offset, message) == Taken::Copy {
                        self.counts.copies += 1;
                    }
                }
                Read::Unreadable(unreadable) => {
                    if held.take_unreadable(offset) {
                        self.unreadable.push_back((partition, offset, unreadable));
                    }
                }
            }
        }
        held.read_to(next);
    }

    /// Has a partition's position looked up anew: its leader says that our offset is out of range.
    pub fn lost_position(&mut self, generation: i32, partition: i32) {
        if self.holder.as_ref().is_some_and(|holder| holder.generation == generation)
            && self.partitions.remove(&partition).is_some()
        {
            self.unreadable.retain(|(of, ..)| *of != partition);
            self.to_load.push(partition);
        }
    }

    /// Makes the next step for `free` idle workers.
    pub fn step(&mut self, client: &mut dyn Client, now: Now, free: usize) -> Vec<Act> {
        let mut acts = Vec::new();
        if let Err(error) = self.try_step(client, now, free, &mut acts) {
            log::debug!("dispatch: {error}; trying again");
        }
        acts
    }

    fn try_step(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        free: usize,
        acts: &mut Vec<Act>,
    ) -> Result<(), BrokerError> {
        if self.pending.is_some() {
            self.send_pending(client, now, acts);
            return Ok(());
        }
        if self.waits_for_new_id {
            return Ok(());
        }
        if !self.to_load.is_empty() {
            self.load(client, now, acts)?;
        }
        self.write_letters(client, now, acts)?;
        self.claim(client, now, free, acts)
    }

    fn load(&mut self, client: &mut dyn Client, now: Now, acts: &mut Vec<Act>) -> Result<(), BrokerError> {
        let of = (self.options.topic.as_str(), self.options.group.as_str());
        let loaded = loading::load(client, of, &self.to_load, now.mono + CALL * 5)?;
        self.to_load.clear();
        let mut reads: Vec<(i32, i64)> =
            self.partitions.iter().map(|(partition, held)| (*partition, held.unread_from())).collect();
        for Loaded { partition, log, position } in loaded {
            if let Some(finding) = &position.finding {
                let place = self.place(log.topic_id, partition, position.unread_from);
                acts.extend(loading::event(finding, place, now.wall).map(Act::Note));
            }
            reads.push((partition, position.read_from(log, bounds::DUPLICATE_WINDOW)));
            let held = Partition::new(log.topic_id, position, bounds::DUPLICATE_WINDOW);
            self.partitions.insert(partition, held);
        }
        acts.push(Act::Read(reads));
        Ok(())
    }

    /// Writes the letters of what could not be read; only a confirmed one settles its message.
    fn write_letters(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        acts: &mut Vec<Act>,
    ) -> Result<(), BrokerError> {
        while let Some((partition, offset, unreadable)) = self.unreadable.front() {
            let Some(held) = self.partitions.get(partition) else {
                self.unreadable.pop_front();
                continue;
            };
            let place = self.place(held.topic_id(), *partition, *offset);
            let letter = super::letters::unread(&self.options.consumer, place, unreadable, now.wall);
            super::letters::write(client, &self.options.cluster, letter, now.mono + CALL)?;
            let (partition, offset, unreadable) = (*partition, *offset, unreadable.clone());
            self.unreadable.pop_front();
            if let Some(held) = self.partitions.get_mut(&partition) {
                held.settle(offset);
                self.counts.unreadable += 1;
                let place =
                    Place { topic: self.options.topic.clone(), topic_id: held.topic_id(), partition, offset };
                let (last_offset, reason) = (unreadable.last_offset, unreadable.detail);
                acts.push(Act::Note(Event::Unreadable { place, last_offset, reason, at: now.wall }));
            }
        }
        Ok(())
    }

    /// Claims for as many workers as are free: writes `claimed`, then commits, each in one round trip.
    fn claim(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        free: usize,
        acts: &mut Vec<Act>,
    ) -> Result<(), BrokerError> {
        let Some(holder) = self.holder.clone() else { return Ok(()) };
        let mut commits = Vec::new();
        let mut claims = BTreeMap::new();
        for (partition, offsets) in self.choose(now.wall, free) {
            let Some((offset, metadata)) =
                self.partitions.get(&partition).and_then(|p| p.commit_for(&offsets))
            else {
                continue;
            };
            let of = TopicPartition { topic: self.options.topic.clone(), partition };
            commits.push(Commit { of, offset, metadata });
            claims.insert(partition, offsets);
        }
        if commits.is_empty() {
            return Ok(());
        }
        self.write_claimed(client, &claims, now)?;
        self.pending =
            Some(Pending { holder, commits, claims, claimed_sent: now.mono, may_arrive_late: false });
        self.send_pending(client, now, acts);
        Ok(())
    }

    /// Which offsets to claim: each partition in turn gives one, so that none waits behind another's backlog.
    fn choose(&mut self, now: DateTime<Utc>, free: usize) -> BTreeMap<i32, Vec<i64>> {
        let mut due: Vec<(i32, VecDeque<i64>, Vec<i64>)> = self
            .partitions
            .iter_mut()
            .map(|(partition, held)| (*partition, held.due(now, free).into(), Vec::new()))
            .collect();
        let mut left = free;
        while left > 0 && due.iter().any(|(_, waiting, _)| !waiting.is_empty()) {
            for (_, waiting, chosen) in &mut due {
                if left > 0
                    && let Some(offset) = waiting.pop_front()
                {
                    chosen.push(offset);
                    left -= 1;
                }
            }
        }
        let dirty = |partition: &i32| self.partitions.get(partition).is_some_and(Partition::is_dirty);
        due.into_iter()
            .filter(|(partition, _, chosen)| !chosen.is_empty() || dirty(partition))
            .map(|(partition, _, chosen)| (partition, chosen))
            .collect()
    }

    fn write_claimed(
        &mut self,
        client: &mut dyn Client,
        claims: &BTreeMap<i32, Vec<i64>>,
        now: Now,
    ) -> Result<(), BrokerError> {
        let by = now.mono + CALL;
        let count = match self.runs_partitions {
            Some(count) => count,
            None => {
                let topic = client.topic(topics::RUNS, by)?;
                let missing = || BrokerError::NotSent(format!("topic {} does not exist yet", topics::RUNS));
                let count = i32::try_from(topic.ok_or_else(missing)?.partitions.len()).unwrap_or(1);
                *self.runs_partitions.insert(count)
            }
        };
        let mut batches: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
        for (partition, offsets) in claims {
            let Some(held) = self.partitions.get(partition) else { continue };
            for (offset, message) in offsets.iter().filter_map(|o| held.held(*o).map(|message| (*o, message)))
            {
                let key = message.attempt.run.id.to_string();
                let to = partition_for(key.as_bytes(), count);
                let place = self.place(held.topic_id(), *partition, offset);
                let record = Record {
                    key: Some(key.into()),
                    value: Some(wire::encode(&self.claimed_event(message, place, now.wall))),
                    timestamp_ms: now.wall.timestamp_millis(),
                };
                batches.entry(to).or_default().push(record);
            }
        }
        let batches: Vec<ProduceBatch> = batches
            .into_iter()
            .map(|(partition, records)| ProduceBatch {
                to: TopicPartition { topic: topics::RUNS.to_owned(), partition },
                records,
            })
            .collect();
        client.produce(&batches, by).into_iter().try_for_each(|answer| answer.map(drop))
    }

    fn claimed_event(&self, message: &Held, place: Place, at: DateTime<Utc>) -> Event {
        let run = &message.attempt.run;
        Event::Claimed {
            attempt: AttemptRef { run: run.id, attempt: message.attempt.attempt },
            job: run.job.clone(),
            place,
            consumer: self.options.consumer.clone(),
            lease_ms: u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX),
            at,
        }
    }

    /// Sends the pending commit, for the first time or again, and acts on what its answer decides.
    fn send_pending(&mut self, client: &mut dyn Client, now: Now, acts: &mut Vec<Act>) {
        let Some(mut pending) = self.pending.take() else { return };
        let answer = client.commit(&pending.holder, &pending.commits, now.mono + CALL);
        if let Err(error) = &answer {
            log::warn!("a claim's commit has no answer yet: {error}; sending the same again");
        }
        for decided in pending.answered(answer) {
            self.decided(&pending, &decided, now, acts);
        }
        let late = pending.may_arrive_late;
        if !pending.is_settled() {
            self.pending = Some(pending);
        } else if late {
            self.waits_for_new_id = true;
            acts.push(Act::JoinAsNew);
        }
    }

    fn decided(&mut self, pending: &Pending, decided: &Decided, now: Now, acts: &mut Vec<Act>) {
        let number = decided.offsets.len() as u64;
        let Some(held) = self.partitions.get_mut(&decided.partition) else { return };
        if !decided.granted {
            self.counts.refused += number;
            // Not ours any more: the membership is about to say so, and the new owner reads it from its offset.
            self.partitions.remove(&decided.partition);
            return;
        }
        let topic_id = held.topic_id();
        let messages = held.claimed(&decided.offsets);
        if !pending.in_time(now.mono, self.options.lease) {
            self.counts.too_late += number;
            log::error!("{number} claims were confirmed after their lease and are not started");
            return;
        }
        for (offset, message) in decided.offsets.iter().zip(messages) {
            let place = self.place(topic_id, decided.partition, *offset);
            let Held { attempt, published_ms, .. } = message;
            acts.push(Act::Start(Box::new(Claimed { attempt, place, published_ms, claimed_at: now.wall })));
        }
    }

    fn place(&self, topic_id: uuid::Uuid, partition: i32, offset: i64) -> Place {
        Place { topic: self.options.topic.clone(), topic_id, partition, offset }
    }

    /// The next instant at which something that is held becomes due.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.partitions.values().filter_map(Partition::next_due).min()
    }

    /// Whether a claim is under way and not yet decided.
    pub fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether a step would send something at once.
    pub fn is_busy(&self) -> bool {
        self.pending.is_some() || (!self.to_load.is_empty() && !self.waits_for_new_id)
    }

    /// Whether reading this partition should pause: it holds as much as it may.
    pub fn is_full(&self, partition: i32) -> bool {
        let (messages, bytes) = self.partitions.get(&partition).map_or((0, 0), Partition::load);
        messages >= bounds::READY_PER_PARTITION || bytes >= bounds::HELD_BYTES_PER_PARTITION
    }

    /// Messages that wait for their instant.
    pub fn waiting(&self) -> usize {
        self.partitions.values().map(Partition::waiting).sum()
    }

    /// Messages of a partition that nobody has claimed, where its log ends at `end`.
    pub fn unclaimed(&self, partition: i32, end: i64) -> i64 {
        self.partitions.get(&partition).map_or(0, |held| held.unclaimed(end))
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}
