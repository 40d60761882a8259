//! What the oracle knows of the topics of attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use chrono::{DateTime, Utc};
use kafka_cron::common::model::AttemptRef;
use uuid::Uuid;

/// What a record of a topic of attempts says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    /// `None` is no attempt.
    pub(super) name: Option<AttemptRef>,
    pub(super) not_before: Option<DateTime<Utc>>,
    pub(super) attempts: u32,
    /// Where the same attempt stands before it.
    pub(super) copy_of: Option<i64>,
    /// The request that wrote it arrived late.
    pub(super) is_late: bool,
}

/// One partition of one topic of attempts. A topic that is made anew has another id, and what stood in the one before
/// keeps its fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogId {
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
}

/// One topic's partition of attempts.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// When it was deleted with its topic.
    pub(super) deleted: Option<Instant>,
    pub(super) messages: BTreeMap<i64, Message>,
    pub(super) first: BTreeMap<AttemptRef, i64>,
    pub(super) start: i64,
    pub(super) end: i64,
    /// The committed offset, and the holes below it.
    pub(super) committed: Option<(i64, BTreeSet<i64>)>,
    /// Who has written that it claims an offset, and when by its own clock.
    pub(super) claims: BTreeMap<i64, Vec<(String, DateTime<Utc>)>>,
    /// When each offset was committed past, by the monotonic clock.
    pub(super) passed: BTreeMap<i64, Instant>,
    pub(super) letters: BTreeSet<i64>,
    /// From and to of what is told as deleted unread.
    pub(super) told_deleted: Vec<(i64, i64)>,
}

impl Attempts {
    pub(super) fn is_unclaimed(&self, offset: i64) -> bool {
        self.committed.as_ref().is_none_or(|(next, holes)| offset >= *next || holes.contains(&offset))
    }

    pub(super) fn is_copy(&self, message: &Message) -> bool {
        message.copy_of.is_some()
    }
}
