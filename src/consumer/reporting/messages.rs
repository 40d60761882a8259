//! What the reporting thread is told, and what follows from a step of it.

use std::sync::Arc;
use std::time::Duration;

use super::reports::Report;
use crate::common::broker::BrokerError;
use crate::common::clock::Skew;
use crate::common::model::{Event, RunningAttempt};
use crate::consumer::claiming::machine::Claimed;

/// What is told to the reporting thread.
#[derive(Debug)]
pub enum Tell {
    /// An attempt has ended.
    Ended(Box<Report>),
    /// Something else to be written to `cron-runs`.
    Note(Event),
}

/// What the reporting thread is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Our name in events.
    pub consumer: String,
    /// How long a sign of life counts.
    pub lease: Duration,
    /// How many workers there are: as many results may wait.
    pub workers: usize,
}

/// What follows from a step.
#[derive(Debug)]
pub enum Effect {
    /// All that follows from the end of an attempt is confirmed.
    PassedOn(Box<Report>),
    /// Something could not be written to this topic; it is written again, and not at once.
    Failed(Arc<str>, BrokerError),
    /// The topic will never take a record. Something smaller is written instead, as long as there is anything smaller.
    Refused(Arc<str>, BrokerError),
    /// How far our clock is ahead of the broker's.
    Clock(Skew),
    /// The broker's time could not be learned: no topic that was written to tells it, and this came of asking for it.
    ClockUnknown(BrokerError),
    /// What was written to be told the broker's time, and says nothing else, was not taken.
    NotCompared(BrokerError),
}

/// An attempt that was handed to a worker, for [`Reporting::started`].
pub fn started(claimed: &Claimed) -> RunningAttempt {
    let attempt = claimed.attempt.name();
    RunningAttempt { attempt, place: claimed.place.clone() }
}
