//! What the claiming machine takes and what follows from its steps.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::common::broker::BrokerError;
pub use crate::common::clock::Now;
use crate::common::model::{Attempt, ClusterName, Event, Place};
use crate::common::wire::DeadReason;

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

/// What follows from a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Hand it to a worker.
    Start(Box<Claimed>),
    /// Have the membership join under a new member id; nothing is claimed before.
    JoinAsNew,
    /// Read these partitions, each from its offset; nothing else is ours.
    Read(Vec<(i32, i64)>),
    /// A fact for log and `cron-runs`.
    Note(Event),
    /// A letter is confirmed for what could not be read.
    Letter(DeadReason),
    /// A call failed; it is made again, and not at once.
    Failed(Failure),
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
