//! One partition between reading and claiming: what is held, what is ready, and what a commit has to say.
//!
//! It is pure and does not know Kafka: records go in, claims come out, and the caller gets the offset and the holes
//! that make a claim. Of messages that wait for their instant it keeps, beyond a bound, only offset and instant
//! ([`waiting`]): such a message must be read again when it is due.

#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::waiting::Waiting;
use super::duplicates::Duplicates;
use super::position::Position;
use crate::common::bounds::{HELD_BYTES_PER_PARTITION, READY_PER_PARTITION, WAITING_PER_PARTITION};
use crate::common::holes;
use crate::common::model::{Order, RunId};
use crate::consumer::fetching::reading::{Held, Read, Unreadable};

/// What became of a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is held until it is due and a worker is free.
    Held,
    /// The same attempt stands shortly before it: dropped, to be committed past.
    Copy,
    /// It had been claimed before this partition was ours; it only feeds the window of duplicates.
    Old,
}

/// A partition that is ours.
#[derive(Debug)]
pub struct Partition {
    topic_id: Uuid,
    /// Everything below is claimed or settled, but for what is held or a hole not yet read.
    passed: i64,
    /// Below `passed`, unclaimed, and not read yet.
    unread_holes: BTreeSet<i64>,
    /// Read, and on their way to the dead-letter topic: unclaimed until the letter is confirmed.
    unreadable: BTreeSet<i64>,
    /// What may be claimed now.
    ready: BTreeMap<i64, Held>,
    ready_bytes: usize,
    waiting: Waiting,
    /// The latest instant by which `ready` and `waiting` were told apart.
    looked_at: DateTime<Utc>,
    duplicates: Duplicates,
    unread_from: i64,
    /// Where reading goes on: below `unread_from` while what was claimed before is read to know copies.
    next_read: i64,
    /// Where the log ended when that was last told.
    log_end: i64,
    /// The longest text that a commit may have beside it.
    text_limit: usize,
    /// Nothing is committed yet, and until something is nothing may be claimed.
    unrecorded: bool,
    /// Settled since the last commit was put together, and without a claim: copies and dead letters.
    dirty: bool,
}

impl Partition {
    /// A partition as its new owner finds it, to be read from `read_from` on; `window` is how many offsets back a copy
    /// is known, and `waiting_bytes` how many bytes of messages that wait are kept.
    pub fn new(
        topic_id: Uuid,
        position: Position,
        read_from: i64,
        window: i64,
        waiting_bytes: usize,
    ) -> Self {
        Self {
            topic_id,
            passed: position.unread_from,
            unread_holes: position.holes,
            unreadable: BTreeSet::new(),
            ready: BTreeMap::new(),
            ready_bytes: 0,
            waiting: Waiting::new(waiting_bytes),
            looked_at: DateTime::<Utc>::MIN_UTC,
            duplicates: Duplicates::new(window),
            unread_from: position.unread_from,
            next_read: read_from,
            log_end: position.unread_from,
            text_limit: holes::MAX_METADATA_BYTES,
            unrecorded: false,
            // What was odd about the offset is told once: a commit puts it right for the next owner.
            dirty: position.finding.is_some(),
        }
    }

    /// There is no committed offset: one must stand before the first claim is written. Where none stands, claims on
    /// record count as granted, and this one may yet be refused.
    pub fn record_first(&mut self) {
        self.unrecorded = true;
        self.dirty = true;
    }

    /// Whether the record at `offset` is still to be claimed, as opposed to one that is read only to know copies.
    pub fn is_unclaimed(&self, offset: i64) -> bool {
        offset >= self.unread_from || self.unread_holes.contains(&offset)
    }

    /// Takes a record that could be read as an attempt of this cluster. Offsets grow from call to call.
    pub fn take(&mut self, offset: i64, message: Held) -> Taken {
        let name = message.attempt.name();
        let copy = self.duplicates.is_copy(offset, name);
        if !self.is_unclaimed(offset) {
            return Taken::Old;
        }
        if copy {
            self.settle(offset, offset);
            return Taken::Copy;
        }
        self.unread_holes.remove(&offset);
        self.unread_from = self.unread_from.max(offset + 1);
        match message.attempt.not_before {
            Some(at) if at > self.looked_at => self.waiting.hold(at, offset, message),
            _ => self.make_ready(offset, message),
        }
        Taken::Held
    }

    fn make_ready(&mut self, offset: i64, message: Held) {
        self.ready_bytes += message.bytes;
        self.ready.insert(offset, message);
    }

