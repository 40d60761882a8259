//! The clock port: what the time is, and a bell that rings later. Its second end is the clock that a test turns.

mod manual;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crossbeam_channel::Receiver;

pub use manual::ManualClock;

/// Tells the time and rings bells. Rules never see it: threads read it and hand the rule an instant.
pub trait Clock: Send + Sync {
    /// The wall clock. It may jump either way.
    fn now(&self) -> DateTime<Utc>;

    /// The monotonic clock, for how long something took and for deadlines of calls.
    fn monotonic(&self) -> Instant;

    /// A channel on which one message arrives no earlier than `after` from now.
    fn alarm(&self, after: Duration) -> Receiver<Instant>;
}

/// An instant by both clocks, as a thread hands it to a rule.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The wall clock.
    pub wall: DateTime<Utc>,
    /// The monotonic clock.
    pub mono: Instant,
}

/// The clock of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one room where the wall clock is read")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn alarm(&self, after: Duration) -> Receiver<Instant> {
        crossbeam_channel::after(after)
    }
}
