//! What claiming learns and what follows from it.

use std::ops::Range;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::position::Finding;
use crate::common::broker::BrokerError;
use crate::common::membership::Change;
use crate::common::model::{self, Attempt, ClusterName, Place, RunId};
use crate::common::wire::DeadReason;
use crate::consumer::fetching::reading::LogSlice;

/// What the claiming machine is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster whose attempts may be run.
    pub cluster: ClusterName,
    /// The topic that they are read from.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// Our name in events.
    pub consumer: String,
    /// How long a claim counts without a sign of life.
    pub lease: Duration,
    /// How many bytes of messages that wait for their instant are kept, a partition; of the rest, offset and instant.
    pub waiting_bytes: usize,
    /// How many workers there are.
    pub workers: usize,
}

/// What claiming learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Our share of the topic has changed.
    Changed(Change),
    /// A piece of a partition's log was read.
    Read {
        /// The number of the plan by which it was read.
        plan: u64,
        /// The partition.
        partition: i32,
        /// What was read.
        slice: LogSlice,
    },
    /// A partition's leader says that our offset is out of range, or that it has no such topic.
    LostPosition {
        /// The number of the plan by which the partition was read.
        plan: u64,
        /// The partition.
        partition: i32,
    },
    /// So many workers have become free.
    WorkersFree(usize),
    /// The host's clock was compared with the broker's, or it is known that it cannot be.
    ClockSettled,
    /// All orders were read that had been written before this consumer was started, or there are none.
    OrdersKnown,
    /// These runs are to end, by orders of these instants: what is held of them is claimed without waiting for its instant, and no
    /// worker starts it.
    Ordered(Vec<(RunId, DateTime<Utc>)>),
    /// Whether the host has room for new attempts, when that has changed ([`crate::consumer::pressure`]).
    Admits(bool),
    /// The program ends: nothing more is claimed, and a claim that is under way is waited for.
    Leave,
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
    /// The instant by our monotonic clock before which it must have been started: later, its lease may be over.
    pub start_by: Instant,
}

/// What follows from an event or a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Hand it to a worker.
    Start(Box<Claimed>),
    /// Have the membership join under a new member id; nothing is claimed before.
    JoinAsNew,
    /// Read these partitions, each from its offset; nothing else is ours.
    Read {
        /// The number of this plan. What an older one brings is dropped.
        plan: u64,
        /// The partitions and their offsets.
        offsets: Vec<(i32, i64)>,
    },
    /// Go on reading a partition of the newest plan, or pause it.
    Open {
        /// The partition.
        partition: i32,
        /// Whether there is room for more of it.
        is_open: bool,
    },
    /// A fact for `cron-runs`.
    Note(model::Event),
    /// A letter is confirmed for what could not be read.
    Letter(DeadReason),
    /// A call failed; it is made again, and not at once.
    Failed(Failure),
    /// Operators are told.
    Report(Report),
}

/// What operators are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// What was read is of another topic of this name, with this id.
    OtherTopic(i32, Uuid),
    /// Offsets of a partition are missing in what was read.
    Missing(i32, Range<i64>),
    /// Nothing could be learned of where partitions go on; it is tried again.
    PositionsUnknown(BrokerError),
    /// Where this partition goes on could not be learned; it is tried again.
    PositionUnknown(i32, BrokerError),
    /// What was claimed before could not be read from `cron-runs`; it is tried again.
    ClaimsUnknown(BrokerError),
    /// What was odd about a partition's committed offset.
    Found(i32, Finding),
    /// The group has no offset, and what lies at these offsets of a partition is older than what is left of `cron-runs`: it
    /// counts as claimed.
    Unremembered(i32, Range<i64>),
    /// The topic was deleted and made again, and so many messages of this partition that no consumer had claimed went with it.
    Gone(i32, u64),
    /// What is due in a partition could not be read again.
    NotReadAgain(i32, BrokerError),
    /// A letter for what cannot be read in a partition could not be written; it is tried again.
    LetterUnwritten(i32, BrokerError),
    /// Why a claim's commit is not decided yet; the same is sent again.
    Undecided(String),
    /// So many claims were confirmed after their lease and are not started.
    TooLate(u64),
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which call it was.
    pub call: Call,
    /// Why it failed.
    pub error: BrokerError,
}

/// The calls of the claiming machine, as far as their failures are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Looking up where partitions go on.
    Load,
    /// Reading again what waited and is due.
    ReadAgain,
    /// Writing claims.
    Claim,
    /// The commit that decides claims.
    Commit,
    /// Writing a letter for what cannot be read.
    Letter,
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
}