    /// The first message that is due and must be read again, as long as there is room for what else that brings.
    pub fn to_read_again(&self) -> Option<i64> {
        let has_room =
            self.ready.len() < READY_PER_PARTITION / 2 && self.ready_bytes < HELD_BYTES_PER_PARTITION / 2;
        self.waiting.first_due().filter(|_| has_room)
    }

    /// Takes what was read again: of the messages in `span`, those that are due and whose content was dropped. What is not
    /// there any more was deleted, and is settled. Returns what cannot be read any more, as
    /// [`Partition::take_unreadable`].
    pub fn take_again(&mut self, records: Vec<(i64, Read)>, span: Range<i64>) -> Vec<(i64, Unreadable)> {
        let mut missing = self.waiting.without_content(span);
        let mut unreadable = Vec::new();
        for (offset, read) in records {
            match read {
                Read::Attempt(message) => {
                    missing.remove(&offset);
                    if self.waiting.take_due(offset) {
                        self.make_ready(offset, message);
                    }
                }
                Read::Unreadable(letter) => {
                    let gone: Vec<i64> = missing.range(offset..=letter.last_offset).copied().collect();
                    for offset in &gone {
                        missing.remove(offset);
                        self.waiting.forget(*offset);
                    }
                    self.unreadable.extend(&gone);
                    unreadable.extend(gone.first().map(|offset| (*offset, letter)));
                }
            }
        }
        for offset in missing {
            self.waiting.forget(offset);
            self.dirty = true;
        }
        unreadable
    }

    /// Takes what is no attempt of this cluster, a record or all of a batch, and returns the first of its offsets that
    /// is unclaimed, for which a letter must be written. Until [`Partition::settle`] all such are holes.
    pub fn take_unreadable(&mut self, first: i64, last: i64) -> Option<i64> {
        let holes = self.unread_holes.range(first..=last).copied();
        let unclaimed: Vec<i64> = holes.chain(first.max(self.unread_from)..=last).collect();
        for offset in &unclaimed {
            self.unread_holes.remove(offset);
        }
        self.unread_from = self.unread_from.max(last + 1);
        self.unreadable.extend(&unclaimed);
        unclaimed.first().copied()
    }

    /// The offsets from `first` to `last` will never be claimed: a copy, or what went to the dead-letter topic.
    pub fn settle(&mut self, first: i64, last: i64) {
        for offset in first..=last {
            self.unreadable.remove(&offset);
            self.unread_holes.remove(&offset);
        }
        self.unread_from = self.unread_from.max(last + 1);
        // What lies between is held or a gap of the log (a batch of another kind), which holds nothing to claim.
        self.passed = self.passed.max(last + 1);
        self.dirty = true;
    }

    /// Reading has come to `next`: holes below it that were not met are gone from the log.
    pub fn read_to(&mut self, next: i64) {
        self.unread_holes = self.unread_holes.split_off(&next);
        self.unread_from = self.unread_from.max(next);
        self.next_read = self.next_read.max(next);
    }

    /// Offsets that may be claimed at `now`, lowest first, at most `limit`.
    pub fn due(&mut self, now: DateTime<Utc>, limit: usize) -> Vec<i64> {
        self.look(now);
        let limit = if self.unrecorded { 0 } else { limit };
        self.ready.keys().take(limit).copied().collect()
    }

    /// Tells what is due at `now` from what waits.
    pub fn look(&mut self, now: DateTime<Utc>) {
        if now < self.looked_at {
            self.wait_again(now);
        }
        self.looked_at = now;
        for (offset, message) in self.waiting.take_all_due(now) {
            self.make_ready(offset, message);
        }
    }

    /// These runs are to end: what waits of them may be claimed now. Of messages whose content was dropped the run is not
    /// known, and they wait on.
    pub fn hurry(&mut self, runs: &[(RunId, DateTime<Utc>)]) {
        let is_about = |held: &Held| {
            let published_at = DateTime::from_timestamp_millis(held.published_ms).unwrap_or_default();
            let id = held.attempt.run.id;
            runs.iter().any(|(run, at)| *run == id && Order::is_about(*at, published_at))
        };
        for (offset, message) in self.waiting.take_all(is_about) {
            self.make_ready(offset, message);
        }
    }

