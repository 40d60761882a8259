//! Messages that wait for their instant: offset and instant of all, and the content of those that are due first, as far
//! as a bound of bytes allows. What waits with its content dropped is read again when it is due, so however much waits,
//! what lies behind it in the log is read on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use chrono::{DateTime, Utc};

use crate::consumer::fetching::reading::Held;

/// What waits in one partition.
#[derive(Debug)]
pub(super) struct Waiting {
    /// How many bytes of content may be kept.
    limit: usize,
    bytes: usize,
    /// The instants of all that wait.
    instants: BTreeMap<i64, DateTime<Utc>>,
    /// Those whose content is here, in the order in which they become due.
    whole: BTreeSet<(DateTime<Utc>, i64)>,
    contents: BTreeMap<i64, Held>,
    /// Those whose content was dropped, in that order.
    bare: BTreeSet<(DateTime<Utc>, i64)>,
    /// Of these, those that are due and must be read again.
    due: BTreeSet<i64>,
}

impl Waiting {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            instants: BTreeMap::new(),
            whole: BTreeSet::new(),
            contents: BTreeMap::new(),
            bare: BTreeSet::new(),
            due: BTreeSet::new(),
        }
    }

    /// Holds a message until an instant. Where there is too much, the content of what is due last is dropped.
    pub(super) fn hold(&mut self, at: DateTime<Utc>, offset: i64, message: Held) {
        self.bytes += message.bytes;
        self.instants.insert(offset, at);
        self.whole.insert((at, offset));
        self.contents.insert(offset, message);
        while self.bytes > self.limit
            && let Some((at, offset)) = self.whole.pop_last()
        {
            self.bytes -= self.contents.remove(&offset).map_or(0, |message| message.bytes);
            self.bare.insert((at, offset));
        }
    }

    /// Those that are due at `now` and whose content is here. The others are to be read again from now on.
    pub(super) fn take_all_due(&mut self, now: DateTime<Utc>) -> Vec<(i64, Held)> {
        let is_due = |first: Option<&(DateTime<Utc>, i64)>| first.copied().filter(|(at, _)| *at <= now);
        let mut all = Vec::new();
        while let Some((at, offset)) = is_due(self.whole.first()) {
            self.whole.remove(&(at, offset));
            self.instants.remove(&offset);
            if let Some(message) = self.contents.remove(&offset) {
                self.bytes -= message.bytes;
                all.push((offset, message));
            }
        }
        while let Some((at, offset)) = is_due(self.bare.first()) {
            self.bare.remove(&(at, offset));
            self.due.insert(offset);
        }
        all
    }

    /// Takes those of the messages whose content is here.
    pub(super) fn take_all(&mut self, is_one: impl Fn(&Held) -> bool) -> Vec<(i64, Held)> {
        let of = |(offset, message): (&i64, &Held)| is_one(message).then_some(*offset);
        let offsets: Vec<i64> = self.contents.iter().filter_map(of).collect();
        let take = |offset: i64| {
            let message = self.contents.remove(&offset)?;
            self.bytes -= message.bytes;
            let at = self.instants.remove(&offset)?;
            self.whole.remove(&(at, offset));
            Some((offset, message))
        };
        offsets.into_iter().filter_map(take).collect()
    }

    /// The clock was set back to `now`: what was due may not be due any more.
    pub(super) fn wait_again(&mut self, now: DateTime<Utc>) {
        let (instants, bare) = (&self.instants, &mut self.bare);
        self.due.retain(|offset| match instants.get(offset).filter(|at| **at > now) {
            Some(at) => !bare.insert((*at, *offset)),
            None => true,
        });
    }

    /// The first that is due and must be read again.
    pub(super) fn first_due(&self) -> Option<i64> {
        self.due.first().copied()
    }

    /// Takes one out of those that are due and must be read again, and says whether it was among them.
    pub(super) fn take_due(&mut self, offset: i64) -> bool {
        let is_due = self.due.remove(&offset);
        if is_due {
            self.instants.remove(&offset);
        }
        is_due
    }

    /// The offsets in `span` whose content was dropped.
    pub(super) fn without_content(&self, span: Range<i64>) -> BTreeSet<i64> {
        let offsets = self.instants.range(span).map(|(offset, _)| *offset);
        offsets.filter(|offset| !self.contents.contains_key(offset)).collect()
    }

    /// Forgets one whose content was dropped: it is not in the log any more, or cannot be read.
    pub(super) fn forget(&mut self, offset: i64) {
        if let Some(at) = self.instants.remove(&offset) {
            self.bare.remove(&(at, offset));
            self.due.remove(&offset);
        }
    }

    /// The offsets below `end`, in order.
    pub(super) fn below(&self, end: i64) -> impl Iterator<Item = i64> {
        self.instants.range(..end).map(|(offset, _)| *offset)
    }

    /// The next instant at which one becomes due.
    pub(super) fn next_due(&self) -> Option<DateTime<Utc>> {
        [self.whole.first(), self.bare.first()].into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// How many wait, those that are due and must be read again among them.
    pub(super) fn len(&self) -> usize {
        self.instants.len()
    }
}
