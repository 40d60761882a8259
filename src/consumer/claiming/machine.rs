//! Claiming as a state machine: takes assignments and what was read ([`Claimer::handle`]), claims for the workers that are
//! free, and says what to start. It is the only one that commits. Each call of [`Claimer::step`] does a bounded piece of that.
//! It also says when to listen to other threads ([`Claimer::listens`]), how long to wait, and when it has ended. The thread and
//! the simulation drive it by the same calls, and carry out what follows by the same [outbox](super::outbox).
//!
//! This file knows what is ours and where each partition goes on. [`claiming`] claims and starts, [`writing`] records claims,
//! [`reread`] reads again what waited too long to be kept, [`unreadable`] writes letters for what could not be read, and
//! [`reading_plan`] knows what is to be read.

mod claiming;
mod reading_plan;
mod reread;
#[cfg(test)]
pub(super) mod tests;
mod unreadable;
mod writing;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

pub use super::messages::{Call, Claimed, Counts, Effect, Event, Failure, Options, Report};

use self::claiming::Granted;
use self::reading_plan::ReadingPlan;
use self::reread::Again;
use self::unreadable::Unread;
use self::writing::{ClaimLog, Of};
use super::claims::Pending;
use super::linger::Linger;
use super::loading;
use super::loading::{Loaded, Loading};
use super::partition::{Partition, Taken};
use crate::common::broker::{BrokerError, Client, Holder};
use crate::common::clock::Now;
use crate::common::membership::Change;
use crate::common::model::{self, Place};
use crate::common::outgoing::Outgoing;
use crate::common::rests::Rests;
use crate::common::{bounds, holes};
use crate::consumer::fetching::reading::{LogSlice, Read};

/// How long the claiming thread waits after a failed call, at first and at most.
pub(super) const FIRST_REST: Duration = Duration::from_millis(20);
const LONGEST_REST: Duration = Duration::from_millis(500);
/// The longest wait of the thread.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long a claim that is under way when we leave may still be answered.
pub(super) const LAST_ANSWER: Duration = Duration::from_secs(3);

/// How long the first claim waits for the comparison of clocks. What keeps it from being made mostly keeps claims from being
/// written as well, and the duty `clock` tells of it.
pub(super) const CLOCK_PATIENCE: Duration = Duration::from_secs(15);

/// How long a call may take where the lease is short.
const CALL: Duration = Duration::from_secs(2);
/// How long partitions rest whose position could not be had, while those of others could.
const LOAD_AGAIN: Duration = Duration::from_millis(500);

/// How often a partition's position may be lost, with nothing read in between, before it is looked up with pauses:
/// brokers that do not agree about a topic would otherwise keep us asking all the time.
const LOSSES: u32 = 3;

/// The state of claiming.
#[derive(Debug)]
pub struct Claimer {
    options: Options,
    /// How many workers wait for an attempt.
    free: usize,
    /// Whether the host has room for new attempts.
    admits: bool,
    /// The linger of claims.
    linger: Linger,
    is_clock_settled: bool,
    /// Until then the first claim waits for the clock to be compared with the broker's.
    claims_by: Option<Instant>,
    plan: ReadingPlan,
    /// Another process has our place in the group.
    is_fenced: bool,
    /// Nothing more is claimed, and a claim that is under way is waited for until then.
    leaves_by: Option<Instant>,
    holder: Option<Holder>,
    partitions: BTreeMap<i32, Partition>,
    to_load: Vec<i32>,
    /// Not before this instant, after some of them could not be loaded.
    load_again: Option<Instant>,
    /// How often each partition's position was lost since something was read of it.
    losses: BTreeMap<i32, u32>,
    loading: Loading,
    again: Again,
    pending: Option<Pending>,
    granted: Vec<Granted>,
    unread: Unread,
    waits_for_new_id: bool,
    /// A claim was decided, and what it kept waiting may be claimed now.
    may_claim: bool,
    counts: Counts,
    claim_log: ClaimLog,
    /// Claims that could not be written: until when they give way to others.
    postponed: BTreeMap<Of, Instant>,
    /// A partition of which nothing could be claimed, for what waits does not fit beside its offset.
    crowded: Option<i32>,
    /// How often each partition's commit was rejected since one was granted.
    rejections: BTreeMap<i32, u32>,
    /// The longest text that a commit may have beside it.
    text_limit: usize,
    rests: Rests,
    /// How long to wait after the last step; nothing if no call failed in it.
    rest: Duration,
}