    /// The wall clock was set back: what was due by it and was not claimed may not be due any more.
    fn wait_again(&mut self, now: DateTime<Utc>) {
        self.waiting.wait_again(now);
        let is_early = |message: &Held| message.attempt.not_before.filter(|at| *at > now);
        let early: Vec<(i64, DateTime<Utc>)> =
            self.ready.iter().filter_map(|(offset, message)| Some((*offset, is_early(message)?))).collect();
        for (offset, at) in early {
            if let Some(message) = self.forget(offset) {
                self.waiting.hold(at, offset, message);
            }
        }
    }

    /// The next instant at which something becomes due by itself.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.waiting.next_due()
    }

    /// A message that may be claimed.
    pub fn ready(&self, offset: i64) -> Option<&Held> {
        self.ready.get(&offset)
    }

    /// Offset and text of the commit that claims `offsets` (none: that only moves past what is settled). `None` when
    /// the holes that it would leave cannot be written down: the partition waits.
    pub fn commit_for(&self, offsets: &[i64]) -> Option<(i64, String)> {
        let passed = offsets.iter().map(|offset| offset + 1).fold(self.passed, i64::max);
        let unclaimed = self.ready.range(..passed).map(|(offset, _)| *offset);
        let unclaimed =
            unclaimed.filter(|offset| !offsets.contains(offset)).chain(self.waiting.below(passed));
        let unclaimed = unclaimed.chain(self.unread_holes.range(..passed).copied());
        let mut holes: Vec<i64> = unclaimed.chain(self.unreadable.range(..passed).copied()).collect();
        holes.sort_unstable();
        holes.dedup();
        holes::encode_within(self.text_limit, self.topic_id, passed, &holes).map(|text| (passed, text))
    }

    /// As [`Partition::commit_for`], with as many of the offsets, from the first on, as leave holes that can be written
    /// down: found by halving, for many offsets and many holes make each try long.
    pub fn commit_for_some(&self, offsets: &mut Vec<i64>) -> Option<(i64, String)> {
        if let Some(commit) = self.commit_for(offsets) {
            return Some(commit);
        }
        let (mut fits, mut too_many) = (0, offsets.len());
        while too_many - fits > 1 {
            let half = fits + (too_many - fits) / 2;
            if self.commit_for(&offsets[..half]).is_some() { fits = half } else { too_many = half }
        }
        offsets.truncate(fits);
        self.commit_for(offsets)
    }

    /// The text beside an offset must not be longer than this, in bytes: the broker keeps no more.
    pub fn limit_text(&mut self, bytes: usize) {
        self.text_limit = bytes;
    }

    /// A commit was put together and will be sent until it is granted or refused. What is settled from now on is not
    /// in it.
    pub fn is_committing(&mut self) {
        self.dirty = false;
    }

    /// The commit that claims `offsets` was granted: they are handed out.
    pub fn claimed(&mut self, offsets: &[i64]) -> Vec<(i64, Held)> {
        self.unrecorded = false;
        self.passed = offsets.iter().map(|offset| offset + 1).fold(self.passed, i64::max);
        offsets.iter().filter_map(|offset| Some((*offset, self.forget(*offset)?))).collect()
    }

    /// Whether there is something to commit although nothing is claimed.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether reading on would hold more than a partition may: messages that are ready and wait for a worker, or messages
    /// that wait for their instant.
    pub fn is_full(&self) -> bool {
        self.ready.len() >= READY_PER_PARTITION
            || self.ready_bytes >= HELD_BYTES_PER_PARTITION
            || self.is_full_of_waiting()
    }

    /// Whether so many messages wait for their instant that what lies behind them is not read, due or not.
    pub fn is_full_of_waiting(&self) -> bool {
        self.waiting.len() >= WAITING_PER_PARTITION
    }

    /// Messages that no consumer has claimed, read or not, where the log ends at `end`.
    pub fn unclaimed(&self, end: i64) -> i64 {
        let below = self.ready.len() + self.waiting.len() + self.unread_holes.len() + self.unreadable.len();
        (end - self.unread_from).max(0) + i64::try_from(below).unwrap_or(i64::MAX)
    }

    /// The log ends at this offset.
    pub fn log_ends(&mut self, end: i64) {
        self.log_end = end;
    }

    /// As [`Self::unclaimed`], where the log ended when that was last told.
    pub fn known_unclaimed(&self) -> i64 {
        self.unclaimed(self.log_end)
    }

    /// How many of them wait for their instant.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The topic's id.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// Where reading goes on.
    pub fn next_read(&self) -> i64 {
        self.next_read
    }

    fn forget(&mut self, offset: i64) -> Option<Held> {
        let message = self.ready.remove(&offset)?;
        self.ready_bytes -= message.bytes;
        Some(message)
    }
}
