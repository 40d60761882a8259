//! Claiming as a state machine: takes assignments and what was read ([`Claimer::handle`]), claims for the workers that are
//! free, and says what to start. It is the only one that commits. Each call of [`Claimer::step`] does a bounded piece of that.
//! It also says when to listen to other threads ([`Claimer::listens`]), how long to wait, and when it has ended. The thread and
//! the simulation drive it by the same calls, and carry out what follows by the same [outbox](super::outbox).
//!
//! This file knows what is ours and where each partition goes on. [`claiming`] claims and starts, [`writing`] records claims,
//! [`reread`] reads again what waited too long to be kept, [`gone`] counts what a deleted topic took with it, and
//! [`unreadable`] writes letters for what could not be read. [`positions`] knows whose position is to be looked up,
//! [`reading_plan`] what is to be read, and [`waiting`] when claiming goes on. [`questions`] answers what metrics and duties ask.

mod claiming;
mod gone;
mod positions;
mod questions;
mod reading_plan;
mod reread;
#[cfg(test)]
pub(super) mod tests;
mod unreadable;
mod waiting;
mod writing;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

pub use self::waiting::FIRST_REST;
#[cfg(test)]
pub use self::waiting::{FIRST_CLAIM_PATIENCE, LAST_ANSWER};
pub use super::messages::{Call, Claimed, Counts, Effect, Event, Failure, Options, Report};

use self::claiming::Granted;
use self::gone::Former;
use self::positions::{LOAD_AGAIN, Positions};
use self::reading_plan::ReadingPlan;
use self::reread::Again;
use self::unreadable::Unread;
use self::waiting::Waiting;
use self::writing::{ClaimLog, Of};
use super::claims::Pending;
use super::loading;
use super::loading::Loaded;
use super::partition::{Partition, Taken};
use crate::common::broker::{BrokerError, Client, Holder};
use crate::common::clock::Now;
use crate::common::membership::Change;
use crate::common::model::{self, Place};
use crate::common::outgoing::Outgoing;
use crate::common::{bounds, holes};
use crate::consumer::fetching::reading::{LogSlice, Read};

/// How long a call may take where the lease is short.
const CALL: Duration = Duration::from_secs(2);
/// The state of claiming.
#[derive(Debug)]
pub struct Claimer {
    options: Options,
    waiting: Waiting,
    plan: ReadingPlan,
    /// Another process has our place in the group.
    is_fenced: bool,
    holder: Option<Holder>,
    partitions: BTreeMap<i32, Partition>,
    positions: Positions,
    former: Former,
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
}

