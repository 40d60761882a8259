//! One partition between reading and claiming: what is held, what is ready, and what a commit has to say.
//!
//! Pure. It never learns that Kafka exists: records go in, claims come out, and whoever asks gets the offset and the
//! holes that make a claim.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::duplicates::Duplicates;
use super::position::Position;
use crate::common::holes;
use crate::common::words::{Attempt, AttemptRef};

/// A message that nobody has claimed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it asks for.
    pub attempt: Attempt,
    /// When it was written, in milliseconds since the epoch by the writer's clock.
    pub published_ms: i64,
    /// Its size on the wire.
    pub bytes: usize,
}

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
    held: BTreeMap<i64, Held>,
    ready: BTreeSet<i64>,
    waiting: BTreeSet<(DateTime<Utc>, i64)>,
    /// The latest instant by which `ready` and `waiting` were told apart.
    looked_at: DateTime<Utc>,
    held_bytes: usize,
    duplicates: Duplicates,
    unread_from: i64,
    /// Where reading goes on: below `unread_from` while what was claimed before is read to know copies.
    next_read: i64,
    /// Nothing is committed yet, and until something is nothing may be claimed.
    unrecorded: bool,
    /// Settled since the last commit was put together, and without a claim: copies and dead letters.
    dirty: bool,
}

impl Partition {
    /// A partition as its new owner finds it, to be read from `read_from` on; `window` is how many offsets back a copy
    /// is known.
    pub fn new(topic_id: Uuid, position: Position, read_from: i64, window: i64) -> Self {
        Self {
            topic_id,
            passed: position.unread_from,
            unread_holes: position.holes,
            unreadable: BTreeSet::new(),
            held: BTreeMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            looked_at: DateTime::<Utc>::MIN_UTC,
            held_bytes: 0,
            duplicates: Duplicates::new(window),
            unread_from: position.unread_from,
            next_read: read_from,
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
        let name = AttemptRef { run: message.attempt.run.id, attempt: message.attempt.attempt };
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
        self.held_bytes += message.bytes;
        match message.attempt.not_before {
            Some(at) => drop(self.waiting.insert((at, offset))),
            None => drop(self.ready.insert(offset)),
        }
        self.held.insert(offset, message);
        Taken::Held
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
        if now < self.looked_at {
            self.wait_again(now);
        }
        self.looked_at = now;
        while let Some((at, offset)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(at, offset));
            self.ready.insert(offset);
        }
        let limit = if self.unrecorded { 0 } else { limit };
        self.ready.iter().take(limit).copied().collect()
    }

    /// The wall clock was set back: what was due by it and was not claimed may not be due any more.
    fn wait_again(&mut self, now: DateTime<Utc>) {
        for (offset, message) in &self.held {
            if let Some(at) = message.attempt.not_before.filter(|at| *at > now)
                && self.ready.remove(offset)
            {
                self.waiting.insert((at, *offset));
            }
        }
    }

    /// The next instant at which something becomes due by itself.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// A message that is held.
    pub fn held(&self, offset: i64) -> Option<&Held> {
        self.held.get(&offset)
    }

    /// Offset and text of the commit that claims `offsets` (none: that only moves past what is settled). `None` when
    /// the holes that it would leave cannot be written down: the partition waits.
    pub fn commit_for(&self, offsets: &[i64]) -> Option<(i64, String)> {
        let passed = offsets.iter().map(|offset| offset + 1).fold(self.passed, i64::max);
        let unclaimed = self.held.range(..passed).map(|(offset, _)| *offset);
        let unclaimed = unclaimed.chain(self.unread_holes.iter().copied());
        let unclaimed = unclaimed.chain(self.unreadable.range(..passed).copied());
        let holes: BTreeSet<i64> = unclaimed.filter(|offset| !offsets.contains(offset)).collect();
        holes::encode(self.topic_id, passed, &holes).map(|text| (passed, text))
    }

    /// As [`Partition::commit_for`], with as many of the offsets, from the first on, as leave holes that can be written
    /// down.
    pub fn commit_for_some(&self, offsets: &mut Vec<i64>) -> Option<(i64, String)> {
        loop {
            let commit = self.commit_for(offsets);
            if commit.is_some() || offsets.pop().is_none() {
                return commit;
            }
        }
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

    /// Messages that are ready, and the bytes of all that are held.
    pub fn load(&self) -> (usize, usize) {
        (self.held.len() - self.waiting.len(), self.held_bytes)
    }

    /// Messages that nobody has claimed, read or not, where the log ends at `end`.
    pub fn unclaimed(&self, end: i64) -> i64 {
        let below = self.held.len() + self.unread_holes.len() + self.unreadable.len();
        (end - self.unread_from).max(0) + i64::try_from(below).unwrap_or(i64::MAX)
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
        let message = self.held.remove(&offset)?;
        self.held_bytes -= message.bytes;
        self.ready.remove(&offset);
        if let Some(at) = message.attempt.not_before {
            self.waiting.remove(&(at, offset));
        }
        Some(message)
    }
}