impl Claimer {
    /// Creates one that owns nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            free: 0,
            admits: true,
            // Half of the workers run attempts while we claim for the others.
            linger: Linger::new(options.workers / 2),
            is_clock_settled: false,
            claims_by: None,
            plan: ReadingPlan::default(),
            is_fenced: false,
            leaves_by: None,
            options,
            holder: None,
            partitions: BTreeMap::new(),
            to_load: Vec::new(),
            load_again: None,
            losses: BTreeMap::new(),
            loading: Loading::default(),
            again: Again::default(),
            pending: None,
            granted: Vec::new(),
            unread: Unread::default(),
            waits_for_new_id: false,
            may_claim: false,
            counts: Counts::default(),
            claim_log: ClaimLog::default(),
            postponed: BTreeMap::new(),
            crowded: None,
            rejections: BTreeMap::new(),
            text_limit: holes::MAX_METADATA_BYTES,
            rests: Rests::new(FIRST_REST, LONGEST_REST),
            rest: Duration::ZERO,
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Changed(change) => self.changed(&change, &mut effects),
            Event::Read { plan, partition, slice } => {
                if self.plan.is(plan) {
                    self.read(partition, slice, &mut effects);
                }
            }
            Event::LostPosition { plan, partition } => {
                if self.plan.is(plan) {
                    self.plan.lose(partition);
                    self.lost_position(partition);
                }
            }
            Event::WorkersFree(count) => self.free += count,
            Event::ClockSettled => self.is_clock_settled = true,
            Event::Admits(admits) => self.admits = admits,
            Event::Leave => self.leaves_by = self.leaves_by.or(Some(now.mono + LAST_ANSWER)),
        }
        self.pause_where_full(&mut effects);
        effects
    }

    /// Whether other threads are to be listened to: not while something that was granted waits to be started, and not once we
    /// leave. Until then the next step is made at once.
    pub fn listens(&self) -> bool {
        !self.has_granted() && self.leaves_by.is_none()
    }

    /// Whether nothing more comes of us: our place is taken by another process, or we leave, and nothing is under way or that
    /// was waited for long enough.
    pub fn is_over(&self, now: Instant) -> bool {
        let has_left = |by| !self.has_pending() || (now >= by && !self.has_granted());
        self.is_fenced || self.leaves_by.is_some_and(has_left)
    }

    /// Until when is waited for what is under way; `None` while we do not leave.
    pub fn leaves_by(&self) -> Option<Instant> {
        self.leaves_by
    }

    /// Whether what the plan of this number brings counts: whether it is the newest.
    pub fn reads_by(&self, plan: u64) -> bool {
        self.plan.is(plan)
    }

    /// A change of the membership. Everything that is held unclaimed is let go and read anew from the committed
    /// offsets, also for partitions that stayed: under the old generation another member may have moved them. What was
    /// granted is ours and still starts.
    fn changed(&mut self, change: &Change, effects: &mut Vec<Effect>) {
        self.partitions.clear();
        self.unread.clear();
        self.load_again = None;
        self.losses.clear();
        self.postponed.clear();
        self.crowded = None;
        self.rejections.clear();
        // Whatever is still unanswered was claimed under the old generation: no consumer starts it, and its lease ends it.
        if let Some(pending) = self.pending.take() {
            self.counts.refused += pending.claims.values().map(Vec::len).sum::<usize>() as u64;
        }
        match change {
            Change::Assigned { holder, partitions, .. } => {
                self.to_load = partitions.iter().map(|p| p.partition).collect();
                self.holder = Some(holder.clone());
                self.waits_for_new_id = false;
            }
            Change::Lost | Change::Fenced => {
                self.to_load.clear();
                self.holder = None;
            }
        }
        self.is_fenced |= *change == Change::Fenced;
        effects.push(self.plan.replace(Vec::new()));
    }

    /// Takes what was read from a partition by the newest plan: what an older one brings may lie behind a gap, or be of a log
    /// that was made anew since, even under the same generation. Whatever lies behind a gap is not taken, and the position
    /// looked up anew: what is not known here must not be committed past. The same holds for what was read from another topic
    /// of the same name: its offsets say nothing about ours.
    fn read(&mut self, partition: i32, slice: LogSlice, effects: &mut Vec<Effect>) {
        let LogSlice { topic_id, records, span } = slice;
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        if topic_id != held.topic_id() {
            effects.push(Effect::Report(Report::OtherTopic(partition, topic_id)));
            return self.loses_position(partition);
        }
        if span.start > held.next_read() {
            let missing = held.next_read()..span.start;
            effects.push(Effect::Report(Report::Missing(partition, missing)));
            return self.loses_position(partition);
        }
        for (offset, read) in records {
            match read {
                Read::Attempt(message) => {
                    if held.take(offset, message) == Taken::Copy {
                        self.counts.copies += 1;
                    }
                }
                Read::Unreadable(unreadable) => {
                    if let Some(offset) = held.take_unreadable(offset, unreadable.last_offset) {
                        self.unread.push(partition, offset, unreadable);
                    }
                }
            }
        }
        held.read_to(span.end);
        self.losses.remove(&partition);
    }

    /// Has a partition's position looked up anew. A claim that is under way is decided first, for what it claims is at hand
    /// and may be started.
    fn lost_position(&mut self, partition: i32) {
        if self.partitions.contains_key(&partition) {
            self.loses_position(partition);
        }
    }

    /// The position of a partition that we hold is to be looked up anew.
    fn loses_position(&mut self, partition: i32) {
        if !self.to_load.contains(&partition) {
            self.to_load.push(partition);
            *self.losses.entry(partition).or_default() += 1;
        }
    }

    /// Makes the next step.
    ///
    /// What is granted in one step is started by the next, which does nothing else: the call that brought the answer
    /// may have taken any time, and only an instant that was read after it tells whether the lease still holds.
    pub fn step(&mut self, client: &mut dyn Client, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.free > 0 {
            self.claims_by.get_or_insert(now.mono + CLOCK_PATIENCE);
        }
        if self.has_granted() {
            self.linger.went(now.mono);
            self.start_granted(now, &mut effects);
        } else if self.pending.is_some() {
            self.send_pending(client, now, &mut effects);
        } else if !self.waits_for_new_id && self.leaves_by.is_none() {
            if let Err(error) = self.load(client, now, &mut effects) {
                effects.push(Effect::Report(Report::PositionsUnknown(error.clone())));
                effects.push(Effect::Failed(Failure { call: Call::Load, error }));
            }
            self.read_again(client, now, &mut effects);
            self.write_letters(client, now, &mut effects);
            self.claim(client, now, &mut effects);
            self.send_pending(client, now, &mut effects);
        }
        if effects.iter().any(|effect| matches!(effect, Effect::Failed(_))) {
            self.rest = self.rests.failed(now.mono);
        } else {
            self.rests.succeeded();
            self.rest = Duration::ZERO;
        }
        self.pause_where_full(&mut effects);
        effects
    }

    /// How long to wait before the next step, if nothing comes before that: at most a second, because the wall clock may
    /// jump.
    pub fn wait(&self, now: Now) -> Duration {
        if self.has_granted() {
            return Duration::ZERO;
        }
        if self.is_busy() || self.is_resting() {
            return self.rest;
        }
        if self.free > 0 && self.waits_for_clock(now.mono) {
            return FIRST_REST;
        }
        let until_due = self.next_due().map(|at| at - now.wall);
        let until_due = until_due.map(|wait| wait.to_std().unwrap_or(Duration::from_millis(1)));
        // If an attempt is due and no worker is free, the worker's message wakes the thread.
        let wait =
            until_due.filter(|_| self.free > 0 && self.admits).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        let linger = self.linger.wait(self.free, now.mono);
        if linger.is_zero() { wait } else { wait.min(linger) }
    }

    /// Whether the clock has not been compared yet, and that has not been waited for long enough.
    fn waits_for_clock(&self, now: Instant) -> bool {
        !self.is_clock_settled && self.claims_by.is_none_or(|by| now < by)
    }

    /// For how many workers may be claimed now: for none while a claim lingers for more, or waits for the clock.
    fn claimable(&self, now: Instant) -> usize {
        let may_claim =
            self.admits && self.linger.wait(self.free, now).is_zero() && !self.waits_for_clock(now);
        if may_claim { self.free } else { 0 }
    }

    /// Whether a call failed in the last step.
    pub fn is_resting(&self) -> bool {
        !self.rest.is_zero()
    }

    fn load(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), BrokerError> {
        if self.to_load.is_empty() || self.load_again.is_some_and(|at| now.mono < at) {
            return Ok(());
        }
        self.load_again = None;
        let lost = |(of, times): &(&i32, &mut u32)| **times > LOSSES && self.to_load.contains(of);
        if let Some((_, times)) = self.losses.iter_mut().find(lost) {
            *times = LOSSES;
            self.load_again = Some(now.mono + LOAD_AGAIN);
            return Ok(());
        }
        // Those whose position was lost: nothing more is claimed by what is known of them.
        for partition in &self.to_load {
            self.partitions.remove(partition);
            self.unread.forget(*partition);
        }
        let of = (self.options.topic.as_str(), self.options.group.as_str());
        let loaded = self.loading.load(client, of, &self.to_load, now.mono);
        effects.extend(self.loading.take_reports().into_iter().map(Effect::Report));
        let loaded = loaded?;
        self.to_load.retain(|partition| loaded.iter().all(|loaded| loaded.partition != *partition));
        if self.to_load.is_empty() {
            self.loading.is_done();
        } else {
            self.load_again = Some(self.loading.rests_until().unwrap_or(now.mono).max(now.mono + LOAD_AGAIN));
            let error = self.loading.take_error();
            effects.extend(error.map(|error| Effect::Failed(Failure { call: Call::Load, error })));
        }
        if loaded.is_empty() {
            return Ok(());
        }
        for Loaded { partition, is_new, log, position } in loaded {
            let place = self.place(log.topic_id, partition, position.unread_from);
            let finding = position.finding.as_ref();
            effects.extend(finding.map(|finding| Effect::Report(Report::Found(partition, finding.clone()))));
            let event = finding.and_then(|finding| loading::event(finding, place, now.wall));
            if let Some(event) = event
                && let Err(error) = self.write_event(client, &event, now)
            {
                effects.push(Effect::Failed(Failure { call: Call::Load, error }));
                self.to_load.push(partition);
                self.load_again = Some(now.mono + LOAD_AGAIN);
                continue;
            }
            let read_from = position.read_from(log, bounds::DUPLICATE_WINDOW);
            let waiting_bytes = self.options.waiting_bytes;
            let mut held =
                Partition::new(log.topic_id, position, read_from, bounds::DUPLICATE_WINDOW, waiting_bytes);
            held.limit_text(self.text_limit);
            if is_new {
                held.record_first();
            }
            self.partitions.insert(partition, held);
        }
        let reads = self.partitions.iter().map(|(partition, held)| (*partition, held.next_read())).collect();
        effects.push(self.plan.replace(reads));
        Ok(())
    }

    /// How long the two round trips of a claim may take each: a quarter of the lease, so that a slow broker is waited
    /// for, and the attempt can start within three quarters of it.
    fn claim_call(&self) -> Duration {
        CALL.max(self.options.lease / 4)
    }

    /// Writes what was odd about a position. It is on record before the next commit puts that right, for no reader would
    /// find it again.
    fn write_event(
        &mut self,
        client: &mut dyn Client,
        event: &model::Event,
        now: Now,
    ) -> Result<(), BrokerError> {
        self.claim_log.tell(client, Outgoing::event(event), now, CALL)
    }

    fn place(&self, topic_id: uuid::Uuid, partition: i32, offset: i64) -> Place {
        Place { topic: self.options.topic.clone(), topic_id, partition, offset }
    }

    /// The next instant at which something that is held becomes due.
    fn next_due(&self) -> Option<DateTime<Utc>> {
        self.partitions.values().filter_map(Partition::next_due).min()
    }

    /// Whether a claim is under way: not yet decided, or granted and not yet started.
    pub fn has_pending(&self) -> bool {
        self.pending.is_some() || self.has_granted()
    }

    /// Whether something was granted that the next step starts. There is nothing to wait for.
    pub fn has_granted(&self) -> bool {
        !self.granted.is_empty()
    }

    /// Whether a step would send something at once.
    pub fn is_busy(&self) -> bool {
        let loads = !self.to_load.is_empty() && self.load_again.is_none();
        let works = loads || self.reads_again() || self.unread.is_busy();
        let works = works || (self.may_claim && self.holder.is_some());
        self.has_pending() || (!self.waits_for_new_id && works)
    }

    /// Reading a partition pauses while it holds as much as it may.
    fn pause_where_full(&mut self, effects: &mut Vec<Effect>) {
        let Self { plan, partitions, unread, .. } = self;
        let is_full = |of: i32| partitions.get(&of).is_some_and(Partition::is_full) || unread.is_full();
        plan.pause_where(is_full, effects);
    }

    /// What is still to be done of what a step has tried: a call whose part is not owed any more has not failed for good.
    pub fn owes(&self, call: Call) -> bool {
        self.holder.is_some()
            && match call {
                Call::Load => !self.to_load.is_empty(),
                Call::ReadAgain => self.again.has_failed(),
                Call::Claim => !self.postponed.is_empty(),
                Call::Commit => self.pending.is_some() || !self.rejections.is_empty(),
                Call::Letter => !self.unread.is_empty(),
            }
    }

    /// A partition of which something is due and nothing can be claimed: more waits in it, too far apart, than can be
    /// written down beside its offset.
    pub fn crowded(&self) -> Option<i32> {
        self.crowded
    }

    /// Messages that wait for their instant.
    pub fn waiting(&self) -> usize {
        self.partitions.values().map(Partition::waiting).sum()
    }

    /// Messages of a partition that no consumer has claimed, where its log ends at `end`.
    pub fn unclaimed(&self, partition: i32, end: i64) -> i64 {
        self.partitions.get(&partition).map_or(0, |held| held.unclaimed(end))
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}