impl Claimer {
    /// Creates one that owns nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            waiting: Waiting::new(options.workers),
            plan: ReadingPlan::default(),
            is_fenced: false,
            options,
            holder: None,
            partitions: BTreeMap::new(),
            positions: Positions::default(),
            former: Former::default(),
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
            Event::WorkersFree(count) => self.waiting.add_free(count),
            Event::ClockSettled => self.waiting.clock_settled(),
            Event::OrdersKnown => self.waiting.orders_known(),
            Event::Ordered(runs) => self.partitions.values_mut().for_each(|held| held.hurry(&runs)),
            Event::Admits(admits) => self.waiting.admit(admits),
            Event::Leave => self.waiting.leave(now.mono),
        }
        self.pause_where_full(&mut effects);
        effects
    }

    /// Whether other threads are to be listened to: not while something that was granted waits to be started, and not once we
    /// leave. Until then the next step is made at once.
    pub fn listens(&self) -> bool {
        !self.has_granted() && self.leaves_by().is_none()
    }

    /// Whether nothing more comes of us: our place is taken by another process, or we leave, and nothing is under way or that
    /// was waited for long enough.
    pub fn is_over(&self, now: Instant) -> bool {
        let has_left = |by| !self.has_pending() || (now >= by && !self.has_granted());
        self.is_fenced || self.leaves_by().is_some_and(has_left)
    }

    /// Whether attempts run, as far as workers have told.
    pub fn has_busy_workers(&self) -> bool {
        self.waiting.free() < self.options.workers
    }

    /// Until when is waited for what is under way; `None` while we do not leave.
    pub fn leaves_by(&self) -> Option<Instant> {
        self.waiting.leaves_by()
    }

    /// Whether what the plan of this number brings counts: whether it is the newest.
    pub fn reads_by(&self, plan: u64) -> bool {
        self.plan.is(plan)
    }

    /// A change of the membership. Everything that is held unclaimed is let go and read anew from the committed
    /// offsets, also for partitions that stayed: under the old generation another member may have moved them. What was
    /// granted is ours and still starts.
    fn changed(&mut self, change: &Change, effects: &mut Vec<Effect>) {
        for (partition, held) in std::mem::take(&mut self.partitions) {
            self.former.remember(partition, &held);
        }
        self.unread.clear();
        self.postponed.clear();
        self.crowded = None;
        self.rejections.clear();
        // Whatever is still unanswered was claimed under the old generation: no consumer starts it, and its lease ends it.
        if let Some(pending) = self.pending.take() {
            self.counts.refused += pending.claims.values().map(Vec::len).sum::<usize>() as u64;
        }
        match change {
            Change::Assigned { holder, partitions, .. } => {
                let ours: Vec<i32> = partitions.iter().map(|p| p.partition).collect();
                self.former.keep(&ours);
                self.positions.assign(ours);
                self.holder = Some(holder.clone());
                self.waits_for_new_id = false;
            }
            Change::Lost | Change::Fenced => {
                self.positions.assign(Vec::new());
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
            return self.positions.lose(partition);
        }
        if span.start > held.next_read() {
            let missing = held.next_read()..span.start;
            effects.push(Effect::Report(Report::Missing(partition, missing)));
            return self.positions.lose(partition);
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
        self.positions.was_read(partition);
    }

    /// Has a partition's position looked up anew. A claim that is under way is decided first, for what it claims is at hand
    /// and may be started.
    fn lost_position(&mut self, partition: i32) {
        if self.partitions.contains_key(&partition) {
            self.positions.lose(partition);
        }
    }

    /// Makes the next step.
    ///
    /// What is granted in one step is started by the next, which does nothing else: the call that brought the answer
    /// may have taken any time, and only an instant that was read after it tells whether the lease still holds.
    pub fn step(&mut self, client: &mut dyn Client, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.waiting.begin_step(now.mono);
        if self.has_granted() {
            self.waiting.claimed(now.mono);
            self.start_granted(now, &mut effects);
        } else if self.pending.is_some() {
            self.send_pending(client, now, &mut effects);
        } else if !self.waits_for_new_id && self.leaves_by().is_none() {
            if let Err(error) = self.load(client, now, &mut effects) {
                effects.push(Effect::Report(Report::PositionsUnknown(error.clone())));
                effects.push(Effect::Failed(Failure { call: Call::Load, error }));
            }
            self.read_again(client, now, &mut effects);
            self.write_letters(client, now, &mut effects);
            self.claim(client, now, &mut effects);
            self.send_pending(client, now, &mut effects);
        }
        let has_failed = effects.iter().any(|effect| matches!(effect, Effect::Failed(_)));
        self.waiting.end_step(has_failed, now.mono);
        self.pause_where_full(&mut effects);
        effects
    }

    /// How long to wait before the next step, if nothing comes before that: at most a second, because the wall clock may
    /// jump.
    pub fn wait(&self, now: Now) -> Duration {
        if self.has_granted() {
            Duration::ZERO
        } else if self.is_busy() || self.is_resting() {
            self.waiting.rest()
        } else {
            self.waiting.until_claim(self.next_due(), now)
        }
    }

    /// Whether a claim lingers until more workers are free.
    pub fn lingers(&self, now: Now) -> bool {
        self.waiting.lingers(now.mono)
    }

    /// Whether a call failed in the last step.
    pub fn is_resting(&self) -> bool {
        !self.waiting.rest().is_zero()
    }

    fn load(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), BrokerError> {
        if !self.positions.is_due(now.mono) {
            return Ok(());
        }
        // Those whose position was lost: nothing more is claimed by what is known of them.
        for partition in self.positions.unknown() {
            if let Some(held) = self.partitions.remove(partition) {
                self.former.remember(*partition, &held);
            }
            self.unread.forget(*partition);
        }
        let of = (self.options.topic.as_str(), self.options.group.as_str());
        let found = self.positions.look_up(client, of, now.mono);
        effects.extend(self.positions.take_reports().into_iter().map(Effect::Report));
        let (loaded, error) = found?;
        effects.extend(error.map(|error| Effect::Failed(Failure { call: Call::Load, error })));
        if loaded.is_empty() {
            return Ok(());
        }
        for Loaded { partition, is_new, log, position } in loaded {
            let gone = self.former.gone(partition, log.topic_id);
            effects.extend(gone.map(|count| Effect::Report(Report::Gone(partition, count))));
            let place = self.place(log.topic_id, partition, position.unread_from);
            let finding = position.finding.as_ref();
            effects.extend(finding.map(|finding| Effect::Report(Report::Found(partition, finding.clone()))));
            let event = finding.and_then(|finding| loading::event(finding, place, now.wall));
            if let Some(event) = event
                && let Err(error) = self.write_event(client, &event, now)
            {
                effects.push(Effect::Failed(Failure { call: Call::Load, error }));
                self.positions.look_up_after(partition, now.mono + LOAD_AGAIN);
                continue;
            }
            let read_from = position.read_from(log, bounds::DUPLICATE_WINDOW);
            let waiting_bytes = self.options.waiting_bytes;
            let mut held =
                Partition::new(log.topic_id, position, read_from, bounds::DUPLICATE_WINDOW, waiting_bytes);
            held.limit_text(self.text_limit);
            held.log_ends(log.end);
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
        let works = self.positions.is_busy() || self.reads_again() || self.unread.is_busy();
        let works = works || (self.may_claim && self.holder.is_some());
        self.has_pending() || (!self.waits_for_new_id && works)
    }

    /// Reading a partition pauses while it holds as much as it may.
    fn pause_where_full(&mut self, effects: &mut Vec<Effect>) {
        let Self { plan, partitions, unread, .. } = self;
        let is_full = |of: i32| partitions.get(&of).is_some_and(Partition::is_full) || unread.is_full();
        plan.pause_where(is_full, effects);
    }

    /// The log of a partition ends at this offset, as a fetch has told.
    pub fn log_ends(&mut self, partition: i32, end: i64) {
        self.partitions.get_mut(&partition).into_iter().for_each(|held| held.log_ends(end));
    }
}
