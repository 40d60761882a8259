//! What reporting learns, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use super::reports::Report;
use crate::common::broker::BrokerError;
use crate::common::clock::Skew;
use crate::common::model::{self, AttemptRef, RunId, RunningAttempt};
use crate::consumer::claiming::machine::Claimed;

/// What reporting learns.
#[derive(Debug)]
pub enum Event {
    /// An attempt was handed to a worker. It is said to be alive from now on, whatever else waits.
    Started(RunningAttempt),
    /// An attempt has ended, of which it was said before that it was started.
    Ended(Box<Report>),
    /// Something else to be written to `cron-runs`.
    Note(model::Event),
    /// From now on all that is told is taken, also while something cannot be written: nothing more is claimed, and no worker
    /// is to wait with its last result for ever.
    TakeAll,
    /// Nothing more will be told.
    AllTold,
    /// What cannot be written is not waited for any longer.
    GiveUp,
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
    Refused(Arc<str>, BrokerError, Instead),
    /// How far our clock is ahead of the broker's.
    Clock(Skew),
    /// The broker's time could not be learned: no topic that was written to tells it, and this came of asking for it.
    ClockUnknown(BrokerError),
    /// What was written to be told the broker's time, and says nothing else, was not taken.
    NotCompared(BrokerError),
    /// So many results could not be written; their leases will end them.
    GivenUp(usize),
}

/// What is written instead of a record that its topic will never take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// A smaller one of the attempt's end: a letter, or one that tells less.
    Smaller(AttemptRef),
    /// The end, without its output.
    EndWithoutOutput(AttemptRef),
    /// The end alone, for no letter is small enough.
    NoLetter(RunId),
    /// Nothing: an end is not on record.
    NoEnd(AttemptRef),
    /// Nothing: an event of so many bytes is not on record.
    NoEvent(usize),
}

/// An attempt that was handed to a worker, for [`Event::Started`].
pub fn started(claimed: &Claimed) -> RunningAttempt {
    let attempt = claimed.attempt.name();
    RunningAttempt { attempt, place: claimed.place.clone() }
}
