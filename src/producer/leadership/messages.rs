//! The messages of leadership: what goes in and what comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Published, Term};
use crate::common::broker::BrokerError;
use crate::common::clock::Skew;
use crate::common::membership::{self, Change, Standing};
use crate::common::model::ClusterName;

/// The options of leadership.
#[derive(Debug, Clone)]
pub struct Options {
    /// The clusters whose cursors are committed, in the scheduler's order.
    pub clusters: Vec<ClusterName>,
    /// Where a cursor is lost, ticks that were due longer ago than this are given up.
    pub window: Duration,
    /// Our membership.
    pub standing: Standing,
}

/// How far every cluster is; the newest of a term replaces those before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorCommit {
    /// The term.
    pub term: Term,
    /// The cursors, in the order of the clusters; none of a cluster that has not begun.
    pub cursors: Vec<Option<DateTime<Utc>>>,
    /// The offsets, by partition, from which the next leader must read `cron-runs`.
    pub reads: BTreeMap<i32, i64>,
}

/// Where a cluster begins in a term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Ticks after this are owed.
    pub cursor: DateTime<Utc>,
    /// The instant of a reboot whose jobs are owed a tick.
    pub reboot: Option<DateTime<Utc>>,
    /// Which of the owed ticks are published already.
    pub published: Published,
    /// What was published before the cursor is unknown: the cursor was lost.
    pub is_gap: bool,
}

/// What leadership learns from other threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Who is a member, and who is assigned the partition.
    Membership(Change),
    /// How far the scheduler is.
    Cursors(CursorCommit),
}

/// How long a producer whose clock is off stays out of the group before it tries again.
pub const REST: Duration = Duration::from_secs(30);

/// The effects of a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// We lead.
    Begin {
        /// The term.
        term: Term,
        /// How often our membership had been lost before the broker confirmed that we lead.
        losses: u64,
    },
    /// This producer owns a cluster's ticks from here on.
    Start {
        /// The term.
        term: Term,
        /// The cluster's number.
        cluster: usize,
        /// Where it begins.
        start: Start,
    },
    /// We lead no more.
    End,
    /// These cursors are committed.
    Kept(Vec<Option<DateTime<Utc>>>),
    /// A cursor lies so far ahead of our clock: another host's clock, or ours, is wrong. Nothing begins before that.
    ClockBehind(Duration),
    /// How far our clock is from the broker's, as compared before a term begins and every few seconds in it. It is
    /// close enough.
    Clock(Skew),
    /// Our clock is so far ahead of the broker's (negative: behind) that we do not lead, or lead no more. Other
    /// producers are to have the partition for [`REST`].
    ClockOff(TimeDelta),
    /// We could not take everything over for long, and another producer is there: that one is to have the partition for
    /// so long.
    GiveWay(Duration),
    /// A call failed; it is made again.
    Failed(Failure),
    /// A warning for the log.
    Warn(String),
}

impl Effect {
    /// What the membership is to hear of it: that we lead, or for how long we leave the group, so that another one leads.
    pub fn for_membership(&self) -> Option<membership::Event> {
        match self {
            Self::Begin { .. } => Some(membership::Event::TakenUp),
            Self::ClockOff(_) => Some(membership::Event::StayAway(REST)),
            Self::GiveWay(away) => Some(membership::Event::StayAway(*away)),
            _ => None,
        }
    }
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub call: Call,
    /// The topic that it was about, where it was about one.
    pub topic: Option<String>,
    /// What came of it.
    pub error: BrokerError,
}

/// The calls of leadership, as far as their failures are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The beat by which our clock is compared with the broker's.
    Compare,
    /// The request for the cursors, or for what else must be known before they are judged.
    LookUp,
    /// The commit of cursors by which they become ours.
    Claim,
    /// The reading of what a cluster's topic holds since its cursor.
    Read,
    /// The commit of cursors that have moved.
    CursorCommit,
}

impl Call {
    /// What is attempted by it.
    pub fn attempt(self) -> &'static str {
        match self {
            Self::Compare => "comparing our clock with the broker's by a beat to cron-runs",
            Self::LookUp => "looking up the cursors",
            Self::Claim => "committing the cursors to take them over",
            Self::Read => "reading what is published since the cursor",
            Self::CursorCommit => "committing the cursors",
        }
    }

    /// Whether it commits cursors.
    pub fn is_commit(self) -> bool {
        matches!(self, Self::Claim | Self::CursorCommit)
    }

    /// What came of it, where it failed as a whole.
    pub(super) fn failed(self, error: BrokerError) -> Failure {
        Failure { call: self, topic: None, error }
    }

    /// What came of it for one topic.
    pub(super) fn failed_for(self, topic: String, error: BrokerError) -> Failure {
        Failure { call: self, topic: Some(topic), error }
    }
}

impl Failure {
    /// What was attempted.
    pub fn attempt(&self) -> String {
        let of = self.topic.as_deref().map_or_else(String::new, |topic| format!(", topic {topic}"));
        format!("{}{of}", self.call.attempt())
    }
}
